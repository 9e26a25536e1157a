//! Syncs: when they are due, what they reach, and the order of writes between
//! them.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::StorageError;
use super::fault::{describe, io_error};
use super::files::{set_synchronous, sync_new_blobs};
use super::flush::flush;
use super::{Core, LOG_BYTES_PER_BYTE, Stopped, lock, wait};

/// How far the log may grow between two syncs where the kernel does not keep
/// the order of writes: half a segment.
const UNORDERED_LOG_BYTES: u64 = 256 << 10;

/// After how many syncs in a row that had little to do the log loses its
/// attribute `S`.
const CALM_SYNCS: u32 = 32;

/// Owned by whoever syncs.
pub(super) struct Syncer {
    /// Our own handle on sled's log: the kernel reports a failed write to every
    /// handle that was open then, whatever sled did about its own.
    pub(super) log: File,
    /// The blobs that are durable, by name.
    pub(super) blobs: HashSet<OsString>,
    /// How many syncs there were.
    pub(super) count: u64,
    /// How many of them in a row found little to sync.
    pub(super) calm: u32,
}

/// Wakes the background thread: at the first commit after a sync, and to end.
pub(super) struct Alarm {
    /// A commit has set `due` and the thread has not yet taken it.
    pub(super) armed: AtomicBool,
    pub(super) state: Mutex<AlarmState>,
    pub(super) changed: Condvar,
}

pub(super) struct AlarmState {
    pub(super) due: Option<Instant>,
    pub(super) stop: bool,
}

impl Core {
    /// Keeps the order of writes before the log can have grown so far that
    /// sled uses a segment again whose rows have moved to a place that is not
    /// yet durable: that takes two segments.
    pub(super) fn keep_order(&self, bytes: u64) -> Result<(), StorageError> {
        let grown = bytes.saturating_mul(LOG_BYTES_PER_BYTE);
        let unsynced = self.unsynced_bytes.fetch_add(grown, Ordering::Relaxed);
        if unsynced < UNORDERED_LOG_BYTES || self.synchronous.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut syncer = lock(&self.syncer);
        self.check_not_stopped()?;
        if self.can_order && set_synchronous(&syncer.log, true) {
            self.synchronous.store(true, Ordering::Release);
            syncer.calm = 0;
        }
        // What was written before the attribute was set.
        self.sync(&mut syncer)
    }

    /// Takes the attribute away when syncs come fast enough without it.
    fn relax_order(&self, syncer: &mut Syncer, synced_bytes: u64) {
        if synced_bytes > UNORDERED_LOG_BYTES / 2 {
            syncer.calm = 0;
            return;
        }
        syncer.calm = syncer.calm.saturating_add(1);
        if syncer.calm >= CALM_SYNCS && self.synchronous.load(Ordering::Acquire) && set_synchronous(&syncer.log, false)
        {
            self.synchronous.store(false, Ordering::Release);
        }
    }

    /// Makes all commits up to `ticket` durable, unless they already are.
    pub(super) fn sync_up_to(&self, ticket: u64) -> Result<(), StorageError> {
        let is_durable = || self.synced.load(Ordering::Acquire) >= ticket;
        if is_durable() {
            return Ok(());
        }
        let Some(_turn) = self.turn.take_unless(|| is_durable() || self.stopped().is_some()) else {
            return if is_durable() { Ok(()) } else { self.check_not_stopped() };
        };
        let mut syncer = lock(&self.syncer);
        // Somebody who did not wait may have synced meanwhile.
        if is_durable() {
            return Ok(());
        }
        self.check_not_stopped()?;
        self.sync(&mut syncer)
    }

    /// One sync, for all commits that have returned by now.
    ///
    /// 1. `flush()`: sled's buffer goes to `db`, with `sync_file_range`
    /// 2. `fdatasync(db)`: the bytes, the length, the cache of the disk. Also
    ///    with the attribute `S`: without it 3 of 80 power cuts took back the
    ///    commit that was acknowledged last.
    /// 3. for each new blob `fsync(blobs/N)`, then `fsync(blobs)`
    fn sync(&self, syncer: &mut Syncer) -> Result<(), StorageError> {
        let unsynced = self.unsynced_bytes.load(Ordering::Acquire);
        let covered = self.committed.load(Ordering::Acquire);
        syncer.count += 1;
        let synced = match &self.options.sync_hook {
            Some(hook) => hook(syncer.count),
            None => Ok(()),
        };
        let synced = match synced {
            Ok(()) => self.sync_files(syncer),
            Err(error) => Err(StorageError::SyncFailed { cause: error.to_string() }),
        };
        if let Err(error) = synced {
            let cause = match error {
                StorageError::SyncFailed { cause } => cause,
                other => describe(&other),
            };
            return Err(self.stop(Stopped::SyncFailed(cause)));
        }
        self.synced.store(covered, Ordering::Release);
        self.unsynced_bytes.fetch_sub(unsynced, Ordering::Relaxed);
        self.relax_order(syncer, unsynced);
        Ok(())
    }

    fn sync_files(&self, syncer: &mut Syncer) -> Result<(), StorageError> {
        self.with_sled(|trees| flush(&trees.rows))?;
        let store = self.store();
        syncer.log.sync_data().map_err(io_error("sync", &store.join("db")))?;
        sync_new_blobs(&store.join("blobs"), &mut syncer.blobs)
    }

    /// The background thread: syncs what has waited long enough.
    pub(super) fn sync_when_due(&self) {
        let mut state = lock(&self.alarm.state);
        while !state.stop {
            let now = Instant::now();
            state = match state.due {
                None => wait(&self.alarm.changed, state),
                Some(due) if due > now => {
                    let (state, _) =
                        self.alarm.changed.wait_timeout(state, due - now).unwrap_or_else(PoisonError::into_inner);
                    state
                }
                Some(_) => {
                    state.due = None;
                    drop(state);
                    // Commits from here on arm it again, so none is missed.
                    self.alarm.armed.store(false, Ordering::SeqCst);
                    self.sync_or_nudge();
                    lock(&self.alarm.state)
                }
            };
        }
    }

    /// Syncs for those who do not wait. If a sync is already under way, makes
    /// sure that it ends: sled can miss waking its own `flush()` after a failed
    /// write, and any further call of it wakes them all.
    fn sync_or_nudge(&self) {
        // Failures show in `health` and at the next commit.
        match self.syncer.try_lock() {
            Ok(mut syncer) => {
                let synced = self.synced.load(Ordering::Acquire);
                if synced < self.committed.load(Ordering::Acquire) && self.stopped().is_none() {
                    let _ = self.sync(&mut syncer);
                }
            }
            Err(_) => {
                let _ = self.with_sled(|trees| flush(&trees.rows));
                self.arm();
            }
        }
    }

    /// Tells the background thread that something is not yet durable.
    pub(super) fn arm(&self) {
        if self.alarm.armed.swap(true, Ordering::SeqCst) {
            return;
        }
        let interval = Duration::from_millis(self.options.sync_interval_ms);
        lock(&self.alarm.state).due = Some(Instant::now() + interval);
        self.alarm.changed.notify_all();
    }
}
