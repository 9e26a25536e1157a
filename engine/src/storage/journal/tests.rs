//! The journal under what happens to files.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;
use std::thread;

use super::super::Change;
use super::*;

const DATABASE: [u8; 16] = [7; 16];

fn options() -> JournalOptions {
    JournalOptions { file_bytes: 16 << 10, ..JournalOptions::default() }
}

fn put(n: u64) -> Vec<Change> {
    vec![(n.to_be_bytes().to_vec(), Some(vec![n as u8; 40 + (n % 7) as usize])), (b"gone".to_vec(), None)]
}

/// In memory where that can be had: thousands of openings sync each.
fn memory_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A journal of `commits` commits; the first `durable` of them are.
fn journal(dir: &Path, commits: u64, durable: u64, options: JournalOptions) -> Journal {
    let journal = Journal::create(dir, DATABASE, options).unwrap();
    for n in 1..=commits {
        assert_eq!(journal.append(&put(n)).unwrap(), n);
        if n == durable {
            journal.sync(n).unwrap();
        }
    }
    journal
}

/// The sequences that can be read, each with the changes that it had, and the
/// holes.
fn read_all(dir: &Path) -> (Vec<u64>, Vec<Hole>) {
    let (mut sequences, mut holes) = (Vec::new(), Vec::new());
    for piece in read(dir, 0).unwrap() {
        match piece.unwrap() {
            Piece::Frame { sequence, changes } => {
                assert_eq!(changes, put(sequence));
                sequences.push(sequence);
            }
            Piece::Hole(hole) => holes.push(hole),
        }
    }
    (sequences, holes)
}

fn missing_in(holes: &[Hole]) -> Vec<u64> {
    holes.iter().flat_map(|hole| hole.sequences.clone()).collect()
}

fn only_file(dir: &Path) -> PathBuf {
    let files = list(dir).unwrap();
    assert_eq!(files, [1]);
    dir.join(file_name(1))
}

fn sequence_range(first: u64, last: u64) -> Vec<u64> {
    (first..=last).collect()
}

#[test]
fn commits_read_back_over_openings_and_files() {
    let directory = memory_directory();
    let dir = directory.path().join(DIRECTORY);
    assert!(!exists(&dir).unwrap());
    let mut written = 0;
    for round in 0..6 {
        let journal = if round == 0 {
            Journal::create(&dir, DATABASE, options()).unwrap()
        } else {
            let (journal, found) = Journal::open(&dir, options()).unwrap();
            // Every second round ends without a close.
            assert_eq!(found, Found { is_clean: round % 2 == 1, cut_bytes: 0, holes: Vec::new() });
            journal
        };
        assert_eq!((journal.first(), journal.next(), journal.durable()), (1, written + 1, written));
        assert_eq!(journal.database(), DATABASE);
        for _ in 0..150 {
            written += 1;
            assert_eq!(journal.append(&put(written)).unwrap(), written);
        }
        assert_eq!(journal.append(&[]).unwrap(), written);
        assert_eq!(read_all(&dir), (sequence_range(1, written), Vec::new()));
        if round % 2 == 0 {
            journal.close().unwrap();
            journal.close().unwrap();
            assert!(matches!(journal.append(&put(0)), Err(StorageError::Closed)));
            journal.sync(written).unwrap();
        }
    }
    assert!(list(&dir).unwrap().len() > 4, "{:?}", list(&dir));
    for from in [1, 2, 150, 151, 420, written, written + 1] {
        let sequences: Vec<_> = read(&dir, from)
            .unwrap()
            .map(|piece| match piece.unwrap() {
                Piece::Frame { sequence, .. } => sequence,
                Piece::Hole(hole) => panic!("{hole:?}"),
            })
            .collect();
        assert_eq!(sequences, sequence_range(from, written));
    }
    assert!(Journal::create(&dir, DATABASE, options()).is_err());
}

#[test]
fn a_journal_that_is_not_there_cannot_be_opened() {
    let directory = memory_directory();
    for dir in [directory.path().join("absent"), directory.path().to_owned()] {
        let error = Journal::open(&dir, options()).unwrap_err();
        assert!(matches!(&error, StorageError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound));
    }
}

