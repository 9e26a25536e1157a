//! A JSON array in the place of ndjson: of objects, or of strings that hold one
//! line each. It becomes lines as it is read, element by element.

use std::io::{self, BufRead, BufReader, Read};

use super::text::AfterMark;

/// The longest element, in bytes: the longest line, escaped.
const MAX_ELEMENT_BYTES: usize = 64 << 20;

/// Lines, whatever the source holds, and whether it is an array: ndjson goes
/// through as it is, after its byte order mark if it has one.
pub(crate) fn lines<'a>(source: impl Read + 'a) -> io::Result<(Box<dyn BufRead + 'a>, bool)> {
    let mut source = BufReader::with_capacity(256 << 10, AfterMark::new(source));
    let mut blank = 0;
    let is_array = loop {
        // What is wrong with the source is told when it is read.
        let Ok(buffer) = source.fill_buf() else { break false };
        match buffer.get(blank) {
            Some(byte) if byte.is_ascii_whitespace() => blank += 1,
            Some(byte) => break *byte == b'[',
            // Only blanks so far, as many as fit: that is no array.
            None => break false,
        }
    };
    if !is_array {
        return Ok((Box::new(source), false));
    }
    source.consume(blank + 1);
    let elements = Elements { source, ready: Vec::new(), at: 0, ended: false, first: true };
    Ok((Box::new(BufReader::new(elements)), true))
}

/// The elements of an array, one a line.
struct Elements<R> {
    source: R,
    ready: Vec<u8>,
    at: usize,
    ended: bool,
    first: bool,
}

impl<R: BufRead> Elements<R> {
    /// The next byte that is not blank.
    fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            let buffer = self.source.fill_buf()?;
            let Some(byte) = buffer.first().copied() else { return Ok(None) };
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.source.consume(1);
        }
    }

    /// Reads one element and makes a line of it.
    fn next_line(&mut self) -> io::Result<()> {
        match self.peek()? {
            Some(b']') => {
                self.source.consume(1);
                self.ended = true;
                return match self.peek()? {
                    None => Ok(()),
                    Some(_) => Err(invalid("something follows the end of the array")),
                };
            }
            Some(b',') if !self.first => self.source.consume(1),
            Some(_) if self.first => {}
            Some(_) => return Err(invalid("a comma is missing between two elements of the array")),
            None => return Err(cut()),
        }
        self.first = false;
        let element = self.element()?;
        let mut line = if element.first() == Some(&b'"') {
            let text: String = serde_json::from_slice(&element).map_err(|problem| invalid(&problem.to_string()))?;
            text.into_bytes()
        } else {
            element
        };
        // A line feed within an object is white space; within a string it would
        // make two lines of one.
        line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        line.push(b'\n');
        self.ready = line;
        self.at = 0;
        Ok(())
    }

    /// The bytes of one element: an object, or a string.
    fn element(&mut self) -> io::Result<Vec<u8>> {
        let open = self.peek()?.ok_or_else(cut)?;
        if !matches!(open, b'{' | b'"') {
            return Err(invalid("an element of the array is neither an object nor a string"));
        }
        let mut element = Vec::new();
        let (mut depth, mut in_string, mut escaped) = (0_u32, false, false);
        loop {
            let buffer = self.source.fill_buf()?;
            if buffer.is_empty() {
                return Err(cut());
            }
            let mut used = 0;
            let mut done = false;
            for byte in buffer {
                used += 1;
                element.push(*byte);
                match (in_string, *byte) {
                    (true, _) if escaped => escaped = false,
                    (true, b'\\') => escaped = true,
                    (true, b'"') => in_string = false,
                    (true, _) => {}
                    (false, b'"') => in_string = true,
                    (false, b'{' | b'[') => depth = depth.saturating_add(1),
                    (false, b'}' | b']') => depth = depth.saturating_sub(1),
                    (false, _) => {}
                }
                done = depth == 0 && !in_string;
                if done {
                    break;
                }
            }
            self.source.consume(used);
            if element.len() > MAX_ELEMENT_BYTES {
                return Err(invalid("an element of the array is longer than any line may be"));
            }
            if done {
                return Ok(element);
            }
        }
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the array has no end")
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_owned())
}

impl<R: BufRead> Read for Elements<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.ready.len() {
            if self.ended {
                return Ok(0);
            }
            self.ready.clear();
            self.at = 0;
            self.next_line()?;
        }
        let left = self.ready.get(self.at..).unwrap_or_default();
        let count = left.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), left.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unwrapped(text: &str) -> io::Result<String> {
        let mut out = String::new();
        lines(text.as_bytes())?.0.read_to_string(&mut out)?;
        Ok(out)
    }

    #[test]
    fn arrays_of_objects_and_of_lines_become_lines() {
        assert_eq!(unwrapped("{\"a\":1}\n{}\n").unwrap(), "{\"a\":1}\n{}\n");
        assert_eq!(unwrapped(" [ ]").unwrap(), "");
        assert_eq!(unwrapped("[{\"a\":[1,\"]}\"]},\n{\"b\":\n2}]\n").unwrap(), "{\"a\":[1,\"]}\"]}\n{\"b\": 2}\n");
        assert_eq!(unwrapped(r#"["{\"a\":\"x\"}", "{}"]"#).unwrap(), "{\"a\":\"x\"}\n{}\n");
    }

    #[test]
    fn arrays_that_are_cut_or_malformed_are_told() {
        for bad in ["[", "[{", "[{}", "[{},", "[{} {}]", "[1]", "[{}]x", "[,{}]", r#"["a]"#] {
            assert!(unwrapped(bad).is_err(), "{bad}");
        }
    }
}
