//! What comes to this node while it waits for what comes to its peer.

use std::sync::{Arc, Mutex};

use thingdb::Db;

/// Looks at the ledger of a database to which others write.
pub(crate) struct News {
    db: Arc<Db>,
    /// What the peer knows of: entries, and the newest revision. Nothing while
    /// nobody waits.
    offered: Mutex<Option<(u64, u64)>>,
}

impl News {
    /// Of this database.
    pub(crate) const fn new(db: Arc<Db>) -> Self {
        Self { db, offered: Mutex::new(None) }
    }

    /// What comes beyond this is news; nothing is if it is not known.
    pub(crate) fn wait_beyond(&self, offered: Option<(u64, u64)>) {
        *self.offered.lock().expect("no thread panics while it holds the numbers") = offered;
    }

    /// Whether there is any.
    pub(crate) fn has_come(&self) -> bool {
        let offered = *self.offered.lock().expect("no thread panics while it holds the numbers");
        offered.is_some_and(|(size, revision)| self.db.ledger_size() > size || self.db.revision() > revision)
    }
}
