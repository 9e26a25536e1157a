//! Keys over time: an actor takes another key, a key is revoked as of a place, and
//! whoever has a stolen key gains nothing by backdating, forking or going first.

use std::path::Path;
use std::sync::Arc;

use thingdb::format::key_log::{KeyLog, KeyState};
use thingdb::format::key_record::{self, ACTION, KeyRecord, LedgerState, MEDIA_TYPE, Successor, promise};
use thingdb::format::{
    Body, CardFields, Cek, DecryptionKey, Entry, Envelope, Fields, Header, Kek, KekPacket, Signature, SigningKey,
    Suite, envelope, payload, signature,
};
use thingdb::{
    AsOf, Card, Db, Draft, Erase, Error, ExportOptions, Hash, ImportOptions, ImportSummary, KdfChoice, NextKeyFile,
    Options, Passphrase, RefusalCode, RefusalKind, ThingId, Time, Verdict, VerifyOptions,
};
use thingdb_tests::stranger::{line_of, lines_of};

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery")
}

fn node(dir: &Path, name: &str) -> Db {
    Options::new().actor(name).kdf(KdfChoice::weakest()).create(dir.join(name), &passphrase()).unwrap()
}

fn introduce(a: (&Db, &str), b: (&Db, &str)) {
    a.0.add_peer(b.1, &b.0.card().unwrap()).unwrap();
    b.0.add_peer(a.1, &a.0.card().unwrap()).unwrap();
}

fn stream(db: &Db) -> Vec<u8> {
    let mut out = Vec::new();
    db.export(ExportOptions::new(), &mut out).unwrap();
    out
}

fn import(db: &Db, bytes: &[u8]) -> ImportSummary {
    db.import(ImportOptions::new(), bytes).unwrap()
}

fn codes(summary: &ImportSummary) -> Vec<RefusalCode> {
    summary.reasons.iter().map(|refusal| refusal.code).collect()
}

fn key(seed: u8) -> Arc<SigningKey> {
    Arc::new(SigningKey::from_seed(&[seed; 32]))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn is_good(db: &Db) -> bool {
    db.verify(VerifyOptions::new()).unwrap().is_ok()
}

#[test]
fn a_new_key_is_believed_where_the_old_one_was() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    let old = a.own_actors()[0].key;
    let (file, next) = NextKeyFile::generate(&old, &passphrase(), KdfChoice::weakest()).unwrap();
    a.introduce_actor("alice", Some(&next.actor())).unwrap();
    assert!(matches!(a.introduce_actor("alice", None), Err(Error::KeyLogThere { .. })));
    a.put("x", "1").unwrap();
    assert_eq!(import(&b, &stream(&a)).added, 2);

    // Today's key, and any other, is not the one that was promised.
    for thief in [&key(7), &key(8)] {
        assert!(matches!(a.rotate_actor("alice", thief, None), Err(Error::NotPromised { .. })));
    }
    a.rotate_actor("alice", &file.open(&passphrase()).unwrap(), Some(&key(9).actor())).unwrap();
    let new = a.own_actors()[0].key;
    assert_ne!(new, old);
    a.put("x", "2").unwrap();
    let summary = import(&b, &stream(&a));
    assert_eq!((summary.added, summary.refused), (2, 0), "{:?}", summary.reasons);
    for db in [&a, &b] {
        let record = db.get("x").unwrap().unwrap();
        assert_eq!((record.actor(), record.actor_name(), record.is_trusted()), (new, Some("alice"), true));
        let first = db.get_seq("x", 1).unwrap().remove(0);
        assert_eq!((first.actor(), first.is_trusted()), (old, true), "an old signature stays good");
        assert!(is_good(db), "{:?}", db.verify(VerifyOptions::new()).unwrap().problems);
        let log = db.key_log(&new).unwrap();
        assert_eq!(log.first, old);
        assert_eq!(log.keys.iter().map(|step| step.state).collect::<Vec<_>>(), [KeyState::Former, KeyState::Current]);
    }

    // The new card needs no ceremony: nobody is new on it, and nobody left out.
    let card = a.card().unwrap();
    assert_eq!(card.actors, [(new, "alice".to_owned())]);
    let seen = b.introduce("hall-1", &card).unwrap();
    assert_eq!((seen.actors.len(), seen.dropped.len(), seen.claims.len()), (0, 0, 0), "{seen:?}");
    b.add_peer("hall-1", &card).unwrap();
    assert_eq!(b.name_of(&new).as_deref(), Some("alice"));

    // It is all there after an opening, and a name and a withdrawal go with the actor.
    a.rename_actor(&new, "alicia").unwrap();
    a.close().unwrap();
    let a = Db::open(tmp.path().join("alice"), &passphrase()).unwrap();
    assert!(a.warnings().is_empty(), "{:?}", a.warnings());
    assert_eq!((a.own_actors()[0].key, a.get("x").unwrap().unwrap().actor_name()), (new, Some("alicia")));
    a.rotate_actor("alicia", &key(9), None).unwrap();
    assert!(matches!(a.rotate_actor("alicia", &key(9), None), Err(Error::NotPromised { .. })));
    assert!(a.untrust_actor(&a.own_actors()[0].key).unwrap());
    assert!(matches!(a.put("x", "3"), Err(Error::ActorWithdrawn { .. })));
}

