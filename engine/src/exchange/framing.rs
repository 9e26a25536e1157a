//! What a stream is as a whole: its header and trailer, and the checkpoints in
//! them, held against the node that signed them and against what is remembered
//! of that node.
//!
//! Of several things that are wrong the gravest counts: a newer version before
//! damage, damage before a cut.

use std::cmp::Reverse;

use thingdb_format::stream::{Extent, LineKind, Outcome};
use thingdb_format::{
    Card, EntryId, Error as FormatError, Hash, NodeKey, SignedCheckpoint, StreamCheck, StreamHeader, Trailer,
};

use crate::entry::refusal::{Cause, Refusal};
use crate::error::Result;
use crate::node::Node;
use crate::replica::memory::{Conflict, Memory};

/// What a stream turned out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamState {
    /// There was no header and no trailer: nothing is signed but the entries,
    /// and whether lines are missing cannot be known.
    #[default]
    Bare,
    /// Every entry of a ledger up to a checkpoint that its node has signed
    /// came, in order, whatever became of them.
    Whole(StreamLedger),
    /// Everything that the trailer counts came. Of a ledger it is a part, as
    /// far as can be known: one by prefix or position, or one from which
    /// somebody took entries out. Nothing is known of the ledger if no
    /// checkpoint came that a known node, or that of the header's card, signed.
    Part(Option<StreamLedger>),
    /// It ends before its trailer.
    Cut,
    /// The trailer counts other entries or bytes than came, a checkpoint is not
    /// signed by the node of the stream, or what was compressed does not
    /// unpack.
    Damaged(String),
    /// A newer version wrote it, or a line of it.
    Newer(String),
}

impl StreamState {
    /// Whether everything came that the trailer counts.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self, Self::Whole(_) | Self::Part(_))
    }

    /// The ledger of which it is the whole or a part.
    #[must_use]
    pub const fn ledger(&self) -> Option<&StreamLedger> {
        match self {
            Self::Whole(ledger) | Self::Part(Some(ledger)) => Some(ledger),
            _ => None,
        }
    }

    const fn gravity(&self) -> u8 {
        match self {
            Self::Newer(_) => 3,
            Self::Damaged(_) => 2,
            Self::Cut => 1,
            Self::Bare | Self::Whole(_) | Self::Part(_) => 0,
        }
    }
}

/// The ledger of a stream, as its node signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamLedger {
    /// Who signed the checkpoint.
    pub node: NodeKey,
    /// What this node knows of it.
    pub known: KnownAs,
    /// Entries in the ledger.
    pub size: u64,
    /// Merkle tree hash over their ids.
    pub root: Hash,
    /// Whether the first `size` entries of the ledger here are that ledger. It
    /// can be so after a part, too, when what came before it is here.
    pub is_here: bool,
}

/// What this node knows of the node of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KnownAs {
    /// It is this node itself, now or before it changed its keys.
    Own,
    /// A peer by this name.
    Peer(String),
    /// Nothing, or trust in it was withdrawn.
    Stranger,
}

/// Why nothing more of a stream comes.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    pub(super) state: StreamState,
    /// What the source said, if it broke.
    pub(super) cause: Option<String>,
    /// The frame that was refused, if that is why.
    pub(super) refusal: Option<Refusal>,
}

impl Broken {
    /// A source that could not be read on. What came before is good.
    pub(super) fn source(problem: &std::io::Error) -> Self {
        let text = problem.to_string();
        match problem.kind() {
            // What unpackers and unwrappers say of bytes that are not theirs.
            std::io::ErrorKind::InvalidData => Self { state: StreamState::Damaged(text), cause: None, refusal: None },
            _ => Self { state: StreamState::Cut, cause: Some(text), refusal: None },
        }
    }

    /// A frame that cannot be read.
    pub(super) fn frame(number: u64, problem: &FormatError) -> Self {
        let state = state_of(problem, format!("frame {number}: {problem}"));
        let refusal = Some(Cause::format(problem).refusal(number, None, None));
        Self { state, cause: None, refusal }
    }

