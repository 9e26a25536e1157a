//! `thingdb show`: all of one entry. It never says whether the entry is
//! genuine; that is what `thingdb verify` finds out.

use crate::cli::context::Context;
use crate::cli::remote::RemoteArgs;
use crate::console::output::Format;
use crate::error::{Exit, Failure, Outcome};
use crate::reader::{find, heads};
use crate::text::{counted, printable};
use crate::view::details::{State, WholeJson};
use crate::view::entry::Entry;
use crate::view::original::AttachmentJson;
use crate::view::record::{AllJson, EntryJson};
use crate::view::{id, phrase, pretty};

/// Arguments of `thingdb show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb show 4be177c20a1b
  thingdb show 4be1 --json
  thingdb show 4be1 --original > original.json    what a migrated entry was, as it was signed

It prints what the entry says and checks nothing: thingdb verify THING does.")]
pub(crate) struct Args {
    /// The id of the entry, which may be abbreviated to four digits or more
    id: String,

    /// Only the signed original of a migrated entry, byte for byte
    #[arg(long)]
    original: bool,

    /// Where it is read.
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// Prints the entry.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let source = context.source(&args.remote)?;
    let entry = find::entry(&*source, &args.id)?;
    heads::warn(&context.console, &entry);
    if context.output.format() == Format::Raw && !args.original {
        let way_out = || format!("thingdb show {} --format raw > FILE", id::short(&entry.id()));
        return context.output.data(entry.data().unwrap_or_default(), way_out);
    }
    let whole = entry
        .whole()
        .ok_or_else(|| Failure::new(Exit::Unexpected, "bad-answer", "only a part of the entry was told"))?;
    if args.original {
        return print_original(context, &entry, &whole);
    }
    if context.output.is_json() {
        return context.output.object(&AllJson::new(EntryJson::new(&entry), whole));
    }
    print(context, &entry, &whole)
}

/// Prints the document that was signed, as it was signed.
fn print_original(context: &Context, entry: &Entry, whole: &WholeJson) -> Outcome {
    let id = id::short(&entry.id());
    if entry.state() != State::Open {
        return Err(entry.not_readable());
    }
    let document = whole.attachment.as_ref().and_then(AttachmentJson::document);
    let document =
        document.ok_or_else(|| Failure::not_found(format!("{id} is no migrated entry, it has no original")))?;
    if !context.output.is_terminal() {
        return context.output.bytes(document.as_bytes());
    }
    // Whole: who copies it from the terminal has what was signed.
    context.output.line(&printable(&document))
}

fn print(context: &Context, entry: &Entry, whole: &WholeJson) -> Outcome {
    let original = entry.original();
    let prev: Vec<String> = entry.prev().iter().map(ToString::to_string).collect();
    let signature = match (whole.signature.index, whole.signature.size) {
        (Some(index), Some(size)) => format!("entry {} of a batch of {size}", index.saturating_add(1)),
        _ => "of this entry alone".to_owned(),
    };
    let rows = [
        ("id", entry.id().to_string()),
        ("thing", printable(entry.thing()).into_owned()),
        ("seq", entry.seq().to_string()),
        ("time", entry.time().to_string()),
        (
            "actor",
            match &original {
                Some(_) => format!("{}, who migrated it", context.output.painted(&phrase::signer(entry))),
                None => context.output.painted(&phrase::signer(entry)),
            },
        ),
        ("actor key", entry.actor().to_string()),
        ("action", entry.action().map_or_else(|| "-".to_owned(), |_| phrase::action(entry).into_owned())),
        ("heads", entry.heads().to_string()),
        ("prev", if prev.is_empty() { "none, it is the first".to_owned() } else { prev.join(" ") }),
        ("origin", format!("{}{}", whole.origin, if entry.is_origin_withdrawn() { " (withdrawn)" } else { "" })),
        ("position", whole.position.to_string()),
        ("suite", whole.suite.to_string()),
        ("data hash", whole.data_hash.to_string()),
        ("payload hash", whole.payload_hash.to_string()),
        ("payload", format!("{} bytes", whole.payload_len)),
        ("signature", signature),
        ("recipients", whole.recipients.to_string()),
        ("media type", printable(entry.media_type().unwrap_or("-")).into_owned()),
    ];
    let mut text = context.output.text();
    for (name, value) in rows {
        text.line(&format!("{name:<13} {value}"))?;
        if let ("actor", Some(claimed)) = (name, &whole.signed_as) {
            text.line(&format!("{:<13} {}", "signed as", printable(claimed)))?;
        }
    }
    if let Some(said) = entry.erasure() {
        text.line(&format!(
            "{:<13} the content of {}",
            "erases",
            counted(said.entries().len() as u64, "entry", "entries")
        ))?;
        text.line(&format!("{:<13} {}", "reason", printable(said.reason())))?;
        text.line(&format!("{:<13} {}", "basis", said.basis().map_or_else(|| "none".into(), printable)))?;
    }
    if let Some(original) = &original {
        text.line(&format!("{:<13} {}", "original", original.phrase()))?;
        if let Some(key) = &original.actor.key {
            text.line(&format!("{:<13} {}", "original key", printable(key)))?;
        }
        if let Some(fault) = &original.fault {
            text.line(&format!("{:<13} {}", "original", printable(fault)))?;
        }
        text.line(&format!("{:<13} thingdb show {} --original", "document", id::short(&entry.id())))?;
    } else if let Some(attachment) = &whole.attachment {
        let bytes = attachment.bytes().map_or(0, |bytes| bytes.len());
        text.line(&format!("{:<13} {}, {bytes} bytes", "attachment", printable(&attachment.media_type)))?;
    }
    match (entry.json_text(), entry.data()) {
        (Some(json), _) => {
            pretty::json(json, &mut |piece| text.write(piece))?;
            text.write("\n")?;
        }
        (None, Some(data)) => text.line(&format!("{} bytes of data", data.len()))?,
        (None, None) => {
            if let Some(by) = entry.erased_by() {
                text.line(&format!("{:<13} {by}", "erased by"))?;
            }
            text.line(&format!("({})", entry.state().word()))?;
        }
    }
    text.end()
}
