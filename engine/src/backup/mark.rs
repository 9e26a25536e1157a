//! What tells of backups: in a backup of what it is one, in a database when and
//! where it was saved last.
//!
//! ```text
//! BACKUP, in a backup:
//!   thingdb backup 1
//!   database 3f2a...             32 hex digits, as in the journal
//!   commits 1024                 absent until the first backup was completed
//!   time 2026-11-30T10:00:00Z
//!
//! last-backup, in a database, a line for each place:
//!   2026-11-30T10:00:00Z 1024 /mnt/backup
//! ```

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use thingdb_format::Time;

use super::read_small;
use crate::directory::{BACKUP_MARK, LAST_BACKUP};
use crate::disk;
use crate::error::{Error, Result};

/// Places that are remembered.
const MAX_PLACES: usize = 16;

const TITLE: &str = "thingdb backup 1";

pub(super) struct Mark {
    pub(super) database: [u8; 16],
    pub(super) commits: u64,
    /// When it was completed, if it was.
    pub(super) time: Option<Time>,
}

impl Mark {
    /// The mark in a directory, if there is one.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(BACKUP_MARK);
        let Some(bytes) = read_small(&path)? else { return Ok(None) };
        let mark = std::str::from_utf8(&bytes).ok().and_then(Self::parse);
        mark.map(Some).ok_or_else(|| Error::damaged(path.display().to_string(), "it does not tell of a backup"))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let database = HEXLOWER.decode(lines.next()?.strip_prefix("database ")?.as_bytes()).ok()?;
        let mut mark = Self { database: database.try_into().ok()?, commits: 0, time: None };
        if let Some(line) = lines.next() {
            mark.commits = line.strip_prefix("commits ")?.parse().ok()?;
            mark.time = Some(lines.next()?.strip_prefix("time ")?.parse().ok()?);
        }
        Some(mark)
    }

    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let mut text = format!("{TITLE}\ndatabase {}\n", HEXLOWER.encode(&self.database));
        if let Some(time) = self.time {
            text.push_str(&format!("commits {}\ntime {time}\n", self.commits));
        }
        let path = dir.join(BACKUP_MARK);
        disk::replace_file(&path, text.as_bytes(), 0o600).map_err(Error::file(&path, "cannot be written"))
    }
}

/// A place to which a database was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastBackup {
    /// When that was done last.
    pub time: Time,
    /// Commits that the backup has.
    pub commits: u64,
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

fn parse(line: &str) -> Option<LastBackup> {
    let mut parts = line.splitn(3, ' ');
    let time = parts.next()?.parse().ok()?;
    let commits = parts.next()?.parse().ok()?;
    Some(LastBackup { time, commits, place: parts.next()?.into() })
}

/// Notes a backup in the database. One that lies where nothing can be written has
/// no note.
pub(super) fn note(dir: &Path, dest: &Path, commits: u64, time: Time) {
    let place = std::path::absolute(dest).unwrap_or_else(|_| dest.to_owned());
    let mut places = last_backups(dir).unwrap_or_default();
    places.retain(|known| known.place != place);
    places.insert(0, LastBackup { time, commits, place });
    let line = |known: &LastBackup| {
        let place = known.place.to_str().filter(|place| !place.contains('\n'))?;
        Some(format!("{} {} {place}\n", known.time, known.commits))
    };
    let text: String = places.iter().filter_map(line).take(MAX_PLACES).collect();
    let _ = disk::replace_file(&dir.join(LAST_BACKUP), text.as_bytes(), 0o600);
}
