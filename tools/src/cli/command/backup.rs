//! `thingdb backup`, `thingdb backup verify` and `thingdb restore`.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use thingdb::{Backup, BackupOptions, Db, Report, Restore, Standing, Verdict, VerifyOptions};

use crate::cli::context::{self, Context};
use crate::cli::input::folder;
use crate::cli::way_back;
use crate::error::{Exit, Failure, Outcome};
use crate::server::certificate;
use crate::text::{counted, grouped, printable, quoted_path};
use crate::view::counts::last_checkpoint;
use crate::view::when::{self, When};

/// How often a watch looks whether there is something new.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a watch waits after a backup that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Arguments of `thingdb backup`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  thingdb backup /mnt/backup/things              copy what is new
  thingdb backup /mnt/backup/things --watch      go on until Ctrl-C
  thingdb backup /mnt/backup/things --check      read all of it, mend what is damaged
  thingdb backup verify /mnt/backup/things       read all of it, and compare
  thingdb backup forget /mnt/old/things          it will never be gone on with
  thingdb restore /mnt/backup/things ./things    a database from it

It works beside a server or another command, and needs no passphrase. The backup
is sealed as the database is, and opens with the same passphrase: what is to be
remembered is that. It can be read where it lies:
  thingdb --db /mnt/backup/things --read-only log part-42"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The directory of the backup: new, empty, or a backup of this database
    #[arg(required = true)]
    dest: Option<PathBuf>,
    /// Go on: copy what is new until somebody ends it
    #[arg(long)]
    watch: bool,
    /// Read all of the backup, and copy anew what is damaged in it
    #[arg(long)]
    check: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Open a backup, recompute every hash, link and signature, and compare it with
    /// its checkpoint, and with the database if --db names one
    Verify {
        /// The directory of the backup
        dest: PathBuf,
    },
    /// Keep nothing for a backup that will never be gone on with: with journal recent,
    /// files are kept until it has them
    Forget {
        /// The directory of the backup, which need not be there any more
        dest: PathBuf,
    },
}

impl Args {
    /// Whether it goes on until somebody wants it to end.
    pub(crate) const fn watches(&self) -> bool {
        self.watch
    }
}

/// Arguments of `thingdb restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb restore /mnt/backup/things ./things
  thingdb restore /mnt/backup/things ./before --at 1000
  thingdb restore /mnt/backup/things ./before --at 2026-11-30T10:00:00Z

With --at the node goes on under a new key, because the old one has signed for more.
Otherwise it goes on under the node key that it had: if somebody has seen entries
of this node that the backup has not, writing would contradict them; take a new
node key first then, with thingdb new-node-key. A peer that has seen more says so at
the first thingdb sync.")]
pub(crate) struct RestoreArgs {
    /// The directory of the backup
    src: PathBuf,
    /// The directory of the database to make; new or empty
    dir: PathBuf,
    /// As it was before: the first entries of the ledger, so many of them, or up to
    /// the first that is later than a time
    #[arg(long, value_name = "ENTRIES|TIME")]
    at: Option<String>,
}

#[derive(Serialize)]
struct BackupJson<'a> {
    backup: String,
    commits: u64,
    copied_bytes: u64,
    time: String,
    missing: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mended: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    former: Option<String>,
}

#[derive(Serialize)]
struct ForgottenJson {
    backup: String,
    forgotten: bool,
}

#[derive(Serialize)]
struct VerifiedJson {
    ok: bool,
    backup: String,
    entries: u64,
    root: String,
    checkpoint: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct RestoredJson {
    db: String,
    commits: u64,
    entries: u64,
    things: u64,
    erased_since: u64,
    missing: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_key: Option<String>,
}

/// Copies what is new, or verifies.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    match (&args.command, &args.dest) {
        (Some(Command::Verify { dest }), _) => verify(context, dest),
        (Some(Command::Forget { dest }), _) => forget(context, dest),
        (None, Some(dest)) => {
            let options = BackupOptions::new().write_nothing(context.is_read_only());
            refuse_place(dest)?;
            let dir = context.dir()?;
            let made = options.check(args.check).make(dir, dest).map_err(|problem| not_made(problem, dir))?;
            say(context, dest, &made)?;
            check(&made)?;
            if args.watch { watch(context, dest, options) } else { Ok(()) }
        }
        (None, None) => Err(Failure::usage("where to? thingdb backup DEST")),
    }
}

