//! The way of a stream into a database, as a whole.
//!
//! A database that holds something gets streams that a fuzzer made: any bytes,
//! or lines that are good and were cut, repeated, reordered and mixed with each
//! other. Whatever comes: nothing that was there changes, what was added holds
//! before somebody who has only the format, what is read is what was written,
//! and good lines that come afterwards are taken in as ever.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;
use thingdb::keyring::{KdfChoice, Keyring};
use thingdb::trust::How;
use thingdb::{Db, ImportOptions, KdfParams, Options, Passphrase, STORE_VERSION, TrustPolicy, Verdict, VerifyOptions};
use thingdb_format::{
    BatchSignature, Body, Cek, EncryptionKey, Entry, EntryId, Envelope, Fields, Header, Kek, KekPacket, NodeKey,
    Origin, Signature, SigningKey, StreamHeader, Suite, ThingId, Time, Trailer, envelope, line, merkle, payload,
    signature,
};

use crate::checker;

/// Says that what follows is a program, not a stream.
const PROGRAM: u8 = 1;

/// When the entries were written, and the clock of the node.
const THEN: u64 = 1_700_000_000_000_000;
const NOW: u64 = THEN + 1_000_000_000;

/// What archives are sealed to.
const ARCHIVE: &str = "for the archive only";

/// Streams longer than this say nothing new.
const MOST_BYTES: usize = 1 << 20;

/// Bytes as a stream or, behind the byte `PROGRAM`, as a program that makes streams.
pub fn import(bytes: &[u8]) {
    static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
    // One at a time: they share a directory. An input that broke it has said so.
    let world = WORLD.get_or_init(|| Mutex::new(World::new())).lock().unwrap_or_else(PoisonError::into_inner);
    match bytes.split_first() {
        Some((&PROGRAM, program)) => world.run(&streams(program, &world.lines)),
        _ => world.run(&[(Call::default(), bytes.to_vec())]),
    }
}

/// How a stream is imported.
#[derive(Clone, Copy, Default)]
struct Call {
    all: bool,
    dry_run: bool,
    fail_fast: bool,
    with_passphrase: bool,
}

/// What a program comes to. Each step has four bytes: what to do, and three
/// numbers.
fn streams(program: &[u8], lines: &[Vec<u8>]) -> Vec<(Call, Vec<u8>)> {
    let mut streams = vec![(Call::default(), Vec::new())];
    let mut rest = program;
    while let Some(([what, a, b, c], left)) = rest.split_first_chunk::<4>() {
        rest = left;
        let line = &lines[usize::from(*a) % lines.len()];
        let other = &lines[usize::from(*b) % lines.len()];
        let place = usize::from(u16::from_be_bytes([*b, *c]));
        let Some((call, stream)) = streams.last_mut() else { return streams };
        match what % 12 {
            0 => stream.extend_from_slice(line),
            // A member of one line in the place of another line's.
            1 => stream.extend(with_member(line, other, usize::from(*c))),
            2 => {
                let mut line = line.clone();
                let len = line.len();
                line[place % len] ^= 1 << (c % 8);
                stream.extend(line);
            }
            3 => {
                stream.extend_from_slice(&line[..place % line.len()]);
                stream.push(b'\n');
            }
            4 => stream.extend_from_slice(&line[..place % line.len()]),
            5 => (0..b % 9).for_each(|_| stream.extend_from_slice(line)),
            6 => stream.extend(without_member(line, usize::from(*b))),
            7 => stream.extend(with_repeated_member(line, usize::from(*b))),
            // Bytes of the program itself.
            8 => {
                let (bytes, left) = rest.split_at(place.min(rest.len()));
                stream.extend_from_slice(bytes);
                rest = left;
            }
            // Two halves.
            9 => {
                stream.extend_from_slice(&line[..line.len() * usize::from(*c) / 256]);
                stream.extend_from_slice(&other[other.len() * usize::from(*c) / 256..]);
            }
            // What is there already, backwards.
            10 => {
                let lines: Vec<Vec<u8>> = stream.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                *stream = lines.into_iter().rev().flatten().collect();
            }
            // The next stream.
            _ => {
                *call =
                    Call { all: a & 1 != 0, dry_run: a & 2 != 0, fail_fast: a & 4 != 0, with_passphrase: a & 8 != 0 };
                if streams.len() == 8 {
                    return streams;
                }
                streams.push((Call::default(), Vec::new()));
            }
        }
        if streams.iter().map(|(_, stream)| stream.len()).sum::<usize>() > MOST_BYTES {
            break;
        }
    }
    streams
}

