//! What a migrated entry keeps of its original: the attachment.
//!
//! ```json
//! {"version":1,"form":"envelope","line":3,"ciphertext_hash":"5eed…","prev_hash":"085b…","document":"{\"action\":…"}
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thingdb_format::{Actor, Attachment, Body, Hash, ThingId, Time, Verifier};

use super::chain::Link;
use super::document::Document;
use super::sealed::Form;
use crate::entry::draft::JSON;
use crate::entry::json;
use crate::entry::record::Record;

/// Media type of what a migrated entry carries: its original.
pub const ORIGINAL: &str = "application/vnd.thingdb.prototype+json";

/// Media type of data that the prototype wrote and that is not JSON, because
/// it holds `NaN` or `Infinity`, or because readers of JSON would disagree on
/// it.
pub const PYTHON_JSON: &str = "application/vnd.thingdb.python-json";

const VERSION: u32 = 1;

/// The original of a migrated entry, as it is kept. That its signature holds is
/// for [`Db::verify`](crate::Db::verify) to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Original {
    /// How it lay in the prototype's ledger.
    pub form: Form,
    /// In which line, from 1.
    pub line: u64,
    /// SHA-256 of its ciphertext: by this the next entry names it.
    pub ciphertext_hash: Hash,
    /// SHA-256 of the ciphertext that it names as the one before it.
    pub prev_hash: Option<Hash>,
    /// The document, exactly as it was signed and sealed.
    pub document: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    form: Form,
    line: u64,
    ciphertext_hash: String,
    prev_hash: Option<String>,
    document: String,
}

impl Original {
    /// The original that an attachment holds, if it is one.
    #[must_use]
    pub fn of(attachment: Attachment<'_>) -> Option<Self> {
        if attachment.media_type == ORIGINAL { Self::decode(attachment.bytes).ok() } else { None }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let kept = Kept {
            version: VERSION,
            form: self.form,
            line: self.line,
            ciphertext_hash: self.ciphertext_hash.to_string(),
            prev_hash: self.prev_hash.map(|hash| hash.to_string()),
            document: self.document.clone(),
        };
        serde_json::to_vec(&kept).expect("texts and numbers are JSON")
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let kept: Kept = serde_json::from_slice(bytes).map_err(|problem| problem.to_string())?;
        if kept.version != VERSION {
            return Err(format!("version {} was written by a newer program", kept.version));
        }
        let hash = |text: &str| text.parse::<Hash>().map_err(|problem| problem.to_string());
        Ok(Self {
            form: kept.form,
            line: kept.line,
            ciphertext_hash: hash(&kept.ciphertext_hash)?,
            prev_hash: kept.prev_hash.as_deref().map(hash).transpose()?,
            document: kept.document,
        })
    }

    /// The name that the signer went by. A claim, as everything that the
    /// document says.
    #[must_use]
    pub fn actor_name(&self) -> Option<String> {
        self.cut()?.actor_name()
    }

    /// The key that is said to have signed.
    #[must_use]
    pub fn actor(&self) -> Option<Actor> {
        self.cut()?.key().ok()
    }

    /// The signer's clock, as it was written.
    #[must_use]
    pub fn timestamp(&self) -> Option<String> {
        self.cut()?.timestamp()
    }

    /// The same as a time, if it reads as one.
    #[must_use]
    pub fn time(&self) -> Option<Time> {
        time(&self.timestamp()?)
    }

