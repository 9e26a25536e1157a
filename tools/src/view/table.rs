//! Tables without rules, fitted to the terminal.
//!
//! What is in a table is copied and pasted, so no word and no id is ever broken.
//! One column is flexible: it takes the lines it needs, or where there is no room
//! for it stands on lines of its own. Where even the others find no room, every
//! row is a list of its members. Ids show more digits where there is more room.

use super::paint::{Line, Paint, Painted};

/// Digits of the ids in a table. They are accepted back.
const DIGITS: usize = 12;

/// Where there is little room.
const FEW_DIGITS: usize = 8;

/// All of them.
const ALL_DIGITS: usize = 64;

/// What is left to the flexible column beside the others, at least.
const LEAST_COLUMN: usize = 16;

/// A longer word does not drive the flexible column from its place: its row
/// alone gets a line more.
const LONG_WORD: usize = 32;

/// Between columns.
const GAP: usize = 2;

/// Before what stands on a line of its own.
const INDENT: usize = 4;

/// What a table has to fit into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Columns of the terminal; none if nothing is to be fitted.
    pub(crate) columns: Option<usize>,
    /// Ids are shown whole and nothing is fitted.
    pub(crate) is_wide: bool,
    /// Whether there are colours.
    pub(crate) is_colourful: bool,
}

/// A table that is printed page by page: each page is laid out on its own, and
/// columns never get narrower.
pub(crate) struct Table<const N: usize> {
    header: [&'static str; N],
    flexible: Option<usize>,
    room: Room,
    least: [usize; N],
    is_begun: bool,
}

enum Layout<const N: usize> {
    /// All columns side by side.
    Rows { widths: [usize; N], digits: usize },
    /// The flexible one stands on lines of its own.
    Aside { widths: [usize; N], digits: usize },
    /// A line for each member.
    Stacked,
}

impl<const N: usize> Table<N> {
    /// A table with this header. Only the column `flexible` takes several lines.
    pub(crate) fn new(header: [&'static str; N], flexible: Option<usize>, room: Room) -> Self {
        Self { header, flexible, room, least: [0; N], is_begun: false }
    }

    /// Lays out more rows; before the first ones stands the header.
    pub(crate) fn page(&mut self, rows: impl IntoIterator<Item = [impl Into<Painted>; N]>) -> String {
        let rows: Vec<[Painted; N]> = rows.into_iter().map(|row| row.map(Into::into)).collect();
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        let mut lines = Vec::new();
        match self.layout(&rows) {
            Layout::Rows { widths, digits } => {
                self.least = widths;
                self.rows(&rows, widths, digits, None, is_first, &mut lines);
            }
            Layout::Aside { widths, digits } => {
                self.rows(&rows, widths, digits, self.flexible, is_first, &mut lines);
            }
            Layout::Stacked => self.stacked(&rows, is_first, &mut lines),
        }
        lines.iter().map(|line| line.render(self.room.is_colourful)).collect::<Vec<_>>().join("\n")
    }

    /// The widths of all columns if nothing has to be fitted.
    fn natural(&self, rows: &[[Painted; N]], digits: usize) -> [usize; N] {
        std::array::from_fn(|column| {
            let header = self.header.get(column).map_or(0, |header| Painted::from(*header).width(digits));
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width(digits));
            let least = self.least.get(column).copied().filter(|_| self.flexible != Some(column)).unwrap_or_default();
            cells.max().unwrap_or_default().max(header).max(least)
        })
    }

    fn layout(&self, rows: &[[Painted; N]]) -> Layout<N> {
        let Some(columns) = self.room.columns.filter(|_| !self.room.is_wide) else {
            let digits = if self.room.is_wide { ALL_DIGITS } else { DIGITS };
            return Layout::Rows { widths: self.natural(rows, digits), digits };
        };
        let least = |digits| {
            let words = || rows.iter().filter_map(|row| Some(row.get(self.flexible?)?.longest_word(digits)));
            let longest = words().max().unwrap_or_default().clamp(LEAST_COLUMN, LONG_WORD);
            // A place in which no row fits is none.
            longest.max(words().min().unwrap_or_default())
        };
        for digits in [DIGITS, FEW_DIGITS] {
            let mut widths = self.natural(rows, digits);
            let others = total(&widths, self.flexible);
            let flexible = self.flexible.and_then(|column| widths.get_mut(column));
            let room = columns.saturating_sub(others.saturating_add(GAP));
            match flexible {
                Some(width) if room >= least(digits).min(*width) => *width = room.min(*width),
                None if others <= columns => {}
                _ => continue,
            }
            let grown = self.grown(rows, digits, columns, None);
            if grown > digits {
                return Layout::Rows { widths: self.natural(rows, grown), digits: grown };
            }
            self.tighten(&mut widths, rows, digits);
            return Layout::Rows { widths, digits };
        }
        let columns = columns.saturating_sub(self.indent());
        for digits in [DIGITS, FEW_DIGITS] {
            if self.flexible.is_some() && total(&self.natural(rows, digits), self.flexible) <= columns {
                let digits = self.grown(rows, digits, columns, self.flexible);
                return Layout::Aside { widths: self.natural(rows, digits), digits };
            }
        }
        Layout::Stacked
    }

