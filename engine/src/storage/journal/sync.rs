//! Syncs: one for all that wait, and what a failed one ends.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::super::StorageError;
use super::{Journal, Stopped, lock};

impl Journal {
    /// Returns when the commit with this sequence, and all before it, would
    /// survive a power cut. Threads that wait at the same time share one sync.
    ///
    /// # Errors
    /// [`StorageError::SyncFailed`] if a sync failed, now or earlier: none is
    /// tried again. What is durable stays so and is answered with `Ok`.
    pub fn sync(&self, sequence: u64) -> Result<(), StorageError> {
        let is_durable = || self.durable() >= sequence;
        if is_durable() {
            return Ok(());
        }
        let Some(_turn) = self.turn.take_unless(|| is_durable() || self.stopped().is_some()) else {
            return if is_durable() { Ok(()) } else { self.check_not_stopped() };
        };
        self.sync_up_to(sequence)
    }

    /// As [`Journal::sync`], for those who hold `tail` or the turn.
    pub(super) fn sync_up_to(&self, sequence: u64) -> Result<(), StorageError> {
        let mut count = lock(&self.syncer);
        if self.durable() >= sequence {
            return Ok(());
        }
        self.check_not_stopped()?;
        self.sync_file(&mut count)
    }

    /// A sync whatever is durable.
    pub(super) fn sync_now(&self) -> Result<(), StorageError> {
        let mut count = lock(&self.syncer);
        self.check_not_stopped()?;
        self.sync_file(&mut count)
    }

    /// `fdatasync` of the file that is written to. Files before it were synced
    /// when it was made.
    fn sync_file(&self, count: &mut u64) -> Result<(), StorageError> {
        // In this order: what was appended by now is in this file or before it.
        let covered = self.appended.load(Ordering::Acquire);
        let file = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        *count += 1;
        let hooked = self.options.sync_hook.as_ref().map_or(Ok(()), |hook| hook(*count));
        // ext4 answers a sync with success if it was shut down meanwhile and could not
        // keep what lies in blocks that were allocated ahead: 4 of 60 cuts lost what
        // was acknowledged last. A write says whether it still works, also of nothing;
        // with it 60 of 60 were in order.
        match hooked.and_then(|()| file.sync_data()).and_then(|()| file.write_at(&[], 0)) {
            Ok(_) => {
                self.durable.store(covered, Ordering::Release);
                Ok(())
            }
            Err(error) => Err(self.stop(Stopped::SyncFailed(error.to_string()))),
        }
    }

    /// After an error in the middle of a write nothing more is written.
    pub(super) fn end_writing(&self, action: &'static str, path: &Path, error: io::Error) -> StorageError {
        self.stop(Stopped::ReadOnly(format!("cannot {action} '{}': {error}", path.display())))
    }

    /// Ends writing. The first reason stays; it is what is returned.
    pub(super) fn stop(&self, why: Stopped) -> StorageError {
        let mut stopped = self.stopped.write().unwrap_or_else(PoisonError::into_inner);
        stopped.get_or_insert(why).error()
    }

    pub(super) fn stopped(&self) -> Option<Stopped> {
        self.stopped.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn check_not_stopped(&self) -> Result<(), StorageError> {
        self.stopped().map_or(Ok(()), |stopped| Err(stopped.error()))
    }
}
