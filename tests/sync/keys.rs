//! A key log goes to every peer, and what a revoked key signed goes no further.

use super::node::{Node, Place};

const BOTH: &str = "export,import";

fn state(node: &Node, name: &str) -> Vec<String> {
    let log = node.json(&["actor", "log", name]);
    log["keys"].as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect()
}

fn key_of(node: &Node, name: &str) -> String {
    node.json(&["actor", "show", name])["key"].as_str().unwrap().to_owned()
}

#[test]
fn a_new_key_is_taken_without_a_card_also_with_a_prefix() {
    let place = Place::new();
    let (a, hub, c) = (place.node("a"), place.node("hub"), place.node("c"));
    for (one, other) in [(&a, &hub), (&hub, &c), (&a, &c)] {
        one.knows(other);
    }
    let name = a.json(&["actor", "ls"])[0]["name"].as_str().unwrap().to_owned();
    let next = a.db().with_extension("next");
    let next = next.to_str().unwrap();
    a.ok(&["actor", "introduce", &name, "--next-key-file", next]);
    a.put("plant/x", "1");
    a.put("other/x", "1");
    let thief = a.copied("thief");
    let server = hub.serve();
    a.reaches(&hub, &server.url, BOTH);
    c.reaches(&hub, &server.url, BOTH);
    a.ok(&["sync", "hub"]);
    c.ok(&["sync", "hub", "--things", "plant/"]);
    assert_eq!(state(&c, &key_of(&a, &name)), ["current"]);
    assert_eq!(c.entries(), 2, "the key log goes along, the other thing does not");

    let old = key_of(&a, &name);
    let revoke = ["actor", "revoke", &name, "--as-of", "now", "--reason", "stolen", "--next-key-file", next, "--yes"];
    a.ok(&revoke);
    a.put("plant/x", "2");
    a.ok(&["sync", "hub"]);
    let pulled = c.json(&["sync", "hub", "--things", "plant/"]);
    assert_eq!((&pulled["pulled"]["added"], &pulled["pulled"]["refused"]), (&2.into(), &0.into()), "{pulled}");
    for node in [&hub, &c] {
        assert_eq!(state(node, &old), ["revoked", "current"]);
        assert_eq!(node.json(&["get", "plant/x"])["actor"]["trusted"], true);
    }
    server.stop();
    // What the thief writes, dated as he likes, nobody takes who knows of it.
    thief.put("plant/y", "1");
    let stolen = thief.db().with_extension("ndjson");
    let stolen = stolen.to_str().unwrap();
    thief.ok(&["export", "-o", stolen]);
    for node in [&a, &hub, &c] {
        let told = node.run(&["import", stolen]);
        let said = String::from_utf8_lossy(&told.stderr).into_owned();
        assert_eq!(told.status.code(), Some(6), "{said}");
        assert!(said.contains("was revoked"), "{said}");
        node.fails(&["get", "plant/y"], 3, "not-found");
    }
    for node in [&a, &hub] {
        node.verifies();
    }
}
