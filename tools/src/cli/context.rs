//! What a command runs with: the database that was named, the way in, the way
//! out.

use std::path::Path;
use std::sync::Arc;

use thingdb::{Db, Options, Passphrase, Standing, Warning};

use super::args::Global;
use super::console::Console;
use super::database::Database;
use super::error::{Exit, Failure, Outcome};
use super::find;
use super::output::{Format, Output};
use super::passphrase::{self, Question, Secret, Sources};
use super::progress::{Meter, Progress};
use super::reader::Source;
use super::remote::RemoteArgs;

/// How often a wrong passphrase may be corrected on a terminal.
const ATTEMPTS: u32 = 3;

/// The options of every command, resolved.
#[derive(Debug)]
pub(crate) struct Context {
    global: Global,
    progress: Progress,
    /// The database of the server that the command runs in.
    held: Option<Arc<Db>>,
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
            console,
        })
    }

    /// The directory of the database.
    pub(crate) fn dir(&self) -> Outcome<&Path> {
        self.global.db.as_deref().filter(|dir| !dir.as_os_str().is_empty()).ok_or_else(|| {
            let failure = Failure::usage("which database? neither --db nor THINGDB_DIR names one");
            // Those that do have asked it by now.
            let has_url = self.console.variable("THINGDB_URL").is_some_and(|url| !url.is_empty());
            let failure = if has_url {
                failure
                    .cause("THINGDB_URL names a server, and this command does not read one")
                    .cause(format!("these do: {}", super::remote::COMMANDS))
            } else {
                failure
            };
            failure.hint("thingdb --db DIR …, or once: export THINGDB_DIR=DIR")
        })
    }

    /// Whether the command runs in the server that holds the database.
    pub(crate) const fn is_in_server(&self) -> bool {
        self.held.is_some()
    }

    /// What is to be read: the database, or a server.
    pub(crate) fn source(&self, remote: &RemoteArgs) -> Outcome<Source> {
        let Some(url) = remote.chosen(&self.global)? else { return self.open().map(Source::Here) };
        if self.is_in_server() {
            return Err(Failure::usage("a server asks no other one for a command"));
        }
        Ok(Source::There(Box::new(remote.server(url, &self.console)?)))
    }

    /// Opens the database.
    pub(crate) fn open(&self) -> Outcome<Database> {
        self.open_with(&Options::new())
    }

    /// Opens the database with options.
    pub(crate) fn open_with(&self, options: &Options) -> Outcome<Database> {
        let db = match &self.held {
            Some(db) => Database::Shared(Arc::clone(db)),
            None => {
                let dir = self.dir()?;
                require_database(dir)?;
                Database::Own(Box::new(self.unlock(dir, options).map_err(|failure| locate(failure, dir))?))
            }
        };
        for warning in db.warnings() {
            // What was put right when the server started was told then.
            if !self.is_in_server() || !matches!(warning, Warning::Repaired(_) | Warning::KdfUpgrade(_)) {
                say(&self.console, &warning);
            }
        }
        Ok(db)
    }

    /// Has another passphrase read than the one that opens the database.
    pub(crate) fn ask(&self, question: &Question) -> Outcome<Passphrase> {
        self.console.answer(&self.sources, question).map(passphrase::passphrase)
    }

    /// Starts to show the progress of an operation.
    pub(crate) fn meter(&self, operation: &'static str) -> Meter {
        Meter::new(self.progress, operation, &self.console)
    }

    fn unlock(&self, dir: &Path, options: &Options) -> Outcome<Db> {
        for attempt in 1_u32.. {
            let secret = self.sources.unlock(dir)?;
            let opened = match &secret {
                Secret::Given(passphrase) | Secret::Typed(passphrase) => options.open(dir, passphrase),
                Secret::RecoveryKey(key) => options.open_with_recovery_key(dir, key),
            };
            match opened {
                Err(problem)
                    if problem.is_wrong_passphrase() && matches!(secret, Secret::Typed(_)) && attempt < ATTEMPTS =>
                {
                    self.console.plain("wrong passphrase, try again");
                }
                opened => return Ok(opened?),
            }
        }
        unreachable!("the loop ends at the last attempt")
    }
}

/// Refuses a directory that cannot hold a database before anybody types a
/// passphrase for it.
fn require_database(dir: &Path) -> Outcome {
    if dir.is_dir() { Ok(()) } else { Err(no_database(dir)) }
}

fn no_database(dir: &Path) -> Failure {
    Failure::new(Exit::NoDatabase, "no-database", format!("no database in {}", dir.display()))
        .hint(format!("thingdb init {}", find::quoted_path(dir)))
}

/// Says which database a failure is about.
fn locate(failure: Failure, dir: &Path) -> Failure {
    match failure.exit() {
        Exit::NoDatabase => no_database(dir),
        Exit::WrongPassphrase => {
            let what = if failure.fact().contains("recovery key") { "recovery key" } else { "passphrase" };
            failure.about(format!("wrong {what} for {}", dir.display()))
        }
        _ => failure,
    }
}

fn say(console: &Console, warning: &Warning) {
    let word = match warning {
        Warning::Standing(Standing::Truncated { .. }) => "truncated",
        Warning::Standing(_) => "rolled-back",
        Warning::Checkpoint(_) => "checkpoint",
        Warning::KeyringMode(_) => "keyring-mode",
        _ => "open",
    };
    let said = console.warning(word, warning.to_string());
    match warning {
        Warning::Standing(_) => said.hint("thingdb verify; nothing can be written until the entries are back").say(),
        _ => said.say(),
    }
}

/// The format that the environment asks for.
pub(crate) fn format_of_environment(console: &Console) -> Outcome<Option<Format>> {
    use clap::ValueEnum;
    match console.variable("THINGDB_FORMAT").map(std::ffi::OsString::into_string) {
        Some(Ok(text)) if !text.is_empty() => Format::from_str(&text, true)
            .map(Some)
            .map_err(|_| Failure::usage(format!("THINGDB_FORMAT is {text:?}: table, json, ndjson or raw are known"))),
        _ => Ok(None),
    }
}
