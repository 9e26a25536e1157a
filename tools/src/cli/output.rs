//! Data on stdout, in the format that was asked for.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::channel::Channel;
use super::console::Console;
use super::error::{Failure, Outcome};
use super::find::SHORT_DIGITS;
use super::paint::Painted;
use super::table::{Room, Table};

/// Terminals that are narrower than this are not fitted to: their own wrapping
/// is the lesser evil. Some say that they have no width at all.
const LEAST_WIDTH: u16 = 20;

/// Before a line that goes on.
const MORE: &str = "    ";

/// How data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; what a terminal gets.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object a line; what a pipe gets.
    Ndjson,
    /// Only the data, byte for byte.
    Raw,
}

/// Where data goes and how.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    chosen: Option<Format>,
    out: Channel,
    is_terminal: bool,
    is_colourful: bool,
    is_wide: bool,
}

impl Output {
    /// stdout in the `chosen` format, or in the one that fits what it is; tables
    /// in full if `is_wide`.
    pub(crate) fn new(chosen: Option<Format>, is_wide: bool, console: &Console) -> Self {
        let out = console.stdout();
        Self { chosen, is_terminal: out.is_terminal(), is_colourful: console.colours().data, is_wide, out }
    }

    /// The format to write.
    pub(crate) fn format(&self) -> Format {
        self.chosen.unwrap_or(if self.is_terminal { Format::Table } else { Format::Ndjson })
    }

    /// The format that was asked for by name, for commands whose output is a
    /// thing of its own (a stream, a note, a key).
    pub(crate) const fn chosen(&self) -> Option<Format> {
        self.chosen
    }

