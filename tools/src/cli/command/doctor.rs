//! `thingdb doctor`: what is wrong or unwise, and what to do about it.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::Serialize;
use thingdb::{Db, JournalState, Keep, KeyringFile, Options, SlotKind, Standing, Time, Warning};

use crate::cli::context::{self, Context};
use crate::cli::way_back;
use crate::console::{Access, Console, passphrase};
use crate::error::{Exit, Failure, Outcome};
use crate::text::{counted, grouped, printable, quoted, quoted_path};
use crate::view::journal::Kept;
use crate::view::when;

/// Free space below which the disk is called nearly full.
const FEW_BYTES: u64 = 256 * 1_024 * 1_024;

/// The age from which on a backup is called old: a week.
const MAX_BACKUP_AGE_S: i64 = 7 * 24 * 3_600;

/// The age from which on a backup is called forgotten that files of the journal are
/// kept for: four weeks.
const MAX_WAIT_FOR_BACKUP_S: i64 = 4 * MAX_BACKUP_AGE_S;

/// Ranges of lost entries that are named.
const MAX_GAPS: usize = 5;

/// Arguments of `thingdb doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb doctor
  thingdb doctor --json
  thingdb doctor --fix

It looks at what surrounds the entries: files, modes, space, clock, keys.
Whether the entries are genuine is what thingdb verify finds out. With --fix it
does what loses nothing: it takes away modes that let others in, removes files
that were left half written, and signs a checkpoint if there is none.")]
pub(crate) struct Args {
    /// Put right what can be without losing anything
    #[arg(long)]
    pub(crate) fix: bool,
}

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
    /// What it says, one after the other.
    #[serde(skip)]
    hints: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// It was wrong.
    Fixed,
    Warn,
    Fail,
}

/// Examines the database and its surroundings.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let (dir, console) = (context.dir()?, &context.console);
    let mut checks = Vec::new();
    checks.extend(context.sources.file().and_then(|path| passphrase_file(console, path, args.fix)));
    checks.extend(keyring_files(console, dir, args.fix));
    checks.extend(set_aside(dir));
    checks.push(space(console, dir));
    checks.push(backups(dir)?);
    if context.is_in_server() {
        checks.push(Check::new(
            "server",
            State::Ok,
            format!("process {} holds the database, and runs this", std::process::id()),
        ));
    }
    let before = journal(dir);
    let opened = context.open_with(&Options::new().heal(args.fix));
    let failure = match &opened {
        Ok(db) => {
            checks.extend(journal_check(dir, before, context.is_in_server()));
            checks.extend(store(db));
            checks.extend(contents(db, args.fix)?);
            checks.push(left_over(db, args.fix)?);
            None
        }
        // A server will say it all.
        Err(_) if context.is_handed_over() => return Err(Failure::silent()),
        Err(failure) => {
            let check = Check::new("open", State::Fail, failure.whole());
            let others = failure.hints().iter().filter(|hint| *hint != "thingdb doctor");
            checks.push(others.fold(check, |check, hint| check.hint(hint)));
            Some(failure)
        }
    };
    let checks: Vec<_> = checks.into_iter().map(|check| check.located(console)).collect();
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
            State::Fixed => "done",
            State::Warn => "warn",
            State::Fail => "FAIL",
        };
        text.line(&format!("{state}  {}: {}", check.check, printable(&check.detail)))?;
        for hint in &check.hints {
            text.line(&format!("      hint: {}", printable(hint)))?;
        }
    }
    text.end()
}

