//! Compacted journals under what happens to files, writers and copies.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;
use std::thread;

use super::super::super::view::View;
use super::super::super::{Change, Direction, KeyRange, Storage};
use super::super::copy::{Doubt, NEXT, Plan};
use super::super::{Hole, JournalOptions, Piece, read};
use super::*;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

const NEVER: &dyn Fn() -> bool = &|| false;

/// With everything that was committed so far, if all is to be compacted.
fn compact(journal: &Journal, until: u64, which: Which) -> Compacted {
    if which == Which::All {
        journal.begin_file().unwrap();
    }
    journal.compact(until, which, NEVER).unwrap()
}

fn options() -> JournalOptions {
    JournalOptions { file_bytes: 16 << 10, ..JournalOptions::default() }
}

fn create(dir: &Path) -> Journal {
    Journal::create(dir, [7; 16], options()).unwrap()
}

fn memory_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The same numbers in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// A commit of rows that are put, put again and deleted. Values are of no two
/// commits.
fn commit(n: u64, dice: &mut Dice) -> Vec<Change> {
    let change = |at: u64| {
        let key = format!("row {}", dice.roll(150)).into_bytes();
        let value = format!("<value {n}.{at}>").into_bytes();
        (key, (dice.roll(4) > 0).then(|| [value, vec![at as u8; dice.roll(90) as usize]].concat()))
    };
    (0..1 + n % 4).map(change).collect()
}

fn apply(model: &mut Model, changes: Vec<Change>) {
    for (key, value) in changes {
        match value {
            Some(value) => model.insert(key, value),
            None => model.remove(&key),
        };
    }
}

/// What a journal comes to, and its holes.
fn state(dir: &Path) -> (Model, Vec<Hole>) {
    let (mut model, mut holes) = (Model::new(), Vec::new());
    for piece in read(dir, 0).unwrap() {
        match piece.unwrap() {
            Piece::Frame { changes, .. } => apply(&mut model, changes),
            Piece::Hole(hole) => holes.push(hole),
        }
    }
    (model, holes)
}

fn copy_files(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Which values are in any file.
fn values_in(dir: &Path) -> std::collections::BTreeSet<Vec<u8>> {
    let mut found = std::collections::BTreeSet::new();
    for entry in fs::read_dir(dir).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        for at in 0..bytes.len() {
            if bytes[at..].starts_with(b"<value ") {
                let end = bytes[at..].iter().position(|byte| *byte == b'>').unwrap();
                found.insert(bytes[at..=at + end].to_vec());
            }
        }
    }
    found
}

fn values_of(model: &Model) -> std::collections::BTreeSet<Vec<u8>> {
    model.values().map(|value| value[..=value.iter().position(|byte| *byte == b'>').unwrap()].to_vec()).collect()
}

#[test]
fn a_compacted_journal_comes_to_the_same_and_has_no_dead_value() {
    let directory = memory_directory();
    let mut dice = Dice(1);
    let mut journal = create(directory.path());
    let mut model = Model::new();
    let mut freed = 0;
    for round in 0..60 {
        for _ in 0..dice.roll(120) {
            let changes = commit(journal.next(), &mut dice);
            journal.append(&changes).unwrap();
            apply(&mut model, changes);
        }
        if round % 7 == 3 {
            journal.close().unwrap();
            let level = journal.level();
            journal = Journal::open(directory.path(), options()).unwrap().0;
            assert_eq!(journal.level(), level);
        }
        let last = journal.next() - 1;
        journal.sync(last).unwrap();
        let which = if round % 3 == 0 { Which::All } else { Which::Half };
        let until = if round % 2 == 0 { last } else { dice.roll(last + 1) };
        freed += compact(&journal, until, which).freed_bytes;
        assert!(journal.level() <= until.max(journal.level()));
        assert!(state(directory.path()) == (model.clone(), Vec::new()), "round {round}");
        let view = View::open(directory.path(), None).unwrap();
        let rows: Model = view.scan(&KeyRange::all(), Direction::Forward).map(Result::unwrap).collect();
        assert_eq!((rows, view.last(), view.holes()), (model.clone(), last, &[][..]));
        if (which, until) == (Which::All, last) {
            assert_eq!(values_in(directory.path()), values_of(&model), "round {round}");
            let again = compact(&journal, until, which);
            assert_eq!(again, Compacted::default(), "round {round}");
        }
    }
    assert!(freed > 100_000, "{freed}");
}

