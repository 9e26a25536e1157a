//! Entries that wait for others: no exchange says that all is well, and whoever
//! has what they wait for brings it.

use serde_json::Value;

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
