//! The one place that writes entries.
//!
//! Callers seal in their own threads and queue a job. Whoever finds nobody at
//! work becomes the committer for everything that is queued: it gives each
//! entry its position, seq and prev, signs (one batch signature for what
//! arrived together from one actor), commits once, and wakes the others. If it
//! waits for the disk itself, it wakes those who do, too, only when what it
//! committed is durable: each sleeps once. A
//! thread that writes alone does all of this without a change of thread; there
//! is never more than one committer, which is what sled wants.
//!
//! Invariants:
//! - An entry is committed after every entry of its prev.
//! - Memory (index, tree) changes only after the commit has returned.
//! - A job is accepted as a whole or not at all; one that is refused leaves no
//!   trace in the jobs committed with it.

mod answer;
mod envelope;
mod job;
mod layout;
mod links;
mod stage;
mod staged;
mod tip;

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex};

use thingdb_format::{EncryptionKey, Origin};

use crate::entry::record::Receipt;
use crate::error::{Error, Result};
use crate::storage::Batch;
use crate::store::Store;
use answer::{Answer, Answered, Told};
pub(crate) use envelope::Packed;
use envelope::SharedKek;
pub(crate) use job::{Arrived, Fate, Imported, NewEntry, Opened, Sealed, Shared};
use job::{Due, Job};
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
    /// Nobody is at work: for who waits for that.
    free: Condvar,
    /// Why nothing may be written any more, if so.
    closed: Mutex<Option<Error>>,
    /// KEK packets that are known to have their row; touched by the committer
    /// only.
    stored_packets: Mutex<HashSet<[u8; 16]>>,
    keks: Mutex<HashMap<Vec<EncryptionKey>, SharedKek>>,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    busy: bool,
    /// How many wait until nobody is at work.
    waiting: usize,
}

impl Committer {
    pub(crate) fn new(origin: Origin, clock: fn() -> u64, future_tolerance_ms: u64) -> Self {
        Self {
            origin,
            clock,
            future_tolerance_us: future_tolerance_ms.saturating_mul(1000),
            queue: Mutex::default(),
            free: Condvar::new(),
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

    /// Gives sealed drafts their places, all or none. When this returns, the
    /// entries are visible; they are durable once the ticket was waited for, which
    /// the caller does if it `waits`.
    pub(crate) fn write(&self, store: &Store, entries: Vec<NewEntry>, waits: bool) -> Answered<Vec<Receipt>> {
        self.submit(store, waits, |answer| Job::Write { entries, waits, answer })
    }

    /// Takes in entries from elsewhere, which the node `from` sent if it is known.
    pub(crate) fn import(&self, store: &Store, entries: Vec<Arrived>, from: Option<Origin>) -> Answered<Imported> {
        self.submit(store, false, |answer| Job::Import(entries, from, answer))
    }

    /// Seals entries to more recipients.
    pub(crate) fn share(&self, store: &Store, entries: Vec<Shared>, to: Vec<EncryptionKey>) -> Answered<Sealed> {
        self.submit(store, false, |answer| Job::Share(entries, to, answer))
    }

    /// Writes rows that are no entries.
    pub(crate) fn rows(&self, store: &Store, rows: Batch) -> Result<()> {
        self.submit(store, false, |answer| Job::Rows(rows, answer)).map(drop)
    }

    /// Takes the content out of the records at these positions, together with rows that
    /// are no entries.
    pub(crate) fn erase(&self, store: &Store, positions: Vec<u64>, rows: Batch) -> Result<()> {
        self.submit(store, false, |answer| Job::Erase(positions, rows, answer)).map(drop)
    }

    /// Runs `act` while nobody commits: what it reads of the index and of the ledger is
    /// of one moment. It may commit to the store itself; it must ask nothing of the
    /// committer.
    pub(crate) fn still<T>(&self, act: impl FnOnce() -> T) -> T {
        let mut queue = self.lock();
        while queue.busy {
            queue.waiting += 1;
            queue = self.free.wait(queue).expect("no thread panics while it holds the queue");
            queue.waiting -= 1;
        }
        queue.busy = true;
        drop(queue);
        let _turn = Shift(self);
        act()
    }

    /// Commits a job, perhaps together with others.
    fn submit<T>(&self, store: &Store, waits: bool, job: impl FnOnce(Answer<T>) -> Job) -> Answered<T> {
        self.check_open()?;
        let (asked, answer) = answer::pair();
        let mut queue = self.lock();
        queue.jobs.push(job(answer));
        loop {
            if queue.busy {
                drop(queue);
            } else {
                queue.busy = true;
                let jobs = take_some(&mut queue.jobs);
                drop(queue);
                Shift(self).work(store, jobs, waits);
            }
            match asked.wait() {
                Told::Answer(answer) => return answer,
                Told::First => queue = self.lock(),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().expect("no thread panics while it holds the queue")
    }
}

/// The oldest jobs, up to [`COMMIT_ENTRIES`] or one job.
fn take_some(jobs: &mut Vec<Job>) -> Vec<Job> {
    let mut entries = 0;
    let fits = jobs.iter().take_while(|job| {
        let fits = entries == 0 || entries + job.len() <= COMMIT_ENTRIES;
        entries += job.len();
        fits
    });
    let count = fits.count();
    jobs.drain(..count).collect()
}

/// One committer's turn. Ends in any case with the queue free and an answer for
/// every job, so that a panic does not leave other threads waiting.
struct Shift<'a>(&'a Committer);

impl Shift<'_> {
    /// Stages all jobs, commits what was accepted, and answers each. If the caller
    /// `waits` for the disk, those that do as well are answered when it is done: the
    /// next shift works meanwhile.
    fn work(self, store: &Store, mut jobs: Vec<Job>, waits: bool) {
        // What one actor writes lies together, for one signature over it. The
        // jobs came at the same time, so their order is free.
        jobs.sort_by_key(Job::signer);
        let mut stage = Stage::new(self.0, store);
        let staged: Vec<Due> = jobs.into_iter().map(|job| stage.job(job)).collect();
        let committed = stage.commit();
        let (later, now): (Vec<_>, Vec<_>) = staged.into_iter().partition(|due| waits && due.waits());
        now.into_iter().for_each(|due| due.answer(&committed));
        drop(self);
        if let (Ok(Some(ticket)), false) = (&committed, later.is_empty()) {
            // Each of them asks again, and is told if it failed.
            let _ = store.storage.wait(*ticket);
        }
        later.into_iter().for_each(|due| due.answer(&committed));
    }
}

impl Drop for Shift<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.busy = false;
        // Whoever comes first works. The first one in the queue is woken in any case, or
        // nobody may come.
        if let Some(job) = queue.jobs.first() {
            job.tell_first();
        }
        if queue.waiting > 0 {
            self.0.free.notify_all();
        }
    }
}
