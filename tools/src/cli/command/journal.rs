//! `thingdb journal`: how much of the journal is kept.

use clap::Subcommand;
use serde::Serialize;
use thingdb::{Db, Keep, Options, Warning};

use crate::cli::context::{CHANGED, Context};
use crate::error::Outcome;
use crate::text::grouped;
use crate::view::journal::Kept;

/// How much of the journal is kept.
#[derive(Clone, Copy, Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thingdb journal                 what is kept
  thingdb journal recent          nothing stands twice: about half the room
  thingdb journal keep            two copies of everything again

With recent a store that is damaged cannot be built anew from the journal: make
backups. A backup that was begun goes on; one that is begun later is refused.")]
pub(crate) enum Command {
    /// Print how much is kept
    Show,
    /// Keep all of it, and write it anew from the store if commits were dropped
    Keep,
    /// Keep what is not safe in the store yet, and what backups have not fetched
    Recent,
}

#[derive(Serialize)]
struct Told {
    db: String,
    journal: Kept,
    disk_bytes: u64,
}

/// Shows or changes it.
pub(crate) fn run(context: &Context, command: Option<Command>) -> Outcome {
    let keep = match command {
        None | Some(Command::Show) => {
            let db = context.open()?;
            say(context, &db)?;
            context.close(db);
            return Ok(());
        }
        Some(Command::Keep) => Keep::All,
        Some(Command::Recent) => Keep::Recent,
    };
    let db = context.open_with(&Options::new().journal(keep))?.into_own()?;
    context.did(CHANGED);
    say(context, &db)?;
    if db.warnings().iter().any(|warning| matches!(warning, Warning::Repaired(_))) {
        context.console.note("the next backup begins a copy anew, beside the one that it has");
    }
    Ok(db.close()?)
}

fn say(context: &Context, db: &Db) -> Outcome {
    let stats = db.stats()?;
    let (db, journal) = (context.dir()?.display().to_string(), Kept::of(stats.journal));
    if context.output.is_json() {
        return context.output.object(&Told { db, journal, disk_bytes: stats.disk_bytes });
    }
    context.output.line(&format!("{}; {} bytes on the disk", journal.in_words(), grouped(stats.disk_bytes)))
}
