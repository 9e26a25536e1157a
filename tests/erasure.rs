//! Erasing: the content is gone, the fact stays, and nothing brings the content back.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use thingdb::format::erasure::{self, Erasure};
use thingdb::format::{
    Body, Cek, Entry, Envelope, Fields, Header, Kek, KekPacket, Line, Signature, Suite, envelope, line, payload,
    signature,
};
use thingdb::storage::journal::{self, Piece};
use thingdb::{
    Content, Db, Draft, EntryId, Erase, Error, ExportOptions, ImportOptions, Options, Time, TrustPolicy, Warning,
};
use thingdb_tests::acknowledged::Writer;
use thingdb_tests::database::{
    Dice, assert_intact, copy_directory, export, fresh, import, options, passphrase, peer_of, relaxed, rounds, scratch,
    seed, verify,
};
use thingdb_tests::gone::{opened_rows, search, secrets};
use thingdb_tests::stranger::{Plan, Stranger, line_of, lines_of};

const WRITER: &str = env!("CARGO_BIN_EXE_db_writer");

/// Erases all of a thing. The record's id.
fn erase(db: &Db, of: Erase) -> EntryId {
    let plan = db.plan_erasure(&of).unwrap();
    let erased = db.erase(&plan).unwrap();
    assert_eq!(erased.entries, plan.seqs().len() as u64);
    erased.records[0].id
}

fn contents(db: &Db, thing: &str) -> Vec<Content> {
    db.history(thing).unwrap().map(|record| record.unwrap().content().clone()).collect()
}

/// How many are open, and how many are erased.
fn counts(db: &Db, thing: &str) -> (usize, usize) {
    let all = contents(db, thing);
    let open = all.iter().filter(|content| matches!(content, Content::Open(_))).count();
    let erased = all.iter().filter(|content| matches!(content, Content::Erased { .. })).count();
    assert_eq!(open + erased, all.len(), "{all:?}");
    (open, erased)
}

#[test]
fn what_was_erased_says_so_and_the_rest_is_as_it_was() {
    let (_scratch, db) = fresh();
    for n in 0..5 {
        db.put("person", &n.to_string()).unwrap();
        db.put("other", &n.to_string()).unwrap();
    }
    // A payload in parts.
    db.write(Draft::bytes("person", "text/plain", vec![b'x'; 20_000]).unwrap()).unwrap();
    let by = erase(&db, Erase::new("person", "asked for").seqs([2..=3, 6..=6]).basis("gdpr-17"));
    for record in db.history("person").unwrap() {
        let record = record.unwrap();
        let expected = [2, 3, 6].contains(&record.seq());
        assert_eq!(record.content() == &Content::Erased { by }, expected, "seq {}", record.seq());
        assert_eq!(record.data().is_none(), expected);
    }
    let record = db.get_id(&by).unwrap().unwrap();
    assert_eq!((record.action(), record.media_type()), (Some(erasure::ACTION), Some(erasure::MEDIA_TYPE)));
    let said = Erasure::from_json(record.data().unwrap()).unwrap();
    assert_eq!((said.entries().len(), said.reason(), said.basis()), (3, "asked for", Some("gdpr-17")));
    let report = assert_intact(&db);
    assert_eq!((report.erased, report.undecryptable, report.stubs, report.refused_erasures), (3, 0, 0, 0));
    assert_eq!(counts(&db, "other"), (5, 0));
    let listed: Vec<_> = db.erasures(Some("person")).unwrap().map(Result::unwrap).collect();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].is_done && !listed[0].is_refused() && listed[0].erased == 3);
    assert_eq!(db.erasures(Some("other")).unwrap().count(), 0);
    // The rest of it, and by time; then there is nothing left.
    let time = db.get_seq("person", 4).unwrap()[0].time();
    erase(&db, Erase::new("person", "asked for").before(time));
    assert_eq!(counts(&db, "person"), (4, 4));
    erase(&db, Erase::new("person", "asked for"));
    assert_eq!(counts(&db, "person"), (3, 6));
    assert!(matches!(db.plan_erasure(&Erase::new("person", "again")), Err(Error::NothingToErase { .. })));
    assert!(matches!(db.plan_erasure(&Erase::new("nobody", "again")), Err(Error::NothingToErase { .. })));
    assert!(db.plan_erasure(&Erase::new("other", "two\nlines")).unwrap_err().is_invalid_input());
    // After another opening, and after the index was made anew.
    let dir = db.dir().to_owned();
    db.close().unwrap();
    let db = relaxed().rebuild(true).open(&dir, &passphrase()).unwrap();
    assert_eq!((counts(&db, "person"), assert_intact(&db).erased), ((3, 6), 6));
    db.put("person", "1").unwrap();
    assert_eq!(counts(&db, "person"), (4, 6));
}