/// Files are replaced one after the other: a crash leaves some of before and some
/// of after.
#[test]
fn a_crash_between_two_files_leaves_a_journal_that_comes_to_the_same() {
    for which in [Which::Half, Which::All] {
        let directory = memory_directory();
        let at = |name: &str| directory.path().join(name);
        let mut dice = Dice(2);
        let journal = create(&at("journal"));
        let mut model = Model::new();
        for _ in 0..1500 {
            let changes = commit(journal.next(), &mut dice);
            journal.append(&changes).unwrap();
            apply(&mut model, changes);
        }
        journal.sync(journal.next() - 1).unwrap();
        copy_files(&at("journal"), &at("before"));
        let done = compact(&journal, journal.durable(), which);
        assert!(done.files >= 3, "{done:?}");
        // An opening has to find its end, too; the writer has the last file.
        let mut mixed = list(&at("before")).unwrap();
        mixed.retain(|first| {
            let name = file_name(*first);
            fs::read(at("before").join(&name)).unwrap() != fs::read(at("journal").join(&name)).unwrap()
        });
        for m in 0..=mixed.len() {
            copy_files(&at("before"), &at("crashed"));
            for first in &mixed[..m] {
                fs::copy(at("journal").join(file_name(*first)), at("crashed").join(file_name(*first))).unwrap();
            }
            // What was being made.
            if let Some(first) = mixed.get(m) {
                let bytes = fs::read(at("journal").join(file_name(*first))).unwrap();
                let unfinished = at("crashed").join(format!(".{}.new", file_name(*first)));
                fs::write(unfinished, &bytes[..bytes.len() / 2]).unwrap();
            }
            assert!(state(&at("crashed")) == (model.clone(), Vec::new()), "{m} of {}", mixed.len());
            let (opened, found) = Journal::open(&at("crashed"), options()).unwrap();
            assert_eq!((found.holes, opened.next()), (Vec::new(), journal.next()));
            compact(&opened, opened.durable(), which);
            assert!(state(&at("crashed")) == (model.clone(), Vec::new()), "{m} of {}", mixed.len());
            if which == Which::All {
                assert_eq!(values_in(&at("crashed")), values_of(&model));
            }
        }
    }
}

/// What was left out is not missed, and what is damaged is.
#[test]
fn a_hole_in_a_compacted_file_is_named() {
    let directory = memory_directory();
    let at = |name: &str| directory.path().join(name);
    let mut dice = Dice(3);
    let journal = create(&at("journal"));
    let mut kept = 0;
    for n in 1..=800_u64 {
        let mut changes = commit(n, &mut dice);
        if n % 10 == 0 {
            changes.push((format!("kept {n}").into_bytes(), Some(b"<value kept>".to_vec())));
            kept += 1;
        }
        journal.append(&changes).unwrap();
    }
    compact(&journal, journal.durable(), Which::All);
    let files = list(&at("journal")).unwrap();
    for (number, first) in files.iter().enumerate().take(files.len() - 1) {
        let path = at("damaged").join(file_name(*first));
        let length = fs::metadata(at("journal").join(file_name(*first))).unwrap().len();
        let mut place = super::super::FRAMES_AT;
        while place < length {
            copy_files(&at("journal"), &at("damaged"));
            let file = open_file(&path, Access::Write).unwrap();
            file.write_all_at(&[0x55; 16], place).unwrap();
            let (model, holes) = state(&at("damaged"));
            assert_eq!(holes.len(), 1, "{first} at {place}");
            assert_eq!(holes[0].file, path);
            assert!(holes[0].bytes > 0 && !holes[0].sequences.is_empty());
            assert!(holes[0].sequences.start() >= first && *holes[0].sequences.end() < files[number + 1]);
            // Frames whose deletion is lost do not matter here.
            let found = model.keys().filter(|key| key.starts_with(b"kept")).count();
            let lost = holes[0].sequences.clone().filter(|n| n % 10 == 0).count();
            assert!(found + lost >= kept, "{found} and {lost} of {kept}");
            let (opened, _) = Journal::open(&at("damaged"), options()).unwrap();
            // What cannot be read stays as it is.
            let bytes = fs::read(&path).unwrap();
            compact(&opened, opened.durable(), Which::All);
            assert!(fs::read(&path).unwrap() == bytes);
            // Mended, it has the rest, and what was left out is not missed.
            opened.mend(&holes[0]).unwrap();
            assert_eq!(state(&at("damaged")), (model, Vec::new()));
            place += 16 * (1 + dice.roll(60));
        }
    }
}

