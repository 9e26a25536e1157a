//! What tells of backups: in a backup of what it is one, in a database when and
//! where it was saved last.
//!
//! ```text
//! BACKUP, in a backup:
//!   thingdb backup 1
//!   database 3f2a...             32 hex digits, as in the journal
//!   commits 1024                 this and what follows: absent until the first
//!   time 2026-11-30T10:00:00.000000Z   backup was completed
//!   entries 4711                 of the ledger
//!   missing 17 20                a line for each range of commits that it lacks
//!   check 1cd86f77               first 4 bytes of SHA-256 of what stands before
//!
//! last-backup, in a database, a line for each place; `g2` if the journal was written
//! anew twice before:
//!   2026-11-30T10:00:00.000000Z 1024 /mnt/backup
//! ```

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use thingdb_format::{Hash, Time};

use super::read_small;
use crate::directory::{BACKUP_MARK, LAST_BACKUP};
use crate::disk;
use crate::error::{Error, Result};
use crate::storage::journal;

/// Places that are remembered.
const MAX_PLACES: usize = 16;

const TITLE: &str = "thingdb backup 1";

pub(super) struct Mark {
    pub(super) database: [u8; 16],
    pub(super) commits: u64,
    /// When it was completed, if it was.
    pub(super) time: Option<Time>,
    /// Entries that the ledger in it has, if that was noted.
    pub(super) entries: Option<u64>,
    /// Commits that it lacks.
    pub(super) missing: Vec<RangeInclusive<u64>>,
}

/// Ranges of missing commits that are noted.
const MAX_MISSING: usize = 1000;

impl Mark {
    /// One of a backup that was not completed.
    pub(super) const fn begun(database: [u8; 16]) -> Self {
        Self { database, commits: 0, time: None, entries: None, missing: Vec::new() }
    }

    /// The mark in a directory, if there is one.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(BACKUP_MARK);
        let Some(bytes) = read_small(&path)? else { return Ok(None) };
        let mark = std::str::from_utf8(&bytes).ok().and_then(Self::parse);
        mark.map(Some).ok_or_else(|| Error::damaged(path.display().to_string(), "it does not tell of a backup"))
    }

    fn parse(text: &str) -> Option<Self> {
        let text = match text.rfind("check ").map(|at| text.split_at(at)) {
            Some((text, end)) if end == check(text) => text,
            Some(_) => return None,
            // That of an older program.
            None => text,
        };
        let mut lines = text.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let database = HEXLOWER.decode(lines.next()?.strip_prefix("database ")?.as_bytes()).ok()?;
        let mut mark = Self::begun(database.try_into().ok()?);
        for line in lines {
            match line.split_once(' ')? {
                ("commits", commits) => mark.commits = commits.parse().ok()?,
                ("time", time) => mark.time = Some(time.parse().ok()?),
                ("entries", entries) => mark.entries = Some(entries.parse().ok()?),
                ("missing", range) => {
                    let (first, last) = range.split_once(' ')?;
                    mark.missing.push(first.parse().ok()?..=last.parse().ok()?);
                }
                _ => return None,
            }
        }
        Some(mark)
    }

    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let mut text = format!("{TITLE}\ndatabase {}\n", HEXLOWER.encode(&self.database));
        if let Some(time) = self.time {
            text.push_str(&format!("commits {}\ntime {time}\n", self.commits));
        }
        if let Some(entries) = self.entries {
            text.push_str(&format!("entries {entries}\n"));
        }
        for range in self.missing.iter().take(MAX_MISSING) {
            text.push_str(&format!("missing {} {}\n", range.start(), range.end()));
        }
        text.push_str(&check(&text));
        let path = dir.join(BACKUP_MARK);
        disk::replace_file(&path, text.as_bytes(), 0o600).map_err(Error::file(&path, "cannot be written"))
    }
}

fn check(text: &str) -> String {
    let hash = Hash::of(text.as_bytes()).to_string();
    format!("check {}\n", hash.get(..8).unwrap_or_default())
}

/// A place to which a database was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastBackup {
    /// When that was done last.
    pub time: Time,
    /// Commits that the backup has.
    pub commits: u64,
    /// How often the journal had been written anew: its commits are counted from 1
    /// on each time.
    pub generation: u32,
    /// Where it is.
    pub place: PathBuf,
}

