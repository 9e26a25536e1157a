//! JSON that somebody else wrote. What is wrong with it is told by place and
//! fact, and quotes 80 bytes of it at most: a parser that quotes what it found
//! makes six letters of a byte, and of a string as long as the whole text.

use std::fmt::{self, Write};
use std::marker::PhantomData;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, MapAccess, SeqAccess, Unexpected, VariantAccess,
    Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};

/// Bytes of foreign text that are quoted.
const QUOTED_BYTES: usize = 80;

/// Bytes of what a type says of a value that it cannot be.
const FACT_BYTES: usize = 160;

/// Why a text is not what was expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What is wrong.
    pub(crate) fact: String,
    /// In which line, from 1.
    pub(crate) line: usize,
    /// In which column, in bytes, from 1.
    pub(crate) column: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at line {} column {}", self.fact, self.line, self.column)
    }
}

/// Reads a text that holds one value.
pub(crate) fn decode<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, Fault> {
    let mut parser = serde_json::Deserializer::from_slice(text);
    let seed = Careful(PhantomData::<T>);
    seed.deserialize(&mut parser).and_then(|value| parser.end().map(|()| value)).map_err(|problem| {
        let mut fact = problem.to_string();
        if let Some(place) = fact.rfind(" at line ") {
            fact.truncate(place);
        }
        Fault { fact, line: problem.line(), column: problem.column() }
    })
}

/// Foreign text as it is quoted: not longer than can be read at a glance.
pub(crate) fn quoted(text: &str) -> String {
    clipped(QUOTED_BYTES, format_args!("{text:?}"))
}

fn clipped(most: usize, text: fmt::Arguments<'_>) -> String {
    /// Takes no more than it has room for, so that nothing long is ever made.
    struct Clip(String, usize);

    impl Write for Clip {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = self.1.saturating_sub(self.0.len());
            if text.len() <= room {
                self.0.push_str(text);
                return Ok(());
            }
            let whole = text.char_indices().take_while(|(at, letter)| at + letter.len_utf8() <= room);
            self.0.extend(whole.map(|(_, letter)| letter));
            Err(fmt::Error)
        }
    }

    let mut clip = Clip(String::new(), most.saturating_sub('…'.len_utf8()));
    if clip.write_fmt(text).is_err() {
        clip.0.push('…');
    }
    clip.0
}

/// What is wrong with a value, without the place.
#[derive(Debug)]
struct Brief(String);

impl Brief {
    /// Within a text: what the parser says, or one of these that went through it.
    fn of(problem: impl fmt::Display) -> Self {
        Self(problem.to_string())
    }

    fn found(what: &str, found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Str(text) => format!("string {}", quoted(text)),
            // As JSON has it.
            Unexpected::Unit => "null".to_owned(),
            found => clipped(QUOTED_BYTES, format_args!("{found}")),
        };
        Self(format!("invalid {what}: {found}, expected {expected}"))
    }

    fn unknown(what: &str, name: &str, known: &[&str]) -> Self {
        let name = clipped(QUOTED_BYTES, format_args!("{name}"));
        Self(format!("unknown {what} `{name}`, there is `{}`", known.join("`, `")))
    }
}

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Brief {}

