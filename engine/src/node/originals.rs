//! Entries with originals on their way in: the span in which they may lie is open
//! before they are committed.

use super::Node;
use crate::encoding::encode;
use crate::error::Result;
use crate::storage::Batch;
use crate::store::originals::Span;
use crate::store::schema;

/// As long as it is there, entries with originals may be added.
pub(crate) struct AtWork<'a>(&'a Node);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let Self(node) = *self;
        let mut inner = node.store.originals.lock();
        inner.at_work = inner.at_work.saturating_sub(1);
        if inner.at_work == 0 {
            inner.span.until = node.store.size();
            // Otherwise the row stays open, which costs time and leaves nothing out.
            let _ = node.write_span(inner.span);
        }
    }
}

impl Node {
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
        self.rows(batch)
    }
}
