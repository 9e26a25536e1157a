//! `thingdb migrate`: the way in from the Python prototype.

use std::path::PathBuf;

use serde::Serialize;
use thingdb::{ActorOutcome, Db, Error, MigrateOptions, MigrateReport, MigratedActor, Passphrase};

use crate::cli::context::Context;
use crate::console::question::{Purpose, Question};
use crate::error::{Exit, Failure, Outcome};
use crate::text::{counted, grouped, printable};
use crate::view::original_report::{self, OriginalReportJson};

/// Refused lines that are explained on stderr.
const MAX_SHOWN: usize = 10;

const PEER_NOTE: &str =
    "its X25519 key came without a card, so it is no peer yet: thingdb peer add NAME CARD, once its node has a card";

const TOKEN_NOTE: &str = "kept as hashes; see thingdb token ls";

/// Arguments of `thingdb migrate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb migrate ./old --dry-run              first, tell what would become of it
  thingdb migrate ./old
  thingdb migrate ./old --old-passphrase-file old-passphrase --json

Each entry of the prototype becomes one of ours with the same data, and keeps
the document that the prototype signed; thingdb verify checks that one too.
Lines that do not parse, open or verify are left out and listed. The directory
is only read. To run it again adds what is new.

Exit code 6 if lines were refused, 12 if the old passphrase opens nothing.")]
pub(crate) struct Args {
    /// The prototype's directory, with ledger.ndjson and salt.bin
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Read the prototype's passphrase from a file
    #[arg(long, value_name = "FILE", conflicts_with = "old_passphrase_fd")]
    old_passphrase_file: Option<PathBuf>,

    /// Read the prototype's passphrase from an open file descriptor
    #[arg(long, value_name = "N")]
    old_passphrase_fd: Option<u32>,

    /// Only tell what would become of it
    #[arg(long)]
    dry_run: bool,
}

/// The result, and the members of its JSON.
#[derive(Serialize)]
struct ReportJson<'a> {
    dry_run: bool,
    entries: u64,
    things: u64,
    migrated: u64,
    known: u64,
    refused: Vec<RefusedJson<'a>>,
    refused_total: u64,
    original: OriginalReportJson<'a>,
    actors: Vec<ActorJson<'a>>,
    peers: Vec<PeerJson<'a>>,
    tokens: TokensJson,
    notes: &'a [String],
}

#[derive(Serialize)]
struct RefusedJson<'a> {
    line: u64,
    reason: &'a str,
}

#[derive(Serialize)]
struct ActorJson<'a> {
    file: &'a str,
    name: Option<&'a str>,
    key: Option<String>,
    outcome: &'static str,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct PeerJson<'a> {
    name: &'a str,
    encryption_key: Option<String>,
    note: &'static str,
}

#[derive(Serialize)]
struct TokensJson {
    found: u64,
    without_scopes: u64,
    note: Option<&'static str>,
}

/// Brings the directory in.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let db = context.open()?;
    let old = context.ask(&Question {
        purpose: Purpose::Prototype,
        file: args.old_passphrase_file.clone(),
        descriptor: args.old_passphrase_fd,
        what: args.dir.clone(),
    })?;
    let report = migrate(context, &db, args, &old)?;
    context.close(db);
    context.did("what could be brought over is stored");
    say(context, &report)?;
    context.told();
    conclude(&report)
}

fn migrate(context: &Context, db: &Db, args: &Args, old: &Passphrase) -> Outcome<MigrateReport> {
    let mut meter = context.meter("migrating");
    let mut progress = |progress: thingdb::Progress| meter.update(progress.done, progress.total, progress.bytes);
    let options = MigrateOptions::new().dry_run(args.dry_run).progress(&mut progress);
    let dir = context.console.path(&args.dir);
    let migrated = db.migrate(&dir, old, options);
    let report = migrated.map_err(|problem| match &problem {
        Error::PrototypePassphrase { .. } => {
            Failure::new(Exit::WrongPassphrase, "wrong-passphrase", problem.to_string())
                .hint("it is the passphrase of the prototype that is wanted, not that of the database")
        }
        _ => {
            let failure = Failure::from(problem);
            // By the name that it was given, whatever a server calls it.
            let fact = failure.fact().replace(&dir.display().to_string(), &args.dir.display().to_string());
            failure.about(fact)
        }
    })?;
    meter.end(report.entries, 0);
    Ok(report)
}

