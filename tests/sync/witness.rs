//! Nodes cosign each other's checkpoints: in every exchange, and when they are
//! asked as C2SP witnesses.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use serde_json::Value;
use thingdb::Hash;
use thingdb::format::{AddCheckpoint, SigningKey, merkle};

use super::node::{Node, Place, Server};

/// The verifier keys of a node: of its ledger, and as a witness.
fn vkeys(node: &Node) -> (String, String) {
    let keys = node.json(&["card", "--vkey"]);
    (keys["log"].as_str().unwrap().to_owned(), keys["witness"].as_str().unwrap().to_owned())
}

/// Who has cosigned which size.
fn cosigned(node: &Node) -> Vec<(String, Option<u64>)> {
    let all = node.json(&["witness", "ls"]);
    let row = |known: &Value| (known["name"].as_str().unwrap().to_owned(), known["cosigned"]["size"].as_u64());
    all.as_array().unwrap().iter().map(row).collect()
}

/// The SHA-256 of the certificate of a node.
fn certificate(node: &Node) -> String {
    node.json(&["card"])["certificate"].as_str().unwrap().to_owned()
}

fn asks(node: &Node, name: &str, witness: &Node, server: &Server) {
    let url = format!("{}/witness", server.url);
    node.ok(&["witness", "add", name, &url, &vkeys(witness).1, "--tls-fingerprint", &certificate(witness)]);
}

#[test]
fn peers_cosign_in_every_exchange_and_a_stranger_sees_it() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.put("door", "1");
    a.put("door", "2");
    let server = b.serve();
    a.reaches(&b, &server.url, "export,import");
    a.ok(&["sync", "b"]);
    // An empty ledger is nothing to say something of.
    assert_eq!(cosigned(&a), [("b".to_owned(), Some(2))]);
    assert_eq!(cosigned(&b), []);
    a.ok(&["sync", "b"]);
    assert_eq!(cosigned(&b), [("a".to_owned(), Some(2))]);

    // A stranger who believes b as a witness.
    let (log, witness) = (vkeys(&a).0, vkeys(&b).1);
    let policy = place.path("policy");
    fs::write(&policy, format!("log {log}\nwitness bob {witness}\nquorum bob\n")).unwrap();
    let (policy, file) = (policy.to_str().unwrap(), place.path("door.tdbproof"));
    let file = file.to_str().unwrap();
    a.ok(&["prove", "door", "-o", file]);
    let report = a.json(&["verify-proof", file, "--policy", policy]);
    assert_eq!((&report["ok"], &report["ledger"]["trusted"]), (&true.into(), &true.into()), "{report}");
    let seen = &report["witnessed"];
    assert_eq!((&seen["size"], &seen["entries"], &seen["beyond"]), (&2.into(), &2.into(), &0.into()), "{report}");
    assert_eq!(seen["by"], serde_json::json!(["bob"]));

    // What came later nobody has seen.
    a.put("door", "3");
    a.ok(&["prove", "door", "-o", file]);
    let later = a.run(&["verify-proof", file, "--policy", policy, "--json"]);
    assert_eq!(later.status.code(), Some(6));
    let report: Value = serde_json::from_slice(&later.stdout).unwrap();
    assert_eq!((&report["witnessed"]["size"], &report["witnessed"]["beyond"]), (&2.into(), &1.into()), "{report}");

    // Somebody else's witness, somebody else's log.
    let stranger = place.node("stranger");
    let (other_log, other_witness) = vkeys(&stranger);
    fs::write(policy, format!("log {log}\nwitness other {other_witness}\nquorum other\n")).unwrap();
    a.fails(&["verify-proof", file, "--policy", policy], 4, "not-witnessed");
    fs::write(policy, format!("log {other_log}\nwitness bob {witness}\nquorum bob\n")).unwrap();
    a.fails(&["verify-proof", file, "--policy", policy], 4, "not-verified");
    fs::write(policy, "quorum").unwrap();
    a.fails(&["verify-proof", file, "--policy", policy], 2, "usage");
}

