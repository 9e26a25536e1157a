//! What a stream is as a whole: bare, whole, a part, cut or damaged.

use std::collections::BTreeMap;

use super::digest::Digest;
use super::{StreamHeader, Trailer};
use crate::merkle::{self, Frontier};
use crate::{Checkpoint, EntryId, Error, Hash, NodeKey, Origin, SignedCheckpoint};

/// Whether a stream is complete, and what of a ledger it holds: fed with what
/// its lines hold, in their order. It takes constant memory.
///
/// What a trailer says nobody has signed. That a stream is *whole* comes from a
/// checkpoint that its node has signed, and from the ids that came; nothing
/// else makes it so. Each entry stays good on its own whatever comes out here.
///
/// ```
/// use thingdb_format::{EntryId, Error, Hash, StreamCheck, StreamHeader, stream::Outcome};
/// let (id, line) = (EntryId([1; 32]), Hash([2; 32]));
/// let mut check = StreamCheck::default();
/// check.entry(&id, &line)?;
/// assert_eq!(check.finish()?, Outcome::Bare);
///
/// let mut check = StreamCheck::default();
/// check.header(&StreamHeader::default())?;
/// check.entry(&id, &line)?;
/// assert_eq!(check.finish(), Err(Error::Cut { entries: 1 }));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StreamCheck {
    state: State,
    streams: u64,
    extent: Option<Extent>,
    /// A ledger of which everything came from its first entry on, in the
    /// streams before the one at hand.
    covered: Option<(NodeKey, Tree)>,
    nodes: BTreeMap<Origin, NodeKey>,
    /// Checkpoints that are looked for, and whether a stream began with what
    /// they say.
    watched: Vec<(Checkpoint, bool)>,
    /// Their sizes.
    sizes: Vec<u64>,
    is_rewritten: bool,
}

#[derive(Clone, Debug, Default)]
enum State {
    /// Nothing yet.
    #[default]
    Start,
    /// Entries without a header before them.
    Bare(Tree),
    /// After a header.
    Open(Box<Open>),
    /// After a trailer.
    Closed,
}

/// A stream whose trailer has not come.
#[derive(Clone, Debug, Default)]
struct Open {
    /// Of the card.
    node: Option<NodeKey>,
    /// Of the header, signed by its node.
    note: Option<(NodeKey, SignedCheckpoint)>,
    tree: Tree,
    /// What it is if the stream goes on where the ones before it ended.
    continued: Option<(NodeKey, Tree)>,
    digest: Digest,
}

/// A tree that keeps the roots that it had at some sizes.
#[derive(Clone, Debug, Default)]
struct Tree {
    ids: Frontier,
    roots: BTreeMap<u64, Hash>,
}

impl Tree {
    fn push(&mut self, leaf: Hash, sizes: &[u64], of_notes: [Option<u64>; 2]) {
        self.ids.push(leaf);
        let size = self.ids.size();
        if sizes.contains(&size) || of_notes.contains(&Some(size)) {
            self.roots.insert(size, self.ids.root());
        }
    }

    fn root_at(&self, size: u64) -> Option<Hash> {
        match size {
            0 => Some(Hash::of(b"")),
            size if size == self.ids.size() => Some(self.ids.root()),
            size => self.roots.get(&size).copied(),
        }
    }

    fn is(&self, ledger: &Checkpoint) -> bool {
        self.ids.size() == ledger.size && self.ids.root() == ledger.root
    }
}

/// A state of a ledger that the node of a stream has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// Who signed it.
    pub node: NodeKey,
    /// What it signed: the trailer's checkpoint.
    pub note: SignedCheckpoint,
    /// The checkpoint of the header, or of a stream before this one, signed by
    /// the same node, if the ledger did not grow out of it: the node has signed
    /// two ledgers.
    pub contradicted: Option<SignedCheckpoint>,
    /// Of a whole ledger, the roots that it had at sizes of interest.
    roots: BTreeMap<u64, Hash>,
}

impl Claim {
    /// Of a whole ledger, the root that it had at a size that was
    /// [watched](StreamCheck::watch).
    #[must_use]
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        self.roots.get(&size).copied()
    }
}

