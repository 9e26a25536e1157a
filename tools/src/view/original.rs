//! The original of a migrated entry, as it is told and shown.

use serde::{Deserialize, Serialize};
use thingdb::format::Attachment;
use thingdb::{Original, Record, Time};
use utoipa::ToSchema;

use super::when;
use crate::text::printable;

/// Who wrote the original of a migrated entry, when, and whether it holds.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Original)]
pub(crate) struct OriginalJson {
    /// Who signed it.
    pub(crate) actor: OriginalActorJson,
    /// The signer's clock; null if it reads as no time.
    pub(crate) time: Option<String>,
    /// Whether its signature and the hash of its data hold, and the entry says
    /// what it says.
    pub(crate) verified: bool,
    /// What does not hold; null if it is verified.
    pub(crate) fault: Option<String>,
}

/// Who signed an original, and whether this node knows the key by that name.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = OriginalActor)]
pub(crate) struct OriginalActorJson {
    pub(crate) name: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) trusted: bool,
}

impl OriginalJson {
    /// That of an entry, if it is migrated.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        let checked = record.checked_original()?;
        Some(Self {
            actor: OriginalActorJson {
                name: checked.actor_name,
                key: checked.actor.map(|key| key.to_string()),
                trusted: checked.is_trusted,
            },
            time: checked.time.map(|time| time.to_string()),
            verified: checked.fault.is_none(),
            fault: checked.fault,
        })
    }

    /// The time by which the entry counts, which was written at `own`.
    pub(crate) fn dated(&self, own: Time) -> Time {
        self.time().filter(|_| self.verified).map_or(own, |time| time.min(own))
    }

    /// Whether it could be one.
    pub(crate) fn is_sound(&self) -> bool {
        self.verified == self.fault.is_none() && self.time.is_none() == self.time().is_none()
    }

    fn time(&self) -> Option<Time> {
        self.time.as_deref()?.parse().ok()
    }

    /// The name of who signed it, or the start of the key.
    pub(crate) fn actor(&self) -> String {
        match (&self.actor.name, &self.actor.key) {
            (Some(name), _) => printable(name).into_owned(),
            (None, Some(key)) => printable(key).chars().take(8).collect(),
            (None, None) => "?".to_owned(),
        }
    }

    /// What is to be believed of it, in a word or two.
    pub(crate) const fn standing(&self) -> &'static str {
        match (self.verified, self.actor.trusted) {
            (true, true) => "verified, trusted key",
            (true, false) => "verified, unknown key",
            (false, _) => "does not verify",
        }
    }

    /// Who wrote it and when, in a part of a line.
    pub(crate) fn phrase(&self) -> String {
        let time = self.time().map_or_else(|| "an unknown time".to_owned(), when::short);
        format!("by {} (original) at {time} ({})", self.actor(), self.standing())
    }
}

/// What goes with the data of an entry.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Attachment)]
pub(crate) struct AttachmentJson {
    /// Its media type.
    pub(crate) media_type: String,
    /// Its bytes in base64.
    pub(crate) data: String,
}

impl AttachmentJson {
    /// That of an entry, if it has one.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        let Attachment { media_type, bytes } = record.attachment()?;
        Some(Self { media_type: media_type.to_owned(), data: data_encoding::BASE64.encode(bytes) })
    }

    /// Its bytes, if they read as base64.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        data_encoding::BASE64.decode(self.data.as_bytes()).ok()
    }

    /// The signed document, if it is an original.
    pub(crate) fn document(&self) -> Option<String> {
        let bytes = self.bytes()?;
        Original::of(Attachment { media_type: &self.media_type, bytes: &bytes }).map(|original| original.document)
    }
}
