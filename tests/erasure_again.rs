//! An erasure is done again, or at last: by an older keyring, a newer card, a backup that
//! was put back.

use std::fs;
use std::path::Path;

use thingdb::{Audience, Content, Db, EntryId, Erase, ExportOptions, KeyringFile, Restore, Unlock, restore};
use thingdb_tests::database::{
    assert_intact, copy_directory, export, import, passphrase, peer_of, relaxed, scratch, verify,
};
use thingdb_tests::gone::{search, secrets};

fn erase(db: &Db, of: Erase) -> EntryId {
    let plan = db.plan_erasure(&of).unwrap();
    db.erase(&plan).unwrap().records[0].id
}

/// How many are open, how many are erased, how many are neither.
fn counts(db: &Db, thing: &str) -> (usize, usize, usize) {
    let all: Vec<_> = db.history(thing).unwrap().map(|record| record.unwrap().content().clone()).collect();
    let open = all.iter().filter(|content| matches!(content, Content::Open(_))).count();
    let erased = all.iter().filter(|content| matches!(content, Content::Erased { .. })).count();
    (open, erased, all.len() - open - erased)
}

fn seals_to(db: &Db, names: &[&str]) {
    let default = names.iter().map(|name| (*name).to_owned()).collect();
    db.set_audience(Audience { default, prefixes: vec![] }).unwrap();
}

#[test]
fn a_record_whose_signer_a_later_card_lists_erases_when_that_card_comes() {
    let scratch = scratch();
    let db = relaxed().create(scratch.path().join("db"), &passphrase()).unwrap();
    let peer = peer_of(&db, scratch.path(), "peer");
    seals_to(&db, &["peer"]);
    (0..3).for_each(|n| drop(db.put("a", &n.to_string()).unwrap()));
    import(&peer, &export(&db));
    // Carol has come since the card was given.
    db.new_actor("carol").unwrap();
    erase(&db, Erase::new("a", "asked for").seqs([1..=2]).actor("carol"));
    let stream = export(&db);
    import(&peer, &stream);
    assert_eq!(counts(&peer, "a"), (4, 0, 0));
    assert_eq!(verify(&peer).refused_erasures, 1);
    // Another opening, and cards of others, change nothing.
    let dir = peer.dir().to_owned();
    peer.close().unwrap();
    let peer = relaxed().open(&dir, &passphrase()).unwrap();
    let other = relaxed().create(scratch.path().join("other"), &passphrase()).unwrap();
    peer.add_peer("other", &other.card().unwrap()).unwrap();
    assert_eq!(counts(&peer, "a"), (4, 0, 0));
    // As it was before: a copy that is broken off behind the keyring goes on when it is opened.
    peer.sync().unwrap();
    let broken = scratch.path().join("broken");
    copy_directory(&dir, &broken);
    peer.add_peer("origin", &db.card().unwrap()).unwrap();
    assert_eq!(counts(&peer, "a"), (2, 2, 0));
    assert_eq!((verify(&peer).refused_erasures, verify(&peer).erased), (0, 2));
    for name in ["keyring", "keyring.copy"] {
        fs::copy(dir.join(name), broken.join(name)).unwrap();
    }
    // Read only: what it would have to erase is not served.
    let read = relaxed().read_only(true).open(&broken, &passphrase()).unwrap();
    assert_eq!(counts(&read, "a"), (2, 2, 0));
    drop(read);
    let again = relaxed().open(&broken, &passphrase()).unwrap();
    assert_eq!(counts(&again, "a"), (2, 2, 0));
    assert_intact(&again);
    // Nothing gives it back, and a card without Carol neither.
    import(&peer, &stream);
    db.untrust_actor(&db.own_actors().iter().find(|actor| actor.name == "carol").unwrap().key).unwrap();
    peer.add_peer("origin", &db.card().unwrap()).unwrap();
    assert_eq!(counts(&peer, "a"), (2, 2, 0));
}

