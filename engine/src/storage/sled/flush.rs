//! Waiting for sled's buffers, also where the disk fails.
//!
//! A buffer of sled's that is full while a row is still being written into it is
//! written by whoever ends that row. If that write fails, sled notes the error and wakes
//! nobody: a `flush()` that waits already goes on waiting. One that is begun afterwards
//! finds the error, and wakes all. So while one takes long, another one is begun.

use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{Builder, Scope};
use std::time::Duration;

use super::super::turn::lock;

/// How long a flush may take before another one is begun. Each further one waits twice
/// as long: the disk may just be slow.
const PATIENCE: Duration = Duration::from_millis(500);

/// Writes sled's buffers to its log.
pub(super) fn flush(tree: &sled::Tree) -> sled::Result<usize> {
    begun_again(&|| tree.flush())
}

/// What `act` returns, which is begun again beside itself while it takes long.
fn begun_again<T>(act: &(impl Fn() -> T + Sync)) -> T {
    let (ended, changed) = (Mutex::new(false), Condvar::new());
    std::thread::scope(|scope| {
        // Without a thread nobody looks after it.
        let _ = Builder::new().spawn_scoped(scope, || watch(scope, act, &ended, &changed));
        let _end = End { ended: &ended, changed: &changed };
        act()
    })
}

/// The watch ends with what it watches, also if that panics.
struct End<'a> {
    ended: &'a Mutex<bool>,
    changed: &'a Condvar,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        *lock(self.ended) = true;
        self.changed.notify_one();
    }
}

fn watch<'scope, T>(
    scope: &'scope Scope<'scope, '_>,
    act: &'scope (impl Fn() -> T + Sync),
    ended: &Mutex<bool>,
    changed: &Condvar,
) {
    let mut patience = PATIENCE;
    let mut guard = lock(ended);
    while !*guard {
        let (again, waited) = changed.wait_timeout(guard, patience).unwrap_or_else(PoisonError::into_inner);
        guard = again;
        if waited.timed_out() && !*guard {
            patience = patience.saturating_mul(2);
            // What it returns is told to the first one as well.
            let _ = Builder::new().spawn_scoped(scope, move || drop(act()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::super::super::turn::wait;
    use super::*;

    #[test]
    fn one_that_only_another_one_wakes_ends() {
        let (begun, changed) = (Mutex::new(0), Condvar::new());
        begun_again(&|| {
            let mut begun = lock(&begun);
            *begun += 1;
            changed.notify_all();
            while *begun < 2 {
                begun = wait(&changed, begun);
            }
        });
        assert_eq!(*lock(&begun), 2);
    }

    #[test]
    fn one_that_panics_ends_as_well() {
        assert!(catch_unwind(AssertUnwindSafe(|| begun_again(&|| panic!("as sled does")))).is_err());
    }
}
