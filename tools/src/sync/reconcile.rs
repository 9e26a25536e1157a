//! What differs between two ledgers that have much in common, for about a
//! kilobyte a difference: range-based set reconciliation (negentropy, protocol
//! version 1), over whole ids at timestamp 0.
//!
//! For the first exchange of two nodes that both have entries. Later ones know
//! from where to compare.

use negentropy::{Id, Negentropy};
use thingdb::ShortId;

use super::fault::{Fault, Outcome};
use super::sorted::First;

/// Ledgers for which it is worth the trouble, and whose ids fit into memory.
pub(crate) const ENTRIES: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;

/// Largest message.
pub(crate) const MAX_MESSAGE_BYTES: usize = 256 << 10;

/// The answer to a message about the first entries of a ledger; nothing if it is
/// none.
pub(crate) fn answer(own: &First, message: &[u8]) -> Option<Vec<u8>> {
    let mut side = Negentropy::borrowed(own, MAX_MESSAGE_BYTES as u64).ok()?;
    side.reconcile(message).ok()
}

/// What differs.
#[derive(Default)]
pub(crate) struct Difference {
    /// What the other side has and this one lacks.
    pub(crate) lacking_here: Vec<ShortId>,
    /// What this side has and the other one lacks.
    pub(crate) lacking_there: Vec<ShortId>,
}

/// Compares with another side, which answers messages. Nothing if that takes
/// more than `most` bytes: then a list of ids is shorter.
pub(crate) fn compare(
    own: &First,
    most: u64,
    mut ask: impl FnMut(&[u8]) -> Outcome<Vec<u8>>,
) -> Outcome<Option<Difference>> {
    let problem = |problem: negentropy::Error| Fault::answer(problem);
    let mut side = Negentropy::borrowed(own, MAX_MESSAGE_BYTES as u64).map_err(problem)?;
    let mut message = side.initiate().map_err(problem)?;
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    loop {
        bytes += message.len() as u64;
        let answer = ask(&message)?;
        bytes += answer.len() as u64;
        match side.reconcile_with_ids(&answer, &mut have, &mut need).map_err(problem)? {
            Some(next) if bytes < most => message = next,
            Some(_) => return Ok(None),
            None => break,
        }
    }
    let short = |id: &Id| *id.as_bytes().first_chunk().expect("ids have 32 bytes");
    Ok(Some(Difference {
        lacking_here: need.iter().map(short).collect(),
        lacking_there: have.iter().map(short).collect(),
    }))
}
