//! `thingdb export`: entries as a stream.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bytes::array::Array;
use crate::bytes::compress::{Compression, Compressor};
use crate::bytes::watched::Watched;
use crate::cli::context::Context;
use crate::cli::remote::RemoteArgs;
use crate::console::question::Question;
use crate::error::{Exit, Failure, Outcome};
use crate::reader::{Exported, Reader, Wanted};
use crate::text::{counted, grouped, printable};
use crate::view::hole::HoleJson;

/// Arguments of `thingdb export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb export -o things.ndjson
  thingdb export --since 5000 | ssh hq thingdb import -
  thingdb export --prefix plant-3/ -o plant-3.ndjson.zst
  thingdb export --binary -o things.tdbs                     for slow lines and small disks
  thingdb export --array | curl --data-binary @- …           what POST /import takes, too
  thingdb export --to auditor -o for-auditor.ndjson
  thingdb export --archive-passphrase-file archive.pass -o archive.ndjson.zst
  thingdb export --url https://hq.example:7443 --card hq.card --token-file hq.token -o hq.ndjson

The stream is ndjson: what is encrypted stays encrypted, thing ids and times
are readable. With -o the file appears when it is complete, and the summary
goes to stdout.")]
pub(crate) struct Args {
    /// Write to a file; stdout if absent or -
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Only from this ledger position on, as an earlier export named it
    #[arg(long, value_name = "POSITION")]
    since: Option<u64>,

    /// Only things whose name starts so
    #[arg(long, visible_alias = "things", value_name = "PREFIX")]
    prefix: Option<String>,

    /// Only what this peer may read, the rest of those histories as stubs
    #[arg(long, value_name = "PEER")]
    to: Option<String>,

    /// With --to: leave the stubs out
    #[arg(long, requires = "to")]
    only_addressed: bool,

    /// Also seal every entry to the passphrase in this file: an archive
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    archive_passphrase_file: Option<String>,

    /// Write one JSON array instead of lines, for clients that know no streams
    #[arg(long)]
    array: bool,

    /// Write a binary stream: a third of the bytes, and nothing for people
    #[arg(long, conflicts_with = "array")]
    binary: bool,

    /// Compress; by default as the file name says (.zst, .gz)
    #[arg(long, value_enum, value_name = "HOW")]
    compress: Option<Compression>,

    /// Where it is read.
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// The members of the summary's JSON.
#[derive(Serialize)]
struct Summary {
    entries: u64,
    bytes: u64,
    next_position: u64,
    #[serde(skip_serializing_if = "is_zero")]
    lost: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    holes: Vec<HoleJson>,
}

const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Holes that are shown.
const MAX_SHOWN: usize = 8;

/// Writes the stream.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let source = context.source(&args.remote)?;
    match args.output.as_deref().filter(|path| *path != Path::new("-")) {
        None => {
            let mut out = BufWriter::new(context.console.stdout());
            let summary = export(context, &*source, args, "stdout", &mut out)?;
            context.console.note(&sentence(&summary));
            conclude(&*source, &summary)
        }
        Some(path) => {
            let mut file = BufWriter::new(context.console.replace(path)?);
            let name = path.display().to_string();
            let summary = export(context, &*source, args, &name, &mut file)?;
            file.into_inner().map_err(|problem| Failure::file(&name, problem.error()))?.end()?;
            say(context, &summary)?;
            conclude(&*source, &summary)
        }
    }
}

/// What could not be read is named, and is not in the stream. Nor is what a ledger has
/// lost that was cut.
fn conclude(reader: &dyn Reader, summary: &Summary) -> Outcome {
    if summary.lost == 0 {
        let lost = reader.lost(u64::MAX)?;
        return lost.map_or(Ok(()), |lost| Err(lost.about("not all that was written is here: the stream is a part")));
    }
    let named = |hole: &HoleJson| {
        let entries =
            hole.entries.iter().take(MAX_SHOWN).map(|lost| format!("{} #{}", printable(&lost.thing), lost.seq));
        let entries = entries.collect::<Vec<_>>().join(", ");
        let places = match hole.last_position.saturating_sub(hole.first_position) {
            0 => format!("position {}", hole.first_position),
            _ => format!("positions {} to {}", hole.first_position, hole.last_position),
        };
        if entries.is_empty() {
            format!("{places}: {}", printable(&hole.detail))
        } else {
            format!("{places} ({entries}): {}", printable(&hole.detail))
        }
    };
    let lost = counted(summary.lost, "entry", "entries");
    let failure = Failure::new(Exit::Partly, "holes", format!("{lost} cannot be read, and the stream is a part"));
    let failure = failure.causes(summary.holes.iter().take(MAX_SHOWN).map(named));
    let more = summary.holes.len().saturating_sub(MAX_SHOWN);
    let failure = if more > 0 { failure.cause(format!("and {more} more places")) } else { failure };
    Err(failure.hint(
        "thingdb doctor, which tells how to get them back; import this stream elsewhere only beside a better one",
    ))
}

fn export(context: &Context, reader: &dyn Reader, args: &Args, name: &str, out: &mut impl Write) -> Outcome<Summary> {
    let mut meter = context.meter("exporting");
    let archive =
        args.archive_passphrase_file.as_deref().map(|file| context.ask(&Question::archive(file))).transpose()?;
    let is_wanted = || !context.console.is_interrupted();
    let wanted = Wanted {
        since: args.since,
        prefix: args.prefix.as_deref(),
        to: args.to.as_deref(),
        only_addressed: args.only_addressed,
        binary: args.binary,
        archive: archive.as_ref(),
        is_wanted: &is_wanted,
    };
    let mut tell = |done, total, bytes| meter.update(done, total, bytes);
    let by_name = || args.output.as_deref().map_or(Compression::None, Compression::of_name);
    let compression = args.compress.unwrap_or_else(by_name);
    let mut watched = Watched::new(out);
    let exported = Compressor::new(compression, &mut watched)
        .map_err(|problem| Failure::file(name, &problem))
        .and_then(|mut packed| {
            // One that was broken off stays open, array and compression, so
            // that nobody takes it for a whole one.
            let exported = if args.array {
                let mut array = Array::new(&mut packed);
                let exported = reader.export(&wanted, &mut array, &mut tell);
                exported.map(|exported| array.end().map(|_| exported))
            } else {
                reader.export(&wanted, &mut packed, &mut tell).map(Ok)
            };
            let ended = match exported {
                Ok(written) => written.and_then(|exported| packed.end().map(|_| exported)),
                Err(failure) => {
                    // What is wrong with the way out is kept beside it.
                    let _ = packed.break_off();
                    return Err(failure);
                }
            };
            ended.map_err(|problem| Failure::file(name, &problem))
        });
    let Watched { written: bytes, problem, .. } = watched;
    if let Some(problem) = problem {
        return Err(Failure::file(name, &problem));
    }
    let Exported { entries, next_position, bytes: streamed, lost, holes } = exported?;
    out.flush().map_err(|problem| Failure::file(name, &problem))?;
    meter.end(entries, streamed);
    Ok(Summary { entries, bytes, next_position, lost, holes })
}

fn say(context: &Context, summary: &Summary) -> Outcome {
    if context.output.is_json() { context.output.object(summary) } else { context.output.line(&sentence(summary)) }
}

fn sentence(summary: &Summary) -> String {
    let Summary { entries, bytes, next_position, .. } = summary;
    let entries = counted(*entries, "entry", "entries");
    format!("exported {entries}, {} bytes; the next time: --since {next_position}", grouped(*bytes))
}
