//! The heads of a thing: one in most places, very many where a fork went on for
//! long.

use std::collections::{BTreeMap, btree_map};

use thingdb_format::EntryId;

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

/// Heads, each once, found by their ids.
#[derive(Clone, Debug)]
pub(crate) enum Heads<H> {
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
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    pub(crate) fn get(&self, id: &EntryId) -> Option<&H> {
        match self {
            Self::Few(few) => few.iter().find(|head| head.id() == *id),
            Self::Many(many) => many.get(id),
        }
    }

    pub(crate) fn contains(&self, id: &EntryId) -> bool {
        self.get(id).is_some()
    }

    pub(crate) fn insert(&mut self, head: H) {
        match self {
            Self::Few(few) => {
                few.retain(|known| known.id() != head.id());
                few.push(head);
                if few.len() > FEW {
                    *self = Self::Many(std::mem::take(few).into_iter().map(|head| (head.id(), head)).collect());
                }
            }
            Self::Many(many) => drop(many.insert(head.id(), head)),
        }
    }

    /// Takes a head away and gives it back, if it is one.
    pub(crate) fn remove(&mut self, id: &EntryId) -> Option<H> {
        match self {
            Self::Few(few) => few.iter().position(|head| head.id() == *id).map(|at| few.remove(at)),
            Self::Many(many) => many.remove(id),
        }
    }

    pub(crate) fn iter(&self) -> Iter<'_, H> {
        match self {
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
}
