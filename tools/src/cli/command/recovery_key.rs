//! `thingdb recovery-key`: a key for the day on which the passphrase is lost.

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::Outcome;
use crate::cli::output::Format;

/// Arguments of `thingdb recovery-key`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb recovery-key                         print it and keep it on paper
  thingdb passwd --recovery-key-file FILE      the day it is needed

A new recovery key replaces the one before. Whoever has it can open the
database without the passphrase.")]
pub(crate) struct Args {}

#[derive(Serialize)]
struct RecoveryKeyJson<'a> {
    recovery_key: &'a str,
}

/// Makes and prints a recovery key.
pub(crate) fn run(context: &Context, _: &Args) -> Outcome {
    let db = context.open()?;
    let key = db.new_recovery_key()?;
    db.close()?;
    context.did("the recovery key is made, and nobody has seen it: run the command again for another");
    context.console.note("This key opens the database without the passphrase. It is shown once; an older one is void.");
    let text = key.text();
    let key = text.as_str();
    match context.output.chosen() {
        Some(Format::Json | Format::Ndjson) => context.output.object(&RecoveryKeyJson { recovery_key: key }),
        _ => context.output.line(key),
    }
}
