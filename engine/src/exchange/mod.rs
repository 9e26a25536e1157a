//! Streams of entries out of and into the database, and proofs out of it.

mod check;
mod cores;
mod dress;
mod dressing;
mod dry_run;
pub(crate) mod export;
pub(crate) mod framing;
pub(crate) mod import;
pub(crate) mod inclusion;
pub(crate) mod intake;
mod opening;
mod own_seal;
pub(crate) mod prove;
mod source;
pub(crate) mod waiting;
