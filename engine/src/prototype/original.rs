//! What a migrated entry keeps of its original: the attachment.
//!
//! ```json
//! {"version":1,"form":"envelope","line":3,"ciphertext_hash":"5eed…","prev_hash":"085b…","document":"{\"action\":…"}
//! ```

use serde::{Deserialize, Serialize};
use thingdb_format::{Actor, Attachment, Body, Hash, ThingId};

use super::chain::Link;
use super::document::Document;
use super::sealed::Form;
use crate::draft::JSON;
use crate::json;
use crate::store::Store;

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

    pub(super) fn encode(&self) -> Vec<u8> {
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

    fn cut(&self) -> Option<Document<'_>> {
        Document::cut(&self.document).ok()
    }

    pub(super) fn link(&self) -> Link {
        Link { line: self.line, form: self.form, ciphertext: self.ciphertext_hash, prev: self.prev_hash }
    }

    /// What tells whether an original was brought in before.
    pub(super) fn fingerprint(&self) -> Hash {
        Hash::of(&[&self.ciphertext_hash.0[..], self.document.as_bytes()].concat())
    }

    /// Whether an entry says what the original says.
    pub(super) fn check_entry(&self, document: &Document<'_>, thing: &ThingId, body: &Body) -> Result<(), String> {
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

/// What a text of the prototype is.
pub(super) fn media_type(data: &str) -> &'static str {
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
pub(crate) fn check(store: &Store, thing: &ThingId, body: &Body) -> Option<Box<Checked>> {
    let attachment = body.attachment().filter(|attachment| attachment.media_type == ORIGINAL)?;
    let original = match Original::decode(attachment.bytes) {
        Ok(original) => original,
        Err(problem) => {
            let fault = Some(format!("the kept original does not decode: {problem}"));
            return Some(Box::new(Checked { link: None, fault }));
        }
    };
    let outcome = Document::cut(&original.document).and_then(|document| {
        document.check_data()?;
        document.check_signature(|key| store.verifier(key))?;
        original.check_entry(&document, thing, body)
    });
    // A link that nobody signed for is none.
    let link = outcome.is_ok().then(|| original.link());
    Some(Box::new(Checked { link, fault: outcome.err() }))
}

#[cfg(test)]
mod tests {
    use super::*;

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
