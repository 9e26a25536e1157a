//! `thingdb doctor`: what is wrong or unwise, and what to do about it.

use std::path::Path;

use serde::Serialize;
use thingdb::{Db, SlotKind, Time};

use crate::cli::console::{Access, Console};
use crate::cli::context::Context;
use crate::cli::error::{Exit, Failure, Outcome};
use crate::cli::output::{counted, grouped, printable};
use crate::cli::{find, passphrase, when};

/// Free space below which the disk is called nearly full.
const FEW_BYTES: u64 = 256 * 1_024 * 1_024;

/// The age from which on a backup is called old: a week.
const MAX_BACKUP_AGE_S: i64 = 7 * 24 * 3_600;

/// Arguments of `thingdb doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb doctor
  thingdb doctor --json

It looks at what surrounds the entries: files, modes, space, clock, keys.
Whether the entries are genuine is what thingdb verify finds out.")]
pub(crate) struct Args {}

/// The members of the JSON.
#[derive(Serialize)]
struct Findings {
    ok: bool,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Check {
    check: &'static str,
    state: State,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
}

/// Examines the database and its surroundings.
pub(crate) fn run(context: &Context, _: &Args) -> Outcome {
    let (dir, console) = (context.dir()?, &context.console);
    let mut checks = Vec::new();
    checks.extend(context.sources.file().and_then(|path| passphrase_file(console, path)));
    checks.push(keyring_mode(console, dir));
    checks.push(space(console, dir));
    checks.push(backups(dir)?);
    if context.is_in_server() {
        checks.push(Check::new(
            "server",
            State::Ok,
            format!("process {} holds the database, and runs this", std::process::id()),
        ));
    }
    let opened = context.open();
    let failure = match &opened {
        Ok(db) => {
            checks.extend(contents(db)?);
            None
        }
        // A server will say it all.
        Err(_) if context.is_handed_over() => return Err(Failure::silent()),
        Err(failure) => {
            checks.push(Check::new("open", State::Fail, failure.fact()));
            Some(failure)
        }
    };
    let findings = Findings { ok: checks.iter().all(|check| check.state != State::Fail), checks };
    say(context, &findings)?;
    match (failure.is_some(), opened) {
        (true, Err(failure)) => Err(failure),
        _ if findings.ok => Ok(()),
        _ => Err(Failure::new(Exit::Unexpected, "doctor", "something is wrong; see above")),
    }
}

fn say(context: &Context, findings: &Findings) -> Outcome {
    if context.output.is_json() {
        return context.output.object(findings);
    }
    let mut text = context.output.text();
    for check in &findings.checks {
        let state = match check.state {
            State::Ok => "ok  ",
            State::Warn => "warn",
            State::Fail => "FAIL",
        };
        text.line(&format!("{state}  {}: {}", check.check, printable(&check.detail)))?;
        if let Some(hint) = &check.hint {
            text.line(&format!("      hint: {}", printable(hint)))?;
        }
    }
    text.end()
}

impl Check {
    fn new(check: &'static str, state: State, detail: impl Into<String>) -> Self {
        Self { check, state, detail: detail.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

fn passphrase_file(console: &Console, path: &Path) -> Option<Check> {
    let file = console.open(path, Access::Read).ok()?;
    let name = path.display();
    Some(if passphrase::is_readable_by_others(file.file()) {
        Check::new("passphrase", State::Warn, format!("{name} is readable by other users"))
            .hint(format!("chmod 600 {}", find::quoted_path(path)))
    } else {
        Check::new("passphrase", State::Ok, format!("{name} is readable by its owner only"))
    })
}

fn keyring_mode(console: &Console, dir: &Path) -> Check {
    let path = dir.join("keyring");
    match console.open(&path, Access::Read) {
        Err(problem) => Check::new("keyring", State::Fail, format!("{}: {problem}", path.display())),
        Ok(file) if passphrase::is_readable_by_others(file.file()) => {
            Check::new("keyring", State::Warn, "readable by other users, who can then try passphrases on it")
                .hint(format!("chmod 600 {}", find::quoted_path(&path)))
        }
        Ok(_) => Check::new("keyring", State::Ok, "readable by its owner only"),
    }
}

fn space(console: &Console, dir: &Path) -> Check {
    let stat = console.open(dir, Access::Read).and_then(|dir| Ok(rustix::fs::fstatvfs(dir.file())?));
    match stat {
        Err(problem) => Check::new("space", State::Warn, problem.to_string()),
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let detail = format!("{} MiB free", grouped(free / 1_048_576));
            if free < FEW_BYTES {
                Check::new("space", State::Warn, detail).hint("make room before writing stops; df -h")
            } else {
                Check::new("space", State::Ok, detail)
            }
        }
    }
}

/// When the database was saved last.
fn backups(dir: &Path) -> Outcome<Check> {
    let places = thingdb::last_backups(dir)?;
    let Some(last) = places.first() else {
        return Ok(Check::new("backup", State::Warn, "none was made: a disk that fails takes everything")
            .hint("thingdb backup DEST, on another disk"));
    };
    let (ago, place) = (when::ago(last.time, when::now()), last.place.display());
    let is_old =
        when::now().as_second() - i64::try_from(last.time.micros() / 1_000_000).unwrap_or(i64::MAX) > MAX_BACKUP_AGE_S;
    let check = Check::new("backup", if is_old { State::Warn } else { State::Ok }, format!("{ago}, to {place}"));
    Ok(if is_old { check.hint(format!("thingdb backup {}", find::quoted_path(&last.place))) } else { check })
}

/// What can be known once the database is open.
fn contents(db: &Db) -> Outcome<Vec<Check>> {
    let stats = db.stats()?;
    let counts = format!(
        "store version {}, {}, {}",
        stats.store_version,
        counted(stats.entries, "entry", "entries"),
        counted(stats.things, "thing", "things")
    );
    let mut checks = vec![Check::new("open", State::Ok, counts)];
    checks.extend(
        db.warnings()
            .iter()
            .map(|warning| Check::new("ledger", State::Warn, warning.to_string()).hint("thingdb verify")),
    );
    checks.push(signer(db));
    checks.extend(contradictions(db)?);
    checks.extend(exchanges(db)?);
    checks.push(waiting(db)?);
    checks.push(recovery(db));
    checks.push(clock(db)?);
    Ok(checks)
}

/// Who signs if nobody is named.
fn signer(db: &Db) -> Check {
    let (own, trusted) = (db.own_actors(), db.trusted_actors());
    let is_trusted = |key: &thingdb::Actor| trusted.iter().any(|actor| actor.key == *key);
    let Some(default) = own.iter().find(|actor| actor.default) else {
        return Check::new("actor", State::Warn, "no actor can sign").hint("thingdb actor new NAME");
    };
    if is_trusted(&default.key) {
        return Check::new("actor", State::Ok, format!("{} signs by default", default.name));
    }
    let fact = format!("trust in {} was withdrawn, and it signs by default: nothing can be put", default.name);
    let check = Check::new("actor", State::Warn, fact);
    match own.iter().find(|actor| is_trusted(&actor.key)) {
        Some(other) => check.hint(format!("thingdb actor default {}", find::quoted(&other.name))),
        None => check.hint("thingdb actor new NAME && thingdb actor default NAME"),
    }
}

/// Entries whose prev is not here.
fn waiting(db: &Db) -> Outcome<Check> {
    let waiting = db.waiting()?;
    let Some(first) = db.waiting_entries(1)?.into_iter().next() else {
        return Ok(Check::new("waiting", State::Ok, "no entry waits for another"));
    };
    let entries = counted(waiting.entries, "entry waits", "entries wait");
    let fact = format!(
        "{entries} for others that are not here; since {} {} of {}, for {}",
        first.since, first.id, first.thing, first.waits_for
    );
    Ok(Check::new("waiting", State::Warn, fact).hint("thingdb pull PEER, from a peer that has what they wait for"))
}

/// Peers that showed two ledgers, and nobody has said what to make of it.
fn contradictions(db: &Db) -> Outcome<Vec<Check>> {
    let mut checks = Vec::new();
    for peer in db.peers()? {
        if let Some(conflict) = db.remembered(&peer.origin())?.conflict {
            let file = conflict.file.display().to_string();
            let fact = format!("{}: {}, see {file}", conflict.evidence.found, printable(&peer.name));
            checks.push(
                Check::new("peers", State::Warn, fact)
                    .hint(format!("thingdb verify-evidence {}", find::quoted_path(&conflict.file))),
            );
        }
    }
    Ok(checks)
}

/// How the last exchange with each peer ended whose server is known.
fn exchanges(db: &Db) -> Outcome<Vec<Check>> {
    let mut checks = Vec::new();
    for peer in db.peers()? {
        if db.peer_address(&peer.name)?.is_none() {
            continue;
        }
        let exchanges = db.exchanges(&peer.origin())?;
        let is_failing = exchanges.is_failing();
        let well =
            exchanges.succeeded.map_or_else(|| "none yet went through".to_owned(), |at| format!("the last at {at}"));
        let fact = match exchanges.failed.filter(|_| is_failing) {
            Some((at, why)) => format!("{}: {well}; the one at {at} did not: {why}", peer.name),
            None => format!("{}: {well}", peer.name),
        };
        let check = Check::new("exchange", if is_failing { State::Warn } else { State::Ok }, fact);
        checks.push(if is_failing { check.hint(format!("thingdb sync {}", find::quoted(&peer.name))) } else { check });
    }
    Ok(checks)
}

fn recovery(db: &Db) -> Check {
    if db.key_slots().iter().any(|slot| slot.kind == SlotKind::RecoveryKey) {
        return Check::new("recovery", State::Ok, "there is a recovery key");
    }
    Check::new("recovery", State::Warn, "no recovery key: a lost passphrase loses the data")
        .hint("thingdb recovery-key -o FILE")
}

/// An entry from the future tells of a clock that was set back.
fn clock(db: &Db) -> Outcome<Check> {
    let now = Time::from_micros(u64::try_from(when::now().as_microsecond()).unwrap_or_default());
    let now = now.map_err(|problem| Failure::usage(format!("this machine's clock: {problem}")))?;
    let mut latest = None;
    for thing in db.things()?.take(1_000) {
        latest = latest.max(thing?.heads.iter().map(|head| head.time).max());
    }
    Ok(match latest {
        Some(time) if time > now => {
            Check::new("clock", State::Warn, format!("entries up to {time}, but the clock says {now}"))
                .hint("timedatectl status")
        }
        _ => Check::new("clock", State::Ok, format!("{now}, after the entries looked at")),
    })
}
