//! Evidence that one actor at one node wrote two entries in the place of one.

use thingdb_format::{Actor, EntryId, Origin, ThingId, Verifier, line};

use crate::error::{Error, Result};

/// Two different entries of one actor and origin on one thing with the same
/// prev. A restored backup or a copied directory does it innocently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Equivocation {
    /// Who signed both.
    pub actor: Actor,
    /// The node at which both were written.
    pub origin: Origin,
    /// The entries.
    pub entries: [EntryId; 2],
}

/// Checks the evidence that [`Db::prove_fork`](crate::Db::prove_fork) gives: two lines, each signed by
/// the same actor at the same node, about the same thing after the same prev,
/// and not the same entry.
///
/// # Errors
/// [`Error::Invalid`] if a line or signature does not hold,
/// [`Error::NoEvidence`] if they prove nothing.
pub fn verify_fork(evidence: &str) -> Result<(ThingId, Equivocation)> {
    let mut entries = Vec::new();
    for (number, text) in (1..).zip(evidence.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let entry = line::decode(text.as_bytes(), number)?;
        let verifier = Verifier::new(&entry.header.actor.0)?;
        entries.push(entry.verify(&verifier)?);
    }
    let [a, b] = &entries[..] else {
        return Err(Error::NoEvidence { reason: format!("{} entries instead of two", entries.len()) });
    };
    let differ = |what: &str| Err(Error::NoEvidence { reason: format!("the entries have different {what}") });
    match (&a.header, &b.header) {
        _ if a.id() == b.id() => Err(Error::NoEvidence { reason: "it is the same entry twice".to_owned() }),
        (one, other) if one.thing != other.thing => differ("things"),
        (one, other) if one.actor != other.actor => differ("actors"),
        (one, other) if one.origin != other.origin => differ("origins"),
        (one, other) if one.prev != other.prev => differ("prev"),
        (one, _) => {
            Ok((one.thing.clone(), Equivocation { actor: one.actor, origin: one.origin, entries: [a.id(), b.id()] }))
        }
    }
}
