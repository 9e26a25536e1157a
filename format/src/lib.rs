//! The ThingDB entry format, version 1: pure functions over bytes.
//!
//! There are no files, clocks, threads or network here; randomness comes in as
//! an argument. The normative text is `docs/format.md`.
//!
//! ```text
//! entry ── header ── id = SHA-256 over it; signed, alone or in a batch
//!    │        ├ prev ─────────── ids of the entries before it
//!    │        ├ data_hash ────── commits to the body and to the CEK
//!    │        └ payload_hash ─── SHA-256 of the payload
//!    ├─ payload ── the body, sealed under the CEK; absent in a stub
//!    └─ envelopes ── the CEK, sealed to recipients; outside the signature
//! ```

// Tests may index and unwrap: they are to fail loudly.
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects))]

pub mod audit;
mod body;
mod card;
pub mod checkpoint;
mod codec;
pub mod cosignature;
mod entry;
pub mod envelope;
pub mod erasure;
mod error;
pub mod fields;
pub mod frame;
pub mod header;
pub mod heads;
mod json;
mod key;
pub mod key_log;
pub mod key_record;
pub mod label;
pub mod line;
pub mod merkle;
pub mod note;
pub mod payload;
pub mod policy;
pub mod proof;
pub mod receipt;
mod recipients;
pub mod signature;
pub mod stream;
mod thing;
pub mod tiles;
pub mod timestamp;
pub mod tlog_proof;
mod walk;
pub mod witness;

pub use body::{Attachment, Body, MAX_ACTION_BYTES, MAX_MEDIA_TYPE_BYTES, MAX_NAME_BYTES};
pub use card::{Card, CardFields};
pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use cosignature::Cosignature;
pub use entry::{Entry, Verified};
pub use envelope::{Envelope, KdfParams, KekPacket};
pub use error::Error;
pub use header::{Fields, Header, Suite};
pub use key::{
    Actor, Cek, DecryptionKey, EncryptionKey, EntryId, Hash, Kek, NodeKey, Origin, RecipientId, SigningKey, Verifier,
};
pub use note::VerifierKey;
pub use policy::Policy;
pub use recipients::Recipients;
pub use signature::{BatchSignature, Signature};
pub use stream::{Line, StreamCheck, StreamHeader, Trailer};
pub use thing::{ThingId, Time};
pub use tlog_proof::TlogProof;
pub use witness::AddCheckpoint;
