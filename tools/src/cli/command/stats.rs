//! `thingdb stats`: what is stored, in numbers.

use serde::Serialize;
use thingdb::Db;

use crate::cli::command::verify::CheckpointJson;
use crate::cli::context::Context;
use crate::cli::error::Outcome;
use crate::cli::output::{grouped, printable};

/// Arguments of `thingdb stats`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb stats
  thingdb stats --json")]
pub(crate) struct Args {}

/// The members of the JSON.
#[derive(Serialize)]
struct StatsJson {
    db: String,
    store_version: u64,
    entries: u64,
    things: u64,
    actors: usize,
    trusted_actors: usize,
    disk_bytes: u64,
    origin: String,
    fingerprint: String,
    checkpoint: Option<CheckpointJson>,
}

/// Counts.
pub(crate) fn run(context: &Context, _: &Args) -> Outcome {
    let db = context.open()?;
    let stats = StatsJson::new(context, &db)?;
    if context.output.is_json() { context.output.object(&stats) } else { print(context, &stats) }
}

fn print(context: &Context, stats: &StatsJson) -> Outcome {
    let each = stats.disk_bytes.checked_div(stats.entries).map(|bytes| format!(", {} an entry", grouped(bytes)));
    let checkpoint = stats.checkpoint.as_ref();
    let rows = [
        ("database", printable(&stats.db).into_owned()),
        ("store version", stats.store_version.to_string()),
        ("entries", grouped(stats.entries)),
        ("things", grouped(stats.things)),
        ("actors", format!("{} own, {} trusted", stats.actors, stats.trusted_actors)),
        ("on disk", format!("{} bytes{}", grouped(stats.disk_bytes), each.unwrap_or_default())),
        ("node", stats.fingerprint.clone()),
        ("origin", stats.origin.clone()),
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

impl StatsJson {
    fn new(context: &Context, db: &Db) -> Outcome<Self> {
        let stats = db.stats()?;
        Ok(Self {
            // As it was named; a server may know it by another name.
            db: context.dir()?.display().to_string(),
            store_version: stats.store_version,
            entries: stats.entries,
            things: stats.things,
            actors: stats.actors,
            trusted_actors: stats.trusted_actors,
            disk_bytes: stats.disk_bytes,
            origin: db.origin().to_string(),
            fingerprint: db.node_key().fingerprint().to_string(),
            checkpoint: db.last_checkpoint()?.map(|note| CheckpointJson::new(note.claimed())),
        })
    }
}