#[test]
fn nothing_in_the_directory_opens_what_was_erased() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    let other = peer_of(&db, scratch.path(), "other");
    other.add_peer("origin", &db.card().unwrap()).unwrap();
    db.set_audience(thingdb::Audience { default: vec!["other".into()], prefixes: vec![] }).unwrap();
    for n in 0..30 {
        db.put(["a", "b", "c"][n % 3], &format!("{{\"n\":{n}}}")).unwrap();
    }
    db.write(Draft::bytes("a", "text/plain", vec![b'x'; 20_000]).unwrap()).unwrap();
    // What another node sealed to this one.
    other.set_audience(thingdb::Audience { default: vec!["origin".into()], prefixes: vec![] }).unwrap();
    for n in 0..5 {
        other.put("from other", &n.to_string()).unwrap();
    }
    import(&db, &export(&other));
    db.close().unwrap();
    let positions: Vec<u64> = (0..36).filter(|position| position % 3 == 0 || *position >= 30).collect();
    let before = secrets(&dir, &positions);
    let found = search(&dir, &before);
    assert!(before.iter().all(|secret| found.iter().any(|at| at.contains(&secret.id.to_string()))), "{found:?}");

    let db = relaxed().open(&dir, &passphrase()).unwrap();
    erase(&db, Erase::new("a", "asked for"));
    // Those of the other node only its actors may erase.
    assert!(matches!(db.plan_erasure(&Erase::new("from other", "why")), Err(Error::MayNotErase { .. })));
    erase(&other, Erase::new("from other", "asked for"));
    import(&db, &export(&other));
    assert_eq!((counts(&db, "a"), counts(&db, "b"), counts(&db, "from other")), ((1, 11), (10, 0), (1, 5)));
    assert_eq!(search(&dir, &before), Vec::<String>::new(), "while it is open");
    db.close().unwrap();
    assert_eq!(search(&dir, &before), Vec::<String>::new());
    // What was not erased is found in the same way.
    let rest = secrets(&dir, &[1, 2, 4]);
    assert!(!search(&dir, &rest).is_empty());
}

/// Files that were set aside have the keys of before.
#[test]
fn keyrings_that_were_set_aside_lose_the_keys_too() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    (0..4).for_each(|n| drop(db.put("a", &n.to_string()).unwrap()));
    db.close().unwrap();
    let before = secrets(&dir, &[0, 1, 2, 3]);
    let old = fs::read(dir.join("keyring")).unwrap();
    fs::write(dir.join("keyring.aside-1"), &old).unwrap();
    fs::write(dir.join("keyring.copy.aside-7"), &old[..old.len() / 2]).unwrap();
    // That of another database has none of these keys.
    fs::create_dir(scratch.path().join("other")).unwrap();
    fs::remove_dir(scratch.path().join("other")).unwrap();
    relaxed().create(scratch.path().join("other"), &passphrase()).unwrap().close().unwrap();
    fs::copy(scratch.path().join("other/keyring"), dir.join("keyring.aside-2")).unwrap();
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    let plan = db.plan_erasure(&Erase::new("a", "asked for")).unwrap();
    let erased = db.erase(&plan).unwrap();
    let mut removed: Vec<_> = erased.removed.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    removed.sort_unstable();
    assert_eq!(removed, ["keyring.aside-1", "keyring.copy.aside-7"]);
    assert_eq!(db.warnings().iter().filter(|warning| matches!(warning, Warning::Keyring(_))).count(), 2);
    assert!(dir.join("keyring.aside-2").exists());
    db.close().unwrap();
    assert_eq!(search(&dir, &before), Vec::<String>::new());
    assert_eq!(fs::read(dir.join("keyring")).unwrap(), fs::read(dir.join("keyring.copy")).unwrap());
}

