//! Telling everything that serves to come to an end.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::{Failure, Outcome};

/// The wish to stop. Clones share it; it is not taken back.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown(Arc<watch::Sender<bool>>);

impl Shutdown {
    /// Nobody wants to stop yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// From here on everything comes to its end.
    pub(crate) fn request(&self) {
        self.0.send_replace(true);
    }

    /// Whether somebody wants to stop.
    pub(crate) fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until somebody wants to stop.
    pub(crate) async fn requested(&self) {
        // It fails only when there is no sender, and this one is.
        let _ = self.0.subscribe().wait_for(|stop| *stop).await;
    }

    /// The same for a thread that serves nothing else.
    pub(crate) fn wait(&self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.map_err(|problem| Failure::system("no threads", &problem))?.block_on(self.requested());
        Ok(())
    }
}