#[test]
fn many_threads_append_and_share_syncs() {
    let directory = memory_directory();
    let syncs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&syncs);
    let hook: SyncHook = Arc::new(move |n| {
        counted.store(n, Ordering::SeqCst);
        Ok(())
    });
    let options = JournalOptions { sync_hook: Some(hook), ..options() };
    let journal = Journal::create(directory.path(), DATABASE, options).unwrap();
    let (threads, each) = (16, 60);
    let mut taken: Vec<u64> = thread::scope(|scope| {
        let writers: Vec<_> = (0..threads)
            .map(|writer: u64| {
                let journal = &journal;
                scope.spawn(move || {
                    let append = |n: u64| {
                        let sequence = journal.append(&[(vec![writer as u8], Some(n.to_be_bytes().to_vec()))]).unwrap();
                        journal.sync(sequence).unwrap();
                        assert!(journal.durable() >= sequence);
                        sequence
                    };
                    let taken: Vec<_> = (0..each).map(append).collect();
                    assert!(taken.is_sorted());
                    taken
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    taken.sort_unstable();
    assert_eq!(taken, sequence_range(1, threads * each));
    assert!(syncs.load(Ordering::SeqCst) <= threads * each + list(directory.path()).unwrap().len() as u64);
    let mut newest = vec![0; threads as usize];
    for piece in read(directory.path(), 1).unwrap() {
        let Piece::Frame { changes, .. } = piece.unwrap() else { panic!("a hole") };
        let [(key, Some(value))] = &changes[..] else { panic!("{changes:?}") };
        // What one thread wrote has its order.
        assert_eq!(value[..], u64::to_be_bytes(newest[key[0] as usize]));
        newest[key[0] as usize] += 1;
    }
    assert_eq!(newest, vec![each; threads as usize]);
}

#[test]
fn a_reader_beside_a_writer_reads_a_prefix_without_holes() {
    let directory = memory_directory();
    let journal = Journal::create(directory.path(), DATABASE, options()).unwrap();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=4000 {
                journal.append(&put(n)).unwrap();
                if n % 3 == 0 {
                    journal.sync(n).unwrap();
                }
            }
            ended.store(true, Ordering::SeqCst);
        });
        let mut reads = 0;
        while !ended.load(Ordering::SeqCst) || reads == 0 {
            let before = journal.next() - 1;
            let (sequences, holes) = read_all(directory.path());
            assert_eq!(holes, []);
            assert_eq!(sequences, sequence_range(1, sequences.len() as u64));
            assert!(sequences.len() as u64 >= before);
            reads += 1;
        }
    });
}

/// Whatever one bit does: all that was durable is read, or named as lost, and
/// an opening loses nothing more.
#[test]
fn every_bit_of_a_small_file_flipped() {
    for is_closed in [false, true] {
        let directory = memory_directory();
        let made = journal(directory.path(), 6, 4, options());
        if is_closed {
            made.close().unwrap();
        }
        drop(made);
        let durable = if is_closed { 6 } else { 4 };
        // The last frame is the one that tells that 4 are durable.
        let told = if is_closed { 6 } else { 4 };
        let path = only_file(directory.path());
        let mut bytes = fs::read(&path).unwrap();
        let used = 1 + bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes.truncate(used.next_multiple_of(16) + if is_closed { 0 } else { 64 });
        let places = (0..64).chain(4096..bytes.len());
        for bit in places.flat_map(|at| at * 8..at * 8 + 8) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &flipped).unwrap();
            let (read, holes) = read_all(directory.path());
            let missing = missing_in(&holes);
            assert!(missing.len() <= 1, "bit {bit}: {missing:?}");
            let mut all: Vec<_> = read.iter().chain(&missing).copied().collect();
            all.sort_unstable();
            assert_eq!(all, sequence_range(1, all.len() as u64), "bit {bit}");
            assert!(all.len() >= told.min(durable), "bit {bit}: {read:?} {holes:?}");
            let (opened, found) = Journal::open(directory.path(), options()).unwrap();
            assert_eq!(opened.next(), all.len() as u64 + 1, "bit {bit}");
            if !found.is_clean {
                assert_eq!(missing_in(&found.holes), missing, "bit {bit}");
            }
            let next = opened.append(&put(opened.next())).unwrap();
            drop(opened);
            let (read_again, holes_again) = read_all(directory.path());
            assert_eq!(read_again, [&read[..], &[next]].concat(), "bit {bit}");
            assert_eq!(missing_in(&holes_again), missing, "bit {bit}");
        }
    }
}

