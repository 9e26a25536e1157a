//! JSON text laid out for reading: every token stays as it is spelled, only
//! the white space between tokens changes.

use crate::error::Outcome;
use crate::text::printable;

/// Texts up to this length stay on one line.
const ONE_LINE: usize = 72;

/// What is nested deeper stays on its line: an eye does not tell the levels
/// apart any more, and their indentation would be longer than the data.
const MAX_DEPTH: usize = 40;

/// What is laid out goes on in pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;

/// Lays out JSON text, piece by piece; nothing in it can upset a terminal.
pub(crate) fn json(text: &str, write: &mut dyn FnMut(&str) -> Outcome) -> Outcome {
    if let Some(line) = one_line(text) {
        return write(&printable(&line));
    }
    let mut layout = Layout::new(true);
    for c in text.chars() {
        layout.next(c);
        if layout.out.len() >= PIECE_BYTES {
            hand_on(&layout.out, write)?;
            layout.out.clear();
        }
    }
    hand_on(&layout.out, write)
}

/// The whole on one line, if it is short.
fn one_line(text: &str) -> Option<String> {
    let mut layout = Layout::new(false);
    let mut length = 0_usize;
    for c in text.chars() {
        let before = layout.out.len();
        layout.next(c);
        length = length.saturating_add(layout.out.get(before..)?.chars().count());
        if length > ONE_LINE {
            return None;
        }
    }
    Some(layout.out)
}

fn hand_on(piece: &str, write: &mut dyn FnMut(&str) -> Outcome) -> Outcome {
    for line in piece.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        write(&printable(line))?;
        write(end)?;
    }
    Ok(())
}

struct Layout {
    out: String,
    depth: usize,
    breaks_lines: bool,
    in_string: bool,
    is_escaped: bool,
    is_opened: bool,
}

impl Layout {
    const fn new(breaks_lines: bool) -> Self {
        Self { out: String::new(), depth: 0, breaks_lines, in_string: false, is_escaped: false, is_opened: false }
    }

    fn next(&mut self, c: char) {
        if self.in_string {
            self.string(c);
        } else if !matches!(c, ' ' | '\t' | '\n' | '\r') {
            self.token(c);
        }
    }

    fn string(&mut self, c: char) {
        self.out.push(c);
        self.in_string = c != '"' || self.is_escaped;
        self.is_escaped = c == '\\' && !self.is_escaped;
    }

    fn token(&mut self, c: char) {
        if matches!(c, '}' | ']') {
            if !self.is_opened && self.breaks_here() {
                self.line(self.depth.saturating_sub(1));
            }
            self.depth = self.depth.saturating_sub(1);
        } else if self.is_opened && self.breaks_here() {
            self.line(self.depth);
        }
        self.out.push(c);
        self.is_opened = matches!(c, '{' | '[');
        self.in_string = c == '"';
        match c {
            '{' | '[' => self.depth = self.depth.saturating_add(1),
            ',' if self.breaks_here() => self.line(self.depth),
            ',' | ':' => self.out.push(' '),
            _ => {}
        }
    }

    /// Whether the members of what is open have a line each.
    const fn breaks_here(&self) -> bool {
        self.breaks_lines && self.depth <= MAX_DEPTH
    }

    fn line(&mut self, depth: usize) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("  ", depth));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        let mut out = String::new();
        super::json(text, &mut |piece| {
            out.push_str(piece);
            Ok(())
        })
        .unwrap();
        out
    }

    #[test]
    fn short_json_stays_on_one_line() {
        assert_eq!(json("{ \"a\":1,\n\"b\" : [ ] }"), "{\"a\": 1, \"b\": []}");
        assert_eq!(json(r#""a, \"{b\\""#), r#""a, \"{b\\""#);
    }

    #[test]
    fn long_json_gets_a_member_a_line() {
        let long = "x".repeat(80);
        assert_eq!(
            json(&format!("{{\"a\":[1,{{}}],\"b\":\"{long}\"}}")),
            format!("{{\n  \"a\": [\n    1,\n    {{}}\n  ],\n  \"b\": \"{long}\"\n}}")
        );
    }

    #[test]
    fn tokens_keep_their_spelling() {
        assert_eq!(json("1.000000000000000000000000000000001e5"), "1.000000000000000000000000000000001e5");
        assert_eq!(json("\"\u{9b}\""), "\"\\u{9b}\"");
    }

    #[test]
    fn deep_json_takes_no_more_than_it_is() {
        let deep = format!("{}1,{{\"a\":2}}{}", "[".repeat(100_000), "]".repeat(100_000));
        let (mut longest, mut out) = (0, String::new());
        super::json(&deep, &mut |piece| {
            longest = longest.max(piece.len());
            out.push_str(piece);
            Ok(())
        })
        .unwrap();
        assert!(out.len() < deep.len() + 10_000, "{} bytes", out.len());
        assert!(longest < 2 * PIECE_BYTES, "{longest} bytes");
        assert_eq!(out.replace(['\n', ' '], ""), deep);
        assert_eq!(out.lines().count(), 2 * MAX_DEPTH + 1);
    }
}
