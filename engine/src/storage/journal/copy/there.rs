//! What a copy has: its files, walked through as the journal's are.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::super::super::StorageError;
use super::super::file::{FRAMES_AT, FileHead, file_name, list};
use super::super::frame::{Head, Kind};
use super::super::reader::head_of;
use super::super::walk::{Step, Walk};
use super::super::{Hole, io_error};
use super::{PIECE_BYTES, corrupt};
use crate::disk::{Access, open_file};

/// How far before the end of a copy it is held against the journal.
const OVERLAP_BYTES: u64 = 1 << 20;

/// A file that was walked through.
pub(super) struct Walked {
    pub(super) end: u64,
    pub(super) next: u64,
    pub(super) holes: Vec<Hole>,
    /// See [`Journal::level`](super::Journal::level).
    pub(super) level: u64,
    /// Commits were given up where it was mended.
    pub(super) has_given_up: bool,
}

impl Walked {
    /// It was written anew, and nothing was lost.
    pub(super) fn is_compacted(&self) -> bool {
        self.level > 0 && !self.has_given_up && self.holes.is_empty()
    }
}

pub(super) fn walk(
    path: &Path,
    file: &File,
    head: &FileHead,
    limit: Option<u64>,
    until: u64,
) -> Result<Walked, StorageError> {
    let read = |error| io_error("read", path)(error);
    let mut walk = Walk::new(file.try_clone().map_err(read)?, head, limit);
    let mut found = Walked { end: FRAMES_AT, next: head.first, holes: Vec::new(), level: 0, has_given_up: false };
    while let Some(step) = walk.step().map_err(read)? {
        if let Step::Frame { head, .. } | Step::Absent { head, .. } = &step {
            found.level = found.level.max(head.level());
            found.has_given_up |= head.kind == Kind::GivenUp;
        }
        match step {
            Step::Frame { head, .. } | Step::Absent { head, .. } if head.sequence > until => return Ok(found),
            Step::Frame { .. } | Step::Absent { .. } => {}
            Step::Hole { at, bytes, sequences } => {
                if !sequences.is_empty() && *sequences.start() <= until {
                    found.holes.push(Hole { file: path.to_owned(), offset: at, bytes, sequences });
                }
            }
        }
        (found.end, found.next) = (walk.at(), walk.expected());
    }
    // A closing frame, or one that gives commits up.
    (found.end, found.next) = (walk.at(), walk.expected());
    Ok(found)
}

/// The last commit that a copy has; 0 for none. Refuses one of another database.
pub(super) fn copied_up_to(to: &Path, database: [u8; 16]) -> Result<u64, StorageError> {
    let files = match list(to) {
        Err(StorageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(0),
        files => files?,
    };
    for first in files.iter().rev() {
        let Some(copy) = Copy::open(to, *first)? else { continue };
        match copy.head {
            Some(head) if head.database != database => {
                return Err(corrupt(to, "it is of another database".to_owned()));
            }
            Some(_) => return Ok(copy.walked(None)?.next - 1),
            // It is copied anew.
            None => {}
        }
    }
    Ok(0)
}

/// A file of the copy.
pub(super) struct Copy {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) head: Option<FileHead>,
    pub(super) file_bytes: u64,
}

impl Copy {
    pub(super) fn open(to: &Path, first: u64) -> Result<Option<Self>, StorageError> {
        let path = to.join(file_name(first));
        let file = match open_file(&path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        let (head, file_bytes) = head_of(&file, first).map_err(io_error("read", &path))?;
        Ok(Some(Self { path, file, head, file_bytes }))
    }

    /// Whether it has all commits before `limit`. One that is as long as the file
    /// that it is a copy of has, without being looked through, unless it `is_doubted`.
    pub(super) fn is_complete(
        &self,
        of: Option<&FileHead>,
        of_bytes: u64,
        limit: u64,
        is_doubted: bool,
    ) -> Result<bool, StorageError> {
        let Some(head) = &self.head else { return Ok(false) };
        if of == Some(head) && self.file_bytes == of_bytes && !is_doubted {
            return Ok(true);
        }
        let found = walk(&self.path, &self.file, head, Some(limit), u64::MAX)?;
        Ok(found.holes.is_empty())
    }

    /// Its frames, up to its torn tail if no file follows it.
    pub(super) fn walked(&self, limit: Option<u64>) -> Result<Walked, StorageError> {
        match &self.head {
            Some(head) => walk(&self.path, &self.file, head, limit, u64::MAX),
            None => Ok(Walked { end: FRAMES_AT, next: 1, holes: Vec::new(), level: 0, has_given_up: false }),
        }
    }

    /// Whether another file of this header has the same commits, as far as both go.
    pub(super) fn has_the_same(
        &self,
        other: &File,
        head: &FileHead,
        path: &Path,
        limit: Option<u64>,
    ) -> Result<bool, StorageError> {
        let mut heads = [Vec::new(), Vec::new()];
        for (found, (file, path)) in heads.iter_mut().zip([(&self.file, &*self.path), (other, path)]) {
            let read = |error| io_error("read", path)(error);
            let mut walk = Walk::new(file.try_clone().map_err(read)?, head, limit);
            while let Some(step) = walk.step().map_err(read)? {
                if let Step::Frame { head: Head { sequence, body_bytes, body_crc, .. }, .. } = step {
                    found.push((sequence, body_bytes, body_crc));
                }
            }
        }
        let [here, there] = heads;
        Ok(here.iter().zip(&there).all(|(one, two)| one == two))
    }

    /// Whether it is the same as another file before `end`, as far as it is looked.
    pub(super) fn agrees(&self, other: &File, end: u64) -> io::Result<bool> {
        // What fills up the last frame may be cut.
        let end = end.min(self.file_bytes).min(other.metadata()?.len());
        let mut at = end.saturating_sub(OVERLAP_BYTES).max(FRAMES_AT);
        let (mut one, mut two) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
        while at < end {
            let n = usize::try_from(end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            self.file.read_exact_at(&mut one[..n], at)?;
            other.read_exact_at(&mut two[..n], at)?;
            if one[..n] != two[..n] {
                return Ok(false);
            }
            at += n as u64;
        }
        Ok(true)
    }
}
