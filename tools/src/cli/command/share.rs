//! `thingdb share` and `thingdb readers`: who can open which entries.

use serde::Serialize;
use thingdb::{Reader, ShareSummary};

use crate::cli::context::Context;
use crate::cli::input::names;
use crate::console::output::Format;
use crate::error::{Exit, Failure, Outcome};
use crate::text::{counted, grouped, printable};

/// Arguments of `thingdb share`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb share part-42 --to auditor
  thingdb share part-42 --to auditor --since 10
  thingdb share --prefix plant-3/ --to auditor,hq

Adds envelopes to entries that exist. What is signed is not touched, so ids,
links and checkpoints stay as they are. Export again to hand them over.")]
pub(crate) struct Args {
    /// The thing
    #[arg(required_unless_present = "prefix", conflicts_with = "prefix")]
    thing: Option<String>,
    /// All things whose name starts so
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// The peers who may read; may be repeated, or name several with commas
    #[arg(long, value_name = "PEER[,PEER]", required = true)]
    to: Vec<String>,
    /// Only from this seq on
    #[arg(long, value_name = "SEQ", default_value_t = 1)]
    since: u64,
}

/// Arguments of `thingdb readers`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb readers part-42

Tells what the envelopes that are here say. They are not signed: that a reader
can open an entry is certain where this node sealed it, as certain as the entry's
origin where that node brought the envelope itself, and else a claim. Whoever got
a key or the data by another way does not show.")]
pub(crate) struct ReadersArgs {
    /// The thing
    thing: String,
}

#[derive(Serialize)]
struct Shared {
    shared: u64,
    known: u64,
    undecryptable: u64,
    full: u64,
    displaced: u64,
}

#[derive(Serialize)]
struct Row {
    name: Option<String>,
    recipient: Option<String>,
    entries: u64,
    certain: u64,
    by_origin: u64,
    claimed: u64,
    first_seq: u64,
    last_seq: u64,
    from: Vec<String>,
}

/// Adds readers to existing entries.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let db = context.open()?;
    let to = names::peers(&db, &args.to);
    let summary = match (&args.thing, &args.prefix) {
        (Some(thing), _) => {
            if db.heads(thing)?.is_empty() {
                return Err(Failure::no_thing(thing));
            }
            db.share(thing, &to, args.since)?
        }
        (None, Some(prefix)) => db.share_prefix(prefix, &to, args.since)?,
        (None, None) => return Err(Failure::usage("neither a thing nor --prefix is given")),
    };
    context.close(db);
    let ShareSummary { shared, known, undecryptable, full, displaced, .. } = summary;
    context.did(format!("{} sealed to {}", counted(shared, "entry is", "entries are"), printable(&to.join(", "))));
    if context.output.is_json() {
        context.output.object(&Shared { shared, known, undecryptable, full, displaced })?;
    } else {
        let line = format!(
            "{} sealed to {}, {} sealed to it before",
            counted(shared, "entry", "entries"),
            printable(&to.join(", ")),
            grouped(known)
        );
        context.output.line(&line)?;
    }
    context.told();
    if displaced > 0 {
        let envelopes = counted(displaced, "envelope", "envelopes");
        let fact = format!("{envelopes} of others gave way: an entry keeps eight");
        context.console.warning("envelopes-dropped", fact).say();
    }
    if undecryptable > 0 {
        let fact =
            format!("{} cannot be opened here, so they cannot be shared", counted(undecryptable, "entry", "entries"));
        return Err(Failure::not_readable(fact));
    }
    if full > 0 {
        let fact =
            format!("{} sealed to eight sets of peers, and take no more", counted(full, "entry is", "entries are"));
        return Err(Failure::new(Exit::Partly, "full", fact));
    }
    Ok(())
}

/// Lists who can open which entries of a thing.
pub(crate) fn readers(context: &Context, args: &ReadersArgs) -> Outcome {
    let db = context.open()?;
    if db.heads(&args.thing)?.is_empty() {
        return Err(Failure::no_thing(&args.thing));
    }
    let peers = db.peers()?;
    let own = db.origin();
    let origin = |origin: &thingdb::Origin| {
        if *origin == own {
            return "this node".to_owned();
        }
        let peer = peers.iter().find(|peer| peer.origin() == *origin);
        peer.map_or_else(|| origin.to_string(), |peer| peer.name.clone())
    };
    let row = |reader: Reader| Row {
        certain: reader.certain,
        by_origin: reader.by_origin,
        claimed: reader.claimed(),
        name: reader.name,
        recipient: reader.recipient.map(|id| id.to_string()),
        entries: reader.entries,
        first_seq: reader.first_seq,
        last_seq: reader.last_seq,
        from: reader.from.iter().map(origin).collect(),
    };
    let rows: Vec<Row> = db.readers(&args.thing)?.into_iter().map(row).collect();
    match context.output.format() {
        Format::Json | Format::Ndjson => {
            let mut list = context.output.list();
            rows.iter().try_for_each(|row| list.item(row))?;
            list.end()
        }
        Format::Raw | Format::Table => {
            let header = ["reader", "entries", "seqs", "known", "sealed by"];
            let cells = |row: &Row| {
                let unknown = || format!("unknown key {}", row.recipient.as_deref().unwrap_or_default());
                [
                    printable(&row.name.clone().unwrap_or_else(unknown)).into_owned(),
                    grouped(row.entries),
                    format!("{} … {}", row.first_seq, row.last_seq),
                    known(row),
                    printable(&row.from.join(", ")).into_owned(),
                ]
            };
            context.output.line(&context.output.table(header, Some(4)).page(rows.iter().map(cells)))
        }
    }
}

/// How sure it is that a reader can open its entries.
fn known(row: &Row) -> String {
    let parts = [(row.certain, "certain"), (row.by_origin, "by the origin"), (row.claimed, "claimed")];
    let some: Vec<_> = parts.into_iter().filter(|(count, _)| *count > 0).collect();
    match some.as_slice() {
        [(_, word)] => (*word).to_owned(),
        several => {
            several.iter().map(|(count, word)| format!("{} {word}", grouped(*count))).collect::<Vec<_>>().join(", ")
        }
    }
}
