//! Doubts about what is promised, each one as small as it goes: unsigned
//! envelopes, cards that say odd things, trust that was withdrawn, a thing
//! verified against a checkpoint.

use std::path::Path;

use thingdb::format::{
    Actor, Card, CardFields, Entry, Envelope, Kek, KekPacket, Line, Recipients, SigningKey, Time, envelope,
};
use thingdb::trust::How;
use thingdb::{
    Db, Draft, Error, ExportOptions, ImportOptions, KdfChoice, KdfParams, Options, Passphrase, TrustPolicy, Verdict,
    VerifyOptions, Warning,
};
use thingdb_tests::database::{self, relaxed, scratch};
use thingdb_tests::rows::{Rows, block_key, tile_key};
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
    // Nor does who removes the peer and adds it again: that says nothing of the
    // key.
    a.remove_peer("hall").unwrap();
    a.add_peer("hall", &card(&key, 3, &[(mallory.actor(), "mallory")])).unwrap();
    assert_eq!(a.trusted_actors().len(), 1);
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
    assert_eq!((dry.added, dry.pending, dry.refused), (real.added, real.pending, real.refused));
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

/// Loses the block of a position, and with it the ids that the tree kept of it.
fn lose(dir: &Path, position: u64) {
    Rows::edit(dir, |rows| {
        rows.delete(&block_key(rows.block_of(position).0));
        rows.delete(&tile_key(0, position / 128));
    });
}

/// Whoever opens the database finds it read-only because of ids that are lost,
/// and leaves no checkpoint behind.
fn assert_signs_nothing(dir: &Path, options: &Options) {
    let before = std::fs::read(dir.join("checkpoint")).ok();
    let db = options.open(dir, &database::passphrase()).unwrap();
    assert!(db.warnings().iter().any(|warning| matches!(warning, Warning::Damaged(_))), "{:?}", db.warnings());
    assert!(db.put("t0", "1").unwrap_err().is_damaged());
    assert!(db.checkpoint().unwrap_err().is_damaged());
    assert_eq!(database::text(&db.get("t0").unwrap().unwrap()).len(), 4, "reading goes on");
    let report = database::verify(&db);
    assert!(report.problems.iter().any(|problem| problem.verdict == Verdict::Unreadable), "{report:?}");
    db.close().unwrap();
    assert_eq!(std::fs::read(dir.join("checkpoint")).ok(), before);
}

/// A block, its ids in the tree and the checkpoint, lost together: what the tree
/// has in their place is nothing that a node may sign, at no opening, until its
/// key is one that has not signed for them.
#[test]
fn no_checkpoint_is_signed_over_ids_that_are_lost() {
    let tmp = scratch();
    let dir = tmp.path().join("db");
    let db = relaxed().create(&dir, &database::passphrase()).unwrap();
    for n in 0..300 {
        db.put(&format!("t{}", n % 3), &(n + 1000).to_string()).unwrap();
    }
    db.close().unwrap();
    lose(&dir, 150);
    std::fs::remove_file(dir.join("checkpoint")).unwrap();
    for options in [relaxed(), relaxed(), relaxed().rebuild(true), relaxed()] {
        assert_signs_nothing(&dir, &options);
    }
    relaxed().open(&dir, &database::passphrase()).unwrap().new_node_key().unwrap();
    // The new key takes the ledger for what it is, and says so each time.
    for options in [relaxed(), relaxed().rebuild(true), relaxed()] {
        let db = options.open(&dir, &database::passphrase()).unwrap();
        db.put("t0", "2000").unwrap();
        let note = db.checkpoint().unwrap().to_string();
        let report = db.verify(VerifyOptions::new().checkpoint(&note)).unwrap();
        let told = |verdict| report.problems.iter().any(|problem| problem.verdict == verdict);
        assert!(told(Verdict::Unreadable), "{report:?}");
        assert!(![Verdict::RolledBack, Verdict::Truncated, Verdict::BadIndex].into_iter().any(told), "{report:?}");
        db.close().unwrap();
    }
    // Another loss is a loss under the new key.
    lose(&dir, 30);
    std::fs::remove_file(dir.join("checkpoint")).unwrap();
    (0..2).for_each(|_| assert_signs_nothing(&dir, &relaxed()));
}

