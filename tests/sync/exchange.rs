//! What an exchange brings, and what it does not send.

use std::process::{Child, Output, Stdio};
use std::time::Duration;

use super::node::{Node, Place};
use super::proxy::{Faults, Proxy};
use super::watch::asked_to_end;

const BOTH: &str = "export,import";

#[test]
fn two_nodes_converge_and_then_nothing_goes() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.ok(&["audience", "set", "b"]);
    a.write("plant", 30);
    b.write("lamp", 20);
    // A thing that both write forks.
    a.put("both", "1");
    b.put("both", "2");
    let server = b.serve();
    a.reaches(&b, &server.url, BOTH);

    let done = a.json(&["sync", "b"]);
    assert_eq!((done["pulled"]["added"].as_u64(), done["pushed"]["added"].as_u64()), (Some(21), Some(31)), "{done}");
    assert_eq!(done["peer_entries"], 52);
    assert_eq!(a.heads(), b.heads());
    assert_eq!(a.entries(), 52);
    let both = (a.json(&["get", "both"]), b.json(&["get", "both"]));
    assert_eq!(both.0["id"], both.1["id"], "the latest is the same everywhere");
    assert_eq!(b.json(&["get", "plant-1"])["content"], "open", "it was sealed to b");

    let again = a.json(&["sync", "b"]);
    for way in ["pulled", "pushed"] {
        for count in ["added", "known", "completed", "refused"] {
            assert_eq!(again[way][count], 0, "{again}");
        }
    }
    // A question and its answer, twice at most: checkpoints.
    assert!(again["sent_bytes"].as_u64().unwrap() < 3000, "{again}");

    // What came on either side goes, and nothing else.
    a.put("plant-1", "1");
    b.put("lamp-1", "1");
    let line = Proxy::new(server.port, Faults::default());
    a.reaches(&b, &line.url, BOTH);
    let next = a.json(&["sync", "b"]);
    assert_eq!((next["pulled"]["added"].as_u64(), next["pushed"]["added"].as_u64()), (Some(1), Some(1)), "{next}");
    assert_eq!((next["pulled"]["known"].as_u64(), next["pushed"]["known"].as_u64()), (Some(0), Some(0)));
    assert!(line.up() + line.down() < 12_000, "{} {}", line.up(), line.down());
    assert_eq!(line.connections(), 1);
    assert_eq!(a.heads(), b.heads());
    server.stop();
    a.verifies();
    b.verifies();
}

#[test]
fn three_nodes_pass_on_what_they_get() {
    let place = Place::new();
    let (a, hub, c) = (place.node("a"), place.node("hub"), place.node("c"));
    for (one, other) in [(&a, &hub), (&hub, &c), (&a, &c)] {
        one.knows(other);
    }
    a.write("plant", 12);
    c.write("lamp", 9);
    let server = hub.serve();
    a.reaches(&hub, &server.url, BOTH);
    c.reaches(&hub, &server.url, BOTH);
    a.ok(&["sync", "hub"]);
    assert_eq!(c.json(&["sync", "hub"])["pulled"]["added"], 12);
    let third = a.json(&["sync", "hub"]);
    assert_eq!((&third["pulled"]["added"], &third["pushed"]["added"]), (&9.into(), &0.into()), "{third}");
    // A fourth begins with nothing, and sends nothing back.
    let d = place.node("d");
    for other in [&a, &hub, &c] {
        d.knows(other);
    }
    d.reaches(&hub, &server.url, BOTH);
    let first = d.json(&["sync", "hub"]);
    assert_eq!((&first["pulled"]["added"], &first["pushed"]["added"]), (&21.into(), &0.into()), "{first}");
    assert_eq!(first["pushed"]["known"], 0, "{first}");
    for node in [&a, &c, &d] {
        assert_eq!(node.heads(), hub.heads());
    }
    server.stop();
    hub.verifies();
    d.verifies();
}

