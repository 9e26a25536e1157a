//! What two nodes need to bring each other up to date: what changed, what is
//! where, and what was seen of another node's ledger.

pub(crate) mod exchanges;
pub(crate) mod memory;
pub(crate) mod refused;
