//! Who has erased is known by the exchange itself: receipts come back, by whoever carries
//! them, and a hold is answered as one.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use super::node::{Node, Place};

const BOTH: &str = "export,import";

/// What a node knows of the answers to its one erasure: by whom, and what.
fn answers(node: &Node) -> Vec<(String, String)> {
    let listed = node.json(&["erasures"]);
    let answer = |one: &Value| {
        let name = if one["own"] == true { "here" } else { one["name"].as_str().unwrap_or("?") };
        (name.to_owned(), format!("{} {} of {}", one["verdict"].as_str().unwrap(), one["count"], one["of"]))
    };
    let mut answers: Vec<_> = listed[0]["receipts"].as_array().unwrap().iter().map(answer).collect();
    answers.sort();
    answers
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
}

fn contents(node: &Node, thing: &str) -> Vec<String> {
    let log = node.json(&["log", thing, "--reverse"]);
    log.as_array().unwrap().iter().map(|entry| entry["content"].as_str().unwrap().to_owned()).collect()
}

/// `a` and `c` meet at a hub that has no key to anything, and never each other.
#[test]
fn receipts_come_back_by_a_relay_that_can_read_nothing() {
    let place = Place::new();
    let (a, hub, c) = (place.node("a"), place.node("hub"), place.node("c"));
    for (one, other) in [(&a, &hub), (&hub, &c), (&a, &c)] {
        one.knows(other);
    }
    a.ok(&["audience", "set", "c"]);
    for n in 0..3 {
        a.put("person", &n.to_string());
        a.put("other", &n.to_string());
    }
    let server = hub.serve();
    a.reaches(&hub, &server.url, BOTH);
    c.reaches(&hub, &server.url, BOTH);
    for node in [&a, &c] {
        assert_eq!(node.json(&["sync", "hub"]).get("receipts"), None);
    }
    assert_eq!(
        (contents(&c, "person"), contents(&hub, "person")),
        (vec!["open".to_owned(); 3], vec!["undecryptable".to_owned(); 3])
    );
    a.ok(&["erase", "person", "--all", "--reason", "asked for", "--yes"]);
    assert_eq!(answers(&a), pairs(&[("here", "erased 3 of 3")]));
    // c was sealed to; the hub was sent it.
    assert_eq!(a.json(&["erasures"])[0]["unanswered"], json!(["c", "hub"]));
    // The hub answers in the exchange that brings it the record.
    assert_eq!(a.json(&["push", "hub"])["receipts"], 1);
    assert_eq!(answers(&a), pairs(&[("here", "erased 3 of 3"), ("hub", "erased 3 of 3")]));
    assert_eq!(a.json(&["erasures"])[0]["unanswered"], json!(["c"]));
    assert_eq!(contents(&hub, "person"), ["erased", "erased", "erased", "open"]);
    // c was away, and answers with its next exchange.
    c.ok(&["pull", "hub"]);
    assert_eq!(contents(&c, "person"), ["erased", "erased", "erased", "open"]);
    assert_eq!(answers(&c).len(), 3);
    a.ok(&["sync", "hub"]);
    assert_eq!(answers(&a), pairs(&[("c", "erased 3 of 3"), ("here", "erased 3 of 3"), ("hub", "erased 3 of 3")]));
    assert_eq!(a.json(&["erasures"])[0]["unanswered"], json!([]));
    let table = a.ok(&["erasures", "--format", "table"]);
    assert!(table.contains("c erased") && table.contains("hub erased"), "{table}");
    // A stranger has the cards of a and c, and one file.
    let file = place.path("person.tdbproof");
    let file = file.to_str().unwrap();
    a.ok(&["prove", "person", "-o", file]);
    let cards = [a.ok(&["card"]), c.ok(&["card"])];
    let check = ["verify-proof", file, "--card", cards[0].trim(), "--card", cards[1].trim()];
    let told = a.json(&check);
    let receipts = told["receipts"].as_array().unwrap();
    let named = receipts.iter().filter(|one| !one["name"].is_null()).count();
    assert_eq!((&told["ok"], &told["erased"], receipts.len(), named), (&json!(true), &json!(3), 3, 2), "{told}");
    assert!(receipts.iter().all(|one| one["verdict"] == "erased" && one["count"] == 3 && one["of"] == 3));
    let text = a.ok(&[&check[..], &["--format", "table"]].concat());
    assert!(text.contains("that it is erased there, signed by"), "{text}");
    assert!(text.contains("1 key that you have not named"), "{text}");
    // A line of it that says more than was signed does not hold.
    let forged = std::fs::read_to_string(file).unwrap().replacen("erased 3 of 3", "erased 2 of 3", 1);
    std::fs::write(file, forged).unwrap();
    assert_eq!(a.run(&check).status.code(), Some(4));
    // They survive the end of the server, and are given once.
    server.stop();
    let server = hub.serve();
    a.reaches(&hub, &server.url, BOTH);
    c.reaches(&hub, &server.url, BOTH);
    for node in [&a, &c, &a, &c] {
        assert_eq!(node.json(&["sync", "hub"]).get("receipts"), None);
    }
    assert_eq!(answers(&hub).len(), 3);
    server.stop();
    for node in [&a, &hub, &c] {
        node.verifies();
    }
}