#[test]
fn a_deletion_stays_while_a_file_before_it_may_have_the_value() {
    let directory = memory_directory();
    let at = |name: &str| directory.path().join(name);
    let journal = create(&at("journal"));
    let row = |key: &str, value: Option<&str>| vec![(key.as_bytes().to_vec(), value.map(|value| value.into()))];
    let fill = |name: &str| {
        let before = list(&at("journal")).unwrap().len();
        for n in 0.. {
            if list(&at("journal")).unwrap().len() > before {
                break;
            }
            journal.append(&row(&format!("{name} {n}"), Some(&"x".repeat(500)))).unwrap();
        }
    };
    journal.append(&row("gone", Some("<value gone>"))).unwrap();
    fill("a");
    fill("b");
    journal.append(&row("gone", None)).unwrap();
    fill("c");
    journal.sync(journal.next() - 1).unwrap();
    let whole = state(&at("journal")).0;
    assert!(!whole.contains_key(&b"gone"[..]));
    // The value is in a file that is nearly all alive: it stays, and so does the
    // deletion, whatever becomes of its file.
    compact(&journal, journal.durable(), Which::Half);
    assert_eq!(state(&at("journal")), (whole.clone(), Vec::new()));
    assert!(values_in(&at("journal")).contains(&b"<value gone>"[..]));
    // It cannot be read, and may come back.
    copy_files(&at("journal"), &at("damaged"));
    let path = at("damaged").join(file_name(1));
    let first = fs::read(&path).unwrap();
    let mut bytes = first.clone();
    bytes[super::super::FRAMES_AT as usize] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (damaged, _) = Journal::open(&at("damaged"), options()).unwrap();
    compact(&damaged, damaged.durable(), Which::All);
    fs::write(&path, first).unwrap();
    assert_eq!(state(&at("damaged")), (whole.clone(), Vec::new()));
    // Where everything is compacted both go.
    compact(&journal, journal.durable(), Which::All);
    assert_eq!(state(&at("journal")), (whole, Vec::new()));
    let frames = read(&at("journal"), 0).unwrap().map(Result::unwrap);
    let keys = frames.flat_map(|piece| match piece {
        Piece::Frame { changes, .. } => changes,
        Piece::Hole(hole) => panic!("{hole:?}"),
    });
    assert_eq!(keys.filter(|(key, _)| key == b"gone").count(), 0);
}

/// What a commit with this sequence changes, where its number alone says it.
fn numbered(n: u64) -> Vec<Change> {
    let value = (!n.is_multiple_of(7)).then(|| [&n.to_be_bytes()[..], &[n as u8; 60]].concat());
    vec![((n % 50).to_be_bytes().to_vec(), value)]
}

fn numbered_up_to(last: u64) -> Model {
    let mut model = Model::new();
    (last.saturating_sub(49).max(1)..=last).for_each(|n| apply(&mut model, numbered(n)));
    model
}

/// Each view is the state of one moment, although files are compacted while it is
/// read.
#[test]
fn a_view_beside_a_compaction_is_of_one_moment() {
    let directory = memory_directory();
    let at = |name: &str| directory.path().join(name);
    let journal = create(&at("journal"));
    (1..=1000).for_each(|n| assert_eq!(journal.append(&numbered(n)).unwrap(), n));
    let is_over = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            for n in 1001..=9000 {
                journal.append(&numbered(n)).unwrap();
                if n % 100 == 0 {
                    journal.sync(n).unwrap();
                    compact(&journal, n, if n % 300 == 0 { Which::All } else { Which::Half });
                }
            }
            is_over.store(true, Ordering::Release);
        });
        let mut copies = 0;
        while !is_over.load(Ordering::Acquire) {
            let view = View::open(&at("journal"), None).unwrap();
            let rows: Model = view.scan(&KeyRange::all(), Direction::Forward).map(Result::unwrap).collect();
            assert_eq!(view.holes(), []);
            assert!(rows == numbered_up_to(view.last()), "up to {}", view.last());
            let copied = Plan::new(&at("journal"), &at("copy"), u64::MAX, Doubt::Some(&[])).unwrap().run().unwrap();
            assert_eq!(copied.holes, []);
            assert!(state(&at("copy")) == (numbered_up_to(copied.next - 1), Vec::new()), "up to {}", copied.next);
            copies += 1;
        }
        assert!(copies > 3, "{copies}");
    });
}

