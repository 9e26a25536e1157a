//! Values that JSON holds as the text that people see: ids, times, hashes. What
//! does not read as one is refused while it is read.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serializer};

/// Writes the text.
pub(crate) fn serialize<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Reads the text.
pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr,
    T::Err: Display,
    D: Deserializer<'de>,
{
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

/// Reads a text of at most `MOST` bytes, or that there is none. A longer one is
/// refused where it stands, and not kept first.
pub(crate) fn short<'de, const MOST: usize, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Short<const MOST: usize>(String);

    struct ShortVisitor<const MOST: usize>;

    impl<const MOST: usize> Visitor<'_> for ShortVisitor<MOST> {
        type Value = Short<MOST>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a string of at most {MOST} bytes")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Short<MOST>, E> {
            if text.len() > MOST { Err(E::invalid_length(text.len(), &self)) } else { Ok(Short(text.to_owned())) }
        }
    }

    impl<'de, const MOST: usize> Deserialize<'de> for Short<MOST> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(ShortVisitor::<MOST>)
        }
    }

    Ok(Option::<Short<MOST>>::deserialize(deserializer)?.map(|short| short.0))
}

/// The same for lists, each text on its way: a list of short ones would take
/// many times what it has in JSON.
pub(crate) mod list {
    use std::fmt::{self, Display};
    use std::marker::PhantomData;
    use std::str::FromStr;

    use serde::de::{SeqAccess, Visitor};
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the texts.
    pub(crate) fn serialize<S: Serializer>(values: &[impl Display], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(ToString::to_string))
    }

    /// Reads the texts.
    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }

    struct ListVisitor<T>(PhantomData<T>);

    impl<'de, T: FromStr<Err: Display>> Visitor<'de> for ListVisitor<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of strings")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(Element(one)) = seq.next_element()? {
                list.push(one);
            }
            Ok(list)
        }
    }

    struct Element<T>(T);

    impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Element<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            super::deserialize(deserializer).map(Self)
        }
    }
}
