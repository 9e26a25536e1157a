//! Waiting for whoever has the database open: a command that is about to end, or
//! a server that is about to start and will then run commands for us.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt;
use thingdb::Db;

use crate::console::{Console, interrupt};
use crate::error::{Exit, Failure, Outcome};
use crate::local::Client;
use crate::text::quoted_path;

/// After this long a person is told what the command waits for.
const SILENCE: Duration = Duration::from_secs(1);

/// How long a try of the engine's waits, before a server is looked for again.
const TRY: Duration = Duration::from_millis(200);

/// A wait that has begun.
pub(crate) struct Waiting<'a> {
    dir: &'a Path,
    console: &'a Console,
    began: Instant,
    patience: Duration,
    is_told: bool,
}

impl<'a> Waiting<'a> {
    /// Begins to wait for the database in `dir`.
    pub(crate) fn new(dir: &'a Path, patience: Duration, console: &'a Console) -> Self {
        // A signal that nobody takes kills the process: scripts want its exit code.
        interrupt::listen();
        Self { dir, console, began: Instant::now(), patience, is_told: false }
    }

    /// Waits until nobody has the database open, or gives the server that has.
    ///
    /// That nobody has it is no promise: it saves asking for a passphrase that
    /// the server does not need, and reading an input while another one waits.
    pub(crate) fn until_free(mut self) -> Outcome<Option<Client>> {
        loop {
            if let Some(client) = Client::connect(self.dir)? {
                return Ok(Some(client));
            }
            match Db::check_unlocked(self.dir) {
                Ok(()) => return Ok(None),
                Err(problem) if problem.is_locked() => self.check(problem)?,
                // Whoever opens it says it better.
                Err(_) => return Ok(None),
            }
            thread::sleep(Duration::from_millis(rand::rng().random_range(5..40)));
        }
    }

    /// How long the next try may take, in milliseconds.
    pub(crate) fn try_ms(&self) -> u64 {
        u64::try_from(self.left().min(TRY).as_millis()).unwrap_or_default()
    }

    /// After a try that found the database open elsewhere: the server that has
    /// it, or nothing if another try is worth it.
    pub(crate) fn again(&mut self, problem: thingdb::Error) -> Outcome<Option<Client>> {
        if let Some(client) = Client::connect(self.dir)? {
            return Ok(Some(client));
        }
        self.check(problem).map(|()| None)
    }

    fn left(&self) -> Duration {
        self.patience.saturating_sub(self.began.elapsed())
    }

    /// Fails once the time is over, and tells a person before.
    fn check(&mut self, problem: thingdb::Error) -> Outcome {
        if self.console.is_interrupted() {
            return Err(Failure::new(Exit::Interrupted, "interrupted", "nothing was done"));
        }
        let left = self.left();
        if left.is_zero() {
            let failure = Failure::from(problem).cause(format!("waited {} s for it", self.patience.as_secs_f64()));
            return Err(failure.hint("thingdb --wait SECONDS … waits longer"));
        }
        if !self.is_told && self.began.elapsed() >= SILENCE && self.console.stderr().is_terminal() {
            self.is_told = true;
            let who = match problem {
                thingdb::Error::Locked { holder: Some(pid), .. } => format!("process {pid}"),
                _ => "another process".to_owned(),
            };
            self.console.note(&format!(
                "waiting for {who}, which has {} open; {} s more, Ctrl-C ends it",
                quoted_path(self.dir),
                left.as_secs()
            ));
        }
        Ok(())
    }
}
