//! What the committer is asked to do, and what became of it.

use std::sync::Arc;

use thingdb_format::{
    Cek, EncryptionKey, Entry, EntryId, Header, Origin, Signature, SigningKey, Suite, ThingId, Verified,
};

use super::envelope::Packed;
use crate::entry::draft::Expect;
use crate::entry::record::Receipt;
use crate::entry::refusal::Cause;
use crate::storage::Batch;
use crate::store::provenance::Hand;
use crate::store::schema::Tag;
use crate::store::stored::LooseRecord;

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
    /// Who brought them.
    pub(crate) hand: Hand,
    /// Envelopes that say to be for this node and open nothing: they are not
    /// kept.
    pub(crate) empty: u64,
}

/// What is kept of the envelopes of an entry from elsewhere.
#[derive(Default)]
pub(crate) struct Opened {
    /// The CEK, if one of them gives it to this node.
    pub(crate) cek: Option<Cek>,
    /// Those that are kept.
    pub(crate) envelopes: Vec<Packed>,
    /// Those that say to be for this node and open nothing.
    pub(crate) empty: u64,
}

impl Arrived {
    pub(crate) fn new(entry: Verified, tag: Tag, opened: Opened, hand: Hand) -> Self {
        let id = entry.id();
        let entry = entry.into_entry();
        let mut record = LooseRecord::new(&entry.header.to_bytes(), entry.payload);
        let Opened { cek, envelopes, empty } = opened;
        record.cek = cek;
        let Entry { header, signature, .. } = entry;
        Self { id, tag, header, signature, record, envelopes, hand, empty }
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
    /// With the number of envelopes that were dropped.
    Imported(Vec<Fate>, u64),
    /// How many entries took the new envelope, and how many envelopes of others
    /// gave way to it.
    Shared(u64, u64),
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
