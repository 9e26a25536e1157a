//! What is known to be missing of a ledger: a list of what is left is not all that
//! there was.

use crate::error::{Exit, Failure};
use crate::text::printable;
use crate::view::missing::{HOLES, MissingOfLedger, ROLLED_BACK, TRUNCATED};

/// The failure of who has listed `listed` of `entries` entries as if they were all:
/// where that is all of them, none is lost between others.
pub(crate) fn failure(missing: &[MissingOfLedger], listed: u64, entries: u64) -> Option<Failure> {
    let counts = |one: &&MissingOfLedger| !one.is_range || listed < entries;
    let counting: Vec<&MissingOfLedger> = missing.iter().filter(counts).collect();
    let first = counting.first()?;
    let word = [TRUNCATED, ROLLED_BACK].into_iter().find(|word| first.code == *word).unwrap_or(HOLES);
    let failure = Failure::new(Exit::Partly, word, "not all that was written is here; the rest is told");
    Some(failure.causes(counting.iter().map(|one| printable(&one.detail).into_owned())).hint("thingdb doctor"))
}
