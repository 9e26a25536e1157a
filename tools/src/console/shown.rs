//! The bar that is on the terminal.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::ProgressBar;

/// The bar that is on the terminal, so that what is said does not run into it.
#[derive(Clone, Default)]
pub(crate) struct Shown(Arc<Mutex<Option<ProgressBar>>>);

impl Shown {
    /// Runs `body` while the bar is not there.
    pub(crate) fn aside(&self, body: impl FnOnce()) {
        let bar = self.lock().clone();
        match bar {
            Some(bar) => bar.suspend(body),
            None => body(),
        }
    }

    /// The bar, to be put there or taken away.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
