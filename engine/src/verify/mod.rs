//! Verification: everything is recomputed from the stored bytes, nothing is
//! taken from what an index says.
//!
//! - [`scan`] reads the ledger in order and lets workers check entries by
//!   themselves: the seal of the record, the header, the signature, the
//!   payload's hash, the commitment of what it opens to.
//! - [`links`] goes through the results in ledger order and checks what holds
//!   between entries: prev, seq, time; the ledger's tree; the index.

mod links;
mod report;
mod scan;
mod tips;

use std::ops::ControlFlow;

use thingdb_format::merkle::{self, Frontier};
use thingdb_format::{Checkpoint, SignedCheckpoint, ThingId};

pub use report::{OtherLedger, Problem, Report, Verdict};

use crate::error::{Error, Result};
use crate::node::Node;
use crate::progress::{self, Progress};
use crate::replica::memory::Memory;
use crate::storage::Batch;
use crate::store::{heads_map, holes};
use links::SaidHeads;

/// What to verify, and against what.
///
/// ```
/// use thingdb::VerifyOptions;
/// let one_thing = VerifyOptions::new().thing("part-42");
/// # let _ = one_thing;
/// ```
#[derive(Default)]
pub struct VerifyOptions<'a> {
    thing: Option<String>,
    checkpoint: Option<String>,
    progress: progress::Report<'a>,
    is_wanted: progress::Wanted<'a>,
}

impl<'a> VerifyOptions<'a> {
    /// The whole ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) const fn is_of_all(&self) -> bool {
        self.thing.is_none()
    }

    /// Only the history of one thing.
    #[must_use]
    pub fn thing(mut self, thing: &str) -> Self {
        self.thing = Some(thing.into());
        self
    }

    /// Also against a checkpoint that was kept elsewhere: the text of the note that
    /// [`Db::checkpoint`](crate::Db::checkpoint) gave. With
    /// [`VerifyOptions::thing`], the entries of the thing are looked for in it;
    /// that none of them is missing only the whole ledger shows. Of a node that is
    /// known here, [`Report::other`] says whether its ledger up to there is here.
    #[must_use]
    pub fn checkpoint(mut self, note: &str) -> Self {
        self.checkpoint = Some(note.into());
        self
    }

    /// Is told of progress now and then.
    #[must_use]
    pub fn progress(mut self, report: &'a mut dyn FnMut(Progress)) -> Self {
        self.progress = Some(report);
        self
    }

    /// Asks now and then whether the result is still wanted; if not, ends with
    /// [`Error::Cancelled`].
    #[must_use]
    pub fn while_wanted(mut self, is_wanted: &'a dyn Fn() -> bool) -> Self {
        self.is_wanted = Some(is_wanted);
        self
    }
}

impl std::fmt::Debug for VerifyOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyOptions").field("thing", &self.thing).finish_non_exhaustive()
    }
}

/// Verifies the ledger, or one thing, on all cores.
pub(crate) fn verify(node: &Node, options: VerifyOptions<'_>) -> Result<Report> {
    let (kept, other) = match options.checkpoint.as_deref().map(|note| check_note(node, note)).transpose()? {
        Some(Kept::Own(kept)) => (Some(kept), None),
        Some(Kept::Other(name, kept)) => (None, Some((name, kept))),
        None => (None, None),
    };
    let mut report = match &options.thing {
        Some(thing) => links::thing(&node.store, &ThingId::new(thing)?, kept.as_ref(), options.is_wanted)?,
        None => verify_ledger(node, kept, options.progress, options.is_wanted)?,
    };
    if let Some((name, kept)) = other {
        compare_other(node, name, &kept, &mut report)?;
    }
    report.settle();
    Ok(report)
}

/// Holds a checkpoint of another node against what is here of its ledger.
fn compare_other(node: &Node, name: String, kept: &Checkpoint, report: &mut Report) -> Result<()> {
    let (origin, size) = (kept.origin, kept.size);
    let remembered = Memory(node).remembered(&origin)?.checkpoint;
    if remembered.is_some_and(|note| note.claimed().size == size && note.claimed().root != kept.root) {
        let detail =
            format!("{name} signed two ledgers of {size} entries: this checkpoint, and the one that it showed");
        report.add(Problem::of_ledger(Verdict::RolledBack, detail));
    }
    let holds = is_ledger_of_other(node, kept)?;
    report.other = Some(OtherLedger { origin, name, size, holds });
    Ok(())
}

