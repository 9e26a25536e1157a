//! What waits on either side for an entry that is not there. Whoever has that
//! entry brings it, also when it stands below the cursors.

use std::collections::{BTreeSet, HashMap, HashSet};

use thingdb::{Db, EntryId, ShortId, WaitingEntry, short_id};

use super::exchange::Session;
use super::greeting::Greeting;
use super::growth::Growth;
use super::push;
use super::push::There;
use super::summary::{Waiting, WaitingThere};
use crate::sync::fault::Outcome;
use crate::sync::wire::MAX_WANTED;

/// What came can wait for something itself, so many times in one exchange.
const MAX_ROUNDS: usize = 16;

/// The entries about things with this prefix that wait here, those that have
/// waited longest.
fn waiting(db: &Db, prefix: &str) -> thingdb::Result<Vec<WaitingEntry>> {
    if db.waiting()?.entries == 0 {
        return Ok(Vec::new());
    }
    let mut entries = db.waiting_entries(MAX_WANTED)?;
    entries.retain(|entry| thingdb::format::key_record::is_within(&entry.thing, prefix));
    Ok(entries)
}

/// The entries for which others wait here, except those that wait themselves.
pub(crate) fn wanted(db: &Db, prefix: &str) -> thingdb::Result<BTreeSet<EntryId>> {
    let entries = waiting(db, prefix)?;
    let themselves: HashSet<EntryId> = entries.iter().map(|entry| entry.id).collect();
    Ok(entries.into_iter().map(|entry| entry.waits_for).filter(|id| !themselves.contains(id)).collect())
}

impl Session<'_> {
    /// Fetches what entries here wait for, as far as the peer has it.
    pub(super) fn pull_wanted(&mut self, greeting: &Greeting) -> Outcome {
        let mut asked = HashSet::new();
        for _ in 0..MAX_ROUNDS {
            let wanted = wanted(self.db, &self.prefix)?;
            let new: Vec<ShortId> = wanted.iter().map(short_id).filter(|id| asked.insert(*id)).collect();
            if new.is_empty() {
                break;
            }
            let positions = self.remote.find(&self.prefix, greeting.size, &new)?;
            if positions.is_empty() {
                break;
            }
            let total = positions.len() as u64;
            self.fetch(&positions, None, &|_| (0, total))?;
        }
        Ok(())
    }

    /// Sends what entries at the peer wait for, as far as it is here. Gives what
    /// they wait for after that.
    pub(super) fn push_wanted(&mut self, growth: &mut Growth) -> Outcome<WaitingThere> {
        let mut sent = HashSet::new();
        for _ in 0..MAX_ROUNDS {
            let wanted = self.remote.wanted(&self.prefix)?;
            let mut positions: Vec<u64> = self.here_of(&wanted)?.into_values().collect();
            positions.retain(|position| sent.insert(*position));
            positions.sort_unstable();
            let lacking = self.lacking(&positions, &There::Ask)?;
            if lacking.is_empty() {
                return self.waiting_there(wanted);
            }
            let total = lacking.len() as u64;
            self.send(&lacking, push::Goods::Lacking, None, growth, &|_| (0, total))?;
        }
        let wanted = self.remote.wanted(&self.prefix)?;
        self.waiting_there(wanted)
    }

    fn waiting_there(&self, wanted: Vec<ShortId>) -> Outcome<WaitingThere> {
        let here = self.here_of(&wanted)?;
        let (not_taken, nowhere) = wanted.into_iter().partition(|id| here.contains_key(id));
        Ok(WaitingThere { not_taken, nowhere })
    }

    /// Where those of these entries are that are here and part of the exchange.
    fn here_of(&self, ids: &[ShortId]) -> Outcome<HashMap<ShortId, u64>> {
        let mut places = self.db.positions_of(ids)?;
        if !self.prefix.is_empty() {
            let mut of_things = HashMap::new();
            for (id, position) in places {
                if self.db.is_of(position, &self.prefix)? {
                    of_things.insert(id, position);
                }
            }
            places = of_things;
        }
        Ok(places)
    }

    /// What waits here when the exchange has ended.
    pub(super) fn still_waiting(&self) -> Outcome<Waiting> {
        let entries = waiting(self.db, &self.prefix)?;
        let waits_for = wanted(self.db, &self.prefix)?;
        let all = if self.prefix.is_empty() { self.db.waiting()?.entries } else { entries.len() as u64 };
        Ok(Waiting { entries: all, waits_for })
    }
}
