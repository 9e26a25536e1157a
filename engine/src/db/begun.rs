//! What was left in a directory when a database was being made and that was
//! broken off: everything but a keyring. Without one nothing in it can be read,
//! so it is made over, and what could be more is set aside.

use std::fs;
use std::path::Path;

use super::warning::Warning;
use crate::disk;
use crate::error::{Error, Result};
use crate::node::standing;
use crate::storage::open::Opened;
use crate::storage::{Batch, Direction, KeyRange, Storage, journal};
use crate::store::schema;

/// Where the storage lies.
const STORE: &str = "store";

/// Rows that one commit deletes.
const ROWS: usize = 512;

/// Opens a storage without rows. One that holds entries is refused: they wait
/// for their keyring. One that does not open is set aside if no entry was ever
/// counted here.
pub(crate) fn storage(dir: &Path, open: impl Fn() -> Result<Opened>) -> Result<(Opened, Option<Warning>)> {
    standing::refuse_entries(dir)?;
    match open() {
        Ok(opened) => {
            if opened.storage.scan(&schema::blocks(), Direction::Forward).next().transpose()?.is_some() {
                return Err(standing::lost_keyring(dir));
            }
            clear(&*opened.storage)?;
            Ok((opened, None))
        }
        Err(problem) if problem.is_damaged() => {
            let aside = set_aside(dir)?;
            let fact = format!(
                "a storage that was begun and never used does not open ({problem}); it was moved to {aside}, which can be removed"
            );
            Ok((open()?, Some(Warning::Repaired(fact))))
        }
        Err(problem) => Err(problem),
    }
}

/// Deletes rows of a keyring that never came to be: no other opens them.
fn clear(storage: &dyn Storage) -> Result<()> {
    loop {
        let mut batch = Batch::new();
        for row in storage.scan(&KeyRange::all(), Direction::Forward).take(ROWS) {
            batch.delete(row?.0);
        }
        if batch.is_empty() {
            return Ok(());
        }
        storage.commit(batch)?;
    }
}

/// Both copies, as far as they are there.
fn set_aside(dir: &Path) -> Result<String> {
    let mut moved = Vec::new();
    for name in [STORE, journal::DIRECTORY] {
        let path = dir.join(name);
        if path.symlink_metadata().is_err() {
            continue;
        }
        let free =
            (1_u32..).map(|n| dir.join(format!("{name}.aside-{n}"))).find(|aside| aside.symlink_metadata().is_err());
        let aside = free.expect("there are more numbers than names in a directory");
        fs::rename(&path, &aside)
            .and_then(|()| disk::sync_directory(dir))
            .map_err(Error::file(&path, "cannot be renamed"))?;
        moved.push(aside.display().to_string());
    }
    Ok(moved.join(" and "))
}