impl serde::de::Error for Brief {
    fn custom<T: fmt::Display>(fact: T) -> Self {
        Self(clipped(FACT_BYTES, format_args!("{fact}")))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::found("type", found, expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::found("value", found, expected)
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Self::unknown("variant", name, known)
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::unknown("field", name, known)
    }
}

/// Around a seed, a visitor, or what gives it values: errors are [`Brief`] ones
/// within, and nothing else is different. The parser is never told what to
/// expect of a plain value, for then it would say itself what it found.
struct Careful<T>(T);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Careful<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Careful(from)).map_err(D::Error::custom)
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Careful<D> {
    type Error = Brief;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Brief> {
        self.0.deserialize_any(Careful(visitor)).map_err(Brief::of)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Brief> {
        self.0.deserialize_option(Careful(visitor)).map_err(Brief::of)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Brief> {
        self.0.deserialize_newtype_struct(name, Careful(visitor)).map_err(Brief::of)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Brief> {
        self.0.deserialize_enum(name, variants, Careful(visitor)).map_err(Brief::of)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Brief> {
        self.0.deserialize_ignored_any(Careful(visitor)).map_err(Brief::of)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier
    }
}

/// A plain value goes to the visitor as it is.
macro_rules! plain {
    ($($visit:ident: $type:ty),*) => {
        $(fn $visit<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$visit::<Brief>(value).map_err(E::custom)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Careful<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    plain! {
        visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64,
        visit_str: &str, visit_borrowed_str: &'de str, visit_string: String
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none::<Brief>().map_err(E::custom)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit::<Brief>().map_err(E::custom)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Careful(from)).map_err(D::Error::custom)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Careful(from)).map_err(D::Error::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Careful(from)).map_err(A::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Careful(from)).map_err(A::Error::custom)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Careful(from)).map_err(A::Error::custom)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Careful<A> {
    type Error = Brief;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Brief> {
        self.0.next_element_seed(Careful(seed)).map_err(Brief::of)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Careful<A> {
    type Error = Brief;

    fn next_key_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Brief> {
        self.0.next_key_seed(Careful(seed)).map_err(Brief::of)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Brief> {
        self.0.next_value_seed(Careful(seed)).map_err(Brief::of)
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Careful<A> {
    type Error = Brief;
    type Variant = Careful<A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self::Variant), Brief> {
        let (value, variant) = self.0.variant_seed(Careful(seed)).map_err(Brief::of)?;
        Ok((value, Careful(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Careful<A> {
    type Error = Brief;

    fn unit_variant(self) -> Result<(), Brief> {
        self.0.unit_variant().map_err(Brief::of)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Brief> {
        self.0.newtype_variant_seed(Careful(seed)).map_err(Brief::of)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Brief> {
        self.0.tuple_variant(len, Careful(visitor)).map_err(Brief::of)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Brief> {
        self.0.struct_variant(fields, Careful(visitor)).map_err(Brief::of)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer<'a> {
        number: Option<u64>,
        #[serde(borrow)]
        text: Cow<'a, str>,
        kind: Kind,
        list: Vec<Inner>,
        #[serde(default)]
        newtype: Newtype,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        One,
        Two(u8),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        #[serde(flatten)]
        flat: Flat,
        real: f64,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Flat {
        deep: i64,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct Newtype(String);

    fn same<T: DeserializeOwned + Debug + PartialEq>(text: &str) {
        assert_eq!(decode::<T>(text.as_bytes()).ok(), serde_json::from_str(text).ok(), "{text}");
    }

    #[test]
    fn what_is_right_is_read_as_ever() {
        for text in [
            r#"{"number":1,"text":"a\n","kind":"one","list":[{"deep":-1,"real":2}],"newtype":"x"}"#,
            r#" {"text":"é","list":[{"real":1.5e3,"deep":1,"more":[{}]}],"kind":{"two":2},"number":null} "#,
        ] {
            assert_eq!(decode::<Outer<'_>>(text.as_bytes()).unwrap(), serde_json::from_str(text).unwrap());
        }
        same::<Vec<Option<bool>>>("[true,null,false]");
        same::<Vec<u64>>("[1,2,-3]");
        same::<serde_json::Value>(r#"{"a":[1,-2,3.5,"x",null,true,{}]}"#);
        let raw: &RawValue = decode(b"[ 1 ]").unwrap();
        assert_eq!(raw.get(), "[ 1 ]");
        assert!(matches!(decode::<Cow<'_, str>>(b"\"ab\""), Ok(Cow::Owned(_) | Cow::Borrowed(_))));
    }

    #[test]
    fn the_place_is_told() {
        for (text, line, column) in
            [("[1,\n2,x]", 2, 3), ("[1", 1, 2), ("[1] 2", 1, 5), ("[1,\"a\"]", 1, 6), ("", 1, 0)]
        {
            let fault = decode::<Vec<u64>>(text.as_bytes()).unwrap_err();
            assert_eq!((fault.line, fault.column), (line, column), "{text}: {fault}");
            assert_eq!(fault.to_string(), serde_json::from_str::<Vec<u64>>(text).unwrap_err().to_string());
        }
    }

    /// Wherever it stands, and whatever is expected there.
    #[test]
    fn nothing_long_is_quoted() {
        let long = "\u{7f}".repeat(1 << 20);
        let good = r#"{"number":1,"text":"a","kind":"one","list":[{"deep":1,"real":2}]}"#;
        let string = format!("\"{long}\"");
        for (from, to) in [
            ("1,\"text", format!("{string},\"text")),
            ("\"a\"", format!("[{string}]")),
            ("\"one\"", string.clone()),
            ("\"one\"", format!("{{{string}:1}}")),
            ("\"one\"", format!("{{\"two\":{string}}}")),
            ("[{", format!("[{string},{{")),
            ("[{\"deep\":1,\"real\":2}]", string.clone()),
            ("\"deep\":1", format!("\"deep\":{string}")),
            ("\"real\":2", format!("\"real\":{string}")),
            ("\"number\"", string.clone()),
        ] {
            let text = good.replacen(from, &to, 1);
            assert!(text.len() > 1 << 20, "{from}");
            let fault = decode::<Outer<'_>>(text.as_bytes()).unwrap_err();
            let told = fault.to_string();
            assert!(told.len() < 300 && fault.line == 1 && fault.column > 0, "{from}: {told}");
            assert!(told.matches("u{7f}").count() * 6 + told.matches('\u{7f}').count() <= QUOTED_BYTES, "{told}");
        }
        assert!(decode::<u64>(string.as_bytes()).unwrap_err().fact.ends_with("…, expected u64"));
    }

    #[test]
    fn what_is_short_is_quoted_whole() {
        assert_eq!(quoted("a\"b"), r#""a\"b""#);
        let edge = "é".repeat(100);
        assert!(quoted(&edge).len() <= QUOTED_BYTES && quoted(&edge).ends_with("é…"));
        assert_eq!(decode::<u64>(b"\"a\"").unwrap_err().fact, "invalid type: string \"a\", expected u64");
    }
}
