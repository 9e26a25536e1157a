//! Streams of entries out of and into the database.

mod check;
pub(crate) mod export;
pub(crate) mod framing;
mod have;
pub(crate) mod import;
mod intake;
mod own_seal;
pub(crate) mod packets;
mod pending;
pub(crate) mod refusal;
mod source;
