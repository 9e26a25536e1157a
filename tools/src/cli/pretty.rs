//! JSON text laid out for reading: every token stays as it is spelled, only
//! the white space between tokens changes.

use super::output::printable;

/// Texts up to this length stay on one line.
const ONE_LINE: usize = 72;

/// Lays out JSON text; nothing in the result can upset a terminal.
pub(crate) fn json(text: &str) -> String {
    let tokens = Layout::new(false).run(text);
    if tokens.chars().count() <= ONE_LINE {
        return printable(&tokens).into_owned();
    }
    let lines = Layout::new(true).run(text);
    lines.lines().map(printable).collect::<Vec<_>>().join("\n")
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

    fn run(mut self, text: &str) -> String {
        for c in text.chars() {
            if self.in_string {
                self.string(c);
            } else if !matches!(c, ' ' | '\t' | '\n' | '\r') {
                self.token(c);
            }
        }
        self.out
    }

    fn string(&mut self, c: char) {
        self.out.push(c);
        self.in_string = c != '"' || self.is_escaped;
        self.is_escaped = c == '\\' && !self.is_escaped;
    }

    fn token(&mut self, c: char) {
        if matches!(c, '}' | ']') {
            self.depth = self.depth.saturating_sub(1);
            if !self.is_opened {
                self.line();
            }
        } else if self.is_opened {
            self.line();
        }
        self.out.push(c);
        self.is_opened = matches!(c, '{' | '[');
        self.in_string = c == '"';
        match c {
            '{' | '[' => self.depth = self.depth.saturating_add(1),
            ',' if self.breaks_lines => self.line(),
            ',' | ':' => self.out.push(' '),
            _ => {}
        }
    }

    fn line(&mut self) {
        if self.breaks_lines {
            self.out.push('\n');
            // Deeper levels are not told apart by eye any more.
            self.out.push_str(&"  ".repeat(self.depth.min(40)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
