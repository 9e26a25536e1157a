//! `thingdb retain`: for how long content is kept; and `thingdb erase --due`, which
//! erases what is due by that.

use std::time::Duration;

use serde::Serialize;
use thingdb::{Db, DuePlan, Erased, ErasurePlan, Receipt, Retention, Time};

use super::erase;
use crate::cli::context::{CHANGED, Context};
use crate::cli::input::quantity;
use crate::console::confirm;
use crate::console::output::Format;
use crate::error::{Exit, Failure, Outcome};
use crate::text::{counted, grouped, printable, quoted};
use crate::view::erasure::{PlanJson, plain};
use crate::view::when;

/// Things that are named before they lose content.
const MAX_SHOWN: usize = 20;

/// Arguments of `thingdb retain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb retain visitor/ --for 90d --reason 'kept for 90 days' --basis gdpr-5
  thingdb retain machine/ --for 52w --reason 'kept for a year' --keep-latest
  thingdb retain                               what is set
  thingdb retain --remove visitor/
  thingdb erase --due --dry-run                what would be erased now
  thingdb erase --due --yes                    erase it; thingdb serve does so each day

The longest prefix counts. Content goes so long after the time in its entry, if an
actor of this database signed it. Each thing gets a record, with this reason.")]
pub(crate) struct Args {
    /// Things whose ids begin so; '' for all
    #[arg(requires = "time")]
    prefix: Option<String>,

    /// For how long: 90d, 12w, 24h
    #[arg(id = "time", long = "for", value_name = "TIME", requires_all = ["prefix", "reason"], value_parser = quantity::span)]
    time: Option<Duration>,

    /// Why it goes then; it is signed, and everybody can read it
    #[arg(long, value_name = "TEXT", requires = "prefix")]
    reason: Option<String>,

    /// The rule that it rests on, in one word, such as gdpr-5
    #[arg(long, value_name = "WORD", requires = "prefix")]
    basis: Option<String>,

    /// Who signs; the name of an actor of this database
    #[arg(long, value_name = "NAME", requires = "prefix")]
    actor: Option<String>,

    /// The latest entry of each thing stays, however old it is
    #[arg(long, requires = "prefix")]
    keep_latest: bool,

    /// End the policy with this prefix
    #[arg(long, value_name = "PREFIX", conflicts_with = "prefix")]
    remove: Option<String>,
}

impl Args {
    /// Whether it lists what is set.
    pub(crate) const fn only_reads(&self) -> bool {
        self.prefix.is_none() && self.remove.is_none()
    }
}

#[derive(Serialize)]
struct RetentionJson {
    prefix: String,
    seconds: u64,
    reason: String,
    basis: Option<String>,
    actor: Option<String>,
    keep_latest: bool,
}

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

/// Sets, lists or ends policies.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    if let (Some(prefix), Some(time), Some(reason)) = (&args.prefix, args.time, &args.reason) {
        plain(reason).map_err(erase::unseen)?;
        let mut retention = Retention::new(prefix, time, reason).keep_latest(args.keep_latest);
        if let Some(word) = &args.basis {
            retention = retention.basis(word);
        }
        if let Some(name) = &args.actor {
            retention = retention.actor(name);
        }
        let db = context.open()?;
        let former = db.retain(retention.clone())?;
        context.close(db);
        context.did(CHANGED);
        if former.is_some() {
            context.console.note("it takes the place of the policy that there was");
        }
        return show(context, &[retention]);
    }
    let db = context.open()?;
    if let Some(prefix) = &args.remove {
        let removed = db.remove_retention(prefix)?;
        context.close(db);
        context.did(CHANGED);
        return show(context, &[removed]);
    }
    show(context, &db.retentions()?)
}

fn show(context: &Context, all: &[Retention]) -> Outcome {
    match context.output.format() {
        Format::Json | Format::Ndjson => {
            let mut list = context.output.list();
            all.iter().try_for_each(|retention| list.item(&RetentionJson::new(retention)))?;
            list.end()
        }
        Format::Raw => all.iter().try_for_each(|retention| context.output.line(retention.prefix())),
        Format::Table => {
            let header = ["prefix", "kept for", "basis", "signed by", "reason"];
            let row = |retention: &Retention| {
                let latest = if retention.keeps_latest() { ", but the latest" } else { "" };
                [
                    match retention.prefix() {
                        "" => "(all)".to_owned(),
                        prefix => printable(prefix).into_owned(),
                    },
                    format!("{}{latest}", quantity::in_words(retention.time())),
                    printable(retention.basis_word().unwrap_or_default()).into_owned(),
                    printable(retention.signer().unwrap_or_default()).into_owned(),
                    printable(retention.reason()).into_owned(),
                ]
            };
            context.output.line(&context.output.table(header, Some(4)).page(all.iter().map(row)))
        }
    }
}

/// The time now, as entries have it.
fn now() -> Outcome<Time> {
    let micros = u64::try_from(when::now().as_microsecond()).unwrap_or_default();
    Time::from_micros(micros).map_err(|problem| Failure::usage(format!("this machine's clock: {problem}")))
}

/// Erases what is due, or shows it.
pub(crate) fn erase_due(context: &Context, is_dry: bool, is_confirmed: bool) -> Outcome {
    let db = context.open()?;
    if db.retentions()?.is_empty() {
        return Err(Failure::usage("nothing says how long content is kept")
            .hint("thingdb retain PREFIX --for 90d --reason TEXT"));
    }
    let due = db.plan_due(now()?)?;
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
    let erased = db.erase_due(&due).map_err(|problem| erase::broken_off(&db, None, problem))?;
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
    erase::tell_removed(context, &erased.removed);
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
    let seqs = erase::ranges(plan.seqs());
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

impl RetentionJson {
    fn new(retention: &Retention) -> Self {
        Self {
            prefix: retention.prefix().to_owned(),
            seconds: retention.time().as_secs(),
            reason: retention.reason().to_owned(),
            basis: retention.basis_word().map(str::to_owned),
            actor: retention.signer().map(str::to_owned),
            keep_latest: retention.keeps_latest(),
        }
    }
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

/// What a server does each day by itself: how many entries of how many things lost
/// their content.
pub(crate) fn daily(db: &Db) -> Outcome<(DuePlan, u64)> {
    if db.retentions()?.is_empty() {
        return Ok((DuePlan::default(), 0));
    }
    let due = db.plan_due(now()?)?;
    if due.plans().is_empty() {
        return Ok((due, 0));
    }
    let erased = db.erase_due(&due)?;
    Ok((due, erased.entries))
}