/// What of a ledger a complete stream holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every entry of the ledger up to the checkpoint, in order.
    Whole(Box<Claim>),
    /// Not that, as far as can be known; the checkpoint says how large the
    /// ledger was.
    Part(Box<Claim>),
    /// No checkpoint that a known node, or the node of the header's card, has
    /// signed; or streams of several nodes.
    Unsigned,
}

/// What a stream turned out to be, if nothing is missing from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Entries without header and trailer, or nothing at all: whether it was
    /// cut cannot be known.
    Bare,
    /// As many streams, each with a header and the trailer that goes with it.
    Complete {
        /// How many.
        streams: u64,
        /// What of a ledger they hold together.
        extent: Extent,
    },
}

impl Extent {
    /// The state of a ledger that it is the whole or a part of.
    #[must_use]
    pub fn claim(&self) -> Option<&Claim> {
        match self {
            Self::Whole(claim) | Self::Part(claim) => Some(claim),
            Self::Unsigned => None,
        }
    }
}

impl StreamCheck {
    /// Nodes that are known: their checkpoints are taken from streams without a
    /// card, too.
    #[must_use]
    pub fn knowing(mut self, nodes: impl IntoIterator<Item = NodeKey>) -> Self {
        self.nodes.extend(nodes.into_iter().map(|node| (node.origin(), node)));
        self
    }

    /// The lines are not those of the stream as it was written, as in a JSON
    /// array, which tools may set in other words: no digest is compared.
    #[must_use]
    pub const fn rewritten(mut self, is_rewritten: bool) -> Self {
        self.is_rewritten = is_rewritten;
        self
    }

    /// Looks whether a stream begins with the entries of this checkpoint. To be
    /// called before the entries come.
    pub fn watch(&mut self, checkpoint: &Checkpoint) {
        if self.watched.iter().any(|(watched, _)| watched == checkpoint) {
            return;
        }
        self.sizes.push(checkpoint.size);
        self.watched.push((checkpoint.clone(), checkpoint.size == 0));
    }

    /// Whether a stream began with exactly the entries of a checkpoint that was
    /// watched for.
    #[must_use]
    pub fn began_with(&self, checkpoint: &Checkpoint) -> bool {
        self.watched.iter().any(|(watched, found)| *found && watched == checkpoint)
    }

    /// Whether a header came and its trailer did not.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether nothing came yet.
    #[must_use]
    pub const fn is_at_start(&self) -> bool {
        matches!(self.state, State::Start)
    }

    /// A header line came. Gives the node whose stream it is, if a card or a
    /// checkpoint of a known node says so.
    ///
    /// # Errors
    /// [`Error::Damaged`] if its checkpoint is not signed by the node of its
    /// card, or if entries without a header stand before it, else
    /// [`Error::Cut`] if the stream before it has no trailer. One may go on:
    /// the stream that begins here is checked all the same.
    pub fn header(&mut self, header: &StreamHeader) -> Result<Option<NodeKey>, Error> {
        let node = header.card.as_ref().map(|card| card.node_key);
        let note = self.signed(node, header.checkpoint.as_ref(), "header");
        let (note, problem) = note.map_or_else(|problem| (None, Some(problem)), |note| (note, None));
        let whose = node.or_else(|| note.as_ref().map(|(node, _)| *node));
        let before = self.open(Open { node, note, ..Open::default() }, whose);
        match problem {
            Some(problem) => Err(problem),
            None => before.map(|()| whose),
        }
    }

    /// A header came that cannot be read. The stream is damaged, which the
    /// caller knows; what follows is held against its trailer all the same.
    ///
    /// # Errors
    /// As [`StreamCheck::header`].
    pub fn unreadable_header(&mut self) -> Result<(), Error> {
        self.open(Open::default(), None)
    }

    fn open(&mut self, mut open: Open, whose: Option<NodeKey>) -> Result<(), Error> {
        open.continued = self.covered.clone().filter(|(node, _)| Some(*node) == whose);
        match std::mem::replace(&mut self.state, State::Open(Box::new(open))) {
            State::Start | State::Closed => Ok(()),
            State::Open(before) => Err(Error::Cut { entries: before.tree.ids.size() }),
            State::Bare(_) => Err(damaged("the header comes after entries".into())),
        }
    }

