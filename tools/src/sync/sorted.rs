//! The ids of a ledger in their order: what compares ledgers, and what looks
//! single entries up.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use negentropy::{Bound, Id, Item, NegentropyStorageBase};
use thingdb::{Db, ShortId, short_id};

/// Ids that are read at once.
const PAGE: u64 = 65_536;

/// The ids of the first entries of a ledger, ascending, each with its position.
#[derive(Default)]
pub(crate) struct Sorted {
    ids: Vec<([u8; 32], u32)>,
    size: u64,
}

impl Sorted {
    /// Those of the first `size` entries.
    pub(crate) fn of(db: &Db, size: u64) -> thingdb::Result<Self> {
        Self::default().grown(db, size)
    }

    /// How many entries they are of.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// With those of the entries up to `size`. Only what is new is put in order.
    pub(crate) fn grown(&self, db: &Db, size: u64) -> thingdb::Result<Self> {
        let mut new = Vec::new();
        for start in (self.size..size).step_by(PAGE as usize) {
            for (position, id) in (start..).zip(db.ids(start..size.min(start.saturating_add(PAGE)))?) {
                // No ledger that is put in order has so many entries.
                new.push((id.0, u32::try_from(position).unwrap_or(u32::MAX)));
            }
        }
        new.sort_unstable();
        let size = self.size.saturating_add(new.len() as u64);
        if self.ids.is_empty() {
            return Ok(Self { ids: new, size });
        }
        let mut ids = Vec::with_capacity(self.ids.len() + new.len());
        let mut new = new.into_iter().peekable();
        for old in &self.ids {
            while let Some(id) = new.next_if(|id| id < old) {
                ids.push(id);
            }
            ids.push(*old);
        }
        ids.extend(new);
        Ok(Self { ids, size })
    }

    /// The position of the entry whose id begins so. Of several, the last.
    pub(crate) fn position(&self, short: &ShortId) -> Option<u64> {
        let begins = |(id, _): &([u8; 32], u32)| id.first_chunk::<16>().copied().unwrap_or_default();
        let from = self.ids.partition_point(|entry| begins(entry) < *short);
        let same = self.ids.iter().skip(from).take_while(|entry| begins(entry) == *short);
        same.map(|(_, position)| u64::from(*position)).max()
    }
}

/// Where these entries are, as far as they are here. What is not put in order
/// is gone through.
pub(crate) fn positions(db: &Db, sorted: Option<&Sorted>, ids: &[ShortId]) -> thingdb::Result<HashMap<ShortId, u64>> {
    let Some(sorted) = sorted else { return db.positions_of(ids) };
    let mut found = HashMap::new();
    let mut left: HashSet<ShortId> = HashSet::new();
    for id in ids {
        match sorted.position(id) {
            Some(position) => drop(found.insert(*id, position)),
            None => drop(left.insert(*id)),
        }
    }
    if !left.is_empty() {
        for (position, id) in (sorted.size..).zip(db.ids(sorted.size..u64::MAX)?) {
            let short = short_id(&id);
            if left.remove(&short) {
                found.insert(short, position);
            }
        }
    }
    Ok(found)
}

/// The ids of the first entries of a ledger, out of those of more: they need not
/// be put in order again for each size that is asked for.
pub(crate) struct First {
    all: Arc<Sorted>,
    /// One bit for each of `all`: whether its entry is among the first ones.
    marks: Vec<u64>,
    /// How many are marked before each 64 of them.
    before: Vec<u32>,
    count: usize,
}

impl First {
    /// Those of the first `size` entries.
    pub(crate) fn new(all: Arc<Sorted>, size: u64) -> Self {
        let (mut marks, mut before) = (Vec::new(), Vec::new());
        let mut count = 0;
        for some in all.ids.chunks(64) {
            before.push(count);
            let bit = |(at, (_, position)): (usize, &([u8; 32], u32))| u64::from(u64::from(*position) < size) << at;
            let mark = some.iter().enumerate().fold(0, |mark, entry| mark | bit(entry));
            count += mark.count_ones();
            marks.push(mark);
        }
        Self { all, marks, before, count: count as usize }
    }

    /// How many of the first `index` of all are marked.
    fn rank(&self, index: usize) -> usize {
        let Some((mark, before)) = self.marks.get(index / 64).zip(self.before.get(index / 64)) else {
            return self.count;
        };
        let below = mark & ((1_u64 << (index % 64)) - 1);
        (*before + below.count_ones()) as usize
    }

    /// Where the marked one with this number is among all.
    fn select(&self, number: usize) -> usize {
        let word = self.before.partition_point(|before| *before as usize <= number).saturating_sub(1);
        let (mut mark, before) = match (self.marks.get(word), self.before.get(word)) {
            (Some(mark), Some(before)) if number < self.count => (*mark, *before as usize),
            _ => return self.all.ids.len(),
        };
        for _ in before..number {
            // The lowest one goes.
            mark &= mark.wrapping_sub(1);
        }
        word * 64 + mark.trailing_zeros() as usize
    }

