//! Doubts about what is promised, each one as small as it goes: unsigned
//! envelopes, cards that say odd things, trust that was withdrawn, a thing
//! verified against a checkpoint.

use std::path::Path;

use thingdb::format::{Actor, Card, CardFields, Entry, Envelope, Kek, KekPacket, Line, SigningKey, Time, envelope};
use thingdb::{
    Db, ExportOptions, ImportOptions, KdfChoice, KdfParams, Options, Passphrase, TrustPolicy, Verdict, VerifyOptions,
};
use thingdb_tests::database::{self, relaxed, scratch};
use thingdb_tests::rows::Rows;
use thingdb_tests::stranger::{Plan, Stranger, line_of, lines_of, random_id};

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery")
}

fn node(dir: &Path, name: &str) -> Db {
    Options::new().actor(name).kdf(KdfChoice::weakest()).reserve_bytes(0).create(dir.join(name), &passphrase()).unwrap()
}

fn stream(db: &Db) -> Vec<u8> {
    let mut out = Vec::new();
    db.export(ExportOptions::new(), &mut out).unwrap();
    out
}

/// The entries of a stream.
fn entries(stream: &[u8]) -> Vec<Entry> {
    let lines = stream.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| match Line::parse(line, 1).unwrap() {
            Line::Entry(entry) => Some(*entry),
            _ => None,
        })
        .collect()
}

/// An envelope that names `to` and opens nothing.
fn junk(to: &Db) -> Envelope {
    let mut rng = rand::rng();
    let from = SigningKey::generate(&mut rng).node_key().origin();
    let (kek, other) = (Kek::generate(&mut rng), Kek::generate(&mut rng));
    let packet = KekPacket::seal_x25519(&kek, from, &to.card().unwrap().encryption_key, &mut rng).unwrap();
    let id = random_id();
    let cek = thingdb::format::Cek::generate(&mut rng);
    Envelope::new(from, envelope::seal_cek(&other, &id, &cek), vec![packet]).unwrap()
}

/// A card of `key` with these actors.
fn card(key: &SigningKey, time: u64, actors: &[(Actor, &str)]) -> Card {
    let mut actors: Vec<(Actor, String)> = actors.iter().map(|(key, name)| (*key, (*name).to_owned())).collect();
    actors.sort();
    let encryption_key = thingdb::format::DecryptionKey::generate(&mut rand::rng()).encryption_key();
    let fields = CardFields {
        time: Time::from_micros(time).unwrap(),
        node_key: key.node_key(),
        encryption_key,
        tls: None,
        name: String::new(),
        actors,
    };
    Card::sign(fields, key).unwrap()
}

fn introduce(a: (&Db, &str), b: (&Db, &str)) {
    a.0.add_peer(b.1, &b.0.card().unwrap()).unwrap();
    b.0.add_peer(a.1, &a.0.card().unwrap()).unwrap();
}

/// Envelopes are not signed: whoever carries an entry can add one.
#[test]
fn a_bad_envelope_denies_nobody_the_entry() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    a.put("x", "1").unwrap();
    a.put("x", "2").unwrap();
    let mut lines = entries(&stream(&a));
    lines[0].envelopes.push(junk(&b));
    let summary = b.import(ImportOptions::new(), &lines_of(&lines)[..]).unwrap();
    assert_eq!((summary.added, summary.refused, summary.pending), (2, 0, 0), "{:?}", summary.reasons);
    assert!(b.verify(VerifyOptions::new()).unwrap().is_ok());
    // The good one can still come, and the bad one was not kept.
    a.share("x", &["hall-2".into()], 1).unwrap();
    let summary = b.import(ImportOptions::new(), &stream(&a)[..]).unwrap();
    assert_eq!(summary.completed, 2);
    assert_eq!(b.get("x").unwrap().unwrap().data(), Some(&b"2"[..]));
    assert_eq!(b.get_seq("x", 1).unwrap()[0].data(), Some(&b"1"[..]));
}

/// An entry has room for eight envelopes. What others put there must not keep
/// out this node's own, or an archive lacks what it is made for.
#[test]
fn a_full_entry_still_goes_into_an_archive_and_opens_at_home() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    a.put("x", "1").unwrap();
    let mut line = entries(&stream(&a)).remove(0);
    line.envelopes = (0..8).map(|_| junk(&b)).collect();
    line.payload = None;
    let summary = a.import(ImportOptions::new(), &line_of(&line)[..]).unwrap();
    assert_eq!(summary.completed, 1);

    let archive_passphrase = Passphrase::new("for the archive only");
    let kdf = KdfParams::new(8, 1, 1).unwrap();
    let mut archive = Vec::new();
    a.export(ExportOptions::new().passphrase(&archive_passphrase, kdf), &mut archive).unwrap();
    let c = node(tmp.path(), "carol");
    let options = ImportOptions::new().trust(TrustPolicy::All).passphrase(&archive_passphrase);
    assert_eq!(c.import(options, &archive[..]).unwrap().added, 1);
    assert_eq!(c.get("x").unwrap().unwrap().data(), Some(&b"1"[..]));
    let own = a.card().unwrap().encryption_key.recipient_id().to_string();
    assert!(String::from_utf8(stream(&a)).unwrap().contains(&own), "this node can open what it exports");
}

