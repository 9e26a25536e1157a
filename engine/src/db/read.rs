//! Reading: the latest, one entry, a history, the things, counts.

use std::ops::{Range, RangeBounds};

use thingdb_format::{EntryId, ThingId, Time};

use super::Db;
use crate::directory::version::STORE_VERSION;
use crate::entry::record::Record;
use crate::error::{Error, Result};
use crate::exchange::waiting::Waiting;
use crate::heads::{Head, Ranked};
use crate::storage::journaled::Keep;
use crate::storage::open;
use crate::store::Located;
use crate::store::as_of::as_of;
use crate::store::history::History;
use crate::store::holes;
use crate::store::originals;
use crate::store::recover::{accepted_until, lost_end, unlisted};
use crate::store::state::HeadPosting;
use crate::store::things::{ThingQuery, Things};

/// Reading.
impl Db {
    /// The latest entry of a thing: that with the greatest (time, seq, id) of those
    /// that are no [erasure records](Record::is_erasure), the same on every node that has
    /// the same entries. A thing that has nothing else is told by the latest record.
    ///
    /// [`Record::heads`] tells whether there are others. The latest is the
    /// latest also where this node cannot read it and can read another head:
    /// its content says so, and [`Db::head_records`] are all of them.
    ///
    /// # Errors
    /// [`Error::is_damaged`] if it does not open.
    pub fn get(&self, thing: &str) -> Result<Option<Record>> {
        let tag = self.node.store.tag(&ThingId::new(thing)?);
        let Some(state) = self.node.store.state(&tag)? else { return Ok(None) };
        let Some(latest) = self.node.store.latest(&tag, &state)? else { return Ok(None) };
        let located = self.node.store.located_of(&state, &latest.posting)?;
        self.node.store.record(located, state.heads.len()).map(Some)
    }

    /// [The latest entry](Self::get) of a thing that has one head, or nothing if there is
    /// no such thing: does not choose among several.
    ///
    /// ```
    /// # let tmp = tempfile::tempdir()?;
    /// # let passphrase = thingdb::Passphrase::new("correct horse battery");
    /// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(tmp.path().join("db"), &passphrase)?;
    /// db.put("part-42", "1")?;
    /// match db.get_only("part-42") {
    ///     Ok(record) => assert_eq!(record.map(|record| record.seq()), Some(1)),
    ///     Err(thingdb::Error::Forked { heads, .. }) => println!("one of {}: a person decides", heads.len()),
    ///     Err(other) => return Err(other.into()),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Forked`] if it has several, and as [`Db::get`].
    pub fn get_only(&self, thing: &str) -> Result<Option<Record>> {
        let Some(record) = self.get(thing)? else { return Ok(None) };
        if record.heads() > 1 {
            return Err(Error::Forked { thing: ThingId::new(thing)?, heads: self.heads(thing)? });
        }
        Ok(Some(record))
    }

