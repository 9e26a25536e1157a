//! The thread that gives sled what was committed, and makes durable what nobody
//! waits for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::StorageError;
use super::super::sled::fault::describe;
use super::overlay::Layer;
use super::{Core, Keep, MOST_FRESH_BYTES, Stopped, lock};

/// So many bytes are fed before their time. Many rows at once go into sled in
/// the order of their keys, and cost less each.
pub(super) const FEED_BYTES: u64 = 1 << 20;

/// Wakes the feeder, and those who wait for it.
#[derive(Default)]
pub(super) struct Bell {
    /// It was rung since the feeder looked.
    is_rung: AtomicBool,
    state: Mutex<State>,
    /// For the feeder.
    rung: Condvar,
    /// For those who wait.
    turned: Condvar,
}

#[derive(Default)]
struct State {
    /// When something has to be made durable and fed.
    due: Option<Instant>,
    /// It is due now.
    is_due: bool,
    is_over: bool,
    /// How often the feeder has begun a new `fresh`, or found that it is over.
    turns: u64,
    /// How many of the turns it has finished.
    fed: u64,
}

impl Bell {
    /// The feeder feeds what there is and ends.
    pub(super) fn end(&self) {
        lock(&self.state).is_over = true;
        self.rung.notify_all();
    }

    /// Something that is waited for has changed.
    pub(super) fn turned(&self) {
        // Whoever is between his look and his sleep holds the lock.
        drop(lock(&self.state));
        self.turned.notify_all();
    }

    fn sleep<'a>(&self, changed: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// Says that something was committed; `now` that there is much of it.
    pub(super) fn ring(&self, now: bool) {
        if self.bell.is_rung.swap(true, Ordering::SeqCst) && !now {
            return;
        }
        let mut state = lock(&self.bell.state);
        if now {
            state.is_due = true;
        }
        let interval = Duration::from_millis(self.options.sync_interval_ms);
        state.due.get_or_insert_with(|| Instant::now() + interval);
        self.bell.rung.notify_all();
    }

    /// Waits while too much is not in sled.
    pub(super) fn wait_for_room_in_memory(&self) -> Result<(), StorageError> {
        self.check_not_stopped()?;
        if self.fresh_bytes.load(Ordering::Acquire) < MOST_FRESH_BYTES {
            return Ok(());
        }
        self.ring(true);
        let mut state = lock(&self.bell.state);
        while self.fresh_bytes.load(Ordering::Acquire) >= MOST_FRESH_BYTES {
            self.check_not_stopped()?;
            state = self.bell.sleep(&self.bell.turned, state);
        }
        Ok(())
    }

    /// Returns when sled has everything that was committed so far.
    pub(super) fn wait_until_fed(&self) -> Result<(), StorageError> {
        let wanted = lock(&self.bell.state).turns + 1;
        self.ring(true);
        let mut state = lock(&self.bell.state);
        while state.fed < wanted {
            self.check_not_stopped()?;
            state = self.bell.sleep(&self.bell.turned, state);
        }
        Ok(())
    }

    /// The thread.
    pub(super) fn feed_when_due(self: &Arc<Self>) {
        let mut state = lock(&self.bell.state);
        loop {
            let now = Instant::now();
            state = match state.due {
                _ if state.is_over => break,
                Some(due) if state.is_due || due <= now => {
                    (state.due, state.is_due) = (None, false);
                    drop(state);
                    // Who commits from here on rings again, so none is missed.
                    self.bell.is_rung.store(false, Ordering::SeqCst);
                    self.feed();
                    lock(&self.bell.state)
                }
                Some(due) => {
                    let slept = self.bell.rung.wait_timeout(state, due - now);
                    slept.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.bell.sleep(&self.bell.rung, state),
            };
        }
        drop(state);
        // Nothing is committed any more.
        self.feed();
    }

    /// One turn. What goes wrong shows in `health` and at the next commit; what
    /// sled did not take stays where it is read.
    fn feed(self: &Arc<Self>) {
        if self.check_not_stopped().is_err() {
            return;
        }
        let feeding = {
            let mut overlay = self.write_overlay();
            self.fresh_bytes.store(0, Ordering::Release);
            overlay.turn()
        };
        lock(&self.bell.state).turns += 1;
        self.bell.turned.notify_all();
        if !feeding.rows.is_empty() {
            if self.sync(feeding.sequence).is_err() {
                return;
            }
            if let Err(problem) = self.feed_layer(&feeding) {
                self.told_or_stop(problem);
                return;
            }
            self.write_overlay().fed();
            self.compact_if_due();
            if let Err(problem) = self.drop_files(feeding.bytes, feeding.sequence) {
                self.told_or_stop(problem);
                return;
            }
        }
        let mut state = lock(&self.bell.state);
        state.fed = state.turns;
        drop(state);
        self.bell.turned.notify_all();
    }

    fn feed_layer(&self, layer: &Layer) -> Result<(), StorageError> {
        let marks = self.compaction.marks(layer);
        let marks = self.sled.feed(&layer.rows, self.options.is_derived, marks)?;
        self.compaction.set_replaced_bytes(marks.replaced_bytes);
        Ok(())
    }

    /// Drops files of the journal that nobody needs, if they are not kept: about one
    /// at a time.
    fn drop_files(&self, bytes: u64, sequence: u64) -> Result<(), StorageError> {
        let fed = self.fed_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.keep == Keep::All || fed < self.options.journal_file_bytes {
            return Ok(());
        }
        self.fed_bytes.store(0, Ordering::Relaxed);
        self.sled.sync_all()?;
        self.drop_up_to(sequence)
    }

    /// Drops files of the journal with commits that the store has on the disk, and
    /// everybody who copies them.
    pub(super) fn drop_up_to(&self, sequence: u64) -> Result<(), StorageError> {
        let fetched = (self.options.fetched)(&self.directory, self.journal.generation());
        self.journal.drop_before(fetched.unwrap_or(u64::MAX).min(sequence) + 1)
    }

    /// Without sled nothing can be written: memory would have to hold it all.
    fn told_or_stop(&self, problem: StorageError) {
        let problem = self.told(problem);
        self.stop(Stopped::ReadOnly(describe(&problem)));
    }
}
