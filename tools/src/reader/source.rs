//! What a command reads: a database here, or a server.

use std::ops::Deref;

use super::Reader;
use super::database::Database;
use super::server::Server;

/// What a command reads.
pub(crate) enum Source {
    /// A database that is open here.
    Here(Database),
    /// A server.
    There(Box<Server>),
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
