//! Envelopes are not signed. Whoever carries an entry can add some, in the name
//! of whom they like: that keeps nobody from sealing, carrying or opening it.

use std::path::Path;

use thingdb::format::{
    Cek, EncryptionKey, Entry, Envelope, Kek, KekPacket, Line, Origin, RecipientId, SigningKey, envelope,
};
use thingdb::{Db, ImportOptions, ImportSummary, Reader, Sender};
use thingdb_tests::database::{assert_intact, copy_directory, export, passphrase, relaxed, scratch, text};
use thingdb_tests::stranger::{line_of, lines_of};

fn node(dir: &Path, name: &str) -> Db {
    relaxed().actor(name).create(dir.join(name), &passphrase()).unwrap()
}

/// Makes nodes known to each other, by their actors' names.
fn introduce(nodes: &[(&Db, &str)]) {
    for (db, _) in nodes {
        for (other, name) in nodes.iter().filter(|(other, _)| other.origin() != db.origin()) {
            db.add_peer(name, &other.card().unwrap()).unwrap();
        }
    }
}

fn entries(db: &Db) -> Vec<Entry> {
    parsed(&export(db))
}

fn parsed(stream: &[u8]) -> Vec<Entry> {
    let lines = stream.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .filter_map(|line| match Line::parse(line, 1).unwrap() {
            Line::Entry(entry) => Some(*entry),
            _ => None,
        })
        .collect()
}

fn key(db: &Db) -> EncryptionKey {
    db.card().unwrap().encryption_key
}

fn someone() -> Origin {
    SigningKey::generate(&mut rand::rng()).node_key().origin()
}

/// An envelope that says to be of `from` and for `to`, and opens nothing.
fn junk(from: Origin, to: &[EncryptionKey]) -> Envelope {
    let mut rng = rand::rng();
    let kek = Kek::generate(&mut rng);
    let packets = to.iter().map(|to| KekPacket::seal_x25519(&kek, from, to, &mut rng).unwrap()).collect();
    let id = thingdb_tests::stranger::random_id();
    Envelope::new(from, envelope::seal_cek(&kek, &id, &Cek::generate(&mut rng)), packets).unwrap()
}

/// A copy of an entry with eight such envelopes and no other.
fn junked(entry: &Entry, from: Origin, to: &[EncryptionKey]) -> Entry {
    let mut copy = entry.clone();
    copy.envelopes = (0..8).map(|_| junk(from, to)).collect();
    copy
}

/// A stub of the same: what is in its envelopes nobody can try.
fn stub(mut entry: Entry) -> Entry {
    entry.payload = None;
    entry
}

fn by_file(db: &Db, lines: &[u8]) -> ImportSummary {
    let summary = db.import(ImportOptions::new(), lines).unwrap();
    assert_eq!(summary.refused, 0, "{:?}", summary.reasons);
    summary
}

/// From a node that has proven to be that node.
fn from(node: &Db, db: &Db, lines: &[u8]) -> ImportSummary {
    let summary = db.import(ImportOptions::new().from(Sender::node(node.origin())), lines).unwrap();
    assert_eq!(summary.refused, 0, "{:?}", summary.reasons);
    summary
}

fn reader(db: &Db, of: &Db) -> Option<Reader> {
    let id: RecipientId = key(of).recipient_id();
    db.readers("x").unwrap().into_iter().find(|reader| reader.recipient == Some(id))
}

fn opens(db: &Db) -> bool {
    db.get("x").unwrap().is_some_and(|record| record.data().is_some())
}

