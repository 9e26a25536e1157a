use std::sync::atomic::AtomicBool;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng};

use super::super::super::{Batch, Direction, KeyRange, Storage};
use super::super::{Marks, SledOptions, SledStorage, raw};
use super::*;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

const GROUPED: Grouped = Grouped::new(b"L", 9);

const MARKS: Marks = Marks { database: [1; 16], sequence: 1, generation: 0, level: 0, replaced_bytes: 0 };

fn open(directory: &std::path::Path) -> SledStorage {
    let options = SledOptions { reserve_bytes: 0, grouped: Some(GROUPED), ..SledOptions::default() };
    SledStorage::open(directory, options).unwrap()
}

fn key(position: u64) -> Vec<u8> {
    [&b"L"[..], &position.to_be_bytes()].concat()
}

/// The rows of sled's, of which none may lie between those of a group.
fn of_sled(storage: &SledStorage) -> Vec<Row> {
    let rows = storage.core.with_sled(|trees| trees.rows.iter().collect::<Result<Vec<_>, _>>()).unwrap();
    let rows: Vec<Row> = rows.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    let mut last = Vec::new();
    for (key, value) in &rows {
        let members = if GROUPED.is_group(key) {
            let members = rows_of(key, value).unwrap();
            assert!(members.len() > 1, "a row alone is no group");
            members.into_iter().map(|(key, _)| key).collect()
        } else {
            vec![key.clone()]
        };
        for member in members {
            assert!(member > last, "{member:02x?} does not come behind {last:02x?}");
            last = member;
        }
        assert!(value.len() < 7000 || !GROUPED.is_group(key));
    }
    rows
}

fn scan(storage: &SledStorage, range: &KeyRange, direction: Direction) -> Vec<Row> {
    storage.scan(range, direction).collect::<Result<_, _>>().unwrap()
}

fn check(storage: &SledStorage, model: &Model, random: &mut SmallRng) {
    of_sled(storage);
    let expected: Vec<Row> = model.clone().into_iter().collect();
    assert!(scan(storage, &KeyRange::all(), Direction::Forward) == expected);
    let most = model.keys().filter(|key| GROUPED.takes(key)).count() as u64 + 3;
    for _ in 0..20 {
        let (a, b) = (random.random_range(0..most), random.random_range(0..most));
        let end = if a % 3 == 0 { [&key(b)[..], &[0]].concat() } else { key(b) };
        let start = if b % 3 == 0 { [&key(a)[..], &[0]].concat() } else { key(a) };
        let range = KeyRange::between(start.clone(), end.clone());
        let mut expected: Vec<Row> = model
            .iter()
            .filter(|(key, _)| **key >= start && **key < end)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        assert!(scan(storage, &range, Direction::Forward) == expected);
        expected.reverse();
        assert!(scan(storage, &range, Direction::Backward) == expected);
        assert_eq!(storage.get(&key(a)).unwrap().as_ref(), model.get(&key(a)));
    }
}

