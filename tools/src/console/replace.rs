//! Files that are there whole or not at all: written beside their place, then
//! moved there.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tempfile::NamedTempFile;

use super::channel::Channel;
use crate::error::{Failure, Outcome};

/// How the name of a file begins that is beside its place.
const PREFIX: &str = ".thingdb-";

/// How a file takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As any other: instead of what is there, with the mode that the umask leaves.
    Public,
    /// The same, so many names below a directory: folders are made if they are not there.
    /// Below that directory nothing is a link, and what is there is a regular file. The
    /// file is begun in the directory itself, where what a killed one has left is found.
    Below(u8),
    /// Readable by its owner only, and never instead of another file: what is
    /// there may be the only copy of a secret.
    Secret,
}

/// What is written until it takes its place.
pub(crate) struct Place {
    /// Takes what is written.
    pub(crate) out: Channel,
    /// Moves it to its place; absent where it is written in its place, as
    /// `/dev/stdout` is.
    pub(crate) pending: Option<Box<dyn Pending>>,
}

/// A file beside its place. It leaves nothing behind when it is dropped.
pub(crate) trait Pending: Send {
    /// Moves the file to its place once the disk has it.
    fn commit(self: Box<Self>) -> io::Result<()>;
}

/// A file that takes its place when [`Replacement::end`] is called and leaves
/// nothing behind otherwise.
pub(crate) struct Replacement {
    path: PathBuf,
    place: Place,
}

impl Replacement {
    /// What will be at `path`.
    pub(crate) fn new(path: &Path, place: Place) -> Self {
        Self { path: path.to_owned(), place }
    }

    /// Moves the file to its place once the disk has it.
    pub(crate) fn end(self) -> Outcome {
        let committed = self.place.pending.map_or(Ok(()), Pending::commit);
        committed.map_err(|problem| Failure::file(&self.path.display().to_string(), &problem))
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.place.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.place.out.flush()
    }
}

/// Starts to write what will be at `path`. What is there and no regular file,
/// such as `/dev/stdout`, is written as it is.
pub(crate) fn beside(path: &Path, manner: Manner) -> io::Result<Place> {
    if let Manner::Below(folders) = manner {
        return below(path, folders);
    }
    if path.exists() && !path.is_file() {
        let file = std::fs::OpenOptions::new().write(true).open(path)?;
        return Ok(Place { out: Channel::own(file), pending: None });
    }
    if manner == Manner::Secret && path.symlink_metadata().is_ok() {
        return Err(rustix::io::Errno::EXIST.into());
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    begun(path, dir, manner)
}

fn begun(path: &Path, dir: &Path, manner: Manner) -> io::Result<Place> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    // What the umask leaves of this.
    let mode = if manner == Manner::Secret { 0o600 } else { 0o666 };
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    let file = builder.tempfile_in(dir).map_err(bare)?;
    // As long as it is held, nobody takes it for what a killed one has left. Where files
    // cannot be locked, nobody takes any away.
    let _ = flock(file.as_file(), FlockOperation::NonBlockingLockExclusive);
    let out = Channel::own(file.as_file().try_clone()?);
    Ok(Place { out, pending: Some(Box::new(Beside { path: path.to_owned(), file, manner })) })
}

/// Starts to write what will be at `path`, so many names below a directory.
fn below(path: &Path, folders: u8) -> io::Result<Place> {
    let dir = path.ancestors().nth(folders.into()).unwrap_or_else(|| Path::new(""));
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    std::fs::create_dir_all(dir)?;
    let other = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    let between: Vec<&Path> = path.ancestors().skip(1).take(usize::from(folders).saturating_sub(1)).collect();
    for folder in between.into_iter().rev() {
        match folder.symlink_metadata() {
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => std::fs::create_dir(folder)?,
            Ok(found) if !found.is_dir() => return Err(other(&format!("{} is no directory", folder.display()))),
            Ok(_) => {}
            Err(problem) => return Err(problem),
        }
    }
    match path.symlink_metadata() {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => {}
        Ok(found) if !found.is_file() => return Err(other("it is no regular file")),
        Ok(_) => {}
        Err(problem) => return Err(problem),
    }
    take_away_left(dir)?;
    begun(path, dir, Manner::Below(folders))
}

/// Takes away files that were begun in a directory, and that nobody writes any more.
fn take_away_left(dir: &Path) -> io::Result<()> {
    for found in std::fs::read_dir(dir)? {
        let found = found?;
        let is_begun = found.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if !is_begun || !found.file_type()?.is_file() {
            continue;
        }
        // One that is gone meanwhile has taken its place.
        let Ok(file) = std::fs::File::open(found.path()) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = std::fs::remove_file(found.path());
        }
    }
    Ok(())
}

/// The error without the name of the file that was tried, which nobody asked
/// for.
fn bare(problem: io::Error) -> io::Error {
    let text = problem.to_string();
    let text = text.split(" at path ").next().unwrap_or_default();
    io::Error::new(problem.kind(), text.to_owned())
}

/// A file of this process beside its place.
struct Beside {
    path: PathBuf,
    file: NamedTempFile,
    manner: Manner,
}

impl Pending for Beside {
    fn commit(self: Box<Self>) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        let moved = match self.manner {
            Manner::Public | Manner::Below(_) => self.file.persist(&self.path),
            Manner::Secret => self.file.persist_noclobber(&self.path),
        };
        moved.map(drop).map_err(|problem| problem.error)
    }
}