#[test]
fn junk_in_the_name_of_the_writer_does_not_keep_it_from_sharing() {
    let tmp = scratch();
    let (a, b) = (node(tmp.path(), "a"), node(tmp.path(), "b"));
    introduce(&[(&a, "a"), (&b, "b")]);
    a.put("x", "1").unwrap();
    let entry = entries(&a).remove(0);
    let summary = by_file(&a, &line_of(&junked(&entry, a.origin(), &[key(&b)])));
    assert_eq!((summary.completed, summary.envelopes_dropped), (1, 0));
    let claimed = reader(&a, &b).unwrap();
    assert_eq!((claimed.entries, claimed.certain, claimed.by_origin, claimed.claimed()), (1, 0, 0, 1));
    assert_eq!(claimed.from, [a.origin()], "that is what they claim");

    let shared = a.share("x", &["b".into()], 1).unwrap();
    assert_eq!((shared.shared, shared.known, shared.full, shared.displaced), (1, 0, 0, 1));
    let again = a.share("x", &["b".into()], 1).unwrap();
    assert_eq!((again.shared, again.known, again.displaced), (0, 1, 0));
    let sealed = reader(&a, &b).unwrap();
    assert_eq!((sealed.entries, sealed.certain, sealed.claimed()), (1, 1, 0));
    // Nor does junk that comes later take its place.
    for _ in 0..20 {
        by_file(&a, &line_of(&junked(&entry, a.origin(), &[key(&b)])));
    }
    assert_eq!(a.share("x", &["b".into()], 1).unwrap().known, 1);
    by_file(&b, &export(&a));
    assert!(opens(&b));
    assert_intact(&a);
}

/// Eight envelopes that this node made are as many as there can be. That is
/// said, and none of them is lost.
#[test]
fn an_entry_that_is_full_of_own_envelopes_says_so() {
    let tmp = scratch();
    let a = node(tmp.path(), "a");
    a.put("x", "1").unwrap();
    let names: Vec<String> = (0..9).map(|n| format!("reader-{n}")).collect();
    let readers: Vec<Db> = names.iter().map(|name| node(tmp.path(), name)).collect();
    for (name, reader) in names.iter().zip(&readers) {
        a.add_peer(name, &reader.card().unwrap()).unwrap();
    }
    for name in &names[..8] {
        assert_eq!(a.share("x", std::slice::from_ref(name), 1).unwrap().shared, 1);
    }
    let full = a.share("x", &names[8..], 1).unwrap();
    assert_eq!((full.shared, full.full, full.displaced), (0, 1, 0));
    for reader in &readers[..8] {
        assert_eq!(self::reader(&a, reader).unwrap().certain, 1);
    }
}

/// Junk before, after and around the real envelopes, at each station of the way,
/// which the entry goes by file or by exchange.
#[test]
fn the_recipient_opens_what_came_through_a_relay_that_got_junk() {
    for (before, after, exchanged) in
        [(true, false, true), (false, true, true), (true, true, true), (true, false, false), (false, true, false)]
    {
        let case = format!("junk before: {before}, after: {after}, by exchange: {exchanged}");
        let tmp = scratch();
        let (a, relay, c) = (node(tmp.path(), "a"), node(tmp.path(), "relay"), node(tmp.path(), "c"));
        introduce(&[(&a, "a"), (&relay, "relay"), (&c, "c")]);
        a.put("x", "1").unwrap();
        let entry = entries(&a).remove(0);
        a.share("x", &["c".into()], 1).unwrap();
        // In the writer's name and in others', to the recipient and to nobody.
        let nobody = key(&node(tmp.path(), "nobody"));
        let flood = |db: &Db| {
            let mut lines = Vec::new();
            for from in [a.origin(), someone(), c.origin(), db.origin()] {
                for to in [key(&c), nobody, key(db)] {
                    for copy in [junked(&entry, from, &[to]), stub(junked(&entry, from, &[to]))] {
                        lines.extend(line_of(&copy));
                    }
                }
            }
            by_file(db, &lines).envelopes_dropped
        };
        let pass =
            |source: &Db, to: &Db, lines: &[u8]| if exchanged { from(source, to, lines) } else { by_file(to, lines) };
        let mut flooded = 0;
        if before {
            flooded += flood(&relay) + flood(&c);
        }
        let came = pass(&a, &relay, &export(&a));
        if before {
            // The writer's own and the one to the recipient.
            assert_eq!((came.completed, came.envelopes_dropped), (1, 2), "{case}: what gave way is told");
        }
        if after {
            flooded += flood(&a) + flood(&relay);
        }
        pass(&relay, &c, &export(&relay));
        if after {
            flooded += flood(&c);
        }
        assert!(flooded > 100, "{case}: what found no place is told, {flooded}");
        assert!(opens(&c), "{case}");
        let listed = reader(&relay, &c).unwrap();
        assert_eq!(listed.by_origin, u64::from(exchanged), "{case}: {listed:?}");
        for db in [&a, &relay, &c] {
            assert_intact(db);
        }
    }
}

