//! Waiting for sled's buffers, also where the disk fails.
//!
//! A buffer of sled's that is full while a row is still being written into it is
//! written by whoever ends that row. If that write fails, sled notes the error and wakes
//! nobody: a `flush()` that waits already goes on waiting. One that is begun afterwards
//! finds the error, and wakes all. So while one takes long, another one is begun.

use std::sync::{Condvar, Mutex};
use std::thread::{Builder, Scope};
use std::time::Duration;

use super::super::turn::lock;

/// How long a flush may take before another one is begun. Each further one waits twice
/// as long: the disk may just be slow.
const PATIENCE: Duration = Duration::from_millis(500);

/// Writes sled's buffers to its log.
pub(super) fn flush(tree: &sled::Tree) -> sled::Result<usize> {
    let (ended, changed) = (Mutex::new(false), Condvar::new());
    std::thread::scope(|scope| {
        // Without a thread nobody looks after it.
        let watched = Builder::new().spawn_scoped(scope, || watch(scope, tree, &ended, &changed));
        let flushed = tree.flush();
        if watched.is_ok() {
            *lock(&ended) = true;
            changed.notify_one();
        }
        flushed
    })
}

fn watch<'scope>(
    scope: &'scope Scope<'scope, '_>,
    tree: &'scope sled::Tree,
    ended: &'scope Mutex<bool>,
    changed: &'scope Condvar,
) {
    let mut patience = PATIENCE;
    let mut guard = lock(ended);
    while !*guard {
        let (again, waited) = changed.wait_timeout(guard, patience).unwrap_or_else(std::sync::PoisonError::into_inner);
        guard = again;
        if waited.timed_out() && !*guard {
            patience = patience.saturating_mul(2);
            // What it returns is told to the first one as well.
            let _ = Builder::new().spawn_scoped(scope, || drop(tree.flush()));
        }
    }
}
