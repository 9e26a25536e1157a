//! `thingdb show`: all of one entry. It never says whether the entry is
//! genuine; that is what `thingdb verify` finds out.

use serde::Serialize;
use thingdb::{Record, Signed};

use crate::cli::context::Context;
use crate::cli::error::Outcome;
use crate::cli::output::{Format, printable};
use crate::cli::record::{self, EntryJson};
use crate::cli::{find, pretty};

/// Arguments of `thingdb show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb show 4be177c20a1b
  thingdb show 4be1 --json

It prints what the entry says and checks nothing: thingdb verify THING does.")]
pub(crate) struct Args {
    /// The id of the entry, which may be abbreviated to four digits or more
    id: String,
}

/// An entry, and what is only of interest when one looks at one.
#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    entry: EntryJson,
    position: u64,
    origin: String,
    suite: u8,
    data_hash: String,
    payload_hash: String,
    payload_len: u32,
    signature: SignatureJson,
    recipients: usize,
}

#[derive(Serialize)]
struct SignatureJson {
    kind: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u32>,
}

/// Prints the entry.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let db = context.open()?;
    let record = find::entry(&db, &args.id)?;
    if context.output.format() == Format::Raw {
        return context.output.bytes(record.data().unwrap_or_default());
    }
    let whole = Whole::new(&record);
    if context.output.is_json() { context.output.object(&whole) } else { print(context, &record, &whole) }
}

impl Whole {
    fn new(record: &Record) -> Self {
        let header = record.header();
        Self {
            entry: EntryJson::new(record),
            position: record.position(),
            origin: record.origin().to_string(),
            suite: header.suite.number(),
            data_hash: header.data_hash.to_string(),
            payload_hash: header.payload_hash.to_string(),
            payload_len: header.payload_len,
            signature: SignatureJson::new(record.signed()),
            recipients: record.recipients(),
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

fn print(context: &Context, record: &Record, whole: &Whole) -> Outcome {
    let prev: Vec<String> = record.prev().iter().map(ToString::to_string).collect();
    let signature = match (whole.signature.index, whole.signature.size) {
        (Some(index), Some(size)) => format!("entry {} of a batch of {size}", index.saturating_add(1)),
        _ => "of this entry alone".to_owned(),
    };
    let rows = [
        ("id", record.id().to_string()),
        ("thing", printable(record.thing()).into_owned()),
        ("seq", record.seq().to_string()),
        ("time", record.time().to_string()),
        ("actor", format!("{} ({} key)", record::actor(record), record::trust(record))),
        ("actor key", record.actor().to_string()),
        ("action", printable(record.action().unwrap_or("-")).into_owned()),
        ("prev", if prev.is_empty() { "none, it is the first".to_owned() } else { prev.join(" ") }),
        ("origin", whole.origin.clone()),
        ("position", record.position().to_string()),
        ("suite", whole.suite.to_string()),
        ("data hash", whole.data_hash.clone()),
        ("payload hash", whole.payload_hash.clone()),
        ("payload", format!("{} bytes", whole.payload_len)),
        ("signature", signature),
        ("recipients", whole.recipients.to_string()),
        ("media type", printable(record.media_type().unwrap_or("-")).into_owned()),
    ];
    let mut text = context.output.text();
    for (name, value) in rows {
        text.line(&format!("{name:<13} {value}"))?;
    }
    match (record::json_text(record), record.data()) {
        (Some(json), _) => text.line(&pretty::json(json))?,
        (None, Some(data)) => text.line(&format!("{} bytes of data", data.len()))?,
        (None, None) => text.line(&format!("({})", record::content(record)))?,
    }
    text.end()
}
