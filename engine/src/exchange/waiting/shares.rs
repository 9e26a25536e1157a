//! Who takes how much of the waiting room, and who has to go when it is full.
//!
//! Nobody has more than a share: an actor a quarter of the room, an origin half
//! of it. Where a share or the room is exceeded, the one goes who takes most,
//! with what has waited longest. An origin is only named by whoever signs, so
//! within an origin it is the actor who counts: naming the origin of others
//! costs them nothing.

use std::collections::{BTreeSet, HashMap};

use thingdb_format::{Actor, EntryId, Origin};

/// What may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) entries: u64,
    /// Bytes of lines, about, with a KiB for each.
    pub(super) bytes: u64,
}

impl Limits {
    const fn of_actor(self) -> Self {
        Self { entries: self.entries / 4, bytes: self.bytes / 4 }
    }

    const fn of_origin(self) -> Self {
        Self { entries: self.entries / 2, bytes: self.bytes / 2 }
    }

    const fn are_kept_by(self, taken: Taken) -> bool {
        taken.entries <= self.entries && taken.bytes <= self.bytes
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    entries: u64,
    bytes: u64,
}

/// Who takes something: an actor under an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub(super) origin: Origin,
    pub(super) actor: Actor,
}

/// What the parts of a whole take, and who of them most.
#[derive(Debug)]
struct Ranked<K> {
    taken: Taken,
    parts: HashMap<K, u64>,
    by_bytes: BTreeSet<(u64, K)>,
}

impl<K> Default for Ranked<K> {
    fn default() -> Self {
        Self { taken: Taken::default(), parts: HashMap::new(), by_bytes: BTreeSet::new() }
    }
}

impl<K: Copy + Ord + std::hash::Hash> Ranked<K> {
    fn change(&mut self, part: K, entries: i64, bytes: i64) {
        self.taken.entries = self.taken.entries.saturating_add_signed(entries);
        self.taken.bytes = self.taken.bytes.saturating_add_signed(bytes);
        let before = self.parts.get(&part).copied().unwrap_or(0);
        let after = before.saturating_add_signed(bytes);
        self.by_bytes.remove(&(before, part));
        if after == 0 {
            self.parts.remove(&part);
        } else {
            self.parts.insert(part, after);
            self.by_bytes.insert((after, part));
        }
    }

    fn greatest(&self) -> Option<K> {
        self.by_bytes.last().map(|(_, part)| *part)
    }
}

/// Everything that waits, by who takes the room.
#[derive(Debug)]
pub(super) struct Shares {
    limits: Limits,
    all: Ranked<[u8; 16]>,
    origins: HashMap<[u8; 16], Ranked<[u8; 32]>>,
    actors: HashMap<[u8; 32], Ranked<[u8; 16]>>,
    /// In the order in which they came.
    order: HashMap<Owner, BTreeSet<(u64, EntryId)>>,
}

