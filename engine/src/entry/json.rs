//! Checks that text is JSON which every reader understands the same.
//!
//! Data is stored as the text it came as, so nothing is re-spelled: integers of
//! any size, the order of members and white space survive. What is refused is
//! what readers disagree on: repeated members.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::error::{Error, Result};

/// Names of an object that are kept as they are. Most objects have no more.
const FEW: usize = 16;

/// Checks `text`; the error tells line and column.
///
/// Of an object with many members only a hash of each name is kept, 8 bytes, so
/// that the check takes little more memory than the text. If two are the same,
/// the text is read again with an eye on the names that have that hash.
pub(crate) fn check(text: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(text).map_err(|problem| {
        let good = &text[..problem.valid_up_to()];
        let line_start = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Error::Json {
            line: 1 + good.iter().filter(|byte| **byte == b'\n').count(),
            column: good.len() - line_start + 1,
            problem: "not UTF-8".into(),
        }
    })?;
    loop {
        // Nobody can make names whose hashes are the same under a key that is
        // not known before.
        let hasher = RandomState::new();
        let hashes = Reading::new(&hasher, None);
        let read = hashes.read(text);
        let Some(suspect) = hashes.suspect.get() else { return read };
        // It is one name twice, or by chance two names; then the next key
        // tells them apart.
        Reading::new(&hasher, Some(suspect)).read(text)?;
    }
}

/// One reading of a text.
struct Reading<'h> {
    hasher: &'h RandomState,
    /// Names with this hash are compared as they are, in this reading.
    wanted: Option<u64>,
    /// Two names of one object have this hash.
    suspect: Cell<Option<u64>>,
    /// The hashes of the names of all objects that are open, the innermost
    /// object's last: one list, so that it grows for all of them.
    hashes: RefCell<Vec<u64>>,
}

impl<'h> Reading<'h> {
    const fn new(hasher: &'h RandomState, wanted: Option<u64>) -> Self {
        Self { hasher, wanted, suspect: Cell::new(None), hashes: RefCell::new(Vec::new()) }
    }

    fn read(&self, text: &str) -> Result<()> {
        let mut from = serde_json::Deserializer::from_str(text);
        let read = Value(self).deserialize(&mut from).and_then(|()| from.end());
        read.map_err(|problem| {
            let text = problem.to_string();
            // serde_json appends the place, which the error carries by itself.
            let end = text.rfind(" at line ").unwrap_or(text.len());
            Error::Json { line: problem.line(), column: problem.column(), problem: text[..end].to_owned() }
        })
    }

    /// Whether a name of an object with many members is one that has to be
    /// compared as it is.
    fn is_kept(&self, name: &str) -> bool {
        let hash = self.hasher.hash_one(name);
        if self.wanted.is_none() {
            self.hashes.borrow_mut().push(hash);
        }
        self.wanted == Some(hash)
    }

    /// The object whose hashes begin at `from` has ended: looks whether two are
    /// the same.
    fn end(&self, from: usize) -> bool {
        let mut hashes = self.hashes.borrow_mut();
        let own = hashes.get_mut(from..).unwrap_or_default();
        own.sort_unstable();
        let same = own.windows(2).find(|pair| pair.first() == pair.last()).and_then(|pair| pair.first().copied());
        hashes.truncate(from);
        self.suspect.set(same);
        same.is_none()
    }
}

/// Reads a value.
#[derive(Clone, Copy)]
struct Value<'r, 'h>(&'r Reading<'h>);

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> std::result::Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<(), A::Error> {
        while seq.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let from = self.0.hashes.borrow().len();
        // The first names, or those that are looked for.
        let mut kept: Vec<Cow<'de, str>> = Vec::new();
        let mut count = 0_usize;
        while let Some(name) = map.next_key_seed(Name)? {
            if count < FEW {
                if kept.contains(&name) {
                    return Err(repeated(&name));
                }
                kept.push(name);
            } else {
                if count == FEW {
                    kept.retain(|name| self.0.is_kept(name));
                }
                if self.0.is_kept(&name) {
                    if kept.contains(&name) {
                        return Err(repeated(&name));
                    }
                    kept.push(name);
                }
            }
            count = count.saturating_add(1);
            map.next_value_seed(self)?;
        }
        if count > FEW && !self.0.end(from) {
            return Err(A::Error::custom("a member is repeated"));
        }
        Ok(())
    }
}

