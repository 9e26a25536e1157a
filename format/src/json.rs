//! Strict JSON: objects whose members are known, there once and of the right
//! type, strings and numbers in their one spelling, and errors that say where.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use data_encoding::{BASE64, HEXLOWER};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

use crate::codec::within;
use crate::{Error, Hash};

/// Longest line without its line feed, in bytes (24 MiB).
pub const MAX_LINE_BYTES: usize = 25_165_824;

/// Bytes in lower-case hex.
pub(crate) fn hex<const N: usize>(what: &'static str, text: &str) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    // The lengths are compared first: `decode_mut` panics if they differ.
    if Some(text.len()) != N.checked_mul(2) || HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).is_err() {
        let problem = match N {
            8 => "is not 8 bytes in lower-case hex",
            16 => "is not 16 bytes in lower-case hex",
            _ => "is not 32 bytes in lower-case hex",
        };
        return Err(Error::Malformed { what, problem });
    }
    Ok(bytes)
}

/// At most `most` bytes in canonical base64.
pub(crate) fn base64(what: &'static str, text: &str, most: usize) -> Result<Vec<u8>, Error> {
    const REFUSED: &str = "is not canonical base64";
    let padding = text.bytes().rev().take(2).take_while(|byte| *byte == b'=').count();
    let len = (text.len() / 4).saturating_mul(3).saturating_sub(padding);
    within(what, len as u64, 0, most as u64)?;
    let bytes = BASE64.decode(text.as_bytes()).map_err(|_| Error::Malformed { what, problem: REFUSED })?;
    // The decoder also takes padding in the middle.
    if bytes.len() != len {
        return Err(Error::Malformed { what, problem: REFUSED });
    }
    Ok(bytes)
}

/// The same from a string as it stands in JSON, between its quotes, whose escapes
/// exist: it is unescaped piece by piece.
pub(crate) fn escaped_base64(what: &'static str, text: &str, most: usize) -> Result<Vec<u8>, Error> {
    /// Letters of a piece: a multiple of four.
    const PIECE: usize = 4096;
    if !text.contains('\\') {
        return base64(what, text, most);
    }
    let (mut bytes, mut piece) = (Vec::new(), String::with_capacity(PIECE));
    let add = |piece: &mut String, bytes: &mut Vec<u8>| {
        if piece.is_empty() {
            return Ok(());
        }
        // What is padded is the last piece.
        if !bytes.len().is_multiple_of(3) {
            return Err(Error::Malformed { what, problem: "is not canonical base64" });
        }
        bytes.extend(base64(what, piece, most)?);
        piece.clear();
        within(what, bytes.len() as u64, 0, most as u64)
    };
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        piece.push(if letter == '\\' { unescaped(&mut rest) } else { letter });
        if piece.len() >= PIECE {
            add(&mut piece, &mut bytes)?;
        }
    }
    add(&mut piece, &mut bytes)?;
    Ok(bytes)
}

/// What stands behind a backslash, as far as it can be a letter of base64; a
/// letter that is none otherwise.
fn unescaped(rest: &mut std::str::Chars<'_>) -> char {
    const NONE: char = '\0';
    match rest.next() {
        Some('/') => '/',
        Some('u') => {
            let digits = rest.as_str().get(..4).unwrap_or_default();
            let code = u32::from_str_radix(digits, 16).ok();
            rest.nth(3);
            code.and_then(char::from_u32).unwrap_or(NONE)
        }
        _ => NONE,
    }
}

/// Exactly `N` bytes in canonical base64.
pub(crate) fn base64_array<const N: usize>(what: &'static str, text: &str) -> Result<[u8; N], Error> {
    let bytes = base64(what, text, N)?;
    within(what, bytes.len() as u64, N as u64, N as u64)?;
    Ok(bytes.try_into().expect("the length was compared"))
}

/// A whole number of hashes, of at most `most` bytes, in canonical base64.
pub(crate) fn hashes(what: &'static str, text: &str, most: usize) -> Result<Vec<Hash>, Error> {
    let bytes = base64(what, text, most)?;
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(Error::Malformed { what, problem: "is not a whole number of hashes" });
    }
    Ok(hashes.iter().copied().map(Hash).collect())
}