/// The places to which the database in `dir` was saved, the last one first; none
/// if it never was.
///
/// # Errors
/// [`Error::File`] if what tells it cannot be read.
pub fn last_backups(dir: impl AsRef<Path>) -> Result<Vec<LastBackup>> {
    let bytes = read_small(&dir.as_ref().join(LAST_BACKUP))?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    // A line that is none tells nothing.
    Ok(text.lines().filter_map(parse).collect())
}

/// Whether the database in `dir` has dropped its first commits, as one does that keeps
/// [recent](crate::Keep::Recent) ones only: a first backup cannot be made of it then.
///
/// # Errors
/// [`Error::Storage`] if what tells it cannot be read.
pub fn has_dropped_commits(dir: impl AsRef<Path>) -> Result<bool> {
    Ok(journal::has_dropped(&dir.as_ref().join(journal::DIRECTORY))?)
}

fn parse(line: &str) -> Option<LastBackup> {
    let mut parts = line.splitn(3, ' ');
    let time = parts.next()?.parse().ok()?;
    let commits = parts.next()?.parse().ok()?;
    let rest = parts.next()?;
    // A place begins with a slash.
    let generation = rest.strip_prefix('g').and_then(|rest| rest.split_once(' '));
    let (generation, place) = match generation {
        Some((generation, place)) => (generation.parse().ok()?, place),
        None => (0, rest),
    };
    Some(LastBackup { time, commits, generation, place: place.into() })
}

/// The last commit that all backups of a database have, in this generation of its
/// journal; nothing if there is none.
pub(crate) fn fetched(dir: &Path, generation: u32) -> Option<u64> {
    // What cannot be read may be a backup that has nothing yet.
    let Ok(places) = last_backups(dir) else { return Some(0) };
    places.iter().map(|place| if place.generation == generation { place.commits } else { 0 }).min()
}

/// Forgets a place to which the database in `dir` was saved: nothing is kept for the
/// backup there any more, which cannot be gone on with then if recent commits only are
/// kept. Says whether it was known.
///
/// ```
/// # let tmp = tempfile::tempdir()?;
/// # let (dir, dest) = (tmp.path().join("things"), tmp.path().join("backup"));
/// # let passphrase = thingdb::Passphrase::new("correct horse battery");
/// # thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(&dir, &passphrase)?.close()?;
/// thingdb::backup(&dir, &dest)?;
/// assert!(thingdb::forget_backup(&dir, &dest)?);
/// assert!(thingdb::last_backups(&dir)?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::File`] if what tells it cannot be read or written.
pub fn forget_backup(dir: impl AsRef<Path>, place: impl AsRef<Path>) -> Result<bool> {
    let (dir, place) = (dir.as_ref(), place.as_ref());
    let place = std::path::absolute(place).unwrap_or_else(|_| place.to_owned());
    let mut places = last_backups(dir)?;
    let before = places.len();
    places.retain(|known| known.place != place);
    if places.len() == before {
        return Ok(false);
    }
    let path = dir.join(LAST_BACKUP);
    write_places(dir, &places).map_err(Error::file(path, "cannot be written"))?;
    Ok(true)
}

/// Notes a backup in the database. One that lies where nothing can be written has
/// no note.
pub(super) fn note(dir: &Path, dest: &Path, commits: u64, generation: u32, time: Time) {
    let place = std::path::absolute(dest).unwrap_or_else(|_| dest.to_owned());
    let mut places = last_backups(dir).unwrap_or_default();
    places.retain(|known| known.place != place);
    places.insert(0, LastBackup { time, commits, generation, place });
    let _ = write_places(dir, &places);
}

fn write_places(dir: &Path, places: &[LastBackup]) -> std::io::Result<()> {
    let line = |known: &LastBackup| {
        let place = known.place.to_str().filter(|place| !place.contains('\n'))?;
        let generation = if known.generation > 0 { format!("g{} ", known.generation) } else { String::new() };
        Some(format!("{} {} {generation}{place}\n", known.time, known.commits))
    };
    let text: String = places.iter().filter_map(line).take(MAX_PLACES).collect();
    disk::replace_file(&dir.join(LAST_BACKUP), text.as_bytes(), 0o600)
}
