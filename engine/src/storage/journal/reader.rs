//! Reading a journal, beside its writer or without one. Nothing is written and
//! nothing is waited for: what is whole is read, up to the first commit that is
//! not.
//!
//! A file that was compacted lacks what later commits have replaced, and deletions of
//! what files before it had. So what is read are the files of one moment: all are
//! opened before the first is read, and it counts if none was replaced until the last
//! one was open.

use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::super::{Change, StorageError};
use super::file::{FRAMES_AT, FileHead, file_name, list};
use super::first::first_kept;
use super::frame::{self, HEAD_BYTES, Head};
use super::io_error;
use super::walk::{Step, Walk};
use crate::disk::{Access, open_file};

/// A part of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The changes of one commit.
    Frame {
        /// Its place among all commits.
        sequence: u64,
        /// What it changes, in order.
        changes: Vec<Change>,
    },
    /// Commits that were durable and cannot be read.
    Hole(Hole),
}

/// Commits that were durable and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The file; it may be missing.
    pub file: PathBuf,
    /// Where in the file the damage begins.
    pub offset: u64,
    /// How many bytes of the file are none that count; 0 if they are missing.
    pub bytes: u64,
    /// The sequences that should be there. There are none if only something
    /// strange lies between two frames.
    pub sequences: RangeInclusive<u64>,
}

/// A frame where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawFrame {
    pub(crate) sequence: u64,
    /// The first sequence of its file.
    pub(crate) file: u64,
    /// Where in the file its body begins.
    pub(crate) body_at: u64,
    head: frame::Head,
    at: u64,
}

/// What a [`Reader`] comes to.
pub(crate) enum Raw {
    Frame(RawFrame),
    Hole(Hole),
}

/// Files that are held open; those beyond are opened when they are read.
const OPEN_FILES: usize = 512;

/// How often files are listed anew that were replaced meanwhile.
const TRIES: u32 = 100;

/// One of the files.
pub(super) struct Listed {
    pub(super) first: u64,
    /// `None` if no header of it is whole.
    pub(super) head: Option<FileHead>,
    pub(super) file_bytes: u64,
    path: PathBuf,
    file: Option<File>,
    inode: u64,
}

impl Listed {
    /// The file that was listed.
    pub(super) fn open(&self) -> Result<File, StorageError> {
        if let Some(file) = &self.file {
            return file.try_clone().map_err(io_error("open", &self.path));
        }
        let file = open_file(&self.path, Access::Read).map_err(io_error("open", &self.path))?;
        if head_of(&file, self.first).map_err(io_error("read", &self.path))?.0 == self.head {
            return Ok(file);
        }
        Err(replaced(&self.path))
    }
}

/// It is no more what it was; that is passing.
fn replaced(path: &Path) -> StorageError {
    let text = "it was compacted meanwhile: try it again";
    io_error("read", path)(io::Error::new(io::ErrorKind::ResourceBusy, text))
}

/// Reads the frames of a journal in their order.
pub(crate) struct Reader {
    dir: PathBuf,
    files: std::vec::IntoIter<Listed>,
    /// The file that is read.
    walk: Option<(FileHead, Walk)>,
    /// The file that is missing behind it, if one is.
    missing: Option<u64>,
    expected: u64,
    from: u64,
    /// The last commit without which what was read is not whole.
    needed: u64,
    /// A hole that was found at the change of files, before the next one.
    pending: Option<Hole>,
    database: Option<[u8; 16]>,
    generation: u32,
}

impl Reader {
    /// Reads from the commit with the sequence `from` on.
    pub(crate) fn new(dir: &Path, from: u64) -> Result<Self, StorageError> {
        let from = from.max(first_kept(dir)?);
        let mut files = heads(dir)?;
        let database = one_database(dir, &files)?;
        let generation = files.iter().filter_map(|file| file.head).map(|head| head.generation).max().unwrap_or(0);
        // What ends before `from` is not needed.
        let begin = files.iter().rposition(|file| file.first <= from).unwrap_or(0);
        files.drain(..begin);
        let expected = files.first().map_or(from, |file| file.first.min(from));
        Ok(Self {
            dir: dir.to_owned(),
            files: files.into_iter(),
            walk: None,
            missing: None,
            expected,
            from,
            needed: 0,
            pending: None,
            database,
            generation,
        })
    }

