//! What the committer is asked to do, and what became of it.

use std::sync::Arc;

use thingdb_format::key_record::KeyRecord;
use thingdb_format::{
    Actor, Cek, EncryptionKey, Entry, EntryId, Header, Origin, Signature, SigningKey, Suite, ThingId, Verified,
};

use super::answer::Answer;
use super::envelope::Packed;
use crate::entry::record::Receipt;
use crate::entry::refusal::Cause;
use crate::error::Result;
use crate::heads::Expect;
use crate::storage::{Batch, Ticket};
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
    /// Whether everybody who holds the entry can read it.
    pub(crate) is_public: bool,
    /// Whether it is an erasure record.
    pub(crate) erases: bool,
    /// What it says if it is a key record.
    pub(crate) key: Option<KeyRecord>,
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
    /// Whether it is an erasure record, as far as it could be opened.
    pub(crate) erases: bool,
    /// What it says if it is a key record.
    pub(crate) key: Option<KeyRecord>,
    /// Whether entries of revoked keys are taken, too.
    pub(crate) takes_revoked: bool,
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
    /// Whether what opened is an erasure record.
    pub(crate) erases: bool,
}

impl Arrived {
    pub(crate) fn new(entry: Verified, tag: Tag, opened: Opened, hand: Hand) -> Self {
        let id = entry.id();
        let entry = entry.into_entry();
        let mut record = LooseRecord::new(entry.header.to_bytes(), entry.payload);
        let Opened { cek, envelopes, empty, erases } = opened;
        record.cek = cek;
        let Entry { header, signature, .. } = entry;
        let (key, takes_revoked) = (None, false);
        Self { id, tag, header, signature, record, envelopes, hand, empty, erases, key, takes_revoked }
    }
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

/// What became of the entries of an import.
pub(crate) struct Imported {
    pub(crate) fates: Vec<Fate>,
    /// How many envelopes were dropped.
    pub(crate) dropped: u64,
}

/// What became of entries that were to be sealed to more recipients.
pub(crate) struct Sealed {
    /// How many took the new envelope.
    pub(crate) entries: u64,
    /// How many envelopes of others gave way to it.
    pub(crate) displaced: u64,
}

/// What the committer is asked to do, and who waits for what becomes of it.
pub(super) enum Job {
    /// Whose caller may wait until they are durable.
    Write {
        entries: Vec<NewEntry>,
        waits: bool,
        answer: Answer<Vec<Receipt>>,
    },
    /// With the node that sent them, if it is known.
    Import(Vec<Arrived>, Option<Origin>, Answer<Imported>),
    Share(Vec<Shared>, Vec<EncryptionKey>, Answer<Sealed>),
    /// Rows that are no entries; sealed by the caller.
    Rows(Batch, Answer<()>),
    /// Positions of records that lose their content, and the rows that say so.
    Erase(Vec<u64>, Batch, Answer<()>),
}

impl Job {
    /// Entries in it.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Write { entries, .. } => entries.len(),
            Self::Import(entries, ..) => entries.len(),
            Self::Share(entries, ..) => entries.len(),
            Self::Rows(..) => 1,
            Self::Erase(positions, ..) => positions.len(),
        }
    }

    /// Tells the caller that the job is the first in the queue.
    pub(super) fn tell_first(&self) {
        match self {
            Self::Write { answer, .. } => answer.tell_first(),
            Self::Import(.., answer) => answer.tell_first(),
            Self::Share(.., answer) => answer.tell_first(),
            Self::Rows(_, answer) | Self::Erase(.., answer) => answer.tell_first(),
        }
    }

    /// The actor whose entries they are, if this node signs them.
    pub(super) fn signer(&self) -> Option<Actor> {
        match self {
            Self::Write { entries, .. } => entries.first().map(|entry| entry.signer.actor()),
            Self::Import(..) | Self::Share(..) | Self::Rows(..) | Self::Erase(..) => None,
        }
    }
}

/// A job that was staged: answered once it is known whether the commit is in.
pub(super) enum Due {
    Write { done: Result<Vec<Receipt>>, waits: bool, answer: Answer<Vec<Receipt>> },
    Import(Result<Imported>, Answer<Imported>),
    Share(Result<Sealed>, Answer<Sealed>),
    Rows(Answer<()>),
    Erase(Result<()>, Answer<()>),
}

impl Due {
    pub(super) const fn is_refused(&self) -> bool {
        match self {
            Self::Write { done, .. } => done.is_err(),
            Self::Import(done, _) => done.is_err(),
            Self::Share(done, _) => done.is_err(),
            Self::Rows(_) => false,
            Self::Erase(done, _) => done.is_err(),
        }
    }

    /// Whether its caller waits until it is durable.
    pub(super) const fn waits(&self) -> bool {
        matches!(self, Self::Write { done: Ok(_), waits: true, .. })
    }

    pub(super) fn answer(self, committed: &Result<Option<Ticket>>) {
        match self {
            Self::Write { done, answer, .. } => answer.give(done, committed),
            Self::Import(done, answer) => answer.give(done, committed),
            Self::Share(done, answer) => answer.give(done, committed),
            Self::Rows(answer) => answer.give(Ok(()), committed),
            Self::Erase(done, answer) => answer.give(done, committed),
        }
    }
}
