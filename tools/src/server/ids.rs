//! The ids of the ledger in their order, kept from one question to the next.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::sync::sorted::Sorted;

/// The ids that were put in order last, of the newest ledger that was asked for.
#[derive(Default)]
pub(crate) struct Ids(Arc<Mutex<Arc<Sorted>>>);

impl Ids {
    /// The newest that were put in order, for whoever may put more in order.
    ///
    /// Who waits for somebody else to do so waits without a thread; who has them
    /// works without the lock.
    pub(crate) async fn newest(&self) -> OwnedMutexGuard<Arc<Sorted>> {
        Arc::clone(&self.0).lock_owned().await
    }
}
