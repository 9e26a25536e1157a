//! The ids of the ledger in their order, kept from one question to the next.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::call::Call;
use super::problem::Problem;
use crate::sync::reconcile::ENTRIES;
use crate::sync::sorted::Sorted;

/// New entries that are gone through one by one before they are put in order
/// with the others.
const NEW: u64 = 16_384;

/// The ids that were put in order last, of the newest ledger that was asked for.
#[derive(Default)]
pub(crate) struct Ids(Arc<Mutex<Arc<Sorted>>>);

impl Ids {
    /// Those of the first `size` entries, and of more.
    pub(crate) async fn of_first(&self, call: &Call, size: u64) -> Result<Arc<Sorted>, Problem> {
        // Who waits for somebody else to put them in order waits without a
        // thread; who has them works without the lock.
        let mut newest = Arc::clone(&self.0).lock_owned().await;
        if newest.size() >= size {
            return Ok(Arc::clone(&newest));
        }
        // The lock goes with the work: a client that leaves has nobody do it a
        // second time beside it.
        call.run(move |db| {
            let size = db.ledger_size().min(*ENTRIES.end()).max(size);
            *newest = Arc::new(newest.grown(db, size)?);
            Ok(Arc::clone(&newest))
        })
        .await
    }

    /// Those of nearly all entries; nothing if there are too many to keep.
    pub(crate) async fn of_most(&self, call: &Call) -> Result<Option<Arc<Sorted>>, Problem> {
        let size = call.node.db.ledger_size();
        if size > *ENTRIES.end() {
            return Ok(None);
        }
        self.of_first(call, size.saturating_sub(NEW)).await.map(Some)
    }
}