    /// The heads of a thing, the latest first, each read when it is asked for.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn head_records(&self, thing: &str) -> Result<impl Iterator<Item = Result<Record>>> {
        let tag = self.node.store.tag(&ThingId::new(thing)?);
        let state = self.node.store.state(&tag)?;
        let mut heads: Vec<HeadPosting> = state.iter().flat_map(|state| state.heads.iter().copied()).collect();
        heads.sort_unstable_by_key(|head| std::cmp::Reverse(head.rank()));
        let count = heads.len();
        Ok(heads.into_iter().zip(std::iter::repeat(state)).filter_map(move |(head, state)| {
            let located = self.node.store.located_of(state.as_deref()?, &head.posting);
            Some(located.and_then(|located| self.node.store.record(located, count)))
        }))
    }

    /// The entries of a thing with this seq: none, one, or several if the
    /// thing has forked there.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub fn get_seq(&self, thing: &str, seq: u64) -> Result<Vec<Record>> {
        self.history_range(thing, seq..=seq)?.collect()
    }

    /// The entry that was the latest at `time`, by the clocks of the writers:
    /// of the entries until then, the one with the greatest (time, seq, id) that is no
    /// [erasure record](Record::is_erasure).
    /// [`Record::heads`] tells how many of them no other followed.
    ///
    /// A migrated entry counts by the time of its original
    /// ([`Record::dated`]), where this node can read it.
    ///
    /// In a history that has forked it takes time in proportion to the part
    /// until then, and in proportion to the part after it where migrated
    /// entries may be; otherwise the length hardly counts.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub fn get_at(&self, thing: &str, time: Time) -> Result<Option<Record>> {
        let thing = ThingId::new(thing)?;
        if let Some(migrated) = originals::migrated_at(&self.node.store, &thing, time)? {
            return Ok(Some(migrated));
        }
        let found = as_of(&self.node.store, &thing, time)?;
        found.map(|found| self.node.store.record(found.latest, found.heads)).transpose()
    }

    /// The entry with this id. Takes time in proportion to the ledger (32
    /// bytes an entry are read); with the thing at hand, its history is
    /// shorter.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub fn get_id(&self, id: &EntryId) -> Result<Option<Record>> {
        let mut found = None;
        self.node.store.scan_ids(|position, candidate| {
            if candidate == id.0 {
                found = Some(position);
            }
            found.is_none()
        })?;
        let Some(position) = found else { return Ok(None) };
        let located = self.node.store.located_at(position)?;
        if located.id != *id {
            return Err(Error::damaged("the ledger's tree", format!("it has {id} at the position of {}", located.id)));
        }
        self.record(located).map(Some)
    }

    /// The ids that begin with these hex digits, at most `limit`, in ledger
    /// order. Takes time in proportion to the ledger.
    ///
    /// # Errors
    /// [`Error::is_invalid_input`] for a prefix that is not lower-case hex.
    pub fn find_ids(&self, hex_prefix: &str, limit: usize) -> Result<Vec<EntryId>> {
        let nibbles = nibbles(hex_prefix)?;
        let mut found = Vec::new();
        self.node.store.scan_ids(|_, id| {
            if begins_with(&id, &nibbles) {
                found.push(EntryId(id));
            }
            found.len() < limit
        })?;
        Ok(found)
    }

    /// The entries whose ids begin with these hex digits, of things whose ids
    /// begin with `things`, at most `limit`, in ledger order. Takes time in
    /// proportion to the ledger.
    ///
    /// # Errors
    /// As [`Db::get`]; [`Error::is_invalid_input`] for digits that are not
    /// lower-case hex.
    pub fn find_entries(&self, hex_prefix: &str, things: &str, limit: usize) -> Result<Vec<Record>> {
        let nibbles = nibbles(hex_prefix)?;
        let mut positions = Vec::new();
        self.node.store.scan_ids(|position, id| {
            if begins_with(&id, &nibbles) {
                positions.push(position);
            }
            // Whose things they are of is seen later.
            !things.is_empty() || positions.len() < limit
        })?;
        let mut found = Vec::new();
        for position in positions {
            let located = self.node.store.located_at(position)?;
            if !begins_with(&located.id.0, &nibbles) {
                let problem = format!("it has {hex_prefix}… at the position of {}", located.id);
                return Err(Error::damaged("the ledger's tree", problem));
            }
            if located.header.thing.as_str().starts_with(things) {
                found.push(self.record(located)?);
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// Opens a record that was found without its thing.
    pub(super) fn record(&self, located: Located) -> Result<Record> {
        let state = self.node.store.state(&self.node.store.tag(&located.header.thing))?;
        self.node.store.record(located, state.map_or(0, |state| state.heads.len()))
    }

    /// The entries of a thing that no other follows: one, or several if it has
    /// forked, the latest first.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn heads(&self, thing: &str) -> Result<Vec<Head>> {
        let state = self.node.store.state(&self.node.store.tag(&ThingId::new(thing)?))?;
        Ok(state.map_or_else(Vec::new, |state| state.ranked_heads()))
    }

    /// The history of a thing, from both ends, in constant memory.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn history(&self, thing: &str) -> Result<History<'_>> {
        self.history_range(thing, ..)
    }

    /// A part of the history of a thing, by seq.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn history_range(&self, thing: &str, seqs: impl RangeBounds<u64>) -> Result<History<'_>> {
        History::new(&self.node.store, &ThingId::new(thing)?, seqs)
    }

    /// All things, ascending by id.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn things(&self) -> Result<Things<'_>> {
        self.things_from(&ThingQuery::new())
    }

    /// The things that `query` asks for, ascending by id. The first listing
    /// puts all ids in order in memory.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn things_from(&self, query: &ThingQuery) -> Result<Things<'_>> {
        self.node.store.catalogue.list(&self.node.store, query)
    }

    /// Positions of the ledger of which nothing is stored, ascending; the first
    /// thousand ranges. Nothing is opened: what is there and does not open
    /// [`Db::verify`] tells. The second is the position up to which that is known and
    /// accepted: the node got a [new key](Db::new_node_key) then.
    ///
    /// # Errors
    /// If rows cannot be read at all.
    pub fn missing_positions(&self) -> Result<(Vec<Range<u64>>, u64)> {
        Ok((holes::gaps(&self.node.store)?, accepted_until(&self.node.store)?))
    }

    /// Positions of the ledger that no listing has, because nothing could be read there
    /// when they were to be listed, the first 256 ranges: who finds nothing under a name
    /// cannot say then that there never was anything. It is kept, and nothing is looked
    /// through. What was accepted with a [new key](Db::new_node_key) is not among them.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn unlisted_positions(&self) -> Result<Vec<Range<u64>>> {
        unlisted(&self.node.store)
    }

    /// The last positions of the ledger as it was, if a [salvage](crate::Options::salvage)
    /// did not find them; until that is accepted with a [new key](Db::new_node_key).
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn lost_end(&self) -> Result<Option<Range<u64>>> {
        lost_end(&self.node.store)
    }

    /// Whether something in the store did not read: then nothing is written any more,
    /// and the next opening builds it anew from the journal, if there is one.
    #[must_use]
    pub fn store_is_damaged(&self) -> bool {
        open::is_marked_damaged(self.dir())
    }

    /// Counts and sizes.
    ///
    /// # Errors
    /// If the storage cannot tell its size.
    pub fn stats(&self) -> Result<Stats> {
        let waiting = self.waiting()?;
        let keyring = self.node.store.keyring();
        Ok(Stats {
            entries: self.node.store.size(),
            things: self.node.store.index.things(),
            erased: self.node.store.erased_of_things()?.values().sum(),
            disk_bytes: self.node.store.storage.disk_bytes()?,
            actors: keyring.actors().len(),
            trusted_actors: self.node.store.trusted().len(),
            store_version: STORE_VERSION,
            waiting,
            journal: Keep::of(&self.node.store.dir)?,
        })
    }
}

