//! `thingdb forks`, `resolve`, `prove-fork`, `verify-fork`: histories with
//! several ends.

use serde::Serialize;
use thingdb::{Db, EntryId};

use crate::cli::context::{Context, REPORT};
use crate::cli::input;
use crate::cli::remote::RemoteArgs;
use crate::console::output::Format;
use crate::console::times::{self, Times, TimesArgs};
use crate::error::{Exit, Failure, Outcome};
use crate::text::{printable, quoted};
use crate::view::fork::{EquivocationJson, ForkJson};
use crate::view::paint::{Paint, Painted};

/// Forks whose table is laid out at once.
const PAGE: usize = 1000;

/// Arguments of `thingdb forks`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb forks
  thingdb forks part-42

Two nodes that write the same thing apart make two heads. Nothing is lost: both
are kept, the latest is the same everywhere, and the next put joins them.
thingdb resolve joins them now and says which data stands.")]
pub(crate) struct Args {
    /// Only this thing
    thing: Option<String>,

    /// How times are shown.
    #[command(flatten)]
    times: TimesArgs,

    /// Where it is read.
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// Arguments of `thingdb resolve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb resolve part-42 --keep e5d1 --reason 'the press was recalibrated'")]
pub(crate) struct ResolveArgs {
    /// The thing
    thing: String,
    /// The head whose data stands; the first digits of its id will do
    #[arg(long, value_name = "ID")]
    keep: String,
    /// Why; kept in the entry
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who signs
    #[arg(long, value_name = "NAME", env = "THINGDB_ACTOR")]
    actor: Option<String>,
}

/// Arguments of `thingdb prove-fork`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb prove-fork part-42 > evidence.ndjson
  thingdb verify-fork evidence.ndjson                anywhere, without a database

Two different entries of one actor at one node after the same entries are an
equivocation. A restored backup or a copied directory does it innocently.")]
pub(crate) struct ProveArgs {
    /// The thing
    thing: String,
}

/// Arguments of `thingdb verify-fork`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb verify-fork evidence.ndjson

Needs no database and no passphrase. Exit code 4 if it proves nothing.")]
pub(crate) struct VerifyArgs {
    /// The evidence, - for stdin
    #[arg(value_name = "FILE|-")]
    file: String,
}

#[derive(Serialize)]
struct Verified {
    ok: bool,
    thing: String,
    #[serde(flatten)]
    proof: EquivocationJson,
}

/// Lists forked things and their heads.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let source = context.source(&args.remote)?;
    let mut first = None;
    let forks = source.forks(args.thing.as_deref())?.inspect(|fork| {
        if let (None, Ok(fork)) = (&first, fork) {
            first = Some(fork.thing.clone());
        }
    });
    match context.output.format() {
        Format::Json | Format::Ndjson => {
            let mut list = context.output.list();
            for fork in forks {
                list.item(&fork?)?;
            }
            list.end()?;
        }
        Format::Raw | Format::Table => table(context, args.times, forks)?,
    }
    if let Some(thing) = first {
        let thing = quoted(thing.as_str());
        context.console.hint(&format!("thingdb resolve {thing} --keep ID --reason TEXT"));
        context.console.hint(&format!("thingdb put {thing} JSON, which joins all heads, too"));
    }
    Ok(())
}

fn table(context: &Context, times: TimesArgs, mut forks: impl Iterator<Item = Outcome<ForkJson>>) -> Outcome {
    let times = Times::new(times, &context.output);
    let mut has_rows = false;
    let mut table = context.output.table(["thing", "seq", times.header(times::WHEN), "actor", "head"], Some(0));
    loop {
        let page = forks.by_ref().take(PAGE).collect::<Outcome<Vec<_>>>()?;
        match (page.is_empty(), has_rows) {
            (true, false) => return context.output.line("no forks"),
            (true, true) => return Ok(()),
            _ => context.output.line(&table.page(rows(&page, times)))?,
        }
        has_rows = true;
    }
}

