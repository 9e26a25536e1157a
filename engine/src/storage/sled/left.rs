//! How the store was left: a small file beside sled's own, replaced as a whole.
//!
//! ```text
//! left   thingdb left 1
//!        closed LENGTH END HEADERS BLOBS SNAPSHOT WHOLE    after the last handle was closed
//!        open INODE UNUSED WHOLE                           before sled writes anything
//!        CRC-32 of the lines above
//! ```
//!
//! `LENGTH` is that of `db`, `END` the LSN behind its last message, `HEADERS` a
//! hash of what its segments begin with, `BLOBS` one of the names and lengths of
//! the blobs, `SNAPSHOT` the name of the newest snapshot or `-`. `INODE` is that
//! of `db`: a copy of the directory has another. `UNUSED` are the segments that
//! sled had no use for, with commas, or `-`. `WHOLE` is up to which commit of the
//! journal, and in which generation of it, the store has everything that there was,
//! as `SEQUENCE.GENERATION`; or `-` if there may be commits that it has not.
//!
//! While it says `closed`, nothing has any business to change the files.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::files::names_in;
use super::log::Header;
use super::pages::{is_unfinished, snapshot_names};
use super::walk::Log;
use crate::disk::{Access, of_temporary, open_file, replace_file, sync_directory};

const FILE: &str = "left";

const FIRST_LINE: &str = "thingdb left 1";

/// More than the list of unused segments of a log of a terabyte has.
const MOST_BYTES: u64 = 64 << 20;

/// How a store was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nobody noted it, or the note does not read.
    Unknown,
    /// It was closed.
    Closed(Closed, Option<Whole>),
    /// It was not closed.
    Open(Open),
}

/// Up to which commit a store has everything that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) sequence: u64,
    /// The generation of the journal in which that commit has this sequence.
    pub(crate) generation: u32,
}

impl Whole {
    fn word(whole: Option<Self>) -> String {
        whole.map_or_else(|| "-".to_owned(), |whole| format!("{}.{}", whole.sequence, whole.generation))
    }

    fn of_word(word: &str) -> Option<Option<Self>> {
        if word == "-" {
            return Some(None);
        }
        let (sequence, generation) = word.split_once('.')?;
        Some(Some(Self { sequence: sequence.parse().ok()?, generation: generation.parse().ok()? }))
    }
}

/// What a closed store looks like, as far as that is read in no time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) length: u64,
    pub(super) end: i64,
    pub(super) headers: String,
    pub(super) blobs: String,
    pub(super) snapshot: String,
}

/// What is noted before sled writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) inode: u64,
    pub(super) unused: BTreeSet<usize>,
    pub(super) whole: Option<Whole>,
}

impl Closed {
    /// What the store looks like now.
    pub(super) fn of(log: &Log<'_>, end: i64) -> io::Result<Self> {
        let mut headers = Sha256::new();
        for header in &log.headers {
            match header {
                Header::Used { lsn, stable } => {
                    headers.update(lsn.to_le_bytes());
                    headers.update(stable.to_le_bytes());
                }
                Header::Unused => headers.update(i64::MIN.to_le_bytes()),
                Header::Bad => headers.update(i64::MAX.to_le_bytes()),
            }
        }
        let mut blobs = Vec::new();
        let directory = log.store.join("blobs");
        // Who copied the store may have left an empty directory out.
        let names = match names_in(&directory) {
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => Vec::new(),
            names => names?,
        };
        for name in names {
            match fs::symlink_metadata(directory.join(&name)) {
                Ok(found) => blobs.push((name, found.len())),
                Err(problem) if problem.kind() == io::ErrorKind::NotFound => {}
                Err(problem) => return Err(problem),
            }
        }
        blobs.sort();
        let mut hash = Sha256::new();
        for (name, length) in blobs {
            hash.update(name.as_encoded_bytes());
            hash.update([0]);
            hash.update(length.to_le_bytes());
        }
        let newest = snapshot_names(log.store)?.into_iter().filter(|name| !is_unfinished(name)).max();
        Ok(Self {
            length: log.length,
            end,
            headers: HEXLOWER.encode(&headers.finalize()),
            blobs: HEXLOWER.encode(&hash.finalize()),
            snapshot: newest.and_then(|name| name.into_string().ok()).unwrap_or_else(|| "-".to_owned()),
        })
    }

    /// What of the log is not as it was when this was noted.
    pub(super) fn difference(&self, now: &Self) -> Option<String> {
        if now.length != self.length {
            return Some(format!("'db' has {} bytes, and had {} when it was closed", now.length, self.length));
        }
        if now.headers != self.headers {
            return Some("a segment of 'db' does not begin as it did when it was closed".to_owned());
        }
        (now.end != self.end)
            .then(|| format!("the log ends at LSN {}, and ended at {} when it was closed", now.end, self.end))
    }
}