/// The values of lower-case hex digits, no more than an id has.
fn nibbles(hex: &str) -> Result<Vec<u8>> {
    let value = |digit| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let nibbles = hex.bytes().map(value).collect::<Option<Vec<u8>>>().filter(|nibbles| nibbles.len() <= 64);
    let malformed =
        thingdb_format::Error::Malformed { what: "entry id", problem: "not up to 64 lower-case hex digits" };
    Ok(nibbles.ok_or(malformed)?)
}

fn begins_with(id: &[u8; 32], nibbles: &[u8]) -> bool {
    nibbles.iter().enumerate().all(|(at, nibble)| {
        let byte = id[at / 2];
        *nibble == if at % 2 == 0 { byte >> 4 } else { byte & 15 }
    })
}

/// Counts and sizes of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Entries in the ledger.
    pub entries: u64,
    /// Things with at least one entry.
    pub things: u64,
    /// Entries whose content was erased.
    pub erased: u64,
    /// Bytes that the storage takes on the disk.
    pub disk_bytes: u64,
    /// Actors whose key is in the keyring.
    pub actors: usize,
    /// Keys that the trust store knows, own ones included.
    pub trusted_actors: usize,
    /// Version of the directory's layout.
    pub store_version: u64,
    /// Entries that wait for their prev.
    pub waiting: Waiting,
    /// How much of the journal is kept.
    pub journal: Keep,
}
