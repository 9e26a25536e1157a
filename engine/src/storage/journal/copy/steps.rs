//! Carrying a plan out: the bytes that are copied, and the names that change.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::super::super::StorageError;
use super::super::file::{FRAMES_AT, FileHead, Unfinished, file_name};
use super::super::io_error;
use super::super::mend::keep_damaged;
use super::PIECE_BYTES;
use crate::disk::{self, Access, open_file};

pub(super) enum Copying {
    /// The whole file up to `end`, in the place of one that is damaged, or of none.
    Whole { from: File, head: FileHead, end: u64, damaged: Option<Damaged> },
    /// From `start` to `end`, to a file that is there.
    Append { from: File, first: u64, start: u64, end: u64 },
}

/// A damaged file of the copy.
pub(super) struct Damaged {
    pub(super) path: PathBuf,
    /// It may have what the journal has not.
    pub(super) is_kept: bool,
}

/// Makes the files of a copy in `to`. Returns the bytes that were written, and which
/// files were damaged.
pub(super) fn copy_to(to: &Path, steps: Vec<Copying>) -> Result<(u64, Vec<PathBuf>), StorageError> {
    let (mut bytes, mut mended) = (0, Vec::new());
    for step in steps {
        match step {
            Copying::Whole { from, head, end, damaged } => {
                let made = Unfinished::create(to, &head)?;
                copy_bytes(&from, made.file(), FRAMES_AT, end).map_err(io_error("write", made.temporary()))?;
                if damaged.as_ref().is_some_and(|damaged| damaged.is_kept) {
                    keep_damaged(&to.join(file_name(head.first)))?;
                }
                made.finish()?;
                mended.extend(damaged.map(|damaged| damaged.path));
                bytes += end;
            }
            Copying::Append { from, first, start, end } => {
                let path = to.join(file_name(first));
                let file = open_file(&path, Access::Write).map_err(io_error("open", &path))?;
                // What was begun and not finished, so that zeros take its place.
                file.set_len(start).map_err(io_error("cut", &path))?;
                copy_bytes(&from, &file, start, end).map_err(io_error("write", &path))?;
                file.sync_all().map_err(io_error("sync", &path))?;
                bytes += end.saturating_sub(start);
            }
        }
    }
    Ok((bytes, mended))
}

/// Makes the directory `to` with the files of `from`: the same ones, where the file
/// system can link them.
pub(super) fn link_files(from: &Path, to: &Path) -> Result<(), StorageError> {
    disk::create_private_directory(to).map_err(io_error("create", to))?;
    for entry in fs::read_dir(from).map_err(io_error("list", from))? {
        let entry = entry.map_err(io_error("list", from))?;
        let (old, new) = (entry.path(), to.join(entry.file_name()));
        if fs::hard_link(&old, &new).is_err() {
            fs::copy(&old, &new).map_err(io_error("copy", &old))?;
            open_file(&new, Access::Write).and_then(|file| file.sync_all()).map_err(io_error("sync", &new))?;
        }
    }
    disk::sync_directory(to).map_err(io_error("sync", to))
}

/// Gives each of two directories the name of the other, at once where the file
/// system can.
pub(super) fn exchange(new: &Path, old: &Path) -> Result<(), StorageError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            let aside = old.with_extension("aside-1");
            remove_all(&aside)?;
            fs::rename(old, &aside).map_err(io_error("rename", old))?;
            fs::rename(new, old).map_err(io_error("rename", new))?;
            remove_all(&aside)?;
        }
        Err(error) => return Err(io_error("exchange", new)(error.into())),
    }
    let parent = disk::parent_of(old);
    disk::sync_directory(parent).map_err(io_error("sync", parent))
}

pub(super) fn remove_all(dir: &Path) -> Result<(), StorageError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", dir)(error)),
        _ => Ok(()),
    }
}

fn copy_bytes(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    let mut at = start;
    to.set_len(end)?;
    // What fills up the last frame may be cut.
    let end = end.min(from.metadata()?.len());
    let mut piece = vec![0; PIECE_BYTES];
    while at < end {
        let n = usize::try_from(end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        from.read_exact_at(&mut piece[..n], at)?;
        to.write_all_at(&piece[..n], at)?;
        at += n as u64;
    }
    Ok(())
}
