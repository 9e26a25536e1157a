//! What was erased goes as a record, and its content comes back by no exchange.

use super::node::{Node, Place};

const BOTH: &str = "export,import";

fn contents(node: &Node, thing: &str) -> Vec<String> {
    let log = node.json(&["log", thing, "--reverse"]);
    log.as_array().unwrap().iter().map(|entry| entry["content"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_erasure_reaches_a_peer_by_a_hub_and_nothing_comes_back() {
    let place = Place::new();
    let (a, hub, c) = (place.node("a"), place.node("hub"), place.node("c"));
    for (one, other) in [(&a, &hub), (&hub, &c), (&a, &c)] {
        one.knows(other);
    }
    a.ok(&["audience", "set", "hub", "c"]);
    for n in 0..4 {
        a.put("person", &n.to_string());
        a.put("other", &n.to_string());
    }
    let server = hub.serve();
    a.reaches(&hub, &server.url, BOTH);
    c.reaches(&hub, &server.url, BOTH);
    a.ok(&["sync", "hub"]);
    c.ok(&["sync", "hub"]);
    assert_eq!(contents(&c, "person"), ["open"; 4]);
    // Its people have erased here; the hub has the content still, and gives nothing back.
    a.ok(&["erase", "person", "--seq", "1-3", "--reason", "asked for", "--yes"]);
    let expected = ["erased", "erased", "erased", "open", "open"];
    assert_eq!(contents(&a, "person"), expected);
    let pulled = a.json(&["pull", "hub"]);
    assert_eq!((&pulled["pulled"]["added"], &pulled["pulled"]["completed"]), (&0.into(), &0.into()), "{pulled}");
    assert_eq!(contents(&a, "person"), expected);
    let pushed = a.json(&["push", "hub"]);
    assert_eq!(pushed["pushed"]["added"], 1, "{pushed}");
    assert_eq!(contents(&hub, "person"), expected);
    // One that was away erases with its next exchange, whatever it has.
    c.put("own", "1");
    c.ok(&["sync", "hub"]);
    assert_eq!(contents(&c, "person"), expected);
    // One that comes new gets them as stubs, and the record.
    let d = place.node("d");
    for other in [&a, &hub, &c] {
        d.knows(other);
    }
    d.reaches(&hub, &server.url, BOTH);
    d.ok(&["sync", "hub"]);
    assert_eq!(contents(&d, "person")[..3], ["erased"; 3]);
    // Then nothing goes any more.
    for node in [&a, &c, &d] {
        node.ok(&["sync", "hub"]);
        let again = node.json(&["sync", "hub"]);
        for way in ["pulled", "pushed"] {
            for count in ["added", "known", "completed", "refused"] {
                assert_eq!(again[way][count], 0, "{again}");
            }
        }
        assert_eq!(node.heads(), hub.heads());
        assert_eq!(contents(node, "other").len(), 4);
    }
    server.stop();
    for node in [&a, &hub, &c, &d] {
        node.verifies();
        assert_eq!(node.json(&["verify"])["erased"], 3);
    }
}
