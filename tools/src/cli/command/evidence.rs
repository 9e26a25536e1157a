//! `thingdb verify-evidence`: two checkpoints, or two heads notes, by which a node
//! contradicted itself.

use serde::Serialize;
use thingdb::{Evidence, NodeKey, SplitHeads, Time, Weight};

use crate::cli::context::Context;
use crate::cli::input;
use crate::error::{Exit, Failure, Outcome};
use crate::text::newer_version;

/// The verdicts over what convicts a node.
pub(super) const PROVEN: &str = "proven: the node signed two ledgers of one size";
pub(super) const HEADS_PROVEN: &str = "split heads: proven: the node signed two heads notes of one size";

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

/// What evidence shows: the members of its JSON.
#[derive(Serialize)]
pub(super) struct Checked {
    ok: bool,
    found: &'static str,
    proven: bool,
    node: String,
    origin: String,
    seen: String,
    checkpoints: [Signed; 2],
}

#[derive(Serialize)]
struct Signed {
    size: u64,
    root: String,
    /// Of a heads note: the root of the map of heads.
    #[serde(skip_serializing_if = "Option::is_none")]
    map: Option<String>,
}

impl Checked {
    /// Of two checkpoints.
    pub(super) fn of(evidence: &Evidence, weight: Weight) -> Self {
        let signed = [&evidence.remembered, &evidence.shown].map(|note| {
            let claimed = note.claimed();
            Signed { size: claimed.size, root: claimed.root.to_string(), map: None }
        });
        Self::new(&evidence.node, evidence.seen, evidence.found.word(), weight == Weight::Proof, signed)
    }

    /// Of two heads notes.
    pub(super) fn of_heads(evidence: &SplitHeads) -> Self {
        let signed = [&evidence.remembered, &evidence.shown].map(|note| {
            let claimed = note.claimed();
            Signed { size: claimed.size, root: claimed.ledger.to_string(), map: Some(claimed.map.to_string()) }
        });
        Self::new(&evidence.node, evidence.seen, SplitHeads::WORD, true, signed)
    }

    fn new(node: &NodeKey, seen: Time, found: &'static str, proven: bool, checkpoints: [Signed; 2]) -> Self {
        let (origin, seen) = (node.origin().to_string(), seen.to_string());
        Self { ok: true, found, proven, node: node.to_string(), origin, seen, checkpoints }
    }
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
pub(super) fn say(context: &Context, verdict: &str, checked: &Checked) -> Outcome {
    if context.output.is_json() {
        return context.output.object(checked);
    }
    let [before, then] = &checked.checkpoints;
    let heads = |note: &Signed| note.map.as_ref().map(|map| format!(", heads {map}")).unwrap_or_default();
    context.output.line(verdict)?;
    context.output.line(&format!("  node    {}", checked.node))?;
    context.output.line(&format!("  before  {} entries, root {}{}", before.size, before.root, heads(before)))?;
    context.output.line(&format!(
        "  then    {} entries, root {}{}, at {}",
        then.size,
        then.root,
        heads(then),
        checked.seen
    ))
}