#[test]
fn what_is_shared_after_a_push_goes_with_the_next_one() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.write("plant", 10);
    let server = b.serve();
    a.reaches(&b, &server.url, BOTH);
    a.ok(&["sync", "b"]);
    assert_eq!(b.json(&["get", "plant-1"])["content"], "undecryptable");
    a.ok(&["share", "--prefix", "plant", "--to", "b"]);
    let shared = a.json(&["push", "b"]);
    assert_eq!((&shared["pushed"]["completed"], &shared["pushed"]["added"]), (&10.into(), &0.into()), "{shared}");
    assert_eq!(b.json(&["get", "plant-1"])["content"], "open");
    // It does not come back, and does not go again.
    let again = a.json(&["sync", "b"]);
    for way in ["pulled", "pushed"] {
        for count in ["added", "known", "completed"] {
            assert_eq!(again[way][count], 0, "{again}");
        }
    }
    // Nor on the way to who asks for it.
    b.ok(&["share", "plant-2", "--to", "a"]);
    let pulled = a.json(&["pull", "b"]);
    assert_eq!(pulled["pulled"]["added"], 0, "{pulled}");
    assert!(pulled["pulled"]["completed"].as_u64().unwrap() + pulled["pulled"]["known"].as_u64().unwrap() > 0);
    server.stop();
    a.verifies();
    b.verifies();
}

#[test]
fn a_prefix_keeps_to_its_things_and_has_its_own_memory() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.write("plant", 10);
    a.write("lamp", 10);
    b.write("door", 5);
    let server = b.serve();
    a.reaches(&b, &server.url, BOTH);
    let some = a.json(&["sync", "b", "--things", "plant"]);
    assert_eq!((&some["pushed"]["added"], &some["pulled"]["added"]), (&10.into(), &0.into()), "{some}");
    let again = a.json(&["sync", "b", "--things", "plant"]);
    assert_eq!((&again["pushed"]["added"], &again["pushed"]["known"]), (&0.into(), &0.into()), "{again}");
    let rest = a.json(&["sync", "b"]);
    assert_eq!((&rest["pushed"]["added"], &rest["pushed"]["known"]), (&10.into(), &0.into()), "{rest}");
    assert_eq!(rest["pulled"]["added"], 5);
    assert_eq!(a.heads(), b.heads());

    // A token for some things only narrows the exchange.
    a.put("lamp-1", "1");
    a.put("plant-1", "1");
    let token = b.ok(&["token", "new", "--name", "lamps", "--scope", BOTH, "--things", "lamp", "--format", "raw"]);
    std::fs::write(place.path("lamps.token"), token).unwrap();
    a.ok(&["peer", "set", "b", "--url", &server.url, "--token-file", place.path("lamps.token").to_str().unwrap()]);
    let (lamps, said) = a.json_and_talk(&["sync", "b"]);
    assert_eq!((&lamps["pushed"]["added"], &lamps["things"]), (&1.into(), &"lamp".into()), "{lamps}");
    assert!(said.contains("begin with lamp: all others were left out"), "{said}");
    assert!(said.contains("names no node") && said.contains("token new --peer"), "{said}");
    a.fails(&["sync", "b", "--things", "plant"], 13, "token-refused");
    a.reaches(&b, &server.url, BOTH);
    assert_eq!(a.json(&["sync", "b"])["pushed"]["added"], 1);
    assert_eq!(a.heads(), b.heads());
}

