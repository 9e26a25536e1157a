//! How far the exchange with each peer is, and how the last one ended: the
//! metrics, `peer show` and `doctor` tell it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::node::{Place, copy};

const BOTH: &str = "export,import";

/// A name that would end its label, if it could.
const ODD: &str = r#"b "7"\"#;

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn the_lag_of_a_peer_and_the_last_exchange_move() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    b.ok(&["peer", "add", "a", a.ok(&["card"]).trim(), "--yes"]);
    let at_b = b.serve();
    let token = place.path("token").to_str().unwrap().to_owned();
    b.ok(&["token", "new", "--peer", "a", "--scope", BOTH, "-o", &token]);
    let card = b.ok(&["card"]);
    a.ok(&["peer", "add", ODD, card.trim(), "--yes", "--url", &at_b.url, "--token-file", &token]);
    let server = a.serve_with(&["--metrics", "0"]);
    let of = |name: &str| format!(r#"thingdb_peer_{name}{{peer="b \"7\"\\"}}"#);
    let lag = || {
        let metrics = server.metrics();
        ["unsent_entries", "unfetched_entries"].map(|name| metrics.get(&of(name)).copied())
    };
    let last = || {
        let metrics = server.metrics();
        ["succeeded", "failed"].map(|how| metrics.get(&of(&format!("exchange_{how}_timestamp_seconds"))).copied())
    };
    assert_eq!((lag(), last()), ([None, None], [None, None]), "nothing is known before the first exchange");
    assert!(a.json(&["doctor"]).to_string().contains("none yet went through"));

    a.put("door", "1");
    b.write("lamp", 5);
    let start = now();
    a.ok(&["sync", ODD]);
    assert_eq!(lag(), [Some(0.0), Some(0.0)]);
    let [succeeded, failed] = last();
    let succeeded = succeeded.unwrap();
    assert!(failed.is_none() && (start - 0.001..=now()).contains(&succeeded), "{start} {succeeded} {failed:?}");

    a.write("plant", 3);
    assert_eq!(lag(), [Some(3.0), Some(0.0)]);
    b.write("lamp", 4);
    // A push sees how the peer's ledger stands, and fetches nothing.
    a.ok(&["push", ODD]);
    assert_eq!(lag(), [Some(0.0), Some(4.0)]);
    // A dry run is no exchange, but it sees the peer's newest checkpoint: what came
    // there from here counts until it is compared.
    let before = last();
    a.ok(&["sync", ODD, "--dry-run"]);
    assert_eq!((lag(), last()), ([Some(0.0), Some(7.0)], before));
    a.ok(&["pull", ODD]);
    assert_eq!(lag(), [Some(4.0), Some(0.0)], "what came from there counts until it is compared");
    a.ok(&["push", ODD]);
    assert_eq!(lag(), [Some(0.0), Some(0.0)]);
    let before = last();

    at_b.stop();
    a.fails(&["sync", ODD, "--tries", "1"], 14, "unreachable");
    let [kept, failed] = last();
    assert!(kept == before[0] && failed.unwrap() >= kept.unwrap(), "{kept:?} {failed:?}");
    let shown = a.json(&["peer", "show", ODD]);
    let exchange = &shown["exchange"];
    assert!(exchange["succeeded"].is_string() && exchange["failed"].is_string(), "{shown}");
    assert_eq!(exchange["why"], "unreachable", "{shown}");
    assert!(a.ok(&["peer", "show", ODD, "--format", "table"]).contains("last failure"));
    let doctor = a.json(&["doctor"]);
    let check = doctor["checks"].as_array().unwrap().iter().find(|check| check["check"] == "exchange").unwrap();
    assert_eq!(check["state"], "warn", "{check}");
    assert!(check["detail"].as_str().unwrap().ends_with("did not: unreachable"), "{check}");

    // It is kept when the server ends, and the next exchange makes it good.
    server.stop();
    let at_b = b.serve();
    a.ok(&["peer", "set", ODD, "--url", &at_b.url]);
    assert_eq!(a.json(&["peer", "show", ODD])["exchange"], *exchange);
    a.ok(&["sync", ODD]);
    let doctor = a.json(&["doctor"]);
    let check = doctor["checks"].as_array().unwrap().iter().find(|check| check["check"] == "exchange").unwrap();
    assert_eq!(check["state"], "ok", "{check}");
}

#[test]
fn a_node_that_takes_no_entries_any_more_shows_it() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    let at_b = b.serve();
    a.write("plant", 10);
    copy(&a.db(), &place.path("old"));
    a.write("plant", 10);
    a.reaches(&b, &at_b.url, BOTH);
    a.ok(&["sync", "b"]);
    std::fs::rename(a.db(), place.path("new")).unwrap();
    std::fs::rename(place.path("old"), a.db()).unwrap();
    a.reaches(&b, &at_b.url, BOTH);
    let server = a.serve_with(&["--metrics", "0"]);
    assert_eq!(server.metrics()["thingdb_read_only"], 0.0);
    // Its peer tells it that it was set back.
    a.fails(&["sync", "b"], 4, "rolled-back");
    assert_eq!(server.metrics()["thingdb_read_only"], 1.0);
}
