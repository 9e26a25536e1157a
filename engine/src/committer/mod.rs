//! The one place that writes entries.
//!
//! Callers seal in their own threads and queue a job. Whoever finds nobody at
//! work becomes the committer for everything that is queued: it gives each
//! entry its position, seq and prev, signs (one batch signature for what
//! arrived together from one actor), commits once, and wakes the others. A
//! thread that writes alone does all of this without a change of thread; there
//! is never more than one committer, which is what sled wants.
//!
//! Invariants:
//! - An entry is committed after every entry of its prev.
//! - Memory (index, tree) changes only after the commit has returned.
//! - A job is accepted as a whole or not at all; one that is refused leaves no
//!   trace in the jobs committed with it.

mod envelope;
mod job;
mod layout;
mod links;
mod stage;
mod tip;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex};

use thingdb_format::{EncryptionKey, Origin};

use crate::error::{Error, Result};
use crate::storage::Ticket;
use crate::store::Store;
pub(crate) use envelope::Packed;
use envelope::SharedKek;
pub(crate) use job::{Arrived, Done, Fate, Job, NewEntry, Opened, Shared};
pub(crate) use links::{Links, Place, Verdict};
use stage::Stage;

/// Entries that one commit takes from the queue before it leaves the rest to
/// the next.
const COMMIT_ENTRIES: usize = 4096;

/// The queue, and who works on it.
pub(crate) struct Committer {
    origin: Origin,
    clock: fn() -> u64,
    future_tolerance_us: u64,
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Why nothing may be written any more, if so.
    closed: Mutex<Option<Error>>,
    /// KEK packets that are known to have their row; touched by the committer
    /// only.
    stored_packets: Mutex<HashSet<[u8; 16]>>,
    keks: Mutex<HashMap<Vec<EncryptionKey>, SharedKek>>,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Waiting>,
    busy: bool,
}

type Answer = Result<(Done, Option<Ticket>)>;

struct Waiting {
    job: Job,
    answer: Arc<Mutex<Option<Answer>>>,
}

impl Committer {
    pub(crate) fn new(origin: Origin, clock: fn() -> u64, future_tolerance_ms: u64) -> Self {
        Self {
            origin,
            clock,
            future_tolerance_us: future_tolerance_ms.saturating_mul(1000),
            queue: Mutex::default(),
            changed: Condvar::new(),
            closed: Mutex::default(),
            stored_packets: Mutex::default(),
            keks: Mutex::default(),
        }
    }

    /// The clock, in microseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }

    /// Recipients have changed: the next entries get new KEKs.
    pub(crate) fn forget_keks(&self) {
        self.keks.lock().expect("no thread panics while it holds the keys").clear();
    }

    /// From now on every job is refused with `why`.
    pub(crate) fn close(&self, why: Error) {
        *self.closed.lock().expect("no thread panics while it holds this") = Some(why);
    }

    /// Whether jobs are accepted.
    pub(crate) fn check_open(&self) -> Result<()> {
        self.closed.lock().expect("no thread panics while it holds this").clone().map_or(Ok(()), Err)
    }

    /// Commits `job`, perhaps together with others. When this returns, the
    /// entries are visible; they are durable once the ticket was waited for.
    pub(crate) fn submit(&self, store: &Store, job: Job) -> Answer {
        self.check_open()?;
        let answer = Arc::new(Mutex::new(None));
        let mut queue = self.lock();
        queue.jobs.push(Waiting { job, answer: Arc::clone(&answer) });
        loop {
            if let Some(answer) = answer.lock().expect("answers are only put and taken").take() {
                return answer;
            }
            if queue.busy {
                queue = self.changed.wait(queue).expect("no thread panics while it holds the queue");
                continue;
            }
            queue.busy = true;
            let jobs = take_some(&mut queue.jobs);
            drop(queue);
            Shift { committer: self, jobs: Some(jobs) }.work(store);
            queue = self.lock();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().expect("no thread panics while it holds the queue")
    }
}

/// The oldest jobs, up to [`COMMIT_ENTRIES`] or one job.
fn take_some(jobs: &mut Vec<Waiting>) -> Vec<Waiting> {
    let mut entries = 0;
    let fits = jobs.iter().take_while(|waiting| {
        let fits = entries == 0 || entries + waiting.job.len() <= COMMIT_ENTRIES;
        entries += waiting.job.len();
        fits
    });
    let count = fits.count();
    jobs.drain(..count).collect()
}

/// One committer's turn. Ends in any case with the queue free and an answer
/// for every job, so that a panic does not leave other threads waiting.
struct Shift<'a> {
    committer: &'a Committer,
    jobs: Option<Vec<Waiting>>,
}

impl Shift<'_> {
    fn work(mut self, store: &Store) {
        let mut jobs = std::mem::take(self.jobs.get_or_insert_default());
        // What one actor writes lies together, for one signature over it. The
        // jobs came at the same time, so their order is free.
        jobs.sort_by_key(|waiting| match &waiting.job {
            Job::Write(entries) => entries.first().map(|entry| entry.signer.actor()),
            Job::Import(..) | Job::Share(..) | Job::Rows(_) => None,
        });
        let (work, answers): (Vec<Job>, Vec<_>) = jobs.into_iter().map(|waiting| (waiting.job, waiting.answer)).unzip();
        self.jobs = Some(
            answers.iter().map(|answer| Waiting { job: Job::Write(vec![]), answer: Arc::clone(answer) }).collect(),
        );
        let results = commit(self.committer, store, work);
        for (answer, result) in answers.iter().zip(results) {
            *answer.lock().expect("answers are only put and taken") = Some(result);
        }
    }
}

impl Drop for Shift<'_> {
    fn drop(&mut self) {
        for waiting in self.jobs.iter().flatten() {
            let mut answer = waiting.answer.lock().expect("answers are only put and taken");
            if answer.is_none() && std::thread::panicking() {
                *answer = Some(Err(Error::damaged("the committer", "it stopped in the middle of a commit")));
            }
        }
        self.committer.lock().busy = false;
        self.committer.changed.notify_all();
    }
}

/// Stages all jobs, commits what was accepted, and answers each.
fn commit(committer: &Committer, store: &Store, jobs: Vec<Job>) -> Vec<Answer> {
    let mut stage = Stage::new(committer, store);
    let staged: Vec<Result<Done>> = jobs.into_iter().map(|job| stage.job(job)).collect();
    let ticket = match stage.commit() {
        Ok(ticket) => ticket,
        Err(problem) => return staged.into_iter().map(|_| Err(problem.clone())).collect(),
    };
    staged.into_iter().map(|done| done.map(|done| (done, ticket))).collect()
}