/// One who floods has his share, whoever it is who comes after him.
#[test]
fn a_flood_by_one_peer_leaves_room_for_what_another_brings() {
    let tmp = scratch();
    let (a, relay, c) = (node(tmp.path(), "a"), node(tmp.path(), "relay"), node(tmp.path(), "c"));
    let (mallory, other) = (node(tmp.path(), "mallory"), node(tmp.path(), "other"));
    introduce(&[(&a, "a"), (&relay, "relay"), (&c, "c"), (&mallory, "mallory"), (&other, "other")]);
    a.put("x", "1").unwrap();
    let entry = entries(&a).remove(0);
    a.share("x", &["c".into()], 1).unwrap();
    let nobody = key(&node(tmp.path(), "nobody"));
    for _ in 0..50 {
        from(&mallory, &relay, &line_of(&junked(&entry, a.origin(), &[nobody])));
    }
    // Not its origin: another node that has a copy.
    let real = entries(&a);
    from(&other, &relay, &lines_of(&real));
    for _ in 0..50 {
        from(&mallory, &relay, &line_of(&junked(&entry, a.origin(), &[nobody])));
    }
    by_file(&c, &export(&relay));
    assert!(opens(&c));
}

/// A file a time, before and after: each is somebody else, and neither those
/// before nor those after have all places.
#[test]
fn many_files_of_junk_leave_room_for_the_real_one() {
    for (before, after) in [(20, 0), (0, 20), (20, 3)] {
        let tmp = scratch();
        let (a, relay, c) = (node(tmp.path(), "a"), node(tmp.path(), "relay"), node(tmp.path(), "c"));
        introduce(&[(&a, "a"), (&relay, "relay"), (&c, "c")]);
        a.put("x", "1").unwrap();
        let entry = entries(&a).remove(0);
        a.share("x", &["c".into()], 1).unwrap();
        let real = entries(&a).remove(0);
        let id = key(&c).recipient_id();
        let is_real = |envelope: &&Envelope| {
            envelope
                .recipients
                .iter()
                .any(|packet| matches!(packet, KekPacket::X25519 { id: named, .. } if *named == id))
        };
        let only = Entry { envelopes: real.envelopes.iter().filter(is_real).cloned().collect(), ..real.clone() };
        let one = || Entry { envelopes: vec![junk(a.origin(), &[key(&c)])], ..entry.clone() };
        for _ in 0..before {
            by_file(&relay, &line_of(&one()));
        }
        by_file(&relay, &line_of(&only));
        for _ in 0..after {
            by_file(&relay, &line_of(&one()));
        }
        by_file(&c, &export(&relay));
        assert!(opens(&c), "{before} before, {after} after");
    }
}

/// An entry that waited came from whoever brought it, and not from whoever
/// brings what it waited for.
#[test]
fn what_waited_is_not_taken_for_what_the_origin_brought() {
    let tmp = scratch();
    let (a, relay, c) = (node(tmp.path(), "a"), node(tmp.path(), "relay"), node(tmp.path(), "c"));
    introduce(&[(&a, "a"), (&relay, "relay"), (&c, "c")]);
    a.put("x", "1").unwrap();
    a.put("x", "2").unwrap();
    let plain = entries(&a);
    a.share("x", &["c".into()], 1).unwrap();
    let real = entries(&a);
    let waiting = by_file(&relay, &line_of(&junked(&plain[1], a.origin(), &[key(&c)])));
    assert_eq!(waiting.pending, 1);
    from(&a, &relay, &line_of(&real[0]));
    assert_eq!(relay.ledger_size(), 2);
    let listed = reader(&relay, &c).unwrap();
    assert_eq!((listed.by_origin, listed.claimed()), (1, 1), "{listed:?}");
    assert_eq!(from(&a, &relay, &line_of(&real[1])).completed, 1);
    assert_eq!(reader(&relay, &c).unwrap().by_origin, 2);
    by_file(&c, &export(&relay));
    assert!(opens(&c));
}

