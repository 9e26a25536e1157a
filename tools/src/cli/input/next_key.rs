//! A file that keeps a next key.

use std::io::Write;
use std::path::Path;

use thingdb::NextKeyFile;

use crate::console::Console;
use crate::console::replace::Replacement;
use crate::error::{Failure, Outcome};
use crate::text::printable;

/// A new file for a next key, begun before anything else happens.
pub(crate) struct NewFile<'a> {
    out: Replacement,
    path: &'a Path,
}

impl<'a> NewFile<'a> {
    pub(crate) fn begin(console: &Console, path: &'a Path) -> Outcome<Self> {
        let out = console.secret(path).map_err(|failure| match failure.word() {
            "already-exists" => failure.cause("it may hold a key that nobody has elsewhere").hint("name a new file"),
            _ => failure,
        })?;
        Ok(Self { out, path })
    }

    /// Writes the key. It is on the disk when this returns.
    pub(crate) fn end(mut self, console: &Console, kept: &NextKeyFile) -> Outcome {
        let name = self.path.display().to_string();
        self.out.write_all(kept.as_bytes()).map_err(|problem| Failure::file(&name, &problem))?;
        self.out.end()?;
        console.note(&format!("the next key is in {}; keep it where this database is not", printable(&name)));
        Ok(())
    }
}
