//! What is too long, too large or not JSON is refused with the place of it, and
//! what is just allowed comes back as it was.

use thingdb::{Db, Draft, Error, Expect, ImportOptions, Suite, ThingQuery, TrustPolicy};
use thingdb_tests::database::{assert_intact, export, fresh, passphrase, relaxed, rounds, scratch, text};

/// The largest data that fits into 16 MiB with the actor `owner`, the action
/// `create` and the media type below.
const MOST: usize = 16_777_216 - 16 - 1 - (1 + 5) - (1 + 6) - (1 + MEDIA.len());
const MEDIA: &str = "application/octet-stream";

#[test]
fn thing_ids_that_are_not_allowed_are_refused_everywhere() {
    let (_scratch, db) = fresh();
    let too_long = "x".repeat(513);
    // 171 characters of 3 bytes.
    let too_many_bytes = "€".repeat(171);
    for thing in ["", &too_long, &too_many_bytes, "a\nb", "\0", "tab\t", "\u{7f}", "\u{85}", "\u{9f}"] {
        let problems = [
            db.put(thing, "1").unwrap_err(),
            db.put_if(thing, Expect::Absent, "1").unwrap_err(),
            Draft::json(thing, "1").unwrap_err(),
            Draft::bytes(thing, MEDIA, [1]).unwrap_err(),
            db.get(thing).unwrap_err(),
            db.get_seq(thing, 1).unwrap_err(),
            db.heads(thing).unwrap_err(),
            db.history(thing).unwrap_err(),
            db.verify(thingdb::VerifyOptions::new().thing(thing)).unwrap_err(),
        ];
        for problem in problems {
            assert!(problem.is_invalid_input(), "{thing:?}: {problem}");
            assert!(problem.to_string().len() < 400, "{problem}");
        }
    }
    assert_eq!(db.stats().unwrap().entries, 0);
}

#[test]
fn thing_ids_that_are_just_allowed_come_back() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    let longest = "x".repeat(512);
    let widest = format!("{}ab", "€".repeat(170));
    let mut things = vec![
        " ",
        "..",
        "/",
        "a/../b",
        "\u{a0}",
        "\u{feff}",
        "\u{202e}rtl",
        "é",
        "e\u{301}",
        "😀",
        "CON",
        "-d",
        &longest,
        &widest,
    ];
    for thing in &things {
        db.put(thing, &format!("{:?}", thing.len())).unwrap();
    }
    db.close().unwrap();
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    for thing in &things {
        let record = db.get(thing).unwrap().unwrap();
        assert_eq!((record.thing(), text(&record)), (*thing, &*format!("{:?}", thing.len())));
    }
    things.sort_unstable();
    let listed: Vec<String> = db.things().unwrap().map(|info| info.unwrap().thing.as_str().to_owned()).collect();
    assert_eq!(listed, things);
    assert_intact(&db);
}

#[test]
fn pages_and_prefixes_of_things_cut_nothing_off() {
    let (_scratch, db) = fresh();
    let names: Vec<String> = (0..100).map(|n| format!("p{}/é{n:02}", n % 3)).collect();
    for name in &names {
        db.put(name, "1").unwrap();
    }
    let listed = |query: &ThingQuery| -> Vec<String> {
        db.things_from(query).unwrap().map(|info| info.unwrap().thing.as_str().to_owned()).collect()
    };
    let mut expected: Vec<String> = names.iter().filter(|name| name.starts_with("p1/")).cloned().collect();
    expected.sort();
    assert_eq!(listed(&ThingQuery::new().prefix("p1/")), expected);
    let mut paged = Vec::new();
    let mut query = ThingQuery::new().prefix("p1/");
    loop {
        let page: Vec<String> = listed(&query).into_iter().take(7).collect();
        let Some(last) = page.last() else { break };
        query = ThingQuery::new().prefix("p1/").after(last);
        paged.extend(page);
    }
    assert_eq!(paged, expected);
    assert!(listed(&ThingQuery::new().prefix("p1/").after("zzz")).is_empty());
    assert!(listed(&ThingQuery::new().prefix("\u{10ffff}")).is_empty());
    // Before the prefix begins, nothing is cut off.
    assert_eq!(listed(&ThingQuery::new().prefix("p1/").after("")), expected);
}

