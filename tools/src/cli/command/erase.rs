//! `thingdb erase` and `thingdb erasures`: the content of entries goes, the fact stays.

use std::ops::RangeInclusive;

use serde::Serialize;
use thingdb::{Db, Erase, ErasurePlan, ErasureRecord, Receipt};

use crate::cli::context::Context;
use crate::console::confirm;
use crate::error::{Failure, Outcome};
use crate::text::{counted, printable, quoted};
use crate::view::paint::Painted;
use crate::view::receipt::{self, ReceiptJson};
use crate::view::when::When;
use crate::view::{id, when};

/// Letters of a record that are shown before it is signed: the ids of a long one are
/// many.
const MOST_SHOWN: usize = 2000;

/// Arguments of `thingdb erase`.
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("which").required(true).multiple(true).args(["seq", "before", "all"])),
    after_help = "\
Examples:
  thingdb erase person-7 --all --reason 'asked for by the person' --basis gdpr-17
  thingdb erase log-3 --before 2025-01-01 --reason 'kept for one year'
  thingdb erase person-7 --seq 3 --seq 8-10 --reason 'entered by mistake' --yes

The content of the entries goes, with what opens it: from this database for good, and
from those of peers when the record reaches them. That the entries were there stays,
signed and linked, and everything verifies as before. The record is an entry of the thing
that everybody can read: reason and basis must hold nothing personal.

Backups and exports that were made before still have the content, and so has whoever
copied it.")]
pub(crate) struct Args {
    /// The thing
    thing: String,

    /// Only the entries with this seq, or from one to another: 3 or 8-10; may be repeated
    #[arg(long, value_name = "SEQ[-SEQ]", value_parser = seqs)]
    seq: Vec<RangeInclusive<u64>>,

    /// Only entries that are older than this time
    #[arg(long, value_name = "TIME")]
    before: Option<String>,

    /// All entries
    #[arg(long, conflicts_with_all = ["seq", "before"])]
    all: bool,

    /// Why; it is signed, and everybody can read it
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// The rule that it rests on, in one word, such as gdpr-17
    #[arg(long, value_name = "WORD")]
    basis: Option<String>,

    /// Who signs; the name of an actor of this database
    #[arg(long, value_name = "NAME", env = "THINGDB_ACTOR", hide_env_values = true)]
    actor: Option<String>,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Arguments of `thingdb erasures`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb erasures
  thingdb erasures person-7")]
pub(crate) struct ListArgs {
    /// Only those of this thing
    thing: Option<String>,
}

#[derive(Serialize)]
struct ErasedJson {
    thing: String,
    erased: u64,
    records: Vec<RecordJson>,
    removed: Vec<String>,
}

#[derive(Serialize)]
struct RecordJson {
    seq: u64,
    id: String,
    position: u64,
}

#[derive(Serialize)]
struct ErasureJson {
    thing: String,
    seq: u64,
    id: String,
    time: String,
    actor: Option<String>,
    actor_key: String,
    reason: Option<String>,
    basis: Option<String>,
    listed: Vec<String>,
    erased: u64,
    refused: u64,
    done: bool,
    receipts: Vec<ReceiptJson>,
    unanswered: Vec<String>,
}

/// Erases.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let mut erase = Erase::new(&args.thing, &args.reason);
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
    let db = context.open()?;
    if db.heads(&args.thing)?.is_empty() {
        return Err(Failure::no_thing(&args.thing));
    }
    let plan = db.plan_erasure(&erase)?;
    if !args.yes {
        ask(context, args, &plan)?;
    }
    let erased = db.erase(&plan).map_err(|problem| broken_off(&db, &plan, problem))?;
    context.close(db);
    let entries = counted(erased.entries, "entry", "entries");
    context.did(format!("the content of {entries} of {} is erased", printable(plan.thing())));
    if context.output.is_json() {
        context.output.object(&ErasedJson {
            thing: plan.thing().to_owned(),
            erased: erased.entries,
            records: erased.records.iter().map(RecordJson::new).collect(),
            removed: erased.removed.iter().map(|path| path.display().to_string()).collect(),
        })?;
    } else {
        for record in &erased.records {
            let id = id::short(&record.id);
            context.output.line(&format!("{} #{}  {id}  erased: {entries}", printable(plan.thing()), record.seq))?;
        }
    }
    context.told();
    for path in &erased.removed {
        let path = path.display().to_string();
        let fact = format!("{} was removed: it may have held keys of these entries", printable(&path));
        context.console.warning("keyring-removed", fact).say();
    }
    Ok(())
}

/// What is to be told if an erasure does not end: whether it is signed.
fn broken_off(db: &Db, plan: &ErasurePlan, problem: thingdb::Error) -> Failure {
    let is_due = |record: thingdb::Result<ErasureRecord>| record.is_ok_and(|record| !record.is_done);
    let is_signed = db.erasures(Some(plan.thing())).is_ok_and(|mut records| records.any(is_due));
    let failure = Failure::from(problem);
    if is_signed {
        failure
            .cause("the record is signed and stored: the content goes with the next command that may write")
            .hint(format!("thingdb erasures {}", quoted(plan.thing())))
    } else {
        failure
    }
}

