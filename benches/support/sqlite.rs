//! The same work by hand: what a developer writes who needs a signed,
//! encrypted, chained ledger and has SQLite.
//!
//! One table, one index on (thing, seq), prepared statements, WAL. The data is
//! sealed with AES-256-GCM under one cached key; the hash chains each entry to
//! the one before it of the same thing; Ed25519 signs each hash.
//!
//! Entries travel as lines of JSON with the columns as members, bytes in
//! base64. Whoever imports a line hashes the entry again, holds it against the
//! head of its thing, checks the signature and inserts; a transaction has 1000
//! lines.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use data_encoding::BASE64;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand::Rng;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::work::{BATCH, json, thing};

const SCHEMA: &str = "
    CREATE TABLE entries (
        position INTEGER PRIMARY KEY,
        thing TEXT NOT NULL,
        seq INTEGER NOT NULL,
        time INTEGER NOT NULL,
        actor BLOB NOT NULL,
        prev BLOB NOT NULL,
        nonce BLOB NOT NULL,
        data BLOB NOT NULL,
        hash BLOB NOT NULL,
        signature BLOB NOT NULL
    );
    CREATE UNIQUE INDEX entries_by_thing ON entries (thing, seq);
";

const HEAD: &str = "SELECT seq, hash FROM entries WHERE thing = ?1 ORDER BY seq DESC LIMIT 1";
const INSERT: &str = "INSERT INTO entries (thing, seq, time, actor, prev, nonce, data, hash, signature)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const LATEST: &str = "SELECT seq, nonce, data FROM entries WHERE thing = ?1 ORDER BY seq DESC LIMIT 1";
const HISTORY: &str = "SELECT nonce, data FROM entries WHERE thing = ?1 ORDER BY seq DESC LIMIT ?2";
const ALL: &str = "SELECT thing, seq, time, actor, prev, nonce, data, hash, signature FROM entries ORDER BY position";

/// The ledger that one writes by hand.
pub(crate) struct SqliteLedger {
    path: PathBuf,
    connection: Connection,
    cipher: Aes256Gcm,
    signer: SigningKey,
    actor: VerifyingKey,
}

impl SqliteLedger {
    /// `durable` asks for a sync at each commit.
    pub(crate) fn create(path: &Path, durable: bool) -> Self {
        let connection = Connection::open(path).expect("the path is new");
        let set = |name: &str, value: &str| connection.pragma_update(None, name, value).expect("SQLite knows it");
        set("journal_mode", "WAL");
        set("synchronous", if durable { "FULL" } else { "NORMAL" });
        // As much as ThingDB takes by default.
        set("cache_size", "-65536");
        set("mmap_size", "1073741824");
        set("temp_store", "MEMORY");
        connection.execute_batch(SCHEMA).expect("the schema is SQL");
        let mut seed = [0; 64];
        rand::rng().fill_bytes(&mut seed);
        let (cipher_key, signing_key) = seed.split_at(32);
        let signer = SigningKey::from_bytes(signing_key.try_into().expect("half of 64 bytes"));
        Self {
            path: path.to_owned(),
            connection,
            cipher: Aes256Gcm::new_from_slice(cipher_key).expect("half of 64 bytes"),
            actor: signer.verifying_key(),
            signer,
        }
    }

    /// One transaction an entry.
    pub(crate) fn put_each(&mut self, range: Range<u64>) {
        for n in range {
            self.write(n..n + 1);
        }
    }

    /// One transaction a batch, one signature an entry.
    pub(crate) fn put_batches(&mut self, range: Range<u64>) {
        for start in range.clone().step_by(BATCH as usize) {
            self.write(start..range.end.min(start + BATCH));
        }
    }

    fn write(&mut self, range: Range<u64>) {
        let behavior = TransactionBehavior::Immediate;
        let transaction = Transaction::new_unchecked(&self.connection, behavior).expect("nobody else writes");
        for n in range {
            self.insert(&transaction, &thing(n), json(n).as_bytes());
        }
        transaction.commit().expect("the disk takes it");
    }