#[test]
fn what_is_refused_is_told_and_goes_again_when_it_may_be_accepted() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.write("plant", 5);
    // Somebody whom b does not know.
    a.ok(&["actor", "new", "carol"]);
    a.ok(&["put", "plant-1", "1", "--actor", "carol"]);
    let server = b.serve();
    a.reaches(&b, &server.url, BOTH);
    let err = a.fails(&["sync", "b"], 6, "refused-entries");
    assert!(err.contains("is not known here") && err.contains("thingdb peer add NAME @FILE"), "{err}");
    assert_eq!(b.entries(), 5);
    // As long as b trusts nobody else it is not sent again.
    let counts = |output: &Output| {
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        ["added", "refused", "still_refused"].map(|count| told["pushed"][count].as_u64())
    };
    for way in ["sync", "push", "push"] {
        let again = a.run(&[way, "b", "--json"]);
        assert_eq!((again.status.code(), counts(&again)), (Some(6), [Some(0), Some(0), Some(1)]), "{way}");
        let err = String::from_utf8_lossy(&again.stderr);
        assert!(err.contains("1 entry is still refused there") && err.contains("at b: thingdb peer add"), "{err}");
    }
    // What was refused and is completed since goes again, and is counted once.
    a.ok(&["share", "plant-1", "--to", "b"]);
    a.run(&["push", "b"]);
    assert_eq!(counts(&a.run(&["push", "b", "--json"])), [Some(0), Some(0), Some(1)]);
    assert!(!a.ok(&["pull", "b"]).contains("still_refused"), "nothing was refused here");
    let key = a.ok(&["actor", "show", "carol", "--format", "raw"]);
    b.ok(&["actor", "trust", "carol", key.trim()]);
    let done = a.json(&["sync", "b"]);
    assert_eq!((&done["pushed"]["added"], &done["pushed"]["refused"]), (&1.into(), &0.into()), "{done}");
    assert_eq!(done["pushed"]["known"], 0, "{done}");
    assert!(done["pushed"].get("still_refused").is_none(), "{done}");
    // The same the other way.
    b.ok(&["actor", "new", "dave"]);
    b.ok(&["put", "lamp-1", "1", "--actor", "dave"]);
    b.put("lamp-2", "2");
    for (code, args) in [(6, &["pull", "b"][..]), (6, &["pull", "b"]), (0, &["push", "b"])] {
        assert_eq!(a.run(args).status.code(), Some(code), "{args:?}");
    }
    let key = b.ok(&["actor", "show", "dave", "--format", "raw"]);
    a.ok(&["actor", "trust", "dave", key.trim()]);
    assert_eq!(a.json(&["push", "b"])["pushed"]["added"], 0);
    let done = a.json(&["pull", "b"]);
    assert_eq!((&done["pulled"]["added"], &done["pulled"]["refused"]), (&1.into(), &0.into()), "{done}");
    assert_eq!(a.heads(), b.heads());
}

#[test]
fn two_ledgers_that_differ_little_find_it_for_little() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    // Both have the same three thousand entries, in another order, and a few
    // of their own.
    a.write("plant", 1500);
    b.write("lamp", 1500);
    for (one, other) in [(&a, &b), (&b, &a)] {
        let file = place.path("all.ndjson");
        one.ok(&["export", "-o", file.to_str().unwrap()]);
        other.ok(&["import", file.to_str().unwrap()]);
    }
    for n in 0..5 {
        a.put(&format!("new-a-{n}"), "1");
        b.put(&format!("new-b-{n}"), "1");
    }
    let server = b.serve();
    let line = Proxy::new(server.port, Faults::default());
    a.reaches(&b, &line.url, BOTH);
    let done = a.json(&["sync", "b"]);
    assert_eq!((&done["pulled"]["added"], &done["pushed"]["added"]), (&5.into(), &5.into()), "{done}");
    assert_eq!((&done["pulled"]["known"], &done["pushed"]["known"]), (&0.into(), &0.into()), "{done}");
    // A list of ids alone would be 48,000 bytes.
    assert!(line.up() + line.down() < 40_000, "{} {}", line.up(), line.down());
    println!("{} bytes up, {} down", line.up(), line.down());
    assert_eq!(a.heads(), b.heads());
    let again = a.json(&["sync", "b"]);
    assert_eq!((&again["pulled"]["added"], &again["pushed"]["known"]), (&0.into(), &0.into()), "{again}");
    assert!(again["sent_bytes"].as_u64().unwrap() < 3000, "{again}");
    // One who has nothing in common with it gets and gives everything all the
    // same.
    let c = place.node("c");
    for other in [&a, &b] {
        c.knows(other);
    }
    c.write("door", 1100);
    c.reaches(&b, &server.url, BOTH);
    let all = c.json(&["sync", "b"]);
    assert_eq!((&all["pulled"]["added"], &all["pushed"]["added"]), (&3010.into(), &1100.into()), "{all}");
    assert_eq!((&all["pulled"]["known"], &all["pushed"]["known"]), (&0.into(), &0.into()), "{all}");
    assert_eq!(c.heads(), b.heads());
    server.stop();
    c.verifies();
}

