//! Finds what a person meant: an entry by an abbreviated id, a thing by a
//! similar name.

use std::path::Path;

use thingdb::{EntryId, Head};

use super::entry::Entry;
use super::error::{Exit, Failure, Outcome};
use super::output::printable;
use super::reader::{Found, Reader};

/// Fewest digits of an abbreviated id.
pub(crate) const MIN_DIGITS: usize = 4;

/// Digits of the ids in tables. They are accepted back.
pub(crate) const SHORT_DIGITS: usize = 12;

/// An id as tables show it.
pub(crate) fn short(id: &EntryId) -> String {
    id.to_string().chars().take(SHORT_DIGITS).collect()
}

/// Lower-case digits of a full or abbreviated id.
pub(crate) fn digits(text: &str) -> Outcome<String> {
    let digits = text.trim_end_matches('…').to_ascii_lowercase();
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || digits.len() < MIN_DIGITS || digits.len() > 2 * EntryId::LEN {
        return Err(
            Failure::usage(format!("{text:?} is no entry id: {MIN_DIGITS} to 64 hex digits")).hint("thingdb log THING")
        );
    }
    Ok(digits)
}

/// The one entry whose id starts with `text`.
pub(crate) fn entry(reader: &dyn Reader, text: &str) -> Outcome<Entry> {
    match reader.find(&digits(text)?)? {
        Found::Nothing => Err(no_entry(text)),
        Found::One(entry) => Ok(*entry),
        Found::Several(ids) => Err(ambiguous(text, &ids)),
    }
}

/// The one of `heads` whose id starts with `digits`.
pub(crate) fn head(heads: &[Head], digits: &str) -> Option<EntryId> {
    let mut found = heads.iter().map(|head| head.id).filter(|id| id.to_string().starts_with(digits));
    found.next().filter(|_| found.next().is_none())
}

/// A word as a POSIX shell takes it, for hints that are to be pasted.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@' | '+' | ',');
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A path as a POSIX shell takes it.
pub(crate) fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

fn no_entry(text: &str) -> Failure {
    Failure::not_found(format!("no entry {text}")).hint("thingdb log THING")
}

fn ambiguous(text: &str, found: &[EntryId]) -> Failure {
    let ids = found.iter().take(8).map(EntryId::to_string);
    let failure = Failure::new(Exit::Usage, "ambiguous", format!("several entries start with {text}")).causes(ids);
    failure.hint("give more digits")
}

/// The failure for a thing that is not there, with names like it.
pub(crate) fn no_thing(reader: &dyn Reader, thing: &str) -> Failure {
    let failure = Failure::not_found(format!("no thing named {}", printable(thing)));
    // That no thing has the name is the fact, whatever else goes wrong.
    let similar = reader.similar(thing).unwrap_or_default();
    if similar.is_empty() {
        return failure.hint("thingdb ls");
    }
    failure.hint(format!("similar names: {}", similar.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hex_and_not_too_short() {
        assert_eq!(digits("4BE1").unwrap(), "4be1");
        assert_eq!(digits("4be177c2…").unwrap(), "4be177c2");
        for bad in ["", "4be", "xyzw", "4be1…77c2", &"0".repeat(65)] {
            assert!(digits(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hints_can_be_pasted() {
        assert_eq!(quoted("part-42"), "part-42");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
