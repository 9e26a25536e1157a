//! How a caller learns what became of its job.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::error::{Error, Result};
use crate::storage::Ticket;

/// What was done, and what to wait for until it is durable.
pub(super) type Answered<T> = Result<(T, Option<Ticket>)>;

/// What a caller who waits is told.
pub(super) enum Told<T> {
    /// What became of the job.
    Answer(Answered<T>),
    /// Nobody is at work any more, and the job is the first in the queue.
    First,
}

/// Where the caller finds the answer.
pub(super) struct Asked<T>(Arc<Slot<T>>);

/// The committer's end. A panic that drops it is an answer, too: the caller does
/// not wait for ever.
pub(super) struct Answer<T>(Arc<Slot<T>>);

struct Slot<T> {
    told: Mutex<Option<Told<T>>>,
    changed: Condvar,
}

/// Both ends.
pub(super) fn pair<T>() -> (Asked<T>, Answer<T>) {
    let slot = Arc::new(Slot { told: Mutex::default(), changed: Condvar::new() });
    (Asked(Arc::clone(&slot)), Answer(slot))
}

impl<T> Asked<T> {
    /// Sleeps until there is something to tell. Nobody else is woken for it.
    pub(super) fn wait(&self) -> Told<T> {
        let mut told = self.0.lock();
        loop {
            if let Some(told) = told.take() {
                return told;
            }
            told = self.0.changed.wait(told).expect("this is only put and taken");
        }
    }
}

impl<T> Answer<T> {
    /// Tells what became of the job: a commit that failed took no job.
    pub(super) fn give(self, done: Result<T>, committed: &Result<Option<Ticket>>) {
        self.0.tell(Told::Answer(match committed {
            Ok(ticket) => done.map(|done| (done, *ticket)),
            Err(problem) => Err(problem.clone()),
        }));
    }

    /// Tells that the job is the first in the queue.
    pub(super) fn tell_first(&self) {
        self.0.tell(Told::First);
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut told = self.0.lock();
            if !matches!(*told, Some(Told::Answer(_))) {
                let stopped = Error::damaged("the committer", "it stopped in the middle of a commit");
                *told = Some(Told::Answer(Err(stopped)));
                self.0.changed.notify_one();
            }
        }
    }
}

impl<T> Slot<T> {
    fn tell(&self, what: Told<T>) {
        *self.lock() = Some(what);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Told<T>>> {
        self.told.lock().expect("this is only put and taken")
    }
}
