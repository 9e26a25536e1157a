//! What is told of one entry beside what it says.

use serde::{Deserialize, Serialize};
use thingdb::format::MAX_NAME_BYTES;
use thingdb::{Hash, Origin, Record, Signed};
use utoipa::ToSchema;

use super::as_text;
use super::original::AttachmentJson;

/// Whether the body of an entry is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It is.
    Open,
    /// The payload is not here.
    Stub,
    /// The payload is here, the key to it is not.
    Undecryptable,
    /// The content was erased.
    Erased,
    /// What opened the content is gone, and no erasure says why.
    Lost,
}

impl State {
    /// All there are.
    pub(crate) const ALL: [Self; 5] = [Self::Open, Self::Stub, Self::Undecryptable, Self::Erased, Self::Lost];

    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Stub => "stub",
            Self::Undecryptable => "undecryptable",
            Self::Erased => "erased",
            Self::Lost => "lost",
        }
    }
}

/// What is only of interest when one looks at one entry.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = EntryDetails)]
pub(crate) struct WholeJson {
    /// Place in the ledger, from 0.
    pub(crate) position: u64,
    /// The node at which it was written.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) origin: Origin,
    /// Trust in that node was withdrawn; absent if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) origin_withdrawn: bool,
    /// The cipher.
    pub(crate) suite: u8,
    /// The commitment to the body.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) data_hash: Hash,
    /// SHA-256 of the payload.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) payload_hash: Hash,
    /// Bytes of the payload.
    pub(crate) payload_len: u32,
    /// How it is signed.
    pub(crate) signature: SignatureJson,
    /// How many its envelopes name.
    pub(crate) recipients: u64,
    /// The name that the actor had when it signed, if it is another one than
    /// that by which the database knows it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "as_text::short::<MAX_NAME_BYTES, _>"
    )]
    pub(crate) signed_as: Option<String>,
    /// What goes with the data, such as the original of a migrated entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attachment: Option<AttachmentJson>,
}

/// How an entry is signed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = EntrySignature)]
pub(crate) struct SignatureJson {
    /// 1: alone, 2: in a batch.
    pub(crate) kind: u8,
    /// Place in the batch, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<u32>,
    /// Entries in the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u32>,
}

impl WholeJson {
    /// Of the entry `record`.
    pub(crate) fn new(record: &Record) -> Self {
        let header = record.header();
        Self {
            position: record.position(),
            origin: record.origin(),
            origin_withdrawn: record.is_origin_withdrawn(),
            suite: header.suite.number(),
            data_hash: header.data_hash,
            payload_hash: header.payload_hash,
            payload_len: header.payload_len,
            signature: SignatureJson::new(record.signed()),
            recipients: record.recipients() as u64,
            signed_as: record.claimed_name().filter(|claimed| record.actor_name() != Some(claimed)).map(str::to_owned),
            attachment: AttachmentJson::of(record),
        }
    }
}

impl SignatureJson {
    fn new(signed: Signed) -> Self {
        match signed {
            Signed::Single => Self { kind: 1, index: None, size: None },
            Signed::Batch { index, size } => Self { kind: 2, index: Some(index), size: Some(size) },
        }
    }
}
