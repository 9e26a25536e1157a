//! The floor: what no engine can do without, each part alone.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use thingdb::format::{Body, Cek, EntryId, Fields, Hash, Header, Origin, SigningKey, Suite, ThingId, Time};
use thingdb::format::{merkle, payload, signature};
use thingdb::keyring::SealKey;
use thingdb::storage::sled::{SledOptions, SledStorage};
use thingdb::storage::{Batch, Storage};

use super::work::{BATCH, THINGS, json, mix, thing};

/// Makes entries and keeps none.
pub(crate) struct Sealer {
    key: SigningKey,
    record: SealKey,
}

impl Sealer {
    pub(crate) fn new() -> Self {
        Self { key: SigningKey::generate(&mut rand::rng()), record: SealKey::new(&[7; 32]) }
    }

    /// An entry without its signature: its payload sealed, its header and id
    /// made, and all of it sealed once more as it lies at rest.
    pub(crate) fn seal(&self, n: u64) -> (Vec<u8>, EntryId) {
        let mut rng = rand::rng();
        let body = Body::new("owner", "update", "application/json", json(n).as_bytes()).expect("it is within bounds");
        let cek = Cek::generate(&mut rng);
        let sealed = payload::seal(Suite::Aes256Gcm, &cek, body).expect("it is within bounds");
        let header = Header::new(Fields {
            suite: Suite::Aes256Gcm,
            thing: ThingId::new(&thing(n)).expect("it is an id"),
            seq: 2,
            time: Time::from_micros(1_795_327_272_000_000).expect("it is before the year 9999"),
            origin: Origin([1; 16]),
            actor: self.key.actor(),
            prev: vec![EntryId([2; 32])],
            data_hash: sealed.data_hash,
            payload_hash: sealed.payload_hash,
            payload_len: sealed.payload.len() as u32,
        });
        let header = header.expect("it is within bounds").to_bytes();
        let id = thingdb::format::header::id_of(&header);
        let mut row = [&header[..], &sealed.payload, cek.as_bytes()].concat();
        row = self.record.seal(&n.to_be_bytes(), &row, &mut rng);
        std::hint::black_box(row);
        (header, id)
    }

    pub(crate) fn seal_each(&self, range: Range<u64>) {
        for n in range {
            self.seal(n);
        }
    }

    pub(crate) fn seal_and_sign_each(&self, range: Range<u64>) {
        for n in range {
            let (header, _) = self.seal(n);
            std::hint::black_box(signature::sign_single(&self.key, &header));
        }
    }

    pub(crate) fn seal_and_sign_batches(&self, range: Range<u64>) {
        for start in range.clone().step_by(BATCH as usize) {
            let ids: Vec<EntryId> = (start..range.end.min(start + BATCH)).map(|n| self.seal(n).1).collect();
            let root: Hash = merkle::root(ids.iter().map(merkle::leaf));
            std::hint::black_box(signature::sign_batch(&self.key, ids.len() as u32, &root));
        }
    }
}

/// The rows that the engine writes, in the order and of the sizes in which it
/// does, with nothing in them: blocks at the growing end, a tile every 128
/// entries, and now and then the states and postings of 256 things.
pub(crate) struct Rows {
    /// Rows of one commit.
    entries: u64,
    written: u64,
    flushes: u64,
}

/// What a commit writes: one row, or several at once.
type Commit = Vec<(Vec<u8>, Vec<u8>)>;

/// A record of 256 bytes of JSON at rest, alone in its block.
const RECORD_BYTES: usize = 620;
const BLOCK_BYTES: u64 = 6000;
const TILE_ENTRIES: u64 = 128;
const FLUSH_THINGS: u64 = 256;

impl Rows {
    pub(crate) const fn of_commits(entries: u64) -> Self {
        Self { entries, written: 0, flushes: 0 }
    }

