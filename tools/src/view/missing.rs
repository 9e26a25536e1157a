//! What is known to be missing of a ledger, as JSON: how a server tells it to whoever
//! asks.

use serde::{Deserialize, Serialize};
use thingdb::{Db, Standing, Warning};
use utoipa::ToSchema;

/// Ranges of lost entries that are named.
const MAX_SHOWN: usize = 8;

/// A reason for which what is here is not all that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Missing)]
pub(crate) struct MissingOfLedger {
    /// `truncated` or `rolled-back` if the end is cut or another ledger is here, `holes`
    /// if entries between others are lost.
    pub(crate) code: String,
    /// In words.
    pub(crate) detail: String,
    /// Whether it tells of some positions only, and not of the ledger as a whole.
    pub(crate) is_range: bool,
}

/// The code of entries that are lost between others.
pub(crate) const HOLES: &str = "holes";
pub(crate) const TRUNCATED: &str = "truncated";
pub(crate) const ROLLED_BACK: &str = "rolled-back";

impl MissingOfLedger {
    /// All that is known. Nothing is looked through for it.
    pub(crate) fn of(db: &Db) -> thingdb::Result<Vec<Self>> {
        let mut missing = Vec::new();
        for warning in db.warnings() {
            let code = match &warning {
                Warning::Standing(Standing::Truncated { .. }) => TRUNCATED,
                Warning::Standing(_) => ROLLED_BACK,
                Warning::Damaged(_) => HOLES,
                _ => continue,
            };
            missing.push(Self { code: code.to_owned(), detail: warning.to_string(), is_range: false });
        }
        if missing.is_empty() {
            let ranges = db.unlisted_positions()?;
            missing.extend(ranges.iter().take(MAX_SHOWN).map(|range| Self::lost(range.start, range.end)));
        }
        Ok(missing)
    }

    fn lost(start: u64, end: u64) -> Self {
        let detail = match end - start {
            1 => format!("the entry at position {start} is lost"),
            _ => format!("the entries at positions {start} to {} are lost", end - 1),
        };
        Self { code: HOLES.to_owned(), detail, is_range: true }
    }
}