    /// The database that the journal is of, if it says so anywhere.
    pub(crate) fn database(&self) -> Option<[u8; 16]> {
        self.database
    }

    /// The newest generation of a file.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// The first commit that is kept; 1 if all are.
    pub(crate) fn first(&self) -> u64 {
        self.from
    }

    /// The sequence behind the last commit that was read.
    pub(crate) fn expected(&self) -> u64 {
        self.expected
    }

    /// The last commit without which what was read is not whole; 0 if none of the
    /// files was compacted.
    pub(crate) fn needed(&self) -> u64 {
        self.needed
    }

    /// Whether there is no file.
    pub(crate) fn is_absent(&self) -> bool {
        self.walk.is_none() && self.files.len() == 0
    }

    /// The file of the frame that was returned last.
    pub(crate) fn file(&self) -> (PathBuf, FileHead) {
        let (head, _) = self.walk.as_ref().expect("a frame was returned");
        (self.dir.join(file_name(head.first)), *head)
    }

    /// The same, open.
    pub(crate) fn open_file(&self) -> io::Result<File> {
        self.walk.as_ref().expect("a frame was returned").1.file()
    }

    /// The changes of the frame that was returned last; `None` if it is malformed.
    pub(crate) fn places(&mut self, frame: &RawFrame) -> Result<Option<Vec<frame::Place>>, StorageError> {
        Ok(frame::places(self.body(frame)?))
    }

    pub(crate) fn next(&mut self) -> Result<Option<Raw>, StorageError> {
        loop {
            if let Some(hole) = self.pending.take() {
                if *hole.sequences.end() >= self.from {
                    return Ok(Some(Raw::Hole(hole)));
                }
                continue;
            }
            let Some((head, walk)) = &mut self.walk else {
                if self.open_next()? {
                    continue;
                }
                return Ok(None);
            };
            let file = head.first;
            let path = || self.dir.join(file_name(file));
            let step = walk.step().map_err(|error| io_error("read", &path())(error))?;
            self.expected = walk.expected().max(self.expected);
            if let Some(Step::Frame { head, .. } | Step::Absent { head, .. }) = &step {
                self.needed = self.needed.max(head.level());
            }
            match step {
                Some(Step::Absent { .. }) => {}
                Some(Step::Frame { head, .. }) if head.sequence < self.from => {}
                Some(Step::Frame { at, head }) => {
                    let body_at = at + frame::HEAD_BYTES as u64;
                    return Ok(Some(Raw::Frame(RawFrame { sequence: head.sequence, file, body_at, head, at })));
                }
                Some(Step::Hole { at, bytes, sequences }) => {
                    let missing = self.missing.filter(|first| bytes == 0 && sequences.contains(first));
                    let (file, offset) = match missing {
                        Some(first) => (self.dir.join(file_name(first)), 0),
                        None => (path(), at),
                    };
                    self.pending = Some(Hole { file, offset, bytes, sequences });
                }
                None if self.files.len() > 0 => self.walk = None,
                None if self.needed < self.expected => return Ok(None),
                None => self.miss(),
            }
        }
    }

    /// Commits behind the end are missing that whoever reads compacted files needs.
    fn miss(&mut self) {
        let Some((head, walk)) = &self.walk else { return };
        let (file, offset) = (self.dir.join(file_name(head.first)), walk.at());
        self.pending = Some(Hole { file, offset, bytes: 0, sequences: self.expected..=self.needed });
        self.expected = self.needed + 1;
    }

