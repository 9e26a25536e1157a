//! What a command runs with: the database that was named, the way in, the way
//! out.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use thingdb::{Db, Options, Passphrase, Restore, Standing, Unlock, Warning};

use super::global::Global;
use super::remote::RemoteArgs;
use super::waiting::Waiting;
use super::way_back;
use crate::console::output::{Format, Output};
use crate::console::passphrase::{self, ATTEMPTS, Secret, Sources};
use crate::console::progress::{Meter, Progress};
use crate::console::question::Question;
use crate::console::{Console, Form, environment};
use crate::error::{Exit, Failure, Outcome};
use crate::local::Client;
use crate::reader::database::Database;
use crate::reader::source::Source;
use crate::text::quoted_path;

/// What [`Context::did`] notes of a command that changes a setting.
pub(crate) const CHANGED: &str = "what was asked for is done; only its report is missing";

/// What it says behind the fact where all of the work was done before.
pub(crate) const REPORT: &str = "only its report is missing";

/// What has opened the database, to open it again; nothing in a server, which holds it.
pub(crate) struct WayIn(Option<Secret>);

/// The options of every command, resolved.
#[derive(Debug)]
pub(crate) struct Context {
    global: Global,
    progress: Progress,
    /// The database of the server that the command runs in.
    held: Option<Arc<Db>>,
    /// A server that takes the database before it is opened here runs the command.
    hands_over: bool,
    /// The server that did.
    server: Mutex<Option<Client>>,
    /// The database was opened where nothing can be written.
    is_medium_read_only: AtomicBool,
    /// What cannot be undone any more.
    done: Mutex<Vec<String>>,
    /// What the command has around it.
    pub(crate) console: Console,
    /// Nothing may be asked.
    pub(crate) no_input: bool,
    /// Data goes there.
    pub(crate) output: Output,
    /// Passphrases come from there.
    pub(crate) sources: Sources,
}

impl Context {
    /// Resolves the global options, environment included. In a server, the
    /// database is the one that it holds.
    pub(crate) fn new(mut global: Global, console: &Console, held: Option<Arc<Db>>) -> Outcome<Self> {
        let console = console.clone().quiet(global.quiet);
        let chosen = match global.chosen() {
            Some(format) => Some(format),
            None => format_of_environment(&console)?,
        };
        Ok(Self {
            progress: global.progress,
            no_input: global.no_input,
            output: Output::new(chosen, global.wide, &console),
            sources: Sources::new(std::mem::take(&mut global.passphrase), global.no_input, &console)?,
            global,
            held,
            hands_over: false,
            server: Mutex::default(),
            is_medium_read_only: AtomicBool::new(false),
            done: Mutex::default(),
            console,
        })
    }

    /// Has a server that takes the database before it is opened here run the
    /// command, if it can.
    pub(crate) const fn handing_over(mut self, hands_over: bool) -> Self {
        self.hands_over = hands_over;
        self
    }

    /// The server that is to run the command instead, if there is one.
    pub(crate) fn server(&self) -> Option<Client> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether a server is to run the command instead.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The directory of the database.
    pub(crate) fn dir(&self) -> Outcome<&Path> {
        let dir = self.global.db.as_deref().filter(|dir| !dir.as_os_str().is_empty()).ok_or_else(|| {
            let failure = Failure::usage("which database? neither --db nor THINGDB_DIR names one");
            // Those that do have asked it by now.
            let has_url = self.console.variable("THINGDB_URL").is_some();
            let failure = if has_url {
                failure
                    .cause("THINGDB_URL names a server, and this command does not read one")
                    .cause(format!("these do: {}", super::remote::COMMANDS))
            } else {
                failure
            };
            failure.hint("thingdb --db DIR …, or once: export THINGDB_DIR=DIR")
        })?;
        if self.is_in_server() { Ok(dir) } else { reachable(dir).map(|()| dir) }
    }

