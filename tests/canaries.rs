//! Words that must not leave: none of them is found in any file of a database,
//! in whatever spelling, nor in what types and errors print.

use std::fs;
use std::path::Path;

use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER, HEXUPPER};
use thingdb::{Db, Draft, Expect, ImportOptions, Options, Passphrase, TrustPolicy, VerifyOptions};
use thingdb_tests::database::{files_in, options, passphrase, relaxed, scratch};
use thingdb_tests::stranger::{Stranger, lines_of};

const THING: &str = "canary-thing-Vq7Zr2";
const ACTOR: &str = "canary-actor-Xw9Lk4";
const TRUSTED: &str = "canary-trusted-Bn3Hd8";
const ACTION: &str = "canary-action-Tj5Fs1";
const MEDIA: &str = "x-canary/media-Gy6Pm0";
const DATA: &str = "canary-data-Rc8Ne3";
const PASSPHRASE: &str = "canary-passphrase-Ku2Wa7";
const SECOND_PASSPHRASE: &str = "canary-second-Hs4Qb9";
const PENDING: &str = "canary-pending-Yd1Mv6";

/// The spellings of a word that are looked for.
fn spellings(word: &[u8]) -> Vec<Vec<u8>> {
    let mut spellings = vec![word.to_vec(), HEXLOWER.encode(word).into_bytes(), HEXUPPER.encode(word).into_bytes()];
    // Base64 at each of the three places where a word may begin; what depends
    // on the neighbours is cut off.
    for skip in 0..3 {
        let inner = &word[skip..skip + (word.len() - skip) / 3 * 3];
        spellings.push(BASE64.encode(inner).into_bytes());
        spellings.push(BASE64_NOPAD.encode(inner).into_bytes());
    }
    // UTF-16, and the numbers of a list of bytes.
    spellings.push(word.iter().flat_map(|byte| [*byte, 0]).collect());
    spellings.push(
        word.iter()
            .map(|byte| format!("{byte}, "))
            .collect::<String>()
            .trim_end_matches([',', ' '])
            .as_bytes()
            .to_vec(),
    );
    spellings
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else { return true };
    let mut from = haystack;
    while let Some(at) = from.iter().position(|byte| byte == first) {
        from = &from[at + 1..];
        if from.starts_with(rest) {
            return true;
        }
    }
    false
}

fn assert_nowhere(dir: &Path, words: &[&[u8]]) {
    for file in files_in(dir) {
        let bytes = fs::read(&file).unwrap();
        let name = file.display().to_string();
        for word in words {
            for spelling in spellings(word) {
                assert!(!find(&bytes, &spelling), "{:?} is in {name}", String::from_utf8_lossy(&spelling));
                assert!(!find(name.as_bytes(), &spelling), "{name} tells");
            }
        }
    }
}

#[test]
fn a_word_is_found_in_each_of_its_spellings() {
    let text = format!("..{}..", BASE64.encode(format!("ab{THING}cd").as_bytes()));
    assert!(spellings(THING.as_bytes()).iter().any(|spelling| find(text.as_bytes(), spelling)));
    let text = format!("{:?}", THING.as_bytes());
    assert!(spellings(THING.as_bytes()).iter().any(|spelling| find(text.as_bytes(), spelling)));
    assert!(!find(b"canary", b"canaries"));
}

/// A database in which each word was used in each way there is.
fn nest(dir: &Path) -> (Db, String) {
    let passphrase = Passphrase::new(PASSPHRASE);
    let db = relaxed().actor(ACTOR).create(dir, &passphrase).unwrap();
    let draft = |data: String| Draft::bytes(THING, MEDIA, data).unwrap().action(ACTION);
    db.write(draft(DATA.to_owned())).unwrap();
    db.write_batch((0..40).map(|_| draft(DATA.repeat(3))).collect()).unwrap();
    // A payload in parts, and an attachment.
    db.write(draft(DATA.repeat(2000)).attach(MEDIA, DATA.repeat(10).into_bytes())).unwrap();
    db.put(THING, &format!("{{\"{DATA}\":\"{DATA}\"}}")).unwrap();
    db.add_passphrase(&Passphrase::new(SECOND_PASSPHRASE)).unwrap();
    let recovery = db.new_recovery_key().unwrap().text().as_str().to_owned();
    let mut stranger = Stranger::new(TRUSTED);
    stranger.readers.push(db.card().unwrap().encryption_key);
    db.trust_actor(TRUSTED, stranger.actor()).unwrap();
    // One that is here, and one that waits for its prev.
    let mut history = stranger.history(&format!("{THING} of {TRUSTED}"), 1, 3);
    let waiting = stranger.history(PENDING, 1, 3);
    history.extend(waiting.into_iter().skip(1));
    let all = ImportOptions::new().trust(TrustPolicy::All);
    let summary = db.import(all, &lines_of(&history)[..]).unwrap();
    assert_eq!((summary.added, summary.pending), (3, 2), "{summary:?}");
    db.checkpoint().unwrap();
    (db, recovery)
}

