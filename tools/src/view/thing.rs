//! Things and their heads, as JSON.

use serde::Serialize;
use thingdb::{Head, ThingInfo};
use utoipa::ToSchema;

/// A thing in a listing.
#[derive(Serialize, ToSchema)]
#[schema(as = Thing)]
pub(crate) struct ThingJson {
    thing: String,
    entries: u64,
    forked: bool,
    heads: Vec<HeadJson>,
    /// The latest entry: one of the heads, or one before the erasure records that
    /// are.
    latest: Option<HeadJson>,
    /// Entries whose content was erased.
    erased: u64,
    /// Whether the latest entry retires the thing; null if it cannot be read, or
    /// is larger than 64 KiB.
    retired: Option<bool>,
}

impl ThingJson {
    /// The thing `thing`.
    pub(crate) fn new(thing: &ThingInfo) -> Self {
        Self {
            thing: thing.thing.to_string(),
            entries: thing.entries,
            forked: thing.heads.len() > 1,
            heads: thing.heads.iter().map(HeadJson::new).collect(),
            latest: thing.latest.as_ref().map(HeadJson::new),
            erased: thing.erased.unwrap_or(0),
            retired: thing.retired,
        }
    }
}

/// An entry that no other follows.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Head)]
pub(crate) struct HeadJson {
    id: String,
    seq: u64,
    time: String,
}

impl HeadJson {
    /// The head `head`.
    pub(crate) fn new(head: &Head) -> Self {
        Self { id: head.id.to_string(), seq: head.seq, time: head.time.to_string() }
    }
}
