//! What a push says of itself is what is true at the peer, also when answers
//! are lost after the peer has stored what came.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::liar::{Liar, Said};
use super::node::{Node, Place, Server};
use super::proxy::{Faults, Proxy};

const BOTH: &str = "export,import";

fn pair(place: &Place) -> (Node, Node, Server) {
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    let server = b.serve_plainly();
    (a, b, server)
}

/// Every other window meets this fate, beginning with the first.
fn every_other(server: &Server, fate: fn() -> Said) -> Liar {
    let windows = Arc::new(AtomicUsize::new(0));
    Liar::new(server, move |asked| {
        let is_window = asked.target.starts_with("/sync/entries");
        if is_window && windows.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) { fate() } else { Said::Truth }
    })
}

fn sums(done: &Value) -> [Option<u64>; 6] {
    let pushed = ["added", "known", "completed", "refused", "pending"].map(|count| done["pushed"][count].as_u64());
    let [added, known, completed, refused, pending] = pushed;
    [added, known, completed, refused, pending, done["peer_entries"].as_u64()]
}

fn exactly(added: u64, completed: u64, entries: u64) -> [Option<u64>; 6] {
    [Some(added), Some(0), Some(completed), Some(0), Some(0), Some(entries)]
}

#[test]
fn a_push_whose_answers_are_lost_counts_what_arrived_once() {
    // The peer had stored what came before it was asked, or is at it still.
    for (fate, entries) in [(Said::lost as fn() -> Said, 150), (Said::late, 150), (Said::lost, 3)] {
        let place = Place::new();
        let (a, b, server) = pair(&place);
        a.write("plant", entries);
        let liar = every_other(&server, fate);
        liar.poses(&a, &b);
        let (done, said) = a.json_and_talk(&["push", "b"]);
        let entries = entries as u64;
        assert_eq!(sums(&done), exactly(entries, 0, entries), "{done}");
        assert!(done["reconnects"].as_u64() > Some(0), "{done}");
        assert!(said.contains(&format!("{entries} entries that were sent are not sealed to b")), "{said}");
        assert_eq!(a.heads(), b.heads());
        // It knows that the peer has nothing else.
        a.reaches(&b, &liar.url, BOTH);
        liar.poses(&a, &b);
        let ids = liar.count("/sync/ids");
        assert_eq!(sums(&a.json(&["sync", "b"])), exactly(0, 0, entries));
        assert_eq!(liar.count("/sync/ids"), ids, "what was sent is not compared again");
        // All of it goes again, and some is new there.
        a.write("more", 10);
        let done = a.json(&["push", "b", "--all"]);
        assert_eq!((done["pushed"]["added"].as_u64(), done["peer_entries"].as_u64()), (Some(10), Some(entries + 10)));
        let known = done["pushed"]["known"].as_u64().unwrap() + done["pushed"]["completed"].as_u64().unwrap();
        assert_eq!(known, entries, "{done}");
        // What is completed is completed once.
        a.ok(&["share", "--prefix", "plant", "--to", "b"]);
        assert_eq!(sums(&a.json(&["push", "b"])), exactly(0, entries, entries + 10));
        assert_eq!(sums(&a.json(&["push", "b"])), exactly(0, 0, entries + 10));
        server.stop();
        b.verifies();
    }
}

#[test]
fn a_push_that_was_stopped_and_went_on_counts_what_arrived_once() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.write("plant", 400);
    let server = b.serve_with(&["--stall-timeout", "1"]);
    let line = Proxy::new(server.port, Faults { rate: Some(48 << 10), ..Faults::default() });
    a.reaches(&b, &line.url, BOTH);
    let push = a.command(&["push", "b", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let signal = |signal: &str| {
        assert!(Command::new("kill").args([signal, &push.id().to_string()]).status().unwrap().success());
    };
    let short = || std::thread::sleep(Duration::from_millis(5));
    while line.up() < 50_000 {
        short();
    }
    signal("-STOP");
    // Until the server has given up and stored what came; whenever it does, the
    // sums are the same.
    let stopped = Instant::now();
    while b.entries() == 0 || stopped.elapsed() < Duration::from_secs(3) {
        short();
    }
    signal("-CONT");
    let output = push.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(sums(&done), exactly(400, 0, 400), "{done}");
    assert!(said.contains("400 entries that were sent are not sealed to b"), "{said}");
    assert_eq!(a.heads(), b.heads());
}

#[test]
fn what_went_on_there_beside_what_was_sent_is_not_taken_for_known() {
    let place = Place::new();
    let (a, b, _) = place.one_waits();
    // An entry of a will wait there for one that b refuses.
    a.ok(&["actor", "new", "carol"]);
    a.ok(&["put", "lamp", "1", "--actor", "carol"]);
    let server = b.serve();
    a.reaches(&b, &server.url, BOTH);
    a.run(&["push", "b", "--things", "lamp"]);
    a.put("lamp", "2");
    // Two are sent, and two entries are new there: not the same two.
    a.run(&["push", "b"]);
    assert_eq!(b.entries(), 2);
    a.run(&["sync", "b"]);
    assert_eq!(a.json(&["log", "door"]).as_array().unwrap().len(), 2, "the entry of c came from b");
}
