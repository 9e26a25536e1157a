//! What one side refuses is offered again when it may be accepted, by itself
//! where that passes, and not before.

use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use thingdb::{KdfChoice, Options, Passphrase};

use super::liar::{Liar, Said};
use super::node::{Node, Place};
use super::watch::{arrives, asked_to_end};

const BOTH: &str = "export,import";

/// How far ahead of the others' clock an entry may be.
const TOLERANCE: Duration = Duration::from_secs(300);

/// How long the entry below is refused.
const REFUSED_FOR: Duration = Duration::from_secs(20);

fn clock_ahead() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from((since + TOLERANCE + REFUSED_FOR).as_micros()).unwrap()
}

/// Writes an entry with a clock that is ahead.
fn put_ahead(node: &Node, thing: &str) {
    let options = Options::new().kdf(KdfChoice::weakest()).clock(clock_ahead);
    let db = options.open(node.db(), &Passphrase::new("correct horse")).unwrap();
    db.put(thing, "1").unwrap();
    db.close().unwrap();
}

fn told(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn an_entry_from_the_future_comes_by_itself_when_its_time_has_come() {
    let place = Place::new();
    let (a, b, c) = (place.node("a"), place.node("b"), place.node("c"));
    for (one, other) in [(&a, &b), (&a, &c)] {
        one.knows(other);
    }
    a.put("lamp", "1");
    put_ahead(&a, "door");
    let (at_a, _at_b, at_c) = (a.serve(), b.serve(), c.serve());
    b.reaches(&a, &at_a.url, BOTH);
    a.reaches(&c, &at_c.url, BOTH);
    for (node, way, peer, sums) in [(&b, "pull", "a", "pulled"), (&a, "push", "c", "pushed")] {
        let first = node.run(&[way, peer, "--json"]);
        let (said, done) = (String::from_utf8_lossy(&first.stderr), told(&first));
        assert_eq!(first.status.code(), Some(6), "{said}");
        assert!(said.contains("offered again by itself, from 20"), "{said}");
        assert_eq!((&done[sums]["added"], &done[sums]["kinds"]["passing"]), (&1.into(), &1.into()), "{done}");
        let reason = &done[sums]["reasons"][0];
        assert_eq!((&reason["kind"], &reason["code"]), (&"passing".into(), &"clock-ahead".into()), "{done}");
        assert!(reason["again"].as_str().unwrap().starts_with("20"), "{done}");
        // Before its time it does not go, and is told.
        let again = node.run(&[way, peer, "--json"]);
        let done = told(&again);
        assert_eq!(again.status.code(), Some(6), "{done}");
        assert_eq!((&done[sums]["still_refused"], &done[sums]["refused"]), (&1.into(), &0.into()), "{done}");
    }
    // Nobody would wait an hour for the next exchange.
    let watches = [(&b, "pull", "a"), (&a, "push", "c")].map(|(node, way, peer)| {
        let mut watch = node.command(&[way, peer, "--watch", "1h", "-q"]);
        watch.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    });
    arrives(&b, "door");
    arrives(&c, "door");
    for watch in watches {
        assert_eq!(asked_to_end(watch, "-TERM").code(), Some(0));
    }
    for (node, way, peer, sums) in [(&b, "pull", "a", "pulled"), (&a, "push", "c", "pushed")] {
        let done = node.json(&[way, peer]);
        assert!(done[sums].get("still_refused").is_none(), "{done}");
    }
}

#[test]
fn what_is_refused_goes_again_when_what_was_wrong_may_have_changed() {
    // What the peer says of why, and how often the entry goes in three pushes.
    let later = "2999-01-01T00:00:00.000000Z";
    let cases = [
        (json!({"kind": "permanent"}), json!({"permanent": 1}), 1),
        (json!({"kind": "trust"}), json!({"trust": 1}), 1),
        (json!({"kind": "version"}), json!({"version": 1}), 1),
        (json!({"kind": "passing"}), json!({"passing": 1}), 3),
        (json!({"kind": "passing", "again": "1970-01-01T00:00:00.000000Z"}), json!({"passing": 1}), 3),
        (json!({"kind": "passing", "again": later}), json!({"passing": 1}), 1),
        // A server of another version.
        (json!({"kind": "of a new kind"}), json!({}), 1),
        (json!({}), json!({}), 1),
        (Value::Null, json!({"passing": 1}), 3),
        (Value::Null, Value::Null, 1),
    ];
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    let server = b.serve_plainly();
    for (n, (why, kinds, times)) in cases.into_iter().enumerate() {
        let what = format!("{why} {kinds}");
        let id: Arc<Mutex<String>> = Arc::default();
        let named = Arc::clone(&id);
        let edit = move |body: Vec<u8>| {
            let mut told: Value = serde_json::from_slice(&body).unwrap();
            (told["added"], told["known"], told["refused"]) = (0.into(), 0.into(), 1.into());
            match &kinds {
                Value::Null => drop(told.as_object_mut().unwrap().remove("kinds")),
                kinds => {
                    let mut all = json!({"permanent": 0, "trust": 0, "version": 0, "passing": 0});
                    all.as_object_mut().unwrap().extend(kinds.as_object().unwrap().clone());
                    told["kinds"] = all;
                }
            }
            if let Some(why) = why.as_object() {
                let mut reason = json!({"id": *named.lock().unwrap(), "reason": "it says so"});
                reason.as_object_mut().unwrap().extend(why.clone());
                told["reasons"] = json!([reason]);
            }
            serde_json::to_vec(&told).unwrap()
        };
        let edit = Arc::new(edit);
        let liar = Liar::new(&server, move |asked| match asked.target.split('?').next() {
            Some("/sync/entries") => Said::EditedBy(edit.clone()),
            // It has nothing of what it refuses.
            Some("/sync/have") => Said::Edited(|bits| vec![0; bits.len()]),
            _ => Said::Truth,
        });
        liar.poses(&a, &b);
        *id.lock().unwrap() = a.put(&format!("lamp-{n}"), "1");
        let prefix = format!("lamp-{n}");
        for round in 0..3 {
            let pushed = a.run(&["push", "b", "--things", &prefix, "--json"]);
            let done = &told(&pushed)["pushed"];
            let count = |name: &str| done[name].as_u64().unwrap_or(0);
            assert_eq!(count("refused") + count("still_refused"), 1, "{what}, {round}: {done}");
            assert_eq!(pushed.status.code(), Some(6), "{what}, {round}");
        }
        assert_eq!(liar.count("/sync/entries"), times, "{what}");
        // With --all it goes in any case.
        a.run(&["push", "b", "--things", &prefix, "--all"]);
        assert_eq!(liar.count("/sync/entries"), times + 1, "{what}");
    }
}

#[test]
fn only_what_was_refused_goes_again() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.ok(&["actor", "new", "carol"]);
    for n in 0..30 {
        let actor = if n % 10 == 5 { "carol" } else { "a" };
        a.ok(&["put", &format!("plant-{n}"), "1", "--actor", actor]);
    }
    let server = a.serve();
    b.reaches(&a, &server.url, BOTH);
    let first = b.run(&["pull", "a", "--json"]);
    let done = told(&first);
    assert_eq!((&done["pulled"]["added"], &done["pulled"]["kinds"]["trust"]), (&27.into(), &3.into()), "{done}");
    let key = a.ok(&["actor", "show", "carol", "--format", "raw"]);
    b.ok(&["actor", "trust", "carol", key.trim()]);
    let done = b.json(&["pull", "a"]);
    assert_eq!((&done["pulled"]["added"], &done["pulled"]["known"]), (&3.into(), &0.into()), "{done}");
    assert_eq!(a.heads(), b.heads());
}
