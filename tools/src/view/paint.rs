//! Text for people in which some words have a colour: for what differs, and for
//! whom one can trust.

use std::fmt;

use unicode_width::UnicodeWidthStr;

/// Why a word has a colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Paint {
    /// It has none.
    #[default]
    Plain,
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// It is as it should be.
    Good,
    /// Nobody here vouches for it.
    Doubtful,
    /// Something is wrong.
    Bad,
    /// It matters less than what stands beside it.
    Faint,
}

impl Paint {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Added | Self::Good => "\x1b[32m",
            Self::Removed => "\x1b[31m",
            Self::Doubtful => "\x1b[33m",
            Self::Bad => "\x1b[1;31m",
            Self::Faint => "\x1b[2m",
        }
    }
}

/// Pieces of text with their colours. What they are made of has to be printable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Painted(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    paint: Paint,
    text: String,
    /// A whole id, of which as many digits are shown as there is room for.
    is_id: bool,
}

/// One line: pieces and their colours.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pieces: Vec<(Paint, String)>,
    width: usize,
}

/// What is not broken at the end of a line, and the spaces before it.
struct Word {
    spaces: usize,
    line: Line,
}

impl Painted {
    /// An id, which may be shown by its first digits.
    pub(crate) fn id(id: &impl fmt::Display) -> Self {
        Self(vec![Piece { paint: Paint::Plain, text: id.to_string(), is_id: true }])
    }

    /// With more text behind it.
    pub(crate) fn and(mut self, paint: Paint, text: impl Into<String>) -> Self {
        self.0.push(Piece { paint, text: text.into(), is_id: false });
        self
    }

    /// With another behind it.
    pub(crate) fn with(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|piece| piece.text.is_empty())
    }

    /// Columns that it takes if ids have `digits` digits.
    pub(crate) fn width(&self, digits: usize) -> usize {
        self.0.iter().map(|piece| piece.shown(digits).width()).sum()
    }

    /// Columns of its longest word.
    pub(crate) fn longest_word(&self, digits: usize) -> usize {
        self.words(digits).iter().map(|word| word.line.width).max().unwrap_or_default()
    }

    /// Lines of at most `width` columns. A word that is longer stays whole.
    pub(crate) fn wrapped(&self, digits: usize, width: usize) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for Word { spaces, line: word } in self.words(digits) {
            match lines.last_mut() {
                Some(line) if line.width.saturating_add(spaces).saturating_add(word.width) <= width => {
                    line.push(Paint::Plain, &" ".repeat(spaces));
                    line.append(word);
                }
                _ => lines.push(word),
            }
        }
        lines
    }

    /// On one line.
    pub(crate) fn line(&self, digits: usize) -> Line {
        let mut line = Line::default();
        for piece in &self.0 {
            line.push(piece.paint, piece.shown(digits));
        }
        line
    }

    /// Of at most `width` columns, with an ellipsis if some are left out.
    pub(crate) fn shortened(mut self, width: usize) -> Self {
        let mut room = width;
        for at in 0..self.0.len() {
            let Some(piece) = self.0.get_mut(at) else { break };
            let count = piece.text.chars().count();
            if count > room {
                piece.text = piece.text.chars().take(room.saturating_sub(1)).chain(['…']).collect();
                self.0.truncate(at.saturating_add(1));
                break;
            }
            room = room.saturating_sub(count);
        }
        self
    }

    fn words(&self, digits: usize) -> Vec<Word> {
        let mut words: Vec<Word> = Vec::new();
        let mut spaces = 0_usize;
        let mut is_within = false;
        for piece in &self.0 {
            for (at, part) in piece.shown(digits).split(' ').enumerate() {
                if at > 0 {
                    spaces = spaces.saturating_add(1);
                    is_within = false;
                }
                match words.last_mut() {
                    _ if part.is_empty() => {}
                    Some(word) if is_within => word.line.push(piece.paint, part),
                    _ => {
                        let mut line = Line::default();
                        line.push(piece.paint, part);
                        words.push(Word { spaces: std::mem::take(&mut spaces), line });
                        is_within = true;
                    }
                }
            }
        }
        words
    }
}

