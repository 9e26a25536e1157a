//! Entries by the hundred thousand that follow what nobody has. As many wait as there is room
//! for, the others are refused with the reason, and the database is as it was.
//!
//! In a process of its own, since it looks at how much memory that takes.

use std::io::{BufReader, Read};

use thingdb::format::{Entry, Fields, Hash, Header, Signature, Suite, ThingId, Time, signature};
use thingdb::{Db, EntryId, ImportOptions, ImportSummary, TrustPolicy};
use thingdb_tests::database::{assert_intact, export, passphrase, relaxed, scratch};
use thingdb_tests::stranger::{Plan, Stranger, line_of, lines_of};

/// Lines that come: more than may wait. `THINGDB_TEST_ENTRIES` says otherwise;
/// in CI it is a million.
const ENTRIES: u64 = 70_000;

/// Entries of one actor that wait at most, and the bytes that they take
/// (`exchange/waiting/`).
const MOST_WAITING: u64 = 65_536 / 4;
const MOST_WAITING_BYTES: u64 = 32 << 20;

/// What the process may take at its peak, everything included.
const MOST_MIB: u64 = 600;

/// Lines made as they are read. Each names a prev of its own that is nowhere.
struct Orphans<'a> {
    stranger: &'a Stranger,
    next: u64,
    count: u64,
    ready: Vec<u8>,
    at: usize,
}

impl<'a> Orphans<'a> {
    fn new(stranger: &'a Stranger, count: u64) -> BufReader<Self> {
        BufReader::new(Self { stranger, next: 0, count, ready: Vec::new(), at: 0 })
    }

    fn line(&self, n: u64) -> Vec<u8> {
        let header = Header::new(Fields {
            suite: Suite::Aes256Gcm,
            thing: ThingId::new(&format!("t{}", n % 1000)).unwrap(),
            seq: 2 + n % 5,
            time: Time::from_micros(1_700_000_000_000_000 + n).unwrap(),
            origin: self.stranger.origin,
            actor: self.stranger.actor(),
            prev: vec![EntryId(Hash::of(&n.to_be_bytes()).0)],
            data_hash: Hash([1; 32]),
            payload_hash: Hash([2; 32]),
            payload_len: 100,
        });
        let header = header.unwrap();
        let signature = Signature::Single(signature::sign_single(&self.stranger.key, &header.to_bytes()));
        line_of(&Entry { header, signature, payload: None, envelopes: Vec::new() })
    }
}

impl Read for Orphans<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.ready.len() {
            if self.next == self.count {
                return Ok(0);
            }
            self.ready = self.line(self.next);
            (self.next, self.at) = (self.next + 1, 0);
        }
        let count = buffer.len().min(self.ready.len() - self.at);
        buffer[..count].copy_from_slice(&self.ready[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

fn import(db: &Db, input: impl std::io::BufRead) -> ImportSummary {
    db.import(ImportOptions::new().trust(TrustPolicy::All), input).unwrap()
}

/// The peak of this process, if the system tells.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib >> 10)
}

#[test]
fn entries_with_absent_prev_take_bounded_room_however_many_come() {
    let count = std::env::var("THINGDB_TEST_ENTRIES").map_or(ENTRIES, |count| count.parse().expect("a number"));
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    db.put("lamp", "\"mine\"").unwrap();
    let before = export(&db);

    let stranger = Stranger::default();
    let summary = import(&db, Orphans::new(&stranger, count));
    println!("{} wait, {} were refused", summary.pending, summary.refused);
    assert_eq!((summary.added, summary.known, summary.completed), (0, 0, 0));
    assert_eq!(summary.pending + summary.refused, count);
    assert!(summary.refused > 0, "so few find room: {count}");
    assert!((1000..=MOST_WAITING).contains(&summary.pending));
    assert!(summary.reasons.len() <= 1000);
    assert!(summary.reasons.iter().all(|refusal| refusal.reason.ends_with("too many entries wait already")));
    db.close().unwrap();

    // They are nowhere to be seen, also after opening anew, and take no room in
    // the ledger.
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    assert_eq!(db.warnings(), []);
    assert_eq!((db.stats().unwrap().entries, db.stats().unwrap().things), (1, 1));
    assert_intact(&db);
    // In the store, and once more in the journal.
    assert!(db.stats().unwrap().disk_bytes < MOST_WAITING_BYTES * 8, "{:?}", db.stats());
    let rest = |stream: &[u8]| String::from_utf8(stream.to_vec()).unwrap().lines().nth(1).map(str::to_owned);
    assert_eq!(rest(&export(&db)), rest(&before));

    // Good entries come in as ever, in order and before their prev, where one
    // that has waited longer makes room.
    let mut lines = stranger.history("good", 1, 20);
    lines.push(stranger.entry(&Plan { prev: vec![EntryId([9; 32])], ..Plan::after(&lines[19], "1") }));
    let good = import(&db, &lines_of(&lines)[..]);
    assert_eq!((good.added, good.pending, good.refused), (20, summary.pending, 0), "{:?}", good.reasons);
    assert_eq!((good.dropped, db.waiting().unwrap().displaced), (1, 1));
    db.trust_actor("mallory", stranger.actor()).unwrap();
    assert_eq!(assert_intact(&db).entries, 21);
    match peak_mib() {
        Some(mib) => {
            println!("{mib} MiB at most");
            assert!(mib < MOST_MIB, "{mib} MiB");
        }
        None => println!("skipped: this system does not tell how much memory a process takes"),
    }
}