    /// The body of the frame that was returned last.
    pub(crate) fn body(&mut self, frame: &RawFrame) -> Result<&[u8], StorageError> {
        let path = self.dir.join(file_name(frame.file));
        let Some((_, walk)) = &mut self.walk else {
            return Err(io_error("read", &path)(io::ErrorKind::NotFound.into()));
        };
        walk.body(frame.at, &frame.head).map_err(io_error("read", &path))
    }

    /// Goes to the next file. Says whether there is one.
    fn open_next(&mut self) -> Result<bool, StorageError> {
        let Some(listed) = self.files.next() else { return Ok(false) };
        let path = self.dir.join(file_name(listed.first));
        let hole = |sequences: RangeInclusive<u64>, file: &Path, bytes| Hole {
            file: file.to_owned(),
            offset: 0,
            bytes,
            sequences,
        };
        if self.expected < listed.first {
            let missing = self.dir.join(file_name(self.expected));
            self.pending = Some(hole(self.expected..=listed.first - 1, &missing, 0));
            self.expected = listed.first;
        }
        let following = self.files.as_slice().first();
        let Some(head) = listed.head else {
            // How far it went is known from the file behind it, or bounded by what
            // would have had room in it.
            let last = match following {
                Some(next) => next.first - 1,
                None => bound(listed.first, listed.file_bytes),
            };
            let start = self.pending.take().map_or(listed.first, |missing| *missing.sequences.start());
            self.expected = last + 1;
            self.pending = Some(hole(start..=last, &path, listed.file_bytes));
            return Ok(true);
        };
        // If a file is missing behind this one, nobody knows where this one ended.
        let limit = following.map(|next| next.first);
        self.missing = following.and_then(|next| next.head).map(|next| next.previous).filter(|at| *at > head.first);
        let file = listed.open()?;
        self.walk = Some((head, Walk::new(file, &head, limit)));
        Ok(true)
    }
}

/// The files of a journal with their headers, as they are at one moment.
pub(super) fn heads(dir: &Path) -> Result<Vec<Listed>, StorageError> {
    for _ in 0..TRIES {
        let mut found = Vec::new();
        for first in list(dir)? {
            found.extend(listed(dir, first, found.len() < OPEN_FILES)?);
        }
        if are_current(dir, &found)? {
            return Ok(found);
        }
    }
    Err(replaced(dir))
}

/// One of them; nothing if it was dropped since.
fn listed(dir: &Path, first: u64, is_held: bool) -> Result<Option<Listed>, StorageError> {
    let path = dir.join(file_name(first));
    let file = match open_file(&path, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", &path)(error)),
    };
    let (head, file_bytes) = head_of(&file, first).map_err(io_error("read", &path))?;
    let inode = file.metadata().map_err(io_error("read", &path))?.ino();
    Ok(Some(Listed { first, head, file_bytes, path, file: is_held.then_some(file), inode }))
}

/// Whether there are the same files still.
fn are_current(dir: &Path, files: &[Listed]) -> Result<bool, StorageError> {
    for file in files {
        match fs::symlink_metadata(&file.path) {
            Ok(found) if found.ino() == file.inode => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("read", &file.path)(error)),
            _ => return Ok(false),
        }
    }
    Ok(list(dir)?.into_iter().eq(files.iter().map(|file| file.first)))
}

/// The header of a file, if it is whole and that of a file of this name; and the
/// file's length.
pub(super) fn head_of(file: &File, first: u64) -> io::Result<(Option<FileHead>, u64)> {
    let head = FileHead::read(file)?.filter(|head| head.first == first);
    Ok((head, file.metadata()?.len()))
}

/// The last commit with regard to which files in `dir` were written anew; 0 if none
/// was.
pub(super) fn newest_level(dir: &Path) -> Result<u64, StorageError> {
    let mut newest = 0;
    let files = heads(dir)?;
    for (at, listed) in files.iter().enumerate() {
        let Some(head) = listed.head else { continue };
        let limit = files.get(at + 1).map(|next| next.first);
        let found = level(listed.open()?, &head, limit).map_err(io_error("read", &listed.path))?;
        newest = newest.max(found);
    }
    Ok(newest)
}

