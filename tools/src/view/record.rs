//! How entries and things are shown, as JSON and in tables. The server answers
//! with the same JSON.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thingdb::format::MAX_NAME_BYTES;
use thingdb::{Actor, Hash, Head, ImportSummary, Origin, Receipt, Record, Refusal, Signed, ThingInfo, Time};
use utoipa::ToSchema;

use super::entry::Entry;
use super::original::{AttachmentJson, OriginalJson};
use super::paint::{Paint, Painted};
use super::patch::Change;
use super::whole::{self, ContradictionJson, LedgerJson};
use super::{as_text, id, when};
use crate::text::printable;

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
    media_type: Option<String>,
    /// JSON as it was spelled; other data as a string of base64; null unless
    /// the content is open.
    #[schema(value_type = serde_json::Value)]
    data: Option<Box<RawValue>>,
    /// Who wrote the original and when; only of a migrated entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<OriginalJson>,
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
}

impl ActorJson {
    /// An actor of this database.
    pub(crate) fn own(name: &str, key: &Actor) -> Self {
        Self { name: Some(name.to_owned()), key: key.to_string(), trusted: true, withdrawn: false }
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
            },
            action: entry.action().map(str::to_owned),
            prev: entry.prev().iter().map(ToString::to_string).collect(),
            heads: entry.heads(),
            content: entry.state().word(),
            media_type: entry.media_type().map(str::to_owned),
            data,
            original: entry.original(),
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

/// What is only of interest when one looks at one entry.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = EntryDetails)]
pub(crate) struct WholeJson {
    /// Place in the ledger, from 0.
    pub(crate) position: u64,
    /// The node at which it was written.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) origin: Origin,
    /// Trust in that node was withdrawn; absent if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) origin_withdrawn: bool,
    /// The cipher.
    pub(crate) suite: u8,
    /// The commitment to the body.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) data_hash: Hash,
    /// SHA-256 of the payload.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) payload_hash: Hash,
    /// Bytes of the payload.
    pub(crate) payload_len: u32,
    /// How it is signed.
    pub(crate) signature: SignatureJson,
    /// How many its envelopes name.
    pub(crate) recipients: u64,
    /// The name that the actor had when it signed, if it is another one than
    /// that by which the database knows it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "as_text::short::<MAX_NAME_BYTES, _>"
    )]
    pub(crate) signed_as: Option<String>,
    /// What goes with the data, such as the original of a migrated entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attachment: Option<AttachmentJson>,
}

/// How an entry is signed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = EntrySignature)]
pub(crate) struct SignatureJson {
    /// 1: alone, 2: in a batch.
    pub(crate) kind: u8,
    /// Place in the batch, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<u32>,
    /// Entries in the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u32>,
}

impl WholeJson {
    /// Of the entry `record`.
    pub(crate) fn new(record: &Record) -> Self {
        let header = record.header();
        Self {
            position: record.position(),
            origin: record.origin(),
            origin_withdrawn: record.is_origin_withdrawn(),
            suite: header.suite.number(),
            data_hash: header.data_hash,
            payload_hash: header.payload_hash,
            payload_len: header.payload_len,
            signature: SignatureJson::new(record.signed()),
            recipients: record.recipients() as u64,
            signed_as: record.claimed_name().filter(|claimed| record.actor_name() != Some(claimed)).map(str::to_owned),
            attachment: AttachmentJson::of(record),
        }
    }
}

impl SignatureJson {
    fn new(signed: Signed) -> Self {
        match signed {
            Signed::Single => Self { kind: 1, index: None, size: None },
            Signed::Batch { index, size } => Self { kind: 2, index: Some(index), size: Some(size) },
        }
    }
}

/// The name of the actor, or the start of its key.
pub(crate) fn actor(entry: &Entry) -> String {
    match entry.actor_name() {
        Some(name) => printable(name).into_owned(),
        None => entry.actor().to_string().chars().take(8).collect(),
    }
}

/// Whether the key is known here.
pub(crate) fn trust(entry: &Entry) -> &'static str {
    match (entry.is_trusted(), entry.is_withdrawn()) {
        (true, _) => "trusted",
        (false, true) => "withdrawn",
        (false, false) => "unknown",
    }
}