/// Refuses a place where no directory can be made.
fn refuse_place(dest: &Path) -> Outcome {
    if dest.exists() {
        return folder::refuse_file(dest, dest);
    }
    let around = dest.parent().filter(|around| !around.as_os_str().is_empty());
    let Some(around) = around else { return Ok(()) };
    folder::must_be(around).map_err(|failure| match around.exists() {
        true => failure,
        false => failure.hint(format!("mkdir -p {}", quoted_path(around))),
    })
}

/// Why no backup was made.
fn not_made(problem: thingdb::Error, dir: &Path) -> Failure {
    if !problem.is_of_dropped_commits() {
        return way_back::of_opening(problem, dir);
    }
    Failure::from(problem)
        .without_hints()
        .hint("thingdb journal keep, which writes the journal anew from the store; then the same thingdb backup")
}

fn forget(context: &Context, dest: &Path) -> Outcome {
    let forgotten = thingdb::forget_backup(context.dir()?, dest)?;
    let backup = dest.display().to_string();
    if context.output.is_json() {
        return context.output.object(&ForgottenJson { backup, forgotten });
    }
    let backup = printable(&backup);
    context.output.line(&if forgotten {
        format!("nothing is kept for the backup in {backup} any more")
    } else {
        format!("no backup in {backup} is known")
    })
}

fn say(context: &Context, dest: &Path, made: &Backup) -> Outcome {
    if context.output.is_json() {
        return context.output.object(&BackupJson {
            backup: dest.display().to_string(),
            commits: made.commits,
            copied_bytes: made.copied_bytes,
            time: made.time.to_string(),
            missing: &made.missing,
            mended: made.mended.iter().map(|path| path.display().to_string()).collect(),
            former: made.former.as_ref().map(|path| path.display().to_string()),
        });
    }
    let commits = counted(made.commits, "commit", "commits");
    context.output.line(&format!(
        "{}: {commits}, {} bytes copied",
        printable(&dest.display().to_string()),
        grouped(made.copied_bytes)
    ))?;
    for path in &made.mended {
        context.console.note(&format!("{} was damaged, and is copied anew", printable(&path.display().to_string())));
    }
    if let Some(former) = &made.former {
        context.console.note(&format!(
            "the journal of the database was lost, or its end, and was written anew: a new copy was begun, and the one \
             before is {}; thingdb backup verify DEST, then it can be removed",
            printable(&former.display().to_string())
        ));
    }
    Ok(())
}

/// A backup that lacks something is made, and is not whole.
fn check(made: &Backup) -> Outcome {
    if made.missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Exit::Partly, "damaged", "the database is damaged, and the backup has not all of it")
        .causes(made.missing.clone())
        .hint("thingdb doctor --fix, which takes from the store what the journal has lost; then make the backup again"))
}

/// Copies what is new until somebody ends it.
fn watch(context: &Context, dest: &Path, options: BackupOptions) -> Outcome {
    let _patience = context.console.patience();
    let dir = context.dir()?;
    let mut seen = state(dir);
    let mut is_failing = false;
    while !context.console.is_interrupted() {
        thread::sleep(LOOK_EVERY);
        let now = state(dir);
        if now == seen && !is_failing {
            continue;
        }
        match options.make(dir, dest) {
            Ok(made) => {
                if std::mem::take(&mut is_failing) || made.copied_bytes > 0 {
                    say(context, dest, &made)?;
                }
                check(&made)?;
                seen = now;
            }
            // A medium that was taken out, a disk that is full: it may come back.
            Err(problem) if !problem.is_damaged() => {
                if !std::mem::replace(&mut is_failing, true) {
                    let text = format!("the backup to {} waits: {problem}", dest.display());
                    context.console.warning("backup", text).say();
                }
                let waits = AFTER_FAILURE.as_millis() / LOOK_EVERY.as_millis();
                (0..waits).take_while(|_| !context.console.is_interrupted()).for_each(|_| thread::sleep(LOOK_EVERY));
            }
            Err(problem) => return Err(problem.into()),
        }
    }
    Ok(())
}

