//! An entry as commands look at it, wherever it was read.

use thingdb::{Actor, Content, EntryId, Record, Time};

use super::record::WholeJson;

/// An entry.
#[derive(Debug)]
pub(crate) struct Entry(Record);

/// Whether the body of an entry is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is.
    Open,
    /// The payload is not here.
    Stub,
    /// The payload is here, the key to it is not.
    Undecryptable,
}

impl State {
    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Stub => "stub",
            Self::Undecryptable => "undecryptable",
        }
    }
}

impl Entry {
    /// What it is about.
    pub(crate) fn thing(&self) -> &str {
        self.0.thing()
    }

    /// Place in the history, from 1.
    pub(crate) fn seq(&self) -> u64 {
        self.0.seq()
    }

    /// Its name.
    pub(crate) const fn id(&self) -> EntryId {
        self.0.id()
    }

    /// The writer's clock.
    pub(crate) fn time(&self) -> Time {
        self.0.time()
    }

    /// The key that signed it.
    pub(crate) fn actor(&self) -> Actor {
        self.0.actor()
    }

    /// The name by which the node knows the key, or else that the entry claims.
    pub(crate) fn actor_name(&self) -> Option<&str> {
        self.0.actor_name()
    }

    /// Whether the node knows the key.
    pub(crate) const fn is_trusted(&self) -> bool {
        self.0.is_trusted()
    }

    /// What was done to the thing, if the body is here.
    pub(crate) fn action(&self) -> Option<&str> {
        self.0.action()
    }

    /// The entries before it.
    pub(crate) fn prev(&self) -> &[EntryId] {
        self.0.prev()
    }

    /// Whether the body is here.
    pub(crate) const fn state(&self) -> State {
        match self.0.content() {
            Content::Open(_) => State::Open,
            Content::Stub => State::Stub,
            _ => State::Undecryptable,
        }
    }

    /// Media type of the data, if the body is here.
    pub(crate) fn media_type(&self) -> Option<&str> {
        self.0.media_type()
    }

    /// The data, if the body is here.
    pub(crate) fn data(&self) -> Option<&[u8]> {
        self.0.data()
    }

    /// The data, if it is JSON.
    pub(crate) fn json_text(&self) -> Option<&str> {
        if self.media_type() != Some(thingdb::JSON) {
            return None;
        }
        std::str::from_utf8(self.data()?).ok()
    }

    /// What is only of interest when one looks at one.
    pub(crate) fn whole(&self) -> WholeJson {
        WholeJson::new(&self.0)
    }
}

impl From<Record> for Entry {
    fn from(record: Record) -> Self {
        Self(record)
    }
}
