//! Appending: where the next frame goes, and the room for it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use rustix::fs::{FallocateFlags, fallocate};

use super::super::{Change, StorageError};
use super::Stopped;
use super::file::{FRAMES_AT, FileHead, Unfinished, file_name};
use super::frame::{HEAD_BYTES, Head, Kind, body_bytes, each_piece, frame_bytes};
use super::{Journal, JournalOptions, io_error, lock, new_head};

/// Bodies above it are not copied whole before they are written.
const PIECE_BYTES: usize = 1 << 20;

/// The least and the most that is allocated ahead.
const STEP_BYTES: std::ops::RangeInclusive<u64> = (256 << 10)..=(16 << 20);

/// The end of the journal. Owned by whoever appends.
pub(super) struct Tail {
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
    pub(super) head: FileHead,
    /// Where the next frame goes.
    pub(super) at: u64,
    /// Up to where the file has room.
    pub(super) allocated: u64,
    /// The sequence that the next commit gets.
    pub(super) next: u64,
}

impl Tail {
    /// Makes a file with room for a frame of so many bytes.
    pub(super) fn create(
        dir: &Path,
        head: &FileHead,
        options: &JournalOptions,
        bytes: u64,
    ) -> Result<Self, StorageError> {
        let made = Unfinished::create(dir, head)?;
        let allocated = allocate(made.file(), made.temporary(), FRAMES_AT, bytes, options)?;
        let file = Arc::new(made.finish()?);
        Ok(Self {
            file,
            path: dir.join(file_name(head.first)),
            head: *head,
            at: FRAMES_AT,
            allocated,
            next: head.first,
        })
    }

    fn write(&self, head: &Head, body: &Body<'_>) -> io::Result<()> {
        let head_bytes = head.encode(self.head.seed());
        let fill =
            vec![0; usize::try_from(head.frame_bytes()).expect("below 4 GiB") - HEAD_BYTES - head.body_bytes as usize];
        let mut out = At { file: &self.file, at: self.at, waiting: Vec::new() };
        match body {
            Body::Whole(body) => {
                out.waiting.reserve_exact(HEAD_BYTES + body.len() + fill.len());
                out.waiting.extend(head_bytes);
                out.waiting.extend(body);
            }
            Body::Pieces(changes) => {
                out.put(&head_bytes)?;
                each_piece(changes, |piece| out.put(piece))?;
            }
        }
        out.waiting.extend(fill);
        out.flush()
    }
}

/// Writes at a place in a file, in large pieces.
struct At<'a> {
    file: &'a File,
    at: u64,
    waiting: Vec<u8>,
}

