//! What commands that read ask: the same of a database that is open here and of
//! a server.

pub(crate) mod database;
mod failure;
pub(crate) mod find;
mod grown;
pub(crate) mod heads;
mod here;
mod lost;
mod pages;
pub(crate) mod proof;
pub(crate) mod proving;
pub(crate) mod server;
pub(crate) mod source;
pub(crate) mod step;
mod stream;
pub(crate) mod unreadable;

use std::io::Write;

use thingdb::{EntryId, Passphrase, SignedCheckpoint, ThingInfo, Time};

use crate::error::{Failure, Outcome};
use crate::view::counts::Counts;
use crate::view::entry::Entry;
use crate::view::erasure::ErasureJson;
use crate::view::fork::ForkJson;
use crate::view::hole::HoleJson;
use crate::view::one_form::OneForm;
use crate::view::span::Span;
use proving::{Proved, Proving};

/// Entries, one after the other.
pub(crate) type Entries<'a> = Box<dyn Iterator<Item = Outcome<Entry>> + 'a>;

/// Things, one after the other.
pub(crate) type Things<'a> = Box<dyn Iterator<Item = Outcome<ThingInfo>> + 'a>;

/// Forks, one after the other, in the order of the things' names.
pub(crate) type Forks<'a> = Box<dyn Iterator<Item = Outcome<ForkJson>> + 'a>;

/// Erasure records, one after the other.
pub(crate) type Erasures<'a> = Box<dyn Iterator<Item = Outcome<ErasureJson>> + 'a>;

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
    /// Whether each is retired is to be looked for.
    pub(crate) retired: bool,
    /// Whether entries that were erased are to be counted.
    pub(crate) erased: bool,
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
#[derive(Clone, Debug)]
pub(crate) struct Exported {
    /// Entries in the stream.
    pub(crate) entries: u64,
    /// What to give to `since` the next time.
    pub(crate) next_position: u64,
    /// Bytes of the stream.
    pub(crate) bytes: u64,
    /// Entries that could not be read.
    pub(crate) lost: u64,
    /// Where they are.
    pub(crate) holes: Vec<HoleJson>,
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
    /// Why the ledger cannot be what became of a checkpoint that was kept;
    /// nothing if it can.
    fn contradicts(&self, kept: &SignedCheckpoint) -> Outcome<Option<String>>;
    /// What is known to be missing of the ledger, as the failure of who has listed
    /// `listed` entries as if they were all.
    fn lost(&self, listed: u64) -> Outcome<Option<Failure>>;
    /// Things with several heads, or the one that is named if it has.
    fn forks(&self, thing: Option<&str>) -> Outcome<Forks<'_>>;
    /// Erasure records, in the order of the ledger; of one thing if it is named, nothing
    /// if there is no such thing.
    fn erasures(&self, thing: Option<&str>) -> Outcome<Option<Erasures<'_>>>;
    /// Writes a stream of entries. Tells how far it is: entries, of how many,
    /// bytes.
    fn export(
        &self,
        wanted: &Wanted<'_>,
        out: &mut dyn Write,
        tell: &mut dyn FnMut(u64, u64, u64),
    ) -> Outcome<Exported>;
    /// Writes a proof file. Tells how far it is: entries, of how many, bytes.
    ///
    /// What comes from a server is checked before its last line is written: a file
    /// that does not hold, or is not what was asked for, stays cut.
    fn prove(&self, wanted: &Proving<'_>, out: &mut dyn Write, tell: &mut dyn FnMut(u64, u64, u64)) -> Outcome<Proved>;
    /// The proof of one entry of a thing, for tools of others; nothing if it is not there.
    /// What comes from a server is checked.
    fn prove_one(&self, thing: &str, id: &EntryId, form: OneForm) -> Outcome<Option<Vec<u8>>>;
}
