//! The states of things that memory holds: those that are not in the rows yet, and,
//! as far as there is room, those that were used last.
//!
//! What was used last lies in two generations. What is used comes into the young one.
//! When that has half of the room, it becomes the old one, and what the old one still
//! has is let go of: nobody ever looks at all states to find those that can go.

use std::sync::Arc;

use super::schema::{Tag, TagMap};
use super::state::State;

/// The least that a generation has room for.
const MIN_GENERATION_BYTES: usize = 512 << 10;

pub(super) struct Held {
    /// Not in the rows yet: these stay.
    pub(super) unwritten: TagMap<Arc<State>>,
    young: TagMap<Arc<State>>,
    young_bytes: usize,
    old: TagMap<Arc<State>>,
    generation_bytes: usize,
    /// Grows when states leave memory: what a reader loaded before must not be put
    /// in their place.
    pub(super) evictions: u64,
}

/// A generation that was let go of, which takes a while to drop: best without a lock.
pub(super) type Gone = Option<TagMap<Arc<State>>>;

impl Held {
    /// With so many bytes for the states that are in the rows as well.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            unwritten: TagMap::default(),
            young: TagMap::default(),
            young_bytes: 0,
            old: TagMap::default(),
            generation_bytes: (bytes / 2).max(MIN_GENERATION_BYTES),
            evictions: 0,
        }
    }

    /// The state of a thing, and whether it goes soon unless it is [kept](Self::keep).
    pub(super) fn find(&self, tag: &Tag) -> Option<(Arc<State>, bool)> {
        let stays = self.unwritten.get(tag).or_else(|| self.young.get(tag)).map(|state| (state, false));
        let found = stays.or_else(|| self.old.get(tag).map(|state| (state, true)));
        found.map(|(state, goes)| (Arc::clone(state), goes))
    }

    pub(super) fn contains(&self, tag: &Tag) -> bool {
        self.unwritten.contains_key(tag) || self.young.contains_key(tag) || self.old.contains_key(tag)
    }

    /// Keeps a state that is in the rows as one that was used last.
    #[must_use]
    pub(super) fn keep(&mut self, tag: Tag, state: Arc<State>) -> Gone {
        self.young_bytes += state.bytes();
        if let Some(before) = self.young.insert(tag, state) {
            self.young_bytes = self.young_bytes.saturating_sub(before.bytes());
        }
        self.old.remove(&tag);
        if self.young_bytes <= self.generation_bytes {
            return None;
        }
        self.young_bytes = 0;
        self.evictions += 1;
        Some(std::mem::replace(&mut self.old, std::mem::take(&mut self.young)))
    }

    /// Makes one of those that go soon one that was used last, if it is still there.
    #[must_use]
    pub(super) fn renew(&mut self, tag: &Tag) -> Gone {
        self.old.remove(tag).and_then(|state| self.keep(*tag, state))
    }

    /// Takes out a state that is in the rows.
    pub(super) fn take(&mut self, tag: &Tag) -> Option<Arc<State>> {
        let Some(state) = self.young.remove(tag) else { return self.old.remove(tag) };
        self.young_bytes = self.young_bytes.saturating_sub(state.bytes());
        Some(state)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        let bytes = self.generation_bytes * 2;
        *self = Self { evictions: self.evictions + 1, ..Self::new(bytes) };
    }
}

#[cfg(test)]
mod tests {
    use thingdb_format::ThingId;

    use super::*;

    fn state(n: u32) -> (Tag, Arc<State>) {
        let mut tag = [0; 16];
        tag[..4].copy_from_slice(&n.to_be_bytes());
        (Tag(tag), Arc::new(State::new(ThingId::new(&format!("thing-{n}")).unwrap())))
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut held = Held::new(0);
        let (waits, often) = (state(u32::MAX), state(u32::MAX - 1));
        held.unwritten.insert(waits.0, waits.1);
        assert!(held.keep(often.0, Arc::clone(&often.1)).is_none());
        let in_a_generation = MIN_GENERATION_BYTES / state(0).1.bytes();
        let mut gone = 0;
        for n in 0..10 * in_a_generation as u32 {
            let (tag, state) = state(n);
            gone += held.keep(tag, state).map_or(0, |gone| gone.len());
            let (found, goes) = held.find(&often.0).expect("it is used all the time");
            assert!(Arc::ptr_eq(&found, &often.1));
            if goes {
                gone += held.renew(&often.0).map_or(0, |gone| gone.len());
            }
            assert!(held.young.len() + held.old.len() <= 2 * in_a_generation + 2);
        }
        assert!(gone > 7 * in_a_generation && held.evictions >= 8);
        assert!(held.contains(&waits.0));
        assert!(!held.contains(&state(0).0));
    }

    #[test]
    fn what_is_taken_out_needs_no_room() {
        let mut held = Held::new(0);
        let (tag, state) = state(1);
        for _ in 0..10 * MIN_GENERATION_BYTES / state.bytes() {
            assert!(held.keep(tag, Arc::clone(&state)).is_none());
            assert!(held.take(&tag).is_some());
            assert!(held.take(&tag).is_none());
        }
        assert_eq!(held.young_bytes, 0);
        held.clear();
        assert_eq!(held.evictions, 1);
    }
}
