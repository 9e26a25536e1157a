//! `thingdb prove`: a file by which a stranger believes the history of a thing.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use thingdb::EntryId;
use thingdb::format::fields::FieldName;

use crate::bytes::page::Page;
use crate::bytes::watched::Watched;
use crate::cli::context::Context;
use crate::cli::input::{card, note};
use crate::cli::remote::RemoteArgs;
use crate::console::Console;
use crate::error::{Failure, Outcome};
use crate::reader::proving::{MAX_SEQ, Proved, Proving};
use crate::reader::source::Source;
use crate::reader::{Listing, Reader, find};
use crate::text::{counted, grouped, printable};
use crate::view::one_form::OneForm;
use crate::view::{fields, id};

/// What only a proof file has.
const OF_FILES: [&str; 9] =
    ["absent", "html", "since", "until", "withhold", "stubs_only", "to", "fields", "checkpoint"];

/// Arguments of `thingdb prove`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb prove part-42 -o part-42.tdbproof
  thingdb prove part-42 --since 10 --until 20 -o part.tdbproof      by seq
  thingdb prove part-42 --withhold 3,7 -o part-42.tdbproof          3 and 7 without their content
  thingdb prove part-42 --stubs-only -o order.tdbproof              who and when, nothing of what
  thingdb prove part-42 --to @auditor.card -o part-42.tdbproof      content for the auditor only
  thingdb prove part-42 --fields /temp,/site -o part.tdbproof       two fields, the rest hidden
  thingdb prove part-42 --fields @actor -o who.tdbproof             only who acted
  thingdb prove part-42 --entry 4be177c2 -o one.tdbproof
  thingdb prove part-42 --seq 3 --tlog-proof -o part-42-3.tlog-proof
  thingdb prove part-42 --seq 3 --cose -o part-42-3.cose
  thingdb prove part-42 --checkpoint kept.checkpoint -o part-42.tdbproof
  thingdb prove part-42 --html -o part-42.html                      a page that checks itself
  thingdb prove part-43 --absent -o none.tdbproof                   there is no part-43
  thingdb verify-proof part-42.tdbproof --card @plant.card          at the other end
  thingdb prove part-42 --url https://plant:7443 --card plant.card --token-file t -o part-42.tdbproof

The file holds entries of one thing, their places in this node's ledger up to
the checkpoint that is signed for it, the node's word that there are no others,
and the keys of what is shown. WHOEVER HAS
THE FILE READS WHAT IS SHOWN, unless --to names the one reader. It needs no
database, no passphrase and no network to be checked. What a server sends is
checked before it is kept.

With an entry of --entry or --seq that was erased goes the record that says so:
it is for everybody, with --to, too.")]
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

    /// Only the entry with this seq
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..), conflicts_with_all = ["since", "until", "entry"])]
    seq: Option<u64>,

    /// One entry, for clients of transparency logs (c2sp.org/tlog-proof): no content
    #[arg(long, conflicts_with_all = OF_FILES)]
    tlog_proof: bool,

    /// One entry, as a COSE receipt (RFC 9942): no content
    #[arg(long, conflicts_with_all = OF_FILES, conflicts_with = "tlog_proof")]
    cose: bool,

    /// Do not show the content of these entries, by seq or id
    #[arg(long, value_name = "SEQ|ID", value_delimiter = ',')]
    withhold: Vec<String>,

    /// Show no content at all
    #[arg(long, conflicts_with_all = ["withhold", "to"])]
    stubs_only: bool,

    /// Show that there is no such thing
    #[arg(long, conflicts_with_all = ["since", "until", "entry", "withhold", "stubs_only", "to"])]
    absent: bool,

    /// Show content to the owner of this card only, @FILE to read it from a file
    #[arg(long, value_name = "CARD")]
    to: Option<String>,

    /// Show these fields only: JSON pointers, @actor, @action, @media-type
    ///
    /// With commas between them, or as a JSON array: '["/a,b","/c"]'. A pointer to an object
    /// or array shows all values in it; [""] shows all values. Nothing is shown of
    /// entries that were not put so that single fields can be.
    #[arg(long, value_name = "NAME[,NAME]", conflicts_with_all = ["stubs_only", "absent", "to"])]
    fields: Option<String>,

    /// Show that the ledger grew out of a checkpoint that somebody kept; may be given again
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<String>,

    /// Write a page that checks itself in a browser, without a network
    #[arg(long)]
    html: bool,

    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// The members of the summary's JSON.