#[test]
fn what_was_sealed_to_a_peer_and_is_erased_goes_to_it_as_stubs_and_record() {
    let scratch = scratch();
    let db = relaxed().create(scratch.path().join("db"), &passphrase()).unwrap();
    let peer = peer_of(&db, scratch.path(), "peer");
    let other = peer_of(&db, scratch.path(), "other");
    seals_to(&db, &["peer"]);
    (0..3).for_each(|n| drop(db.put("a", &n.to_string()).unwrap()));
    seals_to(&db, &[]);
    (0..3).for_each(|n| drop(db.put("own", &n.to_string()).unwrap()));
    let to = |name: &str, since: u64| {
        let mut stream = Vec::new();
        let summary = db.export(ExportOptions::new().to(name).since(since), &mut stream).unwrap();
        (stream, summary.entries)
    };
    let (before, entries) = to("peer", 0);
    assert_eq!(entries, 3);
    import(&peer, &before);
    assert_eq!(counts(&peer, "a"), (3, 0, 0));
    erase(&db, Erase::new("a", "asked for"));
    erase(&db, Erase::new("own", "asked for"));
    // The one goes, with the record; what was never for that peer does not, nor does it to others.
    let (stream, entries) = to("peer", 6);
    assert_eq!(entries, 1);
    assert_eq!((to("peer", 0).1, to("other", 0).1), (4, 0));
    import(&peer, &stream);
    assert_eq!(counts(&peer, "a"), (1, 3, 0));
    assert_eq!(to("peer", 8).1, 0, "it has it already");
    assert_eq!(counts(&other, "a"), (0, 0, 0));
    // Who could read is known after another opening, too.
    let dir = db.dir().to_owned();
    db.close().unwrap();
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    let mut again = Vec::new();
    assert_eq!(db.export(ExportOptions::new().to("peer"), &mut again).unwrap().entries, 4);
}

#[test]
fn an_older_keyring_that_is_put_back_opens_nothing_that_was_erased_since() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    (0..6).for_each(|n| drop(db.put(["a", "b"][n % 2], &n.to_string()).unwrap()));
    db.close().unwrap();
    let kept = KeyringFile::of(&dir).unwrap();
    let before = secrets(&dir, &[0, 2, 4]);
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    erase(&db, Erase::new("a", "asked for"));
    // It has what the older one lacks.
    db.new_actor("carol").unwrap();
    db.close().unwrap();
    assert_eq!(search(&dir, &before), Vec::<String>::new());
    let unlock = || passphrase();
    let put = Db::put_back_keyring(&dir, &kept, Unlock::Passphrase(&unlock()), true).unwrap();
    assert_eq!(put.aside.len(), 2);
    assert!(!search(&dir, &before).is_empty(), "the older one has the keys");
    // Read only, nothing is written and nothing is served.
    let read = relaxed().read_only(true).open(&dir, &passphrase()).unwrap();
    assert_eq!((counts(&read, "a"), counts(&read, "b")), ((1, 3, 0), (3, 0, 0)));
    drop(read);
    assert!(!search(&dir, &before).is_empty());
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    assert_eq!((counts(&db, "a"), counts(&db, "b")), ((1, 3, 0), (3, 0, 0)));
    assert_eq!(search(&dir, &before), Vec::<String>::new(), "while it is open");
    assert_intact(&db);
    db.close().unwrap();
    // The newer ones stay: they have none of these keys, and Carol's.
    assert!(put.aside.iter().all(|path| path.exists()));
    assert_eq!(search(&dir, &before), Vec::<String>::new());
    // By hand, both files and one of them.
    for names in [&["keyring", "keyring.copy"][..], &["keyring"]] {
        for name in names {
            fs::write(dir.join(name), kept.as_bytes()).unwrap();
        }
        if names.len() == 1 {
            fs::remove_file(dir.join("keyring.copy")).unwrap();
        }
        relaxed().open(&dir, &passphrase()).unwrap().close().unwrap();
        assert_eq!(search(&dir, &before), Vec::<String>::new());
    }
    // The next erasure removes what was set aside: it has those keys.
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    let more = secrets_of(&dir, &[1]);
    erase(&db, Erase::new("b", "asked for").seqs([1..=1]));
    db.close().unwrap();
    assert!(put.aside.iter().all(|path| !path.exists()));
    assert_eq!(search(&dir, &more), Vec::<String>::new());
}

/// The same of a database that is open.
fn secrets_of(dir: &Path, positions: &[u64]) -> Vec<thingdb_tests::gone::Secret> {
    let place = scratch();
    let copy = place.path().join("copy");
    copy_directory(dir, &copy);
    secrets(&copy, positions)
}