/// A directory where a file should be removed stops the keyring, before its first file
/// or between its two.
#[test]
fn an_erasure_that_stopped_at_the_keyring_goes_on_later() {
    for stopper in [".keyring.1.1.new", ".keyring.copy.1.1.new"] {
        let scratch = scratch();
        let dir = scratch.path().join("db");
        let db = relaxed().create(&dir, &passphrase()).unwrap();
        (0..8).for_each(|n| drop(db.put(["a", "b"][n % 2], &n.to_string()).unwrap()));
        db.close().unwrap();
        let before = secrets(&dir, &[0, 2, 4, 6]);
        let db = relaxed().open(&dir, &passphrase()).unwrap();
        fs::create_dir(dir.join(stopper)).unwrap();
        let plan = db.plan_erasure(&Erase::new("a", "asked for")).unwrap();
        assert!(db.erase(&plan).is_err(), "{stopper}");
        // As a kill at this place leaves it.
        db.sync().unwrap();
        let killed = scratch.path().join("killed");
        copy_directory(&dir, &killed);
        fs::remove_dir(killed.join(stopper)).unwrap();
        let again = relaxed().open(&killed, &passphrase()).unwrap();
        assert_eq!((counts(&again, "a"), counts(&again, "b")), ((1, 4), (4, 0)), "{stopper}");
        assert_intact(&again);
        again.close().unwrap();
        assert_eq!(search(&killed, &before), Vec::<String>::new(), "{stopper}");
        // The next erasure here does the one before, too.
        fs::remove_dir(dir.join(stopper)).unwrap();
        erase(&db, Erase::new("b", "asked for").seqs([1..=1]));
        assert_eq!((counts(&db, "a"), counts(&db, "b")), ((1, 4), (4, 1)), "{stopper}");
        db.close().unwrap();
        assert_eq!(search(&dir, &before), Vec::<String>::new(), "{stopper}");
    }
}

/// Killed at any moment: what was told is done, and what was not is done or not begun.
#[test]
fn a_kill_leaves_no_erasure_half_done() {
    let mut dice = Dice::new(seed("kill while erasing"));
    let scratch = scratch();
    let template = scratch.path().join("template");
    let db = relaxed().create(&template, &passphrase()).unwrap();
    let things: Vec<String> = (0..40).map(|n| format!("thing-{n:02}")).collect();
    for n in 0..3 {
        let drafts = things.iter().map(|thing| Draft::json(thing, format!("{n}")).unwrap());
        db.write_batch(drafts.collect()).unwrap();
    }
    db.close().unwrap();
    let all = secrets(&template, &(0..120).collect::<Vec<_>>());
    let (mut done, mut begun) = (0, 0);
    for round in 0..rounds(10) {
        let dir = scratch.path().join(format!("round-{round}"));
        copy_directory(&template, &dir);
        let writer = Writer::start(WRITER, &dir, &["--erase"]);
        thread::sleep(Duration::from_micros(dice.roll(150_000)));
        let told = writer.kill();
        let db = options().open(&dir, &passphrase()).unwrap();
        let mut gone = Vec::new();
        for (at, thing) in things.iter().enumerate() {
            let is_told = told.iter().any(|one| one.thing == *thing);
            match counts(&db, thing) {
                (3, 0) => assert!(!is_told, "round {round}: {thing} was told to be erased"),
                (1, 3) => {
                    done += u64::from(is_told);
                    begun += u64::from(!is_told);
                    gone.extend(all.iter().filter(|secret| secret.position as usize % 40 == at).cloned());
                }
                half => panic!("round {round}: {thing}: {half:?}"),
            }
        }
        assert_intact(&db);
        db.close().unwrap();
        assert_eq!(search(&dir, &gone), Vec::<String>::new(), "round {round}");
        fs::remove_dir_all(&dir).unwrap();
    }
    println!("{done} were told, {begun} were not and are done");
}

