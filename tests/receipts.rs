//! Receipts for erasures, and holds: who has erased, who has not and why, and what a forger
//! can make of it.

use std::path::Path;

use thingdb::format::erasure::receipt::{Answer, ErasureReceipt, SignedErasureReceipt};
use thingdb::format::{SigningKey, Time};
use thingdb::{
    Audience, Content, Db, EntryId, Erase, ErasureRecord, Error, ExportOptions, MAX_RECEIPTS, ReceiptsTaken, restore,
};
use thingdb_tests::database::{assert_intact, export, fresh, import, passphrase, relaxed, scratch, verify};
use thingdb_tests::gone::{search, secrets};

fn erase(db: &Db, of: Erase) -> EntryId {
    let plan = db.plan_erasure(&of).unwrap();
    db.erase(&plan).unwrap().records[0].id
}

fn counts(db: &Db, thing: &str) -> (usize, usize) {
    let all: Vec<_> = db.history(thing).unwrap().map(|record| record.unwrap().content().clone()).collect();
    let open = all.iter().filter(|content| matches!(content, Content::Open(_))).count();
    let erased = all.iter().filter(|content| matches!(content, Content::Erased { .. })).count();
    (open, erased)
}

fn of(db: &Db, thing: &str) -> ErasureRecord {
    let mut all: Vec<ErasureRecord> = db.erasures(Some(thing)).unwrap().map(Result::unwrap).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// What each node answered, by its name here; this node first.
fn answers(db: &Db, thing: &str) -> Vec<(String, String)> {
    let words = |said: &ErasureReceipt| match &said.answer {
        Answer::Erased => format!("erased {} of {}", said.count, said.of),
        Answer::Held { reason } => format!("held {} of {}: {reason}", said.count, said.of),
    };
    let receipts = of(db, thing).receipts;
    let name =
        |is_own, name: Option<String>| if is_own { "here".to_owned() } else { name.unwrap_or_else(|| "?".into()) };
    receipts.into_iter().map(|one| (name(one.is_own, one.name.clone()), words(one.said()))).collect()
}

/// All receipts of a node, for one that has none and is nobody.
fn receipts(db: &Db) -> Vec<SignedErasureReceipt> {
    let nobody = SigningKey::from_seed(&[99; 32]).node_key().origin();
    let since = db.receipts_since(&nobody, 0, "").unwrap();
    assert!(!since.more);
    since.receipts
}

fn pair(one: &str, answer: &str) -> (String, String) {
    (one.into(), answer.into())
}

/// A node with two peers, to whom all is sealed; they know each other, too.
struct Three {
    place: tempfile::TempDir,
    db: Db,
    one: Db,
    other: Db,
}

fn node(dir: &Path, name: &str) -> Db {
    relaxed().actor(name).create(dir.join(name), &passphrase()).unwrap()
}

fn three() -> Three {
    let place = scratch();
    let [db, one, other] = ["db", "one", "other"].map(|name| node(place.path(), name));
    let all = [("db", &db), ("one", &one), ("other", &other)];
    for (name, of) in all {
        for (_, at) in all.iter().filter(|(to, _)| *to != name) {
            at.add_peer(name, &of.card().unwrap()).unwrap();
        }
    }
    db.set_audience(Audience { default: vec!["one".into(), "other".into()], prefixes: vec![] }).unwrap();
    for n in 0..3 {
        db.put("a", &n.to_string()).unwrap();
        db.put("b", &n.to_string()).unwrap();
    }
    for peer in [&one, &other] {
        import(peer, &export(&db));
    }
    Three { place, db, one, other }
}

#[test]
fn who_has_erased_and_who_has_not_is_known() {
    let Three { place, db, one, other } = three();
    erase(&db, Erase::new("a", "asked for").seqs([1..=2]));
    assert_eq!(answers(&db, "a"), [pair("here", "erased 2 of 2")]);
    assert_eq!(of(&db, "a").unanswered, ["one", "other"]);
    import(&one, &export(&db));
    // The receipts come by way of the other one, who is no more than a carrier.
    import(&other, &export(&one));
    assert_eq!(other.take_receipts(&receipts(&one)).unwrap().kept, 1);
    let taken = db.take_receipts(&receipts(&other)).unwrap();
    assert_eq!((taken.kept, taken.unknown), (2, 0));
    let mut expected = vec![pair("one", "erased 2 of 2"), pair("other", "erased 2 of 2")];
    let mut found = answers(&db, "a");
    assert_eq!(found.remove(0), pair("here", "erased 2 of 2"));
    found.sort();
    assert_eq!(found, expected);
    assert!(of(&db, "a").unanswered.is_empty());
    // Once more is nothing new; after another opening and in a backup they are there.
    assert_eq!(db.take_receipts(&receipts(&other)).unwrap(), ReceiptsTaken::default());
    let dir = db.dir().to_owned();
    db.backup(place.path().join("backup")).unwrap();
    restore(place.path().join("backup"), place.path().join("restored"), None).unwrap();
    db.close().unwrap();
    for dir in [dir, place.path().join("restored")] {
        let db = relaxed().open(&dir, &passphrase()).unwrap();
        let mut found = answers(&db, "a").split_off(1);
        found.sort();
        assert_eq!(found, expected);
        assert_eq!(receipts(&db).len(), 3);
        assert_intact(&db);
    }
    expected.clear();
}

#[test]
fn a_receipt_counts_what_its_node_has() {
    let place = scratch();
    let [db, peer] = ["db", "peer"].map(|name| node(place.path(), name));
    db.add_peer("peer", &peer.card().unwrap()).unwrap();
    peer.add_peer("db", &db.card().unwrap()).unwrap();
    db.set_audience(Audience { default: vec!["peer".into()], prefixes: vec![] }).unwrap();
    (0..3).for_each(|n| drop(db.put("a", &n.to_string()).unwrap()));
    import(&peer, &export(&db));
    // Carol, whom the peer does not know as an actor of that node, may not erase there.
    db.new_actor("carol").unwrap();
    erase(&db, Erase::new("a", "asked for").actor("carol"));
    import(&peer, &export(&db));
    assert_eq!(answers(&peer, "a"), [pair("here", "erased 0 of 3")]);
    db.take_receipts(&receipts(&peer)).unwrap();
    assert!(!of(&db, "a").receipts[1].said().is_complete());
    // Then it may, and the newer receipt takes the place of the older one, here, too.
    let before = receipts(&peer);
    peer.add_peer("db", &db.card().unwrap()).unwrap();
    assert_eq!(answers(&peer, "a"), [pair("here", "erased 3 of 3")]);
    db.take_receipts(&receipts(&peer)).unwrap();
    assert_eq!(db.take_receipts(&before).unwrap().kept, 0, "it is replayed");
    assert_eq!(answers(&db, "a")[1], pair("peer", "erased 3 of 3"));
}

#[test]
fn a_hold_is_answered_as_one_and_ends() {
    let Three { place: _place, db, one, other } = three();
    let dir = one.dir().to_owned();
    one.close().unwrap();
    let before = secrets(&dir, &[0, 2, 4]);
    let one = relaxed().open(&dir, &passphrase()).unwrap();
    one.hold("a", "a lawsuit").unwrap();
    assert_eq!(one.holds().unwrap()[0].reason, "a lawsuit");
    erase(&db, Erase::new("a", "asked for").seqs([1..=3]));
    let stream = export(&db);
    import(&one, &stream);
    // It can be read here, and says that it is due.
    assert_eq!((counts(&one, "a"), counts(&one, "b")), ((4, 0), (3, 0)));
    assert_eq!(answers(&one, "a"), [pair("here", "held 3 of 3: a lawsuit")]);
    assert!(!of(&one, "a").is_done);
    assert!(matches!(one.plan_erasure(&Erase::new("a", "why")), Err(Error::OnHold { .. })));
    db.take_receipts(&receipts(&one)).unwrap();
    assert_eq!(answers(&db, "a")[1], pair("one", "held 3 of 3: a lawsuit"));
    let held = receipts(&one);
    // It is given to nobody: neither to who has erased, nor to who knows nothing of it.
    let has_payload = |stream: &[u8]| {
        String::from_utf8_lossy(stream)
            .lines()
            .filter(|line| line.contains("\"thing\":\"a\""))
            .filter(|line| line.contains("\"payload\":"))
            .count()
    };
    assert_eq!((has_payload(&stream), has_payload(&export(&one))), (1, 1), "only the record");
    let mut to = Vec::new();
    one.export(ExportOptions::new().to("other"), &mut to).unwrap();
    assert_eq!(has_payload(&to), 1);
    let mut archive = Vec::new();
    let weak = thingdb::format::KdfParams::new(8, 1, 1).unwrap();
    one.export(ExportOptions::new().passphrase(&passphrase(), weak), &mut archive).unwrap();
    assert_eq!(has_payload(&archive), 1);
    assert_eq!(one.share("a", &["other".to_owned()], 1).unwrap().shared, 0);
    let mut given = Vec::new();
    one.outgoing(std::iter::once(0..10), |outgoing| {
        given.push((outgoing.entry.header.thing.to_string(), outgoing.entry.payload.is_some()));
        Ok(std::ops::ControlFlow::Continue(()))
    })
    .unwrap();
    assert_eq!(given.iter().filter(|(thing, is_there)| thing == "a" && *is_there).count(), 1);
    import(&db, &export(&one));
    import(&other, &export(&one));
    assert_eq!((counts(&db, "a"), counts(&other, "a")), ((1, 3), (1, 3)));
    // That holds after another opening, and for who only reads.
    one.close().unwrap();
    let read = relaxed().read_only(true).open(&dir, &passphrase()).unwrap();
    assert_eq!(counts(&read, "a"), (4, 0));
    assert_eq!(
        has_payload(&{
            let mut out = Vec::new();
            read.export(ExportOptions::new().bare(true), &mut out).unwrap();
            out
        }),
        1
    );
    drop(read);
    let one = relaxed().open(&dir, &passphrase()).unwrap();
    assert_eq!((counts(&one, "a"), has_payload(&export(&one))), ((4, 0), 1));
    assert_eq!(receipts(&one), held, "it has said so already");
    // Another reason is another answer.
    one.hold("a", "two lawsuits").unwrap();
    assert_eq!(answers(&one, "a"), [pair("here", "held 3 of 3: two lawsuits")]);
    assert!(one.release("a").unwrap() && !one.release("a").unwrap());
    assert_eq!((counts(&one, "a"), one.holds().unwrap().len()), ((1, 3), 0));
    assert_eq!(answers(&one, "a"), [pair("here", "erased 3 of 3")]);
    assert_eq!(assert_intact(&one).erased, 3);
    // The old one, replayed, changes nothing.
    db.take_receipts(&receipts(&one)).unwrap();
    assert_eq!(db.take_receipts(&held).unwrap().kept, 0);
    assert_eq!(answers(&db, "a")[1], pair("one", "erased 3 of 3"));
    one.close().unwrap();
    assert_eq!(search(&dir, &before), Vec::<String>::new());
}

/// A hold keeps what was here, and takes in no more of what is erased.
#[test]
fn what_is_erased_elsewhere_comes_to_no_hold() {
    let place = scratch();
    let [db, peer] = ["db", "peer"].map(|name| node(place.path(), name));
    db.add_peer("peer", &peer.card().unwrap()).unwrap();
    peer.add_peer("db", &db.card().unwrap()).unwrap();
    db.set_audience(Audience { default: vec!["peer".into()], prefixes: vec![] }).unwrap();
    db.put("a", "1").unwrap();
    let first = export(&db);
    db.put("a", "2").unwrap();
    let both = export(&db);
    import(&peer, &first);
    peer.hold("a", "a lawsuit").unwrap();
    erase(&db, Erase::new("a", "asked for"));
    let lines: Vec<&str> = std::str::from_utf8(&both).unwrap().lines().collect();
    let record = export(&db);
    let record = std::str::from_utf8(&record).unwrap().lines().nth(3).unwrap().to_owned();
    // The second one as a stub, the record, and then the second one with its content.
    import(&peer, &export(&db));
    assert_eq!(answers(&peer, "a"), [pair("here", "held 1 of 2: a lawsuit")]);
    import(&peer, format!("{}\n{record}\n{}\n", lines[1], lines[2]).as_bytes());
    assert_eq!(counts(&peer, "a"), (2, 0));
    assert_eq!(peer.get_seq("a", 2).unwrap()[0].content(), &Content::Stub);
    peer.release("a").unwrap();
    assert_eq!(counts(&peer, "a"), (1, 2));
    import(&peer, &both);
    assert_eq!(counts(&peer, "a"), (1, 2));
}

/// A thing of which nothing is here that could be kept is erased, whatever hold there is.
#[test]
fn a_hold_on_nothing_holds_nothing() {
    let Three { place, db, .. } = three();
    let peer = node(place.path(), "late");
    peer.add_peer("db", &db.card().unwrap()).unwrap();
    peer.hold("a", "a lawsuit").unwrap();
    erase(&db, Erase::new("a", "asked for"));
    import(&peer, &export(&db));
    assert_eq!(answers(&peer, "a"), [pair("here", "erased 3 of 3")]);
    assert!(peer.hold("a", "").unwrap_err().is_invalid_input());
    assert!(peer.hold("a", "two\nlines").unwrap_err().is_invalid_input());
}

#[test]
fn forged_receipts_and_those_of_others_are_not_kept() {
    let Three { place: _place, db, one, other } = three();
    let record = erase(&db, Erase::new("a", "asked for"));
    let second = erase(&db, Erase::new("b", "asked for"));
    import(&one, &export(&db));
    let good = receipts(&one).into_iter().find(|one| one.said().record == record).unwrap();
    // Moved to another erasure, or with another count or node: its signature is not good.
    let text = good.as_str();
    for (from, to) in [
        (record.to_string(), second.to_string()),
        ("erased 3 of 3".to_owned(), "erased 2 of 3".to_owned()),
        (one.node_key().to_string(), other.node_key().to_string()),
        (one.origin().to_string(), other.origin().to_string()),
    ] {
        let forged = text.replace(&from, &to);
        assert_ne!(forged, text);
        assert!(SignedErasureReceipt::parse(&forged).is_err(), "{forged}");
    }
    // Signed by a key that nobody knows, in the name of whoever.
    let mallory = SigningKey::from_seed(&[66; 32]);
    let forged = ErasureReceipt { node: mallory.node_key(), ..good.said().clone() }.sign(&mallory).unwrap();
    assert!(ErasureReceipt { time: Time::from_micros(7).unwrap(), ..good.said().clone() }.sign(&mallory).is_err());
    // For a record that is not here; by a node in which trust was withdrawn.
    let unknown = ErasureReceipt { record: EntryId([5; 32]), node: mallory.node_key(), ..good.said().clone() };
    let unknown = unknown.sign(&mallory).unwrap();
    assert_eq!(db.take_receipts(&[forged, unknown]).unwrap(), ReceiptsTaken::default());
    assert_eq!(of(&db, "a").receipts.len(), 1);
    assert_eq!(of(&db, "a").unanswered, ["one", "other"]);
    db.remove_peer("one").unwrap();
    assert_eq!(db.take_receipts(&[good]).unwrap(), ReceiptsTaken::default());
    // A peer whose receipt is of a record that has not come is told so, to offer it again.
    let (_place, stranger) = fresh();
    stranger.add_peer("one", &one.card().unwrap()).unwrap();
    let taken = stranger.take_receipts(&receipts(&one)).unwrap();
    assert_eq!((taken.kept, taken.unknown), (0, 2));
}

/// They go in the order in which they came, in pieces, of the things that are asked for.
#[test]
fn receipts_go_by_revision() {
    let (_place, db) = fresh();
    let count = MAX_RECEIPTS + 10;
    for n in 0..count {
        db.put(&format!("{}-{n}", if n % 2 == 0 { "even" } else { "odd" }), "1").unwrap();
    }
    for n in 0..count {
        erase(&db, Erase::new(&format!("{}-{n}", if n % 2 == 0 { "even" } else { "odd" }), "why"));
    }
    let nobody = SigningKey::from_seed(&[99; 32]).node_key().origin();
    let first = db.receipts_since(&nobody, 0, "").unwrap();
    assert_eq!((first.receipts.len(), first.more), (MAX_RECEIPTS, true));
    let rest = db.receipts_since(&nobody, first.revision, "").unwrap();
    assert_eq!((rest.receipts.len(), rest.more, rest.revision), (10, false, db.receipts_revision()));
    let odd = db.receipts_since(&nobody, 0, "odd").unwrap();
    assert_eq!((odd.receipts.len(), odd.more, odd.revision), (MAX_RECEIPTS / 2, true, first.revision));
    assert_eq!(db.receipts_since(&db.origin(), 0, "").unwrap().receipts.len(), 0);
    assert_eq!(verify(&db).erased, count as u64);
}

/// A node whose stubs came without the record knows nothing of an erasure, and says so; the
/// record, when it comes, is answered.
#[test]
fn a_peer_that_leaves_the_record_out_gets_no_receipt() {
    let Three { place: _place, db, one, .. } = three();
    erase(&db, Erase::new("a", "asked for"));
    let stream = export(&db);
    let text = std::str::from_utf8(&stream).unwrap();
    let is_record = |line: &&str| line.contains("\"kind\":3");
    assert_eq!(text.lines().filter(is_record).count(), 1);
    let without: String = text.lines().filter(|line| !is_record(line)).map(|line| format!("{line}\n")).collect();
    import(&one, without.as_bytes());
    assert_eq!((counts(&one, "a"), receipts(&one).len()), ((3, 0), 0));
    assert_eq!(of(&db, "a").unanswered, ["one", "other"]);
    import(&one, &stream);
    assert_eq!((counts(&one, "a"), receipts(&one).len()), ((1, 3), 1));
}

/// A record says which entries by their ids: at a node whose thing has the same name and other
/// entries it covers none of those.
#[test]
fn a_record_that_is_carried_to_another_node_covers_nothing_of_its_own() {
    let Three { place, db, .. } = three();
    let other = node(place.path(), "stranger");
    other.add_peer("db", &db.card().unwrap()).unwrap();
    (0..2).for_each(|n| drop(other.put("a", &format!("\"own {n}\"")).unwrap()));
    erase(&db, Erase::new("a", "asked for"));
    import(&other, &export(&db));
    // Its own two and the record are open; the three that came as stubs are erased.
    assert_eq!(counts(&other, "a"), (3, 3));
    assert_eq!(answers(&other, "a"), [pair("here", "erased 3 of 3")]);
    assert_intact(&other);
}
