//! `thingdb erase` and `thingdb erasures`: the content of entries goes, the fact stays.

mod due;
mod words;

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use thingdb::{Erase, ErasurePlan};

use crate::cli::context::Context;
use crate::cli::input::reason;
use crate::cli::remote::RemoteArgs;
use crate::console::confirm;
use crate::error::{Exit, Failure, Outcome};
use crate::reader::find;
use crate::text::{counted, printable};
use crate::view::erasure::{ErasedJson, ErasureJson, PlanJson};
use crate::view::paint::Painted;
use crate::view::when::When;
use crate::view::{id, receipt, span, when};
use words::{broken_off, ranges, tell_removed};

/// Letters of a record that are shown before it is signed: the ids of a long one are
/// many.
const MOST_SHOWN: usize = 2000;

/// Arguments of `thingdb erase`.
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("which").required(true).multiple(true).args(["seq", "before", "all", "due"])),
    after_help = "\
Examples:
  thingdb erase person-7 --all --reason 'asked for by the person' --basis gdpr-17
  thingdb erase person-7 --all --reason 'asked for by the person' --dry-run
  thingdb erase log-3 --before 2025-01-01 --reason 'kept for one year'
  thingdb erase person-7 --seq 3 --seq 8-10 --reason 'entered by mistake' --yes
  thingdb erase --due --yes                     what is due, as thingdb retain says

The content of the entries goes, with what opens it: from this database for good, and
from those of peers when the record reaches them. That the entries were there stays,
signed and linked, and everything verifies as before. The record is an entry of the thing
that everybody can read: reason and basis must hold nothing personal.

Backups and exports that were made before still have the content, and so has whoever
copied it.")]
pub(crate) struct Args {
    /// The thing
    #[arg(required_unless_present = "due")]
    thing: Option<String>,

    /// Only the entries with this seq, or from one to another: 3 or 8-10; may be repeated
    #[arg(long, value_name = "SEQ[-SEQ]", value_parser = span::seqs)]
    seq: Vec<RangeInclusive<u64>>,

    /// Only entries that are older than this time
    #[arg(long, value_name = "TIME")]
    before: Option<String>,

    /// All entries
    #[arg(long, conflicts_with_all = ["seq", "before"])]
    all: bool,

    /// What is due of all things, as thingdb retain says
    #[arg(long, conflicts_with_all = ["thing", "seq", "before", "all", "reason", "basis", "actor"])]
    due: bool,

    /// Why; it is signed, and everybody can read it
    #[arg(long, value_name = "TEXT", required_unless_present = "due")]
    reason: Option<String>,

    /// The rule that it rests on, in one word, such as gdpr-17
    #[arg(long, value_name = "WORD")]
    basis: Option<String>,

    /// Who signs; the name of an actor of this database
    #[arg(long, value_name = "NAME", env = "THINGDB_ACTOR", hide_env_values = true)]
    actor: Option<String>,

    /// Show what would be signed, and do nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Arguments of `thingdb erasures`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb erasures
  thingdb erasures person-7 -n 3
  thingdb erasures --url https://hq.example:7443 --card hq.card --token-file hq.token")]
pub(crate) struct ListArgs {
    /// Only those of this thing
    thing: Option<String>,

    /// At most this many, the newest
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,

    /// Where it is read.
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// Erases.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    if args.due {
        return due::run(context, args.dry_run, args.yes);
    }
    let (thing, reason) = (args.thing.as_deref().unwrap_or_default(), args.reason.as_deref().unwrap_or_default());
    let mut erase = Erase::new(thing, reason);
    if !args.seq.is_empty() {
        erase = erase.seqs(args.seq.iter().cloned());
    }
    if let Some(text) = &args.before {
        erase = erase.before(When::parse(text, when::now()).map_err(Failure::usage)?.first);
    }
    if let Some(word) = &args.basis {
        erase = erase.basis(word);
    }
    if let Some(name) = &args.actor {
        erase = erase.actor(name);
    }
    reason::check(reason)?;
    let db = context.open()?;
    if db.heads(thing)?.is_empty() {
        return Err(Failure::no_thing(thing));
    }
    let plan = db.plan_erasure(&erase)?;
    if args.dry_run && context.output.is_json() {
        return context.output.object(&PlanJson::new(&plan));
    }
    if args.dry_run {
        let mut text = context.output.text();
        preview(&plan).iter().try_for_each(|line| text.line(line))?;
        return text.end();
    }
    if !args.yes {
        ask(context, &plan)?;
    }
    let patience = context.console.patience();
    if context.console.is_interrupted() {
        return Err(Failure::new(
            Exit::Interrupted,
            "interrupted",
            "stopped; nothing was signed, and nothing is erased",
        ));
    }
    let erased = db.erase(&plan).map_err(|problem| broken_off(&db, Some(plan.thing()), problem))?;
    if context.console.is_interrupted() {
        context.console.note("too late to stop: the record was signed, and what it erases is gone");
    }
    drop(patience);
    context.close(db);
    let entries = counted(erased.entries, "entry", "entries");
    context.did(format!("the content of {entries} of {} is erased", printable(plan.thing())));
    if context.output.is_json() {
        context.output.object(&ErasedJson::new(plan.thing(), &erased))?;
    } else {
        for record in &erased.records {
            let id = id::short(&record.id);
            context.output.line(&format!("{} #{}  {id}  erased: {entries}", printable(plan.thing()), record.seq))?;
        }
    }
    context.told();
    tell_removed(context, &erased.removed);
    Ok(())
}