#[test]
fn a_revoked_key_that_backdates_is_believed_nowhere() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b, relay) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"), node(tmp.path(), "relay"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    introduce((&a, "hall-1"), (&relay, "relay"));
    introduce((&relay, "relay"), (&b, "hall-2"));
    let old = a.own_actors()[0].key;
    a.introduce_actor("alice", Some(&key(11).actor())).unwrap();
    a.put("x", "1").unwrap();
    let old_card = a.card().unwrap();
    a.close().unwrap();
    copy(&tmp.path().join("alice"), &tmp.path().join("thief"));
    let a = Db::open(tmp.path().join("alice"), &passphrase()).unwrap();
    for db in [&b, &relay] {
        assert_eq!(import(db, &stream(&a)).added, 2);
    }

    // Somebody has the keyring, and a clock that he sets as he likes.
    let past = || 1_500_000_000_000_000;
    let thief = Options::new().clock(past).open(tmp.path().join("thief"), &passphrase()).unwrap();
    let theft = thief.put("y", r#""stolen""#).unwrap();
    assert_eq!(theft.time, Time::from_micros(past()).unwrap());
    // He cannot rotate, and a relay that knows of nothing takes what he wrote.
    assert!(matches!(thief.rotate_actor("alice", &key(66), None), Err(Error::NotPromised { .. })));
    assert_eq!(import(&relay, &stream(&thief)).added, 1);

    a.revoke_actor("alice", &key(11), &AsOf::Now, "the laptop was stolen", None, false).unwrap();
    let new = a.own_actors()[0].key;
    a.put("x", "2").unwrap();
    assert!(is_good(&a));
    for db in [&b, &relay] {
        let summary = import(db, &stream(&a));
        assert_eq!((summary.added, summary.refused), (2, 0), "{:?}", summary.reasons);
        let record = db.get("x").unwrap().unwrap();
        assert_eq!((record.actor(), record.is_trusted()), (new, true));
        assert!(db.get_seq("x", 1).unwrap()[0].is_trusted(), "it stands where it is good");
    }
    // Nothing of it comes in where the revocation is known, whoever brings it.
    for bytes in [stream(&thief), stream(&relay)] {
        let summary = import(&b, &bytes);
        assert_eq!(codes(&summary), [RefusalCode::RevokedKey]);
        assert_eq!((summary.kinds.trust, b.get("y").unwrap().is_none()), (1, true));
        let dry = a.import(ImportOptions::new().dry_run(true), &bytes[..]).unwrap();
        assert_eq!(codes(&dry), [RefusalCode::RevokedKey]);
    }
    // Where it is already, it is told, and nothing is deleted.
    let report = relay.verify(VerifyOptions::new()).unwrap();
    let told: Vec<Verdict> = report.problems.iter().map(|problem| problem.verdict).collect();
    assert_eq!(told, [Verdict::RevokedKey]);
    let record = relay.get("y").unwrap().unwrap();
    assert!(record.is_revoked() && !record.is_trusted() && record.actor_name() == Some("alice"));
    // An old card changes nothing.
    for db in [&b, &relay] {
        let seen = db.introduce("hall-1", &old_card).unwrap();
        assert!(seen.actors.iter().all(|(key, _)| *key == old), "{seen:?}");
        db.add_peer("hall-1", &old_card).unwrap();
        let is_absent = db.get("y").unwrap().is_none();
        assert_eq!(codes(&import(db, &stream(&thief))), vec![RefusalCode::RevokedKey; usize::from(is_absent)]);
    }
    // A node that holds the old key itself signs nothing more with it.
    let stolen = stream(&thief);
    thief.close().unwrap();
    let thief = Db::open(tmp.path().join("thief"), &passphrase()).unwrap();
    assert_eq!(import(&thief, &stream(&a)).refused, 0);
    let problem = thief.put("y", "2").unwrap_err();
    assert!(matches!(&problem, Error::KeyNotCurrent { state: KeyState::Revoked, .. }), "{problem}");
    assert!(thief.card().unwrap().actors.is_empty());
    // All of that stays so.
    relay.close().unwrap();
    let relay = Db::open(tmp.path().join("relay"), &passphrase()).unwrap();
    assert!(relay.get("y").unwrap().unwrap().is_revoked());
    assert_eq!(relay.key_log(&old).unwrap().keys[0].revocations[0].reason, "the laptop was stolen");
    // One who wants to see it all the same can.
    let all = ImportOptions::new().trust(thingdb::TrustPolicy::All);
    assert_eq!(b.import(all, &stolen[..]).unwrap().added, 1);
    assert!(b.get("y").unwrap().unwrap().is_revoked());
}

