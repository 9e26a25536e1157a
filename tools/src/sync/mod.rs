//! Two nodes bring each other up to date over HTTPS. `docs/sync.md` has the
//! protocol.
//!
//! ```text
//! session   what to fetch and what to send: greet, pull, push
//!    ↓
//! remote    the calls that a peer's server answers; tries again
//!    ↓
//! http      one request and its answer
//!    ↓
//! link      a socket with TLS: paced, counted, given up when it stalls
//! ```

pub(crate) mod address;
pub(crate) mod answer;
pub(crate) mod fault;
mod http;
mod link;
pub(crate) mod pace;
mod pin;
pub(crate) mod reconcile;
pub(crate) mod remote;
pub(crate) mod session;
pub(crate) mod stream;
pub(crate) mod wire;