#[derive(Serialize)]
struct Summary {
    entries: u64,
    shown: u64,
    partly_shown: u64,
    erased: u64,
    withheld: u64,
    undecryptable: u64,
    complete: bool,
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
    let fields = args.fields.as_deref().map(fields::names).transpose();
    let fields = fields.map_err(|problem| Failure::usage(format!("--fields: {problem}")))?.unwrap_or_default();
    let source = context.source(&args.remote)?;
    let reader = &*source;
    match (is_there(reader, &args.thing)?, args.absent) {
        (false, false) => {
            let hint = "to show somebody that there is none: thingdb prove THING --absent -o FILE";
            return Err(find::no_thing(reader, &args.thing).hint(hint));
        }
        (true, true) => {
            let fact = format!("{} is here, so nothing shows that it is not", printable(&args.thing));
            return Err(Failure::usage(fact).hint("thingdb prove THING -o FILE, without --absent"));
        }
        _ => {}
    }
    let mut entries = args.entry.iter().map(|text| entry(reader, args, text)).collect::<Outcome<Vec<_>>>()?;
    if let Some(seq) = args.seq {
        entries.extend(reader.with_seq(&args.thing, seq)?.iter().map(|entry| entry.id()));
        if entries.is_empty() {
            return Err(Failure::not_found(format!("{} has no entry with seq {seq}", printable(&args.thing))));
        }
    }
    if args.tlog_proof || args.cose {
        return for_others(context, args, source, &entries);
    }
    let (mut withheld_seqs, mut withheld) = (Vec::new(), Vec::new());
    for text in &args.withhold {
        // An id that has digits only is one if no seq is so large.
        match text.parse() {
            Ok(seq) if text.len() < id::SHORT_DIGITS => withheld_seqs.push(seq),
            _ => withheld.push(entry(reader, args, text)?),
        }
    }
    let is_range = args.since.is_some() || args.until.is_some();
    let is_wanted = || !console.is_interrupted();
    let wanted = Proving {
        thing: &args.thing,
        seqs: is_range.then(|| (args.since.unwrap_or(1), args.until.unwrap_or(MAX_SEQ))),
        entries: &entries,
        withheld_seqs: &withheld_seqs,
        withheld: &withheld,
        stubs_only: args.stubs_only,
        absent: args.absent,
        to: to.as_ref().map(|(card, _)| card),
        fields: &fields,
        kept: &kept,
        is_wanted: &is_wanted,
    };
    let mut meter = context.meter("proving");
    let mut tell = |done, total, bytes| meter.update(done, total, bytes);
    let proved = match args.output.as_deref().filter(|path| *path != Path::new("-")) {
        None => {
            let mut out = BufWriter::new(console.stdout());
            let proved = write(reader, &wanted, args.html, &mut out, "-", &mut tell)?;
            console.note(&sentence(&proved));
            tell_hidden(console, &proved, &fields);
            return Ok(());
        }
        Some(path) => {
            let name = path.display().to_string();
            let mut file = BufWriter::new(console.replace(path)?);
            let proved = write(reader, &wanted, args.html, &mut file, &name, &mut tell)?;
            file.into_inner().map_err(|problem| Failure::file(&name, problem.error()))?.end()?;
            proved
        }
    };
    meter.end(proved.entries, proved.bytes);
    tell_hidden(console, &proved, &fields);
    say(context, &proved)
}

/// Of which entries nothing is shown though fields were asked for.
fn tell_hidden(console: &Console, proved: &Proved, fields: &[FieldName]) {
    if !fields.is_empty() && proved.withheld > 0 {
        let entries = counted(proved.withheld, "entry has", "entries have");
        console.note(&format!(
            "{entries} none of these fields, or was written without --fields-provable: nothing is shown of it"
        ));
    }
}

/// Writes the evidence to `out`, as it is or in a page.
fn write(
    reader: &dyn Reader,
    wanted: &Proving<'_>,
    is_page: bool,
    out: &mut impl Write,
    name: &str,
    tell: &mut dyn FnMut(u64, u64, u64),
) -> Outcome<Proved> {
    let mut out = Watched::new(out);
    let proved = write_to(reader, wanted, is_page, &mut out, name, tell);
    // What is wrong with the way out is no problem of the database.
    out.problem.map_or(proved, |problem| Err(Failure::file(name, &problem)))
}

