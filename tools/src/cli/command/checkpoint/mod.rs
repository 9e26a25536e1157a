//! `thingdb checkpoint`: signs the state of the ledger.

mod kept;

use std::path::{Path, PathBuf};

use serde::Serialize;
use thingdb::SignedCheckpoint;

use crate::cli::context::Context;
use crate::cli::remote::RemoteArgs;
use crate::console::output::Format;
use crate::error::Outcome;
use crate::text::counted;

/// Arguments of `thingdb checkpoint`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb checkpoint -o /media/usb/things.checkpoint
  thingdb checkpoint | mail -s checkpoint auditor@example.org

Keep it where whoever can change the database cannot: then thingdb verify
--checkpoint FILE notices even that the whole directory was set back.
A file with a checkpoint that this ledger does not go on from stays as it is:
exit code 4. With --url and --card the signature is checked against the card.
It prints a C2SP signed note; with --format json an object.")]
pub(crate) struct Args {
    /// Write the note to a file, - for stdout; an older note of this ledger there is replaced
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Where it is read.
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
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
    let source = context.source(&args.remote)?;
    let output = args.output.as_deref().filter(|path| *path != Path::new("-"));
    // Before anything is signed: a ledger that was set back must not sign twice.
    output.map_or(Ok(()), |path| kept::may_be_replaced(&context.console, path, &*source))?;
    let note = source.checkpoint()?;
    source.close()?;
    let checkpoint = CheckpointJson::new(&note);
    if let Some(path) = output {
        context.console.write_file(path, checkpoint.note.as_bytes())?;
        context.console.note(&format!(
            "checkpoint of {} in {}",
            counted(checkpoint.size, "entry", "entries"),
            path.display()
        ));
    }
    match context.output.chosen() {
        Some(Format::Json | Format::Ndjson) => context.output.object(&checkpoint),
        _ if output.is_some() => Ok(()),
        _ => context.output.bytes(checkpoint.note.as_bytes()),
    }
}

impl CheckpointJson {
    fn new(note: &SignedCheckpoint) -> Self {
        let claimed = note.claimed();
        Self {
            origin: claimed.origin.to_string(),
            size: claimed.size,
            root: claimed.root.to_string(),
            note: note.as_str().to_owned(),
        }
    }
}