    fn cut(&self) -> Option<Document<'_>> {
        Document::cut(&self.document).ok()
    }

    pub(crate) fn link(&self) -> Link {
        Link { line: self.line, form: self.form, ciphertext: self.ciphertext_hash, prev: self.prev_hash }
    }

    /// What tells whether an original was brought in before.
    pub(crate) fn fingerprint(&self) -> Hash {
        Hash::of(&[&self.ciphertext_hash.0[..], self.document.as_bytes()].concat())
    }

    /// Whether an entry says what the original says.
    pub(crate) fn check_entry(&self, document: &Document<'_>, thing: &ThingId, body: &Body) -> Result<(), String> {
        let of = document.thing()?;
        if of != thing.as_str() {
            return Err(format!("the original is about {of}"));
        }
        if document.prev_hash()? != self.prev_hash {
            return Err("the original names another prev_hash than is kept".to_owned());
        }
        let data = document.data()?;
        if data.as_bytes() != body.data() {
            return Err("the data is not the data of the original".to_owned());
        }
        // Which of the two it is follows from the text; a stricter reader of
        // JSON must not make old entries bad.
        if !matches!(body.media_type(), JSON | PYTHON_JSON) {
            return Err(format!("the data of the original is not {}", body.media_type()));
        }
        Ok(())
    }
}

/// What the original of a migrated entry says, and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckedOriginal {
    /// The key that is said to have signed.
    pub actor: Option<Actor>,
    /// The name by which the trust store knows the key; for a key that it does
    /// not know, the name that the signer went by.
    pub actor_name: Option<String>,
    /// Whether the trust store knows the key.
    pub is_trusted: bool,
    /// The signer's clock.
    pub time: Option<Time>,
    /// What does not hold, if anything does not: the signature, the hash of the
    /// data, or that the entry says what the original says.
    pub fault: Option<String>,
}

impl CheckedOriginal {
    pub(crate) fn of(thing: &ThingId, body: &Body) -> Option<Self> {
        let attachment = body.attachment().filter(|attachment| attachment.media_type == ORIGINAL)?;
        let (original, outcome) = checked(attachment, thing, body, |key| Verifier::new(&key.0).map(Arc::new));
        Some(Self {
            actor: original.as_ref().and_then(Original::actor),
            actor_name: original.as_ref().and_then(Original::actor_name),
            is_trusted: false,
            time: original.as_ref().and_then(Original::time),
            fault: outcome.err(),
        })
    }
}

/// Records of migrated entries.
impl Record {
    /// The original that a migrated entry keeps, if it is one.
    #[must_use]
    pub fn original(&self) -> Option<Original> {
        self.attachment().and_then(Original::of)
    }

    /// What the original of a migrated entry says, and whether it holds: the
    /// same checks as [`Db::verify`](crate::Db::verify) makes, its chain aside.
    /// Costs a signature check.
    #[must_use]
    pub fn checked_original(&self) -> Option<CheckedOriginal> {
        let mut checked = CheckedOriginal::of(&self.header.thing, self.body()?)?;
        if let Some(name) = &self.original_name {
            checked.actor_name = Some(name.clone());
            checked.is_trusted = true;
        }
        Some(checked)
    }

    /// The time by which the entry counts where people ask for a time: that of
    /// its original, if it is migrated, the original holds and is not younger
    /// than the entry; otherwise [its own](Self::time).
    #[must_use]
    pub fn dated(&self) -> Time {
        let original = self.checked_original().filter(|original| original.fault.is_none());
        original.and_then(|original| original.time).map_or_else(|| self.time(), |time| time.min(self.time()))
    }
}

/// An original, and whether it holds.
fn checked(
    attachment: Attachment<'_>,
    thing: &ThingId,
    body: &Body,
    verifier: impl FnOnce(&Actor) -> Result<Arc<Verifier>, thingdb_format::Error>,
) -> (Option<Original>, Result<(), String>) {
    let original = match Original::decode(attachment.bytes) {
        Ok(original) => original,
        Err(problem) => return (None, Err(format!("the kept original does not decode: {problem}"))),
    };
    let outcome = Document::cut(&original.document).and_then(|document| {
        document.check_data()?;
        document.check_signature(verifier)?;
        original.check_entry(&document, thing, body)
    });
    (Some(original), outcome)
}

