//! The node's own last checkpoint, kept beside the database.
//!
//! At open the ledger is held against it: one that is shorter, or whose first
//! entries have another root, was cut or set back. Who sets back the whole
//! directory, this file included, goes unnoticed here; a checkpoint that was
//! kept elsewhere shows it.

use std::fmt;
use std::path::{Path, PathBuf};

use thingdb_format::{Checkpoint, Hash, NodeKey, Origin, SignedCheckpoint, SigningKey};

use crate::disk;
use crate::error::{Error, Result};
use crate::store::Store;

const FILE: &str = "checkpoint";

/// Where the own checkpoint lies.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Signs the ledger as it is and replaces the file. The entries must be
/// durable.
pub(crate) fn sign(dir: &Path, key: &SigningKey, size: u64, root: Hash) -> Result<SignedCheckpoint> {
    let note = Checkpoint::new(key.node_key().origin(), size, root).sign(key)?;
    disk::replace_file(&path(dir), note.as_str().as_bytes(), 0o600)
        .map_err(Error::file(path(dir), "cannot be replaced"))?;
    Ok(note)
}

/// Keeps the checkpoint of a former node key under another name.
pub(crate) fn set_aside(dir: &Path) -> Result<()> {
    let from = path(dir);
    let free = (1_u32..).map(|n| dir.join(format!("{FILE}.former-{n}"))).find(|path| !path.exists());
    let to = free.unwrap_or_else(|| from.clone());
    match std::fs::rename(&from, &to) {
        Err(problem) if problem.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file(from, "cannot be renamed")(problem))
        }
        _ => disk::sync_directory(dir).map_err(Error::file(dir, "cannot be synced")),
    }
}

/// The checkpoint that is kept, if there is one.
pub(crate) fn load(dir: &Path, node: &NodeKey) -> Result<Option<SignedCheckpoint>> {
    let text = match std::fs::read(path(dir)) {
        Ok(text) => text,
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(problem) => return Err(Error::file(path(dir), "cannot be read")(problem)),
    };
    let note = std::str::from_utf8(&text)
        .map_err(|_| "it is not UTF-8".to_owned())
        .and_then(|text| verified(text, node).map_err(|problem| problem.to_string()));
    note.map(Some).map_err(|detail| Error::damaged(format!("{}", path(dir).display()), detail))
}

fn verified(text: &str, node: &NodeKey) -> std::result::Result<SignedCheckpoint, thingdb_format::Error> {
    let note = SignedCheckpoint::parse(text)?;
    note.verify(node)?;
    Ok(note)
}

/// How the ledger stands against a checkpoint of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// The ledger has grown out of the checkpoint's state, or is in it.
    Consistent,
    /// The ledger is shorter than the checkpoint says.
    Truncated {
        /// Entries that the checkpoint counts.
        expected: u64,
        /// Entries that are here.
        found: u64,
    },
    /// The ledger is as long, but its first entries are others.
    Different {
        /// How many first entries the checkpoint covers.
        size: u64,
        /// The root that the checkpoint has for them.
        expected: Hash,
        /// The root that they have.
        found: Hash,
    },
    /// The checkpoint is of another node.
    OtherNode {
        /// The node of the checkpoint.
        found: Origin,
    },
}

impl Standing {
    /// Whether the ledger can be what the checkpoint's ledger became.
    #[must_use]
    pub const fn is_consistent(&self) -> bool {
        matches!(self, Self::Consistent)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consistent => write!(f, "the ledger agrees with the checkpoint"),
            Self::Truncated { expected, found } => {
                write!(f, "truncated: the checkpoint counts {expected} entries, the ledger has {found}")
            }
            Self::Different { size, expected, found } => {
                write!(f, "rolled back: the first {size} entries have root {found}, the checkpoint says {expected}")
            }
            Self::OtherNode { found } => write!(f, "the checkpoint is of the node {found}, not of this one"),
        }
    }
}

/// Holds the ledger's tree against a checkpoint.
pub(crate) fn compare(store: &Store, own: Origin, checkpoint: &Checkpoint) -> Result<Standing> {
    if checkpoint.origin != own {
        return Ok(Standing::OtherNode { found: checkpoint.origin });
    }
    let found = store.size();
    if checkpoint.size > found {
        return Ok(Standing::Truncated { expected: checkpoint.size, found });
    }
    let root = store.with_tree(|tree| tree.root_at(checkpoint.size))?;
    Ok(compare_root(checkpoint, root))
}

/// Holds a root that was computed for the checkpoint's size against it.
pub(crate) fn compare_root(checkpoint: &Checkpoint, found: Hash) -> Standing {
    if checkpoint.root == found {
        Standing::Consistent
    } else {
        Standing::Different { size: checkpoint.size, expected: checkpoint.root, found }
    }
}