/// Nor is what the origin brought anybody's because it had to wait, if only until
/// the next opening; and what somebody brought before is the origin's once that
/// brings it, too.
#[test]
fn what_the_origin_brought_stays_the_origins_while_it_waits() {
    for (before, is_reopened) in [(false, false), (false, true), (true, false), (true, true)] {
        let tmp = scratch();
        let (a, relay, c) = (node(tmp.path(), "a"), node(tmp.path(), "relay"), node(tmp.path(), "c"));
        introduce(&[(&a, "a"), (&relay, "relay"), (&c, "c")]);
        a.put("x", "1").unwrap();
        a.put("x", "2").unwrap();
        a.share("x", &["c".into()], 1).unwrap();
        let real = entries(&a);
        let reopened = |db: Db| {
            let dir = db.dir().to_owned();
            db.close().unwrap();
            relaxed().open(dir, &passphrase()).unwrap()
        };
        let mut relay = relay;
        if before {
            by_file(&relay, &line_of(&real[1]));
            relay = if is_reopened { reopened(relay) } else { relay };
        }
        assert_eq!(from(&a, &relay, &line_of(&real[1])).pending, 1);
        relay = if is_reopened { reopened(relay) } else { relay };
        by_file(&relay, &line_of(&real[0]));
        assert_eq!(relay.ledger_size(), 2);
        let listed = reader(&relay, &c).unwrap();
        assert_eq!((listed.by_origin, listed.claimed()), (1, 1), "before: {before}, reopened: {is_reopened}");
    }
}

/// An envelope has as many packets that bear a reader's name as somebody likes: a
/// name has eight bytes, and nobody signs them.
#[test]
fn packets_that_bear_a_readers_name_do_not_hide_the_one_that_opens() {
    let tmp = scratch();
    let (a, c) = (node(tmp.path(), "a"), node(tmp.path(), "c"));
    introduce(&[(&a, "a"), (&c, "c")]);
    a.put("x", "1").unwrap();
    a.share("x", &["c".into()], 1).unwrap();
    let mut copy = entries(&a).remove(0);
    let id = key(&c).recipient_id();
    let names_it = |packet: &KekPacket| matches!(packet, KekPacket::X25519 { id: named, .. } if *named == id);
    copy.envelopes.retain(|envelope| envelope.recipients.iter().any(names_it));
    let real = copy.envelopes.remove(0);
    let mut rng = rand::rng();
    let other = KekPacket::seal_x25519(&Kek::generate(&mut rng), real.from, &key(&c), &mut rng).unwrap();
    let garbage = KekPacket::X25519 { id, kek: [7; 80] };
    let mut packets = vec![garbage.clone(), other, garbage];
    packets.extend(real.recipients.iter().cloned());
    copy.envelopes = vec![Envelope::new(real.from, real.cek, packets).unwrap()];
    assert_eq!(by_file(&c, &line_of(&copy)).envelopes_dropped, 0);
    assert!(opens(&c));

    // The same in an archive: the packet of the passphrase counts as well.
    let mut archive = Vec::new();
    let secret = thingdb::Passphrase::new("of the archive");
    a.export(
        thingdb::ExportOptions::new().passphrase(&secret, thingdb::format::KdfParams::new(8, 1, 1).unwrap()),
        &mut archive,
    )
    .unwrap();
    let mut archived = parsed(&archive).remove(0);
    let is_archive = |packet: &KekPacket| matches!(packet, KekPacket::Passphrase { .. });
    archived.envelopes.retain(|envelope| envelope.recipients.iter().any(is_archive));
    let real = archived.envelopes.remove(0);
    let d = node(tmp.path(), "d");
    introduce(&[(&a, "a"), (&d, "d")]);
    let strange = KekPacket::seal_passphrase(
        &Kek::generate(&mut rng),
        real.from,
        b"another",
        thingdb::format::KdfParams::new(8, 1, 1).unwrap(),
        &mut rng,
    );
    let mut packets = vec![KekPacket::X25519 { id: key(&d).recipient_id(), kek: [7; 80] }, strange.unwrap()];
    packets.extend(real.recipients.iter().cloned());
    archived.envelopes = vec![Envelope::new(real.from, real.cek, packets).unwrap()];
    d.import(ImportOptions::new().passphrase(&secret), &line_of(&archived)[..]).unwrap();
    assert!(opens(&d));
}

