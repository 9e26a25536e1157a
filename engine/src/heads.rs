//! The heads of a thing: one in most places, very many where a fork went on for
//! long.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::fmt;
use std::ops::Deref;

use thingdb_format::{EntryId, Time};

/// An entry that no other entry here follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Name of the entry.
    pub id: EntryId,
    /// Its place in the history.
    pub seq: u64,
    /// Its writer's clock.
    pub time: Time,
}

impl Head {
    pub(crate) const fn rank(&self) -> Rank {
        Rank { time: self.time, seq: self.seq, id: self.id }
    }
}

/// What decides which of several heads is the latest: the greater is. A time
/// beyond the clock is refused and a claimed length is not, so the time comes
/// first; `docs/format.md` gives the reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) time: Time,
    pub(crate) seq: u64,
    pub(crate) id: EntryId,
}

impl Ranked for Head {
    fn rank(&self) -> Rank {
        Self::rank(self)
    }
}

impl OfEntry for Head {
    fn id(&self) -> EntryId {
        self.id
    }
}

/// What a writer takes for granted (optimistic concurrency).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The thing has no entry.
    Absent,
    /// The thing has exactly this head, or one that only erasure records, one after the
    /// other, part from it.
    Head(EntryId),
    /// The thing has exactly these heads, in any order.
    Heads(Vec<EntryId>),
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no such thing"),
            Self::Head(id) => write!(f, "the head {id}"),
            Self::Heads(ids) => write!(f, "{} heads", ids.len()),
        }
    }
}

/// Heads up to which looking at each is cheaper than a tree.
const FEW: usize = 16;

/// What stands for one entry.
pub(crate) trait OfEntry {
    /// The name of the entry.
    fn id(&self) -> EntryId;
}

impl OfEntry for EntryId {
    fn id(&self) -> EntryId {
        *self
    }
}

/// Heads, each once, found by their ids. Nearly all things have one, and there are many
/// things: it needs no memory of its own.
#[derive(Clone, Debug)]
pub(crate) enum Heads<H> {
    One(H),
    Few(Vec<H>),
    Many(BTreeMap<EntryId, H>),
}

impl<H> Default for Heads<H> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<H: OfEntry> Heads<H> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    pub(crate) fn get(&self, id: &EntryId) -> Option<&H> {
        match self {
            Self::One(one) => Some(one).filter(|head| head.id() == *id),
            Self::Few(few) => few.iter().find(|head| head.id() == *id),
            Self::Many(many) => many.get(id),
        }
    }

    pub(crate) fn contains(&self, id: &EntryId) -> bool {
        self.get(id).is_some()
    }

    pub(crate) fn insert(&mut self, head: H) {
        *self = match std::mem::take(self) {
            Self::One(one) if one.id() != head.id() => Self::Few(vec![one, head]),
            Self::One(_) => Self::One(head),
            Self::Few(few) if few.is_empty() => Self::One(head),
            Self::Few(mut few) => {
                few.retain(|known| known.id() != head.id());
                few.push(head);
                if few.len() > FEW {
                    Self::Many(few.into_iter().map(|head| (head.id(), head)).collect())
                } else {
                    Self::Few(few)
                }
            }
            Self::Many(mut many) => {
                many.insert(head.id(), head);
                Self::Many(many)
            }
        };
    }

    /// Takes a head away and gives it back, if it is one.
    pub(crate) fn remove(&mut self, id: &EntryId) -> Option<H> {
        match self {
            Self::One(one) if one.id() != *id => None,
            Self::One(_) => match std::mem::take(self) {
                Self::One(one) => Some(one),
                _ => None,
            },
            Self::Few(few) => few.iter().position(|head| head.id() == *id).map(|at| few.remove(at)),
            Self::Many(many) => many.remove(id),
        }
    }

    pub(crate) fn iter(&self) -> Iter<'_, H> {
        match self {
            Self::One(one) => Iter::Few(std::slice::from_ref(one).iter()),
            Self::Few(few) => Iter::Few(few.iter()),
            Self::Many(many) => Iter::Many(many.values()),
        }
    }
}

impl<H: OfEntry> FromIterator<H> for Heads<H> {
    fn from_iter<I: IntoIterator<Item = H>>(heads: I) -> Self {
        let mut all = Self::default();
        heads.into_iter().for_each(|head| all.insert(head));
        all
    }
}

/// What stands for one entry, with what decides whether it is the latest.
pub(crate) trait Ranked: OfEntry {
    /// The greater is the later.
    fn rank(&self) -> Rank;
}

/// Heads of which the latest are found without looking at all of them.
#[derive(Clone, Debug)]
pub(crate) struct RankedHeads<H> {
    heads: Heads<H>,
    /// Empty as long as they are few.
    order: BTreeSet<Rank>,
}

impl<H> Default for RankedHeads<H> {
    fn default() -> Self {
        Self { heads: Heads::default(), order: BTreeSet::new() }
    }
}

