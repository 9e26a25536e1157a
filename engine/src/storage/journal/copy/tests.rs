//! A copy has at all times a prefix of the commits, and only what is new is copied.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::super::{Change, StorageError};
use super::super::file::{file_name, list};
use super::super::{Journal, JournalOptions, Piece, read};
use super::{Copied, Doubt, Plan};

fn options() -> JournalOptions {
    JournalOptions { file_bytes: 16 << 10, ..JournalOptions::default() }
}

fn put(n: u64) -> Vec<Change> {
    vec![(n.to_be_bytes().to_vec(), Some(vec![n as u8; 40 + (n % 7) as usize]))]
}

fn sequences(dir: &Path) -> Vec<u64> {
    let pieces = read(dir, 1).unwrap().map(|piece| match piece.unwrap() {
        Piece::Frame { sequence, changes } => {
            assert_eq!(changes, put(sequence));
            sequence
        }
        Piece::Hole(hole) => panic!("{hole:?}"),
    });
    pieces.collect()
}

fn copy(from: &Path, to: &Path) -> Result<Copied, StorageError> {
    Plan::new(from, to, u64::MAX, Doubt::Some(&[]))?.run()
}

#[test]
fn a_copy_grows_with_the_journal_and_copies_only_what_is_new() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    let mut journal = Journal::create(&from, [1; 16], options()).unwrap();
    let mut written = 0;
    for round in 0..40_u64 {
        for _ in 0..round * 7 % 60 {
            written += 1;
            journal.append(&put(written)).unwrap();
        }
        if round % 9 == 4 {
            journal.close().unwrap();
        }
        let copied = copy(&from, &to).unwrap();
        assert_eq!((copied.next, &copied.holes), (written + 1, &Vec::new()));
        assert_eq!(sequences(&to), (1..=written).collect::<Vec<_>>());
        assert_eq!(copy(&from, &to).unwrap().bytes, 0);
        if round % 9 == 4 {
            journal = Journal::open(&from, options()).unwrap().0;
        }
    }
    assert!(list(&to).unwrap().len() > 3);
    // An end that was begun and not finished is written over.
    let last = to.join(file_name(*list(&to).unwrap().last().unwrap()));
    for cut in [1, 20, 33, 90] {
        let bytes = fs::read(&last).unwrap();
        fs::write(&last, &bytes[..bytes.len() - cut]).unwrap();
        copy(&from, &to).unwrap();
        assert!(fs::read(&last).unwrap() == bytes, "cut by {cut}");
    }
    // A file of the journal that was mended since, or is damaged: the copy has
    // what it had.
    let first = from.join(file_name(1));
    let bytes = fs::read(&first).unwrap();
    fs::write(&first, &bytes[..bytes.len() / 2]).unwrap();
    let copied = copy(&from, &to).unwrap();
    assert_eq!((copied.bytes, copied.holes), (0, Vec::new()));
    assert_eq!(sequences(&to), (1..=written).collect::<Vec<_>>());
    // A damaged file of the copy is copied anew.
    fs::write(&first, &bytes).unwrap();
    fs::write(to.join(file_name(1)), &bytes[..bytes.len() / 2]).unwrap();
    copy(&from, &to).unwrap();
    assert_eq!(sequences(&to), (1..=written).collect::<Vec<_>>());
    // One that is as long as it was is read if that is asked for, or if it is
    // known to lack something.
    let damaged = to.join(file_name(1));
    for doubt in [Doubt::All, Doubt::Some(&[2..=2])] {
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        fs::write(&damaged, &flipped).unwrap();
        assert_eq!(copy(&from, &to).unwrap().mended, Vec::<PathBuf>::new());
        let copied = Plan::new(&from, &to, u64::MAX, doubt).unwrap().run().unwrap();
        assert_eq!((copied.mended, copied.holes), (vec![damaged.clone()], Vec::new()), "{doubt:?}");
        assert!(fs::read(&damaged).unwrap() == bytes);
    }
}

#[test]
fn a_part_can_be_copied() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("from");
    let journal = Journal::create(&from, [1; 16], options()).unwrap();
    (1..=400).for_each(|n| assert_eq!(journal.append(&put(n)).unwrap(), n));
    for until in [0, 1, 2, 100, 150, 399, 400, 500] {
        let to = directory.path().join(format!("to-{until}"));
        let copied = Plan::new(&from, &to, until, Doubt::Some(&[])).unwrap().run().unwrap();
        assert_eq!(copied.next, until.min(400) + 1);
        assert_eq!(sequences(&to), (1..=until.min(400)).collect::<Vec<_>>());
    }
}

#[test]
fn a_copy_of_another_journal_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let one = Journal::create(&at("one"), [1; 16], options()).unwrap();
    let other = Journal::create(&at("other"), [2; 16], options()).unwrap();
    one.append(&put(1)).unwrap();
    other.append(&put(1)).unwrap();
    copy(&at("one"), &at("to")).unwrap();
    let error = copy(&at("other"), &at("to")).unwrap_err();
    assert!(error.to_string().contains("another database"), "{error}");
    // Set back: the copy has what the journal has no more.
    let last = fs::read(at("one").join(file_name(1))).unwrap();
    one.append(&put(2)).unwrap();
    copy(&at("one"), &at("to")).unwrap();
    fs::write(at("one").join(file_name(1)), last).unwrap();
    let error = copy(&at("one"), &at("to")).unwrap_err();
    assert!(error.to_string().contains("set back"), "{error}");
    assert_eq!(sequences(&at("to")), [1, 2]);
    // It went on otherwise.
    let (one, _) = Journal::open(&at("one"), options()).unwrap();
    one.append(&[(b"other".to_vec(), None)]).unwrap();
    one.append(&[(b"other".to_vec(), None)]).unwrap();
    let error = copy(&at("one"), &at("to")).unwrap_err();
    assert!(error.to_string().contains("other commits"), "{error}");
    assert_eq!(sequences(&at("to")), [1, 2]);
}
