//! `thingdb diff`: what changed between two entries of a thing.

use crate::cli::context::Context;
use crate::cli::remote::RemoteArgs;
use crate::console::output::Format;
use crate::error::{Failure, Outcome};
use crate::reader::{Reader, find, heads};
use crate::text::{printable, quoted};
use crate::view::entry::Entry;
use crate::view::paint::{Paint, Painted};
use crate::view::patch::{self, Change};
use crate::view::{id, phrase};

/// Arguments of `thingdb diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb diff part-42 1 2
  thingdb diff part-42 4be177c20a1b a09d0031ffe2
  thingdb diff part-42 1 2 --json              a JSON Patch (RFC 6902)

Exit code 0 whether they differ or not, 6 if the data of one cannot be read.")]
pub(crate) struct Args {
    /// The thing
    thing: String,

    /// The old entry: a seq, or an id of four digits or more
    #[arg(value_name = "SEQ|ID")]
    old: String,

    /// The new entry
    #[arg(value_name = "SEQ|ID")]
    new: String,

    /// Where it is read.
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// Prints the changes.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let source = context.source(&args.remote)?;
    let reader = &*source;
    if reader.latest(&args.thing)?.is_none() {
        return Err(find::no_thing(reader, &args.thing));
    }
    let (old, new) = (entry(reader, args, &args.old)?, entry(reader, args, &args.new)?);
    heads::warn(&context.console, &new);
    let changes = changes(&old, &new)?;
    match context.output.format() {
        Format::Table => print(context, &old, &new, &changes),
        Format::Json => context.output.object(&changes),
        Format::Ndjson | Format::Raw => {
            let mut list = context.output.list();
            changes.iter().try_for_each(|change| list.item(change))?;
            list.end()
        }
    }
}

/// A number that is the seq of an entry is a seq; anything else is an id.
fn entry(reader: &dyn Reader, args: &Args, text: &str) -> Outcome<Entry> {
    let thing = printable(&args.thing);
    if let Ok(seq) = text.parse::<u64>() {
        let mut found = reader.with_seq(&args.thing, seq)?;
        if found.len() > 1 {
            let ids = found.iter().map(|entry| id::short(&entry.id()));
            return Err(Failure::usage(format!("{thing} is forked, several entries have seq {seq}"))
                .causes(ids)
                .hint("name the entry by its id"));
        }
        if let Some(entry) = found.pop() {
            return Ok(entry);
        }
        if text.len() < 4 {
            return Err(Failure::not_found(format!("{thing} has no entry with seq {seq}"))
                .hint(format!("thingdb log {}", quoted(&args.thing))));
        }
    }
    let entry = find::entry(reader, text)?;
    if entry.thing() == args.thing {
        return Ok(entry);
    }
    let fact = format!("{} is an entry of {}, not of {thing}", id::short(&entry.id()), printable(entry.thing()));
    Err(Failure::not_found(fact))
}

fn changes(old: &Entry, new: &Entry) -> Outcome<Vec<Change>> {
    fn json(entry: &Entry) -> Outcome<&str> {
        entry.data().ok_or_else(|| entry.not_readable())?;
        entry
            .json_text()
            .ok_or_else(|| Failure::usage(format!("entry {} holds no JSON to compare", id::short(&entry.id()))))
    }
    patch::changes(json(old)?, json(new)?).ok_or_else(|| Failure::usage("the data cannot be compared"))
}

fn print(context: &Context, old: &Entry, new: &Entry, changes: &[Change]) -> Outcome {
    let mut text = context.output.text();
    let output = &context.output;
    text.line(&output.painted(&Painted::default().and(Paint::Removed, "--- ").with(phrase::headline(old))))?;
    text.line(&output.painted(&Painted::default().and(Paint::Added, "+++ ").with(phrase::headline(new))))?;
    if changes.is_empty() {
        text.line("(same data)")?;
    }
    for change in changes {
        text.line(&output.painted(&change.line(200)))?;
    }
    text.end()
}
