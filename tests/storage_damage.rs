//! Nothing is opened that is not understood: a damaged store is refused with every
//! byte of it as it was, or opens with all that was written, or with all but what
//! nobody could know of. A killed one is no damage.
//!
//! `THINGDB_TEST_ROUNDS` is the number of kills, and of places for each kind of
//! damage.

#[path = "support/storage_script.rs"]
mod storage_script;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use thingdb::storage::sled::SledStorage;
use thingdb::storage::{Storage, StorageError};
use thingdb_tests::database::{Dice, copy_directory, files_in, rounds, scratch, seed};

const SEGMENT: u64 = 512 << 10;

/// Commits of the store that is damaged: so many that segments are used again.
const COMMITS: u64 = 3000;

fn open(directory: &Path) -> Result<SledStorage, StorageError> {
    SledStorage::open(directory, storage_script::sled_options())
}

/// A store that was opened three times, so that it has a snapshot, and then closed
/// or killed; the newest commit that was acknowledged.
fn store(directory: &Path, killed: bool) -> u64 {
    let mut n = 0;
    for until in [COMMITS / 3, COMMITS * 2 / 3, COMMITS] {
        let storage = open(directory).unwrap();
        while n < until {
            n += 1;
            storage.commit(storage_script::commit(n)).unwrap();
        }
        storage.close().unwrap();
    }
    if !killed {
        return n;
    }
    kill_a_writer(directory, "7", COMMITS / 4, Duration::ZERO)
}

/// Kills a writer some time after it has told of so many commits; the newest
/// that it told of.
fn kill_a_writer(directory: &Path, commits_per_wait: &str, more: u64, later: Duration) -> u64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_storage_writer"))
        .arg(directory)
        .args([commits_per_wait, "true", "sled"])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = || lines.next().map(|line| line.unwrap().parse::<u64>().unwrap());
    let first = told().expect("the writer opens the store");
    let mut last = first;
    while last < first + more {
        last = told().expect("the writer goes on");
    }
    thread::sleep(later);
    child.kill().unwrap();
    child.wait().unwrap();
    while let Some(more) = told() {
        last = more;
    }
    last
}