impl Check {
    fn new(check: &'static str, state: State, detail: impl Into<String>) -> Self {
        Self { check, state, detail: detail.into(), hint: None, hints: Vec::new() }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The hints name the place that an argument named.
    fn located(mut self, console: &Console) -> Self {
        self.hints.iter_mut().for_each(|hint| *hint = console.whereabouts().in_hint(hint).into_owned());
        self.hint = Some(self.hints.join("; ")).filter(|hints| !hints.is_empty());
        self
    }

    /// A file that others can read: with `fix` they cannot any more.
    fn of_mode(check: &'static str, path: &Path, fact: String, fix: bool) -> Self {
        if fix {
            let permissions = std::fs::Permissions::from_mode(0o600);
            return match std::fs::set_permissions(path, permissions) {
                Ok(()) => Self::new(check, State::Fixed, format!("{fact}; it has mode 600 now")),
                Err(problem) => Self::new(check, State::Warn, format!("{fact}, and that cannot be changed: {problem}")),
            };
        }
        Self::new(check, State::Warn, fact).hint(format!("chmod 600 {}", quoted_path(path)))
    }
}

fn passphrase_file(console: &Console, path: &Path, fix: bool) -> Option<Check> {
    let file = console.open(path, Access::Read).ok()?;
    let name = path.display();
    Some(if passphrase::is_readable_by_others(file.file()) {
        Check::of_mode("passphrase", path, format!("{name} is readable by other users"), fix)
    } else {
        Check::new("passphrase", State::Ok, format!("{name} is readable by its owner only"))
    })
}

/// The two files of the keyring, before an opening mends one of them.
fn keyring_files(console: &Console, dir: &Path, fix: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut contents = Vec::new();
    for name in ["keyring", "keyring.copy"] {
        let path = dir.join(name);
        let bytes = console.open(&path, Access::Read).and_then(|mut file| {
            if passphrase::is_readable_by_others(file.file()) {
                let fact = format!("{name} is readable by other users, who can then try passphrases on it");
                checks.push(Check::of_mode("keyring", &path, fact, fix));
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        let read = bytes.map_err(|problem| problem.to_string());
        let parsed = read.and_then(|bytes| KeyringFile::from_bytes(bytes).map_err(|problem| problem.to_string()));
        match parsed {
            Ok(file) => contents.push(file),
            // Opening makes it anew from the other one.
            Err(problem) => {
                let problem = problem.replace("the keyring that was given", "it");
                checks.push(Check::new("keyring", State::Warn, format!("{}: {problem}", path.display())));
            }
        }
    }
    match &contents[..] {
        [] => checks.push(
            Check::new("keyring", State::Fail, "neither of its two files is whole: nothing can be read")
                .hint(way_back::keyring(dir)),
        ),
        [keyring, copy] if keyring == copy && checks.is_empty() => {
            checks.push(
                Check::new("keyring", State::Ok, "there twice, and readable by its owner only")
                    .hint("keep a third one where this disk is not: thingdb keyring export -o FILE"),
            );
        }
        [keyring, copy] if keyring != copy => {
            checks.push(Check::new(
                "keyring",
                State::Warn,
                "its two files differ: the newer one opens, the other is mended",
            ));
        }
        _ => {}
    }
    checks
}

/// What was put out of the way when something was mended or made anew.
fn set_aside(dir: &Path) -> Option<Check> {
    let names = std::fs::read_dir(dir).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.contains(".aside-")).collect();
    if names.is_empty() {
        return None;
    }
    names.sort();
    let fact = format!("kept from before something was mended: {}", names.join(", "));
    let paths = names.iter().map(|name| quoted_path(&dir.join(name))).collect::<Vec<_>>().join(" ");
    Some(
        Check::new("aside", State::Warn, fact)
            .hint(format!("thingdb verify; if all entries are there, nothing needs them: rm -r {paths}")),
    )
}

/// What a process that was killed left half written.
fn left_over(db: &Db, fix: bool) -> Outcome<Check> {
    let names = if fix { db.remove_unfinished()? } else { db.unfinished()? };
    let fact = |state: &str| {
        format!(
            "{} half written when a process was killed{state}: {}",
            counted(names.len() as u64, "file was", "files were"),
            names.join(", ")
        )
    };
    Ok(match (names.is_empty(), fix) {
        (true, _) => Check::new("left over", State::Ok, "nothing is half written"),
        (false, true) => Check::new("left over", State::Fixed, fact(", and removed now")),
        (false, false) => Check::new("left over", State::Warn, fact("")).hint("thingdb doctor --fix"),
    })
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

/// What the journal has; nothing if there is none that reads, which the opening
/// makes good or tells.
fn journal(dir: &Path) -> Option<JournalState> {
    thingdb::journal_state(dir).ok()
}

/// The journal as it was before the database was opened, and as it is now.
fn journal_check(dir: &Path, before: Option<JournalState>, is_in_server: bool) -> Option<Check> {
    // It is read again only if that can tell something else.
    let (now, before) = match before {
        Some(whole) if whole.damage.is_empty() => (whole, None),
        before => match thingdb::journal_state(dir) {
            Ok(now) => (now, before),
            // Nobody knows whether it is damaged.
            Err(problem) => {
                let causes = std::iter::successors(std::error::Error::source(&problem), |cause| cause.source());
                let causes: String = causes.map(|cause| format!(": {cause}")).collect();
                return Some(
                    Check::new("journal", State::Fail, format!("{problem}{causes}")).hint("thingdb doctor, again"),
                );
            }
        },
    };
    let words = |state: &JournalState| state.damage.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
    if !now.damage.is_empty() {
        let check = Check::new("journal", State::Fail, format!("it is damaged: {}", words(&now)));
        let hint = "thingdb doctor --fix, which takes what is lost from the store, as long as that has it";
        return Some(if is_in_server { check.hint("end the server").hint(hint) } else { check.hint(hint) });
    }
    let whole = format!("{}, each of which reads", counted(now.commits, "commit", "commits"));
    Some(match before {
        Some(before) => Check::new("journal", State::Fixed, format!("{}; it is written anew: {whole}", words(&before))),
        None => Check::new("journal", State::Ok, whole),
    })
}

/// Whether something in the store did not read since it was opened.
fn store(db: &Db) -> Option<Check> {
    let fact = "something in it did not read: the next opening builds it anew from the journal";
    db.store_is_damaged().then(|| {
        let check = Check::new("store", State::Fail, fact);
        check.hint("end the process that has the database open; then thingdb doctor")
    })
}

/// When the database was saved last.
fn backups(dir: &Path) -> Outcome<Check> {
    let places = thingdb::last_backups(dir)?;
    let Some(last) = places.first() else {
        let check = Check::new("backup", State::Warn, "none was made: a disk that fails takes everything");
        return Ok(match thingdb::has_dropped_commits(dir)? {
            true => check.hint("thingdb journal keep, then thingdb backup DEST, on another disk"),
            false => check.hint("thingdb backup DEST, on another disk"),
        });
    };
    let (ago, place) = (when::ago(last.time, when::now()), last.place.display());
    let is_old = age_s(last.time) > MAX_BACKUP_AGE_S;
    let check = Check::new("backup", if is_old { State::Warn } else { State::Ok }, format!("{ago}, to {place}"));
    Ok(if is_old { check.hint(format!("thingdb backup {}", quoted_path(&last.place))) } else { check })
}

/// How long ago a time is, in seconds.
fn age_s(time: Time) -> i64 {
    when::now().as_second() - i64::try_from(time.micros() / 1_000_000).unwrap_or(i64::MAX)
}

/// What can be known once the database is open.
fn contents(db: &Db, fix: bool) -> Outcome<Vec<Check>> {
    let stats = db.stats()?;
    let counts = format!(
        "store version {}, {}, {}",
        stats.store_version,
        counted(stats.entries, "entry", "entries"),
        counted(stats.things, "thing", "things")
    );
    let mut checks = vec![Check::new("open", State::Ok, counts), kept(db, stats.journal)?];
    for warning in db.warnings() {
        checks.push(noticed(db, &warning, fix)?);
    }
    checks.extend(gaps(db)?);
    checks.extend(lost_end(db)?);
    checks.push(signer(db));
    checks.extend(contradictions(db)?);
    checks.extend(exchanges(db)?);
    checks.push(waiting(db)?);
    checks.push(recovery(db));
    checks.push(clock(db)?);
    Ok(checks)
}

/// Whether the journal is a second copy.
fn kept(db: &Db, keep: Keep) -> Outcome<Check> {
    let check = Check::new("copies", State::Ok, format!("journal: {}", Kept::of(keep).in_words()));
    let places = thingdb::last_backups(db.dir())?;
    if let Some(old) = places.last().filter(|last| keep == Keep::Recent && age_s(last.time) > MAX_WAIT_FOR_BACKUP_S) {
        let (place, ago) = (quoted_path(&old.place), when::ago(old.time, when::now()));
        let fact =
            format!("files of the journal are kept for the backup in {place}, which was last gone on with {ago}");
        return Ok(Check::new("copies", State::Warn, fact)
            .hint(format!("thingdb backup {place}; or thingdb backup forget {place}, if that will never be")));
    }
    let is_alone = keep == Keep::Recent && places.is_empty();
    let hint = match thingdb::has_dropped_commits(db.dir())? {
        true => "thingdb journal keep, then thingdb backup DEST: commits were dropped that a first backup needs",
        false => "thingdb backup DEST, before commits are dropped; or thingdb journal keep",
    };
    Ok(if is_alone { check.hint(hint) } else { check })
}

/// What was noticed when the database was opened.
fn noticed(db: &Db, warning: &Warning, fix: bool) -> Outcome<Check> {
    let fact = warning.to_string();
    Ok(match warning {
        // It is mended, or says what to do.
        Warning::Keyring(_) => Check::new("keyring", State::Warn, fact),
        Warning::Repaired(_) => Check::new("repaired", State::Fixed, fact),
        Warning::ReadOnly(_) => Check::new("medium", State::Warn, fact)
            .hint("mount it so that it can be written, then thingdb doctor --fix"),
        Warning::KeyringMode(_) => Check::new("keyring", State::Warn, fact).hint("thingdb doctor --fix"),
        Warning::DirectoryMode(_) if fix => {
            let mode = std::fs::metadata(db.dir()).map(|found| found.permissions().mode() & 0o755);
            let done = mode.and_then(|mode| std::fs::set_permissions(db.dir(), std::fs::Permissions::from_mode(mode)));
            match done {
                Ok(()) => Check::new("directory", State::Fixed, format!("{fact}; they cannot any more")),
                Err(problem) => Check::new("directory", State::Warn, format!("{fact}; {problem}")),
            }
        }
        Warning::DirectoryMode(_) => Check::new("directory", State::Warn, fact).hint("thingdb doctor --fix"),
        Warning::Checkpoint(_) if fix && db.is_writable() => {
            let note = db.checkpoint()?;
            let size = counted(note.claimed().size, "entry", "entries");
            Check::new("checkpoint", State::Fixed, format!("{fact}; one of {size} is signed now"))
                .hint("thingdb verify --checkpoint NOTE, with one that was kept elsewhere, shows whether some are gone")
        }
        Warning::Checkpoint(_) => Check::new("checkpoint", State::Warn, fact)
            .hint("thingdb verify --checkpoint NOTE, with one that was kept elsewhere; then thingdb doctor --fix"),
        Warning::Standing(_) | Warning::Damaged(_) => {
            let check = Check::new("ledger", State::Fail, fact);
            let check = check.hint(way_back::salvage(db.dir())).hint(way_back::OTHER_SOURCES);
            match warning {
                Warning::Standing(Standing::Truncated { .. }) => check.hint(context::OF_A_COPY),
                _ => check,
            }
        }
        _ => Check::new("ledger", State::Warn, fact).hint("thingdb verify"),
    })
}

/// Entries of the end of the ledger that a salvage did not find.
fn lost_end(db: &Db) -> Outcome<Option<Check>> {
    let Some(lost) = db.lost_end()? else { return Ok(None) };
    let total = lost.end - lost.start;
    let many = if total == 1 { "1 entry is lost".to_owned() } else { format!("{} entries are lost", grouped(total)) };
    let fact = format!("{many} of the end of the ledger, which had {} when it was salvaged", grouped(lost.end));
    let check =
        Check::new("ledger", State::Warn, fact).hint("thingdb new-node-key --yes, which accepts that they are lost");
    Ok(Some(check.hint("thingdb pull PEER, from peers that have them, before that")))
}

/// Entries of which nothing is there.
fn gaps(db: &Db) -> Outcome<Option<Check>> {
    let (gaps, accepted) = db.missing_positions()?;
    let total: u64 = gaps.iter().map(|gap| gap.end - gap.start).sum();
    if total == 0 {
        return Ok(None);
    }
    let named = gaps.iter().take(MAX_GAPS).map(|gap| match gap.end - gap.start {
        1 => format!("position {}", gap.start),
        _ => format!("positions {} to {}", gap.start, gap.end - 1),
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = if gaps.len() > MAX_GAPS { " and more" } else { "" };
    let lost = if total == 1 { "1 entry is lost".to_owned() } else { format!("{} entries are lost", grouped(total)) };
    let fact = format!("{lost}: {named}{more}");
    if gaps.iter().all(|gap| gap.end <= accepted) {
        return Ok(Some(Check::new("ledger", State::Warn, format!("{fact}; the node has a new key since"))));
    }
    let salvage = format!("{}, which reads stores that were moved aside, too", way_back::salvage(db.dir()));
    Ok(Some(Check::new("ledger", State::Fail, fact).hint(salvage).hint(way_back::OTHER_SOURCES)))
}

/// Who signs if nobody is named.
fn signer(db: &Db) -> Check {
    let own = db.own_actors();
    let is_trusted = |key: &thingdb::Actor| db.name_of(key).is_some();
    let Some(default) = own.iter().find(|actor| actor.default) else {
        return Check::new("actor", State::Warn, "no actor can sign").hint("thingdb actor new NAME");
    };
    if is_trusted(&default.key) {
        return Check::new("actor", State::Ok, format!("{} signs by default", default.name));
    }
    let fact = format!("trust in {} was withdrawn, and it signs by default: nothing can be put", default.name);
    let check = Check::new("actor", State::Warn, fact);
    match own.iter().find(|actor| is_trusted(&actor.key)) {
        Some(other) => check.hint(format!("thingdb actor default {}", quoted(&other.name))),
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
                    .hint(format!("thingdb verify-evidence {}", quoted_path(&conflict.file))),
            );
        }
        if let Some(conflict) = db.heads_conflict(&peer.card.node_key)? {
            let file = conflict.file.display().to_string();
            let fact = format!("two heads notes of one size: {}, see {file}", printable(&peer.name));
            checks.push(
                Check::new("peers", State::Warn, fact)
                    .hint(format!("thingdb verify-evidence {}", quoted_path(&conflict.file))),
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
        checks.push(if is_failing { check.hint(format!("thingdb sync {}", quoted(&peer.name))) } else { check });
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