fn say(context: &Context, report: &MigrateReport) -> Outcome {
    if context.output.is_json() {
        return context.output.object(&ReportJson::new(report));
    }
    let mut text = context.output.text();
    let verb = if report.dry_run { "would migrate" } else { "migrated" };
    let mut line = format!("{verb} {}", counted(report.migrated, "entry", "entries"));
    for (count, what) in [(report.known, "known already"), (report.refused_total, "refused")] {
        if count > 0 {
            line = format!("{line}, {} {what}", grouped(count));
        }
    }
    text.line(&line)?;
    original_report::lines(&report.original).iter().try_for_each(|line| text.line(line))?;
    for actor in &report.actors {
        text.line(&actor_line(actor, report.dry_run))?;
    }
    for peer in &report.peers {
        text.line(&format!("    peer {}: {PEER_NOTE}", printable(&peer.name)))?;
    }
    if report.tokens > 0 {
        text.line(&format!("    {}: {TOKEN_NOTE}", counted(report.tokens, "token", "tokens")))?;
    }
    for note in &report.notes {
        text.line(&format!("    {}", printable(note)))?;
    }
    text.end()
}

fn actor_line(actor: &MigratedActor, dry_run: bool) -> String {
    let name = actor.name.as_deref().map_or_else(|| actor.file.clone(), str::to_owned);
    let what = match &actor.outcome {
        ActorOutcome::Added if dry_run => "would become an actor of this database".to_owned(),
        ActorOutcome::Added => "is an actor of this database now".to_owned(),
        ActorOutcome::Refused(reason) => format!("is no actor here: {reason}"),
        _ => "is an actor of this database already".to_owned(),
    };
    format!("    {} ({}) {}", printable(&name), printable(&actor.file), printable(&what))
}

fn conclude(report: &MigrateReport) -> Outcome {
    if report.refused_total == 0 {
        return Ok(());
    }
    let verb = match report.refused_total {
        _ if report.dry_run => "would be",
        1 => "was",
        _ => "were",
    };
    let count = counted(report.refused_total, "entry", "entries");
    let fact = format!("{count} of the prototype {verb} refused, {} migrated", grouped(report.migrated));
    let cause = |(line, reason): (u64, &str)| format!("line {line}: {reason}");
    let refused = report.refused.iter().map(|refused| (refused.line, refused.reason.as_str()));
    let failure = Failure::new(Exit::Partly, "bad-lines", fact).causes(refused.take(MAX_SHOWN).map(cause));
    let more = report.refused_total.saturating_sub(MAX_SHOWN as u64);
    Err(if more > 0 { failure.cause(format!("and {} more; --json lists them", grouped(more))) } else { failure })
}

impl<'a> ReportJson<'a> {
    fn new(report: &'a MigrateReport) -> Self {
        let refused = report.refused.iter();
        let refused = refused.map(|refused| RefusedJson { line: refused.line, reason: &refused.reason });
        let peers = report.peers.iter().map(|peer| PeerJson {
            name: &peer.name,
            encryption_key: peer.encryption_key.map(|key| key.to_string()),
            note: PEER_NOTE,
        });
        Self {
            dry_run: report.dry_run,
            entries: report.entries,
            things: report.things,
            migrated: report.migrated,
            known: report.known,
            refused: refused.collect(),
            refused_total: report.refused_total,
            original: OriginalReportJson::new(&report.original),
            actors: report.actors.iter().map(ActorJson::new).collect(),
            peers: peers.collect(),
            tokens: TokensJson {
                found: report.tokens,
                without_scopes: report.tokens_without_scopes,
                note: (report.tokens > 0).then_some(TOKEN_NOTE),
            },
            notes: &report.notes,
        }
    }
}

impl<'a> ActorJson<'a> {
    fn new(actor: &'a MigratedActor) -> Self {
        let (outcome, reason) = match &actor.outcome {
            ActorOutcome::Added => ("added", None),
            ActorOutcome::Refused(reason) => ("refused", Some(reason.as_str())),
            _ => ("known", None),
        };
        Self {
            file: &actor.file,
            name: actor.name.as_deref(),
            key: actor.key.map(|key| key.to_string()),
            outcome,
            reason,
        }
    }
}
