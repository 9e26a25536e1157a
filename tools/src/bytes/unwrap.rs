//! A JSON array in the place of ndjson: of objects, or of strings that hold one
//! line each. It becomes lines as it is read, element by element.

use std::io::{self, BufRead, BufReader, Read};

use super::unescape::Unescape;
use crate::text::{AfterMark, Utf16};

/// Lines, whatever the source holds, and whether it is an array: ndjson goes
/// through as it is, after its byte order mark if it has one.
pub(crate) fn lines<'a>(source: impl Read + 'a) -> io::Result<(Box<dyn BufRead + 'a>, bool)> {
    let mut source = BufReader::with_capacity(256 << 10, AfterMark::new(source));
    let mut blank = 0;
    let is_array = loop {
        let buffer = match source.fill_buf() {
            Ok(buffer) => buffer,
            // Nothing of it can be read as what it is taken for.
            Err(problem) if Utf16::is_cause_of(&problem) => return Err(problem),
            // What else is wrong with the source is told when it is read.
            Err(_) => break false,
        };
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
    Ok((Box::new(BufReader::new(Elements::new(source))), true))
}

/// The elements of an array, one a line. They go through as they come: a long
/// one is not held here.
struct Elements<R> {
    source: R,
    place: Place,
    text: Unescape,
    /// Lines, and how much of them was read.
    made: Vec<u8>,
    at: usize,
    /// What comes behind them if it is no element.
    problem: Option<io::Error>,
}

/// Where in the array the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first element.
    Start,
    /// Behind an element.
    Behind,
    /// Before an element that has to come.
    Before,
    /// In an object, so deep, and whether in a string of it and behind a
    /// backslash there.
    Object { depth: u32, in_string: bool, escaped: bool },
    /// In an element that is a string.
    Text,
    /// Behind the array.
    End,
}

/// Bytes of the source that are looked at, at once.
const PIECE_BYTES: usize = 32 << 10;

impl<R: BufRead> Elements<R> {
    fn new(source: R) -> Self {
        Self { source, place: Place::Start, text: Unescape::default(), made: Vec::new(), at: 0, problem: None }
    }

    /// Takes the next byte of the array.
    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) -> io::Result<()> {
        self.place = match (self.place, byte) {
            (Place::Object { depth, in_string: true, escaped }, _) => {
                out.push(flat(byte));
                let in_string = escaped || byte != b'"';
                Place::Object { depth, in_string, escaped: !escaped && byte == b'\\' }
            }
            (Place::Object { depth, .. }, _) => {
                out.push(flat(byte));
                let depth = match byte {
                    b'{' | b'[' => depth.saturating_add(1),
                    b'}' | b']' => depth.saturating_sub(1),
                    _ => depth,
                };
                if depth == 0 {
                    out.push(b'\n');
                    Place::Behind
                } else {
                    Place::Object { depth, in_string: byte == b'"', escaped: false }
                }
            }
            (Place::Text, _) => {
                let before = out.len();
                let ended = self.text.byte(byte, out).map_err(invalid)?;
                out.get_mut(before..).unwrap_or_default().iter_mut().for_each(|byte| *byte = flat(*byte));
                if ended {
                    out.push(b'\n');
                    Place::Behind
                } else {
                    Place::Text
                }
            }
            (place, byte) if byte.is_ascii_whitespace() => place,
            (Place::End, _) => return Err(invalid("something follows the end of the array")),
            (Place::Start | Place::Behind, b']') => Place::End,
            (Place::Behind, b',') => Place::Before,
            (Place::Behind, _) => return Err(invalid("a comma is missing between two elements of the array")),
            (_, b'{') => {
                out.push(byte);
                Place::Object { depth: 1, in_string: false, escaped: false }
            }
            (_, b'"') => Place::Text,
            _ => return Err(invalid("an element of the array is neither an object nor a string")),
        };
        Ok(())
    }

    /// Makes some more of the lines; none at the end.
    fn make(&mut self) -> io::Result<()> {
        let mut made = std::mem::take(&mut self.made);
        made.clear();
        self.at = 0;
        let mut piece = Vec::new();
        while made.is_empty() {
            if let Some(problem) = self.problem.take() {
                return Err(problem);
            }
            let buffer = self.source.fill_buf()?;
            if buffer.is_empty() {
                return if self.place == Place::End { Ok(()) } else { Err(cut()) };
            }
            piece.clear();
            piece.extend_from_slice(buffer.get(..PIECE_BYTES).unwrap_or(buffer));
            self.source.consume(piece.len());
            // What is whole before it is good.
            self.problem = piece.iter().try_for_each(|byte| self.byte(*byte, &mut made)).err();
            if self.problem.is_some() {
                let whole = made.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                made.truncate(whole);
            }
        }
        self.made = made;
        Ok(())
    }
}

/// A line feed within an object is white space; within a string it would make
/// two lines of one.
const fn flat(byte: u8) -> u8 {
    if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the array has no end")
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_owned())
}

impl<R: BufRead> Read for Elements<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.made.len() {
            self.make()?;
        }
        let left = self.made.get(self.at..).unwrap_or_default();
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

    /// However it comes, in pieces of one byte too.
    #[test]
    fn strings_are_unescaped_and_stay_on_one_line() {
        let text = r#"["{\"a\":\n\"\u00e9\ud83d\ude00\"}" , {"b":"\n]"}, ""]"#;
        assert_eq!(unwrapped(text).unwrap(), "{\"a\": \"\u{e9}\u{1f600}\"}\n{\"b\":\"\\n]\"}\n\n");
    }

    #[test]
    fn what_is_whole_before_a_fault_comes_out() {
        let (mut lines, mut out) = (lines(&b"[{},\"x\",{\"a\":1},7]"[..]).unwrap().0, Vec::new());
        assert!(lines.read_to_end(&mut out).is_err());
        assert_eq!(out, b"{}\nx\n{\"a\":1}\n");
    }

    #[test]
    fn arrays_that_are_cut_or_malformed_are_told() {
        for bad in ["[", "[{", "[{}", "[{},", "[{} {}]", "[1]", "[{}]x", "[,{}]", r#"["a]"#] {
            assert!(unwrapped(bad).is_err(), "{bad}");
        }
    }
}
