//! What is known to be missing of a ledger: a list of what is left is not all that
//! there was.

use std::ops::Range;

use thingdb::{Db, Standing, Warning};

use crate::error::{Exit, Failure, Outcome};

/// Ranges of lost entries that are named.
const MAX_SHOWN: usize = 8;

/// The failure of who has listed `listed` entries as if they were all. If the ledger
/// has more, it is looked for those of which nothing is stored.
pub(crate) fn known(db: &Db, listed: u64) -> Outcome<Option<Failure>> {
    let mut facts = Vec::new();
    let mut word = "holes";
    for warning in db.warnings() {
        match &warning {
            Warning::Standing(Standing::Truncated { .. }) => word = "truncated",
            Warning::Standing(_) => word = "rolled-back",
            Warning::Damaged(_) => {}
            _ => continue,
        }
        facts.push(warning.to_string());
    }
    if facts.is_empty() && listed < db.stats()?.entries {
        let (gaps, accepted) = db.missing_positions()?;
        // Who got a new node key has taken it that they are gone.
        facts.extend(gaps.iter().filter(|gap| gap.end > accepted).take(MAX_SHOWN).map(in_words));
    }
    if facts.is_empty() {
        return Ok(None);
    }
    let failure = Failure::new(Exit::Partly, word, "not all that was written is here; the rest is told");
    Ok(Some(failure.causes(facts).hint("thingdb doctor")))
}

fn in_words(gap: &Range<u64>) -> String {
    match gap.end - gap.start {
        1 => format!("the entry at position {} is lost", gap.start),
        _ => format!("the entries at positions {} to {} are lost", gap.start, gap.end - 1),
    }
}
