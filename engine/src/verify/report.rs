//! What verification says: a vocabulary, not a bool.

use std::fmt;

use thingdb_format::{EntryId, Hash, Origin, ThingId};

use crate::prototype::OriginalReport;

/// Problems that a report lists one by one.
const MAX_PROBLEMS: usize = 1000;

/// What can be said of an entry, or of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Signature, hashes and links hold, and the content opened.
    Intact,
    /// The same, but the payload is not here.
    Stub,
    /// The same, but this node has no key to the payload.
    Undecryptable,
    /// The same, but its content was erased, and the record that says so is here.
    Erased,
    /// The thing has several heads that no entry joins. No fault.
    Forked,
    /// The key that signed is not in the trust store.
    UnknownActor,
    /// Trust in the key that signed was withdrawn. The signature can be good
    /// all the same.
    WithdrawnActor,
    /// Its key was revoked, and this is no place where that is good.
    RevokedKey,
    /// It is a step of a key log, and what is kept of that log does not have it.
    LostKeyRecord,
    /// An entry that it follows is not here.
    MissingPrev,
    /// Its seq or time does not follow from its prev.
    BadLink,
    /// The signature does not hold.
    BadSignature,
    /// A hash, or the commitment to the content, does not hold.
    BadHash,
    /// What opened its content was taken away, and no erasure covers it.
    Lost,
    /// The stored record is damaged, moved or missing.
    Unreadable,
    /// The index does not list what the ledger holds.
    BadIndex,
    /// Entries that a checkpoint counts are not here.
    Truncated,
    /// The first entries are others than a checkpoint says.
    RolledBack,
    /// The original of a migrated entry does not hold, or says something else
    /// than the entry.
    BadOriginal,
    /// The second copy of all rows, the journal, does not read in a place: nothing is
    /// lost as long as the store is whole.
    BadCopy,
}

impl Verdict {
    /// Whether the verdict makes a verification fail.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Intact | Self::Stub | Self::Undecryptable | Self::Erased | Self::Forked)
    }

    /// The word for it, as in reports and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intact => "intact",
            Self::Stub => "stub",
            Self::Undecryptable => "undecryptable",
            Self::Erased => "erased",
            Self::Lost => "lost",
            Self::Forked => "forked",
            Self::UnknownActor => "unknown actor",
            Self::WithdrawnActor => "withdrawn actor",
            Self::RevokedKey => "revoked key",
            Self::LostKeyRecord => "lost key record",
            Self::MissingPrev => "missing prev",
            Self::BadLink => "bad link",
            Self::BadSignature => "bad signature",
            Self::BadHash => "bad hash",
            Self::Unreadable => "unreadable",
            Self::BadIndex => "bad index",
            Self::Truncated => "truncated",
            Self::RolledBack => "rolled back",
            Self::BadOriginal => "bad original",
            Self::BadCopy => "bad copy",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// What it is.
    pub verdict: Verdict,
    /// The thing, if it is known.
    pub thing: Option<ThingId>,
    /// The seq of the entry, if it is known.
    pub seq: Option<u64>,
    /// The entry, if its header could be read.
    pub id: Option<EntryId>,
    /// Its place in the ledger.
    pub position: Option<u64>,
    /// The fact.
    pub detail: String,
}

impl Problem {
    pub(crate) const fn of_ledger(verdict: Verdict, detail: String) -> Self {
        Self { verdict, thing: None, seq: None, id: None, position: None, detail }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.verdict)?;
        match (&self.thing, self.seq, self.position) {
            (Some(thing), Some(seq), _) => write!(f, ": {thing} seq {seq}")?,
            (Some(thing), None, _) => write!(f, ": {thing}")?,
            (None, _, Some(position)) => write!(f, ": ledger position {position}")?,
            _ => {}
        }
        write!(f, ": {}", self.detail)
    }
}

/// What can be told here of a checkpoint that another node signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtherLedger {
    /// The node.
    pub origin: Origin,
    /// The name by which it is known here.
    pub name: String,
    /// Entries that the checkpoint counts.
    pub size: u64,
    /// Whether its ledger, up to there, is here in its order: then nothing of
    /// it is missing or changed. If not, nothing can be told: entries of several
    /// nodes come in whatever order, and an export of that node has its own.
    pub holds: bool,
}

/// The outcome of a verification.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Entries that were looked at.
    pub entries: u64,
    /// Things that they are about.
    pub things: u64,
    /// Keys that signed them.
    pub actors: u64,
    /// Entries whose payload is not here.
    pub stubs: u64,
    /// Entries whose payload this node has no key to.
    pub undecryptable: u64,
    /// Entries whose content was erased.
    pub erased: u64,
    /// Erasure records that list what their signers must not erase, and did not.
    pub refused_erasures: u64,
    /// Things with several heads.
    pub forked: u64,
    /// What is wrong, in ledger order; the first thousand.
    pub problems: Vec<Problem>,
    /// How much is wrong.
    pub problems_total: u64,
    /// Entries in the ledger; for one thing, entries of the thing.
    pub size: u64,
    /// Merkle tree hash over their ids, recomputed; for one thing, over the
    /// ids of the thing's entries.
    pub root: Hash,
    /// How the ledger of another node, whose checkpoint was given, stands to it.
    pub other: Option<OtherLedger>,
    /// What was found of the originals of migrated entries, if there are any.
    /// A chain that the prototype broke is told here and is no problem: it
    /// cannot be mended, and nothing has changed since.
    pub original: Option<OriginalReport>,
    /// The commits of the second copy, the journal, each of which reads if there is
    /// no [`Verdict::BadCopy`]; nothing where there is none, and for one thing.
    pub copy: Option<u64>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            entries: 0,
            things: 0,
            actors: 0,
            stubs: 0,
            undecryptable: 0,
            erased: 0,
            refused_erasures: 0,
            forked: 0,
            problems: Vec::new(),
            problems_total: 0,
            size: 0,
            root: Hash::of(b""),
            other: None,
            original: None,
            copy: None,
        }
    }
}

impl Report {
    /// Whether nothing is wrong. Stubs, entries of others that this node
    /// cannot read, and forks are not wrong.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.problems_total == 0
    }

    pub(crate) fn add(&mut self, problem: Problem) {
        self.problems_total += 1;
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    /// Puts the problems in order.
    pub(super) fn settle(&mut self) {
        self.problems.sort_by_key(|problem| (problem.position.unwrap_or(u64::MAX), problem.verdict));
    }
}