#[test]
fn nothing_that_was_erased_comes_back() {
    let scratch = scratch();
    let db = relaxed().create(scratch.path().join("db"), &passphrase()).unwrap();
    let peer = peer_of(&db, scratch.path(), "peer");
    db.set_audience(thingdb::Audience { default: vec!["peer".into()], prefixes: vec![] }).unwrap();
    for n in 0..6 {
        db.put("a", &n.to_string()).unwrap();
    }
    let old = export(&db);
    import(&peer, &old);
    assert_eq!(counts(&peer, "a"), (6, 0));
    erase(&db, Erase::new("a", "asked for").seqs([1..=4]));
    // An old export, as it is and as stubs and envelopes apart; an archive; a peer's copy.
    let mut archive = Vec::new();
    let words = thingdb::Passphrase::new("of the archive");
    let weak = thingdb::KdfParams::new(8, 1, 1).unwrap();
    peer.export(ExportOptions::new().passphrase(&words, weak), &mut archive).unwrap();
    for stream in [&old, &archive, &export(&peer)] {
        let summary = import(&db, stream);
        // Those that are there get the envelopes that the peer made.
        assert!(summary.completed <= 2 && summary.added + summary.refused == 0, "{summary:?}");
        assert_eq!(counts(&db, "a"), (3, 4));
    }
    let opened = ImportOptions::new().trust(TrustPolicy::All).passphrase(&words);
    db.import(opened, &archive[..]).unwrap();
    assert_eq!(counts(&db, "a"), (3, 4));
    // Sealing to more readers finds nothing to seal.
    let shared = db.share("a", &["peer".to_owned()], 1).unwrap();
    assert_eq!(shared.shared, 0, "{shared:?}");
    assert_intact(&db);
    // The peer erases when the record reaches it, and then neither gives it back.
    import(&peer, &export(&db));
    assert_eq!(counts(&peer, "a"), (3, 4));
    import(&peer, &old);
    assert_eq!(counts(&peer, "a"), (3, 4));
    let report = assert_intact(&peer);
    assert_eq!((report.erased, report.refused_erasures), (4, 0));
    // What an export has of it is a stub.
    let text = String::from_utf8(export(&peer)).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains("\"v\":1") && !line.contains("\"payload\":")).count(), 4);
}

