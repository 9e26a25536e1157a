//! The file of `--rejects`: the refused lines, as they came.
//!
//! It only grows. What an earlier run kept in it stays, and it is never the
//! input itself: the lines that were good would go with the others.

use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::console::channel::Channel;
use crate::console::{Access, Console};
use crate::error::{Failure, Outcome};

/// Takes refused lines.
pub(crate) struct Rejects {
    path: String,
    out: BufWriter<Channel>,
}

impl Rejects {
    /// Opens the file at `path`, if one is asked for, for the lines of `input`
    /// that will be refused.
    pub(crate) fn open(console: &Console, path: Option<&String>, input: &Channel) -> Outcome<Option<Self>> {
        let Some(path) = path else { return Ok(None) };
        let failure = |problem: io::Error| Failure::file(path, &problem);
        let file = console.open(Path::new(path), Access::Append).map_err(failure)?;
        if is_same_file(input, &file) {
            return Err(Failure::usage(format!("{path} is the input: the refused lines cannot be kept there"))
                .cause("nothing was read, and nothing was written to it")
                .hint("--rejects FILE, with the name of another file"));
        }
        let mut out = BufWriter::new(file.clone());
        if ends_within_line(&file).map_err(failure)? {
            out.write_all(b"\n").map_err(failure)?;
        }
        Ok(Some(Self { path: path.clone(), out }))
    }

    /// Keeps a line without its end.
    pub(crate) fn line(&mut self, line: &[u8]) -> Outcome {
        let written = self.out.write_all(line).and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|problem| Failure::file(&self.path, &problem))
    }

    /// Where lines with their ends go.
    pub(crate) const fn out(&mut self) -> &mut dyn Write {
        &mut self.out
    }

    /// Hands on what is left.
    pub(crate) fn end(mut self) -> Outcome {
        self.out.flush().map_err(|problem| Failure::file(&self.path, &problem))
    }
}

/// Whether both are one file on a disk, by whatever names they were opened.
fn is_same_file(one: &Channel, other: &Channel) -> bool {
    let identity = |channel: &Channel| channel.file().metadata().ok().map(|data| (data.dev(), data.ino()));
    one.is_regular() && other.is_regular() && identity(one) == identity(other)
}

/// Whether the file holds something that no line feed ends.
fn ends_within_line(file: &Channel) -> io::Result<bool> {
    if !file.is_regular() {
        return Ok(false);
    }
    let Some(last) = file.file().metadata()?.len().checked_sub(1) else { return Ok(false) };
    let mut byte = [0];
    file.file().read_exact_at(&mut byte, last)?;
    Ok(byte != *b"\n")
}