/// A database that could not be made for its options leaves room for one that
/// can.
#[test]
fn a_refused_creation_can_be_made_good() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    for actor in ["", "a\nb"] {
        assert!(relaxed().actor(actor).create(&dir, &passphrase()).unwrap_err().is_invalid_input());
        assert!(relaxed().open(&dir, &passphrase()).unwrap_err().is_no_database());
    }
    let short = thingdb::Passphrase::new("short");
    assert!(relaxed().create(&dir, &short).unwrap_err().is_invalid_input());
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    db.put("lamp", "1").unwrap();
    assert!(relaxed().create(&dir, &passphrase()).unwrap_err().is_already_exists());
    db.close().unwrap();
    assert!(relaxed().create(&dir, &passphrase()).unwrap_err().is_already_exists());
    // Without its keyring nobody reads it, and nobody makes another over it.
    let keyring = std::fs::read(dir.join("keyring")).unwrap();
    for name in ["keyring", "keyring.copy"] {
        std::fs::remove_file(dir.join(name)).unwrap();
    }
    for checkpoint in [true, false] {
        let problem = relaxed().create(&dir, &passphrase()).unwrap_err();
        assert!(problem.is_damaged(), "{problem}");
        let problem = relaxed().open(&dir, &passphrase()).unwrap_err();
        assert!(if checkpoint { problem.is_damaged() } else { problem.is_no_database() }, "{problem}");
        // What the ledger says counts as well as what the checkpoint says.
        let _ = std::fs::remove_file(dir.join("checkpoint"));
    }
    std::fs::write(dir.join("keyring"), keyring).unwrap();
    assert_eq!(text(&relaxed().open(&dir, &passphrase()).unwrap().get("lamp").unwrap().unwrap()), "1");
}

#[test]
fn names_actions_and_media_types_have_limits() {
    let (_scratch, db) = fresh();
    for name in ["", "a\nb", &"x".repeat(129)] {
        assert!(db.new_actor(name).unwrap_err().is_invalid_input(), "{name:?}");
    }
    db.new_actor(&"x".repeat(128)).unwrap();
    let draft = || Draft::bytes("lamp", MEDIA, [1]).unwrap();
    for action in ["", "a\u{0}", &"x".repeat(65)] {
        assert!(db.write(draft().action(action)).unwrap_err().is_invalid_input(), "{action:?}");
    }
    for media in ["", "é", "a\n", &"x".repeat(256)] {
        let problem = Draft::bytes("lamp", media, [1]).and_then(|draft| db.write(draft)).unwrap_err();
        assert!(problem.is_invalid_input(), "{media:?}");
    }
    assert!(db.write(draft().actor("nobody")).unwrap_err().is_not_found());
    assert_eq!(db.stats().unwrap().entries, 0);
    let media = "x".repeat(255);
    let draft = Draft::bytes("lamp", &media, []).unwrap().action(&"é".repeat(32)).actor(&"x".repeat(128));
    db.write(draft).unwrap();
    let record = db.get("lamp").unwrap().unwrap();
    assert_eq!((record.media_type(), record.data()), (Some(&*media), Some(&b""[..])));
    assert_eq!(record.action(), Some(&*"é".repeat(32)));
    assert_eq!(record.actor_name(), Some(&*"x".repeat(128)));
}

/// One refused draft refuses its batch, and leaves no trace in what comes
/// after.
#[test]
fn a_batch_with_one_bad_draft_writes_nothing() {
    let (_scratch, db) = fresh();
    db.put("lamp", "0").unwrap();
    let bad = [
        Draft::json("lamp", "2").unwrap().actor("nobody"),
        Draft::json("lamp", "2").unwrap().expect(Expect::Absent),
        Draft::bytes("lamp", MEDIA, vec![0; MOST + 1]).unwrap(),
    ];
    for bad in bad {
        let batch = vec![Draft::json("lamp", "1").unwrap(), Draft::json("new", "1").unwrap(), bad];
        db.write_batch(batch).unwrap_err();
        assert_eq!(db.stats().unwrap().entries, 1);
        assert_eq!(text(&db.get("lamp").unwrap().unwrap()), "0");
        assert!(db.get("new").unwrap().is_none());
    }
    // Later drafts of a batch see the earlier ones.
    let batch = vec![
        Draft::json("new", "1").unwrap().expect(Expect::Absent),
        Draft::json("new", "2").unwrap(),
        Draft::json("lamp", "1").unwrap(),
    ];
    let receipts = db.write_batch(batch).unwrap();
    assert_eq!(
        receipts.iter().map(|receipt| (receipt.seq, receipt.position)).collect::<Vec<_>>(),
        [(1, 1), (2, 2), (2, 3)]
    );
    assert_eq!(db.write_batch(Vec::new()).unwrap(), []);
    assert_intact(&db);
}

