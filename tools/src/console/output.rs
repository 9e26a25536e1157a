//! Data on stdout, in the format that was asked for.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::Console;
use super::channel::Channel;
use crate::error::{Failure, Outcome};
use crate::text::{harmless_json, is_blank, is_unprintable};
use crate::view::id::SHORT_DIGITS;
use crate::view::paint::Painted;
use crate::view::table::{Room, Table};

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
        let is_harmless = |text: &str| !text.chars().any(|c| is_unprintable(c) && !is_blank(c));
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn lines_are_folded_between_words() {
        let fold = |line| folded(line, Some(20)).into_owned();
        assert_eq!(fold("twenty columns do it"), "twenty columns do it");
        assert_eq!(fold("  one more than that is two"), "  one more than\n      that is two");
        assert_eq!(fold(&"x".repeat(30)), "x".repeat(30));
        assert_eq!(folded("a line of a pipe, which has no width", None), "a line of a pipe, which has no width");
    }
}