impl At<'_> {
    fn put(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.waiting.len() + piece.len() > PIECE_BYTES {
            self.flush()?;
        }
        if piece.len() >= PIECE_BYTES {
            self.file.write_all_at(piece, self.at)?;
            self.at += piece.len() as u64;
        } else {
            self.waiting.extend(piece);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.waiting, self.at)?;
        self.at += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

/// The body of a frame, in one piece if it is small.
enum Body<'a> {
    Whole(Vec<u8>),
    Pieces(&'a [Change]),
}

impl<'a> Body<'a> {
    /// The body and its checksum.
    fn new(changes: &'a [Change], bytes: usize) -> (Self, u32) {
        let mut crc = 0;
        let mut whole = Vec::new();
        let is_small = bytes <= PIECE_BYTES;
        if is_small {
            whole.reserve_exact(bytes);
        }
        each_piece(changes, |piece| {
            if is_small {
                whole.extend(piece);
            } else {
                crc = crc32c::crc32c_append(crc, piece);
            }
            Ok(())
        })
        .expect("nothing is written");
        if is_small {
            let crc = crc32c::crc32c(&whole);
            return (Self::Whole(whole), crc);
        }
        (Self::Pieces(changes), crc)
    }
}

impl Journal {
    /// Appends a commit and returns its sequence. On return it survives the end
    /// of the process; see [`Journal::sync`]. No changes are no commit: the
    /// sequence is that of the commit before.
    ///
    /// # Errors
    /// [`StorageError::DiskFull`]: nothing was stored, and a later commit may have
    /// room. [`StorageError::ReadOnly`], [`StorageError::SyncFailed`] or
    /// [`StorageError::Closed`]: nothing is appended any more; the commit that
    /// came upon it may show after the next opening.
    pub fn append(&self, changes: &[Change]) -> Result<u64, StorageError> {
        if changes.is_empty() {
            return Ok(self.appended.load(Ordering::Acquire));
        }
        let bytes = body_bytes(changes);
        let Ok(body_bytes) = u32::try_from(bytes) else {
            let too_large = io::Error::new(io::ErrorKind::FileTooLarge, format!("a commit of {bytes} bytes"));
            return Err(io_error("append to the journal in", &self.dir)(too_large));
        };
        let (body, body_crc) = Body::new(changes, body_bytes as usize);
        let mut tail = lock(&self.tail);
        self.check_not_stopped()?;
        let bytes = frame_bytes(bytes);
        if tail.at > FRAMES_AT && tail.at + bytes > self.options.file_bytes {
            self.rotate(&mut tail, bytes)?;
        }
        self.make_room(&mut tail, bytes)?;
        let sequence = tail.next;
        let durable = self.durable.load(Ordering::Acquire);
        let head = Head { kind: Kind::Changes, body_bytes, sequence, durable, body_crc };
        self.write(&mut tail, &head, &body)?;
        tail.next += 1;
        self.appended.store(sequence, Ordering::Release);
        Ok(sequence)
    }

    /// Makes everything durable, writes that the journal was closed, and ends
    /// writing. A second close does nothing.
    ///
    /// # Errors
    /// [`StorageError::ReadOnly`] or [`StorageError::SyncFailed`] if writing was
    /// over before, or the sync fails. A disk without room for the closing frame
    /// is no error: the next opening looks through the last file.
    pub fn close(&self) -> Result<(), StorageError> {
        let _alone = lock(&self.compacting);
        let mut tail = lock(&self.tail);
        match self.stopped() {
            Some(Stopped::Closed) => return Ok(()),
            Some(stopped) => return Err(stopped.error()),
            None => {}
        }
        self.sync_up_to(self.appended.load(Ordering::Acquire))?;
        let durable = self.durable.load(Ordering::Acquire);
        let end = Head { kind: Kind::End, body_bytes: 0, sequence: tail.next, durable, body_crc: crc32c::crc32c(&[]) };
        let written = match self.make_room(&mut tail, HEAD_BYTES as u64) {
            Ok(()) => self.write(&mut tail, &end, &Body::Whole(Vec::new())).map(|()| true),
            Err(StorageError::DiskFull { .. }) => Ok(false),
            Err(error) => Err(error),
        };
        match written {
            Ok(true) => {
                tail.file.set_len(tail.at).map_err(|error| self.end_writing("cut", &tail.path, error))?;
                self.sync_now()?;
            }
            Ok(false) | Err(StorageError::DiskFull { .. }) => {}
            Err(error) => return Err(error),
        }
        self.stop(Stopped::Closed);
        Ok(())
    }

    fn write(&self, tail: &mut Tail, head: &Head, body: &Body<'_>) -> Result<(), StorageError> {
        match tail.write(head, body) {
            Ok(()) => {
                tail.at += head.frame_bytes();
                Ok(())
            }
            Err(error) if is_full(&error) && tail.file.set_len(tail.at).is_ok() => {
                tail.allocated = tail.at;
                Err(self.disk_full(head.frame_bytes()))
            }
            Err(error) => Err(self.end_writing("write", &tail.path, error)),
        }
    }

    fn make_room(&self, tail: &mut Tail, bytes: u64) -> Result<(), StorageError> {
        if tail.at + bytes > tail.allocated {
            tail.allocated = allocate(&tail.file, &tail.path, tail.at, bytes, &self.options)?;
        }
        Ok(())
    }

    /// Goes on in a new file. Everything before it is durable then.
    pub(super) fn rotate(&self, tail: &mut Tail, bytes: u64) -> Result<(), StorageError> {
        self.sync_up_to(self.appended.load(Ordering::Acquire))?;
        // A file without a commit gives its name to the new one.
        let previous = if tail.next == tail.head.first { tail.head.previous } else { tail.head.first };
        let head = new_head(self.database, self.generation(), tail.next, previous);
        let new = match Tail::create(&self.dir, &head, &self.options, bytes) {
            Ok(new) => new,
            Err(StorageError::Io { source, .. }) if is_full(&source) => return Err(self.disk_full(bytes)),
            Err(StorageError::Io { action: action @ ("sync" | "rename"), path, source }) => {
                return Err(self.end_writing(action, &path, source));
            }
            Err(error) => return Err(error),
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&new.file);
        let old = std::mem::replace(tail, new);
        // If that fails the room stays unused, nothing more.
        let _ = old.file.set_len(old.at);
        Ok(())
    }

    fn disk_full(&self, bytes: u64) -> StorageError {
        StorageError::DiskFull {
            free: free_bytes(&self.dir).unwrap_or(0),
            floor: self.options.free_floor_bytes.saturating_add(bytes),
            path: self.dir.clone(),
        }
    }
}

/// Allocates room for a frame of so many bytes at `at`, and more ahead. Returns
/// up to where there is room.
fn allocate(file: &File, path: &Path, at: u64, bytes: u64, options: &JournalOptions) -> Result<u64, StorageError> {
    let free = free_bytes(path).map_err(io_error("look up the free space of", path))?;
    let floor = options.free_floor_bytes;
    let full = || StorageError::DiskFull { free, floor: floor.saturating_add(bytes), path: path.to_owned() };
    if free < floor.saturating_add(bytes) {
        return Err(full());
    }
    let ahead = at.clamp(*STEP_BYTES.start(), *STEP_BYTES.end()).min(options.file_bytes.saturating_sub(at));
    let ahead = ahead.min((free - floor) / 4);
    for length in [bytes.max(ahead), bytes] {
        match fallocate(file, FallocateFlags::empty(), at, length) {
            Ok(()) => return Ok(at + length),
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => {}
            // A file system that cannot: the file grows as it is written.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {
                return Ok(at + bytes);
            }
            Err(error) => return Err(io_error("allocate room in", path)(error.into())),
        }
    }
    Err(full())
}

/// The bytes that a program without privileges may still write.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
