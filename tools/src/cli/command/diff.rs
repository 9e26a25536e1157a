//! `thingdb diff`: what changed between two entries of a thing.

use thingdb::{Db, Record};

use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::output::{Format, printable};
use crate::cli::patch::{self, Change};
use crate::cli::{find, record};

/// Arguments of `thingdb diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb diff part-42 1 2
  thingdb diff part-42 4be177c20a1b a09d0031ffe2
  thingdb diff part-42 1 2 --json              a JSON Patch (RFC 6902)

Exit code 0 whether they differ or not.")]
pub(crate) struct Args {
    /// The thing
    thing: String,

    /// The old entry: a seq, or an id of four digits or more
    #[arg(value_name = "SEQ|ID")]
    old: String,

    /// The new entry
    #[arg(value_name = "SEQ|ID")]
    new: String,
}

/// Prints the changes.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let db = context.open()?;
    if db.heads(&args.thing)?.is_empty() {
        return Err(find::no_thing(&db, &args.thing));
    }
    let (old, new) = (entry(&db, args, &args.old)?, entry(&db, args, &args.new)?);
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
fn entry(db: &Db, args: &Args, text: &str) -> Outcome<Record> {
    let thing = printable(&args.thing);
    if let Ok(seq) = text.parse::<u64>() {
        let mut found = db.get_seq(&args.thing, seq)?;
        if found.len() > 1 {
            let ids = found.iter().map(|record| find::short(&record.id()));
            return Err(Failure::usage(format!("{thing} is forked, several entries have seq {seq}"))
                .causes(ids)
                .hint("name the entry by its id"));
        }
        if let Some(record) = found.pop() {
            return Ok(record);
        }
        if text.len() < 4 {
            return Err(Failure::not_found(format!("{thing} has no entry with seq {seq}"))
                .hint(format!("thingdb log {}", find::quoted(&args.thing))));
        }
    }
    let record = find::entry(db, text)?;
    if record.thing() == args.thing {
        return Ok(record);
    }
    let fact = format!("{} is an entry of {}, not of {thing}", find::short(&record.id()), printable(record.thing()));
    Err(Failure::not_found(fact))
}

fn changes(old: &Record, new: &Record) -> Outcome<Vec<Change>> {
    let json = |record| {
        record::json_text(record).ok_or_else(|| {
            Failure::usage(format!("entry {} holds no JSON to compare", find::short(&Record::id(record))))
        })
    };
    patch::changes(json(old)?, json(new)?).ok_or_else(|| Failure::usage("the data cannot be compared"))
}

fn print(context: &Context, old: &Record, new: &Record, changes: &[Change]) -> Outcome {
    let mut text = context.output.text();
    text.line(&format!("--- {}", record::headline(old)))?;
    text.line(&format!("+++ {}", record::headline(new)))?;
    if changes.is_empty() {
        text.line("(same data)")?;
    }
    for change in changes {
        text.line(&change.line(200))?;
    }
    text.end()
}