/// Where the members of an object are, without the commas between them.
fn members(line: &[u8]) -> Vec<&[u8]> {
    let (mut found, mut depth, mut in_string, mut escaped, mut from) = (Vec::new(), 0_u32, false, false, 1);
    for (at, byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b',' | b'}' if !in_string && depth == 1 => {
                found.push(&line[from..at]);
                from = at + 1;
            }
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
    }
    found
}

fn object(members: &[&[u8]]) -> Vec<u8> {
    [b"{", &members.join(&b","[..])[..], b"}\n"].concat()
}

fn name(member: &[u8]) -> &[u8] {
    member.split(|byte| *byte == b':').next().unwrap_or_default()
}

fn with_member(line: &[u8], other: &[u8], n: usize) -> Vec<u8> {
    let (mut ours, theirs) = (members(line), members(other));
    let n = n % ours.len();
    if let Some(member) = theirs.iter().find(|member| name(member) == name(ours[n])) {
        ours[n] = member;
    }
    object(&ours)
}

fn without_member(line: &[u8], n: usize) -> Vec<u8> {
    let mut members = members(line);
    members.remove(n % members.len());
    object(&members)
}

fn with_repeated_member(line: &[u8], n: usize) -> Vec<u8> {
    let mut members = members(line);
    members.push(members[n % members.len()]);
    object(&members)
}

/// A node, what it holds, and the lines that come its way.
struct World {
    dir: TempDir,
    /// What the database holds before the fuzzer's streams come.
    base: Vec<Entry>,
    /// What it takes in if it comes, in this order.
    good: Vec<Entry>,
    /// Lines of all kinds.
    lines: Vec<Vec<u8>>,
    /// What the entries say, and whether the node can read it.
    data: HashMap<EntryId, (Vec<u8>, bool)>,
}

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery")
}

fn time(micros: u64) -> Time {
    Time::from_micros(micros).expect("it is far from the last one")
}

impl World {
    /// The same each time.
    fn new() -> Self {
        let mut rng = StdRng::seed_from_u64(1);
        // Where nothing is written to a disk, if there is such a place.
        let memory = std::path::Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new().prefix("thingdb-fuzz-").tempdir_in(parent).expect("a directory");
        std::fs::write(dir.path().join("VERSION"), format!("thingdb {STORE_VERSION}\n")).expect("a file");
        let path = dir.path().join("keyring");
        let mut keyring = Keyring::create(&path, &passphrase(), KdfChoice::weakest(), &mut rng).expect("a keyring");
        let owner = keyring.add_actor("owner", time(THEN), &mut rng).expect("an actor");
        let node = keyring.node_key().node_key();
        let reader = keyring.decryption_key().encryption_key();

        let (friend_node, key) = (SigningKey::generate(&mut rng).node_key(), SigningKey::generate(&mut rng));
        keyring.trust_actor(key.actor(), "friend", How::ByHand, time(THEN), &mut rng).expect("a key");
        keyring.trust_origin(friend_node, "friend's", How::ByHand, time(THEN), &mut rng).expect("a key");
        Writers::new(rng, &owner, node, key, friend_node, reader).world(dir)
    }