#[test]
fn a_copy_of_a_journal_that_is_compacted_meanwhile_comes_to_the_same() {
    for seed in 0..8 {
        let directory = memory_directory();
        let at = |name: &str| directory.path().join(name);
        let mut dice = Dice(100 + seed);
        let journal = create(&at("journal"));
        let mut model = Model::new();
        let mut was = (Model::new(), Vec::new());
        for round in 0..25 {
            for _ in 0..dice.roll(250) {
                let changes = commit(journal.next(), &mut dice);
                journal.append(&changes).unwrap();
                apply(&mut model, changes);
            }
            journal.sync(journal.next() - 1).unwrap();
            let which = [Which::All, Which::Half].get(dice.roll(4) as usize).copied();
            if let Some(which) = which {
                let until = if which == Which::All { journal.durable() } else { dice.roll(journal.next()) };
                compact(&journal, until, which);
            }
            if dice.roll(3) > 0 {
                continue;
            }
            // One that was killed has what it had.
            let plan = Plan::new(&at("journal"), &at("copy"), u64::MAX, Doubt::Some(&[])).unwrap();
            if at("copy").exists() {
                assert_eq!(state(&at("copy")), was, "round {round}");
                fs::create_dir(at(NEXT)).unwrap();
                fs::write(at(NEXT).join(file_name(1)), b"begun").unwrap();
            }
            let copied = plan.run().unwrap();
            assert_eq!((copied.next, &copied.holes[..]), (journal.next(), &[][..]), "round {round}");
            was = (model.clone(), Vec::new());
            assert_eq!(state(&at("copy")), was, "round {round} of {seed}");
            assert!(!at(NEXT).exists());
            let (opened, _) = Journal::open(&at("copy"), options()).unwrap();
            assert_eq!(opened.next(), journal.next());
        }
    }
}

#[test]
fn commits_that_a_compacted_file_needs_are_missed() {
    let directory = memory_directory();
    let journal = create(directory.path());
    (1..=2000).for_each(|n| assert_eq!(journal.append(&numbered(n)).unwrap(), n));
    let written = *list(directory.path()).unwrap().last().unwrap();
    journal.sync(2000).unwrap();
    compact(&journal, 2000, Which::Half);
    assert_eq!(journal.level(), 2000);
    drop(journal);
    fs::remove_file(directory.path().join(file_name(written))).unwrap();
    let (_, holes) = state(directory.path());
    assert_eq!(holes.iter().map(|hole| hole.sequences.clone()).collect::<Vec<_>>(), [written..=2000]);
    // Numbers that somebody has seen are not given again.
    let (opened, found) = Journal::open(directory.path(), options()).unwrap();
    assert_eq!((found.holes, opened.next()), (holes, 2001));
    opened.append(&numbered(2001)).unwrap();
    assert_eq!(state(directory.path()).1[0].sequences, written..=2000);
    let error = View::open(directory.path(), Some(1500)).unwrap_err();
    assert!(matches!(error, StorageError::Io { source, .. } if source.kind() == std::io::ErrorKind::Unsupported));
    let error = Plan::new(directory.path(), &directory.path().join("copy"), 1500, Doubt::Some(&[])).err().unwrap();
    assert!(matches!(error, StorageError::Io { source, .. } if source.kind() == std::io::ErrorKind::Unsupported));
}

/// Whoever goes on in the middle, as a store does that had a part, gets what comes
/// behind it, each change of it.
#[test]
fn a_compacted_journal_is_read_from_each_place_on() {
    for seed in 0..4 {
        let scratch = memory_directory();
        let dir = scratch.path().join("journal");
        let journal = create(&dir);
        let mut dice = Dice(seed);
        let commits = 600;
        for n in 1..=commits {
            journal.append(&commit(n, &mut dice)).unwrap();
            if n % 250 == 0 {
                journal.sync(n).unwrap();
                compact(&journal, n, Which::All);
            }
        }
        journal.sync(commits).unwrap();
        let pieces = |from| {
            read(&dir, from).unwrap().map(|piece| match piece.unwrap() {
                Piece::Frame { sequence, changes } => (sequence, changes),
                Piece::Hole(hole) => panic!("{hole:?}"),
            })
        };
        let all: Vec<_> = pieces(0).collect();
        for from in 1..=commits {
            let behind = all.iter().filter(|(sequence, _)| *sequence >= from);
            assert!(
                pieces(from).filter(|(sequence, _)| *sequence >= from).eq(behind.cloned()),
                "seed {seed}, from {from}"
            );
        }
    }
}
