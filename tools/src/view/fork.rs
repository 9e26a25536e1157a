//! Things with several heads, as JSON. The server answers with the same JSON.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thingdb::format::{MAX_ACTION_BYTES, MAX_NAME_BYTES};
use thingdb::{Actor, EntryId, Equivocation, Fork, ForkHead, Origin, ThingId, Time};
use utoipa::ToSchema;

use super::as_text;

/// A thing with several heads.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Fork)]
pub(crate) struct ForkJson {
    /// The thing.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) thing: ThingId,
    /// Its heads, the latest first.
    pub(crate) heads: Vec<EndJson>,
    /// Pairs of entries by which one actor at one node wrote two in the place of
    /// one.
    pub(crate) equivocations: Vec<EquivocationJson>,
}

/// An entry that no other follows, and who wrote it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ForkHead)]
pub(crate) struct EndJson {
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) id: EntryId,
    pub(crate) seq: u64,
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) time: Time,
    pub(crate) actor: WriterJson,
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) origin: Origin,
    #[serde(with = "as_text::list")]
    #[schema(value_type = Vec<String>)]
    pub(crate) prev: Vec<EntryId>,
    /// What was done to the thing; null unless it is readable.
    #[serde(default, deserialize_with = "as_text::short::<MAX_ACTION_BYTES, _>")]
    pub(crate) action: Option<String>,
    /// Whether the node can read its data.
    pub(crate) readable: bool,
}

/// Who signed, and whether the node knows the key by that name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ForkActor)]
pub(crate) struct WriterJson {
    #[serde(default, deserialize_with = "as_text::short::<MAX_NAME_BYTES, _>")]
    pub(crate) name: Option<String>,
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) key: Actor,
    pub(crate) trusted: bool,
}

/// Two entries in the place of one.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Equivocation)]
pub(crate) struct EquivocationJson {
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) actor: Actor,
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) origin: Origin,
    #[serde(with = "as_text::list")]
    #[schema(value_type = Vec<String>)]
    pub(crate) entries: Vec<EntryId>,
}

impl ForkJson {
    /// The fork `fork`.
    pub(crate) fn new(fork: &Fork) -> Self {
        Self {
            thing: fork.thing.clone(),
            heads: fork.heads.iter().map(EndJson::new).collect(),
            equivocations: fork.equivocations.iter().map(EquivocationJson::new).collect(),
        }
    }

    /// Whether it is a fork: two heads at least, no two the same.
    pub(crate) fn is_one(&self) -> bool {
        let ids: BTreeSet<_> = self.heads.iter().map(|head| head.id.0).collect();
        ids.len() > 1 && ids.len() == self.heads.len()
    }
}

impl EndJson {
    fn new(head: &ForkHead) -> Self {
        Self {
            id: head.id,
            seq: head.seq,
            time: head.time,
            actor: WriterJson { name: head.actor_name.clone(), key: head.actor, trusted: head.is_trusted },
            origin: head.origin,
            prev: head.prev.clone(),
            action: head.action.clone(),
            readable: head.is_readable,
        }
    }
}

impl EquivocationJson {
    /// The equivocation `found`.
    pub(crate) fn new(found: &Equivocation) -> Self {
        Self { actor: found.actor, origin: found.origin, entries: found.entries.to_vec() }
    }
}
