//! What a command reads: a database here, or a server.

use std::ops::Deref;

use super::Reader;
use super::database::Database;
use super::server::Server;
use crate::error::Outcome;

/// What a command reads.
pub(crate) enum Source {
    /// A database that is open here.
    Here(Database),
    /// A server.
    There(Box<Server>),
}

impl Source {
    /// Ends reading: what a checkpoint may have written is durable.
    pub(crate) fn close(self) -> Outcome {
        match self {
            Self::Here(db) => Ok(db.close()?),
            Self::There(_) => Ok(()),
        }
    }
}

impl Deref for Source {
    type Target = dyn Reader;

    fn deref(&self) -> &(dyn Reader + 'static) {
        match self {
            Self::Here(db) => &**db,
            Self::There(server) => &**server,
        }
    }
}
