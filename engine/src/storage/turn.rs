//! One syncs for all that wait.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Whose turn it is to sync for all that wait. They sleep here and not on the
/// lock of the syncer: a lock would wake them one after the other, each only to
/// find that it is served, and the next sync would begin after the last of them.
#[derive(Default)]
pub(super) struct Turn {
    taken: Mutex<bool>,
    ended: Condvar,
}

/// While it lives the turn is taken.
pub(super) struct Taken<'a>(&'a Turn);

impl Turn {
    /// Waits until the turn is free, and takes it, or until `is_served`.
    pub(super) fn take_unless(&self, mut is_served: impl FnMut() -> bool) -> Option<Taken<'_>> {
        let mut taken = lock(&self.taken);
        loop {
            if is_served() {
                return None;
            }
            if !*taken {
                *taken = true;
                return Some(Taken(self));
            }
            taken = wait(&self.ended, taken);
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *lock(&self.0.taken) = false;
        self.0.ended.notify_all();
    }
}

/// What these locks guard is never left half changed by a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sleeps until something has changed.
pub(super) fn wait<'a, T>(changed: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
}
