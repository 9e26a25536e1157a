//! Checkpoints and heads notes of third nodes that peers pass on to each other.

use thingdb::format::heads::SignedHeads;
use thingdb::{Conflict, Db, HeadsConflict, Hearsay, MAX_PASSED_ON, Origin, SignedCheckpoint};

use super::wire::PassedOn;

/// What shows that a third node contradicts itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contradicted {
    /// It has two ledgers.
    pub(crate) ledgers: Vec<Conflict>,
    /// It says two things of the heads of one ledger.
    pub(crate) heads: Vec<HeadsConflict>,
}

/// What was seen here of third nodes, for a peer.
pub(crate) fn seen(db: &Db, to: &Origin) -> thingdb::Result<PassedOn> {
    let checkpoints = db.to_pass_on(to)?.iter().map(ToString::to_string).collect();
    Ok(PassedOn { checkpoints, heads: db.heads_to_pass_on(to)?.iter().map(ToString::to_string).collect() })
}

/// Takes what was passed on. What is no note, or of no node that is known here, is
/// passed over.
pub(crate) fn take(db: &Db, passed: &PassedOn) -> thingdb::Result<Contradicted> {
    let mut found = Contradicted::default();
    for text in passed.checkpoints.iter().take(MAX_PASSED_ON) {
        let Ok(note) = SignedCheckpoint::parse(text) else { continue };
        if let Hearsay::Contradicts(conflict) = db.hear(&note)? {
            found.ledgers.push(*conflict);
        }
    }
    for text in passed.heads.iter().take(MAX_PASSED_ON) {
        let Ok(note) = SignedHeads::parse(text) else { continue };
        found.heads.extend(db.hear_heads(&note)?);
    }
    Ok(found)
}

impl PassedOn {
    /// Whether there is nothing to tell.
    pub(crate) const fn is_empty(&self) -> bool {
        self.checkpoints.is_empty() && self.heads.is_empty()
    }
}
