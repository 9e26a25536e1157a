//! `thingdb erase --due`: what `thingdb retain` says is due.

use serde::Serialize;
use thingdb::{DuePlan, Erased, ErasurePlan, Receipt};

use super::words::{broken_off, ranges, tell_removed};
use crate::cli::context::Context;
use crate::console::confirm;
use crate::error::{Exit, Failure, Outcome};
use crate::text::{counted, grouped, printable, quoted};
use crate::view::erasure::PlanJson;
use crate::view::when;

/// Things that are named before they lose content.
const MAX_SHOWN: usize = 20;

#[derive(Serialize)]
struct DueJson {
    entries: u64,
    things: Vec<PlanJson>,
    held: Vec<String>,
    of_others: u64,
}

#[derive(Serialize)]
struct ErasedDueJson {
    erased: u64,
    records: Vec<RecordJson>,
    held: Vec<String>,
    of_others: u64,
    removed: Vec<String>,
}

#[derive(Serialize)]
struct RecordJson {
    thing: String,
    seq: u64,
    id: String,
    position: u64,
}

/// Erases what is due, or shows it.
pub(super) fn run(context: &Context, is_dry: bool, is_confirmed: bool) -> Outcome {
    let db = context.open()?;
    if db.retentions()?.is_empty() {
        return Err(Failure::usage("nothing says how long content is kept")
            .hint("thingdb retain PREFIX --for 90d --reason TEXT"));
    }
    let due = db.plan_due(when::entry_time()?)?;
    tell_passed_over(context, &due);
    if is_dry {
        return dry(context, &due);
    }
    if !is_confirmed && !due.plans().is_empty() {
        ask(context, &due)?;
    }
    let _patience = context.console.patience();
    if context.console.is_interrupted() {
        return Err(Failure::new(
            Exit::Interrupted,
            "interrupted",
            "stopped; nothing was signed, and nothing is erased",
        ));
    }
    let erased = db.erase_due(&due).map_err(|problem| broken_off(&db, None, problem))?;
    context.close(db);
    let things = counted(due.plans().len() as u64, "thing", "things");
    let fact = format!("the content of {} of {things} is erased", counted(erased.entries, "entry", "entries"));
    context.did(fact.clone());
    if context.output.is_json() {
        context.output.object(&ErasedDueJson::new(&due, &erased))?;
    } else {
        context.output.line(&fact)?;
    }
    context.told();
    tell_removed(context, &erased.removed);
    Ok(())
}

fn tell_passed_over(context: &Context, due: &DuePlan) {
    for thing in due.held().iter().take(MAX_SHOWN) {
        let thing = thing.as_str();
        let fact = format!("{} is on hold: what is due of it stays", printable(thing));
        context.console.warning("held", fact).hint(format!("thingdb hold {}", quoted(thing))).say();
    }
    if let Some(thing) = due.damaged().first() {
        let things = counted(due.damaged().len() as u64, "thing is", "things are");
        let fact = format!("{things} damaged, and passed over: {} and perhaps others", printable(thing.as_str()));
        context.console.warning("damaged", fact).hint("thingdb verify").say();
    }
    if due.of_others() > 0 {
        let entries = counted(due.of_others(), "entry is", "entries are");
        context.console.note(&format!("{entries} as old and of others: they are for these to erase"));
    }
}

fn dry(context: &Context, due: &DuePlan) -> Outcome {
    if context.output.is_json() {
        return context.output.object(&DueJson {
            entries: due.entries(),
            things: due.plans().iter().map(PlanJson::new).collect(),
            held: names(due),
            of_others: due.of_others(),
        });
    }
    let mut text = context.output.text();
    due.plans().iter().try_for_each(|plan| text.line(&line(plan)))?;
    text.line(&total(due))?;
    text.end()
}

fn line(plan: &ErasurePlan) -> String {
    let seqs = ranges(plan.seqs());
    format!("{}  seq {seqs}  signed by {}", printable(plan.thing()), printable(plan.actor()))
}

fn total(due: &DuePlan) -> String {
    let things = counted(due.plans().len() as u64, "thing", "things");
    format!("due: the content of {} of {things}", counted(due.entries(), "entry", "entries"))
}

fn ask(context: &Context, due: &DuePlan) -> Outcome {
    let console = &context.console;
    due.plans().iter().take(MAX_SHOWN).for_each(|plan| console.plain(&line(plan)));
    let more = due.plans().len().saturating_sub(MAX_SHOWN);
    if more > 0 {
        console.plain(&format!("and {} more things", grouped(more as u64)));
    }
    console.plain(&format!("{}; it goes for good.", total(due)));
    if !console.stdin().is_terminal() || context.no_input {
        return Err(Failure::usage("whether this is to be erased is for a person to say")
            .hint("thingdb erase --due --dry-run shows it; then repeat with --yes"));
    }
    if confirm::is_confirmed(console, "Sign the records, and erase?")? {
        return Ok(());
    }
    Err(Failure::declined("nothing was signed, and nothing is erased"))
}

fn names(due: &DuePlan) -> Vec<String> {
    due.held().iter().map(|thing| thing.as_str().to_owned()).collect()
}

impl ErasedDueJson {
    fn new(due: &DuePlan, erased: &Erased) -> Self {
        let record = |receipt: &Receipt| RecordJson {
            thing: receipt.thing.to_string(),
            seq: receipt.seq,
            id: receipt.id.to_string(),
            position: receipt.position,
        };
        Self {
            erased: erased.entries,
            records: erased.records.iter().map(record).collect(),
            held: names(due),
            of_others: due.of_others(),
            removed: erased.removed.iter().map(|path| path.display().to_string()).collect(),
        }
    }
}
