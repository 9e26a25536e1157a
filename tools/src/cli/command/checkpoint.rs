//! `thingdb checkpoint`: signs the state of the ledger.

use std::path::PathBuf;

use data_encoding::{BASE64, HEXLOWER};
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::{Exit, Failure, Outcome};
use crate::cli::output::{Format, counted};
use crate::cli::{replace, talk};

/// Arguments of `thingdb checkpoint`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb checkpoint -o /media/usb/things.checkpoint
  thingdb checkpoint | mail -s checkpoint auditor@example.org

Keep it where whoever can change the database cannot: then thingdb verify
--checkpoint FILE notices even that the whole directory was set back.
It prints a C2SP signed note; with --format json an object.")]
pub(crate) struct Args {
    /// Write the note to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The members of the JSON.
#[derive(Serialize)]
struct CheckpointJson {
    origin: String,
    size: u64,
    root: String,
    note: String,
}

/// Signs and prints the checkpoint.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let db = context.open()?;
    let note = db.checkpoint()?.to_string();
    let origin = db.origin().to_string();
    db.close()?;
    let checkpoint = parse(origin, note)
        .ok_or_else(|| Failure::new(Exit::Unexpected, "unexpected", "the checkpoint is not in the form of a signed note"))?;
    if let Some(path) = &args.output {
        replace::write(path, checkpoint.note.as_bytes())?;
        talk::note(&format!("checkpoint of {} in {}", counted(checkpoint.size, "entry", "entries"), path.display()));
    }
    match context.output.chosen() {
        Some(Format::Json | Format::Ndjson) => context.output.object(&checkpoint),
        _ if args.output.is_some() => Ok(()),
        _ => context.output.bytes(checkpoint.note.as_bytes()),
    }
}

/// Size and root stand on the second and third line of the note.
fn parse(origin: String, note: String) -> Option<CheckpointJson> {
    let mut lines = note.lines().skip(1);
    let size = lines.next()?.parse().ok()?;
    let root = HEXLOWER.encode(&BASE64.decode(lines.next()?.as_bytes()).ok()?);
    Some(CheckpointJson { origin, size, root, note })
}
