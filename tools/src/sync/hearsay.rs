//! Checkpoints of third nodes that peers pass on to each other.

use thingdb::{Conflict, Db, Hearsay, MAX_PASSED_ON, SignedCheckpoint};

use super::wire::PassedOn;

/// Takes what was passed on. What is no checkpoint, or of no node that is known here, is
/// passed over. Gives what shows that a node has two ledgers.
pub(crate) fn take(db: &Db, passed: &PassedOn) -> thingdb::Result<Vec<Conflict>> {
    let mut found = Vec::new();
    for text in passed.checkpoints.iter().take(MAX_PASSED_ON) {
        let Ok(note) = SignedCheckpoint::parse(text) else { continue };
        if let Hearsay::Contradicts(conflict) = db.hear(&note)? {
            found.push(*conflict);
        }
    }
    Ok(found)
}