/// The same in a part of the tree that is not read at opening, found because an
/// old checkpoint is held against it: that its root agrees does not make up for
/// the ids behind it.
#[test]
fn an_old_checkpoint_that_agrees_does_not_hide_lost_ids() {
    let tmp = scratch();
    let dir = tmp.path().join("db");
    let db = relaxed().create(&dir, &database::passphrase()).unwrap();
    let batch = |count: u64| {
        let draft = |n: u64| Draft::json(&format!("t{}", n % 3), (n + 1000).to_string()).unwrap();
        db.write_batch((0..count).map(draft).collect()).unwrap();
    };
    batch(200);
    let early = db.checkpoint().unwrap().to_string();
    (0..17).for_each(|_| batch(1000));
    db.close().unwrap();
    std::fs::write(dir.join("checkpoint"), early).unwrap();
    let first = Rows::edit(&dir, |rows| {
        let blocks = rows.all(b"L").into_iter().map(|(key, _)| u64::from_be_bytes(key[1..].try_into().unwrap()));
        blocks.into_iter().find(|first| *first > 200).unwrap()
    });
    assert!(first < 256);
    lose(&dir, first);
    (0..2).for_each(|_| assert_signs_nothing(&dir, &relaxed()));
}

/// A crash between the steps of a change of the node's keys.
#[test]
fn a_change_of_the_node_key_that_was_broken_off_can_be_gone_on_from() {
    let tmp = scratch();
    let [before, after] = ["before", "after"].map(|name| tmp.path().join(name));
    let open = |dir: &Path| relaxed().open(dir, &database::passphrase()).unwrap();
    let db = relaxed().create(&before, &database::passphrase()).unwrap();
    (0..50).for_each(|n| drop(db.put("x", &n.to_string()).unwrap()));
    let old = db.node_key();
    db.close().unwrap();
    database::copy_directory(&before, &after);
    let new = open(&after).new_node_key().unwrap();
    assert_ne!(new, old);
    let former = |dir: &Path| {
        let notes = (1..5).filter_map(|n| std::fs::read(dir.join(format!("checkpoint.former-{n}"))).ok());
        notes.collect::<Vec<_>>()
    };
    let kept = std::fs::read(before.join("checkpoint")).unwrap();
    assert_eq!(former(&after), std::slice::from_ref(&kept));
    let stage = |name: &str, files: &[&str]| {
        let dir = tmp.path().join(name);
        database::copy_directory(&before, &dir);
        for file in files {
            std::fs::copy(after.join(file), dir.join(file)).unwrap();
        }
        dir
    };

    // Before the keys were changed: as if nothing had been.
    let dir = stage("copy", &["checkpoint.former-1"]);
    let db = open(&dir);
    assert_eq!((db.node_key(), db.warnings()), (old, vec![]));
    db.new_node_key().unwrap();
    assert_eq!(former(&dir), std::slice::from_ref(&kept), "it is kept once");

    // Afterwards, before anything was signed with the new key.
    let dir = stage("keys", &["checkpoint.former-1", "keyring", "keyring.copy"]);
    let db = open(&dir);
    assert_eq!(db.node_key(), new);
    assert!(matches!(&db.warnings()[..], [Warning::Checkpoint(text)] if text.contains("broken off")), "{db:?}");
    assert!(database::verify(&db).is_ok());
    assert!(db.last_checkpoint().unwrap().is_none());
    db.put("x", "50").unwrap();
    db.close().unwrap();
    let db = open(&dir);
    assert_eq!(db.warnings(), []);
    assert_eq!(db.last_checkpoint().unwrap().unwrap().claimed().size, 51);
    assert_eq!(database::assert_intact(&db).entries, 51);
    assert_eq!(former(&dir), std::slice::from_ref(&kept));

    // The same where the keys were changed because the ledger was cut: it can
    // be repeated, and only then the cut is taken for what is.
    let dir = stage("cut", &["checkpoint.former-1", "keyring", "keyring.copy"]);
    Rows::edit(&dir, |rows| rows.delete(&rows.all(b"L").pop().unwrap().0));
    for _ in 0..2 {
        let db = open(&dir);
        assert!(db.put("x", "50").is_err());
        assert!(db.warnings().iter().any(|warning| warning.to_string().contains("truncated")), "{:?}", db.warnings());
    }
    open(&dir).new_node_key().unwrap();
    let db = open(&dir);
    assert_eq!(db.warnings(), []);
    db.put("x", "50").unwrap();
    database::assert_intact(&db);
    assert_eq!(former(&dir), [kept]);
}