#[test]
fn two_nodes_that_are_both_served_exchange_within_their_servers() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.write("plant", 10);
    b.write("lamp", 10);
    let (here, there) = (a.serve(), b.serve());
    // The command runs in the server of a, and b's asks the server of a.
    a.reaches(&b, &there.url, BOTH);
    b.reaches(&a, &here.url, BOTH);
    let one = a.json(&["sync", "b"]);
    assert_eq!((&one["pulled"]["added"], &one["pushed"]["added"]), (&10.into(), &10.into()), "{one}");
    a.put("plant-1", "1");
    b.put("lamp-1", "1");
    let other = b.json(&["sync", "a"]);
    assert_eq!((&other["pulled"]["added"], &other["pushed"]["added"]), (&1.into(), &1.into()), "{other}");
    assert_eq!(a.heads(), b.heads());
    // Both at once, from both sides.
    a.write("more", 40);
    b.write("less", 40);
    let runs = [(&a, "b"), (&b, "a")].map(|(node, peer)| {
        let mut command = node.command(&["sync", peer]);
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    });
    for mut run in runs {
        assert!(run.wait().unwrap().success());
    }
    a.ok(&["sync", "b"]);
    assert_eq!(a.heads(), b.heads());
    here.stop();
    there.stop();
    a.verifies();
    b.verifies();
}

#[test]
fn who_only_pushes_knows_what_is_there_because_of_it() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.write("plant", 300);
    let server = b.serve();
    a.reaches(&b, &server.url, BOTH);
    assert_eq!(a.json(&["push", "b"])["pushed"]["added"], 300);
    let nothing = a.json(&["sync", "b"]);
    assert!(nothing["received_bytes"].as_u64().unwrap() < 3000, "{nothing}");
    // What somebody else wrote there in between is not taken for known.
    b.put("lamp", "1");
    a.put("plant-1", "1");
    assert_eq!(a.json(&["push", "b"])["pushed"]["added"], 1);
    let rest = a.json(&["sync", "b"]);
    assert_eq!((&rest["pulled"]["added"], &rest["pushed"]["added"]), (&1.into(), &0.into()), "{rest}");
    assert_eq!(a.heads(), b.heads());
}

#[test]
fn an_interrupted_exchange_ends_and_goes_on_later() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    b.knows(&a);
    let server = b.serve();
    a.write("plant", 200);
    let line = Proxy::new(server.port, Faults { rate: Some(16 << 10), ..Faults::default() });
    a.reaches(&b, &line.url, BOTH);
    let sync = a.command(&["sync", "b"]).stderr(Stdio::null()).spawn().unwrap();
    while line.up() < 20_000 {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(asked_to_end(sync, "-INT").code(), Some(130));
    // What came whole is kept, as soon as the server sees that no more comes.
    let there = (0..100).map(|_| (b.entries(), std::thread::sleep(Duration::from_millis(100)))).map(|(n, ())| n);
    let there = there.into_iter().find(|there| *there > 0).expect("what came whole is kept");
    assert!(there < 200, "{there}");
    a.reaches(&b, &server.url, BOTH);
    a.ok(&["sync", "b"]);
    assert_eq!(a.heads(), b.heads());
}

/// Starts an exchange and gives it when so many bytes have gone through.
fn under_way(node: &Node, way: &str, line: &Proxy, bytes: u64) -> Child {
    let exchange = node.command(&[way, "b"]).stdout(Stdio::null()).spawn().unwrap();
    while line.up() + line.down() < bytes {
        std::thread::sleep(Duration::from_millis(2));
    }
    exchange
}

#[test]
fn what_is_written_during_a_first_exchange_travels_later() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.write("plant", 1100);
    b.write("lamp", 1100);
    let (_here, there) = (a.serve(), b.serve());
    let line = Proxy::new(there.port, Faults { rate: Some(200 << 10), ..Faults::default() });
    a.reaches(&b, &line.url, BOTH);
    let mut exchange = under_way(&a, "sync", &line, 150_000);
    a.put("late", "1");
    assert!(exchange.wait().unwrap().success());
    a.ok(&["sync", "b"]);
    assert_eq!(b.entries(), 2201);
    assert_eq!(a.heads(), b.heads());
}

#[test]
fn what_is_shared_while_it_is_sent_is_sent_again() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.write("plant", 1100);
    let (_here, there) = (a.serve(), b.serve());
    let line = Proxy::new(there.port, Faults { rate: Some(200 << 10), ..Faults::default() });
    a.reaches(&b, &line.url, BOTH);
    let mut exchange = under_way(&a, "push", &line, 150_000);
    a.ok(&["share", "plant-0", "--to", "b"]);
    assert!(exchange.wait().unwrap().success());
    a.ok(&["push", "b"]);
    assert_eq!(b.ok(&["get", "plant-0", "--seq", "1", "--field", "/n"]).trim(), "0");
}