fn write_to(
    reader: &dyn Reader,
    wanted: &Proving<'_>,
    is_page: bool,
    out: &mut impl Write,
    name: &str,
    tell: &mut dyn FnMut(u64, u64, u64),
) -> Outcome<Proved> {
    let failed = |problem: io::Error| Failure::file(name, &problem);
    if !is_page {
        let proved = reader.prove(wanted, out, tell)?;
        out.flush().map_err(failed)?;
        return Ok(proved);
    }
    let mut page = Page::begin(out).map_err(failed)?;
    let proved = reader.prove(wanted, &mut page, tell)?;
    page.end().and_then(|out| out.flush()).map_err(failed)?;
    Ok(proved)
}

/// The proof of one entry in a form that tools of others read.
fn for_others(context: &Context, args: &Args, source: Source, entries: &[EntryId]) -> Outcome {
    let [id] = entries else {
        let fact = match entries.len() {
            0 => "such a proof is of one entry".to_owned(),
            count => format!("such a proof is of one entry, and these are {count}"),
        };
        return Err(Failure::usage(fact).hint("thingdb prove THING --seq N, or --entry ID"));
    };
    let form = if args.cose { OneForm::Receipt } else { OneForm::TlogProof };
    let proof = source.prove_one(&args.thing, id, form)?;
    if let Source::Here(db) = source {
        context.close(db);
    }
    // It was found a moment ago, and nothing is taken out of a ledger.
    let proof = proof.ok_or_else(|| Failure::not_found(format!("no entry {id} in the ledger")))?;
    match args.output.as_deref().filter(|path| *path != Path::new("-")) {
        None => context.output.bytes(&proof),
        Some(path) => {
            context.console.write_file(path, &proof)?;
            context.console.note(&format!("proof of the entry {id} in {}", path.display()));
            Ok(())
        }
    }
}

fn is_there(reader: &dyn Reader, thing: &str) -> Outcome<bool> {
    let listing = Listing { prefix: thing, after: None, retired: false, erased: false, most: 1 };
    // The shortest name that begins so comes first.
    Ok(reader.things(listing)?.next().transpose()?.is_some_and(|found| found.thing.as_str() == thing))
}

/// An entry of the thing, by its id.
fn entry(reader: &dyn Reader, args: &Args, text: &str) -> Outcome<EntryId> {
    let found = find::entry(reader, text)?;
    if found.thing() != args.thing {
        return Err(Failure::usage(format!("{text} is an entry of {}", printable(found.thing()))));
    }
    Ok(found.id())
}

fn say(context: &Context, summary: &Proved) -> Outcome {
    if !context.output.is_json() {
        return context.output.line(&sentence(summary));
    }
    let claimed = summary.checkpoint.claimed();
    context.output.object(&Summary {
        entries: summary.entries,
        shown: summary.shown,
        partly_shown: summary.partly_shown,
        erased: summary.erased,
        withheld: summary.withheld,
        undecryptable: summary.undecryptable,
        complete: summary.is_complete,
        bytes: summary.bytes,
        origin: claimed.origin.to_string(),
        size: claimed.size,
        root: claimed.root.to_string(),
    })
}

fn sentence(summary: &Proved) -> String {
    if summary.entries == 0 {
        let size = grouped(summary.checkpoint.claimed().size);
        return format!("proven that there is no such thing in a ledger of {size}, {} bytes", grouped(summary.bytes));
    }
    let mut text = format!(
        "proven {} in a ledger of {}, {} bytes; {} shown",
        counted(summary.entries, "entry", "entries"),
        grouped(summary.checkpoint.claimed().size),
        grouped(summary.bytes),
        grouped(summary.shown),
    );
    let others = [
        (summary.partly_shown, "shown in part"),
        (summary.erased, "erased"),
        (summary.withheld, "withheld"),
        (summary.undecryptable, "that this node cannot read"),
    ];
    for (count, word) in others {
        if count > 0 {
            text.push_str(&format!(", {} {word}", grouped(count)));
        }
    }
    if !summary.is_complete {
        text.push_str("; that there are no others is not: a part of the index is damaged");
    }
    text
}
