//! Proofs that anyone checks, without a database.

pub(crate) mod checkpoints;