    fn insert(&self, transaction: &Transaction<'_>, thing: &str, json: &[u8]) {
        let mut head = transaction.prepare_cached(HEAD).expect("it is SQL");
        let head = head.query_row([thing], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?)));
        let (seq, prev) = head.optional().expect("it reads").map_or((1, [0; 32]), |(seq, hash)| (seq + 1, hash));
        let mut nonce = [0; 12];
        rand::rng().fill_bytes(&mut nonce);
        let sealed = Payload { msg: json, aad: thing.as_bytes() };
        let data = self.cipher.encrypt(&Nonce::from(nonce), sealed).expect("it is short");
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        let time = since.as_micros() as i64;
        let hash = chain(&prev, thing, seq, time, self.actor.as_bytes(), &nonce, &data);
        let signature = self.signer.sign(&hash).to_bytes();
        let mut insert = transaction.prepare_cached(INSERT).expect("it is SQL");
        insert
            .execute(params![thing, seq, time, self.actor.as_bytes(), prev, nonce, data, hash, signature])
            .expect("the disk takes it");
    }

    /// The data of a thing's last entry.
    pub(crate) fn latest(&self, thing: &str) -> Vec<u8> {
        let mut latest = self.connection.prepare_cached(LATEST).expect("it is SQL");
        let open = |row: &rusqlite::Row<'_>| {
            let nonce: [u8; 12] = row.get(1)?;
            let sealed = Payload { msg: row.get_ref(2)?.as_blob()?, aad: thing.as_bytes() };
            Ok(self.cipher.decrypt(&Nonce::from(nonce), sealed).expect("nobody altered it"))
        };
        latest.query_row([thing], open).expect("the thing has entries")
    }

    /// Opens the data of a thing's last entries: how many.
    pub(crate) fn history(&self, thing: &str, most: u64) -> u64 {
        let mut history = self.connection.prepare_cached(HISTORY).expect("it is SQL");
        let mut rows = history.query(params![thing, most as i64]).expect("it reads");
        let mut entries = 0;
        while let Some(row) = rows.next().expect("it reads") {
            let nonce: [u8; 12] = row.get(0).expect("it is a blob");
            let sealed = Payload {
                msg: row.get_ref(1).expect("it reads").as_blob().expect("it is a blob"),
                aad: thing.as_bytes(),
            };
            let open = self.cipher.decrypt(&Nonce::from(nonce), sealed).expect("nobody altered it");
            assert!(!open.is_empty());
            entries += 1;
        }
        entries
    }

    /// Hashes every entry again, follows every chain, checks every signature.
    pub(crate) fn verify(&self) -> u64 {
        let mut heads: HashMap<String, (i64, [u8; 32])> = HashMap::new();
        let mut all = self.connection.prepare_cached(ALL).expect("it is SQL");
        let mut rows = all.query([]).expect("it reads");
        let mut entries = 0;
        while let Some(row) = rows.next().expect("it reads") {
            let mut read = || -> rusqlite::Result<()> {
                let thing = row.get_ref(0)?.as_str()?;
                let (seq, time): (i64, i64) = (row.get(1)?, row.get(2)?);
                let (actor, prev): ([u8; 32], [u8; 32]) = (row.get(3)?, row.get(4)?);
                let (nonce, data) = (row.get_ref(5)?.as_blob()?, row.get_ref(6)?.as_blob()?);
                let (hash, signature): ([u8; 32], [u8; 64]) = (row.get(7)?, row.get(8)?);
                assert_eq!(chain(&prev, thing, seq, time, &actor, nonce, data), hash);
                assert_eq!(&actor, self.actor.as_bytes());
                self.actor.verify_strict(&hash, &Signature::from_bytes(&signature)).expect("nobody altered it");
                match heads.get_mut(thing) {
                    Some(head) => {
                        assert_eq!((head.0 + 1, head.1), (seq, prev));
                        *head = (seq, hash);
                    }
                    None => {
                        assert_eq!((1, [0; 32]), (seq, prev));
                        heads.insert(thing.to_owned(), (seq, hash));
                    }
                }
                Ok(())
            };
            read().expect("the columns have these types");
            entries += 1;
        }
        entries
    }

    /// Every entry as a line of JSON, in ledger order.
    pub(crate) fn export(&self, mut out: impl Write) {
        let mut all = self.connection.prepare_cached(ALL).expect("it is SQL");
        let mut rows = all.query([]).expect("it reads");
        while let Some(row) = rows.next().expect("it reads") {
            let bytes = |column| BASE64.encode(row.get_ref(column).expect("it reads").as_blob().expect("it is a blob"));
            let line = Line {
                thing: row.get_ref(0).expect("it reads").as_str().expect("it is text").into(),
                seq: row.get(1).expect("it is a number"),
                time: row.get(2).expect("it is a number"),
                actor: bytes(3).into(),
                prev: bytes(4).into(),
                nonce: bytes(5).into(),
                data: bytes(6).into(),
                hash: bytes(7).into(),
                signature: bytes(8).into(),
            };
            serde_json::to_writer(&mut out, &line).expect("it is written to memory");
            out.write_all(b"\n").expect("it is written to memory");
        }
    }

    /// Takes in the lines of another such ledger, whose only actor `from` is.
    pub(crate) fn import(&self, from: &Self, mut input: impl BufRead) -> u64 {
        let mut entries = 0;
        let mut text = String::new();
        let mut more = true;
        while more {
            let behavior = TransactionBehavior::Immediate;
            let transaction = Transaction::new_unchecked(&self.connection, behavior).expect("nobody else writes");
            for _ in 0..BATCH {
                text.clear();
                more = input.read_line(&mut text).expect("it is in memory") != 0;
                if !more {
                    break;
                }
                let line = serde_json::from_str(&text).expect("it was written as JSON");
                take_in(&transaction, &from.actor, &line);
                entries += 1;
            }
            transaction.commit().expect("the disk takes it");
        }
        entries
    }

    /// Bytes on the disk, with the write-ahead log emptied.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("nobody else reads");
        std::fs::metadata(&self.path).expect("it is there").len()
    }
}

