//! Entries and receipts, as JSON.

use serde::Serialize;
use serde_json::value::RawValue;
use thingdb::format::erasure::Erasure;
use thingdb::{Actor, Receipt};
use utoipa::ToSchema;

use super::details::WholeJson;
use super::entry::Entry;
use super::original::OriginalJson;
use super::patch::Change;

/// An entry in the words of the format. `docs/cli.md` lists the members;
/// scripts hang on them.
#[derive(Serialize, ToSchema)]
#[schema(as = Entry)]
pub(crate) struct EntryJson {
    thing: String,
    seq: u64,
    id: String,
    time: String,
    actor: ActorJson,
    action: Option<String>,
    prev: Vec<String>,
    /// How many heads the thing has, entries that no other follows; with `at`
    /// how many it had then. More than one is a fork.
    heads: u64,
    content: &'static str,
    /// The erasure record; only where the content is `erased`.
    #[serde(skip_serializing_if = "Option::is_none")]
    erased_by: Option<String>,
    media_type: Option<String>,
    /// JSON as it was spelled; other data as a string of base64; null unless
    /// the content is open.
    #[schema(value_type = serde_json::Value)]
    data: Option<Box<RawValue>>,
    /// Who wrote the original and when; only of a migrated entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<OriginalJson>,
    /// What it says of other entries; only of an erasure record.
    #[serde(skip_serializing_if = "Option::is_none")]
    erasure: Option<SaidErasureJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    patch: Option<Vec<Change>>,
}

/// Who signed, and whether this node knows the key by that name.
#[derive(Serialize, ToSchema)]
#[schema(as = Actor)]
pub(crate) struct ActorJson {
    name: Option<String>,
    key: String,
    trusted: bool,
    /// Trust in the key was withdrawn; absent if not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    withdrawn: bool,
    /// It was signed by a revoked key, and not shown to be from before; absent if not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    revoked: bool,
}

/// What an erasure record says.
#[derive(Serialize, ToSchema)]
#[schema(as = SaidErasure)]
pub(crate) struct SaidErasureJson {
    /// How many entries it lists.
    entries: u64,
    reason: String,
    /// The rule that it rests on; absent if none was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<String>,
}

impl SaidErasureJson {
    /// What a record says.
    pub(crate) fn new(said: &Erasure) -> Self {
        Self {
            entries: said.entries().len() as u64,
            reason: said.reason().to_owned(),
            basis: said.basis().map(str::to_owned),
        }
    }
}

impl ActorJson {
    /// An actor of this database.
    pub(crate) fn own(name: &str, key: &Actor) -> Self {
        Self { name: Some(name.to_owned()), key: key.to_string(), trusted: true, withdrawn: false, revoked: false }
    }

    /// The name, if the body is here.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The key in hex.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

impl EntryJson {
    /// The entry `entry`.
    pub(crate) fn new(entry: &Entry) -> Self {
        Self::with_data(entry, data(entry))
    }

    /// The entry `entry`; if `is_exact`, with the bytes of its data in base64,
    /// JSON too: so nothing of them is lost.
    pub(crate) fn as_asked(entry: &Entry, is_exact: bool) -> Self {
        if is_exact { Self::with_data(entry, base64(entry)) } else { Self::new(entry) }
    }

    fn with_data(entry: &Entry, data: Option<Box<RawValue>>) -> Self {
        Self {
            thing: entry.thing().to_owned(),
            seq: entry.seq(),
            id: entry.id().to_string(),
            time: entry.time().to_string(),
            actor: ActorJson {
                name: entry.actor_name().map(str::to_owned),
                key: entry.actor().to_string(),
                trusted: entry.is_trusted(),
                withdrawn: entry.is_withdrawn(),
                revoked: entry.is_revoked(),
            },
            action: entry.action().map(str::to_owned),
            prev: entry.prev().iter().map(ToString::to_string).collect(),
            heads: entry.heads(),
            content: entry.state().word(),
            erased_by: entry.erased_by().map(|by| by.to_string()),
            media_type: entry.media_type().map(str::to_owned),
            data,
            original: entry.original(),
            erasure: entry.erasure().as_ref().map(SaidErasureJson::new),
            patch: None,
        }
    }

    /// The entry with what it changed, if that is known.
    pub(crate) fn with_patch(mut self, patch: Option<Vec<Change>>) -> Self {
        self.patch = patch;
        self
    }
}

/// JSON data as it was put, other data as a string of base64.
fn data(entry: &Entry) -> Option<Box<RawValue>> {
    entry.json_value().or_else(|| base64(entry))
}

fn base64(entry: &Entry) -> Option<Box<RawValue>> {
    let text = data_encoding::BASE64.encode(entry.data()?);
    RawValue::from_string(format!("\"{text}\"")).ok()
}

/// All of one entry.
#[derive(Serialize, ToSchema)]
#[schema(as = WholeEntry)]
pub(crate) struct AllJson {
    #[serde(flatten)]
    entry: EntryJson,
    #[serde(flatten)]
    whole: WholeJson,
}

impl AllJson {
    /// An entry, and what is only of interest when one looks at one.
    pub(crate) const fn new(entry: EntryJson, whole: WholeJson) -> Self {
        Self { entry, whole }
    }
}

/// What a write gave, in the words of the format.
#[derive(Serialize, ToSchema)]
#[schema(as = Receipt)]
pub(crate) struct ReceiptJson {
    thing: String,
    seq: u64,
    id: String,
    time: String,
    position: u64,
    actor: ActorJson,
}

impl ReceiptJson {
    /// The receipt for an entry that `actor` signed.
    pub(crate) fn new(receipt: &Receipt, actor: &str) -> Self {
        Self {
            thing: receipt.thing.to_string(),
            seq: receipt.seq,
            id: receipt.id.to_string(),
            time: receipt.time.to_string(),
            position: receipt.position,
            actor: ActorJson::own(actor, &receipt.actor),
        }
    }
}
