//! Files that are there whole or not at all: written beside their place, then
//! moved there.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::channel::Channel;
use crate::error::{Failure, Outcome};

/// How a file takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As any other: instead of what is there, with the mode that the umask leaves.
    Public,
    /// The same, in folders that are made if they are not there.
    Deep,
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
    if path.exists() && !path.is_file() {
        let file = std::fs::OpenOptions::new().write(true).open(path)?;
        return Ok(Place { out: Channel::own(file), pending: None });
    }
    if manner == Manner::Secret && path.symlink_metadata().is_ok() {
        return Err(rustix::io::Errno::EXIST.into());
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    if manner == Manner::Deep {
        std::fs::create_dir_all(dir)?;
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".thingdb-");
    // What the umask leaves of this.
    let mode = if manner == Manner::Secret { 0o600 } else { 0o666 };
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    let file = builder.tempfile_in(dir).map_err(bare)?;
    let out = Channel::own(file.as_file().try_clone()?);
    Ok(Place { out, pending: Some(Box::new(Beside { path: path.to_owned(), file, manner })) })
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
            Manner::Public | Manner::Deep => self.file.persist(&self.path),
            Manner::Secret => self.file.persist_noclobber(&self.path),
        };
        moved.map(drop).map_err(|problem| problem.error)
    }
}