/// A third node gets everything at once, in one stream or in pieces, in whatever order.
#[test]
fn a_record_that_comes_with_its_entries_or_before_their_content_erases_them() {
    let scratch = scratch();
    let db = relaxed().create(scratch.path().join("db"), &passphrase()).unwrap();
    let nodes: Vec<Db> = ["one", "two", "three"].iter().map(|name| peer_of(&db, scratch.path(), name)).collect();
    let all = ["one", "two", "three"].map(str::to_owned).to_vec();
    db.set_audience(thingdb::Audience { default: all, prefixes: vec![] }).unwrap();
    for n in 0..4 {
        db.put("a", &n.to_string()).unwrap();
    }
    let whole = export(&db);
    erase(&db, Erase::new("a", "asked for"));
    let record = String::from_utf8(export(&db)).unwrap();
    let record = record.lines().rfind(|line| line.contains("\"envelopes\"")).unwrap().to_owned() + "\n";
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let entries = &lines[1..5];
    // Content and record in one stream.
    import(&nodes[0], &[&entries.concat()[..], record.as_bytes()].concat());
    // The record first: it waits.
    let summary = import(&nodes[1], record.as_bytes());
    assert_eq!(summary.pending, 1);
    import(&nodes[1], &entries.concat());
    // Stubs, the record, and then the content.
    let stub = |line: &&[u8]| {
        let Ok(Line::Entry(mut entry)) = Line::parse(line, 1) else { panic!("it is an entry") };
        (entry.payload, entry.envelopes) = (None, Vec::new());
        line_of(&entry)
    };
    let stubs: Vec<u8> = entries.iter().flat_map(stub).collect();
    import(&nodes[2], &stubs);
    import(&nodes[2], record.as_bytes());
    import(&nodes[2], &entries.concat());
    for node in &nodes {
        assert_eq!((counts(node, "a"), node.waiting().unwrap().entries), ((1, 4), 0));
        assert_eq!(assert_intact(node).erased, 4);
    }
}

/// A line that waited has an envelope to this node, and its rows lie in the files for a
/// while when its entry has gone on: nobody can open them after an erasure.
#[test]
fn what_waited_before_it_came_cannot_be_opened_either() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    let mut writer = Stranger::new("writer");
    writer.readers = vec![db.card().unwrap().encryption_key];
    db.trust_actor("writer", writer.actor()).unwrap();
    let (history, other) = (writer.history("a", 1_000, 3), writer.history("waits", 1_000, 3));
    import(&db, &lines_of(&history[1..]));
    import(&db, &lines_of(&other[1..]));
    db.close().unwrap();
    // They wait in rows; then the first comes.
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    assert_eq!(db.waiting().unwrap().entries, 4);
    import(&db, &line_of(&history[0]));
    assert_eq!((counts(&db, "a"), db.waiting().unwrap().entries), ((3, 0), 2));
    db.close().unwrap();
    let needle = history[1].id().to_string();
    let is_found =
        |dir: &Path| opened_rows(dir, b'W').iter().any(|line| String::from_utf8_lossy(line).contains(&needle));
    assert!(is_found(&dir), "a line that waited is found before");
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    let record = record_of(&writer, &history[2], "a", history.iter().map(Entry::id).collect(), true);
    import(&db, &line_of(&record));
    assert_eq!(counts(&db, "a"), (1, 3));
    db.close().unwrap();
    assert!(!is_found(&dir));
    // Those that wait go on waiting, and go on.
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    assert_eq!(db.waiting().unwrap().entries, 2);
    import(&db, &line_of(&other[0]));
    assert_eq!((counts(&db, "waits"), db.waiting().unwrap().entries), ((3, 0), 0));
    assert_intact(&db);
}

/// Signs an erasure record that `by` writes about `thing`, after these entries.
fn record_of(by: &Stranger, after: &Entry, thing: &str, erased: Vec<EntryId>, is_public: bool) -> Entry {
    let text = Erasure::new(erased, "because", None).unwrap().to_json();
    raw_record(by, after, thing, &text, is_public)
}

fn raw_record(by: &Stranger, after: &Entry, thing: &str, text: &str, is_public: bool) -> Entry {
    let mut rng = rand::rng();
    let cek = Cek::generate(&mut rng);
    let body = Body::new(&by.name, erasure::ACTION, erasure::MEDIA_TYPE, text.as_bytes()).unwrap();
    let sealed = payload::seal(Suite::Aes256Gcm, &cek, body).unwrap();
    let is_of_thing = after.header.thing.as_str() == thing;
    let header = Header::new(Fields {
        suite: Suite::Aes256Gcm,
        thing: thingdb::ThingId::new(thing).unwrap(),
        seq: if is_of_thing { after.header.seq + 1 } else { 1 },
        time: Time::from_micros(after.header.time.micros() + 1).unwrap(),
        origin: by.origin,
        actor: by.actor(),
        prev: if is_of_thing { vec![after.id()] } else { vec![] },
        data_hash: sealed.data_hash,
        payload_hash: sealed.payload_hash,
        payload_len: u32::try_from(sealed.payload.len()).unwrap(),
    })
    .unwrap();
    let signature = Signature::Single(signature::sign_single(&by.key, &header.to_bytes()));
    let envelopes = if is_public {
        let kek = Kek::generate(&mut rng);
        let cek = envelope::seal_cek(&kek, &header.id(), &cek);
        vec![Envelope::new(by.origin, cek, vec![KekPacket::public(&kek)]).unwrap()]
    } else {
        by.envelopes(&header.id(), &cek)
    };
    Entry { header, signature, payload: Some(sealed.payload), envelopes }
}