/// Whether the first entries of the ledger, or else of those that the node
/// wrote itself, are those of its checkpoint: a node that takes in what one
/// other node wrote has that node's ledger in its order.
fn is_ledger_of_other(node: &Node, kept: &Checkpoint) -> Result<bool> {
    let size = node.store.size();
    if kept.size > size {
        return Ok(false);
    }
    if node.store.with_tree(|tree| tree.root_at(kept.size))? == kept.root {
        return Ok(true);
    }
    let mut ids = Frontier::default();
    let walked = holes::each_readable(&node.store, 0, size, |located| {
        if located.header.origin == kept.origin && ids.size() < kept.size {
            ids.push(merkle::leaf(&located.id));
        }
        Ok(ControlFlow::Continue(()))
    });
    match walked {
        // What is lost is told of the ledger itnode.
        Err(problem) if holes::is_of_a_place(&problem) => return Ok(false),
        walked => drop(walked?),
    }
    Ok(ids.size() == kept.size && ids.root() == kept.root)
}

fn verify_ledger(
    node: &Node,
    kept: Option<Checkpoint>,
    progress: progress::Report<'_>,
    is_wanted: progress::Wanted<'_>,
) -> Result<Report> {
    let mut checkpoints = Vec::new();
    let mut report = Report::default();
    match node.last_checkpoint() {
        Ok(own) => checkpoints.extend(own.map(|note| (note.claimed().clone(), "the node's own last checkpoint"))),
        Err(problem) if problem.is_passing() => return Err(problem),
        Err(problem) => report.add(Problem::of_ledger(Verdict::RolledBack, problem.to_string())),
    }
    checkpoints.extend(kept.map(|kept| (kept, "the checkpoint")));
    // What is in the tree may be on its way into the index: once the
    // committer has answered another job, it is there.
    let tree = node.store.tree();
    let _ = node.rows(Batch::new());
    let heads = said_heads(node, &mut report)?;
    links::ledger(&node.store, &tree, node.threads, (checkpoints, heads), (progress, is_wanted), report)
}

/// What the map of heads and the newest heads note say, which need not be of the end of
/// the ledger.
fn said_heads(node: &Node, report: &mut Report) -> Result<Vec<SaidHeads>> {
    let mut said = Vec::new();
    match heads_map::reached(&node.store) {
        Ok(reached) => said.extend(reached.filter(|reached| reached.is_exact).map(|reached| SaidHeads {
            size: reached.size,
            root: reached.root(),
            which: "the map of heads",
            verdict: Verdict::BadIndex,
        })),
        Err(problem) if problem.is_damaged() => {
            report.add(Problem::of_ledger(Verdict::BadIndex, problem.to_string()));
        }
        Err(problem) => return Err(problem),
    }
    let note = match node.kept_heads() {
        Err(problem) if problem.is_damaged() => {
            report.add(Problem::of_ledger(Verdict::BadIndex, problem.to_string()));
            None
        }
        note => note?,
    };
    // That of a key that the node had before says nothing of this ledger.
    let note = note.filter(|note| note.verify(&node.node_key()).is_ok());
    said.extend(note.map(|note| SaidHeads {
        size: note.claimed().size,
        root: note.claimed().map,
        which: "the heads note that this node signed",
        verdict: Verdict::RolledBack,
    }));
    Ok(said)
}

/// A note that this node signed, with its key of now or one before, or that
/// another one signed that is known here.
fn check_note(node: &Node, note: &str) -> Result<Kept> {
    let note = SignedCheckpoint::parse(note)?;
    let keyring = node.store.keyring();
    let former = keyring.former_nodes().iter().map(|node| node.node_key);
    let mut keys = std::iter::once(keyring.node_key().node_key()).chain(former);
    let origin = note.claimed().origin;
    if let Some(key) = keys.find(|key| key.origin() == origin) {
        return Ok(Kept::Own(note.verify(&key)?.clone()));
    }
    match keyring.trust().origin(&origin) {
        Some(known) => Ok(Kept::Other(known.name.clone(), note.verify(&known.key)?.clone())),
        None => Err(Error::OtherNode { found: origin }),
    }
}

/// A checkpoint that was kept, and whose it is.
enum Kept {
    Own(Checkpoint),
    /// Of a node that is known by this name.
    Other(String, Checkpoint),
}

/// The position-independent fingerprint of a posting, to compare what the
/// index lists with what the ledger holds. In which block an entry lies is no part of
/// it: the index may be behind there.
fn fingerprint(position: u64, seq: u64, id8: [u8; 8]) -> u64 {
    // The finalizer of splitmix64 over them, one after the other.
    let mix = |value: u64| {
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    mix(mix(mix(position.wrapping_add(1)) ^ seq) ^ u64::from_be_bytes(id8))
}