    /// Whether a person looks at the output.
    pub(crate) const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether JSON is wanted.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.format(), Format::Json | Format::Ndjson)
    }

    /// One JSON object.
    pub(crate) fn object(&self, value: &impl Serialize) -> Outcome {
        let text = if self.format() == Format::Json {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        self.line(&self.json_line(text)?)
    }

    /// One line of text, with a line feed added.
    pub(crate) fn line(&self, line: &str) -> Outcome {
        let mut out = Text { columns: None, ..self.text() };
        out.line(line)?;
        out.end()
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Outcome {
        self.out.clone().write_all(bytes).map_err(|problem| Failure::output(&problem))
    }

    /// Data as it is. On a terminal only text that shows itself and nothing else.
    pub(crate) fn data(&self, bytes: &[u8], way_out: impl FnOnce() -> String) -> Outcome {
        let is_harmless = |text: &str| !text.chars().any(|c| is_unprintable(c) && !"\n\t\r".contains(c));
        if self.is_terminal && !std::str::from_utf8(bytes).is_ok_and(is_harmless) {
            return Err(Failure::usage("the data would upset the terminal").hint(way_out()));
        }
        self.bytes(bytes)
    }

    /// Text for people, with colours where they are wanted.
    pub(crate) fn text(&self) -> Text {
        let is_for_people = self.is_terminal && self.format() == Format::Table && !self.is_wide;
        Text { out: BufWriter::new(self.out.clone()), columns: self.columns().filter(|_| is_for_people) }
    }

    /// A list of JSON objects: an array, or a line each.
    pub(crate) fn list(&self) -> List {
        List { output: self.clone(), out: self.text(), count: 0 }
    }

    /// A table with this header. Only the column `flexible` takes several lines.
    pub(crate) fn table<const N: usize>(&self, header: [&'static str; N], flexible: Option<usize>) -> Table<N> {
        let columns = self.columns().filter(|columns| *columns >= LEAST_WIDTH).map(usize::from);
        Table::new(header, flexible, Room { columns, is_wide: self.is_wide, is_colourful: self.is_colourful })
    }

    /// The width of the terminal, if it is one and says it.
    pub(crate) fn columns(&self) -> Option<u16> {
        self.out.columns()
    }

    /// Whether tables are to be shown in full.
    pub(crate) const fn is_wide(&self) -> bool {
        self.is_wide
    }

    /// Text with its colours, where they are wanted. On a terminal it goes on
    /// below where it is too long, between words.
    pub(crate) fn painted(&self, text: &Painted) -> String {
        match self.columns().filter(|columns| *columns >= LEAST_WIDTH && !self.is_wide) {
            Some(columns) if text.width(SHORT_DIGITS) > usize::from(columns) => {
                let lines = text.wrapped(SHORT_DIGITS, usize::from(columns).saturating_sub(MORE.len()));
                lines.iter().map(|line| line.render(self.is_colourful)).collect::<Vec<_>>().join(&format!("\n{MORE}"))
            }
            _ => text.line(SHORT_DIGITS).render(self.is_colourful),
        }
    }

    /// JSON text as it may be shown: on a terminal the characters that JSON
    /// allows and terminals obey are spelled as escapes. They stand only within
    /// strings, so the value stays the same.
    fn json_line(&self, text: serde_json::Result<String>) -> Outcome<String> {
        let text = text.map_err(|problem| Failure::output(&io::Error::other(problem)))?;
        Ok(if self.is_terminal { harmless_json(text) } else { text })
    }
}

/// Lines on stdout.
pub(crate) struct Text {
    out: BufWriter<Channel>,
    /// The width that lines are folded to.
    columns: Option<u16>,
}

impl Text {
    /// Writes one line, which goes on below where it is too long for a terminal.
    pub(crate) fn line(&mut self, line: &str) -> Outcome {
        self.write(&folded(line, self.columns))?;
        self.write("\n")
    }

    /// Writes text as it is.
    pub(crate) fn write(&mut self, text: &str) -> Outcome {
        self.out.write_all(text.as_bytes()).map_err(|problem| Failure::output(&problem))
    }

    /// Hands everything over; errors come here at the latest.
    pub(crate) fn end(mut self) -> Outcome {
        self.out.flush().map_err(|problem| Failure::output(&problem))
    }
}

/// JSON objects, written as they come.
pub(crate) struct List {
    output: Output,
    out: Text,
    count: u64,
}

impl List {
    /// Writes one object.
    pub(crate) fn item(&mut self, value: &impl Serialize) -> Outcome {
        let text = self.output.json_line(serde_json::to_string(value))?;
        if self.output.format() == Format::Json {
            self.out.write(if self.count == 0 { "[\n" } else { ",\n" })?;
            self.out.write(&text)?;
        } else {
            self.out.line(&text)?;
        }
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// Closes the array and hands everything over.
    pub(crate) fn end(mut self) -> Outcome {
        if self.output.format() == Format::Json {
            self.out.write(if self.count == 0 { "[]\n" } else { "\n]\n" })?;
        }
        self.out.end()
    }
}

/// JSON in which the characters that terminals obey are spelled as escapes.
pub(crate) fn harmless_json(text: String) -> String {
    if !text.chars().any(|c| c != '\n' && is_unprintable(c)) {
        return text;
    }
    let escape = |c: char| match c {
        '\n' => "\n".to_owned(),
        c if is_unprintable(c) => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// Text that a terminal shows rather than obeys: control characters and the
/// marks that change the direction of writing become escapes.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| match c {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        c if is_unprintable(c) => format!("\\u{{{:x}}}", u32::from(c)),
        c => c.to_string(),
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Control characters, line separators, the marks of bidirectional text, and
/// what nobody can see: names that differ in it alone look the same.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2064}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Text of at most `width` characters, with an ellipsis if some are left out.
pub(crate) fn shorten(text: &str, width: usize) -> Cow<'_, str> {
    match text.char_indices().nth(width) {
        None => Cow::Borrowed(text),
        Some(_) => Cow::Owned(text.chars().take(width.saturating_sub(1)).chain(['…']).collect()),
    }
}

/// A line that goes on below, between words, where it is too long. What has
/// lines or colours already is left as it is, and so is a command to paste.
pub(crate) fn folded(line: &str, columns: Option<u16>) -> Cow<'_, str> {
    let Some(columns) = columns.filter(|columns| *columns >= LEAST_WIDTH).map(usize::from) else {
        return Cow::Borrowed(line);
    };
    let text = Painted::from(line);
    let is_whole = line.contains(['\n', '\x1b']) || line.trim_start().starts_with("hint: ");
    if is_whole || text.width(0) <= columns {
        return Cow::Borrowed(line);
    }
    let indent = " ".repeat(line.len().saturating_sub(line.trim_start_matches(' ').len()));
    let room = columns.saturating_sub(indent.len()).saturating_sub(MORE.len());
    let lines: Vec<String> = text.wrapped(0, room).iter().map(|line| line.render(false)).collect();
    Cow::Owned(format!("{indent}{}", lines.join(&format!("\n{indent}{MORE}"))))
}

/// A count with its noun: `1 entry`, `2 entries`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// A number with spaces between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len().saturating_add(8));
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len().saturating_sub(place)) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_never_get_control_characters() {
        assert_eq!(printable("plain é 漢"), "plain é 漢");
        assert_eq!(printable("a\x1b[31m\u{9b}b\u{202e}\n"), "a\\u{1b}[31m\\u{9b}b\\u{202e}\\n");
        for c in "\u{ad}\u{180e}\u{200b}\u{200d}\u{2060}\u{2064}\u{e0000}\u{e007f}".chars() {
            assert_eq!(printable(&format!("part{c}-42")), format!("part\\u{{{:x}}}-42", u32::from(c)));
        }
    }

    #[test]
    fn json_on_a_terminal_keeps_its_value() {
        let out = Channel::own(tempfile::tempfile().unwrap());
        let output =
            Output { chosen: Some(Format::Ndjson), out, is_terminal: true, is_colourful: false, is_wide: false };
        let text = output.json_line(Ok("{\"a\":\"\u{9b}\u{7f}\"}".to_owned())).unwrap();
        assert_eq!(text, "{\"a\":\"\\u009b\\u007f\"}");
        let text = output.json_line(Ok("\"\u{e0041}\"".to_owned())).unwrap();
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), "\u{e0041}");
        assert!(text.is_ascii());
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1 000", "1 234 567"]);
    }

    #[test]
    fn lines_are_folded_between_words() {
        let fold = |line| folded(line, Some(20)).into_owned();
        assert_eq!(fold("twenty columns do it"), "twenty columns do it");
        assert_eq!(fold("  one more than that is two"), "  one more than\n      that is two");
        assert_eq!(fold(&"x".repeat(30)), "x".repeat(30));
        assert_eq!(folded("a line of a pipe, which has no width", None), "a line of a pipe, which has no width");
    }

    #[test]
    fn long_text_ends_in_an_ellipsis() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("abcd", 3), "ab…");
    }
}
