//! Entries that wait for others: no exchange says that all is well, and whoever
//! has what they wait for brings it.

use serde_json::Value;
use thingdb::{ImportOptions, KdfChoice, Options, Passphrase};

use super::liar::{Liar, Said};
use super::node::{Node, Place};

const BOTH: &str = "export,import";

/// a's entry about a door, c's after it, and a file with the latter alone.
fn two_entries(place: &Place) -> (Node, Node, Node, String) {
    let (a, b, c) = (place.node("a"), place.node("b"), place.node("c"));
    for (one, other) in [(&a, &b), (&a, &c), (&b, &c)] {
        one.knows(other);
    }
    a.put("door", "1");
    let file = place.path("door.ndjson").to_str().unwrap().to_owned();
    a.ok(&["export", "-o", &file]);
    c.ok(&["import", &file]);
    c.put("door", "2");
    c.ok(&["export", "--since", "1", "-o", &file]);
    (a, b, c, file)
}

#[test]
fn what_waits_is_told_at_each_exchange_until_it_goes_on() {
    let place = Place::new();
    let (a, b, c, file) = two_entries(&place);
    assert_eq!(b.json(&["import", &file])["pending"], 1);
    let other = place.node("other");
    b.knows(&other);
    let (at_other, at_a) = (other.serve(), a.serve());
    b.reaches(&other, &at_other.url, BOTH);
    b.reaches(&a, &at_a.url, BOTH);
    let first = a.json(&["log", "door"])[0]["id"].as_str().unwrap().to_owned();
    for way in ["pull", "sync", "sync"] {
        let output = b.run(&[way, "other", "--json"]);
        let said = String::from_utf8_lossy(&output.stderr);
        let done: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(6), "{said}");
        assert_eq!(done["waiting"]["entries"], 1, "{done}");
        assert_eq!(done["waiting"]["waits_for"][0], first.as_str(), "{done}");
        assert!(said.contains("1 entry waits here for 1 entry that is not here") && said.contains(&first), "{said}");
    }
    assert_eq!(b.json(&["stats"])["waiting"], 1);
    assert!(b.json(&["doctor"]).to_string().contains(&first));
    let done = b.json(&["sync", "a"]);
    assert!(done.get("waiting").is_none(), "{done}");
    assert_eq!(b.heads(), c.heads());
    assert_eq!(b.json(&["stats"])["waiting"], 0);
}

#[test]
fn what_waits_at_the_peer_goes_on_with_a_push() {
    let place = Place::new();
    let (a, b, c, file) = two_entries(&place);
    let fresh = place.node("fresh");
    for node in [&a, &b, &c] {
        fresh.knows(node);
    }
    // Somebody gets an entry without the one before it.
    let at_fresh = fresh.serve();
    a.reaches(&fresh, &at_fresh.url, BOTH);
    a.put("lamp", "1");
    a.ok(&["sync", "fresh", "--things", "lamp"]);
    fresh.run(&["import", &file]);
    assert_eq!(fresh.json(&["stats"])["waiting"], 1);
    a.ok(&["push", "fresh"]);
    assert_eq!(fresh.json(&["stats"])["waiting"], 0);
    assert_eq!(fresh.json(&["log", "door"]).as_array().unwrap().len(), 2);
    drop(b);
}

#[test]
fn a_peer_that_withholds_what_is_waited_for_is_told_each_time() {
    let place = Place::new();
    let (_a, b, c, file) = two_entries(&place);
    b.run(&["import", &file]);
    let server = c.serve_plainly();
    // It shows none of its entries, and finds none.
    let liar = Liar::new(&server, |asked| match asked.target.split('?').next() {
        Some("/sync/locate" | "/sync/ids") => Said::Edited(|_| Vec::new()),
        _ => Said::Truth,
    });
    liar.poses(&b, &c);
    for _ in 0..2 {
        let err = b.fails(&["pull", "c", "--things", "door"], 6, "waiting-entries");
        assert!(err.contains("is not here, and c does not give it"), "{err}");
    }
    // As soon as it does, it goes on.
    let honest = Liar::new(&server, |_| Said::Truth);
    honest.poses(&b, &c);
    b.ok(&["pull", "c", "--things", "door"]);
    assert_eq!(b.heads(), c.heads());
}

