//! Text that other programs wrote. A byte order mark at its beginning says
//! nothing and is passed over (RFC 3629, section 6). Text in UTF-16 is named as
//! what it is: read as UTF-8, each of its lines would be wrong.

use std::fmt;
use std::io::{self, Read};

/// U+FEFF in UTF-8.
const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Bytes that tell UTF-16 where it has no mark: two characters.
const START_BYTES: u64 = 4;

/// The beginning of text in UTF-16: its mark, or two printable ASCII characters.
fn is_utf16(start: &[u8]) -> bool {
    let is_text =
        |one: u8, other: u8| [one, other].iter().all(|byte| byte.is_ascii_graphic() || b" \t\n\r".contains(byte));
    match start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        [one, 0, other, 0, ..] | [0, one, 0, other, ..] => is_text(*one, *other),
        _ => false,
    }
}

/// The text was in UTF-16.
#[derive(Debug)]
pub(crate) struct Utf16;

impl fmt::Display for Utf16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text is in UTF-16, and UTF-8 is read")
    }
}

impl std::error::Error for Utf16 {}

impl Utf16 {
    /// Whether a reader failed for this.
    pub(crate) fn is_cause_of(problem: &io::Error) -> bool {
        problem.get_ref().is_some_and(|cause| cause.is::<Self>())
    }
}

/// Text as it is after its mark.
pub(crate) fn after_mark(text: &[u8]) -> Result<&[u8], Utf16> {
    if is_utf16(text) { Err(Utf16) } else { Ok(text.strip_prefix(&MARK).unwrap_or(text)) }
}

/// Whether text begins with a mark of any encoding.
pub(crate) fn has_mark(text: &[u8]) -> bool {
    text.starts_with(&MARK) || matches!(text, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
}

/// Reads text as it is after its mark. Nothing is read before it is asked for.
pub(crate) struct AfterMark<R> {
    source: R,
    /// What was read to look for the mark; absent before that.
    start: Option<io::Cursor<Vec<u8>>>,
}

impl<R: Read> AfterMark<R> {
    /// The text of `source`.
    pub(crate) const fn new(source: R) -> Self {
        Self { source, start: None }
    }
}

impl<R: Read> Read for AfterMark<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.start.is_none() {
            let mut start = Vec::new();
            self.source.by_ref().take(START_BYTES).read_to_end(&mut start)?;
            let text = after_mark(&start).map_err(|problem| io::Error::new(io::ErrorKind::InvalidData, problem))?;
            self.start = Some(io::Cursor::new(text.to_vec()));
        }
        match self.start.as_mut().map_or(Ok(0), |start| start.read(buffer))? {
            0 => self.source.read(buffer),
            read => Ok(read),
        }
    }
}

/// The version that a text of ours names at the end of its beginning, if a newer
/// program wrote it: all of them are at version 1.
pub(crate) fn newer_version(start: &str, name: &str) -> Option<u64> {
    let version = start.strip_prefix(name)?;
    version.parse().ok().filter(|found: &u64| *found > 1 && found.to_string() == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        AfterMark::new(bytes).read_to_end(&mut text).map(|_| text)
    }

    #[test]
    fn a_mark_is_passed_over_once() {
        for (bytes, text) in [
            (&b"\xef\xbb\xbf{}"[..], &b"{}"[..]),
            (b"\xef\xbb\xbf\xef\xbb\xbf{}", b"\xef\xbb\xbf{}"),
            (b"\xef\xbb", b"\xef\xbb"),
            (b"\xef\xbb\xbf", b""),
            (b"{\xef\xbb\xbf}", b"{\xef\xbb\xbf}"),
            (b"a", b"a"),
            (b"", b""),
        ] {
            assert_eq!(read(bytes).unwrap(), text, "{bytes:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_not_taken_for_utf16() {
        for bytes in [&b"7\0"[..], b"\0\x01\0\x02", b"\x01\0\x02\0", b"\0\0\0\0", b"ab\0\0", b"tdbs\x01"] {
            assert_eq!(read(bytes).unwrap(), bytes);
        }
    }

    #[test]
    fn text_in_utf16_is_named() {
        for text in ["\u{feff}{\"a\":1}", "{\"a\":1}", "\u{feff}\u{e9}", "\u{feff}7"] {
            let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
            for bytes in [little, big] {
                assert!(Utf16::is_cause_of(&read(&bytes).unwrap_err()), "{bytes:?}");
            }
        }
    }

    #[test]
    fn only_a_greater_number_in_its_one_spelling_is_a_newer_version() {
        assert_eq!(newer_version("tdbcard2", "tdbcard"), Some(2));
        for other in ["tdbcard1", "tdbcard0", "tdbcard02", "tdbcard+2", "tdbcard", "tdbcardx", "card2"] {
            assert_eq!(newer_version(other, "tdbcard"), None, "{other}");
        }
    }
}
