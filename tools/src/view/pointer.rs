//! JSON Pointer (RFC 6901): names one value within a document.

use std::fmt;

use serde_json::value::RawValue;

use super::patch::{elements, members};

/// A pointer that is well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    text: String,
    /// The reference tokens, unescaped.
    tokens: Vec<String>,
}

impl Pointer {
    /// Reads a pointer. The error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self { text: String::new(), tokens: Vec::new() });
        }
        let Some(tokens) = text.strip_prefix('/') else {
            return Err(format!("a JSON Pointer starts with a slash: /{text}"));
        };
        let tokens = tokens.split('/').map(unescaped).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), tokens })
    }

    /// The value that it names, as it is spelled in `text`.
    pub(crate) fn find<'a>(&self, text: &'a str) -> Option<&'a RawValue> {
        let mut value: &RawValue = serde_json::from_str(text).ok()?;
        for token in &self.tokens {
            value = match members(value) {
                Some(members) => members.get(token.as_str())?,
                None => elements(value)?.get(index(token)?)?,
            };
        }
        Some(value)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A token with `~1` read as a slash and `~0` as a tilde. A tilde before
/// anything else has no meaning (section 3).
fn unescaped(token: &str) -> Result<String, String> {
    let mut parts = token.split('~');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', &part[1..]),
            Some(b'1') => ('/', &part[1..]),
            _ => return Err(format!("in a JSON Pointer a tilde is written ~0 and a slash ~1, not ~{part}")),
        };
        plain.push(character);
        plain.push_str(rest);
    }
    Ok(plain)
}

/// The index that a token names: digits without a leading zero (section 4).
fn index(token: &str) -> Option<usize> {
    let is_canonical = token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    token.parse().ok().filter(|_| is_canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(text: &'a str, pointer: &str) -> Option<&'a str> {
        Pointer::parse(pointer).unwrap().find(text).map(RawValue::get)
    }

    #[test]
    fn the_examples_of_the_rfc() {
        let text = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
        assert_eq!(find(text, ""), Some(text));
        for (pointer, value) in [
            ("/foo", r#"["bar","baz"]"#),
            ("/foo/0", "\"bar\""),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            (r"/i\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ] {
            assert_eq!(find(text, pointer), Some(value), "{pointer}");
        }
    }

    #[test]
    fn values_are_found_as_they_are_spelled() {
        let text = r#"{"a/b":[10, {"c~1":1.00}]}"#;
        assert_eq!(find(text, "/a~1b/1/c~01"), Some("1.00"));
        for absent in ["/x", "/a~1b/2", "/a~1b/x", "/a~1b/0/y", "/a~1b/"] {
            assert_eq!(find(text, absent), None, "{absent}");
        }
    }

    #[test]
    fn an_index_has_one_spelling() {
        let text = "{\"a\":[10,11,12],\"o\":{\"01\":1}}";
        assert_eq!((find(text, "/a/0"), find(text, "/a/1")), (Some("10"), Some("11")));
        for odd in ["/a/01", "/a/+1", "/a/00", "/a/-1", "/a/-", "/a/1.0", "/a/1e0", "/a/ 1", "/a/\u{661}"] {
            assert_eq!(find(text, odd), None, "{odd}");
        }
        // A member may have any name.
        assert_eq!(find(text, "/o/01"), Some("1"));
        assert_eq!(find(text, "/a/99999999999999999999999"), None);
    }

    #[test]
    fn what_is_no_pointer_is_said() {
        for wrong in ["a", "a/b", "/~", "/~2", "/a~", "/~~0", "#/a"] {
            assert!(Pointer::parse(wrong).is_err(), "{wrong}");
        }
    }
}