/// Keeps the error of this crate while the parser carries its own.
#[derive(Default)]
pub(crate) struct Faults(Cell<Option<Error>>);

impl Faults {
    pub(crate) fn put<E: serde::de::Error>(&self, error: Error) -> E {
        self.0.set(Some(error));
        E::custom("")
    }

    fn json<E: serde::de::Error>(&self, problem: String) -> E {
        self.put(Error::Json { problem })
    }
}

/// An object with a fixed set of members.
pub(crate) trait Object: Sized {
    /// What it is called in errors.
    const NAME: &'static str;
    /// Its members.
    const MEMBERS: &'static [&'static str];
    /// What comes of it.
    type Value;

    fn read<'de, A: MapAccess<'de>>(members: Members<'_, A>) -> Result<Self::Value, A::Error>;
}

/// Reads one object that fills one line, LF or CR LF at its end aside.
pub(crate) fn read_line<O: Object>(line: &[u8], number: u64) -> Result<O::Value, Error> {
    let at = |column, problem| Error::Line { line: number, column, problem: Box::new(problem) };
    let line = strip_line_end(line);
    within("line", line.len() as u64, 0, MAX_LINE_BYTES as u64)
        .map_err(|problem| at(MAX_LINE_BYTES.saturating_add(1), problem))?;
    if line.contains(&b'\n') {
        let lf = line.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        let problem = Error::Json { problem: "a line feed within the line".into() };
        return Err(at(lf.saturating_add(1), problem));
    }
    let faults = Faults::default();
    // Once for all of the line: cheaper than for each string.
    let text = std::str::from_utf8(line).map_err(|error| {
        at(error.valid_up_to().saturating_add(1), Error::Text { field: "line", problem: "is not UTF-8" })
    })?;
    let mut parser = serde_json::Deserializer::from_str(text);
    let read = Seed::<O>::new(&faults).deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
    read.map_err(|error| {
        let problem = faults.0.take().unwrap_or_else(|| Error::Json { problem: message(&error) });
        at(error.column().max(1), problem)
    })
}

/// The line without its LF or CR LF.
pub(crate) fn strip_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What the parser says, without the position, and not the whole of a long
/// string.
fn message(error: &serde_json::Error) -> String {
    const MOST: usize = 200;
    let mut text = error.to_string();
    if let Some(at) = text.rfind(" at line ") {
        text.truncate(at);
    }
    if let Some((cut, _)) = text.char_indices().nth(MOST) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

/// A string where something else is expected. The parser, if it is told what to
/// expect, quotes a string of any length in its error, six letters for a byte
/// at worst: so it is not told, and the visitor that finds a string says so.
fn not_text<E: serde::de::Error>(text: &str, expected: &dyn serde::de::Expected) -> E {
    const MOST: usize = 64;
    let found = if text.len() <= MOST { Unexpected::Str(text) } else { Unexpected::Other("a long string") };
    E::invalid_type(found, expected)
}

/// Reads an [`Object`] wherever one is expected.
pub(crate) struct Seed<'c, O> {
    faults: &'c Faults,
    object: PhantomData<O>,
}

impl<'c, O> Seed<'c, O> {
    pub(crate) const fn new(faults: &'c Faults) -> Self {
        Self { faults, object: PhantomData }
    }
}

impl<'de, O: Object> DeserializeSeed<'de> for Seed<'_, O> {
    type Value = O::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<O::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, O: Object> Visitor<'de> for Seed<'_, O> {
    type Value = O::Value;

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<O::Value, E> {
        Err(not_text(text, &self))
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as an object", O::NAME)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<O::Value, A::Error> {
        O::read(Members { map, faults: self.faults, of: O::NAME, known: O::MEMBERS })
    }
}

/// The members of an object, one after the other.
pub(crate) struct Members<'c, A> {
    map: A,
    pub(crate) faults: &'c Faults,
    of: &'static str,
    known: &'static [&'static str],
}

