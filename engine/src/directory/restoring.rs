//! The file `RESTORE`: a restore to this directory has not come to its end.
//!
//! ```text
//! thingdb restore 1
//! entries 4711                 as it was asked for; absent for all of them
//! from /mnt/backup/things      absent if the path is no text of one line
//! opened                       the restore itself has opened what it made
//! ```
//!
//! It is the first file that a restore writes, and the last that it touches: what
//! lies beside it is no database yet. A store shows that somebody has opened one
//! since, so that the mark is a stray one; unless it says that the restore did, to
//! read back what it made, and to give the node a new key.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::RESTORE_MARK;
use crate::disk::{self, Access};
use crate::error::{Error, Result};

const TITLE: &str = "thingdb restore 1";

/// More than a path has.
const MAX_BYTES: u64 = 1 << 16;

/// The line of a restore that has opened what it made.
const OPENED: &str = "opened";

/// Says that a restore from `src` begins, in a directory that is empty or has what
/// one has left that was broken off.
pub(crate) fn begin(dir: &Path, src: &Path, entries: Option<u64>) -> Result<()> {
    let mut text = format!("{TITLE}\n");
    if let Some(entries) = entries {
        text.push_str(&format!("entries {entries}\n"));
    }
    let src = std::path::absolute(src).unwrap_or_else(|_| src.to_owned());
    if let Some(src) = src.to_str().filter(|src| !src.contains('\n')) {
        text.push_str(&format!("from {src}\n"));
    }
    // The mark counts until what that one has opened is removed.
    if has_store(dir) {
        text.push_str(&format!("{OPENED}\n"));
    }
    write(dir, &text)
}

/// Says that the restore opens what it made: a store is no sign of somebody else
/// from here on.
pub(crate) fn opens(dir: &Path) -> Result<()> {
    let Some(text) = read(dir).filter(|text| !says_opened(text)) else { return Ok(()) };
    write(dir, &format!("{text}{OPENED}\n"))
}

fn write(dir: &Path, text: &str) -> Result<()> {
    let path = dir.join(RESTORE_MARK);
    disk::replace_file(&path, text.as_bytes(), 0o600).map_err(Error::file(&path, "cannot be written"))
}

/// Says that it has come to its end.
pub(crate) fn end(dir: &Path) -> Result<()> {
    let path = dir.join(RESTORE_MARK);
    match fs::remove_file(&path) {
        Err(problem) if problem.kind() == ErrorKind::NotFound => return Ok(()),
        removed => removed.map_err(Error::file(&path, "cannot be removed"))?,
    }
    // Of the directory: it is a database all the same, until a power cut brings the mark back.
    disk::sync_directory(dir).map_err(Error::file(dir, "cannot be synced"))
}

/// Whether a restore to the directory has not come to its end.
pub(crate) fn is_under_way(dir: &Path) -> bool {
    dir.join(RESTORE_MARK).symlink_metadata().is_ok()
        && (!has_store(dir) || read(dir).is_some_and(|text| says_opened(&text)))
}

fn has_store(dir: &Path) -> bool {
    dir.join("store").symlink_metadata().is_ok()
}

fn says_opened(text: &str) -> bool {
    text.lines().any(|line| line == OPENED)
}

/// Refuses a directory to which a restore has not come to its end.
pub(crate) fn refuse(dir: &Path) -> Result<()> {
    if !is_under_way(dir) {
        return Ok(());
    }
    let (entries, from) = told(dir).unwrap_or_default();
    Err(Error::RestoreUnfinished { dir: dir.to_owned(), from, entries })
}

/// What is known of it. That it is not finished is so whatever the file says.
fn told(dir: &Path) -> Option<(Option<u64>, Option<PathBuf>)> {
    let text = read(dir)?;
    let of = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    Some((of("entries ").and_then(|entries| entries.parse().ok()), of("from ").map(PathBuf::from)))
}

/// What the file says, if it is one of a restore.
fn read(dir: &Path) -> Option<String> {
    let mut text = String::new();
    let file = disk::open_file(&dir.join(RESTORE_MARK), Access::Read).ok()?;
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    text.starts_with(TITLE).then_some(text)
}