    /// Notes what cannot be undone any more. If something goes wrong after it,
    /// such as a full disk under the report, the error says that it is done.
    pub(crate) fn did(&self, fact: impl Into<String>) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let fact = fact.into();
        if !done.contains(&fact) {
            done.push(fact);
        }
    }

    /// What was done is reported: what goes wrong from here on is another matter.
    pub(crate) fn told(&self) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The failure with what was done before it and is not reported yet.
    pub(crate) fn after(&self, failure: Failure) -> Failure {
        let failure = match self.read_only_medium() {
            Some(medium) if failure.word() == "read-only" => medium,
            _ => failure,
        };
        let done = std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner));
        // To run it again would do it again.
        if done.is_empty() { failure } else { failure.without_hints().causes(done) }
    }

    /// The directory of the database, if an argument named it: a command that is
    /// proposed has to name it again.
    pub(crate) fn named_dir(&self) -> Option<&Path> {
        self.global.db.as_deref().filter(|_| self.global.is_db_named)
    }

    /// What is to be said to who wants to write, if the database that was opened lies
    /// where nothing can be written.
    pub(crate) fn read_only_medium(&self) -> Option<Failure> {
        let is_there = self.is_medium_read_only.load(Ordering::Relaxed);
        is_there.then(|| Failure::read_only_medium(self.global.db.as_deref().unwrap_or_else(|| Path::new(""))))
    }

    /// Whether nothing may be written in the directory of the database.
    pub(crate) const fn is_read_only(&self) -> bool {
        self.global.read_only
    }

    /// Whether the command runs in the server that holds the database.
    pub(crate) const fn is_in_server(&self) -> bool {
        self.held.is_some()
    }

    /// What is to be read: the database, or a server.
    pub(crate) fn source(&self, remote: &RemoteArgs) -> Outcome<Source> {
        Ok(self.source_for_now(remote)?.0)
    }

    /// The same, with the way in for [`Context::open_again`].
    pub(crate) fn source_for_now(&self, remote: &RemoteArgs) -> Outcome<(Source, WayIn)> {
        let Some(url) = remote.chosen(&self.global)? else {
            let (db, way) = self.open_for_now()?;
            return Ok((Source::Here(db), way));
        };
        if self.is_in_server() {
            return Err(Failure::usage("a server asks no other one for a command"));
        }
        Ok((Source::There(Box::new(remote.server(url, &self.console)?)), WayIn(None)))
    }

    /// Opens the database.
    pub(crate) fn open(&self) -> Outcome<Database> {
        self.open_with(&Options::new())
    }

    /// Opens the database with options.
    pub(crate) fn open_with(&self, options: &Options) -> Outcome<Database> {
        Ok(self.open_by(options, None)?.0)
    }

    /// Opens the database, and gives the way in for [`Context::open_again`]: for a command
    /// that lets others have it while it waits for something else.
    pub(crate) fn open_for_now(&self) -> Outcome<(Database, WayIn)> {
        self.open_by(&Options::new(), None)
    }

    /// Opens the database once more, without asking for anything.
    pub(crate) fn open_again(&self, way: WayIn) -> Outcome<(Database, WayIn)> {
        self.open_by(&Options::new(), way.0)
    }

    fn open_by(&self, options: &Options, secret: Option<Secret>) -> Outcome<(Database, WayIn)> {
        let mut way = WayIn(None);
        let db = match &self.held {
            Some(db) => Database::Shared(Arc::clone(db)),
            None => {
                let dir = self.dir()?;
                require_database(dir)?;
                let options = options.clone().read_only(self.global.read_only);
                let opened = match secret {
                    Some(secret) => self.unlock_by(dir, &options, secret),
                    None => self.unlock_anew(dir, &options),
                };
                let (opened, secret) = opened.map_err(|failure| match self.global.read_only {
                    true if failure.word() == "damaged" => failure.hint(
                        "without --read-only it is opened from its store, and what of the journal is missing is made anew",
                    ),
                    _ => locate(failure, dir),
                })?;
                way = WayIn(Some(secret));
                Database::Own(Box::new(opened))
            }
        };
        for warning in db.warnings() {
            if matches!(warning, Warning::ReadOnly(_)) {
                self.is_medium_read_only.store(true, Ordering::Relaxed);
            }
            // What was put right when the server started was told then.
            if !self.is_in_server() || !matches!(warning, Warning::Repaired(_) | Warning::KdfUpgrade(_)) {
                say(&self.console, &warning);
            }
        }
        Ok((db, way))
    }

    /// The directory of the database, if it is named.
    pub(crate) fn database(&self) -> Option<&Path> {
        self.global.db.as_deref().filter(|dir| !dir.as_os_str().is_empty())
    }

    /// Opens a database or backup to read only, beside whoever has it open.
    pub(crate) fn open_to_read(&self, dir: &Path) -> Outcome<Db> {
        self.open_there(dir, true)
    }

    /// Opens another database than the one that was named.
    pub(crate) fn open_there(&self, dir: &Path, read_only: bool) -> Outcome<Db> {
        reachable(dir)?;
        require_database(dir)?;
        let options = Options::new().read_only(read_only);
        self.unlock(dir, &options).map_err(|failure| locate(failure, dir))
    }

    /// Opens what a restore has made in `dir`, and builds its store.
    pub(crate) fn open_restored(&self, dir: &Path, restore: &Restore) -> Outcome<Db> {
        self.unlock(dir, &Options::new().restoring(restore)).map_err(|failure| locate(failure, dir))
    }

    /// Closes the database after what was done in it is durable. What goes wrong
    /// then, such as the checkpoint that is signed last, takes nothing of that: it
    /// is a warning.
    pub(crate) fn close(&self, db: Database) {
        if let Err(problem) = db.close() {
            warn_of_closing(&self.console, problem);
        }
    }

    /// Has another passphrase read than the one that opens the database.
    pub(crate) fn ask(&self, question: &Question) -> Outcome<Passphrase> {
        self.sources.ask(question).map(passphrase::passphrase)
    }

    /// Starts to show the progress of an operation.
    pub(crate) fn meter(&self, operation: &'static str) -> Meter {
        Meter::new(self.progress, operation, &self.console)
    }

    /// Does something with what opens the keyring of the database in `dir`; who
    /// types it may try again.
    pub(crate) fn with_unlock<T>(
        &self,
        dir: &Path,
        mut act: impl FnMut(Unlock<'_>) -> thingdb::Result<T>,
    ) -> Outcome<T> {
        for attempt in 1_u32.. {
            let secret = self.sources.unlock(dir)?;
            let done = match &secret {
                Secret::Given(passphrase) | Secret::Typed(passphrase) => act(Unlock::Passphrase(passphrase)),
                Secret::RecoveryKey(key) => act(Unlock::RecoveryKey(key)),
            };
            match done {
                Err(problem)
                    if problem.is_wrong_passphrase() && matches!(secret, Secret::Typed(_)) && attempt < ATTEMPTS =>
                {
                    self.console.plain("wrong passphrase, try again");
                }
                done => return Ok(done?),
            }
        }
        unreachable!("the loop ends at the last attempt")
    }

    fn unlock(&self, dir: &Path, options: &Options) -> Outcome<Db> {
        Ok(self.unlock_anew(dir, options)?.0)
    }

    /// Unlocks it with what has unlocked it before.
    fn unlock_by(&self, dir: &Path, options: &Options, secret: Secret) -> Outcome<(Db, Secret)> {
        let opened = self.open_in_turn(dir, options, &secret)?;
        Ok((opened.map_err(|problem| way_back::of_opening(problem, dir))?, secret))
    }

    fn unlock_anew(&self, dir: &Path, options: &Options) -> Outcome<(Db, Secret)> {
        for attempt in 1_u32.. {
            let secret = self.sources.unlock(dir)?;
            match self.open_in_turn(dir, options, &secret)? {
                Err(problem)
                    if problem.is_wrong_passphrase() && matches!(secret, Secret::Typed(_)) && attempt < ATTEMPTS =>
                {
                    self.console.plain("wrong passphrase, try again");
                }
                opened => return Ok((opened.map_err(|problem| way_back::of_opening(problem, dir))?, secret)),
            }
        }
        unreachable!("the loop ends at the last attempt")
    }

    /// The options with which an opening shows how far it is that takes long.
    fn telling(&self, options: &Options) -> Options {
        let (progress, console) = (self.progress, self.console.clone());
        let meter = Mutex::new(None);
        options.clone().while_rebuilding(move |found| {
            let mut meter = meter.lock().unwrap_or_else(PoisonError::into_inner);
            let meter = meter.get_or_insert_with(|| Meter::new(progress, "rebuilding", &console));
            meter.update(found.done, found.total, found.bytes);
        })
    }

    /// Opens the database once nobody else has it.
    fn open_in_turn(&self, dir: &Path, options: &Options, secret: &Secret) -> Outcome<thingdb::Result<Db>> {
        let mut waiting = Waiting::new(dir, self.global.wait, &self.console);
        loop {
            let options = self.telling(options).lock_timeout_ms(waiting.try_ms());
            let opened = match secret {
                Secret::Given(passphrase) | Secret::Typed(passphrase) => options.open(dir, passphrase),
                Secret::RecoveryKey(key) => options.open_with_recovery_key(dir, key),
            };
            let problem = match opened {
                Err(problem) if problem.is_locked() => problem,
                opened => return Ok(opened),
            };
            match waiting.again(problem)? {
                None => {}
                Some(client) if self.hands_over && self.console.can_be_rewound() => {
                    *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
                    // The server has the last word.
                    return Err(Failure::silent());
                }
                Some(_) if self.hands_over => {
                    return Err(Failure::held_by_server(dir).hint("run the command again: it will run in the server"));
                }
                Some(_) => return Err(Failure::held_by_server(dir)),
            }
        }
    }
}

