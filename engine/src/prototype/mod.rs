//! What the Python prototype wrote: read, opened and checked.
//!
//! - [`document`] cuts what the prototype signed, without spelling it anew;
//!   [`sealed`] is how it lies in a ledger, [`keys`] what opens it;
//! - [`original`] is what a migrated entry keeps of it, [`chain`] the prototype's
//!   own chain. Verification checks both.

mod chain;
mod cipher;
pub(crate) mod document;
pub(crate) mod keys;
pub(crate) mod original;
pub(crate) mod sealed;

pub(crate) use chain::Chains;
pub use chain::{Chain, ChainVerdict, OriginalReport};
pub(crate) use original::{Checked, check};
pub use original::{CheckedOriginal, ORIGINAL, Original, PYTHON_JSON};
pub use sealed::Form;
pub(crate) use sealed::is_ledger_line;

/// The file with the entries.
pub(crate) const LEDGER_FILE: &str = "ledger.ndjson";
