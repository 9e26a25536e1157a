//! How an entry is shown, as JSON and in tables.

use serde::Serialize;
use serde_json::value::RawValue;
use thingdb::{Actor, Content, Db, Receipt, Record};

use super::output::{printable, shorten};
use super::patch::{self, Change};
use super::{find, when};

/// An entry in the words of the format. `docs/cli.md` lists the members;
/// scripts hang on them.
#[derive(Serialize)]
pub(crate) struct EntryJson {
    thing: String,
    seq: u64,
    id: String,
    time: String,
    actor: ActorJson,
    action: Option<String>,
    prev: Vec<String>,
    content: &'static str,
    media_type: Option<String>,
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<Vec<Change>>,
}

/// Who signed, and whether this node knows the key by that name.
#[derive(Serialize)]
pub(crate) struct ActorJson {
    name: Option<String>,
    key: String,
    trusted: bool,
}

impl ActorJson {
    /// An actor of this database.
    pub(crate) fn own(name: &str, key: &Actor) -> Self {
        Self { name: Some(name.to_owned()), key: key.to_string(), trusted: true }
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
    /// The entry `record`.
    pub(crate) fn new(record: &Record) -> Self {
        Self {
            thing: record.thing().to_owned(),
            seq: record.seq(),
            id: record.id().to_string(),
            time: record.time().to_string(),
            actor: ActorJson {
                name: record.actor_name().map(str::to_owned),
                key: record.actor().to_string(),
                trusted: record.is_trusted(),
            },
            action: record.action().map(str::to_owned),
            prev: record.prev().iter().map(ToString::to_string).collect(),
            content: content(record),
            media_type: record.media_type().map(str::to_owned),
            data: data(record),
            patch: None,
        }
    }

    /// The entry with what it changed, if that is known.
    pub(crate) fn with_patch(mut self, patch: Option<Vec<Change>>) -> Self {
        self.patch = patch;
        self
    }
}

/// Whether the body of an entry is here.
pub(crate) fn content(record: &Record) -> &'static str {
    match record.content() {
        Content::Open(_) => "open",
        Content::Stub => "stub",
        _ => "undecryptable",
    }
}

/// JSON data as it was put, other data as a string of base64.
fn data(record: &Record) -> Option<Box<RawValue>> {
    if let Some(text) = json_text(record) {
        // A line feed between tokens would make two lines of one object.
        let text = text.replace(['\n', '\r'], " ");
        return RawValue::from_string(text).ok();
    }
    let text = data_encoding::BASE64.encode(record.data()?);
    RawValue::from_string(format!("\"{text}\"")).ok()
}

/// The data of an entry, if it is JSON.
pub(crate) fn json_text(record: &Record) -> Option<&str> {
    if record.media_type() != Some(thingdb::JSON) {
        return None;
    }
    std::str::from_utf8(record.data()?).ok()
}

/// What an entry changed, with the entry before it.
pub(crate) struct Step<'a> {
    /// The entry.
    pub(crate) record: &'a Record,
    before: Option<Before<'a>>,
}

enum Before<'a> {
    Near(&'a Record),
    Fetched(Box<Record>),
}

impl Before<'_> {
    fn record(&self) -> &Record {
        match self {
            Self::Near(record) => record,
            Self::Fetched(record) => record,
        }
    }
}

impl<'a> Step<'a> {
    /// The step from `neighbour`, if that is what `record` follows, or else from
    /// what it does follow.
    pub(crate) fn new(db: &Db, record: &'a Record, neighbour: Option<&'a Record>) -> thingdb::Result<Self> {
        let before = match (neighbour, record.prev().last()) {
            (_, None) => None,
            (Some(neighbour), _) if record.prev().contains(&neighbour.id()) => Some(Before::Near(neighbour)),
            (_, Some(prev)) => db.get_id(prev)?.map(Box::new).map(Before::Fetched),
        };
        Ok(Self { record, before })
    }

    /// The changes, if both entries hold JSON.
    pub(crate) fn changes(&self) -> Option<Vec<Change>> {
        let new = json_text(self.record)?;
        match &self.before {
            None if self.record.prev().is_empty() => {
                patch::changes(if new.starts_with('{') { "{}" } else { "null" }, new)
            }
            None => None,
            Some(before) => patch::changes(json_text(before.record())?, new),
        }
    }

    /// The changes in one cell.
    pub(crate) fn summary(&self, width: usize) -> String {
        let Some(changes) = self.changes() else { return about(self.record) };
        if changes.is_empty() {
            return "(same data)".to_owned();
        }
        let words: Vec<String> = changes.iter().take(16).map(Change::word).collect();
        shorten(&words.join("  "), width).into_owned()
    }
}

/// What can be said of data that is not JSON.
fn about(record: &Record) -> String {
    match (record.media_type(), record.data()) {
        (Some(media_type), Some(data)) => format!("{}, {} bytes", printable(media_type), data.len()),
        _ => format!("({})", content(record)),
    }
}

/// The name of the actor, or the start of its key.
pub(crate) fn actor(record: &Record) -> String {
    match record.actor_name() {
        Some(name) => printable(name).into_owned(),
        None => record.actor().to_string().chars().take(8).collect(),
    }
}

/// Whether the key is known here.
pub(crate) fn trust(record: &Record) -> &'static str {
    if record.is_trusted() { "trusted" } else { "unknown" }
}

/// An entry in one line.
pub(crate) fn headline(record: &Record) -> String {
    format!(
        "{} #{}  {}  {}  {} by {} ({} key)",
        printable(record.thing()),
        record.seq(),
        find::short(&record.id()),
        when::short(record.time()),
        record.action().map_or_else(|| format!("({})", content(record)).into(), printable),
        actor(record),
        trust(record),
    )
}

/// What a write gave, in the words of the format.
#[derive(Serialize)]
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
