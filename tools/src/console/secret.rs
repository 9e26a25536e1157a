//! Where a secret goes that is shown once: to stdout, or to a new file that
//! nobody but its owner can read.

use std::cell::RefCell;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::Console;
use super::replace::Replacement;
use crate::error::{Failure, Outcome};

/// Where a secret goes. The file is begun before the secret is made, so that
/// what stands in the way of it is found while nothing has happened.
pub(crate) struct Keep {
    file: Option<(PathBuf, RefCell<Option<Replacement>>)>,
}

impl Keep {
    /// Begins the file that an argument names; `-` and nothing are stdout.
    pub(crate) fn new(console: &Console, path: Option<&Path>) -> Outcome<Self> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else { return Ok(Self { file: None }) };
        let begun = console.secret(path).map_err(|failure| match failure.word() {
            "already-exists" => failure.cause("it may hold a secret that nobody has elsewhere").hint("name a new file"),
            _ => failure,
        })?;
        Ok(Self { file: Some((path.to_owned(), RefCell::new(Some(begun)))) })
    }

    /// Writes the secret into the file, if there is one.
    pub(crate) fn write(&self, secret: &str) -> Outcome {
        let Some((path, begun)) = &self.file else { return Ok(()) };
        let Some(mut begun) = begun.take() else { return Ok(()) };
        let line = zeroize::Zeroizing::new(format!("{secret}\n"));
        begun.write_all(line.as_bytes()).map_err(|problem| Failure::file(&path.display().to_string(), &problem))?;
        begun.end()
    }

    /// The file that holds the secret.
    pub(crate) fn file(&self) -> Option<String> {
        self.file.as_ref().map(|(path, _)| path.display().to_string())
    }

    /// The secret, if stdout is where it goes.
    pub(crate) fn shown<'a>(&self, secret: &'a str) -> Option<&'a str> {
        self.file.is_none().then_some(secret)
    }
}
