//! `thingdb verify`: recomputes everything from the bytes.

mod files;
mod tiles;

use std::path::{Path, PathBuf};

use clap::ArgGroup;
use serde::Serialize;
use thingdb::format::Policy;
use thingdb::{Db, Problem, Report, SignedCheckpoint, Verdict, VerifyOptions};

use crate::cli::context::Context;
use crate::cli::input::{note, policy};
use crate::cli::way_back;
use crate::error::{Exit, Failure, Outcome};
use crate::reader::{Reader, find};
use crate::text::{counted, grouped, printable};
use crate::view::counts::SizeJson;
use crate::view::id;
use crate::view::original_report::{self, OriginalReportJson};
use crate::view::paint::{Paint, Painted};
use crate::view::witnessed::Witnessed;
use files::is_stream;

/// Problems that are shown on a terminal.
const MAX_SHOWN: usize = 20;

/// Arguments of `thingdb verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb verify                               everything
  thingdb verify part-42                       one thing
  thingdb checkpoint -o ~/elsewhere/things.checkpoint
  thingdb verify --checkpoint ~/elsewhere/things.checkpoint
  thingdb verify part-42 --checkpoint ~/elsewhere/things.checkpoint
  thingdb verify plant.ndjson.zst --card @plant.card --checkpoint kept.checkpoint
  thingdb verify plant.ndjson.zst --policy auditor.policy     who must have cosigned it
  thingdb verify --tiles /srv/www/ledger --card @plant.card   what checkpoint --publish wrote
  ssh plant thingdb export | thingdb verify - --card @plant.card

Without --checkpoint it finds every entry that was altered, and a cut that the
database itself remembers. That a whole directory was set back to an older
state shows only against a checkpoint that was kept elsewhere.

With a file of entries (- for stdin, @FILE, or a name that ends as those of
streams do) no database, passphrase or network is needed: every line is checked,
the links between entries, and whether it is the whole ledger that its node
signed. --card says whom you trust. What it cannot tell it lists.

Exit code 4 if anything does not hold; 6 if a file holds and is not the whole
ledger, or if a checkpoint of another node cannot be compared.")]
#[command(group(ArgGroup::new("elsewhere").args(["what", "tiles"])))]
pub(crate) struct Args {
    /// Only this thing; or files of entries, - for stdin
    #[arg(value_name = "THING|FILE")]
    what: Vec<String>,

    /// Only this thing, also if its name is like that of a file
    #[arg(long, value_name = "THING", conflicts_with_all = ["what", "card"])]
    thing: Option<String>,

    /// With files: the card of a node that you trust, @FILE to read it from a file
    #[arg(long, value_name = "CARD", requires = "elsewhere")]
    card: Vec<String>,

    /// Check a ledger in static files (c2sp.org/tlog-tiles), as checkpoint --publish writes them
    #[arg(long, value_name = "DIR", conflicts_with = "thing")]
    tiles: Option<PathBuf>,

    /// Compare with a checkpoint that was kept elsewhere; - for stdin
    ///
    /// With a thing, its entries are looked for in it; that none of them is missing only the whole
    /// ledger shows.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<String>,

    /// Whom you believe: logs, witnesses and how many of them (c2sp.org/tlog-policy)
    ///
    /// Their cosignatures are looked for on the checkpoints that the database keeps, on that of a
    /// file, and on the one that --checkpoint names.
    #[arg(long, value_name = "FILE")]
    policy: Option<String>,
}

/// The result, and the members of its JSON.
#[derive(Serialize)]
struct ReportJson<'a> {
    ok: bool,
    entries: u64,
    things: u64,
    actors: u64,
    stubs: u64,
    undecryptable: u64,
    erased: u64,
    refused_erasures: u64,
    forked: u64,
    problems: Vec<ProblemJson>,
    problems_total: u64,
    checkpoint: SizeJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<OtherJson>,
    /// What the witnesses of the policy have seen of the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    witnessed: Option<&'a Witnessed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<OriginalReportJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    copy: Option<CopyJson>,
}