    /// Gives the flexible column no more than its lines take.
    fn tighten(&self, widths: &mut [usize; N], rows: &[[Painted; N]], digits: usize) {
        let Some((column, width)) = self.flexible.and_then(|column| Some((column, widths.get_mut(column)?))) else {
            return;
        };
        let header = self.header.get(column).map_or(0, |name| Painted::from(*name).width(digits));
        let lines = rows.iter().filter_map(|row| row.get(column)).flat_map(|cell| cell.wrapped(digits, *width));
        let used = lines.map(|line| line.width()).filter(|used| used <= width).max().unwrap_or_default();
        *width = used.max(header);
    }

    /// As many digits as fit without anything else having to give way.
    fn grown(&self, rows: &[[Painted; N]], digits: usize, columns: usize, aside: Option<usize>) -> usize {
        let fits = |digits: &usize| {
            let widths = self.natural(rows, *digits);
            let alone = aside.and_then(|column| widths.get(column)).map_or(0, |width| width.saturating_add(INDENT));
            total(&widths, aside) <= columns && alone <= columns
        };
        (digits..=ALL_DIGITS).step_by(4).take_while(fits).last().unwrap_or(digits)
    }

    fn rows(
        &self,
        rows: &[[Painted; N]],
        widths: [usize; N],
        digits: usize,
        aside: Option<usize>,
        is_first: bool,
        lines: &mut Vec<Line>,
    ) {
        if is_first {
            let header = self.header.map(|name| Painted::default().and(Paint::Faint, name));
            let indent = if aside.is_some() { self.indent() } else { 0 };
            lines.extend(self.row(&header, &widths, digits, aside).into_iter().map(|line| indented(line, indent)));
        }
        for row in rows {
            let alone = self.flexible.and_then(|column| Some((column, row.get(column)?, *widths.get(column)?)));
            let is_too_long = |cell: &Painted, width| cell.longest_word(digits) > width;
            match alone {
                Some((column, cell, width)) if aside == Some(column) || is_too_long(cell, width) => {
                    let own = self.row(row, &widths, digits, Some(column));
                    let indent = if column == 0 { 1 } else { INDENT };
                    let room = self.room.columns.unwrap_or(usize::MAX).saturating_sub(indent);
                    let cell = cell.wrapped(digits, room).into_iter().map(|line| indented(line, indent));
                    let own = own.into_iter().map(|line| indented(line, self.indent()));
                    // What names a row stands before it, what explains it behind.
                    if column == 0 {
                        lines.extend(cell.chain(own));
                    } else {
                        lines.extend(own.chain(cell));
                    }
                }
                _ => lines.extend(self.row(row, &widths, digits, None)),
            }
        }
    }

    /// Before what is left of a row whose name stands before it.
    fn indent(&self) -> usize {
        if self.flexible == Some(0) { INDENT.saturating_sub(1) } else { 0 }
    }

    /// The lines of one row, without the column `aside`.
    fn row(&self, row: &[Painted; N], widths: &[usize; N], digits: usize, aside: Option<usize>) -> Vec<Line> {
        let mut lines = vec![Line::default()];
        let mut at = 1;
        for (column, (cell, width)) in row.iter().zip(widths).enumerate().filter(|(column, _)| aside != Some(*column)) {
            let parts =
                if self.flexible == Some(column) { cell.wrapped(digits, *width) } else { vec![cell.line(digits)] };
            for (number, part) in parts.into_iter().enumerate() {
                if lines.len() <= number {
                    lines.push(Line::default());
                }
                if let Some(line) = lines.get_mut(number) {
                    line.pad(at);
                    line.append(part);
                }
            }
            at = at.saturating_add(*width).saturating_add(GAP);
        }
        lines
    }

