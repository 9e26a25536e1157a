//! Timestamps of time-stamp authorities (RFC 3161): what is asked, and whether an
//! answer holds. There is no network here.
//!
//! ```text
//! request ── an imprint, a nonce ──▶ authority ──▶ response ── status, token
//!                                                                  │
//! token ─── SignedData (RFC 5652) over TSTInfo: imprint, time ◀────┘
//!   ├ signer ─── its signature covers the TSTInfo and its own certificate
//!   └ roots ──── its certificate leads to one of those that somebody trusts
//! ```

pub(crate) mod request;
pub(crate) mod roots;
mod signer;
mod structures;
pub(crate) mod token;