/// A time as Python writes it (ISO 8601), to the microsecond.
fn time(text: &str) -> Option<Time> {
    let (date, rest) = text.split_once(['T', ' '])?;
    let zone = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at_checked(zone)?;
    let (seconds, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let local: Time = format!("{date}T{seconds}.{micros}Z").parse().ok()?;
    let offset = match zone {
        "" | "Z" => 0,
        _ => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let number = |text: &str| text.parse::<u8>().ok().map(i64::from);
            let minutes = number(hours)? * 60 + number(minutes)?;
            minutes * 60_000_000 * if zone.starts_with('-') { -1 } else { 1 }
        }
    };
    Time::from_micros(local.micros().checked_add_signed(-offset)?).ok()
}

/// What a text of the prototype is.
pub(crate) fn media_type(data: &str) -> &'static str {
    if json::check(data.as_bytes()).is_ok() { JSON } else { PYTHON_JSON }
}

/// What verification found of a migrated entry.
pub(crate) struct Checked {
    /// Its place in the prototype's chain, if that can be told.
    pub(crate) link: Option<Link>,
    /// What does not hold.
    pub(crate) fault: Option<String>,
}

/// Checks the original of an entry, if it has one.
pub(crate) fn check(
    thing: &ThingId,
    body: &Body,
    verifier: impl FnOnce(&Actor) -> Result<Arc<Verifier>, thingdb_format::Error>,
) -> Option<Box<Checked>> {
    let attachment = body.attachment().filter(|attachment| attachment.media_type == ORIGINAL)?;
    let (original, outcome) = checked(attachment, thing, body, verifier);
    // A link that nobody signed for is none.
    let link = original.filter(|_| outcome.is_ok()).map(|original| original.link());
    Some(Box::new(Checked { link, fault: outcome.err() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_python_are_read() {
        let read = |text: &str| time(text).map(|time| time.to_string());
        for (text, expected) in [
            ("2026-11-22T06:55:49.318267Z", "2026-11-22T06:55:49.318267Z"),
            ("2026-11-22T06:55:49Z", "2026-11-22T06:55:49.000000Z"),
            ("2026-11-22 06:55:49.5", "2026-11-22T06:55:49.500000Z"),
            ("2026-11-22T06:55:49.318267+00:00", "2026-11-22T06:55:49.318267Z"),
            ("2026-11-22T06:55:49+05:30", "2026-11-22T01:25:49.000000Z"),
            ("2026-11-22T22:55:49-02:00", "2026-11-23T00:55:49.000000Z"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        for bad in [
            "",
            "T",
            "yesterday",
            "2026-11-22",
            "2026-13-22T06:55:49Z",
            "2026-11-22T06:55:49+5",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "2026-11-22T06:55:4\u{e9}",
            "2026-11-22T06:55:49.\u{e9}Z",
            "2026-11-22T06:55:49+\u{e9}:00",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_original_comes_back_and_others_are_none() {
        let original = Original {
            form: Form::Envelope,
            line: 7,
            ciphertext_hash: Hash([1; 32]),
            prev_hash: Some(Hash([2; 32])),
            document: r#"{"actor":"al\"ice","data":NaN,"timestamp":"2026-11-22T06:55:49Z"}"#.to_owned(),
        };
        let bytes = original.encode();
        let back = Original::of(Attachment { media_type: ORIGINAL, bytes: &bytes }).unwrap();
        assert_eq!(back, original);
        assert_eq!(back.actor_name().as_deref(), Some("al\"ice"));
        assert_eq!(back.timestamp().as_deref(), Some("2026-11-22T06:55:49Z"));
        assert!(Original::of(Attachment { media_type: "text/plain", bytes: &bytes }).is_none());
        let newer = String::from_utf8(bytes).unwrap().replace("\"version\":1", "\"version\":2");
        assert!(Original::of(Attachment { media_type: ORIGINAL, bytes: newer.as_bytes() }).is_none());
    }
}
