//! The proof file: some entries of one thing, with what a stranger needs to see
//! that they stand in the ledger of a node, and to read those that are shown.
//!
//! ```text
//! {"thingdb_proof":1,"subject":{…},"card":CARD,"checkpoint":NOTE,"earlier":[…],"heads":{…}}
//! {"timestamp":TOKEN,"imprint":HEX}                     none to 16
//! {"place":N,"gap":HASHES,"cek":CEK,"entry":{…}}        one a line, in ledger order
//! {"receipt":NOTE}                                      none to 1024
//! {"thingdb_proof_end":1,"entries":N,"gap":HASHES,"digest":HEX}
//! ```
//!
//! A proof file needs no database, no network and no key: [`ProofCheck`] reads
//! it line by line. The normative text is the section "Proof file" of
//! `docs/format.md`.
//!
//! The `gap` of a line has the hashes of the ledger's tree between the place
//! before and its own. So the tree is built from left to right, with as many
//! hashes in memory as it is high, and each hash stands in the file once.

mod check;
mod encode;
mod erased;
mod examine;
mod gap;
mod heads;
mod receipt;
mod timestamp;
mod wire;

use crate::heads::HeadsProof;
use crate::{Card, Cek, Entry, Hash, SignedCheckpoint, ThingId};

pub use check::{Anchor, ProofCheck, ProofReport, Proven, Stamped};
pub use encode::ProofEncoder;
pub use erased::{MAX_ERASED_AHEAD, ProofErasures};
pub use examine::{Content, ProofLine, ProofReader, examine, examine_as};
pub use gap::{gap_hashes, gap_subtrees};
pub use heads::Complete;
pub use receipt::Received;
pub use timestamp::ProofTimestamp;

/// Version of the first and of the last line.
pub const VERSION: u64 = 1;

/// The most entries in a proof file: whoever checks it keeps the id, seq and
/// time of each.
pub const MAX_ENTRIES: u64 = 1 << 18;

/// The most earlier checkpoints in a proof file.
pub const MAX_EARLIER: usize = 16;

/// The most timestamps in a proof file.
pub const MAX_TIMESTAMPS: usize = 16;

/// The most receipts in a proof file.
pub const MAX_RECEIPTS: usize = 1024;

/// The media type of a proof file.
pub const MEDIA_TYPE: &str = "application/vnd.thingdb.proof+ndjson";

/// What a proof file is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// All entries of a thing: each prev is among them.
    History {
        /// The thing.
        thing: ThingId,
    },
    /// The entries of a thing with these seqs.
    Range {
        /// The thing.
        thing: ThingId,
        /// The first seq.
        from: u64,
        /// The last seq.
        to: u64,
    },
    /// Some entries of a thing; that others are missing says nothing.
    Entries {
        /// The thing.
        thing: ThingId,
    },
    /// That there is no such thing: no entry.
    Absent {
        /// The thing.
        thing: ThingId,
    },
}

impl Subject {
    /// The thing.
    #[must_use]
    pub const fn thing(&self) -> &ThingId {
        match self {
            Self::History { thing } | Self::Range { thing, .. } | Self::Entries { thing } | Self::Absent { thing } => {
                thing
            }
        }
    }

    /// The word for the kind, as in the file.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::History { .. } => "history",
            Self::Range { .. } => "range",
            Self::Entries { .. } => "entries",
            Self::Absent { .. } => "absent",
        }
    }
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofHeader {
    /// What the file is about.
    pub subject: Subject,
    /// The node whose ledger it is.
    pub card: Card,
    /// The state of the ledger that the places are of.
    pub checkpoint: SignedCheckpoint,
    /// Checkpoints that somebody kept, with the way from there.
    pub earlier: Vec<Earlier>,
    /// What the node signed of the heads of the thing, in the same ledger: without it
    /// nobody sees whether a newer entry was left out.
    pub heads: Option<HeadsProof>,
}

/// A smaller state of the same ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// What the node signed then.
    pub checkpoint: SignedCheckpoint,
    /// The consistency proof from it to the checkpoint of the file.
    pub proof: Vec<Hash>,
}

/// A line between the first and the last.
#[derive(Debug, PartialEq, Eq)]
pub struct ProofEntry {
    /// Its position in the ledger, from 0.
    pub place: u64,
    /// The hashes between the place before and this one.
    pub gap: Vec<Hash>,
    /// The key to its payload, if it is shown.
    pub cek: Option<Cek>,
    /// The entry; a stub if it is withheld.
    pub entry: Entry,
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofEnd {
    /// Entries in the file.
    pub entries: u64,
    /// The hashes between the last place and the end of the ledger.
    pub gap: Vec<Hash>,
    /// [`Digest`](crate::stream::Digest) of all lines before.
    pub digest: Hash,
}

#[cfg(test)]
mod tests;