/// An entry on its way.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    thing: Cow<'a, str>,
    seq: i64,
    time: i64,
    #[serde(borrow)]
    actor: Cow<'a, str>,
    #[serde(borrow)]
    prev: Cow<'a, str>,
    #[serde(borrow)]
    nonce: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow)]
    hash: Cow<'a, str>,
    #[serde(borrow)]
    signature: Cow<'a, str>,
}

/// Checks a line and inserts it.
fn take_in(transaction: &Transaction<'_>, known: &VerifyingKey, line: &Line<'_>) {
    let bytes = |text: &str| BASE64.decode(text.as_bytes()).expect("it was written as base64");
    let (actor, nonce, data) = (bytes(&line.actor), bytes(&line.nonce), bytes(&line.data));
    let [actor, prev, hash]: [[u8; 32]; 3] =
        [actor, bytes(&line.prev), bytes(&line.hash)].map(|bytes| bytes.try_into().expect("it has 32 bytes"));
    let signature: [u8; 64] = bytes(&line.signature).try_into().expect("it has 64 bytes");
    assert_eq!(&actor, known.as_bytes());
    assert_eq!(chain(&prev, &line.thing, line.seq, line.time, &actor, &nonce, &data), hash);
    known.verify_strict(&hash, &Signature::from_bytes(&signature)).expect("nobody altered it");
    let mut head = transaction.prepare_cached(HEAD).expect("it is SQL");
    let head = head.query_row([&line.thing], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?)));
    let (seq, expected) = head.optional().expect("it reads").map_or((1, [0; 32]), |(seq, hash)| (seq + 1, hash));
    assert_eq!((line.seq, prev), (seq, expected));
    let mut insert = transaction.prepare_cached(INSERT).expect("it is SQL");
    insert
        .execute(params![line.thing, seq, line.time, actor, prev, nonce, data, hash, signature])
        .expect("the disk takes it");
}

/// What an entry is named by, and what is signed.
fn chain(prev: &[u8; 32], thing: &str, seq: i64, time: i64, actor: &[u8; 32], nonce: &[u8], data: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(prev);
    hash.update((thing.len() as u64).to_be_bytes());
    hash.update(thing);
    hash.update(seq.to_be_bytes());
    hash.update(time.to_be_bytes());
    hash.update(actor);
    hash.update(nonce);
    hash.update(data);
    hash.finalize().into()
}
