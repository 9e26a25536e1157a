//! What became of a prototype directory.

use thingdb_format::{Actor, EncryptionKey};

use crate::prototype::OriginalReport;

/// Refused lines that a report lists.
const MAX_REFUSED: usize = 100_000;

/// What became of a prototype directory, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrateReport {
    /// Whether it only tells what would be done.
    pub dry_run: bool,
    /// Entries in the ledger, and pieces of lines that are none: those that
    /// were migrated, known and refused.
    pub entries: u64,
    /// Things that the entries are about that were migrated or known.
    pub things: u64,
    /// Entries that became entries of ours.
    pub migrated: u64,
    /// Entries that were migrated before, or that stood in the ledger twice.
    pub known: u64,
    /// What was left out, and why; the first hundred thousand.
    pub refused: Vec<RefusedLine>,
    /// How much was left out.
    pub refused_total: u64,
    /// What the checks of the prototype's own signatures and chains gave.
    pub original: OriginalReport,
    /// The keys of actors.
    pub actors: Vec<MigratedActor>,
    /// The nodes that the prototype knew. Their keys came without a card, so
    /// they become no peers by themselves.
    pub peers: Vec<PrototypePeer>,
    /// Tokens of the prototype's server. They are kept as hashes.
    pub tokens: u64,
    /// Those of them that allow nothing here.
    pub tokens_without_scopes: u64,
    /// What else was noticed.
    pub notes: Vec<String>,
}

/// Why a line, or a piece of one, was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedLine {
    /// Line in the ledger, from 1.
    pub line: u64,
    /// The reason.
    pub reason: String,
}

/// A key of an actor, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigratedActor {
    /// The file in which it lay.
    pub file: String,
    /// The public key, if the file opened.
    pub key: Option<Actor>,
    /// The name, if it can be told.
    pub name: Option<String>,
    /// What became of it.
    pub outcome: ActorOutcome,
}

/// What became of an actor's key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActorOutcome {
    /// It is an actor of our own now.
    Added,
    /// It was one before.
    Known,
    /// It is none, because of this.
    Refused(String),
}

/// A node that the prototype knew.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrototypePeer {
    /// The name under which it was known.
    pub name: String,
    /// The key to which the prototype sealed for it, if it is one.
    pub encryption_key: Option<EncryptionKey>,
}

impl MigrateReport {
    pub(super) fn refuse(&mut self, line: u64, reason: String) {
        self.refused_total += 1;
        if self.refused.len() < MAX_REFUSED {
            self.refused.push(RefusedLine { line, reason });
        }
    }
}