#[test]
fn a_witness_is_asked_for_each_checkpoint() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    // The witness knows the log; the log knows only the key of the witness.
    let card = a.ok(&["card"]);
    b.ok(&["peer", "add", "plant", card.trim(), "--yes"]);
    a.put("door", "1");
    let server = b.serve();
    asks(&a, "neighbour", &b, &server);
    assert_eq!(cosigned(&a), [("neighbour".to_owned(), None)]);
    let note = place.path("note");
    let note = note.to_str().unwrap();
    let done = a.json(&["checkpoint"]);
    assert_eq!((&done["size"], &done["cosigned"][0]["by"]), (&1.into(), &"neighbour".into()), "{done}");
    a.put("door", "2");
    a.put("door", "3");
    a.ok(&["checkpoint", "-o", note]);
    assert_eq!(fs::read_to_string(note).unwrap().lines().filter(|line| line.starts_with('\u{2014}')).count(), 2);
    assert_eq!(cosigned(&a), [("neighbour".to_owned(), Some(3))]);
    // Of the same size again.
    a.ok(&["checkpoint", "-o", note]);
    // With the cosignature it is still a checkpoint that one keeps.
    a.ok(&["verify", "--checkpoint", note]);

    // A copy of the ledger that goes on elsewhere has no second witness.
    let copy = a.copied("copy");
    a.put("door", "4");
    a.ok(&["checkpoint"]);
    copy.put("door", r#""other""#);
    let refused = copy.fails(&["checkpoint"], 6, "not-cosigned");
    assert!(refused.contains("the proof does not lead from"), "{refused}");
    // The contradiction is kept, and ends what the witness says of this log.
    let peer = b.json(&["peer", "show", "plant"]);
    assert_eq!(peer["contradiction"]["found"], "split-view", "{peer}");
    a.fails(&["checkpoint"], 6, "not-cosigned");
    // Without it the checkpoint is as good as before.
    a.ok(&["checkpoint", "--no-witnesses"]);

    server.stop();
    let alone = a.run(&["checkpoint"]);
    assert_eq!(alone.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&alone.stdout).starts_with("thingdb.node/"));
    a.ok(&["witness", "rm", "neighbour"]);
    a.ok(&["checkpoint"]);
}

/// Whoever answers in the place of a witness has not its key.
#[test]
fn another_one_in_the_place_of_a_witness_says_nothing() {
    let place = Place::new();
    let (a, b, c) = (place.node("a"), place.node("b"), place.node("c"));
    let card = a.ok(&["card"]);
    b.ok(&["peer", "add", "plant", card.trim(), "--yes"]);
    a.put("door", "1");
    let server = b.serve();
    let url = format!("{}/witness", server.url);
    let pin = certificate(&b);
    // The key of c, the server of b.
    a.ok(&["witness", "add", "c", &url, &vkeys(&c).1, "--tls-fingerprint", &pin]);
    let said = a.fails(&["checkpoint"], 6, "not-cosigned");
    assert!(said.contains("not signed with the key"), "{said}");
    assert_eq!(cosigned(&a), [("c".to_owned(), None)]);
    a.ok(&["witness", "rm", "c"]);
    // Another certificate, and one that the system does not trust.
    a.ok(&["witness", "add", "b", &url, &vkeys(&b).1, "--tls-fingerprint", &certificate(&c)]);
    a.fails(&["checkpoint"], 6, "not-cosigned");
    a.ok(&["witness", "rm", "b"]);
    a.ok(&["witness", "add", "b", &url, &vkeys(&b).1]);
    a.fails(&["checkpoint"], 6, "not-cosigned");
    a.ok(&["witness", "rm", "b"]);
    // The key of a log is none of a witness.
    a.fails(&["witness", "add", "b", &url, &vkeys(&b).0], 2, "invalid-input");
    a.fails(&["witness", "add", "b", "witness.example", &vkeys(&b).1], 2, "usage");
    a.fails(&["witness", "rm", "b"], 3, "not-found");
}

/// A peer that holds the ledger entry by entry signs what its node says of the heads.
#[test]
fn a_peer_with_the_same_ledger_recomputes_the_heads_and_others_do_not() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.put("door", "1");
    a.put("gate", "2");
    let server = b.serve();
    a.reaches(&b, &server.url, "export,import");
    a.ok(&["sync", "b"]);
    let (log, witness) = (vkeys(&a).0, vkeys(&b).1);
    let policy = place.path("policy");
    fs::write(&policy, format!("log {log}\nwitness bob {witness}\nquorum none\n")).unwrap();
    let file = place.path("door.tdbproof");
    let (policy, file) = (policy.to_str().unwrap(), file.to_str().unwrap());
    let complete = || {
        a.ok(&["prove", "door", "-o", file]);
        a.json(&["verify-proof", file, "--policy", policy])["complete"].clone()
    };
    let said = |entries: u64, by: &[&str]| serde_json::json!({"entries": entries, "heads": 1, "recomputed_by": by});
    assert_eq!(complete(), said(1, &["bob"]));
    // Of what came since, the peer has said nothing yet.
    a.put("door", "3");
    assert_eq!(complete(), said(2, &[]));
    a.ok(&["sync", "b"]);
    assert_eq!(complete(), said(2, &["bob"]));
    // A peer with entries in another order cannot tell whether it has all of the ledger.
    server.stop();
    b.put("window", "4");
    let server = b.serve();
    a.put("door", "5");
    a.reaches(&b, &server.url, "export,import");
    a.ok(&["sync", "b"]);
    assert_eq!(complete(), said(3, &[]));
    server.stop();
}

