//! `thingdb stats`: what is stored, in numbers.

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::remote::RemoteArgs;
use crate::error::Outcome;
use crate::reader::source::Source;
use crate::text::{counted, grouped, printable};
use crate::view::counts::Counts;
use crate::view::journal::Kept;

/// Arguments of `thingdb stats`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb stats
  thingdb stats --json")]
pub(crate) struct Args {
    /// Where it is read.
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// The members of the JSON.
#[derive(Serialize)]
struct StatsJson {
    db: String,
    #[serde(flatten)]
    counts: Counts,
}

/// Counts.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let source = context.source(&args.remote)?;
    // As it was named; a server may know it by another name.
    let db = match &source {
        Source::Here(_) => context.dir()?.display().to_string(),
        Source::There(server) => server.url().to_owned(),
    };
    let stats = StatsJson { db, counts: source.counts()? };
    if context.output.is_json() {
        context.output.object(&stats)?
    } else {
        print(context, &stats)?
    }
    // What is counted is what is left.
    source.lost(0)?.map_or(Ok(()), Err)
}

fn print(context: &Context, stats: &StatsJson) -> Outcome {
    let StatsJson { db, counts: stats } = stats;
    let each = stats.disk_bytes.checked_div(stats.entries).map(|bytes| format!(", {} an entry", grouped(bytes)));
    let checkpoint = stats.checkpoint.as_ref();
    let rows = [
        ("database", printable(db).into_owned()),
        ("store version", stats.store_version.to_string()),
        ("entries", grouped(stats.entries)),
        ("erased", format!("the content of {}", counted(stats.erased, "entry", "entries"))),
        ("things", grouped(stats.things)),
        ("actors", format!("{} own, {} trusted", stats.actors, stats.trusted_actors)),
        ("on disk", format!("{} bytes{}", grouped(stats.disk_bytes), each.unwrap_or_default())),
        ("journal", stats.journal.map_or("not told", Kept::in_words).to_owned()),
        ("waiting", format!("{} for others that are not here", counted(stats.waiting, "entry", "entries"))),
        ("node", stats.fingerprint.to_string()),
        ("origin", stats.origin.to_string()),
        (
            "checkpoint",
            checkpoint.map_or_else(|| "none yet".to_owned(), |it| format!("size {}, root {}", it.size, it.root)),
        ),
    ];
    let mut text = context.output.text();
    for (name, value) in rows {
        text.line(&format!("{name:<14} {value}"))?;
    }
    text.end()
}