/// Sharing says what it did: that nothing was added is not "shared: 0".
#[test]
fn sharing_finds_room_among_envelopes_of_others() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    a.put("x", "1").unwrap();
    let stranger = node(tmp.path(), "stranger");
    let mut line = entries(&stream(&a)).remove(0);
    line.envelopes = (0..8).map(|_| junk(&stranger)).collect();
    line.payload = None;
    a.import(ImportOptions::new(), &line_of(&line)[..]).unwrap();
    let summary = a.share("x", &["hall-2".into()], 1).unwrap();
    assert_eq!(summary.shared, 1);
    b.import(ImportOptions::new(), &stream(&a)[..]).unwrap();
    assert_eq!(b.get("x").unwrap().unwrap().data(), Some(&b"1"[..]));
}

/// An envelope that only says to be for a peer does not keep it from getting
/// one that is.
#[test]
fn an_envelope_of_another_does_not_count_as_shared() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    a.put("x", "1").unwrap();
    let mut line = entries(&stream(&a)).remove(0);
    line.envelopes = vec![junk(&b)];
    line.payload = None;
    a.import(ImportOptions::new(), &line_of(&line)[..]).unwrap();
    assert_eq!(a.share("x", &["hall-2".into()], 1).unwrap().shared, 1);
    assert_eq!(a.share("x", &["hall-2".into()], 1).unwrap().known, 1);
    b.import(ImportOptions::new(), &stream(&a)[..]).unwrap();
    assert_eq!(b.get("x").unwrap().unwrap().data(), Some(&b"1"[..]));
}

/// A card is taken whole or not at all, whatever names its actors claim.
#[test]
fn a_card_whose_actors_share_a_name_is_taken_whole() {
    let tmp = tempfile::tempdir().unwrap();
    let a = node(tmp.path(), "alice");
    let mut rng = rand::rng();
    let (one, other) = (SigningKey::generate(&mut rng), SigningKey::generate(&mut rng));
    let long = "n".repeat(128);
    let third = SigningKey::generate(&mut rng);
    a.trust_actor(&long, SigningKey::generate(&mut rng).actor()).unwrap();
    let key = SigningKey::generate(&mut rng);
    let card = card(&key, 1, &[(one.actor(), "x"), (other.actor(), "x"), (third.actor(), &long)]);
    let introduction = a.add_peer("odd", &card).unwrap();
    let names: std::collections::HashSet<&String> = introduction.actors.iter().map(|(_, name)| name).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(a.peers().unwrap().len(), 1);
    a.remove_peer("odd").unwrap();
    assert_eq!(a.trusted_actors().len(), 2);
}

/// Trust that a person has withdrawn does not come back with the peer's next
/// card.
#[test]
fn a_newer_card_does_not_undo_a_withdrawal() {
    let tmp = tempfile::tempdir().unwrap();
    let a = node(tmp.path(), "alice");
    let mut rng = rand::rng();
    let (key, mallory) = (SigningKey::generate(&mut rng), SigningKey::generate(&mut rng));
    a.add_peer("hall", &card(&key, 1, &[(mallory.actor(), "mallory")])).unwrap();
    assert!(a.untrust_actor(&mallory.actor()).unwrap());
    let introduction = a.add_peer("hall", &card(&key, 2, &[(mallory.actor(), "mallory")])).unwrap();
    assert_eq!(introduction.actors, []);
    assert_eq!(a.trusted_actors().len(), 1);
    // Who removes the peer and adds it again decides anew.
    a.remove_peer("hall").unwrap();
    a.add_peer("hall", &card(&key, 3, &[(mallory.actor(), "mallory")])).unwrap();
    assert_eq!(a.trusted_actors().len(), 2);
}

/// A peer that goes does not take an actor along whom another peer vouches for.
#[test]
fn an_actor_of_two_peers_stays_until_the_last_one_goes() {
    let tmp = tempfile::tempdir().unwrap();
    let a = node(tmp.path(), "alice");
    let mut rng = rand::rng();
    let (one, other) = (SigningKey::generate(&mut rng), SigningKey::generate(&mut rng));
    let bob = SigningKey::generate(&mut rng).actor();
    a.add_peer("one", &card(&one, 1, &[(bob, "bob")])).unwrap();
    a.add_peer("other", &card(&other, 1, &[(bob, "bob")])).unwrap();
    a.remove_peer("one").unwrap();
    assert_eq!(a.trusted_actors().len(), 2, "the other peer still has it on its card");
    a.remove_peer("other").unwrap();
    assert_eq!(a.trusted_actors().len(), 1);
}