#[test]
fn a_hold_is_answered_with_its_reason_until_it_is_released() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.ok(&["audience", "set", "b"]);
    (0..3).for_each(|n| drop(a.put("person", &n.to_string())));
    let server = b.serve();
    a.reaches(&b, &server.url, BOTH);
    a.ok(&["sync", "b"]);
    // Beside the server, as every command.
    b.ok(&["hold", "person", "--reason", "a lawsuit"]);
    assert_eq!(b.json(&["hold"])[0]["reason"], "a lawsuit");
    b.fails(&["hold", "nobody", "--reason", "why"], 3, "not-found");
    b.fails(&["erase", "person", "--all", "--reason", "why", "--yes"], 2, "on-hold");
    a.ok(&["erase", "person", "--all", "--reason", "asked for", "--yes"]);
    a.ok(&["sync", "b"]);
    assert_eq!(answers(&a), pairs(&[("b", "held 3 of 3"), ("here", "erased 3 of 3")]));
    assert_eq!(a.json(&["erasures"])[0]["receipts"][1]["reason"], "a lawsuit");
    assert_eq!(contents(&b, "person"), ["open"; 4]);
    // It goes back to nobody.
    a.ok(&["pull", "b", "--all"]);
    assert_eq!(contents(&a, "person")[..3], ["erased"; 3]);
    let held = a.json(&["erasures"])[0]["receipts"][1]["note"].as_str().unwrap().to_owned();
    b.ok(&["hold", "--release", "person"]);
    b.fails(&["hold", "--release", "person"], 3, "not-found");
    assert_eq!(contents(&b, "person"), ["erased", "erased", "erased", "open"]);
    a.ok(&["sync", "b"]);
    assert_eq!(answers(&a), pairs(&[("b", "erased 3 of 3"), ("here", "erased 3 of 3")]));
    // Whoever kept the old answer can bring it again, and changes nothing.
    let token = b.ok(&["token", "new", "--name", "again", "--scope", "import", "--format", "raw"]);
    server.stop();
    let server = b.serve_plainly();
    let body = json!({"receipts": [held, "no receipt"]}).to_string();
    let target = format!("/sync/receipts?node={}&since=0", "0".repeat(32));
    let answer = post(server.port, &target, token.trim(), &body);
    assert_eq!((&answer["unknown"], answer["receipts"].as_array().unwrap().len()), (&json!(0), 2), "{answer}");
    server.stop();
    assert_eq!(answers(&b), pairs(&[("a", "erased 3 of 3"), ("here", "erased 3 of 3")]));
}

/// Asks a server without TLS, and gives the JSON of its answer.
fn post(port: u16, target: &str, token: &str, body: &str) -> Value {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    write!(
        socket,
        "POST {target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let answer = std::io::read_to_string(socket).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// A peer that was away for longer than anything waits erases with its next exchange.
#[test]
fn who_was_away_for_months_erases_with_the_next_exchange() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.ok(&["audience", "set", "b"]);
    a.put("person", "0");
    let server = b.serve();
    a.reaches(&b, &server.url, BOTH);
    a.ok(&["sync", "b"]);
    server.stop();
    a.ok(&["erase", "person", "--all", "--reason", "asked for", "--yes"]);
    // Much is written since; its clock is that of then, and goes on.
    a.write("since", 300);
    let server = b.serve();
    a.reaches(&b, &server.url, BOTH);
    assert_eq!(a.json(&["sync", "b"])["receipts"], 1);
    server.stop();
    assert_eq!(contents(&b, "person"), ["erased", "open"]);
}