fn place(problem: &Error) -> (usize, usize) {
    match problem {
        Error::Json { line, column, .. } => (*line, *column),
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_not_json_is_refused_with_line_and_column() {
    let (_scratch, db) = fresh();
    let cases = [
        ("", 1),
        ("{", 1),
        ("[1,]", 1),
        ("{\"a\":1}\n{\"b\":2}", 2),
        ("{\n\"a\":\n  nope}", 3),
        ("{\"a\":1,\n\"a\":2}", 2),
        ("{\"\\u0061\":1,\"a\":2}", 1),
        ("\u{feff}{}", 1),
        ("'a'", 1),
        ("01", 1),
        ("+1", 1),
        (".5", 1),
        ("1.", 1),
        ("NaN", 1),
        ("Infinity", 1),
        ("\"a\nb\"", 1),
        ("\"\\ud800\"", 1),
        ("\"\\x41\"", 1),
        ("// no\n1", 1),
        ("[1 2]", 1),
        ("tru", 1),
    ];
    for (json, line) in cases {
        let problem = db.put("lamp", json).unwrap_err();
        assert!(problem.is_invalid_input(), "{json:?}: {problem}");
        let (found, column) = place(&problem);
        assert!((line..=line + 1).contains(&found), "{json:?}: line {found}");
        assert!(column <= json.len() + 1, "{json:?}: column {column}");
    }
    assert_eq!(place(&Draft::json("lamp", *b"[1,\n\"\xff\"]").unwrap_err()), (2, 2));
    let deep = "[".repeat(1_000_000);
    db.put("lamp", &deep).unwrap_err();
    assert_eq!(db.stats().unwrap().entries, 0);
}

#[test]
fn json_is_kept_as_the_text_it_was() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    let digits = "9".repeat(300);
    let texts = [
        "123456789012345678901234567890",
        "-0",
        "-0.0",
        "1e-400",
        "1E+300",
        "0.1000000000000000055511151231257827",
        " { \"b\" : 1 ,\r\n\t\"a\" : 2 } \n",
        "\"\\u0041\\/\\ud83d\\ude00\\u0000\"",
        "{\"\":{\"\":[]}}",
        "null",
        &digits,
    ];
    for (n, json) in texts.iter().enumerate() {
        db.put(&format!("text {n}"), json).unwrap();
    }
    db.close().unwrap();
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    for (n, json) in texts.iter().enumerate() {
        assert_eq!(text(&db.get(&format!("text {n}")).unwrap().unwrap()), *json);
    }
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    db.put("deep", &deep).unwrap();
    assert_eq!(text(&db.get("deep").unwrap().unwrap()), deep);
    // Numbers that are infinite to most readers are refused, and where.
    for (json, column) in [("[1E+400]", 8), (&*format!("[{}]", "9".repeat(400)), 402)] {
        let (line, found) = place(&db.put("lamp", json).unwrap_err());
        assert!(line == 1 && found <= column, "column {found}");
    }
    assert!(db.get("lamp").unwrap().is_none());
}

/// Bytes that tell where they are.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8).collect()
}

fn assert_data(db: &Db, sizes: &[usize]) {
    for size in sizes {
        let record = db.get(&format!("{size} bytes")).unwrap().unwrap();
        assert!(record.data() == Some(&bytes(*size)), "{size} bytes came back otherwise");
    }
}