/// What changes when something is committed: the newest file of the journal, and
/// when it, the keyring and the checkpoint were written last.
fn state(dir: &Path) -> Vec<Option<(PathBuf, std::time::SystemTime)>> {
    let newest = std::fs::read_dir(dir.join("journal")).ok().and_then(|entries| {
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_none()).max()
    });
    let watched = [newest, Some(dir.join("keyring")), Some(dir.join("checkpoint"))];
    let written = |path: PathBuf| std::fs::metadata(&path).and_then(|found| found.modified()).ok().map(|at| (path, at));
    watched.into_iter().map(|path| path.and_then(written)).collect()
}

/// Opens a backup, reads all of it, and compares.
fn verify(context: &Context, dest: &Path) -> Outcome {
    if !thingdb::is_backup(dest)? {
        return Err(thingdb::Error::NoBackup { dir: dest.to_owned() }.into());
    }
    let backup = context.open_to_read(dest).map_err(|failure| mendable(failure, dest))?;
    let mut problems: Vec<String> =
        backup.warnings().iter().filter(|one| is_problem(one)).map(ToString::to_string).collect();
    let report = checked(context, &backup)?;
    // A warning may have told it.
    let is_news = |problem: &&thingdb::Problem| !problems.contains(&problem.detail);
    let news: Vec<_> = report.problems.iter().filter(is_news).map(ToString::to_string).collect();
    problems.extend(news);
    let checkpoint = last_checkpoint(&backup)?.map(|note| note.claimed().size);
    let database = compared(context, &backup, &mut problems)?;
    let found = VerifiedJson {
        ok: problems.is_empty() && report.is_ok(),
        backup: dest.display().to_string(),
        entries: report.size,
        root: report.root.to_string(),
        checkpoint,
        database,
        problems,
    };
    if context.output.is_json() {
        context.output.object(&found)?;
    } else {
        print(context, &found)?;
    }
    if found.ok {
        return Ok(());
    }
    let fact = format!("the backup in {} is damaged", dest.display());
    Err(Failure::new(Exit::NotVerified, "not-verified", fact).hint(mended_from_database(dest)))
}

/// The command that mends a backup.
fn mended_from_database(dest: &Path) -> String {
    format!(
        "thingdb backup {} --check, which copies anew what is damaged, while there is the database",
        quoted_path(dest)
    )
}

/// A failure that names damage of a backup says how a backup is mended.
fn mendable(failure: Failure, backup: &Path) -> Failure {
    if failure.word() == "damaged" { failure.without_hints().hint(mended_from_database(backup)) } else { failure }
}

/// Recomputes every hash, link and signature.
fn checked(context: &Context, db: &Db) -> Outcome<Report> {
    let mut meter = context.meter("verifying");
    let mut progress = |progress: thingdb::Progress| meter.update(progress.done, progress.total, progress.bytes);
    let is_wanted = || !context.console.is_interrupted();
    let report = db.verify(VerifyOptions::new().progress(&mut progress).while_wanted(&is_wanted))?;
    meter.end(report.entries, 0);
    Ok(report)
}

const fn is_problem(warning: &thingdb::Warning) -> bool {
    // How it stands against its checkpoint, verification tells.
    use thingdb::Warning::{Checkpoint, Damaged, Keyring};
    matches!(warning, Checkpoint(_) | Damaged(_) | Keyring(_))
}

fn print(context: &Context, found: &VerifiedJson) -> Outcome {
    let mut text = context.output.text();
    text.line(&format!("{:<12} {}", "backup", printable(&found.backup)))?;
    text.line(&format!("{:<12} {}", "entries", grouped(found.entries)))?;
    text.line(&format!("{:<12} {}", "root", found.root))?;
    if let Some(size) = found.checkpoint {
        text.line(&format!("{:<12} counts {}", "checkpoint", counted(size, "entry", "entries")))?;
    }
    if let Some(database) = &found.database {
        text.line(&format!("{:<12} {}", "database", printable(database)))?;
    }
    for problem in &found.problems {
        text.line(&format!("{:<12} {}", "problem", printable(problem)))?;
    }
    text.end()
}

