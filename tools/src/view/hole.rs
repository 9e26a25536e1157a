//! Entries that could not be read, as JSON: what `export` says of them, and what a
//! server writes behind a stream that lacks them.

use serde::{Deserialize, Serialize};

/// Those of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HolesJson {
    pub(crate) lost: u64,
    pub(crate) holes: Vec<HoleJson>,
}

/// Some of them, one behind the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HoleJson {
    pub(crate) first_position: u64,
    pub(crate) last_position: u64,
    pub(crate) detail: String,
    /// Those that the index knows.
    pub(crate) entries: Vec<LostJson>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LostJson {
    pub(crate) thing: String,
    pub(crate) seq: u64,
}

impl HolesJson {
    pub(crate) fn new(lost: u64, holes: &[thingdb::Hole]) -> Self {
        Self { lost, holes: holes.iter().map(HoleJson::new).collect() }
    }

    /// Whether it can be of the stream of these positions.
    pub(crate) fn is_within(&self, since: u64, until: u64) -> bool {
        let is_one = |hole: &HoleJson| {
            since <= hole.first_position && hole.first_position <= hole.last_position && hole.last_position < until
        };
        (1..=until.saturating_sub(since)).contains(&self.lost) && self.holes.iter().all(is_one)
    }
}

impl HoleJson {
    fn new(hole: &thingdb::Hole) -> Self {
        Self {
            first_position: hole.positions.start,
            last_position: hole.positions.end.saturating_sub(1),
            detail: hole.detail.clone(),
            entries: hole.entries.iter().map(|(thing, seq)| LostJson { thing: thing.to_string(), seq: *seq }).collect(),
        }
    }
}
