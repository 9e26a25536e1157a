//! Whether entries from elsewhere follow from their prev: the one rule, for an
//! import and for a dry run of it.
//!
//! What is known of a prev is looked up before any entry of the import is taken
//! in, and kept: whether it is a head, and so found at once, changes with each
//! entry that is.

use std::collections::HashSet;
use std::collections::hash_map::{self, HashMap};
use std::sync::Arc;

use thingdb_format::{EntryId, Header, Time};

use super::{Arrived, Committer};
use crate::entry::refusal::{Cause, RefusalCode};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::index::State;
use crate::store::postings::id8;
use crate::store::schema::Tag;

/// Seq and time of an entry.
pub(crate) type Place = (u64, Time);

/// What the links of an entry say.
pub(crate) enum Verdict {
    Follows,
    /// The first of its prev that is not here.
    Missing(EntryId),
    Refused(Cause),
}

/// Where entries of the store are that others follow. Nothing here becomes
/// untrue: the store only grows.
#[derive(Default)]
pub(crate) struct Links {
    /// By thing: an entry follows entries of its own thing only. An error says
    /// what is damaged.
    found: HashMap<(Tag, EntryId), std::result::Result<Place, String>>,
    /// The seqs of the entries of the import at hand.
    arriving: HashMap<EntryId, u64>,
}

impl Links {
    /// Looks for the prev of entries that come together, those that are not
    /// taken in yet, nor among these entries.
    pub(crate) fn look_for(
        &mut self,
        store: &Store,
        entries: &[Arrived],
        is_taken: impl Fn(&EntryId) -> bool,
    ) -> Result<()> {
        self.arriving = entries.iter().map(|arrived| (arrived.id, arrived.header.seq)).collect();
        let mut states = States { store, last: None };
        let mut wanted: HashMap<Tag, HashSet<EntryId>> = HashMap::new();
        for arrived in entries {
            for id in &arrived.header.prev {
                let key = (arrived.tag, *id);
                if self.arriving.contains_key(id) || is_taken(id) || self.found.contains_key(&key) {
                    continue;
                }
                // Most follow a head, or stand just behind what they follow.
                match states
                    .of(&arrived.tag)
                    .and_then(|state| at_hand(store, state, &arrived.tag, id, arrived.header.seq))
                {
                    Ok(Some(place)) => drop(self.found.insert(key, Ok(place))),
                    Ok(None) => drop(wanted.entry(arrived.tag).or_default().insert(*id)),
                    Err(problem) => drop(self.found.insert(key, Err(damage(problem)?))),
                }
            }
        }
        for (tag, ids) in wanted {
            self.search(store, &tag, &ids)?;
        }
        Ok(())
    }

    /// Goes through a thing, once for all that is wanted of it, so that many
    /// that are nowhere cost no more than one.
    fn search(&mut self, store: &Store, tag: &Tag, ids: &HashSet<EntryId>) -> Result<()> {
        let Ok(Some(state)) = store.state(tag) else { return Ok(()) };
        let mut left: HashMap<[u8; 8], Vec<EntryId>> = HashMap::new();
        for id in ids {
            left.entry(id8(id)).or_default().push(*id);
        }
        for chunk in crate::store::postings::chunks(1, state.last_seq().min(store.size())).rev() {
            if left.is_empty() {
                break;
            }
            let postings = match store.chunk(tag, &state, chunk) {
                Ok(postings) => postings,
                // Whatever is not found may stand there.
                Err(problem) => {
                    let detail = damage(problem)?;
                    for id in left.into_values().flatten() {
                        self.found.insert((*tag, id), Err(detail.clone()));
                    }
                    break;
                }
            };
            for posting in postings.iter() {
                let hash_map::Entry::Occupied(mut some) = left.entry(posting.id8) else { continue };
                match store.located(posting) {
                    Ok(located) => {
                        if let Some(at) = some.get().iter().position(|id| *id == located.id) {
                            some.get_mut().swap_remove(at);
                            let place = (located.header.seq, located.header.time);
                            self.found.insert((*tag, located.id), Ok(place));
                        }
                    }
                    // It is one of these, as far as anybody can tell.
                    Err(problem) => {
                        let detail = damage(problem)?;
                        for id in some.get_mut().drain(..) {
                            self.found.insert((*tag, id), Err(detail.clone()));
                        }
                    }
                }
                if some.get().is_empty() {
                    some.remove();
                }
            }
        }
        Ok(())
    }

