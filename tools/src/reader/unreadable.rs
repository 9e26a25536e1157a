//! Entries that cannot be read, in a list of many: the rest is listed, and they
//! are named at the end.

use std::cell::RefCell;

use super::Reader;
use crate::error::{Exit, Failure, Outcome};
use crate::text::counted;

/// Those that are named.
const MAX_SHOWN: usize = 8;

/// As many in a list are damage of everything, and end it.
const MAX_SKIPPED: usize = 10_000;

/// What a list left out.
#[derive(Debug, Default)]
pub(crate) struct Unreadable {
    facts: RefCell<Vec<String>>,
}

impl Unreadable {
    /// The items that can be read.
    pub(crate) fn past<'a, T: 'a>(
        &'a self,
        items: impl Iterator<Item = Outcome<T>> + 'a,
    ) -> impl Iterator<Item = Outcome<T>> + 'a {
        items.filter(move |item| match item {
            Err(failure) if failure.word() == "damaged" && self.facts.borrow().len() < MAX_SKIPPED => {
                self.facts.borrow_mut().push(failure.whole());
                false
            }
            _ => true,
        })
    }

    /// Leaves out what cannot even be seen, if nothing else was.
    pub(crate) fn add(&self, facts: impl Iterator<Item = String>) {
        let mut known = self.facts.borrow_mut();
        if known.is_empty() {
            known.extend(facts.take(MAX_SKIPPED));
        }
    }

    /// Names what was left out, or what is known to be missing of the ledger where
    /// `listed` entries were listed as if they were all.
    pub(crate) fn conclude(self, reader: &dyn Reader, listed: u64) -> Outcome {
        let facts = self.facts.into_inner();
        if facts.is_empty() {
            return reader.lost(listed)?.map_or(Ok(()), Err);
        }
        let more = facts.len().saturating_sub(MAX_SHOWN);
        let count = counted(facts.len() as u64, "entry", "entries");
        let failure = Failure::new(Exit::Partly, "holes", format!("{count} cannot be read; the rest is listed"));
        let failure = failure.causes(facts.into_iter().take(MAX_SHOWN));
        let failure = if more > 0 { failure.cause(format!("and {more} more")) } else { failure };
        Err(failure.hint("thingdb doctor"))
    }
}