    fn commits(&mut self) -> Vec<Commit> {
        let (start, end) = (self.written, self.written + self.entries);
        self.written = end;
        let row = |space: u8, key: &[u8], bytes: usize| {
            let value = (0..bytes.div_ceil(8) as u64).flat_map(|n| mix(n ^ start).to_be_bytes()).take(bytes).collect();
            ([&[space], key].concat(), value)
        };
        let mut commit = Vec::new();
        for tile in start / TILE_ENTRIES..end / TILE_ENTRIES {
            commit.push(row(b'M', &[&[0], &tile.to_be_bytes()[..]].concat(), 32 * 128 + 28));
        }
        let in_block = (BLOCK_BYTES / RECORD_BYTES as u64).min(self.entries);
        for first in (start..end).step_by(in_block as usize) {
            commit.push(row(b'L', &first.to_be_bytes(), RECORD_BYTES * in_block.min(end - first) as usize));
        }
        let mut commits = vec![commit];
        // The states that have waited longest have a sixth of 100 entries each.
        if end / (FLUSH_THINGS * 16) > start / (FLUSH_THINGS * 16) {
            let mut commit = Vec::new();
            for n in self.flushes * FLUSH_THINGS..(self.flushes + 1) * FLUSH_THINGS {
                let tag = [mix(n % THINGS).to_be_bytes(), mix(n % THINGS + THINGS).to_be_bytes()].concat();
                commit.push(row(b'T', &tag, 1000));
                if n % 4 == 0 {
                    commit.push(row(b'C', &[&tag[..], &n.to_be_bytes()].concat(), 1640));
                }
            }
            self.flushes += 1;
            commits.push(commit);
        }
        commits
    }
}

/// sled as it comes.
pub(crate) struct SledRows(sled::Db, Rows);

impl SledRows {
    pub(crate) fn create(dir: &Path, rows: Rows) -> Self {
        let config = sled::Config::new().path(dir).cache_capacity(64 << 20);
        Self(config.open().expect("the directory is new"), rows)
    }

    pub(crate) fn write(&mut self, range: Range<u64>) {
        for _ in range.step_by(self.1.entries as usize) {
            for commit in self.1.commits() {
                match &commit[..] {
                    [(key, value)] => drop(self.0.insert(key, &value[..]).expect("sled takes it")),
                    rows => {
                        let mut batch = sled::Batch::default();
                        for (key, value) in rows {
                            batch.insert(&key[..], &value[..]);
                        }
                        self.0.apply_batch(batch).expect("sled takes it");
                    }
                }
            }
        }
    }

    pub(crate) fn flush(&self) {
        self.0.flush().expect("sled takes it");
    }
}

/// sled behind the storage seam.
pub(crate) struct SeamRows(SledStorage, Rows);

impl SeamRows {
    pub(crate) fn create(dir: &Path, rows: Rows) -> Self {
        std::fs::create_dir(dir).expect("there is room");
        Self(SledStorage::open(dir, SledOptions::default()).expect("the directory is new"), rows)
    }

    pub(crate) fn write(&mut self, range: Range<u64>, durable: bool) {
        for _ in range.step_by(self.1.entries as usize) {
            for rows in self.1.commits() {
                let mut batch = Batch::new();
                for (key, value) in rows {
                    batch.put(key, value);
                }
                let ticket = self.0.commit(batch).expect("the storage takes it");
                if durable {
                    self.0.wait(ticket).expect("the disk takes it");
                }
            }
        }
    }

    pub(crate) fn flush(&self) {
        let ticket = self.0.commit(Batch::new()).expect("the storage takes it");
        self.0.wait(ticket).expect("the disk takes it");
    }
}

/// What the disk can do: an append of one small row, and `fdatasync`.
pub(crate) struct Appended(File);

/// What an entry of 256 bytes takes at the least, signature and all.
const APPENDED_BYTES: usize = 424;

impl Appended {
    /// `preallocated` bytes are written before, so that a sync does not have
    /// to write the new length of the file, too.
    pub(crate) fn create(path: &Path, preallocated: usize) -> Self {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path).expect("the path is new");
        file.write_all(&vec![0; preallocated]).expect("the disk takes it");
        file.sync_all().expect("the disk takes it");
        file.seek(SeekFrom::Start(0)).expect("the start is there");
        Self(file)
    }

    pub(crate) fn write(&mut self, range: Range<u64>) {
        for _ in range {
            self.0.write_all(&[7; APPENDED_BYTES]).expect("the disk takes it");
            self.0.sync_data().expect("the disk takes it");
        }
    }
}