    /// Whether an entry follows from its prev. `taken` knows those that were
    /// taken in and are not in the store yet, with their things.
    pub(crate) fn judge(
        &mut self,
        committer: &Committer,
        store: &Store,
        (tag, header): (&Tag, &Header),
        taken: impl Fn(&EntryId) -> Option<(Tag, Place)>,
    ) -> Result<Verdict> {
        if let Some(cause) = committer.untimely(header) {
            return Ok(Verdict::Refused(cause));
        }
        let mut places = Vec::with_capacity(header.prev.len());
        for prev in &header.prev {
            let place = match taken(prev) {
                Some((of, place)) if of == *tag => Some(place),
                Some(_) => return Ok(Verdict::Refused(Cause::other_thing(prev))),
                None => self.stored(store, tag, prev)?,
            };
            match place {
                Some(place) => places.push(place),
                None => return Ok(Verdict::Missing(*prev)),
            }
        }
        Ok(refusal(header, &places).map_or(Verdict::Follows, Verdict::Refused))
    }

    /// Where an entry of the store is.
    fn stored(&mut self, store: &Store, tag: &Tag, id: &EntryId) -> Result<Option<Place>> {
        if let Some(found) = self.found.get(&(*tag, *id)) {
            return found.clone().map(Some).map_err(|detail| Error::damaged(format!("its prev {id}"), detail));
        }
        // A copy of it in the same import says where it is, if it is here.
        let Some(seq) = self.arriving.get(id) else { return Ok(None) };
        let Some(state) = store.state(tag)? else { return Ok(None) };
        let found = store.find(tag, &state, id, Some(*seq))?;
        let place = found.map(|found| (found.header.seq, found.header.time));
        if let Some(place) = place {
            self.found.insert((*tag, *id), Ok(place));
        }
        Ok(place)
    }
}

impl Committer {
    /// Why an entry from elsewhere cannot be taken in now, whatever its prev.
    fn untimely(&self, header: &Header) -> Option<Cause> {
        let now = (self.clock)();
        let latest = now.saturating_add(self.future_tolerance_us);
        (header.time.micros() > latest).then(|| {
            let again = header.time.micros().saturating_sub(self.future_tolerance_us);
            let ahead = std::time::Duration::from_micros(header.time.micros().saturating_sub(now)).as_secs();
            let reason = format!("time {} is in the future: {ahead} s ahead of the clock here", header.time);
            Cause::new(RefusalCode::ClockAhead, reason).again(Time::from_micros(again).unwrap_or(header.time))
        })
    }
}

/// Why an entry does not follow from its prev, given where these are.
fn refusal(header: &Header, prev: &[Place]) -> Option<Cause> {
    if let Some((_, time)) = prev.iter().find(|(_, time)| header.time <= *time) {
        let reason = format!("time {} is not later than {time} of its prev", header.time);
        return Some(Cause::new(RefusalCode::TimeOrder, reason));
    }
    let greatest = prev.iter().map(|(seq, _)| *seq).max().unwrap_or(0);
    (header.seq != greatest + 1).then(|| {
        let reason = format!("seq {} does not follow seq {greatest} of its prev", header.seq);
        Cause::new(RefusalCode::SeqOrder, reason)
    })
}

/// An entry that is a head, or stands just before `seq`.
fn at_hand(store: &Store, state: Option<&State>, tag: &Tag, id: &EntryId, seq: u64) -> Result<Option<Place>> {
    let Some(state) = state else { return Ok(None) };
    if let Some(head) = state.heads.get(id) {
        return Ok(Some((head.posting.seq, head.time())));
    }
    let found = store.find(tag, state, id, Some(seq.saturating_sub(1)))?;
    Ok(found.map(|found| (found.header.seq, found.header.time)))
}

/// What is damaged; any other problem ends the import.
fn damage(problem: Error) -> Result<String> {
    match problem {
        Error::Damaged { what, detail } => Ok(format!("{what}: {detail}")),
        problem if problem.is_damaged() => Ok(problem.to_string()),
        problem => Err(problem),
    }
}

/// The state of the thing that was asked for last: entries of a thing come
/// together.
struct States<'a> {
    store: &'a Store,
    last: Option<(Tag, Option<Arc<State>>)>,
}

impl States<'_> {
    fn of(&mut self, tag: &Tag) -> Result<Option<&State>> {
        if self.last.as_ref().is_none_or(|(known, _)| known != tag) {
            self.last = Some((*tag, self.store.state(tag)?));
        }
        Ok(self.last.as_ref().and_then(|(_, state)| state.as_deref()))
    }
}
