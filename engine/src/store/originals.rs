//! Where migrated entries may lie in the ledger, and what a thing was by the
//! times of their originals.
//!
//! An original lies in the sealed body, so no index tells of it. One row says
//! between which ledger positions entries with originals may be; whoever has no
//! migrated entries reads no body that was not asked for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use bincode::{Decode, Encode};
use thingdb_format::{ThingId, Time};

use super::Store;
use super::as_of::as_of;
use super::postings;
use super::row_seal::RowSeal;
use super::schema;
use crate::entry::record::Record;
use crate::error::Result;
use crate::heads::{Head, Rank};
use crate::storage::Storage;

/// Ledger positions, from the first up to before the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Span {
    pub(crate) since: u64,
    pub(crate) until: u64,
}

/// Where entries with originals may be, as the row says.
#[derive(Debug, Default)]
pub(crate) struct Originals {
    inner: Mutex<Inner>,
    /// An import has seen one; from then on every import may bring some.
    arrives: AtomicBool,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) span: Span,
    /// Writers that may add some now; the span is open until they end.
    pub(crate) at_work: usize,
}

impl Originals {
    /// A row that does not open leaves no position out.
    pub(crate) fn load(storage: &dyn Storage, rows: &RowSeal) -> Result<Self> {
        let span = match storage.get(schema::ORIGINALS)? {
            None => Span::default(),
            Some(sealed) => rows.open_value(schema::ORIGINALS, &sealed).unwrap_or(Span { since: 0, until: u64::MAX }),
        };
        Ok(Self { inner: Mutex::new(Inner { span, at_work: 0 }), arrives: AtomicBool::new(false) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no thread panics while it holds the span of originals")
    }

    /// An entry from elsewhere has an original. Told by any thread that checks,
    /// before it is committed.
    pub(crate) fn note_arrival(&self) {
        self.arrives.store(true, Ordering::Release);
    }

    /// Whether an import may bring originals.
    pub(crate) fn may_arrive(&self) -> bool {
        self.arrives.load(Ordering::Acquire)
    }

    fn span(&self) -> Span {
        self.lock().span
    }
}

impl Span {
    pub(crate) const fn is_empty(self) -> bool {
        self.since >= self.until
    }
}

/// The latest entry that came here after `time` and counts until then,
/// because its original does.
pub(crate) fn migrated_at(store: &Store, thing: &ThingId, time: Time) -> Result<Option<Record>> {
    let span = store.originals.span();
    if span.is_empty() {
        return Ok(None);
    }
    let tag = store.tag(thing);
    let Some(state) = store.state(&tag)? else { return Ok(None) };
    let last = state.last_seq().min(store.size());
    let is_line = state.entries == state.last_seq();
    let mut latest: Option<(Rank, Record)> = None;
    'chunks: for number in postings::chunks(1, last).rev() {
        let chunk = store.chunk(&tag, &state, number)?;
        for posting in chunk.iter().rev() {
            // Where each entry follows the one of the seq before it, the
            // first that counts is the latest.
            if is_line && latest.is_some() {
                break 'chunks;
            }
            if !(span.since..span.until).contains(&posting.position) {
                continue;
            }
            if store.is_erasure(posting.position)? {
                continue;
            }
            let located = store.located_of(&state, posting)?;
            if located.header.time <= time {
                if is_line {
                    break 'chunks;
                }
                continue;
            }
            let rank = Head { id: located.id, seq: located.header.seq, time: located.header.time }.rank();
            if latest.as_ref().is_some_and(|(known, _)| *known > rank) {
                continue;
            }
            let record = store.record(located, state.heads.len())?;
            if record.dated() <= time {
                latest = Some((rank, record));
            }
        }
    }
    let Some((rank, mut record)) = latest else { return Ok(None) };
    // It had as many heads beside it as when it was written here.
    record.heads = as_of(store, thing, rank.time)?.map_or(1, |then| then.heads);
    Ok(Some(record))
}