fn bytes_of(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files_in(&directory.join("store")).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// What came of a damaged store.
#[derive(Debug, Default)]
struct Outcomes {
    whole: u64,
    refused: u64,
    /// It opened, and told of a page that does not read when that was asked for.
    told: u64,
    /// The end of the log, behind which nothing says that something was there.
    shorter: u64,
    bad: Vec<String>,
}

/// Damages copies of a store at random places.
fn damage(name: &str, killed: bool, may_be_shorter: bool, damage: impl Fn(&Path, &mut Dice)) -> Outcomes {
    static ORIGINALS: [OnceLock<(TempDir, u64)>; 2] = [OnceLock::new(), OnceLock::new()];
    let (original, last) = ORIGINALS[usize::from(killed)].get_or_init(|| {
        let scratch = scratch();
        let last = store(scratch.path(), killed);
        (scratch, last)
    });
    let mut dice = Dice::new(seed(name));
    let scratch = scratch();
    let copy = scratch.path().join("copy");
    let mut outcomes = Outcomes::default();
    for _ in 0..rounds(12) {
        copy_directory(original.path(), &copy);
        note_inode(&copy);
        damage(&copy.join("store"), &mut dice);
        let before = bytes_of(&copy);
        match open(&copy) {
            Err(StorageError::Corrupt { detail, .. }) => {
                assert_eq!(bytes_of(&copy), before, "{name}: {detail}");
                assert!(detail.contains("nothing in it was changed"), "{detail}");
                outcomes.refused += 1;
            }
            Err(problem) => outcomes.bad.push(format!("{problem}")),
            Ok(storage) => match storage_script::check_prefix(&storage, 0) {
                Ok(found) if found >= *last => outcomes.whole += 1,
                Ok(_) if may_be_shorter => outcomes.shorter += 1,
                Ok(found) => outcomes.bad.push(format!("{found} of {last} commits")),
                Err(problem) if problem.contains("damaged") => outcomes.told += 1,
                Err(problem) => outcomes.bad.push(problem),
            },
        }
        fs::remove_dir_all(&copy).unwrap();
    }
    println!("{name}, killed: {killed}: {outcomes:?}");
    outcomes
}

/// Makes a copy look like the original: its log has another inode.
fn note_inode(copy: &Path) {
    let path = copy.join("store/left");
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let mut words: Vec<_> = lines[1].split(' ').map(str::to_owned).collect();
    if words[0] == "open" {
        words[1] = fs::metadata(copy.join("store/db")).unwrap().ino().to_string();
        lines[1] = words.join(" ");
        lines[2] = format!("{:08x}", crc32(format!("{}\n{}", lines[0], lines[1]).as_bytes()));
        fs::write(&path, format!("{}\n", lines.join("\n"))).unwrap();
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

fn log(store: &Path) -> fs::File {
    fs::OpenOptions::new().read(true).write(true).open(store.join("db")).unwrap()
}

fn length(file: &fs::File) -> u64 {
    file.metadata().unwrap().len()
}

fn flip(file: &fs::File, at: u64, bit: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 1 << bit;
    file.write_all_at(&byte, at).unwrap();
}

fn zero(file: &fs::File, at: u64, bytes: u64) {
    let bytes = bytes.min(length(file) - at) as usize;
    file.write_all_at(&vec![0; bytes], at).unwrap();
}

/// Nothing of a closed store may be missing without a word.
fn assert_none_bad(outcomes: &[Outcomes]) {
    assert!(outcomes.iter().all(|outcomes| outcomes.bad.is_empty()), "{outcomes:#?}");
}

#[test]
fn a_cut_log() {
    let cut = |store: &Path, dice: &mut Dice| {
        let file = log(store);
        let length = length(&file);
        file.set_len(length - 1 - dice.roll(length)).unwrap();
    };
    let whole_segments = |store: &Path, dice: &mut Dice| {
        let file = log(store);
        let segments = length(&file) / SEGMENT;
        file.set_len(dice.roll(segments) * SEGMENT).unwrap();
    };
    let closed = [damage("cut", false, false, cut), damage("cut at segments", false, false, whole_segments)];
    assert_eq!(closed.each_ref().map(|outcomes| outcomes.whole + outcomes.told), [0, 0], "{closed:?}");
    assert_none_bad(&closed);
    assert_none_bad(&[damage("cut", true, true, cut), damage("cut at segments", true, true, whole_segments)]);
}

#[test]
fn a_flipped_bit_of_a_segments_header() {
    let one = |store: &Path, dice: &mut Dice| {
        let file = log(store);
        let segments = length(&file).div_ceil(SEGMENT);
        flip(&file, dice.roll(segments) * SEGMENT + dice.roll(20), dice.roll(8));
    };
    assert_none_bad(&[damage("header", false, false, one), damage("header", true, false, one)]);
}

#[test]
fn a_flipped_bit_anywhere_in_the_log() {
    let one = |store: &Path, dice: &mut Dice| {
        let file = log(store);
        let length = length(&file);
        flip(&file, dice.roll(length), dice.roll(8));
    };
    let two = |store: &Path, dice: &mut Dice| {
        one(store, dice);
        one(store, dice);
    };
    assert_none_bad(&[damage("bit", false, false, one), damage("two bits", false, false, two)]);
    // What was written last is told from what a kill tore only if it is certain.
    assert_none_bad(&[damage("bit", true, true, one), damage("two bits", true, true, two)]);
}

#[test]
fn a_zeroed_page_of_the_log() {
    let anywhere = |store: &Path, dice: &mut Dice| {
        let file = log(store);
        let pages = length(&file).div_ceil(4096);
        zero(&file, dice.roll(pages) * 4096, 4096);
    };
    let head = |store: &Path, dice: &mut Dice| {
        let file = log(store);
        let segments = length(&file).div_ceil(SEGMENT);
        zero(&file, dice.roll(segments) * SEGMENT, 4096);
    };
    let segment = |store: &Path, dice: &mut Dice| {
        let file = log(store);
        let segments = length(&file).div_ceil(SEGMENT);
        zero(&file, dice.roll(segments) * SEGMENT, SEGMENT);
    };
    assert_none_bad(&[
        damage("page", false, false, anywhere),
        damage("head", false, false, head),
        damage("segment", false, false, segment),
    ]);
    assert_none_bad(&[
        damage("page", true, true, anywhere),
        damage("head", true, true, head),
        damage("segment", true, true, segment),
    ]);
}

/// What sled can do without is moved aside, and what follows from the log is made
/// anew: nothing is lost.
#[test]
fn the_files_beside_the_log() {
    let of = |prefix: &'static str, gone: bool| {
        move |store: &Path, dice: &mut Dice| {
            let path = files_in(store)
                .into_iter()
                .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix))
                .unwrap();
            if gone {
                return fs::remove_file(path).unwrap();
            }
            let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
            let length = length(&file);
            match dice.roll(3) {
                0 => flip(&file, dice.roll(length), dice.roll(8)),
                1 => file.set_len(dice.roll(length)).unwrap(),
                _ => zero(&file, 0, length),
            }
        }
    };
    for killed in [false, true] {
        for prefix in ["snap.", "conf", "left"] {
            for gone in [false, true] {
                let outcomes = damage(prefix, killed, false, of(prefix, gone));
                assert!(outcomes.bad.is_empty() && outcomes.refused + outcomes.told == 0, "{prefix}: {outcomes:?}");
            }
        }
    }
}

