//! Journal and store are two copies: what one loses comes from the other.
//!
//! One of the two is damaged, taken away or set back; the storage opens with
//! every row, says what it found, and both are whole again afterwards: each is
//! then taken away once more.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use thingdb::storage::journaled::{JournaledOptions, JournaledStorage, Keep};
use thingdb::storage::sled::{Grouped, SledOptions, SledStorage};
use thingdb::storage::{Batch, Direction, Health, KeyRange, Storage, StorageError};
use thingdb_tests::database::{Dice, copy_directory, seed};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn options() -> JournaledOptions {
    let mut options = JournaledOptions::default();
    options.reserve_bytes = 0;
    options.cache_bytes = 8 << 20;
    options.is_derived = is_derived;
    options.grouped = Some(LINES);
    options
}

/// Of the store alone.
fn store_options() -> SledOptions {
    let mut options = SledOptions::default();
    options.reserve_bytes = 0;
    options.grouped = Some(LINES);
    options
}

/// Small rows that come in the order of their keys: the store has several in one row.
const LINES: Grouped = Grouped::new(b"line ", 11);

fn is_derived(key: &[u8]) -> bool {
    key.starts_with(b"derived")
}

fn open(directory: &Path) -> JournaledStorage {
    JournaledStorage::open(directory, options()).unwrap()
}

fn rows(storage: &dyn Storage) -> Model {
    storage.scan(&KeyRange::all(), Direction::Forward).collect::<Result<_, _>>().unwrap()
}

fn own_rows(storage: &dyn Storage) -> Model {
    rows(storage).into_iter().filter(|(key, _)| !is_derived(key)).collect()
}

/// Commits batches of rows that are put, put again and deleted, some derived, and of
/// lines, each behind the others and seldom put again.
fn write(storage: &dyn Storage, model: &mut Model, dice: &mut Dice, commits: u64) {
    let mut lines = model.keys().filter(|key| key.starts_with(b"line ")).count() as u64;
    for _ in 0..commits {
        let mut batch = Batch::new();
        for _ in 0..dice.roll(4) {
            let line = if dice.roll(10) == 0 { dice.roll(lines + 1) } else { lines };
            lines += u64::from(line == lines);
            let (key, value) = (format!("line {line:06}"), vec![dice.roll(256) as u8; dice.roll(700) as usize]);
            batch.put(key.clone(), value.clone());
            model.insert(key.into_bytes(), value);
        }
        for _ in 0..=dice.roll(6) {
            let key = format!("{}{}", ["row ", "row ", "row ", "derived "][dice.roll(4) as usize], dice.roll(400));
            if dice.roll(5) == 0 {
                batch.delete(key.clone());
                model.remove(key.as_bytes());
            } else {
                let value = vec![dice.roll(256) as u8; dice.roll(900) as usize];
                batch.put(key.clone(), value.clone());
                model.insert(key.into_bytes(), value);
            }
        }
        storage.commit(batch).unwrap();
    }
}

/// A closed storage with so many commits, and what is in it.
fn closed(directory: &Path, dice: &mut Dice, commits: u64) -> Model {
    let mut model = Model::new();
    let storage = open(directory);
    write(&storage, &mut model, dice, commits);
    assert_same(&rows(&storage), &model, "as written");
    storage.close().unwrap();
    model
}

