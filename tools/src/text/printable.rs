//! Text as a terminal can show it, whoever wrote it.

use std::borrow::Cow;
use std::cmp::Ordering;

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

/// Text that a terminal shows rather than obeys, and shows all of: what is not seen
/// becomes escapes.
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

/// What is not seen, or turns the order of what is: names that differ in it alone look
/// the same. By Unicode 17, of the general categories C (as far as it is assigned, and
/// the noncharacters) and Z, and of Default_Ignorable_Code_Point, all but the space and
/// the wide space of East Asian text, which is seen; and two that are drawn as nothing,
/// U+2800 and U+1D159. The page of `thingdb prove --html` has the same rule.
const UNSEEN: [(char, char); 46] = [
    ('\u{0}', '\u{1f}'),
    ('\u{7f}', '\u{a0}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{1680}', '\u{1680}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{2000}', '\u{200f}'),
    ('\u{2028}', '\u{202f}'),
    ('\u{205f}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{e000}', '\u{f8ff}'),
    ('\u{fdd0}', '\u{fdef}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{fffe}', '\u{ffff}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d159}', '\u{1d159}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{1fffe}', '\u{1ffff}'),
    ('\u{2fffe}', '\u{2ffff}'),
    ('\u{3fffe}', '\u{3ffff}'),
    ('\u{4fffe}', '\u{4ffff}'),
    ('\u{5fffe}', '\u{5ffff}'),
    ('\u{6fffe}', '\u{6ffff}'),
    ('\u{7fffe}', '\u{7ffff}'),
    ('\u{8fffe}', '\u{8ffff}'),
    ('\u{9fffe}', '\u{9ffff}'),
    ('\u{afffe}', '\u{affff}'),
    ('\u{bfffe}', '\u{bffff}'),
    ('\u{cfffe}', '\u{cffff}'),
    ('\u{dfffe}', '\u{e0fff}'),
    ('\u{efffe}', '\u{10ffff}'),
];

/// Whether a character is not seen, or turns the order of others.
pub(crate) fn is_unprintable(c: char) -> bool {
    // Nearly all text.
    if matches!(c, ' '..='~') {
        return false;
    }
    let found = UNSEEN.binary_search_by(|(first, last)| match c {
        c if c < *first => Ordering::Greater,
        c if c > *last => Ordering::Less,
        _ => Ordering::Equal,
    });
    found.is_ok()
}

/// Whether a character is a space or an end of a line, as texts have them.
pub(crate) const fn is_blank(c: char) -> bool {
    matches!(
        c,
        ' ' | '\n' | '\t' | '\r' | '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
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
    }

    #[test]
    fn what_nobody_can_see_is_spelled_out() {
        assert!(UNSEEN.is_sorted_by(|a, b| a.1 < b.0) && UNSEEN.iter().all(|(first, last)| first <= last));
        let bidi = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{206a}\u{206f}";
        let zero_width =
            "\u{34f}\u{200b}\u{200d}\u{2060}\u{2065}\u{feff}\u{180b}\u{180e}\u{180f}\u{115f}\u{3164}\u{ffa0}";
        let selectors = "\u{fe00}\u{fe0f}\u{e0000}\u{e0001}\u{e007f}\u{e0100}\u{e01ef}\u{e0fff}";
        let others = "\u{ad}\u{a0}\u{2003}\u{2028}\u{2029}\u{205f}\u{fff9}\u{fffb}\u{2800}\u{1d159}\u{1d173}\u{e000}\u{ffff}\u{10ffff}";
        for c in [bidi, zero_width, selectors, others].concat().chars() {
            assert_eq!(printable(&format!("part{c}-42")), format!("part\\u{{{:x}}}-42", u32::from(c)));
        }
        for c in " ~\u{a1}é漢字\u{3000}\u{301}\u{fffd}\u{fffc}😀\u{e1000}".chars() {
            assert!(!is_unprintable(c), "{c:?}");
        }
    }

    #[test]
    fn json_keeps_its_value() {
        let told = harmless_json("[\"a\u{e0001}\u{202e}b\"]\n".to_owned());
        assert_eq!(told, "[\"a\\udb40\\udc01\\u202eb\"]\n");
        assert_eq!(serde_json::from_str::<Vec<String>>(&told).unwrap(), ["a\u{e0001}\u{202e}b"]);
    }

    #[test]
    fn long_text_ends_in_an_ellipsis() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("abcd", 3), "ab…");
    }
}
