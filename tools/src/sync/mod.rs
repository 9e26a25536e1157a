//! Two nodes bring each other up to date over HTTPS. `docs/sync.md` has the
//! protocol.
//!
//! ```text
//! session   what to fetch and what to send: greet, pull, push
//!    ↓
//! remote    the questions that a peer's server answers
//!    ↓
//! client    asks them over one connection; tries again
//! ```

pub(crate) mod answer;
mod clock;
pub(crate) mod fault;
pub(crate) mod hearsay;
pub(crate) mod news;
pub(crate) mod receipts;
pub(crate) mod reconcile;
pub(crate) mod remote;
pub(crate) mod session;
pub(crate) mod sorted;
pub(crate) mod stream;
pub(crate) mod timestamp;
pub(crate) mod wire;
pub(crate) mod witness;
