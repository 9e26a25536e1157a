//! What is written to somewhere outside: how much, and what went wrong there.

use std::io::{self, Write};

/// Counts what is written, and keeps the first problem of a writer, so that a closed pipe is told apart
/// from a problem of the database.
pub(crate) struct Watched<'a, W: Write> {
    out: &'a mut W,
    /// Bytes so far.
    pub(crate) written: u64,
    /// What went wrong first.
    pub(crate) problem: Option<io::Error>,
}

impl<'a, W: Write> Watched<'a, W> {
    /// Nothing is written yet.
    pub(crate) const fn new(out: &'a mut W) -> Self {
        Self { out, written: 0, problem: None }
    }

    fn watch<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|problem| {
            let copy = io::Error::new(problem.kind(), problem.to_string());
            self.problem.get_or_insert(problem);
            copy
        })
    }
}

impl<W: Write> Write for Watched<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        let written = self.watch(written)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.watch(result)
    }
}
