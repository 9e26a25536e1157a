//! Tokens: what is kept of them, and how long they are good.

use std::fs;
use std::path::Path;

use thingdb::{Db, Scope, Time, TokenRefusal, TokenRequest};
use thingdb_tests::database::{options, passphrase};

fn reopen(db: Db, dir: &Path) -> Db {
    db.close().unwrap();
    options().open(dir, &passphrase()).unwrap()
}

fn micros_from_now(micros: i64) -> Time {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    Time::from_micros((i64::try_from(now).unwrap() + micros).try_into().unwrap()).unwrap()
}

#[test]
fn a_token_is_good_until_it_is_removed_or_expires() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("db");
    let db = options().create(&dir, &passphrase()).unwrap();
    let request = TokenRequest::new("press").scope(Scope::Import).scope(Scope::Read).things("plant-3/");
    let (made, press) = db.new_token(&request.expires(micros_from_now(3_600_000_000))).unwrap();
    let (_, over) = db.new_token(&TokenRequest::new("over").scope(Scope::Admin).expires(micros_from_now(-1))).unwrap();
    let (_, idle) = db.new_token(&TokenRequest::new("idle")).unwrap();
    assert_eq!(made.last_used, None);
    assert!(db.new_token(&TokenRequest::new("press")).unwrap_err().is_invalid_input());
    assert!(db.new_token(&TokenRequest::new("")).unwrap_err().is_invalid_input());
    assert!(db.new_token(&TokenRequest::new(&"n".repeat(129))).unwrap_err().is_invalid_input());

    let shown = db.check_token(press.as_str()).unwrap();
    assert!(shown.allows(Scope::Import) && shown.allows(Scope::Read) && !shown.allows(Scope::Admin));
    assert!(shown.covers("plant-3/a") && !shown.covers("plant-30") && !shown.covers(""));
    assert_eq!(db.check_token(over.as_str()), Err(TokenRefusal::Expired));

    // Another start of the process knows the same, and when each was used.
    let db = reopen(db, &dir);
    let tokens = db.tokens();
    assert_eq!(tokens.iter().map(|token| token.name.as_str()).collect::<Vec<_>>(), ["press", "over", "idle"]);
    assert_eq!(tokens[0].id, made.id);
    assert_eq!(tokens[0].last_used, shown.last_used);
    assert!(tokens[0].last_used.is_some() && tokens[1].last_used.is_none() && tokens[2].last_used.is_none());
    assert!(db.check_token(press.as_str()).is_ok());
    assert!(db.check_token(idle.as_str()).unwrap().scopes.is_empty());

    assert!(db.remove_token("press").unwrap());
    assert!(!db.remove_token("press").unwrap());
    assert_eq!(db.check_token(press.as_str()), Err(TokenRefusal::Unknown));
    let db = reopen(db, &dir);
    assert_eq!(db.check_token(press.as_str()), Err(TokenRefusal::Unknown));
    assert_eq!(db.tokens().len(), 2);
}

#[test]
fn what_is_no_token_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let db = options().create(tmp.path().join("db"), &passphrase()).unwrap();
    let (_, text) = db.new_token(&TokenRequest::new("t").scope(Scope::Read)).unwrap();
    let text = text.as_str();
    for other in ["", "tdb", "x", &text.replace("tdb_", ""), &format!(" {text}"), &"a".repeat(1 << 20)] {
        assert_eq!(db.check_token(other), Err(TokenRefusal::Unknown));
    }
    for other in ["tdb_", &text[..61], &format!("{text}a"), &format!("{text} ")] {
        assert_eq!(db.check_token(other), Err(TokenRefusal::Malformed));
    }
    // Base32 has one spelling here.
    assert!(db.check_token(&text.to_ascii_uppercase()).is_err());
}

#[test]
fn the_text_of_a_token_is_kept_nowhere() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("db");
    let db = options().create(&dir, &passphrase()).unwrap();
    let (token, text) = db.new_token(&TokenRequest::new("t").scope(Scope::Read)).unwrap();
    db.check_token(text.as_str()).unwrap();
    assert!(!format!("{token:?}{text:?}{:?}", db.tokens()).contains(&text.as_str()[4..]));
    db.close().unwrap();
    let mut files = 0;
    let mut directories = vec![dir];
    while let Some(directory) = directories.pop() {
        for file in fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()) {
            if file.is_dir() {
                directories.push(file);
                continue;
            }
            let bytes = fs::read(&file).unwrap();
            files += 1;
            let needle = &text.as_str().as_bytes()[4..20];
            assert!(!bytes.windows(needle.len()).any(|window| window == needle), "{}", file.display());
        }
    }
    assert!(files > 3);
}
