//! What commands that read ask: the same of a database that is open here and of
//! a server.

use std::io::Write;
use std::ops::Bound;

use thingdb::{
    Db, EntryId, ExportOptions, KdfParams, Passphrase, SignedCheckpoint, StreamForm, ThingInfo, ThingQuery, Time,
};

use super::counts::Counts;
use super::entry::Entry;
use super::error::Outcome;
use super::fork::ForkJson;
use super::similar;
use super::span::Span;

/// Most entries that an abbreviated id is told to name.
const MAX_FOUND: usize = 9;

/// Entries, one after the other.
pub(crate) type Entries<'a> = Box<dyn Iterator<Item = Outcome<Entry>> + 'a>;

/// Things, one after the other.
pub(crate) type Things<'a> = Box<dyn Iterator<Item = Outcome<ThingInfo>> + 'a>;

/// The part of a history that is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// By seq or time.
    pub(crate) span: Span,
    /// From which end.
    pub(crate) newest_first: bool,
    /// At most this many.
    pub(crate) most: usize,
}

/// The things that are wanted, in the order of their names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listing<'a> {
    /// Their names begin so.
    pub(crate) prefix: &'a str,
    /// Only those after this one.
    pub(crate) after: Option<&'a str>,
    /// At most this many.
    pub(crate) most: usize,
}

/// The stream that is wanted.
pub(crate) struct Wanted<'a> {
    /// From this ledger position on.
    pub(crate) since: Option<u64>,
    /// Of things whose names begin so.
    pub(crate) prefix: Option<&'a str>,
    /// What this peer may read.
    pub(crate) to: Option<&'a str>,
    /// Without the stubs.
    pub(crate) only_addressed: bool,
    /// As frames, not lines.
    pub(crate) binary: bool,
    /// Sealed to this passphrase, too.
    pub(crate) archive: Option<&'a Passphrase>,
    /// Whether somebody still wants it, to be asked now and then.
    pub(crate) is_wanted: &'a dyn Fn() -> bool,
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exported {
    /// Entries in the stream.
    pub(crate) entries: u64,
    /// What to give to `since` the next time.
    pub(crate) next_position: u64,
    /// Bytes of the stream.
    pub(crate) bytes: u64,
}

/// The entries that an abbreviated id names.
pub(crate) enum Found {
    /// None.
    Nothing,
    /// This one.
    One(Box<Entry>),
    /// Several, by their ids.
    Several(Vec<EntryId>),
}

/// Something that can be read.
pub(crate) trait Reader {
    /// The latest entry of a thing.
    fn latest(&self, thing: &str) -> Outcome<Option<Entry>>;
    /// The entry that was the latest at a time.
    fn as_of(&self, thing: &str, time: Time) -> Outcome<Option<Entry>>;
    /// The entries with a seq: several where a thing has forked.
    fn with_seq(&self, thing: &str, seq: u64) -> Outcome<Vec<Entry>>;
    /// The entry with an id.
    fn with_id(&self, id: &EntryId) -> Outcome<Option<Entry>>;
    /// The entries whose ids begin with these lower-case hex digits.
    fn find(&self, digits: &str) -> Outcome<Found>;
    /// A part of the history of a thing; nothing if there is no such thing.
    fn history(&self, thing: &str, part: Part) -> Outcome<Option<Entries<'_>>>;
    /// Things by name.
    fn things(&self, listing: Listing<'_>) -> Outcome<Things<'_>>;
    /// Names like that of a thing that is not there.
    fn similar(&self, thing: &str) -> Outcome<Vec<String>>;
    /// What is stored, in numbers.
    fn counts(&self) -> Outcome<Counts>;
    /// The signed state of the ledger.
    fn checkpoint(&self) -> Outcome<SignedCheckpoint>;
    /// Things with several heads, or the one that is named if it has.
    fn forks(&self, thing: Option<&str>) -> Outcome<Vec<ForkJson>>;
    /// Writes a stream of entries. Tells how far it is: entries, of how many,
    /// bytes.
    fn export(
        &self,
        wanted: &Wanted<'_>,
        out: &mut dyn Write,
        tell: &mut dyn FnMut(u64, u64, u64),
    ) -> Outcome<Exported>;
}

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
            (Some(last), false) => Found::Several(found.iter().chain([&last]).map(thingdb::Record::id).collect()),
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
        let wanted = move |record: &thingdb::Result<thingdb::Record>| {
            record.as_ref().map_or(true, |record| span.has(record.time()))
        };
        let entry = |record: thingdb::Result<thingdb::Record>| Ok(Entry::from(record?));
        Ok(Some(if newest_first {
            Box::new(history.rev().filter(wanted).take(most).map(entry))
        } else {
            Box::new(history.filter(wanted).take(most).map(entry))
        }))
    }

    fn things(&self, listing: Listing<'_>) -> Outcome<Things<'_>> {
        let mut query = ThingQuery::new().prefix(listing.prefix).limit(listing.most);
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

    fn forks(&self, thing: Option<&str>) -> Outcome<Vec<ForkJson>> {
        Ok(Self::forks(self, thing)?.iter().map(ForkJson::new).collect())
    }

    fn export(
        &self,
        wanted: &Wanted<'_>,
        out: &mut dyn Write,
        tell: &mut dyn FnMut(u64, u64, u64),
    ) -> Outcome<Exported> {
        let mut progress = |progress: thingdb::Progress| tell(progress.done, progress.total, progress.bytes);
        let form = if wanted.binary { StreamForm::Binary } else { StreamForm::Lines };
        let mut options = ExportOptions::new().form(form).progress(&mut progress).while_wanted(wanted.is_wanted);
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
        Ok(Exported { entries: exported.entries, next_position: exported.next_position, bytes: exported.bytes })
    }
}