    /// A fresh database with what it holds.
    fn open(&self) -> Db {
        // Of the run before; the rows of that time are gone.
        let _ = std::fs::remove_file(self.dir.path().join("checkpoint"));
        let options = Options::new().in_memory(true).threads(1).clock(|| NOW);
        let db = options.open(self.dir.path(), &passphrase()).expect("the database opens");
        let summary = db.import(ImportOptions::new(), &lines_of(&self.base)[..]).expect("an import");
        assert_eq!(summary.added, self.base.len() as u64, "{summary:?}");
        db
    }

    fn run(&self, streams: &[(Call, Vec<u8>)]) {
        let db = self.open();
        let archive = Passphrase::new(ARCHIVE);
        let mut pending = 0;
        for (call, stream) in streams {
            let mut options = ImportOptions::new().dry_run(call.dry_run).fail_fast(call.fail_fast);
            if call.all {
                options = options.trust(TrustPolicy::All);
            }
            if call.with_passphrase {
                options = options.passphrase(&archive);
            }
            let before = db.stats().expect("a count").entries;
            let summary = db.import(options, &stream[..]).expect("no stream makes an import fail");
            let now = db.stats().expect("a count").entries;
            assert_eq!(now - before, if call.dry_run { 0 } else { summary.added }, "{summary:?}");
            let lines = stream.split(|byte| *byte == b'\n').count() as u64;
            let told = summary.added + summary.known + summary.completed + summary.pending + summary.refused;
            assert!(told <= lines + pending, "{lines} lines and {pending} that waited: {summary:?}");
            if !call.dry_run {
                pending = summary.pending;
            }
        }
        self.check(&db, &self.base, streams.iter().any(|(call, _)| call.all));
        // Nothing of that keeps good lines out.
        let options = ImportOptions::new().passphrase(&archive);
        let summary = db.import(options, &lines_of(&self.good)[..]).expect("an import");
        assert_eq!(summary.refused, 0, "{summary:?}");
        self.check(&db, &self.good, true);
    }

    /// What is there holds, and these entries are there and say what they should.
    fn check(&self, db: &Db, present: &[Entry], with_strangers: bool) {
        let report = db.verify(VerifyOptions::new()).expect("verification goes through");
        let expected = |verdict| with_strangers && verdict == Verdict::UnknownActor;
        assert!(report.problems.iter().all(|problem| expected(problem.verdict)), "{:?}", report.problems);
        let mut out = Vec::new();
        db.export(thingdb::ExportOptions::new(), &mut out).expect("an export");
        let ids = checker::check(&out).unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!(ids.len() as u64, report.entries);
        let base = self.base.iter().map(Entry::id);
        assert!(ids.iter().copied().zip(base).all(|(found, base)| found == base), "the ledger has another beginning");
        for thing in db.things().expect("things") {
            let thing = thing.expect("a thing").thing;
            for record in db.history(thing.as_str()).expect("a history") {
                let record = record.expect("a record");
                let (data, _) = self.data.get(&record.id()).expect("nobody can sign another entry");
                assert!(record.data().is_none_or(|read| read == data), "{} is read as something else", record.id());
            }
        }
        for entry in present {
            let record = db.get_id(&entry.id()).expect("a look-up").unwrap_or_else(|| panic!("{} is gone", entry.id()));
            let (_, is_readable) = self.data[&entry.id()];
            assert!(!is_readable || record.data().is_some(), "{} cannot be read any more", entry.id());
        }
    }
}

fn line_of(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::new();
    line::encode(entry, &mut out);
    out
}

fn lines_of(entries: &[Entry]) -> Vec<u8> {
    entries.iter().flat_map(line_of).collect()
}

/// To whom an entry is sealed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Node,
    Passphrase,
    Nobody,
}

/// Who writes what comes to the node.
struct Writers<'a> {
    rng: StdRng,
    owner: &'a SigningKey,
    node: Origin,
    friend: SigningKey,
    /// Where the friend writes.
    friend_node: Origin,
    /// The key of the node to which entries are sealed.
    reader: EncryptionKey,
    data: HashMap<EntryId, (Vec<u8>, bool)>,
}

