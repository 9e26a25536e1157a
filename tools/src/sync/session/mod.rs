//! An exchange with one peer: what to fetch, what to send, and from where to
//! go on the next time.
//!
//! Ledgers only grow, so the exchange keeps positions: everything below them is
//! done. What lies above is compared by the first halves of ids, and what the
//! other side lacks goes in windows of a few seconds each. A broken line costs
//! what was under way in the window and had not come whole.
//!
//! ```text
//! greeting  how both ledgers stand
//! pull      what is not here
//! push      what is not there
//! ```

mod exchange;
mod greeting;
mod growth;
mod pull;
mod push;
mod receipts;
mod refusals;
mod run;
mod summary;
mod waiting;
mod window;

pub(crate) use exchange::{Plan, Session, Tick};
pub(crate) use summary::{Count, Summary, Waiting, WaitingThere};
pub(crate) use waiting::wanted;