    /// An entry line came, whatever becomes of the entry. `hash` is that of its
    /// [line](super::hash_of_line) or frame.
    ///
    /// # Errors
    /// [`Error::Damaged`] after a trailer.
    pub fn entry(&mut self, id: &EntryId, hash: &Hash) -> Result<(), Error> {
        let sizes = &self.sizes;
        let leaf = merkle::leaf(id);
        match &mut self.state {
            State::Open(open) => {
                open.digest.push(hash);
                let of_header = open.note.as_ref().map(|(_, note)| note.claimed().size);
                let shown = self.extent.as_ref().and_then(Extent::claim).map(|claim| claim.note.claimed().size);
                open.tree.push(leaf, sizes, [of_header, shown]);
                if let Some((_, tree)) = &mut open.continued {
                    tree.push(leaf, sizes, [of_header, shown]);
                }
            }
            State::Start => {
                let mut tree = Tree::default();
                tree.push(leaf, sizes, [None, None]);
                self.state = State::Bare(tree);
            }
            State::Bare(tree) => tree.push(leaf, sizes, [None, None]),
            State::Closed => return Err(damaged("an entry comes after the trailer".into())),
        }
        self.look();
        Ok(())
    }

    /// Compares the trees with the checkpoints that are looked for.
    fn look(&mut self) {
        let trees: [Option<&Tree>; 2] = match &self.state {
            State::Open(open) => [Some(&open.tree), open.continued.as_ref().map(|(_, tree)| tree)],
            State::Bare(tree) => [Some(tree), None],
            State::Start | State::Closed => [None, None],
        };
        for (watched, found) in &mut self.watched {
            let is_there =
                |tree: &Tree| tree.ids.size() == watched.size && tree.roots.get(&watched.size) == Some(&watched.root);
            *found = *found || trees.iter().flatten().any(|tree| is_there(tree));
        }
    }

    /// A line or frame came that cannot be read and claims to be an entry.
    pub fn unreadable(&mut self, hash: &Hash) {
        if let State::Open(open) = &mut self.state {
            open.digest.push(hash);
        }
    }

    /// A trailer line came. Says what of a ledger the stream that it ends
    /// holds.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it does not match what came before, or if its
    /// checkpoint is not signed by the node of the header's card, or contradicts
    /// what came.
    pub fn trailer(&mut self, trailer: &Trailer) -> Result<Extent, Error> {
        let before = self.covered.take();
        let State::Open(open) = std::mem::replace(&mut self.state, State::Closed) else {
            self.extent = Some(Extent::Unsigned);
            return Err(damaged("the trailer has no header before it".into()));
        };
        self.streams = self.streams.saturating_add(1);
        let ended = self.end(*open, trailer);
        let extent = ended.as_ref().map_or(&Extent::Unsigned, |extent| extent);
        self.extent = Some(match self.extent.take() {
            None => extent.clone(),
            Some(so_far) => together(so_far, extent),
        });
        if ended.is_err() {
            self.covered = None;
        } else if self.covered.is_none() {
            self.covered = before.filter(|(node, _)| matches!(extent, Extent::Part(claim) if claim.node == *node));
        }
        ended
    }

    /// A trailer came that cannot be read. The stream is damaged, which the
    /// caller knows.
    pub fn unreadable_trailer(&mut self) {
        self.state = State::Closed;
        self.covered = None;
        self.extent = Some(Extent::Unsigned);
        self.streams = self.streams.saturating_add(1);
    }