/// The entries of a thing as lines have them.
fn entries_of(db: &Db, thing: &str) -> Vec<Entry> {
    let stream = export(db);
    let lines = stream.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let entries = lines.filter_map(|text| line::decode(text, 1).ok());
    entries.filter(|entry| entry.header.thing.as_str() == thing).collect()
}

#[test]
fn who_must_not_erases_nothing_and_it_shows() {
    let (_scratch, db) = fresh();
    let mallory = Stranger::new("mallory");
    let other = Stranger::new("other");
    db.trust_actor("mallory", mallory.actor()).unwrap();
    for n in 0..3 {
        db.put("a", &n.to_string()).unwrap();
        db.put("b", &n.to_string()).unwrap();
    }
    let mut readable = Stranger::new("reader");
    readable.readers = vec![db.card().unwrap().encryption_key];
    let of_other = Entry { ..readable.entry(&Plan::first("c", 1_000, "\"secret\"")) };
    import(&db, &line_of(&of_other));
    let (a, b) = (entries_of(&db, "a"), entries_of(&db, "b"));
    let ids = |entries: &[Entry]| entries.iter().map(Entry::id).collect::<Vec<_>>();
    // Someone else's entries; those of another thing; another's at his own node; and one
    // by the writer of nothing here.
    let hostile = [
        record_of(&mallory, a.last().unwrap(), "a", ids(&a), true),
        record_of(&mallory, b.last().unwrap(), "a-stranger-thing", ids(&b), true),
        record_of(&mallory, &of_other, "c", vec![of_other.id()], true),
        record_of(&other, b.last().unwrap(), "b", ids(&b), true),
        // An origin that is not his is only a word.
        record_of(&Stranger { origin: db.origin(), ..Stranger::new("liar") }, b.last().unwrap(), "b", ids(&b), true),
        raw_record(&mallory, a.last().unwrap(), "a", "{\"v\":1,\"erased\":[],\"reason\":\"x\"}", true),
    ];
    let summary = import(&db, &lines_of(&hostile));
    assert_eq!(summary.added, hostile.len() as u64, "{summary:?}");
    assert_eq!((counts(&db, "a"), counts(&db, "b"), counts(&db, "c")), ((5, 0), (5, 0), (2, 0)));
    let report = verify(&db);
    assert_eq!(report.erased, 0);
    assert_eq!(report.refused_erasures, 5, "one lists only ids that its thing does not have");
    let refused = db.erasures(None).unwrap().filter(|record| record.as_ref().unwrap().is_refused()).count();
    assert_eq!(refused, 5);
    // And once more after another opening.
    let dir = db.dir().to_owned();
    db.close().unwrap();
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    assert_eq!((counts(&db, "a"), counts(&db, "b"), counts(&db, "c")), ((5, 0), (5, 0), (2, 0)));
    // The node itself erases its own all the same.
    erase(&db, Erase::new("b", "asked for").seqs([1..=3]));
    assert_eq!(counts(&db, "b").1, 3);
}

