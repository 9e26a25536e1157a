//! The things of a database, by name.
//!
//! Rows are keyed by tags that tell no name, so names are put in order in
//! memory, once, when things are listed first; the committer's additions are
//! taken in at each listing.

use std::collections::{BTreeMap, BTreeSet, btree_set};
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use thingdb_format::ThingId;

use super::Store;
use super::schema;
use super::state::{self, HeadPosting, State};
use crate::error::Result;
use crate::heads::Head;
use crate::storage::Direction;

/// One thing in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThingInfo {
    /// Its id.
    pub thing: ThingId,
    /// How many entries it has.
    pub entries: u64,
    /// The entries that no other follows, the latest first; more than one if it
    /// has forked.
    pub heads: Vec<Head>,
    /// Its latest entry, as [`Db::get`](crate::Db::get) names it: one of the heads, or, where
    /// erasure records stand after it, an entry before these. What cannot be read there
    /// is for its reader to find: then the greatest head stands here.
    pub latest: Option<Head>,
    /// How many entries have lost their content to erasures; nothing if it was not
    /// [asked for](ThingQuery::erased).
    pub erased: Option<u64>,
    /// Whether its latest entry says that it is retired. Nothing if it was not
    /// [asked for](ThingQuery::retired), if this node cannot read that entry,
    /// or if its payload is larger than 64 KiB.
    pub retired: Option<bool>,
}

/// The action that retires a thing.
const RETIRE: &str = "retire";

/// Payloads up to this size are opened to see whether a thing is retired: whoever
/// lists things is not to read all that is stored.
const MAX_OPENED_BYTES: u32 = 64 << 10;

/// Which things to list.
///
/// ```
/// use thingdb::ThingQuery;
/// let second_page = ThingQuery::new().prefix("plant-3/").after("plant-3/press-7");
/// # let _ = second_page;
/// ```
#[derive(Clone, Debug, Default)]
pub struct ThingQuery {
    prefix: String,
    after: Option<String>,
    limit: Option<usize>,
    retired: bool,
    erased: bool,
}

impl ThingQuery {
    /// All things.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only things whose id begins with `prefix`.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Only things after `thing` in the order of the listing: the next page.
    #[must_use]
    pub fn after(mut self, thing: &str) -> Self {
        self.after = Some(thing.into());
        self
    }

    /// Looks into the latest entry of each, whether it retires the thing.
    #[must_use]
    pub const fn retired(mut self) -> Self {
        self.retired = true;
        self
    }

    /// Counts the entries of each whose content was erased. The first count after an
    /// erasure takes time in proportion to those of the whole ledger.
    #[must_use]
    pub const fn erased(mut self) -> Self {
        self.erased = true;
        self
    }

    /// At most this many.
    #[must_use]
    pub const fn limit(mut self, things: usize) -> Self {
        self.limit = Some(things);
        self
    }
}

impl ThingQuery {
    /// Where the listing begins.
    fn start(&self) -> Bound<&str> {
        match self.after.as_deref() {
            Some(after) if after >= self.prefix.as_str() => Bound::Excluded(after),
            _ => Bound::Included(&self.prefix),
        }
    }
}

/// The names that were put in order.
#[derive(Default)]
pub(crate) struct Catalogue {
    names: Mutex<Option<BTreeSet<ThingId>>>,
}

impl Catalogue {
    /// The things that `query` asks for, ascending by the bytes of their ids.
    pub(crate) fn list<'a>(&self, store: &'a Store, query: &ThingQuery) -> Result<Things<'a>> {
        let mut names = self.names.lock().expect("no thread panics while it holds the names");
        // From here on new things are noted, so that none is missed between
        // reading all and the next listing.
        let new = store.index.take_new();
        if names.is_none() {
            *names = Some(read_all(store)?);
        }
        let names = names.get_or_insert_default();
        names.extend(new);
        let picked: BTreeSet<ThingId> = names
            .range::<str, _>((query.start(), Bound::Unbounded))
            .take_while(|thing| thing.as_str().starts_with(&query.prefix))
            .take(query.limit.unwrap_or(usize::MAX))
            .cloned()
            .collect();
        let erased = if query.erased { Some(store.erased_of_things()?) } else { None };
        Ok(Things { store, picked: picked.into_iter(), retired: query.retired, erased })
    }
}

fn read_all(store: &Store) -> Result<BTreeSet<ThingId>> {
    let mut names = BTreeSet::new();
    for row in store.storage.scan(&schema::states(), Direction::Forward) {
        let (key, sealed) = row?;
        names.insert(state::thing_of_state(&store.rows, &key, &sealed)?);
    }
    names.extend(store.index.unwritten_states().into_iter().map(|(_, state)| state.thing.clone()));
    Ok(names)
}

/// Things in the order of their ids. See [`Db::things`](crate::Db::things).
pub struct Things<'a> {
    store: &'a Store,
    picked: btree_set::IntoIter<ThingId>,
    retired: bool,
    erased: Option<Arc<BTreeMap<ThingId, u64>>>,
}

impl Things<'_> {
    fn info(&self, thing: ThingId) -> Result<Option<ThingInfo>> {
        let tag = self.store.tag(&thing);
        let Some(state) = self.store.state(&tag)? else { return Ok(None) };
        let heads = state.ranked_heads();
        let latest = match self.store.latest(&tag, &state) {
            // What is damaged is for its reader to find.
            Err(problem) if problem.is_damaged() => None,
            latest => latest?,
        };
        let retired = latest.filter(|_| self.retired).and_then(|latest| self.is_retired(&state, &latest));
        let latest = latest.map(|latest| latest.head()).or_else(|| heads.first().copied());
        let erased = self.erased.as_ref().map(|erased| erased.get(&thing).copied().unwrap_or(0));
        Ok(Some(ThingInfo { thing, entries: state.entries, heads, latest, erased, retired }))
    }

    fn is_retired(&self, state: &State, latest: &HeadPosting) -> Option<bool> {
        // What is damaged is for its reader to find.
        let located = self.store.located_of(state, &latest.posting).ok()?;
        if located.header.payload_len > MAX_OPENED_BYTES {
            return None;
        }
        let record = self.store.record(located, state.heads.len()).ok()?;
        record.action().map(|action| action == RETIRE)
    }
}

impl Iterator for Things<'_> {
    type Item = Result<ThingInfo>;

    fn next(&mut self) -> Option<Result<ThingInfo>> {
        while let Some(thing) = self.picked.next() {
            if let Some(info) = self.info(thing).transpose() {
                return Some(info);
            }
        }
        None
    }
}

impl DoubleEndedIterator for Things<'_> {
    fn next_back(&mut self) -> Option<Result<ThingInfo>> {
        while let Some(thing) = self.picked.next_back() {
            if let Some(info) = self.info(thing).transpose() {
                return Some(info);
            }
        }
        None
    }
}

impl std::fmt::Debug for Things<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Things({} left)", self.picked.len())
    }
}
