//! What the committer is asked to do, and what became of it.

use std::sync::Arc;

use thingdb_format::{Cek, EncryptionKey, EntryId, Header, Origin, Signature, SigningKey, Suite, ThingId, Verified};

use super::envelope::Packed;
use crate::draft::Expect;
use crate::exchange::refusal::Cause;
use crate::record::Receipt;
use crate::schema::Tag;
use crate::storage::Batch;
use crate::stored::LooseRecord;

/// A sealed draft, ready for its place.
pub(crate) struct NewEntry {
    pub(crate) thing: ThingId,
    pub(crate) tag: Tag,
    pub(crate) signer: Arc<SigningKey>,
    pub(crate) expect: Option<Expect>,
    pub(crate) suite: Suite,
    pub(crate) cek: Cek,
    pub(crate) sealed: thingdb_format::payload::Sealed,
    /// To whom it is sealed beside this node: ascending, without repeats.
    pub(crate) to: Vec<EncryptionKey>,
    /// Whether this node keeps the CEK.
    pub(crate) keep_cek: bool,
}

/// An entry that is to be sealed to more recipients.
pub(crate) struct Shared {
    pub(crate) position: u64,
    pub(crate) id: EntryId,
    pub(crate) cek: Cek,
}

/// An entry from elsewhere, its signature and hashes checked, laid out for the
/// storage as far as its place does not matter.
pub(crate) struct Arrived {
    pub(crate) id: EntryId,
    pub(crate) tag: Tag,
    pub(crate) header: Header,
    pub(crate) signature: Signature,
    /// Without its envelopes.
    pub(crate) record: LooseRecord,
    /// Those of the entry's envelopes that are kept.
    pub(crate) envelopes: Vec<Packed>,
}

impl Arrived {
    pub(crate) fn new(entry: Verified, tag: Tag, cek: Option<Cek>, envelopes: Vec<Packed>) -> Self {
        let id = entry.id();
        let entry = entry.into_entry();
        let mut record = LooseRecord::new(&entry.header.to_bytes(), entry.payload);
        record.cek = cek;
        Self { id, tag, header: entry.header, signature: entry.signature, record, envelopes }
    }
}

pub(crate) enum Job {
    Write(Vec<NewEntry>),
    /// With the node that sent them, if it is known.
    Import(Vec<Arrived>, Option<Origin>),
    Share(Vec<Shared>, Vec<EncryptionKey>),
    /// Rows that are no entries; sealed by the caller.
    Rows(Batch),
}

/// What became of an entry from elsewhere.
pub(crate) enum Fate {
    Added,
    Known,
    /// It was here, and something that was missing was added to it.
    Completed,
    /// The first of its prev that is not here, and the entry itself.
    MissingPrev(EntryId, Box<Arrived>),
    Refused(Cause),
}

pub(crate) enum Done {
    Written(Vec<Receipt>),
    Imported(Vec<Fate>),
    /// How many entries were not sealed to these recipients before.
    Shared(u64),
    Rows,
}

impl Job {
    /// Entries in it.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Write(entries) => entries.len(),
            Self::Import(entries, _) => entries.len(),
            Self::Share(entries, _) => entries.len(),
            Self::Rows(_) => 1,
        }
    }
}
