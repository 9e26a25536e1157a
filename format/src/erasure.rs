//! Erasure records: which entries have lost their content, why, and on what basis.
//!
//! The record is the data of an ordinary entry of the thing, signed as every other one,
//! and public, so that everybody who holds the thing can say what was erased. It holds
//! ids and no content.
//!
//! ```
//! use thingdb_format::erasure::Erasure;
//! use thingdb_format::EntryId;
//! let record = Erasure::new(vec![EntryId([7; 32])], "asked for by the person", Some("gdpr-17"))?;
//! assert!(record.covers(&EntryId([7; 32])));
//! assert_eq!(Erasure::from_json(record.to_json().as_bytes())?, record);
//! # Ok::<(), thingdb_format::Error>(())
//! ```

pub mod receipt;

use serde::de::MapAccess;

use crate::codec::within;
use crate::json::{self, List, Members, Object, Text, hex};
use crate::{Body, EntryId, Error, Header};

/// The media type of an erasure record.
pub const MEDIA_TYPE: &str = "application/vnd.thingdb.erasure+json";

/// The action of an erasure record.
pub const ACTION: &str = "erase";

/// Entries that one record lists, at most.
pub const MAX_ENTRIES: usize = 65_536;

/// Bytes of a reason, at most.
pub const MAX_REASON_BYTES: usize = 1024;

/// Bytes of a basis, at most.
pub const MAX_BASIS_BYTES: usize = 64;

const VERSION: u64 = 1;

/// What an erasure record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Strictly ascending, 1 to [`MAX_ENTRIES`].
    entries: Vec<EntryId>,
    reason: String,
    basis: Option<String>,
}

impl Erasure {
    /// A record over these entries, in whatever order they are given.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] without entries or with too many, [`Error::Length`] or
    /// [`Error::Text`] for a reason or basis that is not allowed.
    pub fn new(mut entries: Vec<EntryId>, reason: &str, basis: Option<&str>) -> Result<Self, Error> {
        entries.sort_unstable();
        entries.dedup();
        Self { entries, reason: reason.to_owned(), basis: basis.map(str::to_owned) }.checked()
    }

    /// The record that a body holds: nothing if the body is none, by action and media
    /// type.
    ///
    /// # Errors
    /// As [`Self::from_json`].
    pub fn of(body: &Body) -> Option<Result<Self, Error>> {
        Self::is_in(body).then(|| Self::from_json(body.data()))
    }

    /// Whether a body is a record, by action and media type.
    #[must_use]
    pub fn is_in(body: &Body) -> bool {
        body.action() == ACTION && body.media_type() == MEDIA_TYPE
    }

    /// Reads the data of a record.
    ///
    /// # Errors
    /// [`Error::Line`] with the column and what is wrong there; what [`Self::new`]
    /// refuses; [`Error::NotAscending`].
    pub fn from_json(data: &[u8]) -> Result<Self, Error> {
        json::read_record::<WireErasure>(data)?.checked()
    }

    /// The data of the record.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = format!("{{\"v\":{VERSION},\"erased\":[");
        for (place, id) in self.entries.iter().enumerate() {
            out.push_str(if place == 0 { "\"" } else { ",\"" });
            out.push_str(&id.to_string());
            out.push('"');
        }
        out.push_str("],\"reason\":");
        out.push_str(&serde_json::Value::from(self.reason.as_str()).to_string());
        if let Some(basis) = &self.basis {
            out.push_str(",\"basis\":");
            out.push_str(&serde_json::Value::from(basis.as_str()).to_string());
        }
        out.push('}');
        out
    }

    /// The entries, by ascending id.
    #[must_use]
    pub fn entries(&self) -> &[EntryId] {
        &self.entries
    }

    /// Why they were erased.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The word for the rule that it rests on.
    #[must_use]
    pub fn basis(&self) -> Option<&str> {
        self.basis.as_deref()
    }

    /// Whether the record lists an entry. Whether it may is another question.
    #[must_use]
    pub fn covers(&self, id: &EntryId) -> bool {
        self.entries.binary_search(id).is_ok()
    }

    fn checked(self) -> Result<Self, Error> {
        within("erased", self.entries.len() as u64, 1, MAX_ENTRIES as u64)?;
        if !self.entries.is_sorted_by(|one, next| one < next) {
            return Err(Error::NotAscending { field: "erased" });
        }
        check_reason(&self.reason)?;
        if let Some(basis) = &self.basis {
            length("basis", basis, MAX_BASIS_BYTES)?;
            if !basis.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte)) {
                let problem = "holds another character than letters, digits, '-', '.', '_', ':'";
                return Err(Error::Text { field: "basis", problem });
            }
        }
        Ok(self)
    }
}