/// The second copy of everything.
#[derive(Serialize)]
struct CopyJson {
    commits: u64,
}

/// What can be told of the checkpoint of another node.
#[derive(Serialize)]
struct OtherJson {
    origin: String,
    name: String,
    size: u64,
    holds: Option<bool>,
}

#[derive(Serialize)]
struct ProblemJson {
    verdict: String,
    thing: Option<String>,
    seq: Option<u64>,
    id: Option<String>,
    position: Option<u64>,
    detail: String,
}

impl Args {
    /// Whether files are checked, and no database.
    pub(crate) fn is_of_files(&self) -> bool {
        !self.card.is_empty() || self.tiles.is_some() || self.what.iter().any(|what| is_stream(what))
    }

    fn thing(&self) -> Option<&str> {
        self.thing.as_deref().or_else(|| self.what.first().map(String::as_str))
    }
}

/// Verifies and prints the report.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let note = args.checkpoint.as_deref().map(|path| note::read(&context.console, path)).transpose()?;
    let policy = args.policy.as_deref().map(|path| policy::read(&context.console, path)).transpose()?;
    if args.is_of_files() && args.card.is_empty() {
        policy::refuse_without_log(policy.as_ref())?;
    }
    if let Some(dir) = &args.tiles {
        return tiles::run(context, dir, &args.card, note.as_ref(), policy.as_ref());
    }
    if args.is_of_files() {
        return files::run(context, &args.what, &args.card, note, policy.as_ref());
    }
    if args.what.len() > 1 {
        return Err(Failure::usage("one thing at a time").hint("thingdb verify @FILE @FILE, if these are files"));
    }
    let db = context.open()?;
    if let Some(thing) = args.thing()
        && db.heads(thing)?.is_empty()
    {
        return Err(find::no_thing(&*db, thing));
    }
    let mut meter = context.meter("verifying");
    let mut progress = |progress: thingdb::Progress| meter.update(progress.done, progress.total, progress.bytes);
    let is_wanted = || !context.console.is_interrupted();
    let mut options = VerifyOptions::new().progress(&mut progress).while_wanted(&is_wanted);
    if let Some(thing) = args.thing() {
        options = options.thing(thing);
    }
    if let Some(note) = &note {
        options = options.checkpoint(note.as_str());
    }
    let report = db.verify(options)?;
    meter.end(report.entries, 0);
    let witnessed = policy.map(|policy| witnessed(&db, &policy, note.as_ref())).transpose()?;
    say(context, &report, witnessed.as_ref())?;
    if report.is_ok() {
        conclude_other(&report).and_then(|()| conclude_lost(&db))?;
        let hint = "thingdb checkpoint asks the witnesses";
        return witnessed.map_or(Ok(()), |witnessed| witnessed.conclude("the database", hint));
    }
    let is_salvaged = db.lost_end()?.is_some();
    Err(failure(context.dir()?, args, &report, is_salvaged))
}

/// What is here holds; if a ledger is known to be cut, nobody can say that it is all.
fn conclude_lost(db: &Db) -> Outcome {
    let Some(lost) = Reader::lost(db, 0)? else { return Ok(()) };
    let fact = "what is here holds, and not all that was written is here";
    let failure = Failure::new(Exit::NotVerified, lost.word().to_owned(), fact);
    Err(failure.causes(lost.explanations().to_vec()).hint("thingdb doctor"))
}

/// What a policy makes of the checkpoints that this ledger goes on from: its own, as
/// others have cosigned them, and the one that somebody kept.
fn witnessed(db: &Db, policy: &Policy, kept: Option<&SignedCheckpoint>) -> Outcome<Witnessed> {
    let mut notes: Vec<SignedCheckpoint> = db.cosigned()?.into_iter().map(|cosigned| cosigned.checkpoint).collect();
    notes.extend(db.last_checkpoint()?);
    notes.extend(kept.cloned());
    let mut holding = Vec::new();
    for note in notes {
        if note.claimed().origin == db.origin() && db.standing(&note)?.is_consistent() {
            holding.push(note);
        }
    }
    Witnessed::new(policy, holding.iter(), db.ledger_size(), |size| size)
}

