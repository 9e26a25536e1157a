//! Proofs that anyone checks, without a database.

pub(crate) mod checkpoints;
pub(crate) mod fork;
