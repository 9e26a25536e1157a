//! Opening to read only: from the journal alone. Nothing is written, no lock is
//! taken, nobody is waited for.
//!
//! Who writes meanwhile writes the keyring before anything that is sealed with a
//! new key of it, and the checkpoint after what it counts. So the checkpoint is
//! read before the journal, and the keyring once more after it if it was replaced.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::Db;
use super::options::Options;
use super::warning::Warning;
use crate::directory;
use crate::error::{Error, Result};
use crate::keyring::{Keyring, KeyringError, Opening, Unlock};
use crate::node::standing::{self, Kept};
use crate::storage::StorageError;
use crate::storage::journal::{self, Hole};
use crate::storage::open::Opened;
use crate::storage::view::View;

/// Opens a database and writes nothing; others may write.
pub(crate) fn open(dir: &Path, unlock: Unlock<'_>, options: &Options) -> Result<Db> {
    let path = dir.join(directory::KEYRING);
    let which = || fs::metadata(&path).ok().map(|found| (found.ino(), found.mtime(), found.mtime_nsec()));
    let before = which();
    let keyring = keyring(dir, unlock)?;
    let kept = standing::load(dir, &keyring);
    let path_of_journal = dir.join(journal::DIRECTORY);
    let view = Arc::new(View::open(&path_of_journal, None).map_err(|problem| match problem {
        StorageError::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
            let detail = "it is missing, and a database is opened to read only from its journal";
            Error::damaged(path_of_journal.display().to_string(), detail)
        }
        problem => problem.into(),
    })?);
    let mut keyring = if which() == before { keyring } else { self::keyring(dir, unlock)? };
    keyring.refuse_changes();
    let opened = Opened { storage: Box::new(Arc::clone(&view)), notices: Vec::new() };
    let db = Db::assemble(dir, None, opened, keyring, None, Some(kept), options)?;
    db.node.committer.close(Error::OpenedReadOnly);
    db.node.pass_over_erased()?;
    view.seal();
    view.holes().iter().filter_map(told).for_each(|warning| db.warn(warning));
    Ok(db)
}

/// The same where nothing can be written, and says so.
pub(crate) fn open_there(dir: &Path, unlock: Unlock<'_>, options: &Options) -> Result<Db> {
    let db = open(dir, unlock, options)?;
    db.warn(Warning::ReadOnly("nothing can be written where it lies: it is opened to read only".to_owned()));
    Ok(db)
}

fn keyring(dir: &Path, unlock: Unlock<'_>) -> Result<Keyring> {
    let is_right = |keyring: &Keyring| matches!(standing::load(dir, keyring), Ok(Kept::Own(_) | Kept::Former));
    let opening = Opening { may_write: false, is_right: &is_right };
    Keyring::open_with(&dir.join(directory::KEYRING), unlock, &opening, &mut rand::rng()).map_err(|problem| {
        match problem {
            KeyringError::NotFound { .. } => Error::NoDatabase { dir: dir.to_owned() },
            problem => problem.into(),
        }
    })
}

fn told(hole: &Hole) -> Option<Warning> {
    let (first, last) = hole.sequences.clone().into_inner();
    let name = hole.file.display();
    (first <= last).then(|| Warning::Damaged(format!("{name}: the commits {first} to {last} cannot be read")))
}