#[test]
fn the_writer_erases_what_he_wrote_and_no_record_of_an_erasure() {
    let (_scratch, db) = fresh();
    let mut writer = Stranger::new("writer");
    writer.readers = vec![db.card().unwrap().encryption_key];
    let history = writer.history("a", 1_000, 4);
    import(&db, &lines_of(&history));
    assert_eq!(counts(&db, "a"), (4, 0));
    let ids: Vec<EntryId> = history.iter().map(Entry::id).collect();
    let first = record_of(&writer, &history[3], "a", ids[..2].to_vec(), true);
    import(&db, &line_of(&first));
    assert_eq!(counts(&db, "a"), (3, 2));
    // A record that is not public, and lists the record before.
    let second = record_of(&writer, &first, "a", vec![ids[2], first.id()], false);
    import(&db, &line_of(&second));
    assert_eq!(counts(&db, "a"), (3, 3));
    assert!(matches!(db.get_seq("a", 5).unwrap()[0].content(), Content::Open(_)));
    assert_eq!(verify(&db).refused_erasures, 1);
    import(&db, &lines_of(&history));
    assert_eq!(counts(&db, "a"), (3, 3));
    // One that lists what is not here yet, of a fork that comes later.
    let late = writer.entry(&Plan { data: "\"late\"".into(), ..Plan::after(&history[0], "") });
    let third = record_of(&writer, &second, "a", vec![late.id()], true);
    import(&db, &line_of(&third));
    import(&db, &line_of(&late));
    assert_eq!(counts(&db, "a"), (4, 4));
    assert_eq!(verify(&db).erased, 4);
}

#[test]
fn an_erasure_record_is_written_by_erasing_only() {
    let (_scratch, db) = fresh();
    db.put("a", "1").unwrap();
    let record = Erasure::new(vec![db.get("a").unwrap().unwrap().id()], "why", None).unwrap();
    let draft = Draft::bytes("a", erasure::MEDIA_TYPE, record.to_json()).unwrap();
    // With whatever action: people would take it for one.
    for draft in [draft.clone().action(erasure::ACTION), draft.clone().action("update"), draft] {
        let problem = db.write(draft).unwrap_err();
        assert!(matches!(problem, Error::ReservedRecord), "{problem}");
    }
    db.write(Draft::json("a", "2").unwrap().action(erasure::ACTION)).unwrap();
    assert!(!db.get("a").unwrap().unwrap().is_erasure());
    assert_eq!(counts(&db, "a"), (2, 0));
}

/// A key that was taken away with no record is a loss, not an erasure.
#[test]
fn a_loss_is_no_erasure() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    (0..4).for_each(|n| drop(db.put("a", &n.to_string()).unwrap()));
    erase(&db, Erase::new("a", "asked for").seqs([2..=2]));
    db.close().unwrap();
    // The row that says why is gone.
    let row = [&b"G"[..], &1_u64.to_be_bytes()].concat();
    let copy = scratch.path().join("copy");
    copy_directory(&dir, &copy);
    fs::remove_dir_all(copy.join("journal")).unwrap();
    thingdb_tests::rows::Rows::edit(&copy, |rows| rows.delete(&row));
    let db = relaxed().open(&copy, &passphrase()).unwrap();
    assert_eq!(db.get_seq("a", 2).unwrap()[0].content(), &Content::Lost);
    let report = verify(&db);
    assert_eq!(report.problems.iter().filter(|one| one.verdict == thingdb::Verdict::Lost).count(), 1, "{report:?}");
}

#[test]
fn ten_thousand_entries_of_one_thing_are_erased_at_once() {
    let (_scratch, db) = fresh();
    for round in 0..10 {
        let drafts = (0..1000).flat_map(|n| {
            ["a", "b"].map(|thing| Draft::json(thing, format!("{{\"round\":{round},\"n\":{n}}}")).unwrap())
        });
        db.write_batch(drafts.collect()).unwrap();
    }
    let start = std::time::Instant::now();
    erase(&db, Erase::new("a", "asked for"));
    let keyring = fs::metadata(db.dir().join("keyring")).unwrap().len();
    println!("10,000 of 20,000: {:?}, the keyring has {keyring} bytes", start.elapsed());
    assert!(keyring < 4 << 20);
    assert_eq!(counts(&db, "a"), (1, 10_000));
    let report = assert_intact(&db);
    assert_eq!((report.entries, report.erased), (20_001, 10_000));
    db.put("a", "1").unwrap();
}