/// A witness that knows another size than the node thinks, and lets somebody else write
/// before each answer.
fn thinking(mut meanwhile: impl FnMut() + Send + 'static, key: SigningKey, root_of_one: Hash) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (stream, is_first) in listener.incoming().zip([true, false].into_iter().cycle()) {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let asked = AddCheckpoint::parse(std::str::from_utf8(&body).unwrap()).unwrap();
            let claimed = asked.checkpoint.claimed().clone();
            meanwhile();
            let (status, kind, body) = if is_first {
                ("409 Conflict", "text/x.tlog.size", "1\n".to_owned())
            } else {
                // It holds the proof from the size that it named against what it saw then.
                assert_eq!(asked.old, 1);
                merkle::verify_consistency(1, claimed.size, &asked.proof, &root_of_one, &claimed.root).unwrap();
                ("200 OK", "text/plain", asked.checkpoint.cosign(&key, 1_800_000_000).unwrap())
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}", body.len());
            let answer = format!("{head}\r\nconnection: close\r\n\r\n{body}");
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn a_witness_is_waited_for_without_the_database() {
    let place = Place::new();
    let a = place.node("a");
    a.put("door", "1");
    let root = a.json(&["checkpoint"])["root"].as_str().unwrap().parse().unwrap();
    a.put("door", "1");
    let key = SigningKey::from_seed(&[7; 32]);
    let vkey = key.node_key().witness_vkey().unwrap().to_string();
    let put = a.command(&["put", "door", "2", "--wait", "0"]);
    let (send, done) = std::sync::mpsc::channel();
    let put = std::sync::Mutex::new(put);
    let url = thinking(move || send.send(put.lock().unwrap().output().unwrap()).unwrap(), key, root);
    a.ok(&["witness", "add", "slow", &url, &vkey]);
    for size in [2, 4] {
        let told = a.json(&["checkpoint"]);
        assert_eq!((&told["size"], told["cosigned"].as_array().unwrap().len()), (&size.into(), 1), "{told}");
        for _ in 0..2 {
            let put = done.recv().unwrap();
            assert!(put.status.success(), "{}", String::from_utf8_lossy(&put.stderr));
        }
    }
    assert_eq!(a.entries(), 6);
    assert_eq!(cosigned(&a), [("slow".to_owned(), Some(4))]);
}

/// A node that tells two peers two things is found out by the exchange between them.
#[test]
fn what_a_third_node_says_of_heads_is_passed_on() {
    let place = Place::new();
    let (a, b, c) = (place.node("a"), place.node("b"), place.node("c"));
    a.knows(&b);
    c.knows(&a);
    c.knows(&b);
    c.put("door", "1");
    let copy = place.node("other");
    fs::remove_dir_all(copy.db()).unwrap();
    super::node::copy(&c.db(), &copy.db());
    c.put("door", "2");
    copy.put("door", "3");
    let (of_a, of_b) = (a.serve(), b.serve());
    // The token is made for the node that both are.
    for (face, peer, server) in [(&c, &a, &of_a), (&copy, &b, &of_b)] {
        let token = peer.ok(&["token", "new", "--peer", "c", "--scope", "export,import", "--format", "raw"]);
        let file = place.path("c.token");
        fs::write(&file, token).unwrap();
        let file = file.to_str().unwrap();
        face.ok(&["peer", "set", peer.name, "--url", &server.url, "--token-file", file]);
        face.ok(&["sync", peer.name]);
    }
    a.reaches(&b, &of_b.url, "export,import");
    let exchange = a.run(&["sync", "b"]);
    let said = String::from_utf8_lossy(&exchange.stderr).into_owned();
    for word in ["split-view", "split-heads"] {
        assert!(said.contains(&format!("warning[{word}]")), "{word}: {said}");
    }
    for node in [&a, &b] {
        let files = fs::read_dir(node.db().join("evidence")).unwrap().map(|file| file.unwrap().path());
        let found = files.map(|file| node.json(&["verify-evidence", file.to_str().unwrap()]));
        let mut found: Vec<_> = found.map(|it| (it["found"].to_string(), it["proven"] == true)).collect();
        found.sort();
        let expected = ["\"split-heads\"", "\"split-view\""].map(|word| (word.to_owned(), true));
        assert_eq!(found, expected, "{}", node.name);
    }
    of_a.stop();
    of_b.stop();
}
