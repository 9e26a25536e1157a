//! Ids of entries as people abbreviate them.

use thingdb::EntryId;

use crate::error::{Failure, Outcome};

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
}
