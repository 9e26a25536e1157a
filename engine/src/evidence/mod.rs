//! Proofs that anyone checks, without a database.

pub(crate) mod checkpoints;
mod file;
pub(crate) mod fork;
pub(crate) mod heads;
pub(crate) mod statements;
