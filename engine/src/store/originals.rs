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

use super::as_of::as_of;
use super::postings;
use super::schema;
use super::stored::{RowSeal, encode};
use crate::committer::Job;
use crate::db::Db;
use crate::entry::record::{Head, Rank, Record};
use crate::error::Result;
use crate::storage::{Batch, Storage};

/// Ledger positions, from the first up to before the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
struct Span {
    since: u64,
    until: u64,
}

/// Where entries with originals may be, as the row says.
#[derive(Debug, Default)]
pub(crate) struct Originals {
    inner: Mutex<Inner>,
    /// An import has seen one; from then on every import may bring some.
    arrives: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    span: Span,
    /// Writers that may add some now; the span is open until they end.
    at_work: usize,
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

    fn lock(&self) -> MutexGuard<'_, Inner> {
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
    const fn is_empty(self) -> bool {
        self.since >= self.until
    }
}

/// As long as it is there, entries with originals may be added.
pub(crate) struct AtWork<'a>(&'a Db);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let Self(db) = *self;
        let mut inner = db.store.originals.lock();
        inner.at_work = inner.at_work.saturating_sub(1);
        if inner.at_work == 0 {
            inner.span.until = db.store.size();
            // Otherwise the row stays open, which costs time and leaves nothing out.
            let _ = db.write_span(inner.span);
        }
    }
}

impl Db {
    /// Says, before they are committed, that entries with originals come, at
    /// `since` or behind it.
    pub(crate) fn originals_come(&self, since: u64) -> Result<AtWork<'_>> {
        let mut inner = self.store.originals.lock();
        let before = inner.span;
        let since = if before.is_empty() { since } else { since.min(before.since) };
        let open = Span { since, until: u64::MAX };
        if before != open {
            self.write_span(open)?;
            inner.span = open;
        }
        inner.at_work += 1;
        Ok(AtWork(self))
    }

    fn write_span(&self, span: Span) -> Result<()> {
        let mut batch = Batch::new();
        batch.put(schema::ORIGINALS, self.store.rows.seal(schema::ORIGINALS, &encode(&span)));
        self.committer.submit(&self.store, Job::Rows(batch)).map(|_| ())
    }

    /// The latest entry that came here after `time` and counts until then,
    /// because its original does.
    pub(crate) fn migrated_at(&self, thing: &ThingId, time: Time) -> Result<Option<Record>> {
        let span = self.store.originals.span();
        if span.is_empty() {
            return Ok(None);
        }
        let tag = self.store.tag(thing);
        let Some(state) = self.store.state(&tag)? else { return Ok(None) };
        let last = state.last_seq().min(self.store.size());
        let is_line = state.entries == state.last_seq();
        let mut latest: Option<(Rank, Record)> = None;
        'chunks: for number in postings::chunks(1, last).rev() {
            let chunk = self.store.chunk(&tag, &state, number)?;
            for posting in chunk.iter().rev() {
                // Where each entry follows the one of the seq before it, the
                // first that counts is the latest.
                if is_line && latest.is_some() {
                    break 'chunks;
                }
                if !(span.since..span.until).contains(&posting.position) {
                    continue;
                }
                let located = self.store.located_of(&state, posting)?;
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
                let record = self.store.record(located, state.heads.len())?;
                if record.dated() <= time {
                    latest = Some((rank, record));
                }
            }
        }
        let Some((rank, mut record)) = latest else { return Ok(None) };
        // It had as many heads beside it as when it was written here.
        record.heads = as_of(&self.store, thing, rank.time)?.map_or(1, |then| then.heads);
        Ok(Some(record))
    }
}