impl Piece {
    fn shown(&self, digits: usize) -> &str {
        if self.is_id { self.text.get(..digits).unwrap_or(&self.text) } else { &self.text }
    }
}

impl From<String> for Painted {
    fn from(text: String) -> Self {
        Self::default().and(Paint::Plain, text)
    }
}

impl From<&str> for Painted {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl fmt::Display for Painted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| f.write_str(&piece.text))
    }
}

impl Line {
    /// Columns that it takes.
    pub(crate) const fn width(&self) -> usize {
        self.width
    }

    /// Adds text.
    pub(crate) fn push(&mut self, paint: Paint, text: &str) {
        self.width = self.width.saturating_add(text.width());
        self.pieces.push((paint, text.to_owned()));
    }

    /// Adds another line.
    pub(crate) fn append(&mut self, other: Self) {
        self.width = self.width.saturating_add(other.width);
        self.pieces.extend(other.pieces);
    }

    /// Adds spaces up to a column.
    pub(crate) fn pad(&mut self, to: usize) {
        let missing = to.saturating_sub(self.width);
        self.push(Paint::Plain, &" ".repeat(missing));
    }

    /// As it is written; nothing is written behind the last word.
    pub(crate) fn render(&self, is_colourful: bool) -> String {
        let is_blank = |(_, text): &&(Paint, String)| text.trim_end().is_empty();
        let used = self.pieces.len().saturating_sub(self.pieces.iter().rev().take_while(is_blank).count());
        let mut text = String::new();
        for (at, (paint, piece)) in self.pieces.iter().take(used).enumerate() {
            let piece = if at.saturating_add(1) == used { piece.trim_end() } else { piece };
            if is_colourful && *paint != Paint::Plain && !piece.is_empty() {
                text.extend([paint.code(), piece, "\x1b[0m"]);
            } else {
                text.push_str(piece);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &Painted, width: usize) -> Vec<String> {
        text.wrapped(12, width).iter().map(|line| line.render(false)).collect()
    }

    #[test]
    fn lines_break_between_words_and_never_within_one() {
        assert_eq!(lines(&"temp 20.1 → 21.4".into(), 10), ["temp 20.1", "→ 21.4"]);
        assert_eq!(lines(&"a averylongword b".into(), 6), ["a", "averylongword", "b"]);
        assert_eq!(lines(&"+temp  +site".into(), 12), ["+temp  +site"]);
        assert_eq!(lines(&"漢字 漢字".into(), 5), ["漢字", "漢字"]);
        assert!(lines(&"".into(), 5).is_empty());
    }

    #[test]
    fn a_word_of_two_colours_stays_one_word() {
        let text = Painted::default().and(Paint::Removed, "20.1").and(Paint::Plain, ",").and(Paint::Added, "21.4 x");
        assert_eq!(lines(&text, 6), ["20.1,21.4", "x"]);
        assert_eq!(text.line(12).render(true), "\x1b[31m20.1\x1b[0m,\x1b[32m21.4 x\x1b[0m");
    }

    #[test]
    fn ids_have_as_many_digits_as_there_is_room_for() {
        let id = Painted::id(&"0123456789abcdef").and(Paint::Plain, " (forked)");
        assert_eq!(id.line(8).render(false), "01234567 (forked)");
        assert_eq!((id.width(8), id.longest_word(64)), (17, 16));
    }

    #[test]
    fn shortening_ends_in_an_ellipsis() {
        let text = Painted::from("abc").and(Paint::Added, "def");
        assert_eq!(text.clone().shortened(6).to_string(), "abcdef");
        assert_eq!(text.clone().shortened(5).to_string(), "abcd…");
        assert_eq!(text.shortened(2).to_string(), "a…");
    }
}