/// What one erasure writes does not depend on how much is stored.
#[test]
fn one_of_many_costs_kilobytes() {
    let (_scratch, db) = fresh();
    for _ in 0..64 {
        db.write_batch((0..1024).map(|n| Draft::json(&format!("t{n}"), "1").unwrap()).collect()).unwrap();
    }
    db.sync().unwrap();
    let journal = db.dir().join("journal");
    let (before, _) = journaled(&journal, 0);
    let keyring = fs::metadata(db.dir().join("keyring")).unwrap().len();
    let start = std::time::Instant::now();
    erase(&db, Erase::new("t500", "asked for").seqs([30..=30]));
    let took = start.elapsed();
    db.sync().unwrap();
    let (_, rows) = journaled(&journal, before + 1);
    let keyring = fs::metadata(db.dir().join("keyring")).unwrap().len() - keyring;
    println!("1 of 65,536: {took:?}, {rows} bytes of rows, {keyring} more in the keyring");
    assert!(rows < 64 << 10 && keyring < 8 << 10, "{rows} {keyring}");
}

/// The last sequence of a journal, and the bytes of all rows from `from` on.
fn journaled(journal: &Path, from: u64) -> (u64, usize) {
    let (mut last, mut bytes) = (0, 0);
    for piece in journal::read(journal, from).unwrap() {
        let Piece::Frame { sequence, changes } = piece.unwrap() else { panic!("it is whole") };
        last = sequence;
        bytes += changes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum::<usize>();
    }
    (last, bytes)
}

/// A node that keeps no keys writes and reads its own erasure records.
#[test]
fn who_only_writes_can_erase() {
    let scratch = scratch();
    let reader = relaxed().actor("reader").create(scratch.path().join("reader"), &passphrase()).unwrap();
    let db = Options::clone(&relaxed()).write_only(true).create(scratch.path().join("db"), &passphrase()).unwrap();
    db.add_peer("reader", &reader.card().unwrap()).unwrap();
    reader.add_peer("writer", &db.card().unwrap()).unwrap();
    db.set_audience(thingdb::Audience { default: vec!["reader".into()], prefixes: vec![] }).unwrap();
    db.put("a", "1").unwrap();
    import(&reader, &export(&db));
    assert_eq!(counts(&reader, "a"), (1, 0));
    let by = erase(&db, Erase::new("a", "asked for"));
    assert_eq!(db.get_seq("a", 1).unwrap()[0].content(), &Content::Erased { by });
    import(&reader, &export(&db));
    assert_eq!(counts(&reader, "a"), (1, 1));
}

/// A ledger that was cut goes on where entries were that were erased.
#[test]
fn a_node_that_lost_what_it_erased_can_go_on() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    db.put("a", "0").unwrap();
    db.close().unwrap();
    let backup = scratch.path().join("backup");
    copy_directory(&dir, &backup);
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    (0..3).for_each(|n| drop(db.put("b", &n.to_string()).unwrap()));
    erase(&db, Erase::new("b", "asked for"));
    db.close().unwrap();
    // The old storage under the new keyring.
    for name in ["keyring", "keyring.copy"] {
        fs::copy(dir.join(name), backup.join(name)).unwrap();
    }
    let db = relaxed().open(&backup, &passphrase()).unwrap();
    db.new_node_key().unwrap();
    let db = relaxed().open(&backup, &passphrase()).unwrap();
    (0..5).for_each(|n| drop(db.put("c", &n.to_string()).unwrap()));
    assert_eq!(counts(&db, "c"), (5, 0));
    assert_intact(&db);
}
