//! A JSON array in the place of ndjson, on the way out: each line becomes an
//! element, for clients that know no streams.

use std::io::{self, Write};

/// Writes lines, each a JSON value, as the elements of an array.
pub(crate) struct Array<W> {
    out: W,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was written.
    Empty,
    /// A line has begun.
    Within,
    /// A line has ended; whether another comes is not known.
    Between,
}

impl<W: Write> Array<W> {
    /// An array that goes to `out`.
    pub(crate) const fn new(out: W) -> Self {
        Self { out, state: State::Empty }
    }

    /// Closes the array.
    pub(crate) fn end(mut self) -> io::Result<W> {
        self.out.write_all(if self.state == State::Empty { b"[]\n" } else { b"\n]\n" })?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Array<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match self.state {
                State::Empty => self.out.write_all(b"[\n")?,
                State::Between => self.out.write_all(b",\n")?,
                State::Within => {}
            }
            let ended = line.strip_suffix(b"\n");
            self.out.write_all(ended.unwrap_or(line))?;
            self.state = if ended.is_some() { State::Between } else { State::Within };
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(pieces: &[&str]) -> String {
        let mut array = Array::new(Vec::new());
        for piece in pieces {
            array.write_all(piece.as_bytes()).unwrap();
        }
        String::from_utf8(array.end().unwrap()).unwrap()
    }

    #[test]
    fn lines_become_elements_however_they_are_cut() {
        assert_eq!(array(&[]), "[]\n");
        assert_eq!(array(&["1\n"]), "[\n1\n]\n");
        for pieces in [&["1\n22\n3\n"][..], &["1", "\n2", "2\n", "3\n"], &["1\n", "22", "\n3\n"]] {
            assert_eq!(array(pieces), "[\n1,\n22,\n3\n]\n");
        }
    }
}
