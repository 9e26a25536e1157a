//! An entry as commands look at it, wherever it was read.

use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use thingdb::format::erasure::{self, Erasure};
use thingdb::{Actor, Content, EntryId, Record, Time};

use super::details::{State, WholeJson};
use super::id;
use super::original::OriginalJson;
use super::told::Told;
use crate::error::{Exit, Failure};
use crate::text::quoted;

/// An entry.
#[derive(Debug)]
pub(crate) enum Entry {
    /// One that a database here holds.
    Held(Box<Record>),
    /// One that a server tells of.
    Told(Box<Told>),
}

impl Entry {
    /// Why there is no data, where data is wanted.
    pub(crate) fn not_readable(&self) -> Failure {
        let why = match self.state() {
            State::Stub => "its payload is not there",
            State::Open | State::Undecryptable => "the node has no key for it",
            State::Lost => {
                let fact = format!("what opened the data of entry {} was lost", id::short(&self.id()));
                return Failure::new(Exit::Partly, "lost", fact).hint("thingdb verify");
            }
            State::Erased => {
                let by = self.erased_by().map(|by| format!(", as entry {} says", id::short(&by))).unwrap_or_default();
                let fact = format!("the data of entry {} was erased{by}", id::short(&self.id()));
                return Failure::new(Exit::Partly, "erased", fact)
                    .hint(format!("thingdb erasures {}", quoted(self.thing())));
            }
        };
        Failure::not_readable(format!("the data of entry {} cannot be read: {why}", id::short(&self.id())))
    }

    /// What it is about.
    pub(crate) fn thing(&self) -> &str {
        match self {
            Self::Held(record) => record.thing(),
            Self::Told(told) => told.thing.as_str(),
        }
    }

    /// Place in the history, from 1.
    pub(crate) fn seq(&self) -> u64 {
        match self {
            Self::Held(record) => record.seq(),
            Self::Told(told) => told.seq,
        }
    }

    /// Its name.
    pub(crate) fn id(&self) -> EntryId {
        match self {
            Self::Held(record) => record.id(),
            Self::Told(told) => told.id,
        }
    }

    /// The writer's clock.
    pub(crate) fn time(&self) -> Time {
        match self {
            Self::Held(record) => record.time(),
            Self::Told(told) => told.time,
        }
    }

    /// The key that signed it.
    pub(crate) fn actor(&self) -> Actor {
        match self {
            Self::Held(record) => record.actor(),
            Self::Told(told) => told.actor.key,
        }
    }

    /// The name by which the node knows the key, or else that the entry claims.
    pub(crate) fn actor_name(&self) -> Option<&str> {
        match self {
            Self::Held(record) => record.actor_name(),
            Self::Told(told) => told.actor.name.as_deref(),
        }
    }

    /// Whether the node knows the key.
    pub(crate) fn is_trusted(&self) -> bool {
        match self {
            Self::Held(record) => record.is_trusted(),
            Self::Told(told) => told.actor.trusted,
        }
    }

    /// Whether it was signed by a revoked key.
    pub(crate) fn is_revoked(&self) -> bool {
        match self {
            Self::Held(record) => record.is_revoked(),
            Self::Told(_) => false,
        }
    }

    /// Whether trust in the key was withdrawn here.
    pub(crate) fn is_withdrawn(&self) -> bool {
        match self {
            Self::Held(record) => record.is_withdrawn(),
            Self::Told(_) => false,
        }
    }

    /// Whether trust in the node that wrote it was withdrawn here.
    pub(crate) fn is_origin_withdrawn(&self) -> bool {
        match self {
            Self::Held(record) => record.is_origin_withdrawn(),
            Self::Told(_) => false,
        }
    }

    /// What was done to the thing, if the body is here.
    pub(crate) fn action(&self) -> Option<&str> {
        match self {
            Self::Held(record) => record.action(),
            Self::Told(told) => told.action.as_deref(),
        }
    }

