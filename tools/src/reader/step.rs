//! What an entry changed.

use super::Reader;
use crate::error::Outcome;
use crate::text::{printable, shorten};
use crate::view::entry::Entry;
use crate::view::paint::{Paint, Painted};
use crate::view::patch::{self, Change};
use crate::view::phrase;

/// Erasure records, one after the other, that are passed over to find what an entry
/// changed.
const MAX_RECORDS: usize = 16;

/// What an entry changed, with the entry before it.
pub(crate) struct Step<'a> {
    /// The entry.
    pub(crate) entry: &'a Entry,
    before: Option<Before<'a>>,
}

enum Before<'a> {
    Near(&'a Entry),
    Fetched(Box<Entry>),
}

impl Before<'_> {
    fn entry(&self) -> &Entry {
        match self {
            Self::Near(entry) => entry,
            Self::Fetched(entry) => entry,
        }
    }
}

impl<'a> Step<'a> {
    /// The step from `neighbour`, if that is what `entry` follows, or else from
    /// what it does follow.
    pub(crate) fn new(reader: &dyn Reader, entry: &'a Entry, neighbour: Option<&'a Entry>) -> Outcome<Self> {
        let before = match (neighbour, entry.prev().last()) {
            (_, None) => None,
            (Some(neighbour), _) if entry.prev().contains(&neighbour.id()) => Some(Before::Near(neighbour)),
            (_, Some(prev)) => reader.with_id(prev)?.map(Box::new).map(Before::Fetched),
        };
        Ok(Self { entry, before: past_records(reader, before)? })
    }

    /// The changes, if both entries hold JSON.
    pub(crate) fn changes(&self) -> Option<Vec<Change>> {
        let new = self.entry.json_text()?;
        match &self.before {
            None if self.entry.prev().is_empty() => {
                patch::changes(if new.starts_with('{') { "{}" } else { "null" }, new)
            }
            None => None,
            Some(before) => patch::changes(before.entry().json_text()?, new),
        }
    }

    /// The changes in one cell.
    pub(crate) fn summary(&self, width: usize) -> Painted {
        if let Some(said) = self.entry.erasure() {
            return shorten(&phrase::erasure(&said), width).into_owned().into();
        }
        let Some(changes) = self.changes() else { return about(self.entry).into() };
        if changes.is_empty() {
            return "(same data)".into();
        }
        let join = |line: Painted, change: &Change| match line.is_empty() {
            true => change.word(),
            false => line.and(Paint::Plain, "  ").with(change.word()),
        };
        changes.iter().take(16).fold(Painted::default(), join).shortened(width)
    }
}

/// What an entry follows, if that is no erasure record, or else what the record does.
fn past_records<'a>(reader: &dyn Reader, mut before: Option<Before<'a>>) -> Outcome<Option<Before<'a>>> {
    for _ in 0..MAX_RECORDS {
        let Some(found) = before.as_ref().map(Before::entry).filter(|entry| entry.is_erasure()) else { break };
        let Some(prev) = found.prev().last().copied() else { break };
        before = reader.with_id(&prev)?.map(Box::new).map(Before::Fetched);
    }
    Ok(before)
}

/// What can be said of data that is not JSON.
fn about(entry: &Entry) -> String {
    match (entry.media_type(), entry.data()) {
        (Some(media_type), Some(data)) => format!("{}, {} bytes", printable(media_type), data.len()),
        _ => format!("({})", entry.state().word()),
    }
}
