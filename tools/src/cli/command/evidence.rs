//! `thingdb verify-evidence`: two checkpoints, or two heads notes, by which a node
//! contradicted itself.

use thingdb::{Evidence, SplitHeads, Weight};

use crate::cli::context::Context;
use crate::cli::input;
use crate::error::{Exit, Failure, Outcome};
use crate::text::newer_version;
use crate::view::evidence::{Checked, HEADS_PROVEN, PROVEN};

/// Arguments of `thingdb verify-evidence`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb verify-evidence things/evidence/34750f98bd59fcfc946da45aaabe933b-1795327272000500.txt

Needs no database and no passphrase. Two different ledgers of one size are a
proof, and so are two heads notes of one size. That a smaller ledger was shown after a larger one, or that no proof of
growth came, is the word of whoever kept the file; that the node signed both is
checked. Exit code 4 if the file shows nothing; 15 if a newer version wrote it.")]
pub(crate) struct Args {
    /// The evidence, - for stdin
    #[arg(value_name = "FILE|-")]
    file: String,
}

/// Checks evidence, without a database.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let text = input::text(input::file(&context.console, &args.file)?)?;
    if let Some(found) = text.lines().next().and_then(|line| newer_version(line, "thingdb evidence ")) {
        return Err(Failure::newer(format!("this is evidence of version {found}, and this program reads version 1")));
    }
    let no = |problem: thingdb::Error| Failure::new(Exit::NotVerified, "no-evidence", problem.to_string());
    if SplitHeads::is_named_in(&text) {
        let evidence: SplitHeads = text.parse().map_err(no)?;
        evidence.check().map_err(no)?;
        return say(context, HEADS_PROVEN, &Checked::of_heads(&evidence));
    }
    let evidence: Evidence = text.parse().map_err(no)?;
    let weight = evidence.check().map_err(no)?;
    let verdict = match weight {
        Weight::Proof => PROVEN,
        Weight::Testimony => "signed by the node, both; their order is the word of whoever kept this file",
    };
    say(context, &format!("{}: {verdict}", evidence.found), &Checked::of(&evidence, weight))
}

/// Prints what evidence shows.
fn say(context: &Context, verdict: &str, checked: &Checked) -> Outcome {
    if context.output.is_json() {
        return context.output.object(checked);
    }
    checked.lines(verdict).iter().try_for_each(|line| context.output.line(line))
}