/// Reads the name of a member, where it stands if it can.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> std::result::Result<Cow<'de, str>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> std::result::Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> std::result::Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// Says of a name that it is there twice. A long one is not quoted whole: it
/// may have as many bytes as all of the data, and six letters for each.
fn repeated<E: serde::de::Error>(name: &str) -> E {
    const MOST: usize = 64;
    if name.len() <= MOST {
        return E::custom(format_args!("the member {name:?} is repeated"));
    }
    let start: String = name.chars().take(MOST / 4).collect();
    E::custom(format_args!("a member is repeated whose name begins with {start:?}"))
}

/// Whether `text` is one JSON value at all, members repeated or not.
#[cfg(test)]
fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> (usize, usize, String) {
        match check(text.as_bytes()) {
            Err(Error::Json { line, column, problem }) => (line, column, problem),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn repeated_members_are_refused_where_serde_json_takes_the_last() {
        assert!(is_json(r#"{"a":1,"a":2}"#));
        let (line, column, problem) = problem("{\"b\":{\"a\":1,\n\"a\":2}}");
        assert_eq!((line, problem.as_str()), (2, "the member \"a\" is repeated"));
        assert!(column > 0);
        let long: Vec<String> = (0..40).map(|n| format!("\"m{n}\":0")).collect();
        assert!(check(format!("{{{},\"m33\":1}}", long.join(",")).as_bytes()).is_err());
        assert!(check(format!("{{{}}}", long.join(",")).as_bytes()).is_ok());
    }

    #[test]
    fn a_long_name_is_not_quoted_whole() {
        let names = ["a", "é", "\u{7f}"].map(|letter| letter.repeat(1 << 20));
        for name in names {
            let (.., problem) = problem(&format!("{{\"{name}\":1,\"{name}\":2}}"));
            assert!(
                problem.starts_with("a member is repeated whose name begins with") && problem.len() < 200,
                "{problem}"
            );
        }
    }

    #[test]
    fn many_names_are_told_apart_by_what_they_are() {
        let members = |count: u32| (0..count).map(|n| format!("\"m{n}\":{n}")).collect::<Vec<_>>().join(",\n");
        for count in [15, 16, 17, 18, 1_000] {
            check(format!("{{{}}}", members(count)).as_bytes()).unwrap();
            check(format!("[{{{}}},{{\"x\":{{{}}}}}]", members(count), members(count)).as_bytes()).unwrap();
            for again in [0, 14, 15, count - 1].into_iter().filter(|again| *again < count) {
                // Spelt in another way, it is the same name.
                for spelt in [format!("\"m{again}\""), format!("\"\\u006d{again}\"")] {
                    let text = format!("{{\"x\":[{{{}\n,{spelt}:0}}],\"y\":{{{}}}}}", members(count), members(count));
                    let (line, _, problem) = problem(&text);
                    assert_eq!((line, problem), (count as usize + 1, format!("the member \"m{again}\" is repeated")));
                }
            }
        }
        // Objects within an object with many members have their own.
        let deep = |inner: &str| format!("{{{},\"x\":{{{inner}}},\"m40\":1}}", members(40));
        check(deep(&members(40)).as_bytes()).unwrap();
        assert_eq!(problem(&deep(&format!("{},\"m3\":0", members(40)))).2, "the member \"m3\" is repeated");
        assert_eq!(problem(&deep("\"a\":1,\"a\":2")).2, "the member \"a\" is repeated");
        assert_eq!(problem(&format!("{},", deep(""))).2, "trailing characters");
    }

    #[test]
    fn numbers_of_any_size_pass() {
        for good in ["123456789012345678901234567890", "-0.0", "1e-07", "[1,2.50]", "\"\\ud83d\\ude00\"", "null"] {
            check(good.as_bytes()).unwrap();
        }
    }

    #[test]
    fn what_is_not_json_is_told_with_line_and_column() {
        let (line, column, _) = problem("{\"a\":\n tru}");
        assert_eq!(line, 2);
        assert!(column >= 4);
        assert!(check(b"").is_err());
        assert!(check(b"{} {}").is_err());
        assert!(check(b"NaN").is_err());
        assert!(check("[".repeat(100_000).as_bytes()).is_err());
        assert!(matches!(check(b"{\n\"\xff\"}"), Err(Error::Json { line: 2, column: 2, .. })));
    }
}