    fn is_marked(&self, index: usize) -> bool {
        self.marks.get(index / 64).is_some_and(|mark| mark >> (index % 64) & 1 == 1)
    }
}

fn item((id, _): &([u8; 32], u32)) -> Item {
    Item::with_timestamp_and_id(0, Id::from_byte_array(*id))
}

impl NegentropyStorageBase for First {
    fn size(&self) -> Result<usize, negentropy::Error> {
        Ok(self.count)
    }

    fn get_item(&self, number: usize) -> Result<Option<Item>, negentropy::Error> {
        Ok(self.all.ids.get(self.select(number)).map(item))
    }

    fn iterate(
        &self,
        begin: usize,
        end: usize,
        act: &mut dyn FnMut(Item, usize) -> Result<bool, negentropy::Error>,
    ) -> Result<(), negentropy::Error> {
        if begin > end || end > self.count {
            return Err(negentropy::Error::BadRange);
        }
        let from = self.select(begin);
        let marked = self.all.ids.iter().enumerate().skip(from).filter(|(index, _)| self.is_marked(*index));
        for (number, (_, id)) in (begin..end).zip(marked) {
            if !act(item(id), number)? {
                break;
            }
        }
        Ok(())
    }

    fn find_lower_bound(&self, first: usize, last: usize, value: &Bound) -> usize {
        let index = self.all.ids.partition_point(|id| item(id) < value.item);
        self.rank(index).clamp(first, last.max(first))
    }
}

#[cfg(test)]
mod tests {
    use negentropy::NegentropyStorageVector;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn the_first_ones_are_those_that_would_be_put_in_order_alone() {
        let seed = rand::random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let ledger: Vec<[u8; 32]> = (0..500).map(|_| random.random()).collect();
        let mut ids: Vec<([u8; 32], u32)> = ledger.iter().copied().zip(0..).collect();
        ids.sort_unstable();
        let all = Arc::new(Sorted { ids, size: 500 });
        for size in [0, 1, 63, 64, 65, 250, 499, 500] {
            let first = First::new(Arc::clone(&all), size);
            let mut alone = NegentropyStorageVector::new();
            for id in ledger.iter().take(size as usize) {
                alone.insert(0, Id::from_byte_array(*id)).unwrap();
            }
            alone.seal().unwrap();
            let count = alone.size().unwrap();
            assert_eq!(first.size().unwrap(), count);
            for number in 0..=count {
                assert_eq!(first.get_item(number).unwrap(), alone.get_item(number).unwrap());
            }
            for _ in 0..50 {
                let begin = random.random_range(0..=count);
                let end = random.random_range(begin..=count);
                let list = |of: &dyn NegentropyStorageBase| {
                    let mut items = Vec::new();
                    of.iterate(begin, end, &mut |item, number| {
                        items.push((item, number));
                        Ok(true)
                    })
                    .unwrap();
                    items
                };
                assert_eq!(list(&first), list(&alone));
                let bound = Bound::from_item(&Item::with_timestamp_and_id(0, Id::from_byte_array(random.random())));
                assert_eq!(first.find_lower_bound(begin, end, &bound), alone.find_lower_bound(begin, end, &bound));
            }
            assert!(first.iterate(0, count + 1, &mut |_, _| Ok(true)).is_err());
        }
        for (position, id) in (0..).zip(&ledger) {
            assert_eq!(all.position(id.first_chunk().unwrap()), Some(position));
        }
        assert_eq!(all.position(&[0; 16]), None);
    }

    #[test]
    fn what_grew_is_as_if_it_had_been_there() {
        let dir = tempfile::tempdir().unwrap();
        let options = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest());
        let db = options.create(dir.path().join("db"), &thingdb::Passphrase::new("correct horse battery")).unwrap();
        for n in 0..300 {
            db.put("a", &n.to_string()).unwrap();
        }
        let whole = Sorted::of(&db, 300).unwrap();
        let grown = Sorted::of(&db, 100).unwrap().grown(&db, 101).unwrap().grown(&db, 250).unwrap();
        assert_eq!((grown.size(), &grown.grown(&db, 300).unwrap().ids), (250, &whole.ids));
        // One that is in order, one that is not yet, one that is not here.
        let ids = db.ids(0..300).unwrap();
        let asked: Vec<ShortId> =
            [3, 249, 250, 299].map(|at: usize| short_id(&ids[at])).into_iter().chain([[7; 16]]).collect();
        for sorted in [Some(&grown), Some(&whole), Some(&Sorted::default()), None] {
            assert_eq!(positions(&db, sorted, &asked).unwrap(), db.positions_of(&asked).unwrap());
        }
        assert_eq!(positions(&db, Some(&grown), &asked).unwrap().len(), 4);
    }
}