#[test]
fn no_file_of_a_database_tells_a_word() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let (db, recovery) = nest(&dir);
    let letters: String = recovery.chars().filter(char::is_ascii_alphanumeric).collect();
    let words: Vec<&[u8]> =
        [THING, ACTOR, TRUSTED, ACTION, MEDIA, DATA, PASSPHRASE, SECOND_PASSPHRASE, PENDING, &recovery, &letters]
            .iter()
            .map(|word| word.as_bytes())
            .collect();
    // Nothing that could be secret is shorter than what chance would find.
    assert!(words.iter().all(|word| word.len() > 15));
    assert_nowhere(&dir, &words);
    db.close().unwrap();
    assert_nowhere(&dir, &words);
    // Reading, listing, verifying, repairing leave nothing either.
    let db = options().rebuild(true).open(&dir, &Passphrase::new(PASSPHRASE)).unwrap();
    db.verify(VerifyOptions::new()).unwrap();
    assert_eq!(db.things().unwrap().count(), 2);
    db.change_passphrase(&Passphrase::new("canary-third-Oe5Tc8")).unwrap();
    db.close().unwrap();
    assert_nowhere(&dir, &words);
    assert_nowhere(&dir, &[b"canary-third-Oe5Tc8", b"canary"]);
}

/// The keys themselves: none lies anywhere in clear.
#[test]
fn no_file_of_a_database_holds_a_key_in_clear() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    relaxed().create(&dir, &passphrase()).unwrap().put("lamp", "1").unwrap();
    let keys: Vec<Vec<u8>> = thingdb_tests::rows::Rows::edit(&dir, |rows| {
        let keyring = rows.keyring();
        let mut keys = vec![
            keyring.node_key().seed().to_vec(),
            keyring.index_key().as_bytes().to_vec(),
            keyring.row_key().as_bytes().to_vec(),
            keyring.records_key().as_bytes().to_vec(),
            keyring.key_tree().position_key(0).unwrap().as_bytes().to_vec(),
            keyring.key_tree().subtree(0, 20).unwrap().key().as_bytes().to_vec(),
            keyring.decryption_key().as_bytes().to_vec(),
        ];
        keys.extend(keyring.actors().iter().map(|actor| actor.key.seed().to_vec()));
        keys.extend(rows.record(0).cek.map(|cek| cek.to_vec()));
        keys
    });
    assert_eq!(keys.len(), 9);
    for key in &keys {
        assert_nowhere(&dir, &[key]);
    }
}

/// What types and errors print is for logs: no data, no passphrase, no key.
/// Ids of things and names of actors stand in errors that are about them.
#[test]
fn nothing_secret_is_printed() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let (db, _) = nest(&dir);
    let key = db.new_recovery_key().unwrap();
    let recovery = key.text().as_str().to_owned();
    let mut printed: Vec<String> = Vec::new();
    let mut print = |value: &dyn std::fmt::Debug| {
        printed.push(format!("{value:?}"));
        printed.push(format!("{value:#?}"));
    };
    print(&db);
    print(&Passphrase::new(PASSPHRASE));
    print(&key);
    print(&key.text());
    print(&Draft::bytes(THING, MEDIA, DATA).unwrap().attach(MEDIA, DATA));
    let record = db.get(THING).unwrap().unwrap();
    print(&record);
    print(&record.content());
    print(&record.header());
    print(&db.history(THING).unwrap());
    print(&db.things().unwrap());
    print(&db.own_actors());
    print(&db.trusted_actors());
    print(&db.key_slots());
    print(&db.stats().unwrap());
    print(&db.card().unwrap());
    print(&db.verify(VerifyOptions::new()).unwrap());
    print(&Options::new());
    print(&ImportOptions::new());
    print(&thingdb::ExportOptions::new());
    let mut errors = vec![
        db.put_if(THING, Expect::Absent, &format!("\"{DATA}\"")).unwrap_err(),
        db.put(THING, &format!("{{\"a\":\"{DATA}\" x")).unwrap_err(),
        db.put(THING, &format!("{DATA} {DATA}")).unwrap_err(),
        db.write(Draft::bytes(THING, MEDIA, DATA).unwrap().actor("nobody")).unwrap_err(),
        Draft::bytes("", MEDIA, DATA).unwrap_err(),
        db.change_passphrase(&Passphrase::new("Ku2Wa7")).unwrap_err(),
    ];
    db.close().unwrap();
    errors.push(options().open(&dir, &Passphrase::new(format!("{PASSPHRASE} no"))).unwrap_err());
    for error in &errors {
        printed.push(format!("{error}"));
        printed.push(format!("{error:?}"));
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            printed.push(format!("{cause} {cause:?}"));
            source = cause.source();
        }
    }
    let letters: String = recovery.chars().filter(char::is_ascii_alphanumeric).collect();
    for text in printed {
        for word in [DATA, PASSPHRASE, SECOND_PASSPHRASE, "Ku2Wa7", &recovery, &letters] {
            for spelling in spellings(word.as_bytes()) {
                assert!(!find(text.as_bytes(), &spelling), "{word} is printed: {text}");
            }
        }
    }
}