fn own(model: &Model) -> Model {
    model.iter().filter(|(key, _)| !is_derived(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Opens, and finds all rows that are not derived; then each copy alone has them.
fn assert_whole(directory: &Path, model: &Model, notice: &str) {
    let storage = open(directory);
    assert!(storage.notices().iter().any(|told| told.contains(notice)), "{:?}", storage.notices());
    assert_same(&own_rows(&storage), &own(model), "");
    storage.close().unwrap();
    let storage = open(directory);
    assert_eq!(storage.notices(), [""; 0]);
    assert_same(&own_rows(&storage), &own(model), "opened again");
    storage.close().unwrap();
    let copy = directory.with_extension("copy");
    for lost in ["store", "journal"] {
        copy_directory(directory, &copy);
        fs::remove_dir_all(copy.join(lost)).unwrap();
        let storage = open(&copy);
        assert_same(&own_rows(&storage), &own(model), &format!("without {lost}"));
        assert!(storage.notices()[0].contains(&format!("the {lost} was missing")), "{:?}", storage.notices());
        assert_eq!(storage.health(), Health::Writable);
        storage.close().unwrap();
        fs::remove_dir_all(&copy).unwrap();
    }
}

/// Rows are too long to be printed all.
fn assert_same(found: &Model, expected: &Model, what: &str) {
    let keys: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let differ: Vec<_> = keys.into_iter().filter(|key| found.get(*key) != expected.get(*key)).collect();
    let named: Vec<_> = differ.iter().take(5).map(|key| String::from_utf8_lossy(key)).collect();
    assert!(differ.is_empty(), "{what}: {} rows differ, as {named:?}", differ.len());
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("database");
    fs::create_dir(&directory).unwrap();
    (scratch, directory)
}

/// The only file of the journal.
fn journal_file(directory: &Path) -> PathBuf {
    directory.join("journal").join(format!("{:020}", 1))
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

#[test]
fn a_store_that_is_gone_is_built_anew() {
    let mut dice = Dice::new(seed("journaled store"));
    let (_scratch, directory) = scratch();
    let model = closed(&directory, &mut dice, 500);
    fs::remove_dir_all(directory.join("store")).unwrap();
    assert_whole(&directory, &model, "the store was missing");
}

#[test]
fn a_journal_that_is_gone_is_written_anew() {
    let mut dice = Dice::new(seed("journaled journal"));
    let (_scratch, directory) = scratch();
    let model = closed(&directory, &mut dice, 500);
    fs::remove_dir_all(directory.join("journal")).unwrap();
    assert_whole(&directory, &model, "the journal was missing");
}

/// A database of before there were journals.
#[test]
fn a_store_that_never_had_a_journal_gets_one() {
    let mut dice = Dice::new(seed("journaled before"));
    let (_scratch, directory) = scratch();
    let mut model = Model::new();
    let storage = SledStorage::open(&directory, store_options()).unwrap();
    write(&storage, &mut model, &mut dice, 500);
    storage.close().unwrap();
    let storage = open(&directory);
    assert_eq!(storage.notices(), [""; 0]);
    assert_same(&rows(&storage), &model, "");
    storage.close().unwrap();
    fs::remove_dir_all(directory.join("store")).unwrap();
    assert_whole(&directory, &model, "the store was missing");
}

#[test]
fn a_store_that_was_found_damaged_is_moved_aside_and_built_anew() {
    let mut dice = Dice::new(seed("journaled damaged"));
    let (_scratch, directory) = scratch();
    let model = closed(&directory, &mut dice, 500);
    let log = fs::read(directory.join("store/db")).unwrap();
    fs::write(directory.join("store/damaged"), "a page does not read\n").unwrap();
    assert_whole(&directory, &model, "a page does not read");
    assert!(fs::read(directory.join("store.aside-1/db")).unwrap() == log, "what is moved aside is not touched");
}

/// A store that sled has emptied says nothing of the journal any more.
#[test]
fn a_store_without_marks_is_not_trusted() {
    let mut dice = Dice::new(seed("journaled marks"));
    let (_scratch, directory) = scratch();
    let model = closed(&directory, &mut dice, 500);
    fs::remove_dir_all(directory.join("store")).unwrap();
    let mut foreign = Batch::new();
    foreign.put(*b"foreign", *b"row");
    let storage = SledStorage::open(&directory, store_options()).unwrap();
    storage.commit(foreign).unwrap();
    storage.close().unwrap();
    assert_whole(&directory, &model, "it does not say to which journal it belongs");
}

#[test]
fn halves_of_two_databases_are_refused_and_stay_as_they_are() {
    let mut dice = Dice::new(seed("journaled two"));
    let (_one, first) = scratch();
    let (_two, second) = scratch();
    let model = closed(&first, &mut dice, 100);
    closed(&second, &mut dice, 100);
    fs::rename(first.join("store"), first.join("own")).unwrap();
    fs::rename(second.join("store"), first.join("store")).unwrap();
    for _ in 0..2 {
        let problem = JournaledStorage::open(&first, options()).err().unwrap();
        assert!(problem.to_string().contains("of another database than the journal beside it"), "{problem}");
    }
    fs::rename(first.join("store"), second.join("store")).unwrap();
    fs::rename(first.join("own"), first.join("store")).unwrap();
    assert_same(&rows(&open(&first)), &model, "");
    open(&second);
}

/// Somebody put an older journal back.
#[test]
fn a_journal_that_lost_its_end_gets_it_from_the_store() {
    let mut dice = Dice::new(seed("journaled end"));
    let (_scratch, directory) = scratch();
    let mut model = closed(&directory, &mut dice, 200);
    let old = directory.with_extension("old");
    copy_directory(&directory.join("journal"), &old);
    let storage = open(&directory);
    write(&storage, &mut model, &mut dice, 200);
    storage.close().unwrap();
    fs::remove_dir_all(directory.join("journal")).unwrap();
    fs::rename(&old, directory.join("journal")).unwrap();
    assert_whole(&directory, &model, "the journal ended with commit");
}

/// Somebody put an older store back: the journal brings it to where it is.
#[test]
fn a_store_that_was_set_back_gets_the_rest_from_the_journal() {
    let mut dice = Dice::new(seed("journaled back"));
    let (_scratch, directory) = scratch();
    let mut model = closed(&directory, &mut dice, 200);
    let old = directory.with_extension("old");
    copy_directory(&directory.join("store"), &old);
    let storage = open(&directory);
    write(&storage, &mut model, &mut dice, 200);
    storage.close().unwrap();
    fs::remove_dir_all(directory.join("store")).unwrap();
    fs::rename(&old, directory.join("store")).unwrap();
    let storage = open(&directory);
    assert_same(&own_rows(&storage), &own(&model), "");
}

/// One bit anywhere in the journal: healing finds it, the store has what it cost,
/// and afterwards the journal alone has everything again.
#[test]
fn healing_makes_good_what_the_journal_lost() {
    let mut dice = Dice::new(seed("journaled heal"));
    let (_scratch, directory) = scratch();
    let model = closed(&directory, &mut dice, 300);
    let bytes = fs::metadata(journal_file(&directory)).unwrap().len();
    let mut found = 0;
    for _ in 0..10 {
        let copy = directory.with_extension("heal");
        copy_directory(&directory, &copy);
        let at = dice.roll(bytes);
        flip(&journal_file(&copy), at);
        let mut heal = options();
        heal.heal = true;
        let storage = JournaledStorage::open(&copy, heal.clone()).unwrap();
        assert_same(&own_rows(&storage), &own(&model), &format!("byte {at}"));
        found += usize::from(!storage.notices().is_empty());
        storage.close().unwrap();
        let storage = JournaledStorage::open(&copy, heal).unwrap();
        assert_eq!(storage.notices(), [""; 0], "byte {at}: once is enough");
        storage.close().unwrap();
        fs::remove_dir_all(copy.join("store")).unwrap();
        let storage = open(&copy);
        assert_same(&own_rows(&storage), &own(&model), &format!("byte {at}, without the store"));
        storage.close().unwrap();
        fs::remove_dir_all(&copy).unwrap();
    }
    assert!(found > 6, "{found} of 10 bits lie in frames");
}

/// Rows that the store lost, whoever took them.
/// Whichever file of the journal is lost, the store has what was in it, and both are
/// whole again.
#[test]
fn each_file_of_the_journal_comes_back_from_the_store() {
    let (scratch, directory) = scratch();
    let mut small = options();
    small.journal_file_bytes = 16 << 10;
    let mut model = Model::new();
    let storage = JournaledStorage::open(&directory, small.clone()).unwrap();
    write(&storage, &mut model, &mut Dice::new(seed("each file")), 60);
    storage.close().unwrap();
    let names: Vec<_> =
        fs::read_dir(directory.join("journal")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(names.len() > 2, "{names:?}");
    for name in names {
        let damaged = scratch.path().join("damaged");
        copy_directory(&directory, &damaged);
        fs::remove_file(damaged.join("journal").join(&name)).unwrap();
        JournaledStorage::open(&damaged, small.clone()).unwrap().close().unwrap();
        fs::remove_dir_all(damaged.join("store")).unwrap();
        let storage = JournaledStorage::open(&damaged, small.clone()).unwrap();
        assert_same(&own_rows(&storage), &own(&model), name.to_str().unwrap());
        storage.close().unwrap();
        fs::remove_dir_all(&damaged).unwrap();
    }
}

#[test]
fn healing_makes_good_what_the_store_lost() {
    let mut dice = Dice::new(seed("journaled store rows"));
    let (_scratch, directory) = scratch();
    let model = closed(&directory, &mut dice, 300);
    let storage = SledStorage::open(&directory, store_options()).unwrap();
    let keys: Vec<_> = own(&model).into_keys().collect();
    let mut batch = Batch::new();
    batch.delete(keys[3].clone()).delete(keys[40].clone()).put(keys[77].clone(), *b"garbled").put(*b"row new", *b"?");
    storage.commit(batch).unwrap();
    storage.close().unwrap();
    let mut heal = options();
    heal.heal = true;
    let storage = JournaledStorage::open(&directory, heal).unwrap();
    let told = storage.notices().join("");
    assert!(told.contains("1 rows were written to the journal from the store, 3 to the store"), "{told}");
    let mut expected = own(&model);
    // Nobody can say that it was not committed.
    expected.insert(b"row new".to_vec(), b"?".to_vec());
    assert_same(&own_rows(&storage), &expected, "");
}

/// Rows that are there throughout a scan are in it, wherever they are meanwhile:
/// they are put again all the time and go from memory into sled.
#[test]
fn scans_miss_nothing_while_rows_move_into_sled() {
    let (_scratch, directory) = scratch();
    let mut options = options();
    options.sync_interval_ms = 1;
    options.grouped = Some(Grouped::new(b"", 8));
    let storage = JournaledStorage::open(&directory, options).unwrap();
    let key = |n: u64| n.to_be_bytes().to_vec();
    const ROWS: u64 = 1500;
    for n in 0..ROWS {
        let mut batch = Batch::new();
        batch.put(key(2 * n), [0; 40]);
        storage.commit(batch).unwrap();
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for thread in 0..2 {
            let (storage, done) = (&storage, &done);
            scope.spawn(move || {
                let mut dice = Dice::new(thread + 1);
                while !done.load(Ordering::Relaxed) {
                    let mut batch = Batch::new();
                    for _ in 0..=dice.roll(8) {
                        batch.put(key(2 * dice.roll(ROWS)), vec![1; dice.roll(2000) as usize]);
                        // Rows between them come and go.
                        let odd = key(2 * dice.roll(ROWS) + 1);
                        match dice.roll(2) {
                            0 => batch.delete(odd),
                            _ => batch.put(odd, *b"now and then"),
                        };
                    }
                    storage.commit(batch).unwrap();
                }
            });
        }
        for round in 0..60_u64 {
            for direction in [Direction::Forward, Direction::Backward] {
                let range = KeyRange::between(key(round), key(2 * ROWS));
                let mut seen: Vec<u64> = storage
                    .scan(&range, direction)
                    .map(|row| u64::from_be_bytes(row.unwrap().0.try_into().unwrap()))
                    .collect();
                if direction == Direction::Backward {
                    seen.reverse();
                }
                assert!(seen.is_sorted() && !seen.windows(2).any(|pair| pair[0] == pair[1]), "each once, in order");
                seen.retain(|n| n % 2 == 0);
                let expected: Vec<u64> = (round.div_ceil(2)..ROWS).map(|n| 2 * n).collect();
                assert!(seen == expected, "round {round}: {} of {} rows", seen.len(), expected.len());
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// A journal that keeps recent commits only is small, and says so when it is all
/// that is left.
#[test]
fn a_recent_journal_is_small_and_no_second_copy() {
    let (_scratch, directory) = scratch();
    let mut recent = options();
    recent.keep = Some(Keep::Recent);
    let storage = JournaledStorage::open(&directory, recent.clone()).unwrap();
    let value = vec![7; 1 << 20];
    for n in 0..150_u64 {
        let mut batch = Batch::new();
        batch.put(n.to_be_bytes(), value.clone());
        storage.commit(batch).unwrap();
    }
    storage.close().unwrap();
    let bytes: u64 =
        fs::read_dir(directory.join("journal")).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 80 << 20, "{bytes} bytes");
    let storage = JournaledStorage::open(&directory, recent.clone()).unwrap();
    assert_eq!((rows(&storage).len(), storage.notices()), (150, &[][..]));
    storage.close().unwrap();
    // Whatever becomes of the file that says so, it is not taken for a whole one.
    let keep = directory.join("journal/keep");
    fs::remove_file(&keep).unwrap();
    open(&directory).close().unwrap();
    assert_eq!(fs::read(&keep).unwrap().trim_ascii(), b"recent");
    fs::remove_dir_all(directory.join("store")).unwrap();
    let problem = JournaledStorage::open(&directory, recent).err().unwrap();
    assert!(matches!(problem, StorageError::Corrupt { .. }), "{problem}");
    assert!(problem.to_string().contains("recent commits only"), "{problem}");
}

/// What was chosen is remembered; a backup that has not fetched something holds it
/// back, and who wants all of it again gets it.
#[test]
fn how_much_is_kept_is_remembered_and_can_be_changed() {
    let (_scratch, directory) = scratch();
    let small = |keep| {
        let mut small = options();
        small.keep = keep;
        small.journal_file_bytes = 256 << 10;
        small.fetched = |directory, generation| {
            let text = fs::read_to_string(directory.with_extension("fetched")).ok()?;
            let (at, commits) = text.split_once(' ').unwrap();
            Some(if at.parse::<u32>().unwrap() == generation { commits.parse().unwrap() } else { 0 })
        };
        small
    };
    let write = |keep, from: u64| {
        let storage = JournaledStorage::open(&directory, small(keep)).unwrap();
        for n in from..from + 200 {
            let mut batch = Batch::new();
            batch.put(n.to_be_bytes(), vec![n as u8; 8000]);
            storage.commit(batch).unwrap();
        }
        assert_eq!(rows(&storage).len() as u64, from + 200);
        storage.close().unwrap();
    };
    let first = || -> u64 {
        let files = fs::read_dir(directory.join("journal")).unwrap();
        files.filter_map(|file| file.unwrap().file_name().to_str()?.parse().ok()).min().unwrap()
    };
    write(None, 0);
    assert_eq!((first(), Keep::of(&directory).unwrap()), (1, Keep::All));
    fs::write(directory.with_extension("fetched"), "0 100").unwrap();
    write(Some(Keep::Recent), 200);
    // The file with commit 101 is there.
    assert!((60..=101).contains(&first()), "{}", first());
    fs::write(directory.with_extension("fetched"), "0 400").unwrap();
    write(None, 400);
    assert_eq!(Keep::of(&directory).unwrap(), Keep::Recent);
    assert!((360..=401).contains(&first()), "{}", first());
    // Of another generation it has nothing.
    fs::write(directory.with_extension("fetched"), "7 600").unwrap();
    write(None, 600);
    assert!((360..=401).contains(&first()), "{}", first());
    fs::remove_file(directory.with_extension("fetched")).unwrap();
    write(None, 800);
    assert!(first() > 900, "{}", first());
    // All of it: the journal is a second copy again.
    let storage = JournaledStorage::open(&directory, small(Some(Keep::All))).unwrap();
    assert!(storage.notices()[0].contains("written anew from the store"), "{:?}", storage.notices());
    let before = rows(&storage);
    assert_eq!((before.len(), first()), (1000, 1));
    storage.close().unwrap();
    fs::remove_dir_all(directory.join("store")).unwrap();
    let storage = JournaledStorage::open(&directory, small(None)).unwrap();
    assert!(rows(&storage) == before);
    assert_eq!(Keep::of(&directory).unwrap(), Keep::All);
}

/// Who waits for a store that is built anew is told how far it is.
#[test]
fn building_a_store_tells_how_far_it_is() {
    let (_scratch, directory) = scratch();
    let storage = open(&directory);
    for n in 0..600_u64 {
        let mut batch = Batch::new();
        batch.put(n.to_be_bytes(), vec![n as u8; 60_000]);
        storage.commit(batch).unwrap();
    }
    storage.close().unwrap();
    fs::remove_dir_all(directory.join("store")).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut telling = options();
    telling.replay_hook = Some({
        let told = Arc::clone(&told);
        Arc::new(move |done, total| told.lock().unwrap().push((done, total)))
    });
    let storage = JournaledStorage::open(&directory, telling.clone()).unwrap();
    assert_eq!(rows(&storage).len(), 600);
    storage.close().unwrap();
    let found = std::mem::take(&mut *told.lock().unwrap());
    assert!(found.len() >= 3 && found.is_sorted_by(|one, other| one.0 < other.0), "{found:?}");
    assert!(found.iter().all(|(done, total)| *done > 0 && done <= total && *total == 600), "{found:?}");
    // There is nothing to tell of an opening that is quick.
    JournaledStorage::open(&directory, telling).unwrap().close().unwrap();
    assert_eq!(*told.lock().unwrap(), []);
}

/// A journal without any header: the store has everything, if it knows its
/// journal. If it does not, nothing is made in the place of what was lost.
#[test]
fn a_journal_without_headers_is_kept_and_written_anew() {
    let mut dice = Dice::new(seed("journaled headers"));
    let (_scratch, directory) = scratch();
    let model = closed(&directory, &mut dice, 200);
    let path = journal_file(&directory);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 8192], 0).unwrap();
    let garbled = fs::read(&path).unwrap();
    let copy = directory.with_extension("without");
    copy_directory(&directory, &copy);
    fs::remove_dir_all(copy.join("store")).unwrap();
    for _ in 0..2 {
        let problem = JournaledStorage::open(&copy, options()).err().unwrap();
        assert!(problem.to_string().contains("restore a backup"), "{problem}");
        assert!(fs::read(journal_file(&copy)).unwrap() == garbled);
    }
    assert_whole(&directory, &model, "no file of the journal had a header");
    assert!(fs::read(directory.join("journal.aside-1").join(path.file_name().unwrap())).unwrap() == garbled);
}

/// A directory that was copied while it was open, whose journal then lost its end:
/// what the store had of that is taken, and it is said that the end is lost.
#[test]
fn the_end_that_only_a_copied_store_has_is_taken_from_it() {
    let scratch = tempfile::tempdir().unwrap();
    let (directory, copy) = (scratch.path().join("db"), scratch.path().join("copy"));
    fs::create_dir(&directory).unwrap();
    let storage = open(&directory);
    let commits = 600_u64;
    for n in 1..=commits {
        let mut batch = Batch::new();
        batch.put([&b"L"[..], &n.to_be_bytes()].concat(), vec![n as u8; 3000]);
        storage.commit(batch).unwrap();
    }
    // So that the store has all of it.
    storage.compact().unwrap();
    copy_directory(&directory, &copy);
    storage.close().unwrap();
    let newest = fs::read_dir(copy.join("journal")).unwrap().map(|file| file.unwrap().path());
    let files: Vec<PathBuf> =
        newest.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with('0')).collect();
    let full = files.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    for file in files.iter().filter(|file| *file > full) {
        fs::remove_file(file).unwrap();
    }
    fs::OpenOptions::new().write(true).open(full).unwrap().set_len(900_000).unwrap();
    let mut options = options();
    options.is_of_entries = |key| key[0] == b'L';
    options.is_permanent = |key| key[0] == b'L';
    let storage = JournaledStorage::open(&copy, options.clone()).unwrap();
    assert!(
        storage.notices().iter().any(|told| told.contains("ended before what the store had")),
        "{:?}",
        storage.notices()
    );
    assert!(storage.may_lack_commits());
    assert_eq!(rows(&storage).len() as u64, commits);
    storage.close().unwrap();
    // Nothing is told twice, and the store that was set aside is not asked again.
    let storage = JournaledStorage::open(&copy, options.clone()).unwrap();
    assert_eq!(storage.notices(), <[String; 0]>::default());
    storage.close().unwrap();
    // Both copies have it now.
    fs::remove_dir_all(copy.join("store.aside-1")).unwrap();
    for lost in ["journal", "store"] {
        let other = scratch.path().join(lost);
        copy_directory(&copy, &other);
        fs::remove_dir_all(other.join(lost)).unwrap();
        let storage = JournaledStorage::open(&other, options.clone()).unwrap();
        assert_eq!(rows(&storage).len() as u64, commits, "without {lost}");
        storage.close().unwrap();
    }
}

/// A store that was closed without all that was committed is not taken for whole when
/// its journal is lost; one that was closed with it is, whatever became of openings in
/// between.
#[test]
fn a_store_knows_whether_it_was_closed_with_everything() {
    let (_scratch, directory) = scratch();
    let storage = open(&directory);
    let mut batch = Batch::new();
    batch.put(*b"row 1", *b"1");
    storage.commit(batch.clone()).unwrap();
    storage.close().unwrap();
    let whole = directory.with_extension("whole");
    copy_directory(&directory, &whole);
    // The journal is lost, and the first opening after that cannot make another one.
    fs::remove_dir_all(whole.join("journal")).unwrap();
    let mut failing = options();
    failing.sync_hook = Some(Arc::new(|_| Err(std::io::Error::other("made to fail"))));
    assert!(JournaledStorage::open(&whole, failing).is_err());
    let storage = open(&whole);
    assert!(!storage.may_lack_commits(), "{:?}", storage.notices());
    storage.close().unwrap();

    // A commit that is visible and that the store does not get.
    let mut options = options();
    let fails = Arc::new(AtomicBool::new(false));
    options.sync_hook = Some(Arc::new({
        let fails = Arc::clone(&fails);
        move |_| {
            if fails.load(Ordering::Relaxed) { Err(std::io::Error::other("made to fail")) } else { Ok(()) }
        }
    }));
    let storage = JournaledStorage::open(&directory, options).unwrap();
    fails.store(true, Ordering::Relaxed);
    batch.put(*b"row 2", *b"2");
    storage.commit(batch).unwrap();
    assert!(storage.close().is_err());
    fs::remove_dir_all(directory.join("journal")).unwrap();
    let storage = JournaledStorage::open(&directory, self::options()).unwrap();
    assert!(storage.may_lack_commits(), "{:?}", storage.notices());
}
