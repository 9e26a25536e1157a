//! Single fields of an entry are shown, and nothing of the rest: over all ways that an
//! entry goes.

use thingdb::format::audit::Memos;
use thingdb::format::fields::{FieldName, ShownFields};
use thingdb::format::proof::{Content as Proven, ProofCheck, ProofReport, examine};
use thingdb::{Content, Db, Draft, Erase, Error, ImportOptions, ProveOptions, TrustPolicy};
use thingdb_tests::database::{assert_intact, export, fresh, passphrase, relaxed, scratch};
use thingdb_tests::gone::{search, secrets};

const DATA: &str = r#"{"temp":20.10,"by":"CANARY-bob","at":{"site":"plant-3","secret":["CANARY-1",7]}}"#;

fn draft(thing: &str) -> Draft {
    Draft::json(thing, DATA).unwrap().fields_provable(true)
}

fn names(names: &[&str]) -> Vec<FieldName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn prove(db: &Db, thing: &str, fields: &[&str]) -> Result<Vec<u8>, Error> {
    let mut file = Vec::new();
    db.prove(thing, ProveOptions::new().fields(names(fields)), &mut file)?;
    Ok(file)
}

/// What a stranger sees: of each entry what is shown of it.
fn check(db: &Db, file: &[u8]) -> (ProofReport, Vec<Proven>) {
    let (mut check, mut memos) = (ProofCheck::new().trust(&db.card().unwrap()), Memos::default());
    let lines = file.split_inclusive(|byte| *byte == b'\n').zip(1..);
    let take = |(line, number)| check.take(examine(line, number, &mut memos)).map(|proven| proven.content);
    let found = lines.filter_map(take).collect();
    (check.finish(), found)
}

fn shown(content: &Proven) -> &ShownFields {
    match content {
        Proven::PartlyShown(shown) => shown,
        other => panic!("{other:?}"),
    }
}

fn texts(shown: &ShownFields) -> Vec<(&str, &str)> {
    shown.fields.iter().map(|field| (field.name.as_str(), field.text())).collect()
}

#[test]
fn a_stranger_sees_the_fields_and_nothing_else() {
    let (_scratch, db) = fresh();
    db.write(draft("part-42")).unwrap();
    db.put("part-42", r#"{"temp":21}"#).unwrap();
    let file = prove(&db, "part-42", &["/temp", "/at/site", "@actor"]).unwrap();
    let (report, found) = check(&db, &file);
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.partly_shown, report.withheld, report.shown), (1, 1, 0));
    assert_eq!(report.complete.map(|complete| complete.count), Some(2));
    let name = db.own_actors()[0].name.clone();
    assert_eq!(texts(shown(&found[0])), [("@actor", &*name), ("/temp", "20.10"), ("/at/site", "\"plant-3\"")]);
    assert_eq!(shown(&found[0]).hidden(), 5);
    // What is hidden is not there, and neither are the keys.
    let text = String::from_utf8(file).unwrap();
    for hidden in ["CANARY", "\"cek\"", "\"payload\":"] {
        assert!(!text.contains(hidden), "{hidden}");
    }
    for hidden in ["CANARY-bob", "\"CANARY-bob\"", "\"CANARY-1\""] {
        assert!(!text.contains(&data_encoding::BASE64.encode(hidden.as_bytes())), "{hidden}");
    }
    let entry: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    let members: Vec<&String> = entry["fields"].as_object().unwrap().keys().collect();
    assert_eq!(members, ["count", "key", "shown"]);
}

#[test]
fn nothing_is_shown_that_cannot_be_shown_alone() {
    let (_scratch, db) = fresh();
    db.put("part-42", DATA).unwrap();
    let problem = prove(&db, "part-42", &["/temp"]).unwrap_err();
    assert!(matches!(problem, Error::NoFieldsToProve { without: 1, .. }), "{problem}");
    db.write(draft("part-42")).unwrap();
    assert!(matches!(prove(&db, "part-42", &["/nowhere"]), Err(Error::NoFieldsToProve { without: 1, .. })));
    // What is to be withheld stays so.
    let mut file = Vec::new();
    let options = ProveOptions::new().fields(names(&["@actor"])).withhold_seq(2);
    assert!(matches!(db.prove("part-42", options, &mut file), Err(Error::NoFieldsToProve { .. })));
}