impl Shares {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, all: Ranked::default(), origins: HashMap::new(), actors: HashMap::new(), order: HashMap::new() }
    }

    pub(super) const fn entries(&self) -> u64 {
        self.all.taken.entries
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.all.taken.bytes
    }

    pub(super) fn add(&mut self, owner: Owner, came: u64, id: EntryId, bytes: u64) {
        self.order.entry(owner).or_default().insert((came, id));
        self.change(owner, 1, i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn remove(&mut self, owner: Owner, came: u64, id: EntryId, bytes: u64) {
        if let Some(order) = self.order.get_mut(&owner) {
            order.remove(&(came, id));
            if order.is_empty() {
                self.order.remove(&owner);
            }
        }
        self.change(owner, -1, -i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// An entry that waits takes more than it did.
    pub(super) fn grow(&mut self, owner: Owner, bytes: u64) {
        self.change(owner, 0, i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    fn change(&mut self, owner: Owner, entries: i64, bytes: i64) {
        let (origin, actor) = (owner.origin.0, owner.actor.0);
        self.all.change(origin, entries, bytes);
        let of_origin = self.origins.entry(origin).or_default();
        of_origin.change(actor, entries, bytes);
        if of_origin.parts.is_empty() {
            self.origins.remove(&origin);
        }
        let of_actor = self.actors.entry(actor).or_default();
        of_actor.change(origin, entries, bytes);
        if of_actor.parts.is_empty() {
            self.actors.remove(&actor);
        }
    }

    /// Who has to go after an entry of `owner` was added; nobody if there is
    /// room for all.
    pub(super) fn one_too_many(&self, owner: Owner) -> Option<EntryId> {
        let of_actor = self.actors.get(&owner.actor.0)?;
        let of_origin = self.origins.get(&owner.origin.0)?;
        let takes_most = if !self.limits.of_actor().are_kept_by(of_actor.taken) {
            Owner { origin: Origin(of_actor.greatest()?), actor: owner.actor }
        } else if !self.limits.of_origin().are_kept_by(of_origin.taken) {
            Owner { origin: owner.origin, actor: Actor(of_origin.greatest()?) }
        } else if !self.limits.are_kept_by(self.all.taken) {
            let origin = self.all.greatest()?;
            Owner { origin: Origin(origin), actor: Actor(self.origins.get(&origin)?.greatest()?) }
        } else {
            return None;
        };
        self.order.get(&takes_most)?.first().map(|(_, id)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { entries: 400, bytes: 40_000 };

    fn owner(origin: u8, actor: u8) -> Owner {
        Owner { origin: Origin([origin; 16]), actor: Actor([actor; 32]) }
    }

    fn id(n: u64) -> EntryId {
        EntryId(thingdb_format::Hash::of(&n.to_be_bytes()).0)
    }

    /// What waits, as a list.
    struct Model {
        shares: Shares,
        waiting: Vec<(Owner, u64, u64)>,
        next: u64,
    }

    impl Model {
        fn new() -> Self {
            Self { shares: Shares::new(LIMITS), waiting: Vec::new(), next: 0 }
        }

        /// Adds one and gives those who had to go.
        fn add(&mut self, owner: Owner, bytes: u64) -> Vec<Owner> {
            let came = self.next;
            self.next += 1;
            self.shares.add(owner, came, id(came), bytes);
            self.waiting.push((owner, came, bytes));
            let mut gone = Vec::new();
            while let Some(victim) = self.shares.one_too_many(owner) {
                let at = self.waiting.iter().position(|(_, came, _)| id(*came) == victim).unwrap();
                let (owner, came, bytes) = self.waiting.remove(at);
                self.shares.remove(owner, came, victim, bytes);
                gone.push(owner);
            }
            assert_eq!(self.shares.entries(), self.waiting.len() as u64);
            assert_eq!(self.shares.bytes(), self.waiting.iter().map(|(.., bytes)| bytes).sum::<u64>());
            gone
        }

        fn of(&self, is: impl Fn(&Owner) -> bool) -> usize {
            self.waiting.iter().filter(|(owner, ..)| is(owner)).count()
        }
    }

    #[test]
    fn no_actor_and_no_origin_takes_more_than_a_share() {
        let mut model = Model::new();
        let mut next = 1_u64;
        for _ in 0..5_000 {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let roll = next >> 33;
            model.add(owner((roll % 3) as u8, (roll / 3 % 7) as u8), 20 + roll % 300);
            for actor in 0..7 {
                assert!(model.of(|owner| owner.actor.0[0] == actor) <= 100);
            }
            for origin in 0..3 {
                assert!(model.of(|owner| owner.origin.0[0] == origin) <= 200);
            }
            assert!(model.shares.entries() <= LIMITS.entries && model.shares.bytes() <= LIMITS.bytes);
        }
    }

    #[test]
    fn a_flood_displaces_itself_and_nobody_who_takes_less() {
        // One actor under one origin; one actor who names the origin of
        // another; many actors of one origin; many actors under many origins.
        let floods: [fn(u64) -> Owner; 4] = [
            |_| owner(1, 1),
            |_| owner(9, 1),
            |n| owner(1, (n % 50) as u8),
            |n| owner((n % 5) as u8 + 1, (n % 50) as u8 + 10),
        ];
        for flood in floods {
            let mut model = Model::new();
            let honest = owner(9, 200);
            for _ in 0..3 {
                assert!(model.add(honest, 60).is_empty());
            }
            for n in 0..3_000 {
                model.add(flood(n), 60);
            }
            for _ in 0..3 {
                assert!(!model.add(honest, 60).contains(&honest));
            }
            assert_eq!(model.of(|owner| *owner == honest), 6);
        }
    }

    #[test]
    fn what_has_waited_longest_goes_first() {
        let mut model = Model::new();
        for _ in 0..100 {
            assert!(model.add(owner(1, 1), 60).is_empty());
        }
        model.add(owner(1, 1), 60);
        assert_eq!(model.waiting.first().map(|(_, came, _)| *came), Some(1));
    }

    #[test]
    fn nothing_is_left_of_those_who_left() {
        let mut shares = Shares::new(LIMITS);
        shares.add(owner(1, 1), 0, id(0), 60);
        shares.grow(owner(1, 1), 40);
        shares.remove(owner(1, 1), 0, id(0), 100);
        assert!(shares.origins.is_empty() && shares.actors.is_empty() && shares.order.is_empty());
        assert_eq!(shares.all.taken, Taken::default());
        assert!(shares.all.parts.is_empty() && shares.all.by_bytes.is_empty());
    }
}