#[test]
fn as_of_an_older_place_what_came_since_is_told_too() {
    let tmp = tempfile::tempdir().unwrap();
    let a = node(tmp.path(), "alice");
    a.introduce_actor("alice", Some(&key(11).actor())).unwrap();
    a.put("x", "1").unwrap();
    let kept = a.checkpoint().unwrap();
    a.put("x", "2").unwrap();
    a.revoke_actor("alice", &key(11), &AsOf::Checkpoints(vec![kept]), "seen in a log", None, true).unwrap();
    let state = |seq| a.get_seq("x", seq).unwrap()[0].is_revoked();
    assert_eq!((state(1), state(2)), (false, true));
    let report = a.verify(VerifyOptions::new()).unwrap();
    assert_eq!(report.problems.iter().map(|one| one.verdict).collect::<Vec<_>>(), [Verdict::RevokedKey]);
    // It has ended: there is no key to sign with.
    assert!(matches!(a.put("x", "3"), Err(Error::KeyNotCurrent { .. })));
    assert!(matches!(a.rotate_actor("alice", &key(11), None), Err(Error::NotPromised { .. })));
}

/// A node that is no database, and its actor, whose keys are all at hand.
struct Forge {
    node: Arc<SigningKey>,
    first: Arc<SigningKey>,
}

impl Forge {
    fn new() -> Self {
        Self { node: key(101), first: key(102) }
    }

    fn known_to(&self, db: &Db) {
        let fields = CardFields {
            time: Time::from_micros(1).unwrap(),
            node_key: self.node.node_key(),
            encryption_key: DecryptionKey::from_bytes([3; 32]).encryption_key(),
            tls: None,
            name: String::new(),
            actors: vec![(self.first.actor(), "alice".into())],
        };
        db.add_peer("hall-1", &Card::sign(fields, &self.node).unwrap()).unwrap();
    }

