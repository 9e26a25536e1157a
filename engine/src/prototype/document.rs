//! A document that the prototype signed: cut apart, never spelled anew.
//!
//! ```text
//! {"action":…,"actor":…,"data":…,"data_hash":…,"prev_hash":…,"pubkey":…,"signature":…,"thing_id":…,"timestamp":…}
//! ```
//!
//! The text is the canonical form of the prototype: ASCII, members ascending,
//! no white space, and `NaN` and `Infinity` as values, which are not JSON. What
//! is signed is the text without `pubkey` and `signature`; what `data_hash`
//! names is the text of `data`. Both are slices of what was decrypted.

use std::sync::Arc;

use data_encoding::BASE64;
use thingdb_format::{Actor, Hash, Verifier};

/// A document and where its members lie.
pub(crate) struct Document<'a> {
    members: Vec<Member<'a>>,
}

struct Member<'a> {
    /// Without its quotes; it has no escapes.
    name: &'a str,
    value: &'a str,
    /// Name, colon and value.
    whole: &'a str,
}

impl<'a> Document<'a> {
    /// Cuts a text into its members.
    pub(crate) fn cut(text: &'a str) -> Result<Self, String> {
        let mut cutter = Cutter { text, at: 0 };
        let mut members: Vec<Member<'a>> = Vec::new();
        cutter.eat(b'{')?;
        loop {
            let from = cutter.at;
            let name = cutter.string()?.trim_matches('"');
            if name.contains('\\') {
                // Another spelling of a name that is known must not hide it.
                return Err(format!("its member {name} is spelled with escapes"));
            }
            if let Some(before) = members.last().filter(|before| before.name >= name) {
                return Err(format!("its member {name} follows {}: they do not ascend", before.name));
            }
            cutter.eat(b':')?;
            let value = cutter.value()?;
            members.push(Member { name, value, whole: cutter.since(from) });
            if cutter.peek() == Some(b',') {
                cutter.at += 1;
                continue;
            }
            cutter.eat(b'}')?;
            return if cutter.at == text.len() { Ok(Self { members }) } else { Err(cutter.unexpected()) };
        }
    }

    fn member(&self, name: &str) -> Option<&'a str> {
        self.members.iter().find(|member| member.name == name).map(|member| member.value)
    }

    fn text(&self, name: &str) -> Result<String, String> {
        let value = self.member(name).ok_or_else(|| format!("it has no member {name}"))?;
        // Lone surrogates, which Python writes, are no text here.
        serde_json::from_str(value).map_err(|_| format!("its member {name} is no text: {}", excerpt(value)))
    }

    /// What it is about.
    pub(crate) fn thing(&self) -> Result<String, String> {
        self.text("thing_id")
    }

    /// What was done, if that is told as text.
    pub(crate) fn action(&self) -> Option<String> {
        self.text("action").ok()
    }

    /// The name that its signer went by.
    pub(crate) fn actor_name(&self) -> Option<String> {
        self.text("actor").ok()
    }

    /// The signer's clock, as it was written.
    pub(crate) fn timestamp(&self) -> Option<String> {
        self.text("timestamp").ok()
    }

    /// The exact text of the data.
    pub(crate) fn data(&self) -> Result<&'a str, String> {
        self.member("data").ok_or_else(|| "it has no member data".to_owned())
    }

    /// The ciphertext that it follows.
    pub(crate) fn prev_hash(&self) -> Result<Option<Hash>, String> {
        match self.member("prev_hash") {
            None | Some("null") => Ok(None),
            Some(_) => self.hash("prev_hash").map(Some),
        }
    }

    /// The key that signed, as it is written.
    pub(crate) fn key(&self) -> Result<Actor, String> {
        self.base64("pubkey").map(Actor)
    }

    /// The bytes that were signed.
    fn signed(&self) -> String {
        let signed = self.members.iter().filter(|member| !matches!(member.name, "pubkey" | "signature"));
        let wholes: Vec<&str> = signed.map(|member| member.whole).collect();
        format!("{{{}}}", wholes.join(","))
    }

    /// Checks the hash of the data.
    pub(crate) fn check_data(&self) -> Result<(), String> {
        let (found, says) = (Hash::of(self.data()?.as_bytes()), self.hash("data_hash")?);
        if found == says { Ok(()) } else { Err(format!("its data has the hash {found}, its data_hash is {says}")) }
    }

    /// Checks the signature. `verifier` gives the checked form of a key.
    pub(crate) fn check_signature(
        &self,
        verifier: impl FnOnce(&Actor) -> Result<Arc<Verifier>, thingdb_format::Error>,
    ) -> Result<(), String> {
        let verifier = verifier(&self.key()?).map_err(|problem| problem.to_string())?;
        let signature = self.base64("signature")?;
        let good = verifier.verify(self.signed().as_bytes(), &signature, "the prototype's entry");
        good.map_err(|problem| problem.to_string())
    }

    fn hash(&self, name: &str) -> Result<Hash, String> {
        let text = self.text(name)?;
        text.parse().map_err(|_| format!("its {name} is no SHA-256 in hex: {}", excerpt(&text)))
    }

    fn base64<const N: usize>(&self, name: &str) -> Result<[u8; N], String> {
        let text = self.text(name)?;
        let bytes = BASE64.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| format!("its {name} is not {N} bytes in base64: {}", excerpt(&text)))
    }
}

