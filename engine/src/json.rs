//! Checks that text is JSON which every reader understands the same.
//!
//! Data is stored as the text it came as, so nothing is re-spelled: integers of
//! any size, the order of members and white space survive. What is refused is
//! what readers disagree on: repeated members.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::error::{Error, Result};

/// Checks `text`; the error tells line and column.
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
    serde_json::from_str::<Strict>(text).map(|Strict| ()).map_err(|problem| {
        let text = problem.to_string();
        // serde_json appends the place, which the error carries by itself.
        let end = text.rfind(" at line ").unwrap_or(text.len());
        Error::Json { line: problem.line(), column: problem.column(), problem: text[..end].to_owned() }
    })
}

struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_str<E>(self, _: &str) -> std::result::Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_unit<E>(self) -> std::result::Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Strict, A::Error> {
        while seq.next_element::<Strict>()?.is_some() {}
        Ok(Strict)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Strict, A::Error> {
        // Most objects are small; a list is faster than a set for those.
        let mut few: Vec<String> = Vec::new();
        let mut many: HashSet<String> = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            let repeated =
                if few.len() < 16 { few.contains(&name) } else { few.contains(&name) || many.contains(&name) };
            if repeated {
                return Err(A::Error::custom(format_args!("the member {name:?} is repeated")));
            }
            map.next_value::<Strict>()?;
            if few.len() < 16 {
                few.push(name);
            } else {
                many.insert(name);
            }
        }
        Ok(Strict)
    }
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
