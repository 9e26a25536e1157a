//! The node's own last checkpoint, kept beside the database.
//!
//! At open the ledger is held against it: one that is shorter, or whose first
//! entries have another root, was cut or set back. Who sets back the whole
//! directory, this file included, goes unnoticed here; a checkpoint that was
//! kept elsewhere shows it.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use thingdb_format::{Checkpoint, Hash, NodeKey, Origin, SignedCheckpoint, SigningKey};

use crate::disk::{self, Access};
use crate::error::{Error, Result};
use crate::keyring::{Keyring, KeyringError};
use crate::store::Store;

const FILE: &str = "checkpoint";

/// More than a checkpoint has.
const MAX_BYTES: u64 = 1 << 16;

/// Where the own checkpoint lies.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Signs the ledger as it is and replaces the file. The entries must be
/// durable.
pub(crate) fn sign(dir: &Path, key: &SigningKey, size: u64, root: Hash) -> Result<SignedCheckpoint> {
    let note = Checkpoint::new(key.node_key().origin(), size, root).sign(key)?;
    keep(dir, &note)?;
    Ok(note)
}

/// Replaces the file with a checkpoint that this node has signed.
pub(crate) fn keep(dir: &Path, note: &SignedCheckpoint) -> Result<()> {
    disk::replace_file(&path(dir), note.as_str().as_bytes(), 0o600)
        .map_err(Error::file(path(dir), "cannot be replaced"))
}

/// Keeps a copy of the checkpoint under another name, before the node gets a
/// key under which it does not verify. One that is kept already is not kept
/// twice, so that a change of keys that was broken off can be repeated.
pub(crate) fn keep_former(dir: &Path) -> Result<()> {
    let Some(text) = read(&path(dir))? else { return Ok(()) };
    for n in 1_u32.. {
        let copy = dir.join(format!("{FILE}.former-{n}"));
        match read(&copy)? {
            Some(kept) if kept == text => return Ok(()),
            Some(_) => {}
            None => {
                return disk::replace_file(&copy, &text, 0o600).map_err(Error::file(copy, "cannot be written"));
            }
        }
    }
    Ok(())
}

/// What lies in the place of the own checkpoint.
pub(crate) enum Kept {
    Nothing,
    Own(SignedCheckpoint),
    /// One of a key that the node had before: a change of its keys was broken
    /// off. The key that it has now has signed nothing yet.
    Former,
}

impl Kept {
    /// The checkpoint, if the node's key of now has signed it.
    pub(crate) fn own(self) -> Option<SignedCheckpoint> {
        match self {
            Self::Own(note) => Some(note),
            Self::Nothing | Self::Former => None,
        }
    }
}

/// The checkpoint that is kept, if there is one.
pub(crate) fn load(dir: &Path, keyring: &Keyring) -> Result<Kept> {
    let Some(text) = read(&path(dir))? else { return Ok(Kept::Nothing) };
    let damaged = |detail: String| Error::damaged(format!("{}", path(dir).display()), detail);
    let text = std::str::from_utf8(&text).map_err(|_| damaged("it is not UTF-8".to_owned()))?;
    match verified(text, &keyring.node_key().node_key()) {
        Ok(note) => Ok(Kept::Own(note)),
        Err(_) if keyring.former_nodes().iter().any(|former| verified(text, &former.node_key).is_ok()) => {
            Ok(Kept::Former)
        }
        Err(problem) => Err(damaged(problem.to_string())),
    }
}

/// The node that the checkpoint in `dir` names, whoever signed it.
pub(crate) fn claimed_origin(dir: &Path) -> Option<Origin> {
    claimed(dir).ok().flatten().map(|note| note.claimed().origin)
}

/// The checkpoint in `dir`, whoever signed it. That it cannot be read for now is an
/// error: there may be one.
fn claimed(dir: &Path) -> Result<Option<SignedCheckpoint>> {
    let text = match read(&path(dir)) {
        Err(problem) if problem.is_passing() => return Err(problem),
        text => text.ok().flatten(),
    };
    Ok(text.and_then(|text| SignedCheckpoint::parse(std::str::from_utf8(&text).ok()?).ok()))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let read = disk::open_file(path, Access::Read).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(problem) => Err(Error::file(path, "cannot be read")(problem)),
    }
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

/// What a directory without a keyring is.
pub(crate) fn without_keyring(dir: &Path) -> Error {
    refuse_entries(dir).err().unwrap_or_else(|| Error::NoDatabase { dir: dir.to_owned() })
}

/// Refuses a directory whose checkpoint counts entries.
pub(crate) fn refuse_entries(dir: &Path) -> Result<()> {
    if claimed(dir)?.is_some_and(|note| note.claimed().size > 0) { Err(lost_keyring(dir)) } else { Ok(()) }
}

pub(crate) fn lost_keyring(dir: &Path) -> Error {
    KeyringError::Lost { dir: dir.to_owned() }.into()
}
