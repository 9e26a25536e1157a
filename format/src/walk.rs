//! Numbers at a place of a document that need not be good otherwise. Nothing of
//! the document is held, however large it is.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A step of the way to numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Into a member of an object.
    Member(&'static str),
    /// The same, which may be missing.
    Optional(&'static str),
    /// Into all items of an array.
    Items,
}

/// Gives `take` the numbers at the end of a path through a document, and says
/// whether the document is JSON and has the path.
pub(crate) fn walk(text: &[u8], path: &[Step], take: &mut dyn FnMut(u64)) -> bool {
    let mut parser = serde_json::Deserializer::from_slice(text);
    Walk { path, take }.deserialize(&mut parser).is_ok() && parser.end().is_ok()
}

struct Walk<'a> {
    path: &'a [Step],
    take: &'a mut dyn FnMut(u64),
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the way to a number")
    }

    /// Said in few words: the parser would quote all of it.
    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Err(E::custom("a string"))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        if !self.path.is_empty() {
            return Err(E::custom("a number"));
        }
        (self.take)(number);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((Step::Items, path)) = self.path.split_first() else {
            return Err(serde::de::Error::custom("an array"));
        };
        while items.next_element_seed(Walk { path, take: &mut *self.take })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let (name, is_optional, path) = match self.path.split_first() {
            Some((Step::Member(name), path)) => (*name, false, path),
            Some((Step::Optional(name), path)) => (*name, true, path),
            _ => return Err(serde::de::Error::custom("an object")),
        };
        let mut found = false;
        while let Some(is_wanted) = members.next_key_seed(Is(name))? {
            if !is_wanted {
                members.next_value::<IgnoredAny>()?;
            } else if std::mem::replace(&mut found, true) {
                return Err(serde::de::Error::custom("a member twice"));
            } else {
                members.next_value_seed(Walk { path, take: &mut *self.take })?;
            }
        }
        if found || is_optional { Ok(()) } else { Err(serde::de::Error::custom("a member is missing")) }
    }
}

/// Whether a name is this one.
struct Is(&'static str);

impl<'de> DeserializeSeed<'de> for Is {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Is {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_where_the_path_leads() {
        let all = |text: &str, path: &[Step]| {
            let mut found = Vec::new();
            walk(text.as_bytes(), path, &mut |number| found.push(number)).then_some(found)
        };
        let v = [Step::Member("v")];
        assert_eq!(all(r#"{"x":[{}],"v":2}"#, &v), Some(vec![2]));
        for bad in [r#"{"v":2,"v":2}"#, r#"{"v":"2"}"#, r#"{"v":-2}"#, r#"{"v":[2]}"#, "{}", "[2]", "2", r#"{"v":2"#] {
            assert_eq!(all(bad, &v), None, "{bad}");
        }
        assert_eq!(all("{}", &[Step::Optional("v")]), Some(vec![]));
        let kinds = [Step::Member("a"), Step::Items, Step::Member("kind")];
        assert_eq!(all(r#"{"a":[{"kind":1},{"kind":3}]}"#, &kinds), Some(vec![1, 3]));
        assert_eq!(all(r#"{"a":[{"kind":1},{}]}"#, &kinds), None);
    }
}