/// What is due and not done is not served by an opening that cannot do it.
#[test]
fn an_erasure_that_is_due_is_passed_over_by_who_only_reads() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    (0..4).for_each(|n| drop(db.put(["a", "b"][n % 2], &n.to_string()).unwrap()));
    fs::create_dir(dir.join(".keyring.1.1.new")).unwrap();
    let plan = db.plan_erasure(&Erase::new("a", "asked for")).unwrap();
    assert!(db.erase(&plan).is_err());
    db.sync().unwrap();
    let killed = scratch.path().join("killed");
    copy_directory(&dir, &killed);
    fs::remove_dir(killed.join(".keyring.1.1.new")).unwrap();
    let read = relaxed().read_only(true).open(&killed, &passphrase()).unwrap();
    assert_eq!((counts(&read, "a"), counts(&read, "b")), ((1, 2, 0), (2, 0, 0)));
    let mut out = Vec::new();
    read.export(ExportOptions::new().bare(true), &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap().lines().filter(|line| line.contains("\"payload\":")).count(), 3);
}

/// The backup of a node that was before an erasure: it comes back, and erases with its first
/// exchange.
#[test]
fn a_backup_of_before_erases_when_the_record_comes_again() {
    let scratch = scratch();
    let db = relaxed().create(scratch.path().join("db"), &passphrase()).unwrap();
    let peer = peer_of(&db, scratch.path(), "peer");
    seals_to(&db, &["peer"]);
    (0..4).for_each(|n| drop(db.put(["a", "b"][n % 2], &n.to_string()).unwrap()));
    import(&peer, &export(&db));
    let (of_db, of_peer) = (scratch.path().join("of db"), scratch.path().join("of peer"));
    db.backup(&of_db).unwrap();
    peer.backup(&of_peer).unwrap();
    erase(&db, Erase::new("a", "asked for"));
    import(&peer, &export(&db));
    assert_eq!(counts(&peer, "a"), (1, 2, 0));
    // The peer's, and the node's own under a new key: the record is of its former one.
    let dir = scratch.path().join("peer again");
    restore(&of_peer, &dir, None).unwrap();
    let again = relaxed().open(&dir, &passphrase()).unwrap();
    assert_eq!(counts(&again, "a"), (2, 0, 0));
    import(&again, &export(&db));
    assert_eq!((counts(&again, "a"), counts(&again, "b")), ((1, 2, 0), (2, 0, 0)));
    let dir = scratch.path().join("db again");
    let made = Restore::begin(&of_db, &dir, None).unwrap();
    relaxed().restoring(&made).open(&dir, &passphrase()).unwrap().new_node_key().unwrap();
    made.end().unwrap();
    let again = relaxed().open(&dir, &passphrase()).unwrap();
    let before = secrets_of(&dir, &[0, 2]);
    assert_eq!(counts(&again, "a"), (2, 0, 0));
    import(&again, &export(&peer));
    assert_eq!((counts(&again, "a"), counts(&again, "b")), ((1, 2, 0), (2, 0, 0)));
    assert_intact(&again);
    again.close().unwrap();
    assert_eq!(search(&dir, &before), Vec::<String>::new());
}

/// As it was before an erasure: the keyring of the backup has lost the keys, and the restore
/// says why.
#[test]
fn a_restore_to_before_an_erasure_says_what_was_erased_since() {
    let scratch = scratch();
    let db = relaxed().create(scratch.path().join("db"), &passphrase()).unwrap();
    (0..4).for_each(|n| drop(db.put(["a", "b"][n % 2], &n.to_string()).unwrap()));
    erase(&db, Erase::new("a", "asked for"));
    let backup = scratch.path().join("backup");
    db.backup(&backup).unwrap();
    let restored = restore(&backup, scratch.path().join("before"), Some(4)).unwrap();
    assert_eq!((restored.entries, restored.erased_since), (4, vec![0, 2]));
    let restored = restore(&backup, scratch.path().join("one"), Some(1)).unwrap();
    assert_eq!(restored.erased_since, vec![0]);
    let restored = restore(&backup, scratch.path().join("all"), None).unwrap();
    assert_eq!(restored.erased_since, Vec::<u64>::new());
    // Its record comes back with an exchange, and then it is an erasure.
    let before = relaxed().open(scratch.path().join("before"), &passphrase()).unwrap();
    let lost = verify(&before).problems.iter().filter(|one| one.verdict == thingdb::Verdict::Lost).count();
    assert_eq!((lost, counts(&before, "a"), counts(&before, "b")), (2, (0, 0, 2), (2, 0, 0)));
    let dir = before.dir().to_owned();
    before.new_node_key().unwrap();
    let before = relaxed().open(&dir, &passphrase()).unwrap();
    import(&before, &export(&db));
    assert_eq!(counts(&before, "a"), (1, 2, 0));
    assert_intact(&before);
}
