//! What a server tells of an entry. What does not read as an entry is refused
//! while it is read, so that nothing of it is shown.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use thingdb::format::{MAX_ACTION_BYTES, MAX_MEDIA_TYPE_BYTES};
use thingdb::{EntryId, ThingId, Time};

use super::as_text;
use super::details::{State, WholeJson};
use super::fork::WriterJson;
use super::original::OriginalJson;
use crate::foreign;

/// An entry, as a server tells of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Told {
    #[serde(with = "as_text")]
    pub(crate) thing: ThingId,
    pub(crate) seq: u64,
    #[serde(with = "as_text")]
    pub(crate) id: EntryId,
    #[serde(with = "as_text")]
    pub(crate) time: Time,
    pub(crate) actor: WriterJson,
    #[serde(default, deserialize_with = "as_text::short::<MAX_ACTION_BYTES, _>")]
    pub(crate) action: Option<String>,
    #[serde(with = "as_text::list")]
    pub(crate) prev: Vec<EntryId>,
    pub(crate) heads: u64,
    pub(crate) content: State,
    #[serde(default, deserialize_with = "as_text::short::<64, _>")]
    pub(crate) erased_by: Option<String>,
    #[serde(default, deserialize_with = "as_text::short::<MAX_MEDIA_TYPE_BYTES, _>")]
    pub(crate) media_type: Option<String>,
    #[serde(deserialize_with = "base64")]
    pub(crate) data: Option<Vec<u8>>,
    /// Apart, as few entries have one, and a page may have many entries.
    #[serde(default)]
    pub(crate) original: Option<Box<OriginalJson>>,
    /// Where it was asked for by its id.
    #[serde(skip)]
    pub(crate) whole: Option<Box<WholeJson>>,
}

impl Told {
    /// What is told in JSON.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let told: Self = foreign::decode(bytes).map_err(|fault| fault.to_string())?;
        told.sound()
    }

    /// All that is told of one entry.
    pub(crate) fn parse_whole(bytes: &[u8]) -> Result<Self, String> {
        let whole: WholeJson = foreign::decode(bytes).map_err(|fault| fault.to_string())?;
        Ok(Self { whole: Some(Box::new(whole)), ..Self::parse(bytes)? })
    }

    /// What is told of several.
    pub(crate) fn parse_list(bytes: &[u8]) -> Result<Vec<Self>, String> {
        let told: Vec<Self> = foreign::decode(bytes).map_err(|fault| fault.to_string())?;
        told.into_iter().map(Self::sound).collect()
    }

    /// The time by which it counts where people ask for a time.
    pub(crate) fn dated(&self) -> Time {
        self.original.as_ref().map_or(self.time, |original| original.dated(self.time))
    }

    /// An entry that is open has all of its body, another one nothing of it.
    fn sound(self) -> Result<Self, String> {
        let is_open = self.content == State::Open;
        let parts = [self.action.is_some(), self.media_type.is_some(), self.data.is_some()];
        let is_odd = self.original.as_ref().is_some_and(|original| !is_open || !original.is_sound());
        let is_erased = self.erased_by.as_ref().is_some_and(|by| by.parse::<EntryId>().is_ok());
        if is_erased != (self.content == State::Erased) || (self.erased_by.is_some() && !is_erased) {
            return Err(format!("{} is no entry that could be", self.id));
        }
        if parts.contains(&!is_open) || is_odd || self.seq == 0 || self.heads == 0 {
            return Err(format!("{} is no entry that could be", self.id));
        }
        Ok(self)
    }
}

fn base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    /// Of a string as it stands there: no copy of it is made.
    struct Base64(Vec<u8>);

    struct Base64Visitor;

    impl Visitor<'_> for Base64Visitor {
        type Value = Base64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string in base64")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Base64, E> {
            data_encoding::BASE64.decode(text.as_bytes()).map(Base64).map_err(E::custom)
        }
    }

    impl<'de> Deserialize<'de> for Base64 {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(Base64Visitor)
        }
    }

    Ok(Option::<Base64>::deserialize(deserializer)?.map(|data| data.0))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::view::entry::Entry;
    use crate::view::record::EntryJson;

    fn entry() -> Value {
        json!({
            "thing": "part-42", "seq": 1, "id": "ab".repeat(32), "time": "2026-11-22T06:01:12.000000Z",
            "actor": {"name": "alice", "key": KEY, "trusted": true}, "action": "create", "prev": [], "heads": 1,
            "content": "open", "media_type": "application/json", "data": "MQ==",
        })
    }

    /// A public key of RFC 8032, section 7.1.
    const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn parse(value: &Value) -> Result<Told, String> {
        Told::parse(value.to_string().as_bytes())
    }

    #[test]
    fn data_comes_as_its_bytes() {
        let told = parse(&entry()).unwrap();
        assert_eq!((told.data.as_deref(), told.seq), (Some(&b"1"[..]), 1));
    }

    /// Whoever signs may call anything JSON; it is shown as the bytes that it is.
    #[test]
    fn data_that_is_no_json_is_shown_as_bytes() {
        // `not json`, bytes that are no text, a text within a string that is none, nothing.
        for data in ["bm90IGpzb24=", "//4=", "Iv8i", ""] {
            let mut odd = entry();
            odd["data"] = json!(data);
            let odd = Entry::Told(Box::new(parse(&odd).unwrap()));
            assert_eq!(odd.json_text(), None, "{data}");
            assert_eq!(serde_json::to_value(EntryJson::new(&odd)).unwrap()["data"], data);
        }
    }

    #[test]
    fn what_could_be_no_entry_is_refused() {
        for (member, value) in [
            ("thing", json!("a\u{1b}[31m")),
            ("thing", json!("")),
            ("seq", json!(0)),
            ("seq", json!(-1)),
            ("seq", json!(1.5)),
            ("seq", json!("1")),
            ("id", json!("AB".repeat(32))),
            ("id", json!("ab")),
            ("time", json!("yesterday")),
            ("heads", json!(0)),
            ("heads", Value::Null),
            ("actor", json!({"name": "alice", "key": "00", "trusted": true})),
            ("prev", json!(["x"])),
            ("content", json!("closed")),
            ("content", json!("stub")),
            ("action", Value::Null),
            ("data", json!({"a": 1})),
            ("data", json!("MQ=")),
            ("data", json!("MR==")),
        ] {
            let mut bad = entry();
            bad[member] = value;
            assert!(parse(&bad).is_err(), "{bad}");
        }
        assert!(Told::parse_whole(entry().to_string().as_bytes()).is_err());
        assert!(Told::parse_list(b"{}").is_err());
    }
}