/// Shows what would be signed and asks whether it is to be.
fn ask(context: &Context, args: &Args, plan: &ErasurePlan) -> Outcome {
    let entries = counted(plan.seqs().len() as u64, "seq", "seqs");
    let (thing, actor) = (printable(plan.thing()), printable(plan.actor()));
    context.console.plain(&format!("The content of {entries} of {thing} goes for good: {}.", ranges(plan.seqs())));
    context.console.plain(&format!("{actor} signs this, and everybody who has the thing can read it:"));
    context.console.plain(&format!("  reason: {}", printable(&args.reason)));
    if let Some(basis) = &args.basis {
        context.console.plain(&format!("  basis:  {}", printable(basis)));
    }
    for text in plan.texts() {
        let shown: String = text.chars().take(MOST_SHOWN).collect();
        let rest = if shown.len() < text.len() { format!("… ({} bytes)", text.len()) } else { String::new() };
        context.console.plain(&format!("  {}{rest}", printable(&shown)));
    }
    context.console.plain("It must hold nothing personal: it cannot be erased itself.");
    if !context.console.stdin().is_terminal() || context.no_input {
        return Err(Failure::usage("whether this is to be erased is for a person to say")
            .hint("look at what would be signed, then repeat with --yes"));
    }
    if confirm::is_confirmed(&context.console, "Sign it, and erase?")? {
        return Ok(());
    }
    Err(Failure::usage("nothing was erased"))
}

/// Seqs in few words: `1-4, 7`.
fn ranges(seqs: &[u64]) -> String {
    const MOST: usize = 8;
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for seq in seqs {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*seq) => *last = *seq,
            _ => ranges.push((*seq, *seq)),
        }
    }
    let word = |(first, last): &(u64, u64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let words: Vec<String> = ranges.iter().take(MOST).map(word).collect();
    let more = if ranges.len() > MOST { ", …" } else { "" };
    format!("{}{more}", words.join(", "))
}

/// Lists erasure records.
pub(crate) fn list(context: &Context, args: &ListArgs) -> Outcome {
    let db = context.open()?;
    if let Some(thing) = &args.thing
        && db.heads(thing)?.is_empty()
    {
        return Err(Failure::no_thing(thing));
    }
    if context.output.is_json() {
        let mut list = context.output.list();
        for erasure in db.erasures(args.thing.as_deref())? {
            list.item(&ErasureJson::new(&erasure?))?;
        }
        return list.end();
    }
    table(context, &db, args.thing.as_deref())
}

fn table(context: &Context, db: &Db, thing: Option<&str>) -> Outcome {
    const PAGE: usize = 100;
    let mut text = context.output.text();
    let mut table = context.output.table(["thing", "seq", "time", "by", "erased", "others", "reason"], Some(0));
    let mut erasures = db.erasures(thing)?;
    loop {
        let page = erasures.by_ref().take(PAGE).collect::<thingdb::Result<Vec<_>>>()?;
        if page.is_empty() {
            return text.end();
        }
        text.line(&table.page(page.iter().map(row)))?;
    }
}

fn row(erasure: &ErasureRecord) -> [Painted; 7] {
    let record = &erasure.record;
    let reason = erasure.erasure.as_ref().map_or_else(
        || "(cannot be read)".to_owned(),
        |said| match said.basis() {
            Some(basis) => format!("{} ({basis})", printable(said.reason())),
            None => printable(said.reason()).into_owned(),
        },
    );
    let erased = match (erasure.is_done, erasure.refused) {
        (false, _) => "not yet".to_owned(),
        (true, 0) => erasure.erased.to_string(),
        (true, refused) => format!("{}, {refused} refused", erasure.erased),
    };
    [
        printable(record.thing()).into_owned().into(),
        record.seq().to_string().into(),
        when::short(record.time()).into(),
        printable(record.actor_name().unwrap_or("?")).into_owned().into(),
        erased.into(),
        receipt::in_words(erasure).into(),
        reason.into(),
    ]
}

impl RecordJson {
    fn new(receipt: &Receipt) -> Self {
        Self { seq: receipt.seq, id: receipt.id.to_string(), position: receipt.position }
    }
}

impl ErasureJson {
    fn new(erasure: &ErasureRecord) -> Self {
        let (record, said) = (&erasure.record, erasure.erasure.as_ref());
        Self {
            thing: record.thing().to_owned(),
            seq: record.seq(),
            id: record.id().to_string(),
            time: record.time().to_string(),
            actor: record.actor_name().map(str::to_owned),
            actor_key: record.actor().to_string(),
            reason: said.map(|said| said.reason().to_owned()),
            basis: said.and_then(|said| said.basis()).map(str::to_owned),
            listed: said.map_or_else(Vec::new, |said| said.entries().iter().map(ToString::to_string).collect()),
            erased: erasure.erased,
            refused: erasure.refused,
            done: erasure.is_done,
            receipts: erasure.receipts.iter().map(ReceiptJson::new).collect(),
            unanswered: erasure.unanswered.clone(),
        }
    }
}

/// A seq, or from one to another.
fn seqs(text: &str) -> Result<RangeInclusive<u64>, String> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|seq| *seq > 0);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err(format!("{} is no seq: write 3, or 8-10", quoted(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seqs_are_read_and_told() {
        assert_eq!(seqs("3"), Ok(3..=3));
        assert_eq!(seqs("8-10"), Ok(8..=10));
        for bad in ["", "0", "x", "3-", "-3", "10-8", "1-2-3"] {
            assert!(seqs(bad).is_err(), "{bad}");
        }
        assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), "1-3, 7, 9-10");
        assert_eq!(ranges(&(1..40).step_by(2).collect::<Vec<_>>()), "1, 3, 5, 7, 9, 11, 13, 15, …");
    }
}
