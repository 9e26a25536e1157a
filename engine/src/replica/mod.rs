//! What this node knows of others: what they showed of their ledgers, how far the
//! exchange with each is, and how it ended.

pub(crate) mod cursors;
pub(crate) mod exchanges;
pub(crate) mod heads;
pub(crate) mod heard;
pub(crate) mod memory;
pub(crate) mod receipts;
pub(crate) mod refused;
pub(crate) mod timestamps;
pub(crate) mod witness;
pub(crate) mod witnesses;