    fn entry(&self, thing: &str, body: Body, signer: &SigningKey, prev: &[&Entry]) -> Entry {
        let cek = Cek::generate(&mut rand::rng());
        let sealed = payload::seal(Suite::Aes256Gcm, &cek, body).unwrap();
        let mut ids: Vec<_> = prev.iter().map(|prev| prev.id()).collect();
        ids.sort_unstable();
        let header = Header::new(Fields {
            suite: Suite::Aes256Gcm,
            thing: ThingId::new(thing).unwrap(),
            seq: 1 + prev.iter().map(|prev| prev.header.seq).max().unwrap_or(0),
            time: Time::from_micros(7 + prev.iter().map(|prev| prev.header.time.micros()).max().unwrap_or(0)).unwrap(),
            origin: self.node.node_key().origin(),
            actor: signer.actor(),
            prev: ids,
            data_hash: sealed.data_hash,
            payload_hash: sealed.payload_hash,
            payload_len: u32::try_from(sealed.payload.len()).unwrap(),
        })
        .unwrap();
        let signature = Signature::Single(signature::sign_single(signer, &header.to_bytes()));
        let kek = Kek::generate(&mut rand::rng());
        let cek = envelope::seal_cek(&kek, &header.id(), &cek);
        let envelope = Envelope::new(header.origin, cek, vec![KekPacket::public(&kek)]).unwrap();
        Entry { header, signature, payload: Some(sealed.payload), envelopes: vec![envelope] }
    }

    fn data(&self, thing: &str, data: &str, signer: &SigningKey, prev: &[&Entry]) -> Entry {
        self.entry(thing, Body::new("alice", "update", "application/json", data.as_bytes()).unwrap(), signer, prev)
    }

    fn log(&self) -> String {
        key_record::thing(&self.first.actor()).as_str().to_owned()
    }

    fn step(&self, record: &KeyRecord, signer: &SigningKey, prev: &[&Entry]) -> Entry {
        let body = Body::new("alice", ACTION, MEDIA_TYPE, record.to_json().as_bytes()).unwrap();
        self.entry(&self.log(), body, signer, prev)
    }

    fn introduced(&self, next: &SigningKey) -> Entry {
        let record = KeyRecord::introduced("alice", self.first.actor(), Some(promise(&next.actor()))).unwrap();
        self.step(&record, &self.first, &[])
    }

    fn rotated(&self, signer: &SigningKey, to: &SigningKey, prev: &Entry) -> Entry {
        let successor = Successor::new(to, &self.first.actor(), &signer.actor(), None);
        self.step(&KeyRecord::Rotated(successor), signer, &[prev])
    }
}

#[test]
fn only_the_promised_key_takes_a_step_whoever_brings_it() {
    let tmp = tempfile::tempdir().unwrap();
    let (db, forge) = (node(tmp.path(), "bob"), Forge::new());
    forge.known_to(&db);
    let start = forge.introduced(&key(11));
    // What comes before what it follows waits.
    let step = forge.rotated(&key(11), &key(12), &start);
    let by_new = forge.data("x", "1", &key(12), &[]);
    let summary = import(&db, &lines_of([&step, &by_new]));
    assert_eq!((summary.added, summary.pending, codes(&summary)), (0, 1, vec![RefusalCode::UnknownActor]));
    let digest = db.trust_digest();
    assert_eq!(import(&db, &line_of(&start)).added, 2);
    assert_ne!(db.trust_digest(), digest, "what was refused for trust is worth another try");
    assert_eq!(import(&db, &line_of(&by_new)).added, 1);
    assert!(db.get("x").unwrap().unwrap().is_trusted());

    // Everybody else, and everything else, is refused and leaves nothing behind.
    let mut stub = forge.rotated(&key(11), &key(13), &start);
    (stub.payload, stub.envelopes) = (None, vec![]);
    let mut sealed = forge.rotated(&key(11), &key(13), &start);
    sealed.envelopes.clear();
    let other = KeyRecord::introduced("alice", forge.first.actor(), None).unwrap();
    let other = Body::new("alice", ACTION, MEDIA_TYPE, other.to_json().as_bytes()).unwrap();
    let other_log = key_record::thing(&key(12).actor()).as_str().to_owned();
    for (what, wrong) in [
        ("today's key", forge.rotated(&forge.first, &key(13), &start)),
        ("the new key", forge.rotated(&key(12), &key(13), &step)),
        ("a key of nobody", forge.rotated(&key(14), &key(13), &step)),
        ("a stub", stub),
        ("a record that nobody can read", sealed),
        ("data in a key log", forge.data(&forge.log(), "1", &forge.first, &[&start])),
        ("an introduction in another log", forge.entry(&other_log, other, &forge.first, &[])),
        ("a reserved thing that is none", forge.data("thingdb:else", "1", &forge.first, &[])),
    ] {
        let summary = import(&db, &line_of(&wrong));
        assert_eq!(codes(&summary), [RefusalCode::Malformed], "{what}");
        assert_eq!(summary.reasons[0].code.kind(), RefusalKind::Permanent);
    }
    // A record in an ordinary thing is data like any other.
    let body = |entry: &Entry| KeyRecord::open(&entry.header, entry.payload.as_deref(), &entry.envelopes).unwrap();
    let replayed = Body::new("alice", ACTION, MEDIA_TYPE, body(&step).to_json().as_bytes()).unwrap();
    assert_eq!(import(&db, &line_of(&forge.entry("y", replayed, &forge.first, &[]))).added, 1);
    let log = db.key_log(&key(12).actor()).unwrap();
    assert_eq!((log.keys.len(), log.rivals.len(), log.trusted.as_deref()), (2, 0, Some("alice")));
    assert!(is_good(&db), "{:?}", db.verify(VerifyOptions::new()).unwrap().problems);
    // The thing is not for others.
    assert!(matches!(db.put(&forge.log(), "1"), Err(Error::ReservedThing { .. })));
    assert!(matches!(db.put("thingdb:else", "1"), Err(Error::ReservedThing { .. })));
    assert!(matches!(db.plan_erasure(&Erase::new(&forge.log(), "why")), Err(Error::ReservedThing { .. })));
}

