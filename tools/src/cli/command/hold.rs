//! `thingdb hold`: nothing of a thing is erased here until it is released.

use serde::Serialize;
use thingdb::Hold;

use crate::cli::context::Context;
use crate::error::{Failure, Outcome};
use crate::text::printable;
use crate::view::paint::Painted;
use crate::view::when;

/// Arguments of `thingdb hold`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb hold person-7 --reason 'a lawsuit that is pending'
  thingdb hold                                      what is on hold
  thingdb hold --release person-7

While a thing is on hold, thingdb erase refuses it, and an erasure that comes from another
node waits. It is answered with the reason, which others can read: it must hold nothing
personal. What it covers stays readable here and goes to no other node. When the thing is
released, the erasures that wait are carried out at once.")]
pub(crate) struct Args {
    /// The thing
    #[arg(requires = "reason")]
    thing: Option<String>,

    /// Why; other nodes are told it
    #[arg(long, value_name = "TEXT", requires = "thing")]
    reason: Option<String>,

    /// End the hold on this thing
    #[arg(long, value_name = "THING", conflicts_with_all = ["thing", "reason"])]
    release: Option<String>,
}

#[derive(Serialize)]
struct HoldJson {
    thing: String,
    reason: String,
    since: String,
}

#[derive(Serialize)]
struct ChangedJson<'a> {
    thing: &'a str,
    held: bool,
}

/// Puts a hold on a thing, ends it, or lists them.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    match (&args.thing, &args.reason, &args.release) {
        (Some(thing), Some(reason), _) => hold(context, thing, reason),
        (_, _, Some(thing)) => release(context, thing),
        _ => list(context),
    }
}

fn hold(context: &Context, thing: &str, reason: &str) -> Outcome {
    let db = context.open()?;
    if db.heads(thing)?.is_empty() {
        return Err(Failure::no_thing(thing));
    }
    db.hold(thing, reason)?;
    context.close(db);
    changed(context, thing, true, &format!("{} is on hold", printable(thing)))
}

fn release(context: &Context, thing: &str) -> Outcome {
    let db = context.open()?;
    let was_held = db.release(thing)?;
    context.close(db);
    if !was_held {
        let fact = format!("{} is not on hold", printable(thing));
        return Err(Failure::not_found(fact).hint("thingdb hold"));
    }
    changed(context, thing, false, &format!("{} is released", printable(thing)))
}

fn changed(context: &Context, thing: &str, held: bool, fact: &str) -> Outcome {
    context.did(fact.to_owned());
    if context.output.is_json() {
        context.output.object(&ChangedJson { thing, held })?;
    } else {
        context.output.line(fact)?;
    }
    context.told();
    Ok(())
}

fn list(context: &Context) -> Outcome {
    let db = context.open()?;
    let holds = db.holds()?;
    if context.output.is_json() {
        let mut list = context.output.list();
        for Hold { thing, reason, since, .. } in holds {
            list.item(&HoldJson { thing, reason, since: since.to_string() })?;
        }
        return list.end();
    }
    if holds.is_empty() {
        context.console.note("nothing is on hold");
    }
    let mut text = context.output.text();
    let mut table = context.output.table(["thing", "since", "reason"], Some(0));
    let row = |hold: &Hold| -> [Painted; 3] {
        let (thing, reason) = (printable(&hold.thing).into_owned(), printable(&hold.reason).into_owned());
        [thing.into(), when::short(hold.since).into(), reason.into()]
    };
    text.line(&table.page(holds.iter().map(row)))?;
    text.end()
}