/// Nothing new is accepted from a peer that was removed, also not what came
/// before and waited.
#[test]
fn what_waits_is_not_let_in_after_its_peer_was_removed() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b, c) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"), node(tmp.path(), "carol"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    introduce((&a, "hall-1"), (&c, "hall-3"));
    b.add_peer("hall-3", &c.card().unwrap()).unwrap();
    let first = a.put("x", "1").unwrap();
    c.import(ImportOptions::new(), &stream(&a)[..]).unwrap();
    c.put("x", "2").unwrap();
    let lines = entries(&stream(&c));
    assert_eq!(b.import(ImportOptions::new(), &line_of(&lines[1])[..]).unwrap().pending, 1);
    b.remove_peer("hall-3").unwrap();
    assert_eq!(b.import(ImportOptions::new(), &stream(&a)[..]).unwrap().added, 1);
    assert_eq!(b.heads("x").unwrap()[0].id, first.id);
    assert!(b.verify(VerifyOptions::new()).unwrap().is_ok());
}

/// A checkpoint that is given is compared, whatever is verified.
#[test]
fn one_thing_is_verified_against_a_checkpoint_too() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("alice");
    let a = node(tmp.path(), "alice");
    for n in 0..300 {
        a.put(&format!("t{}", n % 3), &n.to_string()).unwrap();
    }
    let early = a.checkpoint().unwrap().to_string();
    a.put("t0", "1000").unwrap();
    let report = a.verify(VerifyOptions::new().thing("t0").checkpoint(&early)).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
    a.close().unwrap();
    database::copy_directory(&dir, &tmp.path().join("set-back"));
    let a = Db::open(&dir, &passphrase()).unwrap();
    a.put("t1", "1001").unwrap();
    let late = a.checkpoint().unwrap().to_string();
    a.close().unwrap();
    let set_back = Db::open(tmp.path().join("set-back"), &passphrase()).unwrap();
    let report = set_back.verify(VerifyOptions::new().thing("t0").checkpoint(&late)).unwrap();
    assert!(report.problems.iter().any(|problem| problem.verdict == Verdict::Truncated), "{report:?}");
    set_back.put("t0", "2000").unwrap();
    let report = set_back.verify(VerifyOptions::new().thing("t0").checkpoint(&late)).unwrap();
    assert!(report.problems.iter().any(|problem| problem.verdict == Verdict::RolledBack), "{report:?}");
}

/// A dry run tells what the import would do.
#[test]
fn a_dry_run_does_not_follow_a_prev_in_another_thing() {
    let tmp = tempfile::tempdir().unwrap();
    let a = node(tmp.path(), "alice");
    let mallory = Stranger::new("mallory");
    let first = mallory.entry(&Plan::first("x", 1_700_000_000_000_000, "1"));
    let second = mallory.entry(&Plan { thing: "y".into(), ..Plan::after(&first, "2") });
    let lines = lines_of([&first, &second]);
    let all = || ImportOptions::new().trust(TrustPolicy::All);
    let dry = a.import(all().dry_run(true), &lines[..]).unwrap();
    let real = a.import(all(), &lines[..]).unwrap();
    assert_eq!((dry.added, dry.pending), (real.added, real.pending));
}

/// What the index still lists tells that the ledger was cut, also without a
/// checkpoint; a new node key is the way on.
#[test]
fn a_cut_tail_shows_in_verification_until_the_node_goes_on_under_a_new_key() {
    let tmp = scratch();
    let dir = tmp.path().join("db");
    let db = relaxed().create(&dir, &database::passphrase()).unwrap();
    for n in 0..50 {
        db.put(&format!("t{}", n % 3), &n.to_string()).unwrap();
    }
    db.close().unwrap();
    Rows::edit(&dir, |rows| {
        let (last, _) = rows.all(b"L").pop().unwrap();
        rows.delete(&last);
    });
    std::fs::remove_file(dir.join("checkpoint")).unwrap();
    let db = relaxed().open(&dir, &database::passphrase()).unwrap();
    assert!(db.put("t0", "50").is_err());
    let report = db.verify(VerifyOptions::new()).unwrap();
    assert!(report.problems.iter().any(|problem| problem.verdict == Verdict::BadIndex), "{report:?}");
    db.new_node_key().unwrap();
    let db = relaxed().open(&dir, &database::passphrase()).unwrap();
    assert_eq!(db.warnings(), []);
    db.put("t0", "50").unwrap();
    assert!(db.verify(VerifyOptions::new()).unwrap().is_ok());
}
