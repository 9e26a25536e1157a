//! What a command runs with: the database that was named, the way in, the way
//! out.

use std::path::{Path, PathBuf};

use thingdb::{Db, Options, Standing, Warning};

use super::args::Global;
use super::error::{Exit, Failure, Outcome};
use super::output::{Format, Output, printable};
use super::passphrase::{Secret, Sources};
use super::progress::{Meter, Progress};
use super::{find, talk};

/// How often a wrong passphrase may be corrected on a terminal.
const ATTEMPTS: u32 = 3;

/// The options of every command, resolved.
#[derive(Debug)]
pub(crate) struct Context {
    dir: Option<PathBuf>,
    progress: Progress,
    /// Nothing may be asked.
    pub(crate) no_input: bool,
    /// Data goes there.
    pub(crate) output: Output,
    /// Passphrases come from there.
    pub(crate) sources: Sources,
}

impl Context {
    /// Resolves the global options, environment included.
    pub(crate) fn new(global: Global) -> Outcome<Self> {
        talk::choose_quiet(global.quiet);
        let chosen = if global.json { Some(Format::Json) } else { global.format };
        let chosen = match chosen {
            Some(format) => Some(format),
            None => format_of_environment()?,
        };
        Ok(Self {
            dir: global.db,
            progress: global.progress,
            no_input: global.no_input,
            output: Output::new(chosen),
            sources: Sources::new(global.passphrase, global.no_input)?,
        })
    }

    /// The directory of the database.
    pub(crate) fn dir(&self) -> Outcome<&Path> {
        self.dir.as_deref().filter(|dir| !dir.as_os_str().is_empty()).ok_or_else(|| {
            Failure::usage("which database? neither --db nor THINGDB_DIR names one")
                .hint("thingdb --db DIR …, or once: export THINGDB_DIR=DIR")
        })
    }

    /// Opens the database.
    pub(crate) fn open(&self) -> Outcome<Db> {
        self.open_with(&Options::new())
    }

    /// Opens the database with options.
    pub(crate) fn open_with(&self, options: &Options) -> Outcome<Db> {
        let dir = self.dir()?;
        require_database(dir)?;
        let db = self.unlock(dir, options).map_err(|failure| locate(failure, dir))?;
        for warning in db.warnings() {
            say(&warning);
        }
        Ok(db)
    }

    /// Starts to show the progress of an operation.
    pub(crate) fn meter(&self, operation: &'static str) -> Meter {
        Meter::new(self.progress, operation)
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
                    talk::plain("wrong passphrase, try again");
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

fn say(warning: &Warning) {
    let word = match warning {
        Warning::Standing(Standing::Truncated { .. }) => "truncated",
        Warning::Standing(_) => "rolled-back",
        Warning::Checkpoint(_) => "checkpoint",
        Warning::KeyringMode(_) => "keyring-mode",
        _ => "open",
    };
    talk::warning(word, &printable(&warning.to_string()));
    if matches!(warning, Warning::Standing(_)) {
        talk::hint("thingdb verify; nothing can be written until the entries are back");
    }
}

fn format_of_environment() -> Outcome<Option<Format>> {
    use clap::ValueEnum;
    match std::env::var("THINGDB_FORMAT") {
        Ok(text) if !text.is_empty() => Format::from_str(&text, true)
            .map(Some)
            .map_err(|_| Failure::usage(format!("THINGDB_FORMAT is {text:?}: table, json, ndjson or raw are known"))),
        _ => Ok(None),
    }
}
