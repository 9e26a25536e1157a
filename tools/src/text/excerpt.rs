//! Shows where in a text something is wrong.

use super::printable;

/// Characters that are shown before and after the place.
const AROUND: usize = 36;

/// The line that `line` and `column` (from 1, in bytes) name, shortened to what
/// is around the column, and a mark below it.
pub(crate) fn lines(text: &[u8], line: usize, column: usize) -> Vec<String> {
    let Some(bytes) = text.split(|byte| *byte == b'\n').nth(line.saturating_sub(1)) else { return Vec::new() };
    let place = column.saturating_sub(1).min(bytes.len());
    let (before, after) = bytes.split_at(place);
    let before: Vec<char> = String::from_utf8_lossy(before).chars().collect();
    let before: String = before.iter().skip(before.len().saturating_sub(AROUND)).collect();
    let after: String = String::from_utf8_lossy(after).chars().take(AROUND).collect();
    let (before, after) = (printable(&before), printable(&after));
    if before.is_empty() && after.is_empty() {
        return Vec::new();
    }
    vec![format!("    {before}{after}"), format!("    {}^", " ".repeat(before.chars().count()))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_below_the_column() {
        assert_eq!(lines(b"{\n\"a\" 1}", 2, 5), ["    \"a\" 1}", "        ^"]);
        assert_eq!(lines("é\x1b x".as_bytes(), 1, 4), ["    é\\u{1b} x", "           ^"]);
    }

    #[test]
    fn places_outside_of_the_text_are_no_harm() {
        assert!(lines(b"", 1, 1).is_empty());
        assert!(lines(b"a", 7, 1).is_empty());
        assert_eq!(lines(b"a", 1, 99), ["    a", "     ^"]);
        assert_eq!(lines(b"a", 0, 0), ["    a", "    ^"]);
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let shown = lines(&[b'x'; 1000], 1, 500);
        assert_eq!(shown[0].len(), 4 + 2 * AROUND);
    }
}
