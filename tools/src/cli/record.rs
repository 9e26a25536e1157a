//! How entries and things are shown, as JSON and in tables. The server answers
//! with the same JSON.

use serde::Serialize;
use serde_json::value::RawValue;
use thingdb::{Actor, Content, Db, Head, ImportSummary, Receipt, Record, Refusal, StreamState, ThingInfo};
use utoipa::ToSchema;

use super::output::{printable, shorten};
use super::patch::{self, Change};
use super::{find, when};

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
    content: &'static str,
    media_type: Option<String>,
    /// JSON as it was spelled; other data as a string of base64; null unless
    /// the content is open.
    #[schema(value_type = serde_json::Value)]
    data: Option<Box<RawValue>>,
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

/// A thing in a listing.
#[derive(Serialize, ToSchema)]
#[schema(as = Thing)]
pub(crate) struct ThingJson {
    thing: String,
    entries: u64,
    forked: bool,
    heads: Vec<HeadJson>,
}

impl ThingJson {
    /// The thing `thing`.
    pub(crate) fn new(thing: &ThingInfo) -> Self {
        Self {
            thing: thing.thing.to_string(),
            entries: thing.entries,
            forked: thing.heads.len() > 1,
            heads: thing.heads.iter().map(HeadJson::new).collect(),
        }
    }
}

/// An entry that no other follows.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Head)]
pub(crate) struct HeadJson {
    id: String,
    seq: u64,
    time: String,
}

impl HeadJson {
    /// The head `head`.
    pub(crate) fn new(head: &Head) -> Self {
        Self { id: head.id.to_string(), seq: head.seq, time: head.time.to_string() }
    }
}

/// What became of a stream.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Imported)]
pub(crate) struct ImportedJson {
    /// Entries that were not here.
    pub(crate) added: u64,
    /// Entries that were here already.
    pub(crate) known: u64,
    /// Entries that were here and lacked something that came now.
    pub(crate) completed: u64,
    /// Entries that wait for others.
    pub(crate) pending: u64,
    /// Lines that were refused.
    pub(crate) refused: u64,
    /// `bare`, `complete`, `cut` or `damaged`.
    pub(crate) stream: &'static str,
    /// Whether it was left before its end.
    pub(crate) interrupted: bool,
    /// Why lines were refused, for the first thousand.
    pub(crate) reasons: Vec<RefusalJson>,
    /// Refused lines that the answer of a server does not list.
    #[serde(skip_serializing_if = "Option::is_none")]
    unlisted: Option<u64>,
}

impl ImportedJson {
    /// What `imported` says.
    pub(crate) fn new(imported: &ImportSummary, interrupted: bool) -> Self {
        Self {
            added: imported.added,
            known: imported.known,
            completed: imported.completed,
            pending: imported.pending,
            refused: imported.refused,
            stream: match imported.stream {
                StreamState::Complete => "complete",
                StreamState::Cut => "cut",
                StreamState::Damaged(_) => "damaged",
                _ => "bare",
            },
            interrupted,
            reasons: imported.reasons.iter().map(RefusalJson::new).collect(),
            unlisted: None,
        }
    }

    /// The same, where the reasons were told already.
    pub(crate) fn without_reasons(&self) -> Self {
        Self { reasons: Vec::new(), ..self.clone() }
    }

    /// Says how many refused lines were not told.
    pub(crate) fn left_out(mut self, lines: u64) -> Self {
        self.unlisted = (lines > 0).then_some(lines);
        self
    }
}

/// Why a line was refused.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Refusal)]
pub(crate) struct RefusalJson {
    /// Line of the stream, from 1.
    pub(crate) line: u64,
    /// Column in the line, in bytes, from 1, if it does not decode.
    pub(crate) column: Option<usize>,
    /// The entry, if the line decodes.
    pub(crate) id: Option<String>,
    /// The reason.
    pub(crate) reason: String,
}

impl RefusalJson {
    /// What `refusal` says.
    pub(crate) fn new(refusal: &Refusal) -> Self {
        Self {
            line: refusal.line,
            column: refusal.column,
            id: refusal.id.as_ref().map(ToString::to_string),
            reason: refusal.reason.clone(),
        }
    }
}
