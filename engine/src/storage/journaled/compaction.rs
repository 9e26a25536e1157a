//! When the journal is compacted: in the background if much of it is dead, and at
//! once if somebody wants it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::super::StorageError;
use super::super::journal::Which;
use super::super::sled::Marks;
use super::overlay::Layer;
use super::{Core, Keep, lock};

/// It is looked through when it may be so many times what is dead.
const TIMES_DEAD: u64 = 4;

pub(super) struct Compaction {
    /// What sled is given with each layer, but for what changes.
    of_store: Marks,
    /// See [`Marks::replaced_bytes`]. Written by the feeder.
    replaced_bytes: AtomicU64,
    /// How many they are when it is looked how large the journal is.
    next_look: AtomicU64,
    is_over: AtomicBool,
    is_running: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Compaction {
    pub(super) fn new(marks: Marks, least_dead_bytes: u64) -> Self {
        Self {
            of_store: marks,
            replaced_bytes: AtomicU64::new(marks.replaced_bytes),
            next_look: AtomicU64::new(least_dead_bytes),
            is_over: AtomicBool::new(false),
            is_running: AtomicBool::new(false),
            thread: Mutex::new(None),
        }
    }

    /// What sled has when it has a layer.
    pub(super) fn marks(&self, layer: &Layer) -> Marks {
        let replaced_bytes = self.replaced_bytes.load(Ordering::Relaxed) + layer.replaced_bytes;
        Marks { sequence: layer.sequence, replaced_bytes, ..self.of_store }
    }

    pub(super) fn set_replaced_bytes(&self, bytes: u64) {
        self.replaced_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What is under way ends soon, and no other begins.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    pub(super) fn join(&self) {
        if let Some(thread) = lock(&self.thread).take() {
            // What it has not done stays as it was.
            let _ = thread.join();
        }
    }
}

impl Core {
    /// Begins to compact the journal if enough of it may be dead. Called by the
    /// feeder, which does not wait for it.
    pub(super) fn compact_if_due(self: &Arc<Self>) {
        let Compaction { replaced_bytes, next_look, is_over, is_running, thread, .. } = &self.compaction;
        let dead = replaced_bytes.load(Ordering::Relaxed);
        if self.keep != Keep::All || dead < next_look.load(Ordering::Relaxed) || is_over.load(Ordering::Acquire) {
            return;
        }
        let Ok(all) = self.journal.bytes() else { return };
        if dead.saturating_mul(TIMES_DEAD) < all {
            next_look.store(all / TIMES_DEAD, Ordering::Relaxed);
            return;
        }
        if is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        replaced_bytes.store(0, Ordering::Relaxed);
        next_look.store(self.options.journal_file_bytes, Ordering::Relaxed);
        let core = Arc::clone(self);
        let begun = thread::Builder::new().name("thingdb-compact".into()).spawn(move || {
            // What goes wrong is tried again when as much is dead once more; until
            // then the journal is as it was.
            let _ = core.compact(Which::Half);
            core.compaction.is_running.store(false, Ordering::Release);
        });
        match begun {
            Ok(begun) => *lock(thread) = Some(begun),
            Err(_) => is_running.store(false, Ordering::Release),
        }
    }

    /// Compacts with regard to what the store has on the disk.
    fn compact(&self, which: Which) -> Result<u64, StorageError> {
        let Some(marks) = self.sled.marks()? else { return Ok(0) };
        self.sled.sync_all()?;
        let is_over = || self.compaction.is_over.load(Ordering::Acquire);
        Ok(self.journal.compact(marks.sequence, which, &is_over)?.freed_bytes)
    }

    /// Compacts until no file of the journal has anything dead that was committed so
    /// far. What the store has of it goes when that is closed.
    pub(super) fn compact_all(&self) -> Result<u64, StorageError> {
        self.check_not_stopped()?;
        let last = {
            let writer = lock(&self.writer);
            self.journal.begin_file()?;
            writer.sequence
        };
        self.wait_until_fed()?;
        if let Some(marks) = self.sled.marks()?.filter(|marks| marks.sequence < last) {
            // The last commits left nothing to feed.
            self.sled.set_marks(Marks { sequence: last, ..marks })?;
        }
        let freed_bytes = self.compact(Which::All)?;
        self.check_not_stopped()?;
        self.renew_at_close()?;
        Ok(freed_bytes)
    }
}