    /// How many heads its thing has; if it was asked for as of a time, how many
    /// it had then.
    pub(crate) fn heads(&self) -> u64 {
        match self {
            Self::Held(record) => record.heads() as u64,
            Self::Told(told) => told.heads,
        }
    }

    /// What is known of its original, if it is a migrated entry. Costs the check
    /// of a signature where a database is read.
    pub(crate) fn original(&self) -> Option<OriginalJson> {
        match self {
            Self::Held(record) => OriginalJson::of(record),
            Self::Told(told) => told.original.as_deref().cloned(),
        }
    }

    /// The time by which it counts where people ask for a time.
    pub(crate) fn dated(&self) -> Time {
        match self {
            Self::Held(record) => record.dated(),
            Self::Told(told) => told.dated(),
        }
    }

    /// The entries before it.
    pub(crate) fn prev(&self) -> &[EntryId] {
        match self {
            Self::Held(record) => record.prev(),
            Self::Told(told) => &told.prev,
        }
    }

    /// Whether the body is here.
    pub(crate) fn state(&self) -> State {
        match self {
            Self::Held(record) => match record.content() {
                Content::Open(_) => State::Open,
                Content::Stub => State::Stub,
                Content::Erased { .. } => State::Erased,
                Content::Lost => State::Lost,
                _ => State::Undecryptable,
            },
            Self::Told(told) => told.content,
        }
    }

    /// The erasure record that says that the content was erased, if it was.
    pub(crate) fn erased_by(&self) -> Option<EntryId> {
        match self {
            Self::Held(record) => match record.content() {
                Content::Erased { by } => Some(*by),
                _ => None,
            },
            Self::Told(told) => told.erased_by.as_deref().and_then(|by| by.parse().ok()),
        }
    }

    /// Whether it is an erasure record, by action and media type.
    pub(crate) fn is_erasure(&self) -> bool {
        self.action() == Some(erasure::ACTION) && self.media_type() == Some(erasure::MEDIA_TYPE)
    }

    /// The erasure record that it is; nothing if it is none, or one that is not as
    /// records are.
    pub(crate) fn erasure(&self) -> Option<Erasure> {
        self.data().filter(|_| self.is_erasure()).and_then(|data| Erasure::from_json(data).ok())
    }

    /// Media type of the data, if the body is here.
    pub(crate) fn media_type(&self) -> Option<&str> {
        match self {
            Self::Held(record) => record.media_type(),
            Self::Told(told) => told.media_type.as_deref(),
        }
    }

    /// The data, if the body is here.
    pub(crate) fn data(&self) -> Option<&[u8]> {
        match self {
            Self::Held(record) => record.data(),
            Self::Told(told) => told.data.as_deref(),
        }
    }

    /// The data, if it is said to be JSON and is. Whoever signs may say so of
    /// anything.
    pub(crate) fn json_text(&self) -> Option<&str> {
        self.said_json().filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
    }

    /// The same as a value, spelled as it was put but for line feeds between
    /// tokens: they would make two lines of one object.
    pub(crate) fn json_value(&self) -> Option<Box<RawValue>> {
        let value = RawValue::from_string(self.said_json()?.to_owned()).ok()?;
        if !value.get().contains(['\n', '\r']) {
            return Some(value);
        }
        RawValue::from_string(value.get().replace(['\n', '\r'], " ")).ok()
    }

    /// Text that is said to be JSON, whether it is or not.
    fn said_json(&self) -> Option<&str> {
        let is_said = self.media_type() == Some(thingdb::JSON);
        std::str::from_utf8(self.data().filter(|_| is_said)?).ok()
    }

    /// What is only of interest when one looks at one; a server tells it of one
    /// that was asked for by its id.
    pub(crate) fn whole(&self) -> Option<WholeJson> {
        match self {
            Self::Held(record) => Some(WholeJson::new(record)),
            Self::Told(told) => told.whole.as_deref().cloned(),
        }
    }
}

impl From<Record> for Entry {
    fn from(record: Record) -> Self {
        Self::Held(Box::new(record))
    }
}