impl Left {
    /// What is noted in the store.
    pub(super) fn read(store: &Path) -> io::Result<Self> {
        let mut text = String::new();
        match open_file(&store.join(FILE), Access::Read) {
            Ok(file) => match file.take(MOST_BYTES).read_to_string(&mut text) {
                Ok(_) => Ok(Self::parse(&text).unwrap_or(Self::Unknown)),
                Err(problem) if problem.kind() == io::ErrorKind::InvalidData => Ok(Self::Unknown),
                Err(problem) => Err(problem),
            },
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(Self::Unknown),
            Err(problem) => Err(problem),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (lines, crc) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        if crc != format!("{:08x}", crc32fast::hash(lines.as_bytes())) {
            return None;
        }
        let mut words = lines.strip_prefix(FIRST_LINE)?.strip_prefix('\n')?.split(' ');
        let left = match words.next()? {
            "closed" => {
                let closed = Closed {
                    length: words.next()?.parse().ok()?,
                    end: words.next()?.parse().ok()?,
                    headers: words.next()?.to_owned(),
                    blobs: words.next()?.to_owned(),
                    snapshot: words.next()?.to_owned(),
                };
                Self::Closed(closed, Whole::of_word(words.next()?)?)
            }
            "open" => Self::Open(Open {
                inode: words.next()?.parse().ok()?,
                unused: match words.next()? {
                    "-" => BTreeSet::new(),
                    list => list.split(',').map(|index| index.parse().ok()).collect::<Option<_>>()?,
                },
                whole: Whole::of_word(words.next()?)?,
            }),
            _ => return None,
        };
        words.next().is_none().then_some(left)
    }

    /// Notes it, durably. Where there is no room for it the note that is there
    /// goes, so that it says nothing wrong.
    pub(super) fn write(&self, store: &Path) -> io::Result<()> {
        let path = store.join(FILE);
        match replace_file(&path, self.text().as_bytes(), 0o600) {
            Err(problem) if matches!(problem.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                match fs::remove_file(&path) {
                    Err(problem) if problem.kind() != io::ErrorKind::NotFound => Err(problem),
                    _ => sync_directory(store),
                }
            }
            written => written,
        }
    }

    fn text(&self) -> String {
        let line = match self {
            Self::Unknown => String::new(),
            Self::Closed(Closed { length, end, headers, blobs, snapshot }, whole) => {
                format!("closed {length} {end} {headers} {blobs} {snapshot} {}", Whole::word(*whole))
            }
            Self::Open(Open { inode, unused, whole }) => {
                let list: Vec<_> = unused.iter().map(usize::to_string).collect();
                let list = if list.is_empty() { "-".to_owned() } else { list.join(",") };
                format!("open {inode} {list} {}", Whole::word(*whole))
            }
        };
        let lines = format!("{FIRST_LINE}\n{line}");
        format!("{lines}\n{:08x}\n", crc32fast::hash(lines.as_bytes()))
    }
}

/// The inode of the log.
pub(super) fn inode_of_log(store: &Path) -> io::Result<u64> {
    Ok(fs::symlink_metadata(store.join("db"))?.ino())
}

/// Removes notes that were being written when a process was killed, of whatever kind.
pub(super) fn sweep(store: &Path) -> io::Result<()> {
    for name in names_in(store)? {
        if name.to_str().and_then(of_temporary).is_some() {
            fs::remove_file(store.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes() -> [Left; 4] {
        let closed = Closed {
            length: 1 << 40,
            end: 77,
            headers: "ab".into(),
            blobs: "cd".into(),
            snapshot: "snap.0000000000000000".into(),
        };
        let whole = Some(Whole { sequence: u64::MAX, generation: 7 });
        [
            Left::Closed(closed.clone(), whole),
            Left::Closed(closed, None),
            Left::Open(Open { inode: u64::MAX, unused: [3, 9, 100_000].into(), whole: None }),
            Left::Open(Open { inode: 0, unused: BTreeSet::new(), whole }),
        ]
    }

    #[test]
    fn a_note_reads_back() {
        let store = tempfile::tempdir().unwrap();
        assert_eq!(Left::read(store.path()).unwrap(), Left::Unknown);
        for note in notes() {
            note.write(store.path()).unwrap();
            assert_eq!(Left::read(store.path()).unwrap(), note);
        }
    }

    #[test]
    fn a_damaged_note_says_nothing() {
        for note in notes() {
            let text = note.text().into_bytes();
            for at in 0..text.len() {
                assert_eq!(Left::parse(std::str::from_utf8(&text[..at]).unwrap()), None, "cut at {at}");
                for bit in 0..8 {
                    let mut flipped = text.clone();
                    flipped[at] ^= 1 << bit;
                    if let Ok(flipped) = std::str::from_utf8(&flipped) {
                        assert_eq!(Left::parse(flipped), None, "bit {bit} of byte {at}");
                    }
                }
            }
        }
    }
}
