//! Mending: a file with holes is written anew without them.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::super::StorageError;
use super::file::{FRAMES_AT, Unfinished, file_name, list};
use super::frame::{ALIGN, Head, Kind};
use super::reader::head_of;
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
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        let old_head = match &old {
            Some(file) => head_of(file, first).map_err(io_error("read", &path))?.0,
            None => None,
        };
        // That of the newest file counts, which is not this one.
        let generation = old_head.map_or(0, |head| head.generation);
        let head = new_head(self.database, generation, first, previous);
        let made = Unfinished::create(&self.dir, &head)?;
        let mut out = Out { made: &made, seed: head.seed(), at: FRAMES_AT, durable: limit - 1 };
        match (old, old_head) {
            (Some(file), Some(old_head)) => {
                let mut walk = Walk::new(file, &old_head, Some(limit));
                while let Some(step) = walk.step().map_err(io_error("read", &path))? {
                    match step {
                        Step::Frame { at, head } => {
                            let body = walk.body(at, &head).map_err(io_error("read", &path))?;
                            out.write(head, body)?;
                        }
                        Step::Hole { sequences, .. } if sequences.is_empty() => {}
                        Step::Hole { sequences, .. } => out.give_up(*sequences.start(), *sequences.end())?,
                    }
                }
                keep_damaged(&path)?;
            }
            (old, _) => {
                out.give_up(first, limit - 1)?;
                if old.is_some() {
                    keep_damaged(&path)?;
                }
            }
        }
        made.finish()?;
        if first < self.first.load(Ordering::Acquire) {
            self.first.store(first, Ordering::Release);
        }
        Ok(())
    }
}

/// A name under which the file stays when another one takes its place.
pub(super) fn keep_damaged(path: &Path) -> Result<(), StorageError> {
    for n in 0_u32.. {
        let end = if n == 0 { "damaged".to_owned() } else { format!("damaged-{n}") };
        let kept = path.with_extension(end);
        match fs::hard_link(path, &kept) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error("keep", path)(error)),
            Ok(()) => break,
        }
    }
    crate::disk::sync_directory(parent_of(path)).map_err(io_error("sync", path))
}

/// The file that is made.
struct Out<'a> {
    made: &'a Unfinished,
    seed: u32,
    at: u64,
    /// Everything up to it was durable.
    durable: u64,
}

impl Out<'_> {
    fn write(&mut self, head: Head, body: &[u8]) -> Result<(), StorageError> {
        let head = Head { durable: self.durable, ..head };
        let mut bytes = head.encode(self.seed).to_vec();
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(ALIGN as usize), 0);
        self.made.file().write_all_at(&bytes, self.at).map_err(io_error("write", self.made.temporary()))?;
        self.at += head.frame_bytes();
        Ok(())
    }

    fn give_up(&mut self, first: u64, last: u64) -> Result<(), StorageError> {
        let body = last.to_le_bytes();
        let head = Head {
            kind: Kind::GivenUp,
            body_bytes: 8,
            sequence: first,
            durable: self.durable,
            body_crc: crc32c::crc32c(&body),
        };
        self.write(head, &body)
    }
}