    fn end(&mut self, open: Open, trailer: &Trailer) -> Result<Extent, Error> {
        let Open { node, note: earlier, tree, continued, digest } = open;
        if tree.ids.size() != trailer.entries {
            let noun = if trailer.entries == 1 { "entry" } else { "entries" };
            let came = tree.ids.size();
            return Err(damaged(format!("the trailer counts {} {noun}, {came} came", trailer.entries)));
        }
        if tree.ids.root() != trailer.root {
            let (found, came) = (trailer.root, tree.ids.root());
            return Err(damaged(format!("the trailer has the root {found}, the entries give {came}")));
        }
        if let Some(found) = trailer.digest.filter(|found| !self.is_rewritten && *found != digest.value()) {
            let came = digest.value();
            return Err(damaged(format!(
                "the trailer has the digest {found}, the lines give {came}: some of their bytes were changed"
            )));
        }
        let expected = node.or_else(|| earlier.as_ref().map(|(node, _)| *node));
        let Some((node, note)) = self.signed(expected, trailer.checkpoint.as_ref(), "trailer")? else {
            return Ok(Extent::Unsigned);
        };
        let ledger = note.claimed().clone();
        let whole = std::iter::once(tree).chain(continued.map(|(_, tree)| tree)).find(|tree| tree.is(&ledger));
        if whole.is_none() && ledger.size <= trailer.entries {
            let (size, came) = (ledger.size, trailer.entries);
            return Err(damaged(format!(
                "{came} came, and the trailer's checkpoint is of a ledger of {size} with other entries"
            )));
        }
        let earlier = earlier.map(|(_, note)| note);
        let shown = self.extent.as_ref().and_then(Extent::claim).filter(|shown| shown.node == node);
        let shown = shown.map(|shown| shown.note.clone());
        if earlier.as_ref().is_some_and(|earlier| earlier.claimed().size > ledger.size) {
            return Err(damaged("the trailer's checkpoint is older than that of the header".into()));
        }
        let contradicted = [earlier, shown].into_iter().flatten().find(|earlier| {
            let earlier = earlier.claimed();
            match whole.as_ref().and_then(|tree| tree.root_at(earlier.size)) {
                Some(root) => root != earlier.root,
                None => earlier.size == ledger.size && earlier.root != ledger.root,
            }
        });
        let root_at = |size: &u64| Some((*size, whole.as_ref()?.root_at(*size)?));
        let roots = self.sizes.iter().filter_map(root_at).collect();
        let claim = Box::new(Claim { node, note, contradicted, roots });
        Ok(match whole {
            Some(mut tree) => {
                tree.roots.retain(|size, _| self.sizes.contains(size));
                self.covered = Some((node, tree));
                Extent::Whole(claim)
            }
            None => Extent::Part(claim),
        })
    }

    /// The stream ends.
    ///
    /// # Errors
    /// [`Error::Cut`] if a header came and its trailer did not.
    pub fn finish(self) -> Result<Outcome, Error> {
        match self.state {
            State::Open(open) => Err(Error::Cut { entries: open.tree.ids.size() }),
            State::Start | State::Bare(_) => Ok(Outcome::Bare),
            State::Closed => {
                Ok(Outcome::Complete { streams: self.streams, extent: self.extent.unwrap_or(Extent::Unsigned) })
            }
        }
    }

    /// A checkpoint with the node that signed it; nothing if nobody knows the
    /// node.
    fn signed(
        &self,
        node: Option<NodeKey>,
        note: Option<&SignedCheckpoint>,
        whose: &str,
    ) -> Result<Option<(NodeKey, SignedCheckpoint)>, Error> {
        let Some(note) = note else { return Ok(None) };
        let Some(node) = node.or_else(|| self.nodes.get(&note.claimed().origin).copied()) else { return Ok(None) };
        match note.verify(&node) {
            Ok(_) => Ok(Some((node, note.clone()))),
            Err(_) => {
                let origin = node.origin();
                Err(damaged(format!("the checkpoint of the {whose} is not signed by the node {origin}")))
            }
        }
    }
}

/// What streams that follow each other hold together: of one node, what its
/// newest checkpoint says.
fn together(before: Extent, after: &Extent) -> Extent {
    match (before, after) {
        (Extent::Unsigned, _) | (_, Extent::Unsigned) => Extent::Unsigned,
        (Extent::Whole(before) | Extent::Part(before), Extent::Whole(after) | Extent::Part(after))
            if before.node != after.node =>
        {
            Extent::Unsigned
        }
        // The older one was a part of it, or is a state that it had.
        (Extent::Whole(whole), Extent::Part(part)) if part.note.claimed().size <= whole.note.claimed().size => {
            Extent::Whole(whole)
        }
        (Extent::Whole(newer), Extent::Whole(older)) if older.note.claimed().size < newer.note.claimed().size => {
            Extent::Whole(newer)
        }
        (Extent::Part(newer), Extent::Whole(older) | Extent::Part(older))
            if older.note.claimed().size < newer.note.claimed().size =>
        {
            Extent::Part(newer)
        }
        _ => after.clone(),
    }
}

const fn damaged(problem: String) -> Error {
    Error::Damaged { problem }
}

#[cfg(test)]
mod tests;