/// A node that cannot write any more keeps its keys: they are not changed by
/// half.
#[test]
fn the_keys_stay_where_nothing_can_be_written() {
    let tmp = scratch();
    let dir = tmp.path().join("db");
    database::options().create(&dir, &database::passphrase()).unwrap().close().unwrap();
    let db = Options::fail_sync_at(database::options(), 1).open(&dir, &database::passphrase()).unwrap();
    let key = db.node_key();
    assert!(db.put("x", "1").unwrap_err().is_read_only());
    assert!(db.new_node_key().unwrap_err().is_read_only());
    let db = relaxed().open(&dir, &database::passphrase()).unwrap();
    assert_eq!(db.node_key(), key);
}

/// A card that is older than the one that is known says so, and changes nothing.
#[test]
fn an_older_card_is_told_and_changes_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let a = node(tmp.path(), "alice");
    let mut rng = rand::rng();
    let (key, bob, eve) =
        (SigningKey::generate(&mut rng), SigningKey::generate(&mut rng), SigningKey::generate(&mut rng));
    let newer = card(&key, 2, &[(bob.actor(), "bob")]);
    let older = card(&key, 1, &[(bob.actor(), "bob"), (eve.actor(), "eve")]);
    let first = a.add_peer("hall", &newer).unwrap();
    assert_eq!((first.known, first.outdated), (false, false));
    let introduction = a.add_peer("hall", &older).unwrap();
    assert_eq!((introduction.known, introduction.outdated), (true, true));
    assert_eq!((&introduction.actors[..], &introduction.dropped[..]), (&[][..], &[][..]));
    assert_eq!(a.peer("hall").unwrap().card, newer);
    assert_eq!(a.trusted_actors().len(), 2);
    // The same once more is not outdated.
    assert!(!a.add_peer("hall", &newer).unwrap().outdated);
}

/// Who is not on the newer card stays trusted, and is told.
#[test]
fn actors_that_left_a_card_are_told_and_stay_trusted() {
    let tmp = tempfile::tempdir().unwrap();
    let a = node(tmp.path(), "alice");
    let mut rng = rand::rng();
    let [key, bob, eve, zoe] = [0; 4].map(|_| SigningKey::generate(&mut rng));
    let all = [(bob.actor(), "bob"), (eve.actor(), "eve"), (zoe.actor(), "zoe")];
    a.add_peer("hall", &card(&key, 1, &all)).unwrap();
    a.untrust_actor(&zoe.actor()).unwrap();
    let introduction = a.add_peer("hall", &card(&key, 2, &[(bob.actor(), "bob")])).unwrap();
    assert_eq!(introduction.dropped, [(eve.actor(), "eve".to_owned())]);
    assert!(a.trusted_actors().iter().any(|actor| actor.key == eve.actor()));
    assert_eq!(a.add_peer("hall", &card(&key, 3, &[])).unwrap().dropped, [(bob.actor(), "bob".to_owned())]);
    assert_eq!(a.add_peer("hall", &card(&key, 4, &[])).unwrap().dropped, []);
}