/// How the database stands against the backup, if one was named and is there.
fn compared(context: &Context, backup: &Db, problems: &mut Vec<String>) -> Outcome<Option<String>> {
    let Some(dir) = context.database() else { return Ok(None) };
    if !Db::exists(dir) {
        return Ok(None);
    }
    let db = context.open_to_read(dir)?;
    let standing = db.standing_of_backup(backup)?;
    let more = db.stats()?.entries.saturating_sub(backup.stats()?.entries);
    Ok(Some(match standing {
        Standing::Consistent if more == 0 => "has the same".to_owned(),
        Standing::Consistent => format!("has the same, and {} since", counted(more, "entry", "entries")),
        other => {
            problems.push(format!("the database is not what the backup is of: {other}"));
            other.to_string()
        }
    }))
}

/// Makes a database from a backup, and reads it. It is one, and can be opened, when
/// all of that is done and told: what is broken off before can be repeated.
pub(crate) fn restore(context: &Context, args: &RestoreArgs) -> Outcome {
    let (src, dir) = (&args.src, &args.dir);
    let at = args.at.as_deref().map(|at| position(context, src, at)).transpose()?;
    let restore = Restore::begin(src, dir, at).map_err(|problem| not_restored(problem, src))?;
    let done = read_back(context, args, at, &restore);
    // What is not all is for other commands to look at, too.
    if done.as_ref().err().is_none_or(|failure| failure.exit() == Exit::Partly) {
        restore.end().inspect_err(|problem| {
            if matches!(problem, thingdb::Error::File { path, .. } if path == dir) {
                context.did(format!("the database in {} is made", dir.display()));
            }
        })?;
    }
    done
}

/// Opens what was restored, gives the node a new key if it needs one, and tells what
/// there is.
fn read_back(context: &Context, args: &RestoreArgs, at: Option<u64>, restore: &Restore) -> Outcome {
    let (src, dir, restored) = (&args.src, &args.dir, restore.restored());
    // Its store is built here, where that is expected.
    let db = context.open_restored(dir, restore).map_err(|failure| match failure.word() {
        "damaged" => {
            incomplete("the backup is damaged, and what it has does not open", src, dir).cause(failure.whole())
        }
        _ => failure,
    })?;
    context.did(format!("the database in {} is made", dir.display()));
    let stats = db.stats()?;
    let read_back = checked(context, &db)?;
    let warnings = db.warnings();
    let is_behind = warnings.iter().any(|warning| matches!(warning, thingdb::Warning::Standing(_)));
    // With --at it is shorter because that was asked for.
    let claimed = last_checkpoint(&db)?.map(|note| note.claimed().size).filter(|_| is_behind && at.is_some());
    let node_key = match claimed {
        Some(_) => {
            certificate::renew(&db)?;
            Some(db.new_node_key()?)
        }
        None => {
            if let Err(problem) = db.close() {
                context::warn_of_closing(&context.console, problem);
            }
            None
        }
    };
    let found = RestoredJson {
        db: dir.display().to_string(),
        commits: restored.commits,
        entries: stats.entries,
        things: stats.things,
        erased_since: restored.erased_since.len() as u64,
        missing: restored.missing.clone(),
        node_key: node_key.map(|key| key.to_string()),
    };
    if context.output.is_json() {
        context.output.object(&found)?;
    } else {
        let (entries, things) = (counted(found.entries, "entry", "entries"), counted(found.things, "thing", "things"));
        context.output.line(&format!("{}: {entries} of {things} read back", printable(&found.db)))?;
    }
    if let (Some(at), Some(beyond)) = (at, restored.beyond.filter(|_| at != Some(restored.entries))) {
        context.console.note(&format!(
            "entry {at} was committed at once with those from {} to {beyond}, which are taken all or not at all: the \
             ledger ends before them",
            restored.entries + 1
        ));
    }
    if found.erased_since > 0 {
        context.console.note(&format!(
            "the content of {} was erased since: the keyring of the backup has lost what opens it, and their record is \
             of later; it comes with the next exchange with a peer that has it",
            counted(found.erased_since, "entry", "entries")
        ));
    }
    let quoted = quoted_path(dir);
    context.console.note(&match (claimed, node_key) {
        (Some(claimed), Some(key)) => format!(
            "it ends with entry {}, and the node had signed for {claimed}: so it goes on under the new key {}; hand the \
             new card to peers: thingdb --db {quoted} card",
            found.entries,
            key.fingerprint()
        ),
        _ if is_behind => format!(
            "it is shorter than its last checkpoint, and only read until it goes on as another node: \
             thingdb --db {quoted} new-node-key --yes"
        ),
        _ => format!(
            "if a peer has seen entries of this node that are not here, go on as another node before writing: \
             thingdb --db {quoted} new-node-key --yes; thingdb sync PEER tells"
        ),
    });
    context.told();
    if is_behind && at.is_none() {
        let fact = "the backup is cut, or older than its checkpoint: not all of it could be restored";
        return Err(incomplete(fact, src, dir));
    }
    let told: Vec<String> =
        warnings.iter().filter(|one| matches!(one, thingdb::Warning::Checkpoint(_))).map(ToString::to_string).collect();
    for fact in &told {
        let fact = format!("in the backup, {fact}: whether it was cut, nobody can tell");
        context.console.warning("checkpoint", fact).say();
    }
    let is_erased_since = |problem: &thingdb::Problem| {
        let is_one = |position| restored.erased_since.binary_search(&position).is_ok();
        problem.verdict == Verdict::Lost && problem.position.is_some_and(is_one)
    };
    let is_damage = |problem: &thingdb::Problem| {
        let is_shorter = node_key.is_some() && problem.verdict == Verdict::Truncated;
        !(told.contains(&problem.detail) || is_shorter || is_erased_since(problem))
    };
    if !found.missing.is_empty() || read_back.problems.iter().any(is_damage) {
        let fact = "the backup is damaged: not all of it could be restored";
        return Err(incomplete(fact, src, dir).causes(found.missing));
    }
    Ok(())
}