#[test]
fn an_entry_that_waited_for_what_is_sent_is_fetched_later() {
    let place = Place::new();
    let (a, b, _) = place.one_waits();
    let server = b.serve();
    a.reaches(&b, &server.url, BOTH);
    a.ok(&["sync", "b"]);
    assert_eq!(b.entries(), 2);
    a.ok(&["sync", "b"]);
    assert_eq!(a.heads(), b.heads());
    assert_eq!(a.entries(), 2);
}

/// Who sends an envelope is known where the token was made for that node, and
/// where the certificate is the one that was pinned. Else it is a claim.
#[test]
fn an_envelope_is_of_its_origin_where_that_has_proven_who_it_is() {
    let place = Place::new();
    let (a, hub, c) = (place.node("a"), place.node("hub"), place.node("c"));
    for (one, other) in [(&a, &hub), (&a, &c), (&hub, &c)] {
        one.knows(other);
    }
    a.ok(&["audience", "set", "c"]);
    let server = hub.serve();
    let known = |node: &Node, thing: &str, reader: &str| {
        let readers = node.json(&["readers", thing]);
        let found = readers.as_array().unwrap().iter().find(|row| row["name"] == reader).cloned();
        let row = found.unwrap_or_else(|| panic!("{reader} is no reader of {thing}: {readers}"));
        ["certain", "by_origin", "claimed"].map(|count| row[count].as_u64().unwrap())
    };
    // A token that names no node.
    let token = hub.ok(&["token", "new", "--name", "anybody", "--scope", BOTH]);
    std::fs::write(place.path("anybody.token"), token).unwrap();
    a.reaches(&hub, &server.url, BOTH);
    a.ok(&["peer", "set", "hub", "--token-file", "anybody.token"]);
    a.put("x", "1");
    a.ok(&["push", "hub"]);
    assert_eq!(known(&hub, "x", "c"), [0, 0, 1]);
    assert_eq!(known(&a, "x", "c"), [1, 0, 0]);
    // The one that was made for it.
    a.reaches(&hub, &server.url, BOTH);
    a.put("y", "1");
    a.ok(&["push", "hub"]);
    assert_eq!(known(&hub, "y", "c"), [0, 1, 0]);
    // Another node passes it on: that is no proof.
    c.reaches(&hub, &server.url, BOTH);
    c.ok(&["pull", "hub"]);
    assert_eq!(known(&c, "y", "this node"), [1, 0, 0], "it opened");
    assert_eq!(known(&c, "y", "a"), [0, 0, 1]);
    server.stop();
    let server = a.serve();
    c.reaches(&a, &server.url, BOTH);
    c.ok(&["pull", "a", "--all"]);
    assert_eq!(known(&c, "y", "a"), [0, 1, 0], "the certificate is that of its origin");
    server.stop();
}

/// Three nodes and eleven entries. One pull brings an entry that joins a head of
/// the puller, and another one that follows that head from far behind.
#[test]
fn a_pull_takes_everything_in_though_it_joins_heads_on_the_way() {
    let place = Place::new();
    let (one, two, three) = (place.node("one"), place.node("two"), place.node("three"));
    for (node, other) in [(&one, &two), (&two, &three), (&one, &three)] {
        node.knows(other);
    }
    // Whoever pulls asks the server of the other one, which ends again.
    let pull = |to: &Node, from: &Node, name: &str| {
        let server = from.serve();
        to.reaches(from, &server.url, BOTH);
        let done = to.json(&["pull", name]);
        server.stop();
        done
    };
    for n in 0..5 {
        one.put("x", &n.to_string());
    }
    pull(&two, &one, "one");
    one.put("x", "5");
    pull(&three, &one, "one");
    for n in 6..9 {
        two.put("x", &n.to_string());
    }
    pull(&two, &one, "one");
    two.put("x", "\"joins\"");
    one.put("x", "\"meanwhile\"");
    pull(&one, &two, "two");
    let done = pull(&three, &one, "one");
    assert_eq!((&done["pulled"]["added"], &done["pulled"]["pending"]), (&5.into(), &0.into()), "{done}");
    assert_eq!((three.heads(), three.entries()), (one.heads(), one.entries()));
    three.verifies();
}