impl<'de, A: MapAccess<'de>> Members<'_, A> {
    /// The name of the next member, if it is one of the known ones.
    pub(crate) fn next(&mut self) -> Result<Option<&'static str>, A::Error> {
        self.map.next_key_seed(Key { faults: self.faults, of: self.of, known: self.known })
    }

    /// The value of a member that was not there before.
    pub(crate) fn value<T>(
        &mut self,
        name: &'static str,
        slot: &mut Option<T>,
        seed: impl DeserializeSeed<'de, Value = T>,
    ) -> Result<(), A::Error> {
        if slot.is_some() {
            return Err(self.faults.json(format!("{} has the member `{name}` twice", self.of)));
        }
        *slot = Some(self.map.next_value_seed(seed)?);
        Ok(())
    }

    pub(crate) fn text<T>(
        &mut self,
        name: &'static str,
        slot: &mut Option<T>,
        parse: impl FnOnce(&str) -> Result<T, Error>,
    ) -> Result<(), A::Error> {
        let seed = Text { name, faults: self.faults, parse };
        self.value(name, slot, seed)
    }

    /// A string that may be long, as it stands there with its quotes: the parser
    /// would hold it once more where it has an escape.
    pub(crate) fn raw<T>(
        &mut self,
        name: &'static str,
        slot: &mut Option<T>,
        parse: impl FnOnce(&str) -> Result<T, Error>,
    ) -> Result<(), A::Error> {
        let seed = Raw { name, faults: self.faults, parse };
        self.value(name, slot, seed)
    }

    pub(crate) fn number<T>(
        &mut self,
        name: &'static str,
        slot: &mut Option<T>,
        parse: impl FnOnce(u64) -> Result<T, Error>,
    ) -> Result<(), A::Error> {
        let seed = Number { name, faults: self.faults, parse };
        self.value(name, slot, seed)
    }

    /// A member that must be there.
    pub(crate) fn need<T>(&self, name: &'static str, slot: Option<T>) -> Result<T, A::Error> {
        slot.ok_or_else(|| self.faults.json(format!("{} has no member `{name}`", self.of)))
    }

    /// A member that must not be there, for the kind of object that it is.
    pub(crate) fn refuse<T>(&self, name: &'static str, slot: &Option<T>) -> Result<(), A::Error> {
        if slot.is_some() {
            return Err(self.faults.json(format!("{} of this kind has no member `{name}`", self.of)));
        }
        Ok(())
    }
}

struct Key<'c> {
    faults: &'c Faults,
    of: &'static str,
    known: &'static [&'static str],
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<&'static str, E> {
        self.known.iter().find(|known| **known == name).copied().ok_or_else(|| {
            let name: String = name.chars().take(64).flat_map(char::escape_debug).collect();
            self.faults.json(format!("{} has the unknown member `{name}`", self.of))
        })
    }
}

/// A string that a function makes something of.
pub(crate) struct Text<'c, F> {
    pub(crate) name: &'static str,
    pub(crate) faults: &'c Faults,
    pub(crate) parse: F,
}

impl<'de, T, F: FnOnce(&str) -> Result<T, Error>> DeserializeSeed<'de> for Text<'_, F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> Result<T, Error>> Visitor<'_> for Text<'_, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as a string", self.name)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(|error| self.faults.put(error))
    }
}

/// A string, as it stands in the line, that a function makes something of.
struct Raw<'c, F> {
    name: &'static str,
    faults: &'c Faults,
    parse: F,
}

impl<'de, T, F: FnOnce(&str) -> Result<T, Error>> DeserializeSeed<'de> for Raw<'_, F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let text = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let text = text.ok_or_else(|| self.faults.json(format!("{} is no string", self.name)))?;
        (self.parse)(text).map_err(|error| self.faults.put(error))
    }
}

/// A non-negative integer that a function makes something of. Signs, fractions
/// and exponents arrive as other types and are refused.
struct Number<'c, F> {
    name: &'static str,
    faults: &'c Faults,
    parse: F,
}

impl<'de, T, F: FnOnce(u64) -> Result<T, Error>> DeserializeSeed<'de> for Number<'_, F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<T, F: FnOnce(u64) -> Result<T, Error>> Visitor<'_> for Number<'_, F> {
    type Value = T;

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        Err(not_text(text, &self))
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as an integer without sign, fraction or exponent", self.name)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        (self.parse)(number).map_err(|error| self.faults.put(error))
    }
}

