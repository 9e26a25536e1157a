//! Mending: a file with holes is written anew without them.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::super::StorageError;
use super::file::{FileHead, Unfinished, file_name, list};
use super::frame::Kind;
use super::reader::{self, head_of};
use super::rewrite::Rewrite;
use super::walk::{Step, Walk};
use super::{Hole, Journal, io_error, lock, new_head};
use crate::disk::{Access, open_file, parent_of};

impl Journal {
    /// Writes the file of a hole anew, without any of its holes, and gives the
    /// commits in them up: they are not missed any more. What they held has to be
    /// elsewhere by now, as in newer commits. The file as it was is kept as
    /// `NAME.damaged`. One that is missing is made.
    ///
    /// # Errors
    /// [`StorageError::DiskFull`] and [`StorageError::Io`]: the file is as it was.
    pub fn mend(&self, hole: &Hole) -> Result<(), StorageError> {
        let mut tail = lock(&self.tail);
        self.check_not_stopped()?;
        // What a hole was found in must be durable and stay as it is.
        if hole.file == tail.path {
            self.rotate(&mut tail, 0)?;
        }
        drop(tail);
        let name = hole.file.file_name().and_then(|name| name.to_str());
        let first = name.and_then(super::file::first_of_name).unwrap_or_else(|| *hole.sequences.start());
        let files = list(&self.dir)?;
        let Some(limit) = files.iter().copied().find(|file| *file > first) else { return Ok(()) };
        let previous = files.iter().copied().rfind(|file| *file < first).unwrap_or(0);
        let path = self.dir.join(file_name(first));
        let old = match open_file(&path, Access::Read) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        let is_old = old.is_some();
        let walk = match old {
            Some(file) => walk_of(file, first, limit).map_err(io_error("read", &path))?,
            None => None,
        };
        // That of the newest file counts, which is not this one.
        let generation = walk.as_ref().map_or(0, |(_, old, _)| old.generation);
        let head = new_head(self.database, generation, first, previous);
        let made = Unfinished::create(&self.dir, &head)?;
        match walk {
            Some((mut walk, _, level)) => {
                let mut out = Rewrite::new(&made, &head, level.max(limit - 1));
                while let Some(step) = walk.step().map_err(io_error("read", &path))? {
                    match step {
                        Step::Frame { at, head } => {
                            let body = walk.body(at, &head).map_err(io_error("read", &path))?;
                            out.frame(head, body)?;
                        }
                        Step::Absent { head, last } => out.absent(head.kind, head.sequence, last)?,
                        Step::Hole { sequences, .. } if sequences.is_empty() => {}
                        Step::Hole { sequences, .. } => {
                            out.absent(Kind::GivenUp, *sequences.start(), *sequences.end())?;
                        }
                    }
                }
                out.flush()?;
            }
            None => {
                let mut out = Rewrite::new(&made, &head, limit - 1);
                out.absent(Kind::GivenUp, first, limit - 1)?;
                out.flush()?;
            }
        }
        if is_old {
            keep_damaged(&path)?;
        }
        made.finish()?;
        if first < self.first.load(Ordering::Acquire) {
            self.first.store(first, Ordering::Release);
        }
        Ok(())
    }
}

/// A walk over a file whose header is whole, that header, and the file's level.
fn walk_of(file: File, first: u64, limit: u64) -> io::Result<Option<(Walk, FileHead, u64)>> {
    let Some(head) = head_of(&file, first)?.0 else { return Ok(None) };
    let level = reader::level(file.try_clone()?, &head, Some(limit))?;
    Ok(Some((Walk::new(file, &head, Some(limit)), head, level)))
}

/// A name under which the file stays when another one takes its place.
pub(super) fn keep_damaged(path: &Path) -> Result<(), StorageError> {
    for n in 0_u32.. {
        let end = if n == 0 { "damaged".to_owned() } else { format!("damaged-{n}") };
        let kept = path.with_extension(end);
        match fs::hard_link(path, &kept) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error("keep", path)(error)),
            Ok(()) => break,
        }
    }
    crate::disk::sync_directory(parent_of(path)).map_err(io_error("sync", path))
}
