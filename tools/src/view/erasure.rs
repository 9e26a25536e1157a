//! Erasures as JSON: what would be signed, what was erased, and the records that there
//! are. The server answers with the same JSON.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thingdb::format::erasure::{MAX_BASIS_BYTES, MAX_REASON_BYTES};
use thingdb::format::{MAX_NAME_BYTES, erasure};
use thingdb::{Actor, EntryId, Erased, ErasurePlan, ErasureRecord, Receipt, ThingId, Time};
use utoipa::ToSchema;

use super::as_text;
use super::receipt::ReceiptJson;
use crate::text::is_unprintable;

/// What would be signed and erased.
#[derive(Serialize, ToSchema)]
#[schema(as = ErasurePlan)]
pub(crate) struct PlanJson {
    thing: String,
    /// Who would sign.
    actor: String,
    /// The seqs of the entries that would lose their content.
    seqs: Vec<u64>,
    /// How many entries these are.
    entries: u64,
    reason: String,
    basis: Option<String>,
    /// The records, word for word.
    #[schema(value_type = Vec<serde_json::Value>)]
    records: Vec<Box<RawValue>>,
}

/// What was erased.
#[derive(Serialize, ToSchema)]
#[schema(as = Erased)]
pub(crate) struct ErasedJson {
    thing: String,
    /// Entries whose content is gone.
    erased: u64,
    /// The erasure records.
    records: Vec<PlaceJson>,
    /// Files that were set aside beside the keyring, and are removed.
    removed: Vec<String>,
}

/// Where a record is.
#[derive(Serialize, ToSchema)]
#[schema(as = ErasurePlace)]
struct PlaceJson {
    seq: u64,
    id: String,
    position: u64,
}

/// An erasure record, and what became of it at the node that tells.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ErasureRecord)]
pub(crate) struct ErasureJson {
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) thing: ThingId,
    pub(crate) seq: u64,
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) id: EntryId,
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) time: Time,
    #[serde(default, deserialize_with = "as_text::short::<MAX_NAME_BYTES, _>")]
    pub(crate) actor: Option<String>,
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) actor_key: Actor,
    /// Null if the record cannot be read.
    #[serde(default, deserialize_with = "as_text::short::<MAX_REASON_BYTES, _>")]
    pub(crate) reason: Option<String>,
    #[serde(default, deserialize_with = "as_text::short::<MAX_BASIS_BYTES, _>")]
    pub(crate) basis: Option<String>,
    /// The ids of the entries that it lists.
    #[serde(with = "as_text::list")]
    #[schema(value_type = Vec<String>)]
    pub(crate) listed: Vec<EntryId>,
    /// Of these, how many are erased there.
    pub(crate) erased: u64,
    /// Of these, how many its signer must not erase.
    pub(crate) refused: u64,
    /// Whether it was carried out.
    pub(crate) done: bool,
    /// What nodes answered.
    pub(crate) receipts: Vec<ReceiptJson>,
    /// Peers that could read something of it and have not answered, by name.
    pub(crate) unanswered: Vec<String>,
}

impl PlanJson {
    /// What `plan` says.
    pub(crate) fn new(plan: &ErasurePlan) -> Self {
        Self {
            thing: plan.thing().to_owned(),
            actor: plan.actor().to_owned(),
            seqs: plan.seqs().to_vec(),
            entries: plan.entries(),
            reason: plan.reason().to_owned(),
            basis: plan.basis().map(str::to_owned),
            records: plan.texts().filter_map(|text| RawValue::from_string(text).ok()).collect(),
        }
    }
}

impl ErasedJson {
    /// What was erased of a thing.
    pub(crate) fn new(thing: &str, erased: &Erased) -> Self {
        Self {
            thing: thing.to_owned(),
            erased: erased.entries,
            records: erased.records.iter().map(PlaceJson::new).collect(),
            removed: erased.removed.iter().map(|path| path.display().to_string()).collect(),
        }
    }

    /// The same for others: paths of the machine are not theirs.
    pub(crate) fn without_paths(self) -> Self {
        Self { removed: Vec::new(), ..self }
    }
}

impl PlaceJson {
    fn new(receipt: &Receipt) -> Self {
        Self { seq: receipt.seq, id: receipt.id.to_string(), position: receipt.position }
    }
}

impl ErasureJson {
    /// The record `erasure`.
    pub(crate) fn new(erasure: &ErasureRecord) -> Self {
        let (record, said) = (&erasure.record, erasure.erasure.as_ref());
        Self {
            thing: record.header().thing.clone(),
            seq: record.seq(),
            id: record.id(),
            time: record.time(),
            actor: record.actor_name().map(str::to_owned),
            actor_key: record.actor(),
            reason: said.map(|said| said.reason().to_owned()),
            basis: said.and_then(erasure::Erasure::basis).map(str::to_owned),
            listed: said.map_or_else(Vec::new, |said| said.entries().to_vec()),
            erased: erasure.erased,
            refused: erasure.refused,
            done: erasure.is_done,
            receipts: erasure.receipts.iter().map(ReceiptJson::new).collect(),
            unanswered: erasure.unanswered.clone(),
        }
    }

    /// Whether it is one that could be: it lists as many as it says, and lists some if
    /// it can be read.
    pub(crate) fn is_one(&self) -> bool {
        let listed = self.listed.len() as u64;
        let is_read = self.reason.is_some();
        let counted = self.erased.checked_add(self.refused);
        self.receipts.iter().all(ReceiptJson::is_one)
            && listed <= erasure::MAX_ENTRIES as u64
            && (listed > 0) == is_read
            && counted.is_some_and(|sum| sum <= listed)
    }
}

/// Refuses a reason in which somebody could read something else than is signed.
pub(crate) fn plain(reason: &str) -> Result<(), String> {
    reason.chars().find(|c| is_unprintable(*c)).map_or(Ok(()), |unseen| {
        Err(format!("the reason holds the character U+{:04X}, which is not seen or turns others", u32::from(unseen)))
    })
}