fn rows(forks: &[ForkJson], times: Times) -> Vec<[Painted; 5]> {
    let mut rows = Vec::new();
    for fork in forks {
        for (place, head) in fork.heads.iter().enumerate() {
            let marked = fork.equivocations.iter().any(|found| found.entries.contains(&head.id));
            let thing = if place == 0 { printable(fork.thing.as_str()).into_owned() } else { String::new() };
            let actor = printable(head.actor.name.as_deref().unwrap_or("?")).into_owned();
            let actor = Painted::from(actor);
            let actor = if marked { actor.and(Paint::Bad, " (equivocation)") } else { actor };
            let id = Painted::from(head.id.to_string());
            rows.push([thing.into(), head.seq.to_string().into(), times.cell(head.time), actor, id]);
        }
    }
    rows
}

/// Joins the heads of a thing.
pub(crate) fn resolve(context: &Context, args: &ResolveArgs) -> Outcome {
    let db = context.open()?;
    let keep = head(&db, &args.thing, &args.keep)?;
    let receipt = db.resolve(&args.thing, &keep, &args.reason, args.actor.as_deref())?;
    context.did(format!(
        "the entry is stored: {} #{} {}; {REPORT}",
        printable(receipt.thing.as_str()),
        receipt.seq,
        receipt.id
    ));
    context.close(db);
    if context.output.is_json() {
        #[derive(Serialize)]
        struct Resolved {
            thing: String,
            seq: u64,
            id: String,
            kept: String,
        }
        let (thing, id) = (receipt.thing.to_string(), receipt.id.to_string());
        return context.output.object(&Resolved { thing, seq: receipt.seq, id, kept: keep.to_string() });
    }
    context.output.line(&format!(
        "{} #{}  {}  keeps {keep}",
        printable(receipt.thing.as_str()),
        receipt.seq,
        receipt.id
    ))
}

fn head(db: &Db, thing: &str, wanted: &str) -> Outcome<EntryId> {
    let heads = db.heads(thing)?;
    if heads.is_empty() {
        return Err(Failure::no_thing(thing));
    }
    let wanted = wanted.to_ascii_lowercase();
    let found: Vec<EntryId> =
        heads.iter().map(|head| head.id).filter(|id| id.to_string().starts_with(&wanted)).collect();
    match found[..] {
        [id] => Ok(id),
        [] => Err(Failure::not_found(format!("{} has no head {}", printable(thing), printable(&wanted)))
            .hint(format!("thingdb forks {}", printable(thing)))),
        _ => Err(Failure::usage(format!("several heads begin with {}", printable(&wanted)))),
    }
}

/// Prints portable evidence of an equivocation.
pub(crate) fn prove(context: &Context, args: &ProveArgs) -> Outcome {
    let db = context.open()?;
    let found = db.equivocations(&args.thing)?;
    let Some(equivocation) = found.first() else {
        return Err(Failure::not_found(format!(
            "nobody wrote two entries in the place of one on {}",
            printable(&args.thing)
        ))
        .hint("thingdb forks: a fork between two nodes is no equivocation"));
    };
    let evidence = db.prove_fork(&args.thing, equivocation)?;
    context.output.bytes(evidence.as_bytes())
}

/// Checks evidence, without a database.
pub(crate) fn verify(context: &Context, args: &VerifyArgs) -> Outcome {
    let evidence = input::text(input::file(&context.console, &args.file)?)?;
    let (thing, found) = thingdb::verify_fork(&evidence)
        .map_err(|problem| Failure::new(Exit::NotVerified, "no-evidence", problem.to_string()))?;
    let proof = EquivocationJson::new(&found);
    if context.output.is_json() {
        return context.output.object(&Verified { ok: true, thing: thing.to_string(), proof });
    }
    context.output.line(&format!(
        "proven: the key {} signed two entries in the place of one, on {} at the node {}\n  {}\n  {}",
        found.actor,
        printable(thing.as_str()),
        found.origin,
        found.entries[0],
        found.entries[1]
    ))
}