    fn stacked(&self, rows: &[[Painted; N]], is_first: bool, lines: &mut Vec<Line>) {
        let names = self.header.iter().map(|name| Painted::from(*name).width(0)).max().unwrap_or_default();
        let at = names.saturating_add(1).saturating_add(GAP);
        let room = self.room.columns.unwrap_or(usize::MAX).saturating_sub(at);
        for (number, row) in rows.iter().enumerate() {
            if !(is_first && number == 0) {
                lines.push(Line::default());
            }
            for (name, cell) in self.header.iter().zip(row).filter(|(_, cell)| !cell.is_empty()) {
                let mut line = Line::default();
                line.push(Paint::Plain, " ");
                line.push(Paint::Faint, name);
                for part in cell.wrapped(room.clamp(FEW_DIGITS, ALL_DIGITS), room) {
                    line.pad(at);
                    line.append(part);
                    lines.push(std::mem::take(&mut line));
                }
            }
        }
    }
}

/// Columns of a whole line, without the column `aside`.
fn total<const N: usize>(widths: &[usize; N], aside: Option<usize>) -> usize {
    let shown = widths.iter().enumerate().filter(|(column, _)| aside != Some(*column));
    shown.map(|(_, width)| width.saturating_add(GAP)).sum::<usize>().saturating_sub(GAP).saturating_add(1)
}

fn indented(line: Line, by: usize) -> Line {
    let mut whole = Line::default();
    whole.pad(by);
    whole.append(line);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [&str; 4] = ["seq", "actor", "change", "id"];

    fn room(columns: Option<usize>) -> Room {
        Room { columns, is_wide: false, is_colourful: false }
    }

    fn rows(change: &str) -> Vec<[Painted; 4]> {
        let id = Painted::id(&"0123456789abcdef".repeat(4));
        vec![["2".into(), "alice".into(), change.into(), id]]
    }

    fn print(columns: Option<usize>, change: &str) -> String {
        Table::new(HEADER, Some(2), room(columns)).page(rows(change))
    }

    #[test]
    fn where_nothing_is_fitted_a_row_is_a_line() {
        assert_eq!(
            print(None, "temp 20.1 → 21.4"),
            " seq  actor  change            id\n 2    alice  temp 20.1 → 21.4  0123456789ab"
        );
        let wide = Room { is_wide: true, ..room(Some(40)) };
        assert!(Table::new(HEADER, Some(2), wide).page(rows("x")).ends_with("abcdef"));
    }

    #[test]
    fn the_flexible_column_takes_lines_and_then_a_place_of_its_own() {
        assert_eq!(
            print(Some(48), "temp 20.1 → 21.4 and more of it"),
            " seq  actor  change                id\n 2    alice  temp 20.1 → 21.4 and  0123456789ab\n             more of it"
        );
        assert_eq!(
            print(Some(30), "temp 20.1 → 21.4 and more of it"),
            " seq  actor  id\n 2    alice  0123456789ab\n    temp 20.1 → 21.4 and more\n    of it"
        );
        assert_eq!(print(Some(20), "x y"), " seq     2\n actor   alice\n change  x y\n id      0123456789a");
    }

    #[test]
    fn a_name_that_is_too_long_has_a_line_before_its_row() {
        let mut table = Table::new(["thing", "head"], Some(0), room(Some(56)));
        let id = || Painted::id(&"0123456789abcdef".repeat(4));
        let long = "a".repeat(60);
        let text = table.page([["b".into(), id()], [Painted::from(long.as_str()), id()]]);
        assert_eq!(text.lines().nth(2).unwrap().trim(), long);
        assert!(text.lines().nth(3).unwrap().trim().starts_with("0123456789ab"), "{text}");
        assert_eq!(text.lines().count(), 4, "{text}");
    }

    #[test]
    fn ids_grow_with_the_room_and_no_word_is_broken_at_any_width() {
        let change = "temp 20.1 → 21.4  +a/rather/long/pointer/of/forty-one/characters";
        for columns in 20..=200 {
            let text = print(Some(columns), change);
            for word in change.split_whitespace() {
                assert!(text.contains(word), "{columns}: {text}");
            }
            for line in text.lines() {
                let longest = line.split_whitespace().map(|word| word.chars().count()).max().unwrap_or_default();
                assert!(line.chars().count() <= columns || longest + INDENT + 8 > columns, "{columns}: {text}");
            }
            let shown = text.split_whitespace().find(|word| word.starts_with("0123")).map(str::len).unwrap();
            assert!(shown >= FEW_DIGITS && (columns < 120 || shown >= DIGITS), "{columns}: {text}");
            assert!(columns < 180 || shown == ALL_DIGITS, "{columns}: {text}");
        }
    }

    #[test]
    fn later_pages_stand_below_the_first_one() {
        let mut table = Table::new(["a", "b"], None, room(Some(80)));
        let first = table.page([["long", "x"]]);
        let second = table.page([["s", "y"]]);
        assert_eq!((first.as_str(), second.as_str()), (" a     b\n long  x", " s     y"));
        assert_eq!(Table::new(["a"], None, room(None)).page(Vec::<[&str; 1]>::new()), " a");
    }
}
