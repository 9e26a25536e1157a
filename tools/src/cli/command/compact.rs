//! `thingdb compact`: gives back the room of what was replaced or deleted.

use serde::Serialize;

use crate::cli::context::{Context, REPORT};
use crate::error::Outcome;
use crate::text::grouped;

/// Arguments of `thingdb compact`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb compact
  thingdb compact --json

The files of the journal are written anew without what later commits replaced or
deleted: settings, what waited, what was erased. Entries are never among that. It is
done by itself when half of a file is dead; this does it now and for all of it, beside
those who read and write. The store is written anew when the database is closed. Backups that were made before have it still.")]
pub(crate) struct Args {}

/// The members of the JSON.
#[derive(Serialize)]
struct CompactedJson {
    db: String,
    freed_bytes: u64,
    disk_bytes: u64,
}

/// Compacts the journal.
pub(crate) fn run(context: &Context, _args: &Args) -> Outcome {
    let db = context.open()?;
    let freed_bytes = db.compact()?;
    context.did(format!("the journal is compacted; {REPORT}"));
    let disk_bytes = db.stats()?.disk_bytes;
    context.close(db);
    if context.is_in_server() {
        context.console.note("the store keeps the bytes of what was replaced or deleted until the server ends");
    }
    let db = context.dir()?.display().to_string();
    if context.output.is_json() {
        return context.output.object(&CompactedJson { db, freed_bytes, disk_bytes });
    }
    let (freed, left) = (grouped(freed_bytes), grouped(disk_bytes));
    context.output.line(&match freed_bytes {
        0 => format!("nothing was dead in the journal; {left} bytes on the disk"),
        _ => format!("freed {freed} bytes of the journal; {left} bytes on the disk"),
    })
}
