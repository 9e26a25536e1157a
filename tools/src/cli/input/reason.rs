//! Why content is to go: text that is signed.

use crate::error::{Failure, Outcome};
use crate::view::erasure::plain;

/// Refuses a reason that people could not read as it stands.
pub(crate) fn check(reason: &str) -> Outcome {
    plain(reason)
        .map_err(|fact| Failure::usage(fact).hint("it is signed, and everybody reads it: write it in plain text"))
}