#[test]
fn a_file_cut_at_every_byte_is_a_prefix() {
    let directory = memory_directory();
    journal(directory.path(), 5, 5, options()).close().unwrap();
    let path = only_file(directory.path());
    let bytes = fs::read(&path).unwrap();
    let mut longest = 0;
    for end in FRAMES_AT as usize..=bytes.len() {
        fs::write(&path, &bytes[..end]).unwrap();
        let (read, holes) = read_all(directory.path());
        assert_eq!((&read, &holes), (&sequence_range(1, read.len() as u64), &Vec::new()), "cut at {end}");
        assert!(read.len() >= longest);
        longest = read.len();
        let (opened, found) = Journal::open(directory.path(), options()).unwrap();
        assert_eq!(found.is_clean, end == bytes.len());
        assert_eq!(found.holes, []);
        let next = opened.append(&put(opened.next())).unwrap();
        assert_eq!(next, read.len() as u64 + 1);
        opened.close().unwrap();
        assert_eq!(read_all(directory.path()), (sequence_range(1, next), Vec::new()), "cut at {end}");
    }
    assert_eq!(longest, 5);
    // One without a header is one whose commits are unknown.
    for end in [0, 63, 64 + 8] {
        let mut cut = bytes[..end].to_vec();
        cut.iter_mut().for_each(|byte| *byte ^= 1);
        fs::write(&path, cut).unwrap();
        let error = Journal::open(directory.path(), options()).unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
        assert_eq!(fs::metadata(&path).unwrap().len(), end as u64);
    }
}

#[test]
fn garbage_between_frames_is_stepped_over() {
    let directory = memory_directory();
    journal(directory.path(), 3, 3, options()).close().unwrap();
    let path = only_file(directory.path());
    let bytes = fs::read(&path).unwrap();
    let frame = frame::frame_bytes(frame::body_bytes(&put(1))) as usize;
    let after_first = FRAMES_AT as usize + frame;
    for length in [16, 48, 4096, 3 << 20] {
        let garbage: Vec<u8> = (0..length).map(|n: usize| (n * 31) as u8).collect();
        // What looks like a frame and is none, and a frame once more.
        for garbage in [garbage, bytes[FRAMES_AT as usize..after_first].repeat(length.div_ceil(frame))] {
            fs::write(&path, [&bytes[..after_first], &garbage, &bytes[after_first..]].concat()).unwrap();
            let (read, holes) = read_all(directory.path());
            assert_eq!(read, [1, 2, 3]);
            assert!(missing_in(&holes).is_empty());
            assert_eq!((holes.len(), holes[0].offset, holes[0].bytes), (1, after_first as u64, garbage.len() as u64));
        }
    }
}

#[test]
fn a_torn_tail_is_cut_and_a_hole_is_not() {
    let directory = memory_directory();
    // The 8th says that 5 are durable.
    drop(journal(directory.path(), 8, 5, options()));
    let path = only_file(directory.path());
    let bytes = fs::read(&path).unwrap();
    let frames: Vec<u64> = {
        let mut at = FRAMES_AT;
        (1..=8)
            .map(|n| {
                let start = at;
                at += frame::frame_bytes(frame::body_bytes(&put(n)));
                start
            })
            .collect()
    };
    let damaged = |sequences: &[usize]| {
        fs::write(&path, &bytes).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        for sequence in sequences {
            file.write_all_at(&[0xff; 8], frames[sequence - 1] + 40).unwrap();
        }
        let (read, holes) = read_all(directory.path());
        let (opened, found) = Journal::open(directory.path(), options()).unwrap();
        assert_eq!(found.holes, holes);
        (read, missing_in(&holes), opened.next(), found.cut_bytes > 0)
    };
    assert_eq!(damaged(&[3]), (vec![1, 2, 4, 5, 6, 7, 8], vec![3], 9, false));
    assert_eq!(damaged(&[6]), (vec![1, 2, 3, 4, 5], vec![], 6, true));
    assert_eq!(damaged(&[2, 7]), (vec![1, 3, 4, 5, 6], vec![2], 7, true));
    assert_eq!(damaged(&[4, 5]), (vec![1, 2, 3, 6, 7, 8], vec![4, 5], 9, false));
    // The 6th was not durable, so what is behind it does not count either.
    assert_eq!(damaged(&[5, 6]), (vec![1, 2, 3, 4], vec![5], 6, true));
    // Nobody is left who says that the 5th was durable.
    assert_eq!(damaged(&[5, 6, 7, 8]), (vec![1, 2, 3, 4], vec![], 5, true));
}