/// The same of one file: each of its frames says it.
pub(super) fn level(file: File, head: &FileHead, limit: Option<u64>) -> io::Result<u64> {
    let mut bytes = [0; HEAD_BYTES];
    match file.read_exact_at(&mut bytes, FRAMES_AT) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
        Err(error) => return Err(error),
    }
    if let Some(first) = Head::decode(&bytes, head.seed()) {
        return Ok(first.level());
    }
    // Nothing is written yet, or it is damaged.
    let mut walk = Walk::new(file, head, limit);
    while let Some(step) = walk.step()? {
        if let Step::Frame { head, .. } | Step::Absent { head, .. } = step {
            return Ok(head.level());
        }
    }
    Ok(0)
}

/// The last sequence that a file without a header can have had.
pub(super) fn bound(first: u64, file_bytes: u64) -> u64 {
    first.saturating_add(file_bytes / frame::HEAD_BYTES as u64).min(u64::MAX - 1)
}

/// The files that are missing, as the names and headers of the others tell.
pub(super) fn missing(dir: &Path, kept: u64) -> Result<Vec<Hole>, StorageError> {
    let mut holes = Vec::new();
    let mut before = None;
    for listed in heads(dir)? {
        // Without a file before, what is not kept was dropped.
        let from = match (before, listed.head) {
            (None, _) => (kept < listed.first).then_some(kept),
            (Some(before), Some(head)) => (head.previous > before).then_some(head.previous),
            (Some(_), None) => None,
        };
        holes.extend(from.map(|from| Hole {
            file: dir.join(file_name(from)),
            offset: 0,
            bytes: 0,
            sequences: from..=listed.first - 1,
        }));
        before = Some(listed.first);
    }
    Ok(holes)
}

/// The database of which all files are.
fn one_database(dir: &Path, files: &[Listed]) -> Result<Option<[u8; 16]>, StorageError> {
    let mut database = None;
    for (first, head) in files.iter().filter_map(|file| file.head.map(|head| (file.first, head))) {
        if *database.get_or_insert(head.database) != head.database {
            return Err(StorageError::Corrupt {
                path: dir.to_owned(),
                detail: format!("the file {} is of another database than the files before it", file_name(first)),
            });
        }
    }
    Ok(database)
}

/// The frames of a journal with their changes; see [`read`].
pub struct Pieces {
    reader: Reader,
    ended: bool,
}

impl Pieces {
    fn piece(&mut self) -> Result<Option<Piece>, StorageError> {
        let frame = match self.reader.next()? {
            None => return Ok(None),
            Some(Raw::Hole(hole)) => return Ok(Some(Piece::Hole(hole))),
            Some(Raw::Frame(frame)) => frame,
        };
        let changes = frame::changes(self.reader.body(&frame)?);
        Ok(Some(match changes {
            Some(changes) => Piece::Frame { sequence: frame.sequence, changes },
            None => Piece::Hole(self.reader.malformed(&frame)),
        }))
    }
}

impl Reader {
    /// A frame whose checksum holds, and whose body is none.
    pub(crate) fn malformed(&self, frame: &RawFrame) -> Hole {
        Hole {
            file: self.dir.join(file_name(frame.file)),
            offset: frame.at,
            bytes: frame.head.frame_bytes(),
            sequences: frame.sequence..=frame.sequence,
        }
    }
}

impl Iterator for Pieces {
    type Item = Result<Piece, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let piece = self.piece();
        self.ended = !matches!(piece, Ok(Some(_)));
        piece.transpose()
    }
}

/// Reads the journal in `dir` from the commit with the sequence `from` on, past
/// its holes, to the last commit that is whole. After an error it ends.
///
/// # Errors
/// [`StorageError::Io`], and [`StorageError::Corrupt`] if the files are of
/// several databases.
pub fn read(dir: &Path, from: u64) -> Result<Pieces, StorageError> {
    Ok(Pieces { reader: Reader::new(dir, from)?, ended: false })
}