/// Shows what would be signed and asks whether it is to be.
fn ask(context: &Context, plan: &ErasurePlan) -> Outcome {
    preview(plan).iter().for_each(|line| context.console.plain(line));
    if !context.console.stdin().is_terminal() || context.no_input {
        return Err(Failure::usage("whether this is to be erased is for a person to say")
            .hint("look at what would be signed, then repeat with --yes; --dry-run shows it and does nothing"));
    }
    if confirm::is_confirmed(&context.console, "Sign it, and erase?")? {
        return Ok(());
    }
    Err(Failure::declined("nothing was signed, and nothing is erased"))
}

/// What would be signed, in lines.
fn preview(plan: &ErasurePlan) -> Vec<String> {
    let seqs = counted(plan.seqs().len() as u64, "seq", "seqs");
    let (thing, actor) = (printable(plan.thing()), printable(plan.actor()));
    let mut lines = vec![
        format!("The content of {seqs} of {thing} goes for good: {}.", ranges(plan.seqs())),
        format!("{actor} signs this, and everybody who has the thing can read it:"),
        format!("  reason: {}", printable(plan.reason())),
    ];
    lines.extend(plan.basis().map(|basis| format!("  basis:  {}", printable(basis))));
    for text in plan.texts() {
        let shown: String = text.chars().take(MOST_SHOWN).collect();
        let rest = if shown.len() < text.len() { format!("… ({} bytes)", text.len()) } else { String::new() };
        lines.push(format!("  {}{rest}", printable(&shown)));
    }
    lines.push("It must hold nothing personal: it cannot be erased itself.".to_owned());
    lines
}

/// Lists erasure records.
pub(crate) fn list(context: &Context, args: &ListArgs) -> Outcome {
    let source = context.source(&args.remote)?;
    let reader = &*source;
    let mut erasures = reader
        .erasures(args.thing.as_deref())?
        .ok_or_else(|| find::no_thing(reader, args.thing.as_deref().unwrap_or_default()))?;
    let Some(most) = args.limit else { return show_list(context, &mut erasures) };
    let mut newest = VecDeque::new();
    for erasure in erasures {
        newest.push_back(erasure?);
        if newest.len() > most {
            newest.pop_front();
        }
    }
    show_list(context, &mut newest.into_iter().map(Ok))
}

fn show_list(context: &Context, erasures: &mut dyn Iterator<Item = Outcome<ErasureJson>>) -> Outcome {
    const PAGE: usize = 100;
    if context.output.is_json() {
        let mut list = context.output.list();
        for erasure in erasures {
            list.item(&erasure?)?;
        }
        return list.end();
    }
    let mut text = context.output.text();
    let mut table = context.output.table(["thing", "seq", "time", "by", "erased", "others", "reason"], Some(0));
    loop {
        let page = erasures.take(PAGE).collect::<Outcome<Vec<_>>>()?;
        if page.is_empty() {
            return text.end();
        }
        text.line(&table.page(page.iter().map(row)))?;
    }
}

fn row(erasure: &ErasureJson) -> [Painted; 7] {
    let reason = match (&erasure.reason, &erasure.basis) {
        (None, _) => "(cannot be read)".to_owned(),
        (Some(reason), Some(basis)) => format!("{} ({})", printable(reason), printable(basis)),
        (Some(reason), None) => printable(reason).into_owned(),
    };
    let erased = match (erasure.done, erasure.refused) {
        (false, _) => "not yet".to_owned(),
        (true, 0) => erasure.erased.to_string(),
        (true, refused) => format!("{}, {refused} refused", erasure.erased),
    };
    [
        printable(erasure.thing.as_str()).into_owned().into(),
        erasure.seq.to_string().into(),
        when::short(erasure.time).into(),
        printable(erasure.actor.as_deref().unwrap_or("?")).into_owned().into(),
        erased.into(),
        receipt::in_words(&erasure.receipts, &erasure.unanswered).into(),
        reason.into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seqs_are_read() {
        assert_eq!(span::seqs("3"), Ok(3..=3));
        assert_eq!(span::seqs("8-10"), Ok(8..=10));
        for bad in ["", "0", "x", "3-", "-3", "10-8", "1-2-3"] {
            assert!(span::seqs(bad).is_err(), "{bad}");
        }
    }
}