#[test]
fn files_that_are_missing_or_have_no_header_are_holes() {
    let directory = memory_directory();
    let journal = journal(directory.path(), 900, 900, options());
    let files = list(directory.path()).unwrap();
    assert!(files.len() >= 5, "{files:?}");
    journal.close().unwrap();
    let path = |n: usize| directory.path().join(file_name(files[n]));
    let check = |missing: Vec<u64>, file: usize| {
        let (read, holes) = read_all(directory.path());
        assert_eq!(missing_in(&holes), missing);
        assert_eq!(holes.len(), 1);
        assert_eq!(holes[0].file, path(file));
        assert_eq!(read, sequence_range(1, 900).into_iter().filter(|n| !missing.contains(n)).collect::<Vec<_>>());
        Journal::open(directory.path(), options()).unwrap().1.holes
    };
    for (at, is_deleted) in [(0, true), (0, false), (2, true), (2, false)] {
        let kept = fs::read(path(at)).unwrap();
        if is_deleted {
            fs::remove_file(path(at)).unwrap();
        } else {
            fs::write(path(at), vec![0; kept.len()]).unwrap();
        }
        let missing = sequence_range(files[at], files[at + 1] - 1);
        let named = check(missing.clone(), at);
        assert_eq!(missing_in(&named), if is_deleted { missing } else { Vec::new() });
        fs::write(path(at), kept).unwrap();
    }
    // The last one: its end is not known, and nothing is written behind it.
    let last = files.len() - 1;
    fs::write(path(last), vec![0; 4096]).unwrap();
    let (opened, found) = Journal::open(directory.path(), options()).unwrap();
    assert_eq!(found.holes.len(), 1);
    assert!(*found.holes[0].sequences.end() >= 900 - 1 || opened.next() > files[last]);
    let next = opened.append(&put(opened.next())).unwrap();
    let (read, holes) = read_all(directory.path());
    assert_eq!(read, [sequence_range(1, files[last] - 1), vec![next]].concat());
    assert_eq!(missing_in(&holes), sequence_range(files[last], next - 1));
}

#[test]
fn mended_files_have_no_holes() {
    let directory = memory_directory();
    // The last five say that what is before them is durable.
    drop(journal(directory.path(), 900, 895, options()));
    let files = list(directory.path()).unwrap();
    let path = |n: usize| directory.path().join(file_name(files[n]));
    fs::remove_file(path(1)).unwrap();
    fs::write(path(4), vec![0; 100]).unwrap();
    for file in [6, files.len() - 1] {
        let damaged = OpenOptions::new().write(true).open(path(file)).unwrap();
        damaged.write_all_at(&[0xff; 300], FRAMES_AT + 50).unwrap();
    }
    let (read_before, holes) = read_all(directory.path());
    let (opened, _) = Journal::open(directory.path(), options()).unwrap();
    assert_eq!(holes.len(), 4, "{holes:?}");
    for hole in &holes {
        opened.mend(hole).unwrap();
    }
    assert_eq!(read_all(directory.path()), (read_before.clone(), Vec::new()));
    let next = opened.append(&put(opened.next())).unwrap();
    assert_eq!(next, 901);
    opened.close().unwrap();
    let (_, found) = Journal::open(directory.path(), options()).unwrap();
    assert_eq!(found, Found { is_clean: true, cut_bytes: 0, holes: Vec::new() });
    assert_eq!(read_all(directory.path()), ([read_before, vec![901]].concat(), Vec::new()));
    let kept = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut kept: Vec<_> = kept.filter(|name| name.contains("damaged")).collect();
    kept.sort();
    assert_eq!(kept, [4, 6, files.len() - 1].map(|n| file_name(files[n]) + ".damaged"));
}

#[test]
fn files_of_another_journal_do_not_count() {
    let directory = memory_directory();
    let (one, other) = (directory.path().join("one"), directory.path().join("other"));
    journal(&one, 5, 5, options()).close().unwrap();
    journal(&other, 5, 5, options()).close().unwrap();
    // The same database and sequences, another salt.
    let frames = fs::read(other.join(file_name(1))).unwrap()[FRAMES_AT as usize..].to_vec();
    let file = OpenOptions::new().write(true).open(one.join(file_name(1))).unwrap();
    file.write_all_at(&frames, FRAMES_AT).unwrap();
    drop(file);
    assert!(read_all(&one).0.is_empty());
    let stranger = Journal::create_from(&directory.path().join("stranger"), [8; 16], 6, options()).unwrap();
    stranger.append(&put(6)).unwrap();
    stranger.close().unwrap();
    fs::copy(directory.path().join("stranger").join(file_name(6)), other.join(file_name(6))).unwrap();
    let error = Journal::open(&other, options()).unwrap_err();
    assert!(error.to_string().contains("00000000000000000006 is of another database"), "{error}");
    assert!(read(&other, 1).is_err());
}