/// Refuses a path from a working directory that was deleted.
pub(crate) fn reachable(dir: &Path) -> Outcome {
    if environment::has_lost_directory(dir) {
        return Err(Failure::usage(format!("{}: {}", dir.display(), environment::LOST_DIRECTORY))
            .hint("cd to a directory that is there, or give the whole path"));
    }
    Ok(())
}

/// Refuses a directory that cannot hold a database before anybody types a
/// passphrase for it.
fn require_database(dir: &Path) -> Outcome {
    if dir.is_dir() { Ok(()) } else { Err(no_database(dir)) }
}

fn no_database(dir: &Path) -> Failure {
    Failure::new(Exit::NoDatabase, "no-database", format!("no database in {}", dir.display()))
        .hint(format!("thingdb init {}", quoted_path(dir)))
}

/// Says which database a failure is about.
fn locate(failure: Failure, dir: &Path) -> Failure {
    match failure.exit() {
        Exit::NoDatabase if failure.word() == "no-database" => no_database(dir),
        Exit::WrongPassphrase => {
            let what = if failure.fact().contains("recovery key") { "recovery key" } else { "passphrase" };
            failure.about(format!("wrong {what} for {}", dir.display()))
        }
        _ => failure,
    }
}

/// Says that a database was not closed as it should be.
pub(crate) fn warn_of_closing(console: &Console, problem: thingdb::Error) {
    let failure = Failure::from(problem);
    let mut warning =
        console.warning("close", format!("the database could not be closed as it should be: {}", failure.whole()));
    warning = warning.cause("what was asked for is done and durable; the node's own checkpoint does not count it yet");
    warning.hint("thingdb doctor").say();
}

