//! `thingdb prove`: a file by which a stranger believes the history of a thing.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use thingdb::{ProveOptions, ProveSummary};

use crate::cli::context::Context;
use crate::cli::input::{card, note};
use crate::error::{Failure, Outcome};
use crate::reader::find;
use crate::text::{counted, grouped, printable};
use crate::view::id;

/// Arguments of `thingdb prove`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb prove part-42 -o part-42.tdbproof
  thingdb prove part-42 --since 10 --until 20 -o part.tdbproof      by seq
  thingdb prove part-42 --withhold 3,7 -o part-42.tdbproof          3 and 7 without their content
  thingdb prove part-42 --stubs-only -o order.tdbproof              who and when, nothing of what
  thingdb prove part-42 --to @auditor.card -o part-42.tdbproof      content for the auditor only
  thingdb prove part-42 --entry 4be177c2 -o one.tdbproof
  thingdb prove part-42 --checkpoint kept.checkpoint -o part-42.tdbproof
  thingdb verify-proof part-42.tdbproof --card @plant.card          at the other end

The file holds entries of one thing, their places in this node's ledger up to
the checkpoint that is signed for it, and the keys of what is shown. WHOEVER HAS
THE FILE READS WHAT IS SHOWN, unless --to names the one reader. It needs no
database, no passphrase and no network to be checked.")]
pub(crate) struct Args {
    /// The thing
    thing: String,

    /// Write to a file; stdout if absent or -
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// From this seq on
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    since: Option<u64>,

    /// Up to this seq
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    until: Option<u64>,

    /// Only this entry, by its id; may be given again
    #[arg(long, value_name = "ID", conflicts_with_all = ["since", "until"])]
    entry: Vec<String>,

    /// Do not show the content of these entries, by seq or id
    #[arg(long, value_name = "SEQ|ID", value_delimiter = ',')]
    withhold: Vec<String>,

    /// Show no content at all
    #[arg(long, conflicts_with_all = ["withhold", "to"])]
    stubs_only: bool,

    /// Show content to the owner of this card only, @FILE to read it from a file
    #[arg(long, value_name = "CARD")]
    to: Option<String>,

    /// Show that the ledger grew out of a checkpoint that somebody kept; may be given again
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<String>,
}

/// The members of the summary's JSON.
#[derive(Serialize)]
struct Summary {
    entries: u64,
    shown: u64,
    withheld: u64,
    undecryptable: u64,
    bytes: u64,
    origin: String,
    size: u64,
    root: String,
}

/// Writes the file.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let console = &context.console;
    if let (Some(first), Some(last)) = (args.since, args.until)
        && first > last
    {
        return Err(Failure::usage(format!("--since {first} is after --until {last}")));
    }
    let to = args.to.as_deref().map(|argument| card::read(console, argument)).transpose()?;
    let kept = args.checkpoint.iter().map(|path| note::read(console, path)).collect::<Outcome<Vec<_>>>()?;
    let source = context.open()?;
    let db = &*source;
    if db.heads(&args.thing)?.is_empty() {
        return Err(find::no_thing(db, &args.thing));
    }
    let mut options = ProveOptions::new().stubs_only(args.stubs_only);
    if args.since.is_some() || args.until.is_some() {
        options = options.seqs(args.since.unwrap_or(1), args.until.unwrap_or(thingdb::format::header::MAX_SEQ));
    }
    let entry_of = |text: &str| {
        let entry = find::entry(db, text)?;
        let thing = entry.thing();
        let is_same = thing == args.thing;
        let other = || Failure::usage(format!("{text} is an entry of {}", printable(thing)));
        is_same.then(|| entry.id()).ok_or_else(other)
    };
    for text in &args.entry {
        options = options.entry(entry_of(text)?);
    }
    for text in &args.withhold {
        // An id that has digits only is one if no seq is so large.
        options = match text.parse() {
            Ok(seq) if text.len() < id::SHORT_DIGITS => options.withhold_seq(seq),
            _ => options.withhold(entry_of(text)?),
        };
    }
    if let Some((card, _)) = &to {
        options = options.to(card.encryption_key);
    }
    for note in kept {
        options = options.kept(note);
    }
    let mut meter = context.meter("proving");
    let mut progress = |progress: thingdb::Progress| meter.update(progress.done, progress.total, progress.bytes);
    let is_wanted = || !console.is_interrupted();
    let options = options.progress(&mut progress).while_wanted(&is_wanted);
    let summary = match args.output.as_deref().filter(|path| *path != Path::new("-")) {
        None => {
            let summary = db.prove(&args.thing, options, BufWriter::new(console.stdout()))?;
            console.note(&sentence(&summary));
            return Ok(());
        }
        Some(path) => {
            let name = path.display().to_string();
            let mut file = BufWriter::new(console.replace(path)?);
            let summary = db.prove(&args.thing, options, &mut file)?;
            file.flush().map_err(|problem| Failure::file(&name, &problem))?;
            file.into_inner().map_err(|problem| Failure::file(&name, problem.error()))?.end()?;
            summary
        }
    };
    meter.end(summary.entries, summary.bytes);
    say(context, &summary)
}

fn say(context: &Context, summary: &ProveSummary) -> Outcome {
    if !context.output.is_json() {
        return context.output.line(&sentence(summary));
    }
    let claimed = summary.checkpoint.claimed();
    context.output.object(&Summary {
        entries: summary.entries,
        shown: summary.shown,
        withheld: summary.withheld,
        undecryptable: summary.undecryptable,
        bytes: summary.bytes,
        origin: claimed.origin.to_string(),
        size: claimed.size,
        root: claimed.root.to_string(),
    })
}

fn sentence(summary: &ProveSummary) -> String {
    let mut text = format!(
        "proven {} in a ledger of {}, {} bytes; {} shown",
        counted(summary.entries, "entry", "entries"),
        grouped(summary.checkpoint.claimed().size),
        grouped(summary.bytes),
        grouped(summary.shown),
    );
    for (count, word) in [(summary.withheld, "withheld"), (summary.undecryptable, "that this node cannot read")] {
        if count > 0 {
            text.push_str(&format!(", {} {word}", grouped(count)));
        }
    }
    text
}