impl<'a> Writers<'a> {
    fn new(
        rng: StdRng,
        owner: &'a SigningKey,
        node: NodeKey,
        friend: SigningKey,
        friend_node: NodeKey,
        reader: EncryptionKey,
    ) -> Self {
        let (node, friend_node) = (node.origin(), friend_node.origin());
        Self { rng, owner, node, friend, friend_node, reader, data: HashMap::new() }
    }

    /// A header and what belongs to it, for whoever signs it.
    fn seal(&mut self, key: &SigningKey, origin: Origin, thing: &str, prev: &[&Entry], to: To) -> Entry {
        let seq = prev.iter().map(|entry| entry.header.seq).max().unwrap_or(0) + 1;
        let latest = prev.iter().map(|entry| entry.header.time.micros()).max().unwrap_or(THEN);
        let mut prev: Vec<EntryId> = prev.iter().map(|entry| entry.id()).collect();
        prev.sort_unstable();
        self.seal_as(key, origin, (thing, seq, latest + 1_000_000), prev, to)
    }

    fn seal_as(
        &mut self,
        key: &SigningKey,
        origin: Origin,
        (thing, seq, micros): (&str, u64, u64),
        prev: Vec<EntryId>,
        to: To,
    ) -> Entry {
        let cek = Cek::generate(&mut self.rng);
        let data = format!("{}", self.data.len());
        let body = Body::new("friend", "update", "application/json", data.as_bytes()).expect("a body");
        let sealed = payload::seal(Suite::Aes256Gcm, &cek, body).expect("a payload");
        let header = Header::new(Fields {
            suite: Suite::Aes256Gcm,
            thing: ThingId::new(thing).expect("a thing"),
            seq,
            time: time(micros),
            origin,
            actor: key.actor(),
            prev,
            data_hash: sealed.data_hash,
            payload_hash: sealed.payload_hash,
            payload_len: sealed.payload.len() as u32,
        });
        let header = header.expect("a header");
        let signature = Signature::Single(signature::sign_single(key, &header.to_bytes()));
        self.data.insert(header.id(), (data.into_bytes(), to != To::Nobody));
        let envelopes = self.envelopes(origin, &header.id(), &cek, to);
        Entry { header, signature, payload: Some(sealed.payload), envelopes }
    }

    fn envelopes(&mut self, origin: Origin, id: &EntryId, cek: &Cek, to: To) -> Vec<Envelope> {
        let kek = Kek::generate(&mut self.rng);
        let kdf = KdfParams::new(8, 1, 1).expect("the least that is allowed");
        let packet = match to {
            To::Nobody => return Vec::new(),
            To::Node => KekPacket::seal_x25519(&kek, origin, &self.reader, &mut self.rng),
            To::Passphrase => KekPacket::seal_passphrase(&kek, origin, ARCHIVE.as_bytes(), kdf, &mut self.rng),
        };
        let packet = packet.expect("a packet");
        vec![Envelope::new(origin, envelope::seal_cek(&kek, id, cek), vec![packet]).expect("an envelope")]
    }

    fn friend(&mut self, thing: &str, prev: &[&Entry], to: To) -> Entry {
        let key = SigningKey::from_seed(self.friend.seed());
        self.seal(&key, self.friend_node, thing, prev, to)
    }

    /// Puts one signature over entries that lie together.
    fn sign_together(&self, entries: &mut [Entry]) {
        let leaves: Vec<_> = entries.iter().map(|entry| merkle::leaf(&entry.id())).collect();
        let size = entries.len() as u32;
        let value = signature::sign_batch(&self.friend, size, &merkle::root(leaves.iter().copied()));
        for (index, entry) in (0..size).zip(entries) {
            let path = merkle::inclusion_proof(&leaves[..], index.into(), size.into()).expect("a path");
            entry.signature = Signature::Batch(BatchSignature { value, index, size, path });
        }
    }

