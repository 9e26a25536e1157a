//! The database that a command works on: its own, or the one that a server
//! holds for many.

use std::ops::Deref;
use std::sync::Arc;

use thingdb::Db;

use crate::error::{Exit, Failure, Outcome};

/// An open database.
pub(crate) enum Database {
    /// Opened for this command, which closes it.
    Own(Box<Db>),
    /// Open as long as the server runs.
    Shared(Arc<Db>),
}

impl Database {
    /// Makes sure of what was written: it is durable, and the node's own
    /// checkpoint names it.
    pub(crate) fn close(self) -> thingdb::Result<()> {
        match self {
            Self::Own(db) => db.close(),
            Self::Shared(db) => db.settle_all(),
        }
    }

    /// The database of the server, to which others write meanwhile.
    pub(crate) fn shared(&self) -> Option<Arc<Db>> {
        match self {
            Self::Own(_) => None,
            Self::Shared(db) => Some(Arc::clone(db)),
        }
    }

    /// The database for this process alone.
    pub(crate) fn into_own(self) -> Outcome<Db> {
        match self {
            Self::Own(db) => Ok(*db),
            Self::Shared(_) => Err(Failure::new(Exit::Locked, "locked", "a server holds the database")
                .hint("stop the server first: this command needs the database for itself")),
        }
    }
}

impl Deref for Database {
    type Target = Db;

    fn deref(&self) -> &Db {
        match self {
            Self::Own(db) => db,
            Self::Shared(db) => db,
        }
    }
}
