//! How a caller learns what became of its job.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::error::{Error, Result};
use crate::storage::Ticket;

/// What was done, and what to wait for until it is durable.
pub(super) type Answered<T> = Result<(T, Option<Ticket>)>;

/// Where the caller finds the answer.
pub(super) struct Asked<T>(Arc<Mutex<Option<Answered<T>>>>);

/// The committer's end. A panic that drops it is an answer, too: the caller does
/// not wait for ever.
pub(super) struct Answer<T>(Arc<Mutex<Option<Answered<T>>>>);

/// Both ends.
pub(super) fn pair<T>() -> (Asked<T>, Answer<T>) {
    let slot = Arc::new(Mutex::new(None));
    (Asked(Arc::clone(&slot)), Answer(slot))
}

impl<T> Asked<T> {
    pub(super) fn take(&self) -> Option<Answered<T>> {
        lock(&self.0).take()
    }
}

impl<T> Answer<T> {
    /// Tells what became of the job: a commit that failed took no job.
    pub(super) fn give(self, done: Result<T>, committed: &Result<Option<Ticket>>) {
        *lock(&self.0) = Some(match committed {
            Ok(ticket) => done.map(|done| (done, *ticket)),
            Err(problem) => Err(problem.clone()),
        });
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let stopped = || Err(Error::damaged("the committer", "it stopped in the middle of a commit"));
            lock(&self.0).get_or_insert_with(stopped);
        }
    }
}

fn lock<T>(slot: &Mutex<Option<Answered<T>>>) -> MutexGuard<'_, Option<Answered<T>>> {
    slot.lock().expect("answers are only put and taken")
}