/// Sizes around what lies in one record, one part row, and 16 MiB.
#[test]
fn large_data_comes_back_after_reopening_and_travelling() {
    let overhead = 16 + 1 + 6 + 7 + 1 + MEDIA.len();
    // Without optimisation each pass over 16 MiB takes two seconds.
    let largest = if cfg!(debug_assertions) && rounds(0) == 0 { 700_000 } else { MOST };
    let sizes = [
        0,
        1,
        4096 - overhead - 1,
        4096 - overhead,
        4096 - overhead + 1,
        5_000,
        6144 - overhead,
        6144 - overhead + 1,
        100_000,
        largest,
    ];
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    for size in sizes {
        db.write(Draft::bytes(&format!("{size} bytes"), MEDIA, bytes(size)).unwrap()).unwrap();
    }
    let too_large = Draft::bytes("lamp", MEDIA, bytes(MOST + 1)).and_then(|draft| db.write(draft)).unwrap_err();
    assert!(too_large.is_invalid_input(), "{too_large}");
    assert!(too_large.to_string().contains("16777216"), "{too_large}");
    assert_data(&db, &sizes);
    db.close().unwrap();

    let db = relaxed().open(&dir, &passphrase()).unwrap();
    assert_data(&db, &sizes);
    assert_intact(&db);
    let stream = export(&db);

    // The node itself can read what it exported, with its keys and no more.
    let copy = scratch.path().join("copy");
    thingdb_tests::database::keys_alone(&dir, &copy);
    let copy = relaxed().open(&copy, &passphrase()).unwrap();
    let summary = copy.import(ImportOptions::new(), &stream[..]).unwrap();
    assert_eq!((summary.added, summary.refused), (sizes.len() as u64, 0), "{summary:?}");
    assert_data(&copy, &sizes);
    assert_intact(&copy);

    // Another node stores it and passes it on, and reads nothing.
    let stranger = relaxed().create(scratch.path().join("stranger"), &passphrase()).unwrap();
    let summary = stranger.import(ImportOptions::new().trust(TrustPolicy::All), &stream[..]).unwrap();
    assert_eq!((summary.added, summary.refused), (sizes.len() as u64, 0), "{summary:?}");
    let record = stranger.get("5000 bytes").unwrap().unwrap();
    assert_eq!((record.data(), record.content()), (None, &thingdb::Content::Undecryptable));
    assert!(export(&stranger).len() > largest);
}

#[test]
fn the_other_suite_travels_too() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().suite(Suite::ChaCha20Poly1305).create(&dir, &passphrase()).unwrap();
    db.put("lamp", "1").unwrap();
    db.write(Draft::bytes("large", MEDIA, bytes(50_000)).unwrap()).unwrap();
    db.close().unwrap();
    // The suite is the entry's, not the database's.
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    db.put("lamp", "2").unwrap();
    assert_eq!(db.get("large").unwrap().unwrap().data(), Some(&*bytes(50_000)));
    let suites: Vec<Suite> = db.history("lamp").unwrap().map(|record| record.unwrap().header().suite).collect();
    assert_eq!(suites, [Suite::ChaCha20Poly1305, Suite::Aes256Gcm]);
    assert_intact(&db);
}

#[test]
fn odd_ranges_of_a_history_are_empty_and_no_panic() {
    let (_scratch, db) = fresh();
    for n in 1..=130 {
        db.put("lamp", &format!("{n}")).unwrap();
    }
    use std::ops::Bound;
    let seqs = |range: (Bound<u64>, Bound<u64>)| -> Vec<u64> {
        let forward: Vec<u64> = db.history_range("lamp", range).unwrap().map(|record| record.unwrap().seq()).collect();
        let mut backward: Vec<u64> =
            db.history_range("lamp", range).unwrap().rev().map(|record| record.unwrap().seq()).collect();
        backward.reverse();
        assert_eq!(forward, backward, "{range:?}");
        forward
    };
    let bounds = [0, 1, 2, 63, 64, 65, 127, 128, 129, 130, 131, u64::MAX - 1, u64::MAX];
    let mut bounds: Vec<Bound<u64>> =
        bounds.iter().flat_map(|at| [Bound::Included(*at), Bound::Excluded(*at)]).collect();
    bounds.push(Bound::Unbounded);
    for start in &bounds {
        for end in &bounds {
            let expected: Vec<u64> =
                (1..=130_u64).filter(|seq| std::ops::RangeBounds::contains(&(*start, *end), seq)).collect();
            assert_eq!(seqs((*start, *end)), expected, "{start:?} to {end:?}");
        }
    }
    assert_eq!(db.get_seq("lamp", 0).unwrap().len(), 0);
    assert_eq!(db.get_seq("lamp", u64::MAX).unwrap().len(), 0);
    assert_eq!(db.history("nothing").unwrap().count(), 0);
    // From both ends at once, each entry comes once.
    let mut history = db.history("lamp").unwrap();
    let mut found = Vec::new();
    while let Some(record) = if found.len() % 3 == 0 { history.next_back() } else { history.next() } {
        found.push(record.unwrap().seq());
    }
    found.sort_unstable();
    assert_eq!(found, (1..=130).collect::<Vec<_>>());
    assert!(history.next().is_none() && history.next_back().is_none());
}