fn say(context: &Context, report: &Report, witnessed: Option<&Witnessed>) -> Outcome {
    let is_ok = report.is_ok() && witnessed.is_none_or(Witnessed::is_met);
    if context.output.is_json() {
        return context.output.object(&ReportJson { ok: is_ok, witnessed, ..ReportJson::new(report) });
    }
    let mut text = context.output.text();
    for problem in report.problems.iter().take(MAX_SHOWN) {
        text.line(&context.output.painted(&place(problem)))?;
        text.line(&format!("    {}", printable(&problem.detail)))?;
    }
    let more = report.problems_total.saturating_sub(MAX_SHOWN as u64);
    if more > 0 {
        text.line(&format!("and {} more; --json lists the first thousand", grouped(more)))?;
    }
    let (paint, verdict) = if is_ok { (Paint::Good, "ok") } else { (Paint::Bad, "NOT ok") };
    let verdict = Painted::default().and(paint, verdict).and(Paint::Plain, format!("  {}", summary(report)));
    text.line(&context.output.painted(&verdict))?;
    text.line(&format!("    ledger size {}, root {}", report.size, report.root))?;
    if let Some(commits) = report.copy.filter(|_| !report.problems.iter().any(is_of_copy)) {
        let commits = counted(commits, "commit", "commits");
        text.line(&format!("    second copy (the journal): {commits}, each of which reads"))?;
    }
    if let Some(other) = report.other.as_ref().filter(|other| other.holds) {
        let (name, size) = (printable(&other.name), counted(other.size, "entry", "entries"));
        text.line(&format!("    the checkpoint of {name} holds: the {size} that it counts are here, in its order"))?;
    }
    let mut seen = witnessed.into_iter().flat_map(Witnessed::in_words);
    seen.try_for_each(|line| text.line(&format!("    {line}")))?;
    let mut original = report.original.iter().flat_map(original_report::lines);
    original.try_for_each(|line| text.line(&line))?;
    text.end()
}

fn summary(report: &Report) -> String {
    let mut parts = vec![
        counted(report.entries, "entry", "entries"),
        counted(report.things, "thing", "things"),
        counted(report.actors, "actor", "actors"),
    ];
    let mut add = |count: u64, one: &str, many: &str| {
        if count > 0 {
            parts.push(counted(count, one, many));
        }
    };
    add(report.forked, "forked thing", "forked things");
    add(report.stubs, "stub", "stubs");
    add(report.undecryptable, "entry that this node cannot decrypt", "entries that this node cannot decrypt");
    add(report.erased, "erased entry", "erased entries");
    add(report.refused_erasures, "erasure that was not allowed", "erasures that were not allowed");
    add(report.problems_total, "problem", "problems");
    parts.join(", ")
}

/// Nothing is wrong here; whether the ledger of another node is here may not be
/// known.
fn conclude_other(report: &Report) -> Outcome {
    let Some(other) = report.other.as_ref().filter(|other| !other.holds) else { return Ok(()) };
    let name = printable(&other.name);
    let fact = format!("whether the ledger of {name} grew out of this checkpoint cannot be told from this database");
    Err(Failure::new(Exit::Partly, "cannot-tell", fact)
        .cause("its entries are not here in its order, or not all of them")
        .hint(format!("get an export of everything from {name}: thingdb verify FILE --card @CARD --checkpoint NOTE")))
}