#[test]
fn a_thief_who_forks_the_log_stops_the_key_and_brings_nobody_in() {
    let tmp = tempfile::tempdir().unwrap();
    let (db, forge) = (node(tmp.path(), "bob"), Forge::new());
    forge.known_to(&db);
    let (start, theirs) = (forge.introduced(&key(11)), forge.introduced(&key(66)));
    let before = forge.data("x", "1", &forge.first, &[]);
    assert_eq!(import(&db, &lines_of([&start, &before])).added, 2);
    assert_eq!(import(&db, &lines_of([&theirs, &forge.rotated(&key(66), &key(67), &theirs)])).added, 2);
    let log = db.key_log(&forge.first.actor()).unwrap();
    assert_eq!((log.keys.len(), log.keys[0].state, log.rivals.len()), (1, KeyState::Contested, 1));
    // What was there stays good. Nothing new of the key is, and nobody takes its place.
    assert!(db.get("x").unwrap().unwrap().is_trusted());
    let after = forge.data("x", "2", &forge.first, &[&before]);
    assert_eq!(codes(&import(&db, &line_of(&after))), [RefusalCode::RevokedKey]);
    let theft = forge.data("z", "1", &key(67), &[]);
    assert_eq!(codes(&import(&db, &line_of(&theft))), [RefusalCode::UnknownActor]);
    // The owner goes on, and a person says whether it is he.
    assert_eq!(import(&db, &line_of(&forge.rotated(&key(11), &key(12), &start))).added, 1);
    let own = forge.data("z", "2", &key(12), &[]);
    assert_eq!(codes(&import(&db, &line_of(&own))), [RefusalCode::UnknownActor]);
    db.trust_actor("alice again", key(12).actor()).unwrap();
    assert_eq!(import(&db, &line_of(&own)).added, 1);
    assert!(is_good(&db), "{:?}", db.verify(VerifyOptions::new()).unwrap().problems);
}

#[test]
fn a_fork_after_a_step_changes_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let (db, forge) = (node(tmp.path(), "bob"), Forge::new());
    forge.known_to(&db);
    let start = forge.introduced(&key(11));
    let lines = [start.clone(), forge.rotated(&key(11), &key(12), &start), forge.introduced(&key(66))];
    assert_eq!(import(&db, &lines_of(&lines)).added, 3);
    let log = db.key_log(&key(12).actor()).unwrap();
    let states: Vec<KeyState> = log.keys.iter().map(|step| step.state).collect();
    assert_eq!((states, log.rivals.len()), (vec![KeyState::Former, KeyState::Current], 1));
    assert_eq!(import(&db, &line_of(&forge.data("x", "1", &key(12), &[]))).added, 1);
}