/// Whether a restore to a former state fails because the journal was compacted since.
fn is_of_compaction(cause: &std::io::Error) -> bool {
    cause.kind() == std::io::ErrorKind::Unsupported && cause.raw_os_error().is_none()
}

/// Why nothing was restored.
fn not_restored(problem: thingdb::Error, src: &Path) -> Failure {
    match &problem {
        thingdb::Error::BeyondLedger { size, .. } => {
            let hint = format!("--at {size} is all that the backup has; so is leaving --at out");
            return Failure::from(problem).without_hints().hint(hint);
        }
        thingdb::Error::BackupUnfinished { .. } => {
            let hint = format!("thingdb --db DATABASE backup {}, which goes on with it", quoted_path(src));
            return Failure::from(problem).hint(hint);
        }
        thingdb::Error::NotEmpty { dir } => {
            let what = if Db::exists(dir) { "is a database already" } else { "is not empty" };
            let fact = format!("{} {what}", dir.display());
            return Failure::from(problem).about(fact);
        }
        // The system refuses nothing here.
        _ if problem.system_cause().is_some_and(is_of_compaction) => {
            let cause = problem.system_cause().map(ToString::to_string).unwrap_or_default();
            let fact = "the backup does not have the database as it was then any more";
            return Failure::new(Exit::Usage, "compacted", fact)
                .cause(cause)
                .hint(format!("thingdb restore {} DIR, without --at, takes all that it has", quoted_path(src)))
                .hint("an older backup, from before that, has it");
        }
        _ => {}
    }
    // That of a backup is no database that somebody opens.
    let is_of_backup = problem.is_damaged();
    let failure = Failure::from(problem);
    if !is_of_backup {
        return failure;
    }
    failure
        .without_hints()
        .hint(format!("if the database is still there: thingdb --db DATABASE backup {} --check", quoted_path(src)))
        .hint("if another backup of it is: thingdb restore ANOTHER DIR")
}

/// What was restored is not all: the rest may be elsewhere.
fn incomplete(fact: &str, src: &Path, dir: &Path) -> Failure {
    Failure::new(Exit::Partly, "damaged", fact)
        .hint(format!("thingdb --db {} verify, which names what is missing", quoted_path(dir)))
        .hint(format!(
            "if the database is still there: thingdb --db DATABASE backup {} --check, then restore to another directory",
            quoted_path(src)
        ))
        .hint(format!("else {}; {}", way_back::salvage(dir), way_back::OTHER_SOURCES))
}

/// How many entries of the ledger are wanted.
fn position(context: &Context, src: &Path, at: &str) -> Outcome<u64> {
    if let Ok(entries) = at.parse() {
        return Ok(entries);
    }
    let time = When::parse(at, when::now()).map_err(Failure::usage)?.last;
    Ok(context.open_to_read(src)?.entries_until(time)?)
}