/// What else than a loss can be behind a ledger that is shorter than its checkpoint.
pub(crate) const OF_A_COPY: &str =
    "a plain copy of a directory that was written to meanwhile looks the same: thingdb backup makes a whole one";

/// What to do about a ledger of which something is missing.
const BACK: &str = "thingdb doctor; nothing can be written until the entries are back";

fn say(console: &Console, warning: &Warning) {
    let word = match warning {
        Warning::Standing(Standing::Truncated { .. }) => "truncated",
        Warning::Standing(_) => "rolled-back",
        Warning::Checkpoint(_) => "checkpoint",
        Warning::Keyring(_) => "keyring",
        Warning::KeyringMode(_) => "keyring-mode",
        Warning::ReadOnly(_) => "read-only",
        Warning::DirectoryMode(_) => "directory-mode",
        _ => "open",
    };
    let fact = warning.to_string();
    // The word stands before it already.
    let said = console.warning(word, fact.strip_prefix(&format!("{word}: ")).unwrap_or(&fact));
    match warning {
        Warning::Standing(Standing::Truncated { .. }) => said.cause(OF_A_COPY).hint(BACK).say(),
        Warning::Standing(_) | Warning::Damaged(_) => said.hint(BACK).say(),
        Warning::DirectoryMode(_) => said.hint("chmod go-w DIR").say(),
        _ => said.say(),
    }
}

/// The console, talking JSON where a format that is JSON was asked for by name.
pub(crate) fn speaking(console: Console, chosen: Option<Format>) -> Console {
    // What the variable says that means nothing is told by the command.
    let chosen = chosen.or_else(|| format_of_environment(&console).ok().flatten());
    let is_json = matches!(chosen, Some(Format::Json | Format::Ndjson));
    console.speaking(if is_json { Form::Json } else { Form::Text })
}

/// The format that the environment asks for.
fn format_of_environment(console: &Console) -> Outcome<Option<Format>> {
    use clap::ValueEnum;
    match console.variable("THINGDB_FORMAT").map(std::ffi::OsString::into_string) {
        Some(Ok(text)) => Format::from_str(&text, true)
            .map(Some)
            .map_err(|_| Failure::usage(format!("THINGDB_FORMAT is {text:?}: table, json, ndjson or raw are known"))),
        _ => Ok(None),
    }
}