    pub(super) const fn cut() -> Self {
        Self { state: StreamState::Cut, cause: None, refusal: None }
    }
}

fn state_of(problem: &FormatError, text: String) -> StreamState {
    match problem {
        problem if problem.is_newer_version() => StreamState::Newer(text),
        FormatError::Cut { .. } => StreamState::Cut,
        _ => StreamState::Damaged(text),
    }
}

/// A line that does not decode.
pub(super) struct Unread<'l> {
    pub(super) kind: LineKind,
    /// Its bytes end where the stream does, without a line end.
    pub(super) is_last: bool,
    pub(super) hash: &'l Hash,
    pub(super) bytes: &'l [u8],
    pub(super) is_newer: bool,
    pub(super) reason: &'l str,
}

/// What all of a stream amounts to.
pub(super) struct Ended {
    pub(super) state: StreamState,
    pub(super) cause: Option<String>,
    pub(super) card: Option<Card>,
    pub(super) conflicts: Vec<Conflict>,
}

/// Follows a stream.
pub(super) struct Framing<'a> {
    node: &'a Node,
    /// Whether what is found may be remembered.
    remembers: bool,
    check: StreamCheck,
    problem: StreamState,
    cause: Option<String>,
    card: Option<Card>,
    conflicts: Vec<Conflict>,
}

impl<'a> Framing<'a> {
    pub(super) fn new(node: &'a Node, remembers: bool, is_rewritten: bool) -> Self {
        let keyring = node.store.keyring();
        let known = keyring.trust().origins().filter(|known| known.withdrawn.is_none()).map(|known| known.key);
        let own = keyring.former_nodes().iter().map(|former| former.node_key);
        let own = own.chain([keyring.node_key().node_key()]);
        let check = StreamCheck::default().knowing(known.chain(own)).rewritten(is_rewritten);
        drop(keyring);
        let problem = StreamState::default();
        Self { node, remembers, check, problem, cause: None, card: None, conflicts: Vec::new() }
    }

    pub(super) fn header(&mut self, header: StreamHeader) -> Result<()> {
        match self.check.header(&header) {
            Err(problem) => self.note(&problem),
            Ok(None) => {}
            Ok(Some(node)) => {
                if let Some(note) = &header.checkpoint {
                    self.observe(&node, note, |_| None)?;
                }
                if let Some(remembered) = Memory(self.node).remembered(&node.origin())?.checkpoint {
                    self.check.watch(remembered.claimed());
                }
            }
        }
        self.card = header.card.or_else(|| self.card.take());
        Ok(())
    }

    pub(super) fn entry(&mut self, id: &EntryId, hash: &Hash) {
        if let Err(problem) = self.check.entry(id, hash) {
            self.note(&problem);
        }
    }

    /// Says whether the line is to be refused: what was torn is none.
    pub(super) fn unread(&mut self, line: &Unread<'_>) -> bool {
        if line.is_newer {
            self.worse(StreamState::Newer(line.reason.to_owned()));
        }
        let begins_as_header = self.check.is_at_start() && line.bytes.starts_with(b"{\"thingdb\":");
        if line.is_last && !line.is_newer && (self.check.is_open() || begins_as_header) {
            self.worse(StreamState::Cut);
            return false;
        }
        match line.kind {
            LineKind::Header => {
                self.worse(StreamState::Damaged(format!("the header is refused: {}", line.reason)));
                if let Err(problem) = self.check.unreadable_header() {
                    self.note(&problem);
                }
            }
            LineKind::Trailer => {
                self.worse(StreamState::Damaged(format!("the trailer is refused: {}", line.reason)));
                self.check.unreadable_trailer();
            }
            LineKind::Blank | LineKind::Entry => self.check.unreadable(line.hash),
        }
        true
    }