/// The beginning of a text that may be of any length.
pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(60) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// Goes through canonical text. It recurses nowhere, so that text may be nested
/// as deep as it likes.
struct Cutter<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cutter<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn since(&self, from: usize) -> &'a str {
        // Only ASCII was passed over, so both ends lie between characters.
        self.text.get(from..self.at).unwrap_or_default()
    }

    fn unexpected(&self) -> String {
        match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(found) => format!("it is not in canonical form: {found:?} at byte {}", self.at),
            None => format!("it is not in canonical form: it ends at byte {}", self.at),
        }
    }

    fn eat(&mut self, byte: u8) -> Result<(), String> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(())
    }

    /// A string with its quotes.
    fn string(&mut self) -> Result<&'a str, String> {
        let from = self.at;
        self.eat(b'"')?;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(self.since(from));
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape()?;
                }
                // What Python does not escape.
                Some(b' '..=b'~') => self.at += 1,
                _ => return Err(self.unexpected()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        let digits = match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 0,
            Some(b'u') => 4,
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        for _ in 0..digits {
            if !self.peek().is_some_and(|digit| digit.is_ascii_hexdigit()) {
                return Err(self.unexpected());
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Any value.
    fn value(&mut self) -> Result<&'a str, String> {
        let from = self.at;
        // What closes the arrays and objects that are open.
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.peek() {
                Some(begin @ (b'{' | b'[')) => {
                    let close = if begin == b'{' { b'}' } else { b']' };
                    self.at += 1;
                    if self.peek() == Some(close) {
                        self.at += 1;
                    } else {
                        open.push(close);
                        self.before_value(close)?;
                        continue;
                    }
                }
                Some(b'"') => {
                    self.string()?;
                }
                _ => self.word()?,
            }
            // A value has ended: so may what it lies in.
            loop {
                let Some(close) = open.last().copied() else { return Ok(self.since(from)) };
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.before_value(close)?;
                        break;
                    }
                    Some(byte) if byte == close => {
                        self.at += 1;
                        open.pop();
                    }
                    _ => return Err(self.unexpected()),
                }
            }
        }
    }

    /// The name and colon of a member, within an object.
    fn before_value(&mut self, close: u8) -> Result<(), String> {
        if close == b'}' {
            self.string()?;
            self.eat(b':')?;
        }
        Ok(())
    }

    /// A number or one of the words.
    fn word(&mut self) -> Result<(), String> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let word = rest.split([',', ']', '}']).next().unwrap_or_default();
        let known = matches!(word, "null" | "true" | "false" | "NaN" | "Infinity" | "-Infinity");
        if !known && !is_number(word) {
            return Err(self.unexpected());
        }
        self.at += word.len();
        Ok(())
    }
}

/// `-? digits (. digits)? (e [+-]? digits)?`
fn is_number(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = word.split_once(['e', 'E']).unwrap_or((word, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    digits(whole) && digits(fraction) && digits(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &str) -> Result<String, String> {
        let whole = format!(r#"{{"action":"a","data":{text},"pubkey":"k","signature":"s","thing_id":"t"}}"#);
        Document::cut(&whole).map(|document| document.data().unwrap().to_owned())
    }

    #[test]
    fn members_that_stand_in_strings_are_no_members() {
        let text = r#"{"data":",\"pubkey\":\"x\",\"signature\":\"y\"}{","pubkey":"k","signature":"s","thing_id":"t"}"#;
        let document = Document::cut(text).unwrap();
        assert_eq!(document.signed(), r#"{"data":",\"pubkey\":\"x\",\"signature\":\"y\"}{","thing_id":"t"}"#);
        assert_eq!(document.data().unwrap(), r#"",\"pubkey\":\"x\",\"signature\":\"y\"}{""#);
        let nested = r#"{"data":{"pubkey":"x","signature":["y\\"]},"pubkey":"k","signature":"s"}"#;
        assert_eq!(Document::cut(nested).unwrap().signed(), r#"{"data":{"pubkey":"x","signature":["y\\"]}}"#);
    }

    #[test]
    fn data_is_cut_as_it_is_spelled() {
        for same in [
            "1e-07",
            "-0.0",
            "1e+22",
            "12345678901234567890123456789",
            "NaN",
            "[NaN,-Infinity,Infinity]",
            "{}",
            "[]",
            "[[],{}]",
            r#"{"a":[1,{"b":{}}],"c":"\ud83d\ude80\\"}"#,
            r#""\ud800""#,
            "null",
        ] {
            assert_eq!(data(same).unwrap(), same);
        }
        let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(data(&deep).unwrap(), deep);
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        for bad in [
            "",
            " 1",
            "1 ",
            "[1,]",
            "[1 ,2]",
            "{\"a\"}",
            "{\"a\":}",
            "\"é\"",
            "\"\u{7f}\"",
            "\"\\x\"",
            "nul",
            "+1",
            "1.",
            "[}",
        ] {
            assert!(data(bad).is_err(), "{bad}");
        }
        for bad in
            [r#"{"a":1,"a":1}"#, r#"{"b":1,"a":1}"#, r#"{"\u0061":1}"#, r#"{"a":1}x"#, r#"{"a":1"#, "{}", "", "[]"]
        {
            assert!(Document::cut(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let text = r#"{"action":"a","data":{"a":[1,"\u00e9",NaN]},"thing_id":"t"}"#;
        assert!(Document::cut(text).is_ok());
        for end in 0..text.len() {
            assert!(Document::cut(&text[..end]).is_err(), "{end}");
        }
    }
}
