//! Streams of ndjson out of and into the database.

pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod packets;
mod pending;