    pub(super) fn trailer(&mut self, trailer: &Trailer) -> Result<()> {
        match self.check.trailer(trailer) {
            Err(problem) => self.note(&problem),
            Ok(Extent::Unsigned) => {}
            Ok(Extent::Whole(claim) | Extent::Part(claim)) => {
                if let Some(earlier) = &claim.contradicted {
                    let problem = "its node signed two ledgers: the trailer's checkpoint contradicts one before it";
                    self.worse(StreamState::Damaged(problem.to_owned()));
                    self.contradict(&claim.node, earlier, &claim.note)?;
                }
                self.observe(&claim.node, &claim.note, |size| claim.root_at(size))?;
            }
        }
        Ok(())
    }

    pub(super) fn broken(&mut self, broken: Broken) {
        self.worse(broken.state);
        self.cause = self.cause.take().or(broken.cause);
    }

    /// The stream has ended, or was left.
    pub(super) fn finish(self, was_left: bool) -> Ended {
        let Self { node: this, check, problem, cause, card, conflicts, .. } = self;
        let state = match (problem, check.finish()) {
            (problem, _) if was_left || problem.gravity() > 0 => problem,
            (_, Err(problem)) => state_of(&problem, problem.to_string()),
            (_, Ok(Outcome::Bare)) => StreamState::Bare,
            (_, Ok(Outcome::Complete { extent, .. })) => match extent {
                Extent::Whole(claim) => StreamState::Whole(ledger(this, &claim.node, &claim.note)),
                Extent::Part(claim) => StreamState::Part(Some(ledger(this, &claim.node, &claim.note))),
                Extent::Unsigned => StreamState::Part(None),
            },
        };
        Ended { state, cause, card, conflicts }
    }

    fn note(&mut self, problem: &FormatError) {
        self.worse(state_of(problem, problem.to_string()));
    }

    fn worse(&mut self, state: StreamState) {
        if state.gravity() > self.problem.gravity() {
            self.problem = state;
        }
    }

    /// Holds a checkpoint of a known node against what is remembered of it.
    fn observe(
        &mut self,
        node: &NodeKey,
        note: &SignedCheckpoint,
        root_at: impl Fn(u64) -> Option<Hash>,
    ) -> Result<()> {
        if self.remembers && matches!(known_as(self.node, node), KnownAs::Peer(_)) {
            let conflict = Memory(self.node).observe_in_stream(node, note, root_at)?;
            self.add(conflict);
        }
        Ok(())
    }

    fn contradict(&mut self, node: &NodeKey, earlier: &SignedCheckpoint, note: &SignedCheckpoint) -> Result<()> {
        if self.remembers && matches!(known_as(self.node, node), KnownAs::Peer(_)) {
            let conflict = Memory(self.node).contradicted_in_stream(node, earlier, note)?;
            self.add(Some(conflict));
        }
        Ok(())
    }

    fn add(&mut self, conflict: Option<Conflict>) {
        let new = conflict.filter(|new| self.conflicts.iter().all(|known| known.file != new.file));
        self.conflicts.extend(new);
        self.conflicts.sort_by_key(|conflict| Reverse(conflict.evidence.seen));
    }
}

fn ledger(this: &Node, node: &NodeKey, note: &SignedCheckpoint) -> StreamLedger {
    let ledger = note.claimed();
    let is_here = this.store.size() >= ledger.size
        && this.store.with_tree(|tree| tree.root_at(ledger.size)).is_ok_and(|root| root == ledger.root);
    StreamLedger { node: *node, known: known_as(this, node), size: ledger.size, root: ledger.root, is_here }
}

fn known_as(this: &Node, node: &NodeKey) -> KnownAs {
    let keyring = this.store.keyring();
    let mut own = keyring.former_nodes().iter().map(|former| former.node_key);
    if *node == keyring.node_key().node_key() || own.any(|former| former == *node) {
        return KnownAs::Own;
    }
    match keyring.trust().origin(&node.origin()) {
        Some(known) if known.withdrawn.is_none() && known.key == *node => KnownAs::Peer(known.name.clone()),
        _ => KnownAs::Stranger,
    }
}
