//! The way in from the Python prototype: its directories are read, each of its
//! entries becomes one of ours, and verification checks the originals too.
//!
//! - [`document`] cuts what the prototype signed, without spelling it anew;
//!   [`sealed`] is how it lies in a ledger, [`keys`] what opens it;
//! - [`original`] is what an entry of ours keeps of it, [`chain`] the
//!   prototype's own chain;
//! - [`migrate`] brings a directory in, and [`report`] tells what became of it.

mod chain;
mod document;
mod keys;
mod migrate;
mod original;
mod report;
mod sealed;
mod tokens;

pub(crate) use chain::Chains;
pub use chain::{Chain, ChainVerdict, OriginalReport};
pub use migrate::MigrateOptions;
pub(crate) use original::{Checked, check};
pub use original::{CheckedOriginal, ORIGINAL, Original, PYTHON_JSON};
pub use report::{ActorOutcome, MigrateReport, MigratedActor, PrototypePeer, RefusedLine};
pub use sealed::Form;
pub(crate) use sealed::is_ledger_line;

/// The file with the entries.
const LEDGER_FILE: &str = "ledger.ndjson";
