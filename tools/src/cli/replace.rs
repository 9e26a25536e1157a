//! Files that are there whole or not at all: written beside their place, then
//! moved there.

use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;

use super::error::{Failure, Outcome};

/// A file that takes its place when [`Replacement::end`] is called and leaves
/// nothing behind otherwise.
pub(crate) struct Replacement<'a> {
    path: &'a Path,
    file: NamedTempFile,
}

impl<'a> Replacement<'a> {
    /// Starts to write what will be at `path`.
    pub(crate) fn start(path: &'a Path) -> Outcome<Self> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".thingdb-");
        // As any other new file: what the umask leaves of this.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(dir).map_err(|problem| failure(path, &problem))?;
        Ok(Self { path, file })
    }

    /// Moves the file to its place once the disk has it.
    pub(crate) fn end(self) -> Outcome {
        self.file.as_file().sync_all().map_err(|problem| failure(self.path, &problem))?;
        self.file.persist(self.path).map_err(|problem| failure(self.path, &problem.error))?;
        Ok(())
    }
}

impl Write for Replacement<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// Puts `bytes` at `path`. What is no regular file, such as `/dev/stdout`,
/// is written as it is.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Outcome {
    if path.exists() && !path.is_file() {
        return std::fs::write(path, bytes).map_err(|problem| failure(path, &problem));
    }
    let mut file = Replacement::start(path)?;
    file.write_all(bytes).map_err(|problem| failure(path, &problem))?;
    file.end()
}

fn failure(path: &Path, problem: &std::io::Error) -> Failure {
    Failure::file(&path.display().to_string(), problem)
}