/// A carrier who brings the payload and the envelope apart hides nothing, whichever
/// comes first.
#[test]
fn an_envelope_and_its_payload_that_come_apart_open_the_entry() {
    for envelope_first in [true, false] {
        let tmp = scratch();
        let (a, c) = (node(tmp.path(), "a"), node(tmp.path(), "c"));
        introduce(&[(&a, "a"), (&c, "c")]);
        a.put("x", &format!("{:?}", "1".repeat(9000))).unwrap();
        a.share("x", &["c".into()], 1).unwrap();
        let real = entries(&a).remove(0);
        let bare = Entry { envelopes: Vec::new(), ..real.clone() };
        // With others that say to be for it.
        let mut envelopes = stub(real.clone());
        envelopes.envelopes.insert(0, junk(someone(), &[key(&c)]));
        let (first, second) = if envelope_first { (&envelopes, &bare) } else { (&bare, &envelopes) };
        by_file(&c, &line_of(first));
        assert!(!opens(&c));
        assert_eq!(by_file(&c, &line_of(second)).completed, 1);
        assert!(opens(&c), "the envelope first: {envelope_first}");
        assert_intact(&c);
    }
}

/// That a node is who it says to be changes what is known of an envelope. It is
/// nothing that another node would lack.
#[test]
fn what_is_known_of_an_envelope_is_no_completion() {
    let tmp = scratch();
    let (a, relay, c) = (node(tmp.path(), "a"), node(tmp.path(), "relay"), node(tmp.path(), "c"));
    introduce(&[(&a, "a"), (&relay, "relay"), (&c, "c")]);
    a.put("x", "1").unwrap();
    a.share("x", &["c".into()], 1).unwrap();
    let stream = export(&a);
    // A claim to be a node is none of its proofs.
    let claiming = ImportOptions::new().from(Sender::claiming(a.origin()));
    relay.import(claiming, &stream[..]).unwrap();
    assert_eq!(reader(&relay, &c).unwrap().by_origin, 0);
    let summary = from(&a, &relay, &stream);
    assert_eq!((summary.known, summary.completed, relay.revision()), (1, 0, 0));
    assert_eq!(reader(&relay, &c).unwrap().by_origin, 1);
    // Another node proves nothing of this one.
    let other = node(tmp.path(), "other");
    let third = node(tmp.path(), "third");
    introduce(&[(&third, "third"), (&a, "a")]);
    from(&other, &third, &stream);
    assert_eq!(reader(&third, &c).unwrap().by_origin, 0);
    // It is there after the next opening.
    let dir = relay.dir().to_owned();
    relay.close().unwrap();
    assert_eq!(reader(&Db::open(&dir, &passphrase()).unwrap(), &c).unwrap().by_origin, 1);
}

/// What leaves a node can be opened by that node again, whatever says to be for
/// it; and the best goes first.
#[test]
fn an_export_opens_at_home_and_puts_the_best_first() {
    let tmp = scratch();
    let (a, b) = (node(tmp.path(), "a"), node(tmp.path(), "b"));
    introduce(&[(&a, "a"), (&b, "b")]);
    let dir = a.dir().to_owned();
    a.close().unwrap();
    copy_directory(&dir, &tmp.path().join("restored"));
    let restored = Db::open(tmp.path().join("restored"), &passphrase()).unwrap();
    let a = Db::open(&dir, &passphrase()).unwrap();
    a.put("x", "1").unwrap();
    let entry = entries(&a).remove(0);
    let nobody = key(&node(tmp.path(), "nobody"));
    by_file(&a, &line_of(&stub(junked(&entry, a.origin(), &[key(&a), nobody]))));
    a.share("x", &["b".into()], 1).unwrap();
    let sent = entries(&a).remove(0);
    assert_eq!(sent.envelopes.len(), 8);
    let opens_for = |envelope: &Envelope, to: &Db| {
        let id = key(to).recipient_id();
        envelope.recipients.iter().any(|packet| matches!(packet, KekPacket::X25519 { id: named, .. } if *named == id))
    };
    assert!(opens_for(&sent.envelopes[0], &a) && opens_for(&sent.envelopes[1], &b));
    by_file(&b, &line_of(&sent));
    assert!(opens(&b));
    // Who restores has the keys of this node and nothing else: the directory as
    // it was before it had the entry.
    by_file(&restored, &line_of(&sent));
    assert_eq!(text(&restored.get("x").unwrap().unwrap()), "1");
    assert_eq!(text(&a.get("x").unwrap().unwrap()), "1");
    assert_intact(&a);
}