/// A card proves nothing of its actors' keys: it may list whom it likes. Whom
/// this node knows otherwise is told, and keeps the name that it has.
#[test]
fn a_card_that_lists_keys_of_others_is_told_and_renames_nobody() {
    let tmp = tempfile::tempdir().unwrap();
    let a = node(tmp.path(), "alice");
    let mut rng = rand::rng();
    let [hall, mallory, bob, carol] = [0; 4].map(|_| SigningKey::generate(&mut rng));
    let own = a.own_actors()[0].key;
    a.add_peer("hall", &card(&hall, 1, &[(bob.actor(), "bob")])).unwrap();
    a.trust_actor("carol of the lab", carol.actor()).unwrap();
    a.untrust_actor(&carol.actor()).unwrap();
    let claimed = card(&mallory, 1, &[(bob.actor(), "mallory"), (carol.actor(), "mallory 2"), (own, "alice")]);
    let introduction = a.introduce("m", &claimed).unwrap();
    let told: Vec<_> = introduction.claims.iter().map(|claim| (claim.key, &*claim.claimed, &*claim.known)).collect();
    let mut expected =
        [(bob.actor(), "mallory", "bob"), (carol.actor(), "mallory 2", "carol of the lab"), (own, "alice", "alice")];
    expected.sort();
    assert_eq!(told, expected);
    assert!(introduction.claims.iter().all(|claim| claim.withdrawn == (claim.key == carol.actor())));
    assert!(introduction.claims.iter().all(|claim| (claim.how == How::Own) == (claim.key == own)));
    assert_eq!(a.add_peer("m", &claimed).unwrap(), introduction);
    let name = |key: Actor| a.trusted_actors().into_iter().find(|actor| actor.key == key).map(|actor| actor.name);
    assert_eq!((name(bob.actor()).as_deref(), name(own).as_deref()), (Some("bob"), Some("alice")));
    // What was told once is not told with each newer card.
    let newer = card(&mallory, 2, &[(bob.actor(), "mallory"), (own, "alice")]);
    assert_eq!(a.add_peer("m", &newer).unwrap().claims, []);
    // The peer goes, and takes nobody along who is not its own.
    a.remove_peer("m").unwrap();
    assert_eq!((name(bob.actor()).as_deref(), name(own).as_deref()), (Some("bob"), Some("alice")));

    // Who signs here goes by no other name.
    let lie = card(&mallory, 3, &[(own, "mallory")]);
    let known = a.peers().unwrap();
    assert!(matches!(a.add_peer("m", &lie), Err(Error::ActorClaimed { key, .. }) if key == own));
    assert_eq!(a.peers().unwrap(), known);
    assert!(a.card().unwrap().actors.contains(&(own, "alice".to_owned())));
    // A name that was given here because another had it is no claim.
    let other_bob = SigningKey::generate(&mut rng);
    let press = SigningKey::generate(&mut rng);
    a.add_peer("press", &card(&press, 1, &[(other_bob.actor(), "bob")])).unwrap();
    assert_eq!(name(other_bob.actor()).as_deref(), Some("press/bob"));
    let newer = card(&press, 2, &[(other_bob.actor(), "bob")]);
    assert_eq!(a.add_peer("press", &newer).unwrap().claims, []);
}

/// How many KEKs are under way to this node itself does not decide whether an
/// archive opens.
#[test]
fn an_archive_opens_behind_many_keks_of_others() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    let mut stranger = Stranger::default();
    stranger.readers.push(b.card().unwrap().encryption_key);
    // Each entry of theirs comes with a KEK of its own.
    let mut lines = lines_of(&stranger.history("y", 1, 40));
    a.put("x", "\"kept\"").unwrap();
    let passphrase = Passphrase::new("for the archive only");
    let kdf = KdfParams::new(8, 1, 1).unwrap();
    a.export(ExportOptions::new().passphrase(&passphrase, kdf), &mut lines).unwrap();
    let options = ImportOptions::new().trust(TrustPolicy::All).passphrase(&passphrase);
    assert_eq!(b.import(options, &lines[..]).unwrap().added, 41);
    assert_eq!(b.get("x").unwrap().unwrap().data(), Some(&b"\"kept\""[..]));
}

/// A packet with other parameters is another packet, and does not answer for the
/// good one behind it.
#[test]
fn a_passphrase_packet_with_altered_parameters_does_not_spoil_the_good_one() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    a.put("x", "\"kept\"").unwrap();
    let passphrase = Passphrase::new("for the archive only");
    let mut archive = Vec::new();
    let kdf = KdfParams::new(8, 1, 1).unwrap();
    a.export(ExportOptions::new().passphrase(&passphrase, kdf), &mut archive).unwrap();
    let good = entries(&archive).remove(0);
    let mut altered = good.clone();
    for envelope in &mut altered.envelopes {
        let mut packets = envelope.recipients.to_vec();
        for packet in &mut packets {
            if let KekPacket::Passphrase { kdf, .. } = packet {
                *kdf = KdfParams::new(16, 1, 1).unwrap();
            }
        }
        envelope.recipients = Recipients::new(packets).unwrap();
    }
    assert_ne!(altered, good);
    let options = ImportOptions::new().trust(TrustPolicy::All).passphrase(&passphrase);
    let summary = b.import(options, &lines_of([&altered, &good])[..]).unwrap();
    assert_eq!((summary.added, summary.refused), (1, 0), "{summary:?}");
    assert_eq!(b.get("x").unwrap().unwrap().data(), Some(&b"\"kept\""[..]));
}
