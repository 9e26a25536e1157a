//! Telling everything that serves to come to an end.

use std::sync::Arc;

use tokio::sync::watch;

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

    /// Waits until somebody wants to stop.
    pub(crate) async fn requested(&self) {
        // It fails only when there is no sender, and this one is.
        let _ = self.0.subscribe().wait_for(|stop| *stop).await;
    }
}