#[test]
fn the_successor_erases_what_the_key_before_it_wrote_and_a_revoked_key_erases_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    a.introduce_actor("alice", Some(&key(11).actor())).unwrap();
    a.put("x", r#""old""#).unwrap();
    a.put("y", r#""kept""#).unwrap();
    a.close().unwrap();
    copy(&tmp.path().join("alice"), &tmp.path().join("thief"));
    let a = Db::open(tmp.path().join("alice"), &passphrase()).unwrap();
    import(&b, &stream(&a));
    a.revoke_actor("alice", &key(11), &AsOf::Now, "stolen", None, false).unwrap();
    // The card of then does not list the new key: the log does.
    a.erase(&a.plan_erasure(&Erase::new("x", "asked for")).unwrap()).unwrap();
    assert_eq!(import(&b, &stream(&a)).refused, 0);
    assert!(matches!(b.get_seq("x", 1).unwrap()[0].content(), thingdb::Content::Erased { .. }));
    // A thief erases with the revoked key.
    let thief = Db::open(tmp.path().join("thief"), &passphrase()).unwrap();
    thief.erase(&thief.plan_erasure(&Erase::new("y", "gone")).unwrap()).unwrap();
    assert_eq!(codes(&import(&b, &stream(&thief))), [RefusalCode::RevokedKey]);
    let all = ImportOptions::new().trust(thingdb::TrustPolicy::All);
    assert_eq!(b.import(all, &stream(&thief)[..]).unwrap().added, 1);
    assert!(!matches!(b.get_seq("y", 1).unwrap()[0].content(), thingdb::Content::Erased { .. }));
    assert!(b.erasures(Some("y")).unwrap().next().unwrap().unwrap().is_refused());
}

#[test]
fn a_state_that_names_another_ledger_of_the_size_does_not_count() {
    let tmp = tempfile::tempdir().unwrap();
    let (db, forge) = (node(tmp.path(), "bob"), Forge::new());
    forge.known_to(&db);
    let (start, data) = (forge.introduced(&key(11)), forge.data("x", "1", &forge.first, &[]));
    assert_eq!(import(&db, &lines_of([&start, &data])).added, 2);
    let state = LedgerState { origin: db.origin(), size: 2, root: Hash([7; 32]) };
    let record = KeyRecord::revoked(forge.first.actor(), vec![state], "stolen", None).unwrap();
    let revoked = forge.step(&record, &key(11), &[&start]);
    assert_eq!(import(&db, &line_of(&revoked)).added, 1);
    assert!(db.get("x").unwrap().unwrap().is_revoked());
    // Both in one stream, and the entry behind the revocation.
    let other = node(tmp.path(), "carol");
    forge.known_to(&other);
    let summary = import(&other, &lines_of([&start, &revoked, &data]));
    assert_eq!((summary.added, codes(&summary)), (2, vec![RefusalCode::RevokedKey]));
    let records = [&start, &revoked].map(|entry| thingdb::format::key_log::LoggedRecord {
        id: entry.id(),
        signer: entry.header.actor,
        prev: entry.header.prev.clone(),
        record: KeyRecord::open(&entry.header, entry.payload.as_deref(), &entry.envelopes).unwrap(),
    });
    let log = KeyLog::resolve(&forge.first.actor(), &records).unwrap();
    assert_eq!(log.state(&forge.first.actor()), Some(KeyState::Revoked));
}

#[test]
fn a_draft_cannot_look_like_a_step() {
    let tmp = tempfile::tempdir().unwrap();
    let db = node(tmp.path(), "alice");
    let first = db.own_actors()[0].key;
    let record = KeyRecord::introduced("alice", first, None).unwrap();
    let draft = Draft::bytes(key_record::thing(&first).as_str(), MEDIA_TYPE, record.to_json()).unwrap().action(ACTION);
    assert!(matches!(db.write(draft), Err(Error::ReservedThing { .. })));
    assert!(db.key_logs().is_empty());
}
