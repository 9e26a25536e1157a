//! A database that is open here, as commands read it.

use std::io::Write;
use std::ops::Bound;

use thingdb::{
    Db, EntryId, ErasureRecord, ExportOptions, KdfParams, Record, SignedCheckpoint, Standing, StreamForm, ThingQuery,
    Time,
};

use super::proving::{Proved, Proving};
use super::{Entries, Erasures, Exported, Forks, Found, Listing, Part, Reader, Things, Wanted, lost};
use crate::error::{Failure, Outcome};
use crate::view::counts::Counts;
use crate::view::entry::Entry;
use crate::view::erasure::ErasureJson;
use crate::view::fork::ForkJson;
use crate::view::hole::HolesJson;
use crate::view::missing::MissingOfLedger;
use crate::view::one_form::OneForm;
use crate::view::similar;

/// Most entries that an abbreviated id is told to name.
const MAX_FOUND: usize = 9;

impl Reader for Db {
    fn latest(&self, thing: &str) -> Outcome<Option<Entry>> {
        Ok(self.get(thing)?.map(Entry::from))
    }

    fn as_of(&self, thing: &str, time: Time) -> Outcome<Option<Entry>> {
        Ok(self.get_at(thing, time)?.map(Entry::from))
    }

    fn with_seq(&self, thing: &str, seq: u64) -> Outcome<Vec<Entry>> {
        Ok(self.get_seq(thing, seq)?.into_iter().map(Entry::from).collect())
    }

    fn with_id(&self, id: &EntryId) -> Outcome<Option<Entry>> {
        Ok(self.get_id(id)?.map(Entry::from))
    }

    fn find(&self, digits: &str) -> Outcome<Found> {
        if let Ok(id) = digits.parse() {
            return Ok(self.with_id(&id)?.map_or(Found::Nothing, |entry| Found::One(Box::new(entry))));
        }
        let mut found = self.find_entries(digits, "", MAX_FOUND)?;
        Ok(match (found.pop(), found.is_empty()) {
            (None, _) => Found::Nothing,
            (Some(record), true) => Found::One(Box::new(record.into())),
            (Some(last), false) => Found::Several(found.iter().chain([&last]).map(Record::id).collect()),
        })
    }

    fn history(&self, thing: &str, part: Part) -> Outcome<Option<Entries<'_>>> {
        if self.heads(thing)?.is_empty() {
            return Ok(None);
        }
        let Part { span, newest_first, most } = part;
        let first = span.first_seq.map_or(Bound::Unbounded, Bound::Included);
        let last = span.last_seq.map_or(Bound::Unbounded, Bound::Included);
        let history = self.history_range(thing, (first, last))?;
        let wanted =
            move |record: &thingdb::Result<Record>| record.as_ref().map_or(true, |record| span.has(|| record.dated()));
        let entry = |record: thingdb::Result<Record>| Ok(Entry::from(record?));
        Ok(Some(if newest_first {
            Box::new(history.rev().filter(wanted).take(most).map(entry))
        } else {
            Box::new(history.filter(wanted).take(most).map(entry))
        }))
    }

    fn things(&self, listing: Listing<'_>) -> Outcome<Things<'_>> {
        let mut query = ThingQuery::new().prefix(listing.prefix).limit(listing.most);
        if listing.retired {
            query = query.retired();
        }
        if listing.erased {
            query = query.erased();
        }
        if let Some(after) = listing.after {
            query = query.after(after);
        }
        Ok(Box::new(self.things_from(&query)?.map(|thing| Ok(thing?))))
    }

    fn similar(&self, thing: &str) -> Outcome<Vec<String>> {
        Ok(similar::names(self, thing, ""))
    }

    fn counts(&self) -> Outcome<Counts> {
        Ok(Counts::new(self)?)
    }

    fn checkpoint(&self) -> Outcome<SignedCheckpoint> {
        Ok(Self::checkpoint(self)?)
    }

    fn contradicts(&self, kept: &SignedCheckpoint) -> Outcome<Option<String>> {
        let found = kept.claimed().origin;
        let is_own = found == self.origin();
        let standing = if is_own { self.standing(kept)? } else { Standing::OtherNode { found } };
        Ok((!standing.is_consistent()).then(|| standing.to_string()))
    }

    fn lost(&self, listed: u64) -> Outcome<Option<Failure>> {
        Ok(lost::failure(&MissingOfLedger::of(self)?, listed, self.ledger_size()))
    }

    fn forks(&self, thing: Option<&str>) -> Outcome<Forks<'_>> {
        Ok(Box::new(Self::forks(self, thing)?.into_iter().map(|fork| Ok(ForkJson::new(&fork)))))
    }

    fn erasures(&self, thing: Option<&str>) -> Outcome<Option<Erasures<'_>>> {
        if let Some(thing) = thing
            && self.heads(thing)?.is_empty()
        {
            return Ok(None);
        }
        let told = |erasure: thingdb::Result<ErasureRecord>| Ok(ErasureJson::new(&erasure?));
        Ok(Some(Box::new(Self::erasures(self, thing)?.map(told))))
    }

    fn export(
        &self,
        wanted: &Wanted<'_>,
        out: &mut dyn Write,
        tell: &mut dyn FnMut(u64, u64, u64),
    ) -> Outcome<Exported> {
        let mut progress = |progress: thingdb::Progress| tell(progress.done, progress.total, progress.bytes);
        let form = if wanted.binary { StreamForm::Binary } else { StreamForm::Lines };
        let mut options =
            ExportOptions::new().form(form).past_holes(true).progress(&mut progress).while_wanted(wanted.is_wanted);
        if let Some(since) = wanted.since {
            options = options.since(since);
        }
        if let Some(prefix) = wanted.prefix {
            options = options.prefix(prefix);
        }
        if let Some(peer) = wanted.to {
            options = options.to(peer).only_addressed(wanted.only_addressed);
        }
        if let Some(archive) = wanted.archive {
            options = options.passphrase(archive, KdfParams::DEFAULT);
        }
        let exported = Self::export(self, options, out)?;
        let HolesJson { lost, holes } = HolesJson::new(exported.lost, &exported.holes);
        let (entries, next_position, bytes) = (exported.entries, exported.next_position, exported.bytes);
        Ok(Exported { entries, next_position, bytes, lost, holes })
    }

    fn prove(&self, wanted: &Proving<'_>, out: &mut dyn Write, tell: &mut dyn FnMut(u64, u64, u64)) -> Outcome<Proved> {
        let mut progress = |progress: thingdb::Progress| tell(progress.done, progress.total, progress.bytes);
        let summary = Self::prove(self, wanted.thing, wanted.options().progress(&mut progress), out)?;
        Ok(Proved {
            entries: summary.entries,
            shown: summary.shown,
            partly_shown: summary.partly_shown,
            erased: summary.erased,
            withheld: summary.withheld,
            undecryptable: summary.undecryptable,
            is_complete: summary.is_complete,
            checkpoint: summary.checkpoint,
            bytes: summary.bytes,
        })
    }

    fn prove_one(&self, _: &str, id: &EntryId, form: OneForm) -> Outcome<Option<Vec<u8>>> {
        Ok(form.of(self, id)?)
    }
}