/// What is wrong and where, as far as it is known.
fn place(problem: &Problem) -> Painted {
    let thing = problem.thing.as_ref().map(|thing| printable(thing.as_str()).into_owned());
    let parts = [
        Some(String::new()),
        thing,
        problem.seq.map(|seq| format!("#{seq}")),
        problem.id.as_ref().map(id::short),
        problem.position.map(|position| format!("(ledger position {position})")),
    ];
    let place = parts.into_iter().flatten().collect::<Vec<_>>().join("  ");
    Painted::default().and(Paint::Bad, problem.verdict.to_string()).and(Paint::Plain, place)
}

fn is_of_copy(problem: &Problem) -> bool {
    problem.verdict == Verdict::BadCopy
}

fn failure(dir: &Path, args: &Args, report: &Report, is_salvaged: bool) -> Failure {
    let what = args.thing().unwrap_or("the database");
    let count = counted(report.problems_total, "problem", "problems");
    let failure = Failure::new(Exit::NotVerified, "not-verified", format!("{what} does not verify: {count}"));
    if report.problems.iter().all(|problem| problem.verdict == Verdict::WithdrawnActor) {
        return failure
            .cause("the signatures hold; trust in who signed was withdrawn, and what is stored stays")
            .hint("thingdb actor ls tells in whom and when; thingdb actor trust NAME takes it back");
    }
    if report.problems.iter().all(|problem| problem.verdict == Verdict::RevokedKey) {
        return failure
            .cause("the signatures hold; their keys were revoked, and nothing shows that they are from before")
            .hint("thingdb actor log NAME tells when and why; whoever has the key can have made these entries since");
    }
    if report.problems.iter().all(|problem| problem.verdict == Verdict::UnknownActor) {
        return failure.hint("thingdb actor trust NAME KEY, if you know whose key it is");
    }
    if report.problems.iter().all(is_of_copy) {
        return failure
            .cause("the entries hold; their second copy, the journal, does not read everywhere")
            .hint("thingdb doctor --fix, which takes what is lost from the store");
    }
    if is_salvaged && report.problems.iter().all(|problem| problem.verdict == Verdict::Truncated) {
        // Another salvage of what was salvaged finds no more.
        return failure
            .hint("thingdb new-node-key --yes, which accepts that they are lost")
            .hint("thingdb pull PEER, from peers that have them, before that");
    }
    if report.problems.iter().any(|problem| is_loss(problem.verdict)) {
        // What one copy has lost the next opening takes from the other.
        return failure
            .hint("thingdb doctor")
            .hint(format!("{}, if that brings not all of it back", way_back::salvage(dir)))
            .hint(way_back::OTHER_SOURCES);
    }
    failure.hint("keep a copy of the directory as it is, then compare with a backup or a peer")
}

/// Whether something is gone or does not read, and nothing that is there is false.
const fn is_loss(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Unreadable | Verdict::Truncated | Verdict::RolledBack | Verdict::BadIndex)
}

impl<'a> ReportJson<'a> {
    fn new(report: &'a Report) -> Self {
        let problem = |problem: &Problem| ProblemJson {
            verdict: problem.verdict.to_string(),
            thing: problem.thing.as_ref().map(ToString::to_string),
            seq: problem.seq,
            id: problem.id.as_ref().map(ToString::to_string),
            position: problem.position,
            detail: problem.detail.clone(),
        };
        Self {
            ok: report.is_ok(),
            entries: report.entries,
            things: report.things,
            actors: report.actors,
            stubs: report.stubs,
            undecryptable: report.undecryptable,
            erased: report.erased,
            refused_erasures: report.refused_erasures,
            forked: report.forked,
            problems: report.problems.iter().map(problem).collect(),
            problems_total: report.problems_total,
            checkpoint: SizeJson { size: report.size, root: report.root },
            other: report.other.as_ref().map(|other| OtherJson {
                origin: other.origin.to_string(),
                name: other.name.clone(),
                size: other.size,
                holds: other.holds.then_some(true),
            }),
            witnessed: None,
            original: report.original.as_ref().map(OriginalReportJson::new),
            copy: report.copy.map(|commits| CopyJson { commits }),
        }
    }
}
