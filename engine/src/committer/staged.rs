//! An entry on its way into the ledger.

use std::sync::Arc;

use thingdb_format::{EntryId, Header, Signature, SigningKey};

use crate::store::keys::NewRecord;
use crate::store::schema::Tag;
use crate::store::stored::LooseRecord;

/// An entry that waits for the commit.
pub(super) struct Staged {
    pub(super) tag: Tag,
    pub(super) header: Header,
    pub(super) id: EntryId,
    pub(super) signing: Signing,
    pub(super) record: LooseRecord,
    /// Whether the store has nothing of its thing.
    pub(super) is_new: bool,
    /// Whether it is an erasure record, as far as it could be opened.
    pub(super) erases: bool,
    /// The record, if it is a step of a key log.
    pub(super) key: Option<NewRecord>,
}

pub(super) enum Signing {
    /// By a key of this node, when it is known what lies together.
    Due(Arc<SigningKey>),
    Done(Signature),
}