#[test]
fn what_is_put_without_the_option_has_the_encoding_that_it_had() {
    let dir = scratch();
    let plain = relaxed().create(dir.path().join("plain"), &passphrase()).unwrap();
    let fields = relaxed().fields_provable(true).create(dir.path().join("fields"), &passphrase()).unwrap();
    let encoding = |db: &Db| match db.get("part-42").unwrap().unwrap().content() {
        Content::Open(body) => body.as_bytes()[0],
        other => panic!("{other:?}"),
    };
    plain.put("part-42", DATA).unwrap();
    assert_eq!(encoding(&plain), 0);
    fields.put("part-42", DATA).unwrap();
    assert_eq!(encoding(&fields), 2);
    fields.write(draft("part-42").fields_provable(false)).unwrap();
    assert_eq!(encoding(&fields), 0);
    plain.write(draft("part-42").attach("text/plain", *b"signed")).unwrap();
    assert_eq!(encoding(&plain), 3);
    assert_intact(&plain);
    assert_intact(&fields);
}

#[test]
fn data_that_has_two_meanings_is_refused_when_it_is_put() {
    let (_scratch, db) = fresh();
    let put = |data: &str| {
        db.write(Draft::bytes("part-42", "application/json", data).unwrap().fields_provable(true)).unwrap_err()
    };
    let problem = put(r#"{"x":[{"a":1,"\u0061":2}]}"#);
    assert_eq!(problem.to_string(), "the data at \"/x/0/a\" is there twice");
    assert!(problem.is_invalid_input());
    for bad in ["", "{", r#"["\ud83d"]"#, &"[".repeat(200)] {
        assert!(put(bad).is_invalid_input(), "{bad}");
    }
    assert!(db.get("part-42").unwrap().is_none());
    // Without the option it is stored as the bytes that it is.
    db.write(Draft::bytes("part-42", "application/json", "{").unwrap()).unwrap();
}

#[test]
fn a_peer_that_reads_an_entry_can_show_its_fields_and_one_that_cannot_shows_none() {
    let dir = scratch();
    let db = relaxed().create(dir.path().join("one"), &passphrase()).unwrap();
    let peer = relaxed().actor("peer").create(dir.path().join("two"), &passphrase()).unwrap();
    let relay = relaxed().actor("relay").create(dir.path().join("three"), &passphrase()).unwrap();
    peer.add_peer("one", &db.card().unwrap()).unwrap();
    relay.add_peer("one", &db.card().unwrap()).unwrap();
    db.add_peer("two", &peer.card().unwrap()).unwrap();
    db.write(draft("part-42").to(["two"])).unwrap();
    let stream = export(&db);
    let trust = || ImportOptions::new().trust(TrustPolicy::All);
    assert_eq!(peer.import(trust(), &stream[..]).unwrap().added, 1);
    assert_eq!(relay.import(trust(), &stream[..]).unwrap().added, 1);
    let fields = |db: &Db| {
        let (report, found) = check(db, &prove(db, "part-42", &["/at", "@action"]).unwrap());
        assert!(report.is_good(), "{report:?}");
        shown(&found[0]).clone()
    };
    // The same salts, the same hashes: they follow from the CEK.
    assert_eq!(fields(&db), fields(&peer));
    assert_eq!(texts(&fields(&peer)).len(), 4);
    assert!(matches!(prove(&relay, "part-42", &["/at"]), Err(Error::NoFieldsToProve { without: 0, .. })));
    for db in [&db, &peer, &relay] {
        assert_intact(db);
    }
}

#[test]
fn what_was_erased_has_no_fields() {
    let (scratch, db) = fresh();
    db.write(draft("part-42")).unwrap();
    let before = prove(&db, "part-42", &["/by"]).unwrap();
    db.close().unwrap();
    let dir = scratch.path().join("db");
    let known = secrets(&dir, &[0]);
    assert!(!search(&dir, &known).is_empty());
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    let plan = db.plan_erasure(&Erase::new("part-42", "asked for")).unwrap();
    db.erase(&plan).unwrap();
    assert!(matches!(prove(&db, "part-42", &["/by", "@actor"]), Err(Error::NoFieldsToProve { .. })));
    let mut file = Vec::new();
    db.prove("part-42", ProveOptions::new(), &mut file).unwrap();
    assert_eq!(check(&db, &file).0.erased, 1);
    // A file that was made before shows what it showed: it is out of reach.
    let (report, found) = check(&db, &before);
    assert!(report.is_good() && shown(&found[0]).fields.len() == 1);
    db.close().unwrap();
    assert_eq!(search(&dir, &known), Vec::<String>::new());
}
