//! `thingdb recovery-key`: a key for the day on which the passphrase is lost.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::recovery;
use crate::console::output::Format;
use crate::console::secret::Keep;
use crate::error::Outcome;
use crate::text::printable;

/// Arguments of `thingdb recovery-key`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb recovery-key                         print it and keep it on paper
  thingdb recovery-key -o /media/usb/things.recovery-key
  thingdb passwd --recovery-key-file FILE      the day it is needed

A new recovery key replaces the one before. Whoever has it can open the
database without the passphrase: keep it where the database is not.")]
pub(crate) struct Args {
    /// Write the key to a new file that only its owner can read; - for stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
struct RecoveryKeyJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

/// Makes and prints a recovery key.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let keep = Keep::new(&context.console, args.output.as_deref())?;
    let db = context.open()?;
    let text = recovery::make(&db, &keep)?;
    context.close(db);
    context.did(match keep.file() {
        Some(file) => format!("the recovery key is in {}", printable(&file)),
        None => "the recovery key is made, and nobody has seen it: run the command again for another".to_owned(),
    });
    let told = RecoveryKeyJson { recovery_key: keep.shown(text.as_str()), file: keep.file() };
    context.console.note(&match &told.file {
        Some(file) => format!(
            "recovery key in {}; it opens the database without the passphrase, and an older one is void",
            printable(file)
        ),
        None => recovery::SHOWN_ONCE.to_owned(),
    });
    match (context.output.chosen(), told.recovery_key) {
        (Some(Format::Json | Format::Ndjson), _) => context.output.object(&told),
        (_, Some(key)) => context.output.line(key),
        (_, None) => Ok(()),
    }
}
