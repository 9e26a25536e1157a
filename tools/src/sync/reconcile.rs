//! What differs between two ledgers that have much in common, for about a
//! kilobyte a difference: range-based set reconciliation (negentropy, protocol
//! version 1), over whole ids at timestamp 0.
//!
//! For the first exchange of two nodes that both have entries. Later ones know
//! from where to compare.

use std::sync::{Arc, Mutex};

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use thingdb::{Db, ShortId};

use super::fault::{Fault, Outcome};

/// Ledgers for which it is worth the trouble, and whose ids fit into memory.
pub(crate) const ENTRIES: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;

/// Largest message.
pub(crate) const MAX_MESSAGE_BYTES: usize = 256 << 10;

/// Ids that are put in order at once.
const PAGE: u64 = 65_536;

/// The ids of the first entries of a ledger, in the order of the protocol.
pub(crate) struct Ids(NegentropyStorageVector);

impl Ids {
    /// Those of the first `size` entries.
    pub(crate) fn of(db: &Db, size: u64) -> thingdb::Result<Self> {
        let mut ids = NegentropyStorageVector::new();
        let broken = |problem: negentropy::Error| thingdb::Error::Stream {
            action: "compared",
            source: Arc::new(std::io::Error::other(problem.to_string())),
        };
        for start in (0..size).step_by(PAGE as usize) {
            for id in db.ids(start..size.min(start + PAGE))? {
                ids.insert(0, Id::from_byte_array(id.0)).map_err(broken)?;
            }
        }
        ids.seal().map_err(broken)?;
        Ok(Self(ids))
    }

    /// The answer to a message; nothing if it is none.
    pub(crate) fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut side = Negentropy::borrowed(&self.0, MAX_MESSAGE_BYTES as u64).ok()?;
        side.reconcile(message).ok()
    }
}

/// The ids that were put in order last: the messages of one exchange ask for
/// the same.
#[derive(Default)]
pub(crate) struct LastIds(Mutex<Option<(u64, Arc<Ids>)>>);

impl LastIds {
    /// Those of the first `size` entries.
    pub(crate) fn of(&self, db: &Db, size: u64) -> thingdb::Result<Arc<Ids>> {
        // Held while they are put in order: two would take twice the memory.
        let mut last = self.0.lock().expect("no thread panics while it holds the ids");
        if let Some((known, ids)) = &*last
            && *known == size
        {
            return Ok(Arc::clone(ids));
        }
        *last = None;
        let ids = Arc::new(Ids::of(db, size)?);
        *last = Some((size, Arc::clone(&ids)));
        Ok(ids)
    }
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
    own: &Ids,
    most: u64,
    mut ask: impl FnMut(&[u8]) -> Outcome<Vec<u8>>,
) -> Outcome<Option<Difference>> {
    let problem = |problem: negentropy::Error| Fault::answer(problem);
    let mut side = Negentropy::borrowed(&own.0, MAX_MESSAGE_BYTES as u64).map_err(problem)?;
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