/// The same with its colour.
pub(crate) fn painted_trust(entry: &Entry) -> Painted {
    let paint = match (entry.is_trusted(), entry.is_withdrawn()) {
        (true, _) => Paint::Plain,
        (false, true) => Paint::Bad,
        (false, false) => Paint::Doubtful,
    };
    Painted::default().and(paint, trust(entry))
}

/// Who signed, and whether the key is known here.
pub(crate) fn signer(entry: &Entry) -> Painted {
    Painted::from(format!("{} (", actor(entry))).with(painted_trust(entry)).and(Paint::Plain, " key)")
}

/// An entry in one line.
pub(crate) fn headline(entry: &Entry) -> Painted {
    if let Some(original) = entry.original() {
        let start = format!(
            "{} #{}  {}  {} {}, migrated {} by ",
            printable(entry.thing()),
            entry.seq(),
            id::short(&entry.id()),
            printable(entry.action().unwrap_or_default()),
            original.phrase(),
            when::short(entry.time()),
        );
        return Painted::from(start).with(signer(entry));
    }
    let start = format!(
        "{} #{}  {}  {}  {} by ",
        printable(entry.thing()),
        entry.seq(),
        id::short(&entry.id()),
        when::short(entry.time()),
        entry.action().map_or_else(|| format!("({})", entry.state().word()).into(), printable),
    );
    Painted::from(start).with(signer(entry))
}

/// When an entry counts, who wrote it, and what is to be believed of that: of a
/// migrated entry what its original says.
pub(crate) fn by_whom(entry: &Entry) -> (Time, String, Painted) {
    let Some(original) = entry.original() else { return (entry.time(), actor(entry), painted_trust(entry)) };
    let name = format!("{} (migrated by {})", original.actor(), actor(entry));
    let paint = match (original.verified, original.actor.trusted) {
        (false, _) => Paint::Bad,
        (true, false) => Paint::Doubtful,
        (true, true) => Paint::Plain,
    };
    (original.dated(entry.time()), name, Painted::default().and(paint, original.standing()))
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
    /// Whether the latest entry retires the thing; null if it cannot be read, or
    /// is larger than 64 KiB.
    retired: Option<bool>,
}

impl ThingJson {
    /// The thing `thing`.
    pub(crate) fn new(thing: &ThingInfo) -> Self {
        Self {
            thing: thing.thing.to_string(),
            entries: thing.entries,
            forked: thing.heads.len() > 1,
            heads: thing.heads.iter().map(HeadJson::new).collect(),
            retired: thing.retired,
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
    /// Envelopes that found no place in an entry, or lost it.
    pub(crate) envelopes_dropped: u64,
    /// Entries that came, whatever became of them.
    pub(crate) entries: u64,
    /// `whole`, `part`, `bare`, `cut`, `damaged` or `newer`.
    pub(crate) stream: &'static str,
    /// Of what ledger it is the whole or a part, if its node has signed that.
    pub(crate) ledger: Option<LedgerJson>,
    /// Checkpoints that contradict what a known node signed before.
    pub(crate) contradictions: Vec<ContradictionJson>,
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
            envelopes_dropped: imported.envelopes_dropped,
            entries: imported.entries,
            stream: whole::word(&imported.stream),
            ledger: imported.stream.ledger().map(LedgerJson::new),
            contradictions: imported.conflicts.iter().map(ContradictionJson::new).collect(),
            interrupted: interrupted || imported.limited,
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
    /// The reason, for programs.
    pub(crate) code: &'static str,
    /// What would have to change: `permanent` (nothing helps), `trust`,
    /// `version` (of the program), or `passing`.
    pub(crate) kind: &'static str,
    /// From when on a `passing` one is worth another try; 1970 if at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) again: Option<String>,
    /// The reason, for people.
    pub(crate) reason: String,
}

impl RefusalJson {
    /// What `refusal` says.
    pub(crate) fn new(refusal: &Refusal) -> Self {
        Self {
            line: refusal.line,
            column: refusal.column,
            id: refusal.id.as_ref().map(ToString::to_string),
            code: refusal.code.as_str(),
            kind: refusal.code.kind().as_str(),
            again: refusal.again.map(|time| time.to_string()),
            reason: refusal.reason.clone(),
        }
    }
}