/// Whatever is fed and committed, and however often it is opened in between: the rows
/// are those that were put, and small ones lie in groups.
#[test]
fn rows_in_groups_are_those_that_were_put() {
    for seed in 0..4 {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let directory = tempfile::tempdir().unwrap();
        let mut storage = open(directory.path());
        let (mut model, mut next) = (Model::new(), 0_u64);
        for _ in 0..60 {
            let mut rows: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
            for _ in 0..random.random_range(1..40) {
                let value = |random: &mut SmallRng, most| vec![random.random(); random.random_range(1..most)];
                let (changed, value) = match random.random_range(0..20) {
                    0 => (key(next), Some(value(&mut random, 6000))),
                    1..15 => (key(next), Some(value(&mut random, 700))),
                    // One that is here grows, or goes.
                    15..18 => (key(random.random_range(0..=next)), Some(value(&mut random, 5000))),
                    18 => (key(random.random_range(0..=next)), None),
                    _ => (vec![b'K', random.random()], Some(value(&mut random, 100))),
                };
                next += u64::from(changed == key(next));
                rows.insert(changed, value);
            }
            for (key, value) in &rows {
                match value {
                    Some(value) => model.insert(key.clone(), value.clone()),
                    None => model.remove(key),
                };
            }
            // What was committed and fed in turns is for no order of the log.
            if seed % 2 == 0 && random.random_range(0..6) == 0 {
                let mut batch = Batch::new();
                for (key, value) in rows {
                    match value {
                        Some(value) => batch.put(key, value),
                        None => batch.delete(key),
                    };
                }
                storage.commit(batch).unwrap();
            } else {
                storage.feed(&rows, |key| key[0] == b'K', MARKS).unwrap();
            }
            check(&storage, &model, &mut random);
            if random.random_range(0..8) == 0 {
                drop(storage);
                storage = open(directory.path());
                check(&storage, &model, &mut random);
            }
        }
        let rows = of_sled(&storage).len();
        assert!(rows < model.len() / 2, "{} rows lie in {rows}", model.len());
        drop(storage);
        if seed % 2 == 0 {
            continue;
        }
        // What was deleted is moved for who reads the log.
        let mut left = Model::new();
        raw::rows(&directory.path().join("store"), Some(GROUPED), &mut |key, value| {
            value.map(|value| left.insert(key, value));
            Ok::<(), super::super::super::StorageError>(())
        })
        .unwrap();
        let differ: Vec<_> = model.iter().filter(|(key, value)| left.get(*key) != Some(*value)).collect();
        assert!(differ.is_empty(), "{} rows differ, as {:02x?}", differ.len(), differ[0].0);
    }
}

/// A reader beside the one who feeds misses no row that is there throughout, and sees
/// none twice.
#[test]
fn a_scan_beside_a_feed_has_every_row_once() {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(directory.path());
    let (known, is_over) = (std::sync::atomic::AtomicU64::new(0), AtomicBool::new(false));
    let load = std::sync::atomic::Ordering::SeqCst;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..400_u64 {
                let rows = (0..3).map(|n| (key(round * 3 + n), Some(vec![1; 400])));
                storage.feed(&rows.collect(), |_| false, MARKS).unwrap();
                known.store(round * 3 + 3, load);
            }
            is_over.store(true, load);
        });
        let mut looks = 0;
        while !is_over.load(load) || looks < 3 {
            let least = known.load(load);
            for direction in [Direction::Forward, Direction::Backward] {
                let mut seen: Vec<Vec<u8>> =
                    scan(&storage, &KeyRange::prefix(*b"L"), direction).into_iter().map(|(key, _)| key).collect();
                if direction == Direction::Backward {
                    seen.reverse();
                }
                assert!(seen.is_sorted_by(|a, b| a < b), "in order, and none twice");
                assert!(seen.len() as u64 >= least && (0..least).zip(&seen).all(|(at, seen)| key(at) == *seen));
            }
            let at = least / 2;
            assert!(least == 0 || storage.get(&key(at)).unwrap().is_some());
            looks += 1;
        }
    });
}

#[test]
fn what_is_no_group_is_none() {
    let rows: Vec<Row> = (254..259).map(|at| (key(at), vec![at as u8; 30])).collect();
    let (group, value) = group_of(None, &rows);
    let value = value.unwrap();
    let read = rows_of(&group, &value).unwrap();
    assert!(read.iter().zip(&rows).all(|(read, row)| read.0 == row.0 && read.1 == row.1) && read.len() == rows.len());
    for end in 0..value.len() {
        if let Some(fewer) = rows_of(&group, &value[..end]) {
            assert!(fewer.len() < rows.len(), "a cut between two rows leaves fewer");
        }
    }
    let twice = [&value[..], &value[1..]].concat();
    assert!(rows_of(&group, &twice).is_none() && rows_of(&group, &[99]).is_none() && rows_of(b"", &value).is_none());
}