#[test]
fn what_waits_at_the_peer_after_a_push_is_told() {
    let place = Place::new();
    let (a, b, c, file) = two_entries(&place);
    let other = place.node("other");
    b.knows(&other);
    b.run(&["import", &file]);
    let at_b = b.serve();
    other.reaches(&b, &at_b.url, BOTH);
    a.reaches(&b, &at_b.url, BOTH);
    let first = a.json(&["log", "door"])[0]["id"].as_str().unwrap()[..32].to_owned();
    other.put("lamp", "1");
    for (way, sent) in [("push", 1), ("push", 0), ("sync", 0)] {
        let output = other.run(&[way, "b", "--json"]);
        let said = String::from_utf8_lossy(&output.stderr);
        let done: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(6), "{way}: {said}");
        assert_eq!(
            (&done["pushed"]["added"], &done["waiting_there"]["waits_for"][0]),
            (&sent.into(), &Value::from(&*first))
        );
        assert!(
            said.contains("waiting-entries") && said.contains("entries wait at b for 1 entry that is not there"),
            "{said}"
        );
        assert!(said.contains(&format!("{first} is neither at b nor here")), "{said}");
    }
    // What waits is about a door.
    other.ok(&["push", "b", "--things", "lamp"]);
    let done = a.json(&["push", "b"]);
    assert!(done.get("waiting_there").is_none(), "{done}");
    other.ok(&["push", "b"]);
    assert_eq!(b.json(&["stats"])["waiting"], 0);
    drop(c);
}

#[test]
fn what_a_peer_waits_for_comes_though_it_stands_below_the_cursors() {
    let place = Place::new();
    let (a, b, c, file) = two_entries(&place);
    let server = b.serve_plainly();
    // It says that it has everything.
    let liar = Liar::new(&server, |asked| match asked.target.split('?').next() {
        Some("/sync/have") => Said::Edited(|bits| vec![0xff; bits.len()]),
        _ => Said::Truth,
    });
    liar.poses(&a, &b);
    let done = a.json(&["push", "b"]);
    assert_eq!((&done["pushed"]["added"], b.entries()), (&0.into(), 0), "{done}");
    let honest = Liar::new(&server, |_| Said::Truth);
    honest.poses(&a, &b);
    // Nobody waits for it.
    assert_eq!(a.json(&["push", "b"])["pushed"]["added"], 0);
    assert_eq!(b.json(&["import", &file])["pending"], 1);
    a.ok(&["push", "b"]);
    assert_eq!(b.heads(), c.heads());
    assert_eq!(b.json(&["stats"])["waiting"], 0);
}

/// 31 days from now: what waits has waited for too long.
fn much_later() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from((since + std::time::Duration::from_secs(31 * 24 * 3600)).as_micros()).unwrap()
}

/// An entry that comes while the one before it is refused waits. It goes when it
/// has waited for too long, and has to come once more when the other is accepted.
#[test]
fn what_was_dropped_while_it_waited_is_offered_again() {
    let place = Place::new();
    let (a, x) = (place.node("a"), place.node("x"));
    a.knows(&x);
    x.put("door", "1");
    let file = place.path("door.ndjson").to_str().unwrap().to_owned();
    x.ok(&["export", "-o", &file]);
    a.ok(&["import", &file]);
    a.put("door", "2");
    for (name, way) in [("b", "push"), ("c", "pull")] {
        let node = place.node(name);
        node.knows(&a);
        let exchange = |code: i32| {
            let server = if way == "push" { node.serve() } else { a.serve() };
            let (one, other) = if way == "push" { (&a, &node) } else { (&node, &a) };
            one.reaches(other, &server.url, BOTH);
            let output = one.run(&[way, other.name]);
            assert_eq!(output.status.code(), Some(code), "{way}: {}", String::from_utf8_lossy(&output.stderr));
            server.stop();
        };
        exchange(6);
        assert_eq!((node.entries(), node.json(&["stats"])["waiting"].as_u64()), (0, Some(1)), "{way}");
        let later = Options::new().kdf(KdfChoice::weakest()).clock(much_later);
        let db = later.open(node.db(), &Passphrase::new("correct horse")).unwrap();
        db.import(ImportOptions::new(), &b""[..]).unwrap();
        assert_eq!((db.waiting().unwrap().entries, db.waiting().unwrap().expired), (0, 1), "{way}");
        db.close().unwrap();
        node.knows(&x);
        exchange(0);
        assert_eq!(node.heads(), a.heads(), "{way}");
    }
}