    fn world(mut self, dir: TempDir) -> World {
        let x1 = self.friend("x", &[], To::Node);
        let x2 = self.friend("x", &[&x1], To::Node);
        let x3 = self.friend("x", &[&x2], To::Nobody);
        let y1 = self.friend("y", &[], To::Node);
        let (y2, y3) = (self.friend("y", &[&y1], To::Node), self.friend("y", &[&y1], To::Node));
        let base = vec![x1.clone(), x2.clone(), x3.clone(), y1.clone(), y2.clone(), y3.clone()];

        let x4 = self.friend("x", &[&x3], To::Node);
        let x5 = self.friend("x", &[&x4], To::Node);
        let fork = self.friend("x", &[&x3], To::Node);
        let joined = self.friend("y", &[&y2, &y3], To::Node);
        let p1 = self.friend("p", &[], To::Node);
        let p2 = self.friend("p", &[&p1], To::Node);
        let q1 = self.friend("q", &[], To::Node);
        let q2 = self.friend("q", &[&q1], To::Node);
        let mut batch = vec![p1, p2, q1.clone(), q2];
        self.sign_together(&mut batch);
        let own = self.seal(self.owner, self.node, "own", &[], To::Node);
        let archived = self.friend("archive", &[], To::Passphrase);
        let mut good = vec![x4.clone(), x5.clone(), fork, joined, own, archived.clone()];
        good.extend(batch.iter().cloned());

        let (key, node) =
            (SigningKey::generate(&mut self.rng), SigningKey::generate(&mut self.rng).node_key().origin());
        let friend = SigningKey::from_seed(self.friend.seed());
        let place = self.friend_node;
        let absent = EntryId([7; 32]);
        let mut bad = vec![
            // Nobody knows the actor, or the node, or either.
            self.seal(&key, node, "s", &[], To::Node),
            self.seal(&key, place, "s", &[], To::Node),
            self.seal(&friend, node, "s", &[], To::Node),
            // Links that do not follow.
            self.seal_as(&friend, place, ("x", 9, THEN + 9_000_000), vec![x3.id()], To::Node),
            self.seal_as(&friend, place, ("x", 4, THEN), vec![x3.id()], To::Node),
            self.seal_as(&friend, place, ("x", 4, 9 * THEN), vec![x3.id()], To::Node),
            self.seal_as(&friend, place, ("q", 4, THEN + 9_000_000), vec![x3.id()], To::Node),
            self.seal_as(&friend, place, ("x", 4, THEN + 9_000_000), vec![absent], To::Node),
        ];
        // What cannot be read, or lies about how.
        bad.push(Entry { payload: None, envelopes: Vec::new(), ..x4.clone() });
        bad.push(Entry { envelopes: Vec::new(), ..x5.clone() });
        let wrong = Cek::generate(&mut self.rng);
        let envelopes = self.envelopes(place, &x4.id(), &wrong, To::Node);
        bad.push(Entry { envelopes, ..x4.clone() });
        let envelopes = self.envelopes(place, &archived.id(), &wrong, To::Passphrase);
        bad.push(Entry { envelopes, ..archived });
        bad.push(Entry { signature: x5.signature, ..x4 });
        bad.push(Entry { signature: batch[1].signature.clone(), ..q1 });

        let mut header = Vec::new();
        StreamHeader::default().encode(&mut header);
        let mut trailer = Vec::new();
        let mut tree = merkle::Frontier::default();
        base.iter().for_each(|entry| tree.push(merkle::leaf(&entry.id())));
        Trailer { entries: tree.size(), root: tree.root(), digest: None, checkpoint: None }.encode(&mut trailer);
        let mut lines: Vec<Vec<u8>> = [&base, &good, &bad].into_iter().flatten().map(line_of).collect();
        lines.extend([header, trailer]);
        World { dir, base, good, lines, data: self.data }
    }
}