/// An array of at most `most` items.
pub(crate) struct List<'c, F> {
    pub(crate) name: &'static str,
    pub(crate) faults: &'c Faults,
    pub(crate) most: usize,
    pub(crate) item: F,
}

impl<'de, S: DeserializeSeed<'de>, F: Fn() -> S> DeserializeSeed<'de> for List<'_, F> {
    type Value = Vec<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<S::Value>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: DeserializeSeed<'de>, F: Fn() -> S> Visitor<'de> for List<'_, F> {
    type Value = Vec<S::Value>;

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<S::Value>, E> {
        Err(not_text(text, &self))
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as an array", self.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<S::Value>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed((self.item)())? {
            items.push(item);
            if items.len() > self.most {
                let problem = format!("{} has more than {} items", self.name, self.most);
                return Err(self.faults.json(problem));
            }
        }
        Ok(items)
    }
}

/// Appends bytes in lower-case hex.
pub(crate) fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    push_encoded(&HEXLOWER, out, bytes);
}

/// Appends bytes in base64.
pub(crate) fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    push_encoded(&BASE64, out, bytes);
}

fn push_encoded(encoding: &data_encoding::Encoding, out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start.saturating_add(encoding.encode_len(bytes.len())), 0);
    let (_, room) = out.split_at_mut(start);
    encoding.encode_mut(bytes, room);
}

/// Appends a number in decimal.
pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; 20];
    let mut left = number;
    let mut used: usize = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.wrapping_add(u8::try_from(left % 10).unwrap_or(0));
        used = used.saturating_add(1);
        left /= 10;
        if left == 0 {
            break;
        }
    }
    let (_, digits) = digits.split_at(digits.len().saturating_sub(used));
    out.extend_from_slice(digits);
}

/// Reads the data of a record: one object and nothing else, without a line end.
pub(crate) fn read_record<O: Object>(data: &[u8]) -> Result<O::Value, Error> {
    if data.last() == Some(&b'\n') {
        return Err(Error::Json { problem: "a line feed at its end".into() });
    }
    read_line::<O>(data, 1)
}

/// Appends a JSON string with its quotes.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string can be written to memory");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(base64("x", "Zm9v", 3).unwrap(), b"foo");
        assert_eq!(base64("x", "Zg==", 3).unwrap(), b"f");
        assert_eq!(base64("x", "", 3).unwrap(), b"");
        for bad in ["Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Zg==Zm9v", "Z===", "====", "=", "Zm9v\n", " Zm9v", "Z-_v"]
        {
            assert!(base64("x", bad, 100).is_err(), "{bad}");
        }
        assert!(matches!(base64("x", "Zm9vZm9v", 5), Err(Error::OutOfRange { .. })));
    }

    /// The same as when it is unescaped first, at whatever place of it.
    #[test]
    fn escaped_base64_is_the_base64_that_it_says() {
        for len in [1, 2, 3, 3071, 3072, 3073, 9000] {
            let bytes = vec![0xff; len];
            let plain = BASE64.encode(&bytes);
            let all: String = plain.chars().map(|letter| format!("\\u{:04x}", letter as u32)).collect();
            let solidus = plain.replace('/', "\\/");
            for text in [&plain, &all, &solidus] {
                assert_eq!(escaped_base64("x", text, len).unwrap(), bytes, "{len}");
                assert!(matches!(escaped_base64("x", text, len - 1), Err(Error::OutOfRange { .. })), "{len}");
            }
            for bad in ["\\n", "\\u00e9", "\\ud83d\\ude00", "\\ud83d", "\\u003d", "\\u0000", "\\\\", "\\\""] {
                for text in [format!("{bad}{all}"), format!("{all}{bad}")] {
                    assert!(escaped_base64("x", &text, 100_000).is_err(), "{len} {bad}");
                }
            }
        }
        let padded_within = format!("{}Zg=={}", "Zm9v".repeat(1023), "\\u005am9v");
        assert!(escaped_base64("x", &padded_within, 100_000).is_err());
        assert_eq!(escaped_base64("x", "", 0).unwrap(), b"");
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 1, 9, 10, 99, 100, 1_048_576, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