/// Whether an erasure record is about the thing of the entry, and the writer of the
/// entry signed it: that is enough. Another signer has to be an actor of the node at
/// which the entry was written, which a card says.
#[must_use]
pub fn is_by_writer(record: &Header, entry: &Header) -> bool {
    record.thing == entry.thing && record.actor == entry.actor
}

/// Refuses a text that can be no reason: that of a record, or of a hold.
///
/// # Errors
/// [`Error::Length`] for one that is empty or has more than [`MAX_REASON_BYTES`];
/// [`Error::Text`] for one with a control character.
pub fn check_reason(reason: &str) -> Result<(), Error> {
    length("reason", reason, MAX_REASON_BYTES)?;
    if reason.chars().any(char::is_control) {
        return Err(Error::Text { field: "reason", problem: "holds a control character" });
    }
    Ok(())
}

fn length(field: &'static str, text: &str, most: usize) -> Result<(), Error> {
    let (found, most) = (text.len() as u64, most as u64);
    if (1..=most).contains(&found) { Ok(()) } else { Err(Error::Length { field, found, least: 1, most }) }
}

struct WireErasure;

impl Object for WireErasure {
    const NAME: &'static str = "erasure record";
    const MEMBERS: &'static [&'static str] = &["v", "erased", "reason", "basis"];
    type Value = Erasure;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<Erasure, A::Error> {
        let faults = members.faults;
        let (mut v, mut erased, mut reason, mut basis) = (None, None, None, None);
        while let Some(name) = members.next()? {
            match name {
                "v" => members.number(name, &mut v, |found| match found {
                    VERSION => Ok(()),
                    found => Err(Error::NewerVersion { field: "v", found }),
                })?,
                "erased" => {
                    let item = || Text { name, faults, parse: |text: &str| hex(name, text).map(EntryId) };
                    members.value(name, &mut erased, List { name, faults, most: MAX_ENTRIES, item })?;
                }
                "reason" => members.text(name, &mut reason, |text| Ok(text.to_owned()))?,
                _ => members.text(name, &mut basis, |text| Ok(text.to_owned()))?,
            }
        }
        members.need("v", v)?;
        let entries = members.need("erased", erased)?;
        Ok(Erasure { entries, reason: members.need("reason", reason)?, basis })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> EntryId {
        EntryId([n; 32])
    }

    #[test]
    fn entries_are_put_in_order_and_the_record_reads_back() {
        let record = Erasure::new(vec![id(9), id(1), id(9)], "asked \"for\"", None).unwrap();
        assert_eq!(record.entries(), [id(1), id(9)]);
        assert!(record.covers(&id(9)) && !record.covers(&id(2)));
        let text = record.to_json();
        assert_eq!(Erasure::from_json(text.as_bytes()).unwrap(), record);
        let body = Body::new("alice", ACTION, MEDIA_TYPE, text.as_bytes()).unwrap();
        assert_eq!(Erasure::of(&body).unwrap().unwrap(), record);
        let other = Body::new("alice", "update", MEDIA_TYPE, text.as_bytes()).unwrap();
        assert!(Erasure::of(&other).is_none());
    }

    #[test]
    fn what_is_not_allowed_is_refused_when_it_is_made_and_when_it_is_read() {
        let of = |reason: &str, basis| Erasure::new(vec![id(1)], reason, basis);
        assert!(Erasure::new(vec![], "why", None).is_err());
        for reason in ["", "two\nlines", &"x".repeat(MAX_REASON_BYTES + 1)] {
            assert!(of(reason, None).is_err(), "{reason:?}");
        }
        let too_long = "x".repeat(MAX_BASIS_BYTES + 1);
        for basis in ["", "two words", &too_long] {
            assert!(of("why", Some(basis)).is_err(), "{basis:?}");
        }
        assert!(of(&"x".repeat(MAX_REASON_BYTES), Some(&"x".repeat(MAX_BASIS_BYTES))).is_ok());
        let full: Vec<EntryId> =
            (0..=MAX_ENTRIES as u64).map(|n| EntryId(crate::Hash::of(&n.to_be_bytes()).0)).collect();
        assert!(Erasure::new(full[1..].to_vec(), "why", None).is_ok());
        assert!(Erasure::new(full, "why", None).is_err());
    }
}