/// Who copies files may leave empty directories out.
#[test]
fn a_store_without_its_empty_directory() {
    let gone = |store: &Path, _: &mut Dice| fs::remove_dir(store.join("blobs")).unwrap();
    for killed in [false, true] {
        let outcomes = damage("blobs", killed, false, gone);
        assert_eq!(outcomes.whole, rounds(12), "{outcomes:?}");
    }
}

#[test]
fn a_log_that_is_gone() {
    let gone = |store: &Path, _: &mut Dice| fs::remove_file(store.join("db")).unwrap();
    let empty = |store: &Path, _: &mut Dice| log(store).set_len(0).unwrap();
    let zeroed = |store: &Path, _: &mut Dice| {
        let file = log(store);
        zero(&file, 0, length(&file));
    };
    for killed in [false, true] {
        let all = [
            damage("gone", killed, false, gone),
            damage("emptied", killed, false, empty),
            damage("zeroed", killed, false, zeroed),
        ];
        assert!(all.iter().all(|outcomes| outcomes.refused == rounds(12)), "{all:?}");
    }
}

/// False alarms are as bad as misses: whatever a kill leaves opens.
#[test]
fn a_kill_is_no_damage() {
    let mut dice = Dice::new(seed("kill"));
    let scratch = scratch();
    let directory = scratch.path().join("killed");
    for round in 0..rounds(20) {
        // A store that has grown large takes long to compare.
        if round % 10 == 0 {
            let _ = fs::remove_dir_all(&directory);
            fs::create_dir(&directory).unwrap();
        }
        let waits = ["1", "3", "100", "5000"][dice.roll(4) as usize];
        let last = kill_a_writer(&directory, waits, dice.roll(200), Duration::from_micros(dice.roll(60_000)));
        // Killed while it opens, too.
        if round % 3 == 2 {
            let mut child = Command::new(env!("CARGO_BIN_EXE_storage_writer"))
                .arg(&directory)
                .args(["5000", "true", "sled"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            thread::sleep(Duration::from_micros(dice.roll(30_000)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // The next writer opens it, too, and meets what this one leaves.
        if round % 2 == 0 {
            let storage = open(&directory).unwrap_or_else(|problem| panic!("round {round}: {problem}"));
            storage_script::check_prefix(&storage, last).unwrap_or_else(|problem| panic!("round {round}: {problem}"));
            if round % 4 == 0 {
                storage.close().unwrap();
            }
        }
    }
}