#[test]
fn what_is_no_file_is_refused() {
    let directory = memory_directory();
    let (dir, elsewhere) = (directory.path().join("journal"), directory.path().join("elsewhere"));
    drop(journal(&dir, 5, 5, options()));
    fs::rename(dir.join(file_name(1)), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, dir.join(file_name(1))).unwrap();
    assert!(Journal::open(&dir, options()).is_err());
    assert!(read(&dir, 1).is_err());
    // A name of none of our files is left alone.
    fs::remove_file(dir.join(file_name(1))).unwrap();
    fs::rename(&elsewhere, dir.join(file_name(1))).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.join("1")).unwrap();
    let (opened, _) = Journal::open(&dir, options()).unwrap();
    assert_eq!(opened.next(), 6);
    assert!(dir.join("1").is_symlink());
}

#[test]
fn dropped_files_are_not_missed() {
    let directory = memory_directory();
    let journal = journal(directory.path(), 900, 900, options());
    let files = list(directory.path()).unwrap();
    journal.drop_before(files[2]).unwrap();
    assert_eq!(list(directory.path()).unwrap(), files[2..]);
    assert_eq!(journal.first(), files[2]);
    assert_eq!(read_all(directory.path()), (sequence_range(files[2], 900), Vec::new()));
    journal.drop_before(u64::MAX).unwrap();
    assert_eq!(list(directory.path()).unwrap().len(), 1);
    assert_eq!(journal.append(&put(901)).unwrap(), 901);
    journal.close().unwrap();
    let (opened, found) = Journal::open(directory.path(), options()).unwrap();
    assert_eq!((opened.first(), found.holes), (files[files.len() - 1], Vec::new()));
    // Without the note they are missed.
    fs::remove_file(directory.path().join(first::FILE)).unwrap();
    assert_eq!(missing_in(&read_all(directory.path()).1), sequence_range(1, files[files.len() - 1] - 1));
}

#[test]
fn a_failed_sync_ends_appending() {
    let directory = memory_directory();
    let hook: SyncHook = Arc::new(|n| if n == 2 { Err(io::Error::other("made to fail")) } else { Ok(()) });
    let journal = journal(directory.path(), 3, 3, JournalOptions { sync_hook: Some(hook), ..options() });
    let sequence = journal.append(&put(4)).unwrap();
    assert!(matches!(journal.sync(sequence), Err(StorageError::SyncFailed { .. })));
    assert!(matches!(journal.append(&put(5)), Err(StorageError::SyncFailed { .. })));
    assert!(matches!(journal.sync(sequence), Err(StorageError::SyncFailed { .. })));
    assert!(matches!(journal.close(), Err(StorageError::SyncFailed { .. })));
    journal.sync(3).unwrap();
    assert_eq!(journal.durable(), 3);
}

#[test]
fn a_large_commit_reads_back() {
    let directory = memory_directory();
    let large: Vec<Change> = (0..3000_u32)
        .map(|n| (n.to_be_bytes().to_vec(), Some(vec![n as u8; 7000])))
        .chain([(b"one".to_vec(), Some(vec![5; 3 << 20]))])
        .collect();
    let journal = Journal::create(directory.path(), DATABASE, options()).unwrap();
    journal.append(&put(1)).unwrap();
    journal.append(&large).unwrap();
    journal.append(&put(3)).unwrap();
    let pieces: Vec<_> = read(directory.path(), 1).unwrap().map(Result::unwrap).collect();
    assert_eq!(pieces.len(), 3);
    assert!(pieces[1] == Piece::Frame { sequence: 2, changes: large });
    assert_eq!(list(directory.path()).unwrap(), [1, 2, 3]);
}

#[test]
fn a_full_disk_refuses_and_is_passing() {
    let directory = memory_directory();
    let free = rustix::fs::statvfs(directory.path()).unwrap();
    let floor = free.f_bavail * free.f_frsize * 2;
    let full = JournalOptions { free_floor_bytes: floor, ..options() };
    let error = Journal::create(directory.path(), DATABASE, full.clone()).unwrap_err();
    assert!(matches!(error, StorageError::DiskFull { .. }), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    drop(journal(directory.path(), 3, 3, options()));
    let (opened, _) = Journal::open(directory.path(), full).unwrap();
    let large = vec![(b"key".to_vec(), Some(vec![1; 1 << 20]))];
    assert!(matches!(opened.append(&large), Err(StorageError::DiskFull { .. })));
    assert_eq!(opened.next(), 4);
    drop(opened);
    let (opened, found) = Journal::open(directory.path(), options()).unwrap();
    assert_eq!((found.cut_bytes, found.holes), (0, Vec::new()));
    assert_eq!(opened.append(&large).unwrap(), 4);
}
