//! Text as a terminal can show it, whoever wrote it.

use std::borrow::Cow;

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
    fn long_text_ends_in_an_ellipsis() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("abcd", 3), "ab…");
    }
}