impl<H> Deref for RankedHeads<H> {
    type Target = Heads<H>;

    fn deref(&self) -> &Heads<H> {
        &self.heads
    }
}

impl<H: Ranked> RankedHeads<H> {
    pub(crate) fn insert(&mut self, head: H) {
        let rank = head.rank();
        self.heads.insert(head);
        match &self.heads {
            Heads::One(_) | Heads::Few(_) => {}
            Heads::Many(many) if self.order.is_empty() => self.order = many.values().map(Ranked::rank).collect(),
            Heads::Many(_) => drop(self.order.insert(rank)),
        }
    }

    /// Takes a head away and gives it back, if it is one.
    pub(crate) fn remove(&mut self, id: &EntryId) -> Option<H> {
        let head = self.heads.remove(id)?;
        self.order.remove(&head.rank());
        Some(head)
    }

    pub(crate) fn latest(&self) -> Option<&H> {
        match &self.heads {
            Heads::One(one) => Some(one),
            _ => self.latest_first(None).next(),
        }
    }

    /// The latest first, from the one of this rank on if one is named.
    pub(crate) fn latest_first(&self, from: Option<Rank>) -> Box<dyn Iterator<Item = &H> + '_> {
        let is_below = move |rank: &Rank| from.is_none_or(|from| *rank <= from);
        match &self.heads {
            Heads::One(one) => Box::new(Some(one).filter(|head| is_below(&head.rank())).into_iter()),
            Heads::Few(few) => {
                let mut order: Vec<&H> = few.iter().filter(|head| is_below(&head.rank())).collect();
                order.sort_unstable_by_key(|head| std::cmp::Reverse(head.rank()));
                Box::new(order.into_iter())
            }
            Heads::Many(many) => {
                let order = match from {
                    Some(from) => self.order.range(..=from),
                    None => self.order.range(..),
                };
                Box::new(order.rev().filter_map(|rank| many.get(&rank.id)))
            }
        }
    }
}

impl<H: Ranked> FromIterator<H> for RankedHeads<H> {
    fn from_iter<I: IntoIterator<Item = H>>(heads: I) -> Self {
        let mut all = Self::default();
        heads.into_iter().for_each(|head| all.insert(head));
        all
    }
}

/// Heads in no particular order.
pub(crate) enum Iter<'a, H> {
    Few(std::slice::Iter<'a, H>),
    Many(btree_map::Values<'a, EntryId, H>),
}

impl<'a, H> Iterator for Iter<'a, H> {
    type Item = &'a H;

    fn next(&mut self) -> Option<&'a H> {
        match self {
            Self::Few(few) => few.next(),
            Self::Many(many) => many.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_behave_alike() {
        let ids: Vec<EntryId> = (0..3 * FEW as u8).map(|n| EntryId([n; 32])).collect();
        let mut heads = Heads::default();
        for (count, id) in ids.iter().enumerate() {
            assert!(!heads.contains(id));
            heads.insert(*id);
            heads.insert(*id);
            assert_eq!((heads.len(), heads.iter().count()), (count + 1, count + 1));
            assert!(ids[..=count].iter().all(|id| heads.contains(id)));
        }
        for (count, id) in ids.iter().enumerate() {
            assert_eq!(heads.remove(id), Some(*id));
            assert_eq!(heads.remove(id), None);
            assert_eq!(heads.len(), ids.len() - count - 1);
        }
    }

    #[test]
    fn the_latest_come_first_however_many_there_are() {
        use thingdb_format::Time;
        let head = |n: u64| {
            let id = EntryId(thingdb_format::Hash::of(&n.to_be_bytes()).0);
            Head { id, seq: n % 5, time: Time::from_micros(n * 7 % 13).unwrap() }
        };
        let mut heads = RankedHeads::default();
        let mut model: Vec<Head> = vec![];
        let check = |heads: &RankedHeads<Head>, model: &[Head]| {
            let mut order = model.to_vec();
            order.sort_unstable_by_key(|head| std::cmp::Reverse(head.rank()));
            assert_eq!(heads.latest_first(None).copied().collect::<Vec<_>>(), order);
            assert_eq!(heads.latest(), order.first());
            if let Some(middle) = order.get(order.len() / 2) {
                let below: Vec<_> = heads.latest_first(Some(middle.rank())).copied().collect();
                assert_eq!(below, order[order.len() / 2..]);
            }
        };
        for n in 0..3 * FEW as u64 {
            heads.insert(head(n));
            heads.insert(head(n));
            model.push(head(n));
            check(&heads, &model);
        }
        while let Some(gone) = model.pop() {
            assert_eq!(heads.remove(&gone.id), Some(gone));
            assert_eq!(heads.remove(&gone.id), None);
            check(&heads, &model);
        }
        heads.insert(head(1));
        check(&heads, &[head(1)]);
    }
}
