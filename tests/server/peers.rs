//! Tokens that were made for a peer's node.

use serde_json::{Value, json};

use super::running::Running;
use super::world::World;

/// A node that is to be a peer: its database, and two states of its ledger.
struct Node {
    world: World,
    origin: String,
    old: Value,
    new: Value,
}

impl Node {
    fn new() -> Self {
        let world = World::new();
        let checkpoint = |data| {
            world.run(&["put", "lamp", data]).ok();
            world.run(&["checkpoint", "--json"]).ok().json()
        };
        let (old, new) = (checkpoint("1"), checkpoint("2"));
        let origin = new["origin"].as_str().unwrap().to_owned();
        Self { world, origin, old, new }
    }

    fn joins(&self, world: &World, name: &str) -> String {
        let card = self.world.run(&["card"]).ok().stdout;
        world.run(&["peer", "add", name, card.trim(), "--yes"]).ok();
        let args = ["token", "new", "--peer", name, "--scope", "export,import", "--format", "raw"];
        world.run(&args).ok().stdout.trim().to_owned()
    }
}

fn shown(node: &str, checkpoint: &Value) -> String {
    json!({ "node": node, "since": 0, "checkpoint": checkpoint["note"], "proof": [] }).to_string()
}

#[test]
fn nobody_tells_how_the_ledger_of_another_stands() {
    let (victim, mallory) = (Node::new(), Node::new());
    let world = World::new();
    let (of_victim, of_mallory) = (victim.joins(&world, "victim"), mallory.joins(&world, "mallory"));
    let of_nobody = Running::token(&world, "nobody", &["--scope", "read,write,export,import,admin"]);
    let listed: Vec<Value> =
        world.run(&["token", "ls"]).ok().stdout.lines().map(|line| line.parse().unwrap()).collect();
    let peers: Vec<&Value> = listed.iter().map(|token| &token["peer"]).collect();
    assert_eq!(peers, [&json!("victim"), &json!("mallory"), &Value::Null]);
    let server = Running::start(world, &[]);

    let state = |token: &str| server.get(token, &format!("/sync/state?node={}&known=0", victim.origin));
    let known = server.post(&of_victim, "/sync/checkpoint", &shown(&victim.origin, &victim.new)).is(200).json();
    assert_eq!(known["observed"], "new");

    // The victim published its old checkpoint, as anybody should.
    for token in [&of_mallory, &of_nobody] {
        for node in [&victim.origin, &mallory.origin] {
            let reply = server.post(token, "/sync/checkpoint", &shown(node, &victim.old));
            let refused = matches!((reply.status, token == &of_mallory), (403, _) | (422, true));
            assert!(refused, "{}", reply.text());
        }
    }
    state(&of_mallory).problem(403, "token-refused");
    for path in [format!("/sync/changes?node={}", victim.origin), format!("/sync/state?node={}", victim.origin)] {
        server.get(&of_mallory, &path).problem(403, "token-refused");
    }
    let stream = [("content-type", "application/vnd.thingdb.stream"), ("content-encoding", "zstd")];
    let path = format!("/sync/entries?node={}", victim.origin);
    server.ask(&of_mallory, "POST", &path, &stream, b"").problem(403, "token-refused");

    // To a token of nobody the node is a stranger.
    let stranger = state(&of_nobody).is(200).json();
    assert_eq!((&stranger["peer"], &stranger["remembered"]), (&false.into(), &Value::Null));
    let state = state(&of_victim).is(200).json();
    assert_eq!((&state["peer"], &state["contradiction"]), (&true.into(), &Value::Null));
    // With the cosignature of the node that is asked.
    let (remembered, shown_note) = (state["remembered"].as_str().unwrap(), victim.new["note"].as_str().unwrap());
    assert!(remembered.starts_with(shown_note) && remembered.lines().count() == 6, "{remembered}");

    // Its own old state convicts a node, shown by itself.
    let seen = server.post(&of_victim, "/sync/checkpoint", &shown(&victim.origin, &victim.old)).is(200).json();
    assert_eq!(seen["observed"], "outdated", "asked again from what is remembered: {seen}");
    let world = server.stop();

    // With a peer go its tokens.
    world.run(&["peer", "rm", "victim"]).ok();
    let row = world.run(&["token", "ls"]).ok().stdout;
    assert!(!row.contains(&victim.origin), "{row}");
    let server = Running::start(world, &[]);
    server.post(&of_victim, "/sync/checkpoint", &shown(&victim.origin, &victim.new)).problem(401, "token-refused");
    server.stop();
}

#[test]
fn a_token_is_for_a_peer_that_is_known() {
    let world = World::new();
    let answer = world.run(&["token", "new", "--peer", "hq", "--scope", "import"]);
    assert_eq!(answer.code, 3, "{}", answer.stderr);
    let answer = world.run(&["token", "new", "--scope", "import"]);
    assert_eq!(answer.code, 2, "{}", answer.stderr);
    assert!(answer.stderr.contains("--name"), "{}", answer.stderr);
}

#[test]
fn what_a_newer_version_sends_has_a_word_of_its_own() {
    let world = World::new();
    let token = Running::token(&world, "hq", &["--scope", "import"]);
    let server = Running::start(world, &[]);
    let stream = [("content-type", "application/vnd.thingdb.stream"), ("content-encoding", "zstd")];
    let path = format!("/sync/entries?node={}", "0".repeat(32));
    let send = |frames: &[u8]| server.ask(&token, "POST", &path, &stream, &zstd::encode_all(frames, 1).unwrap());
    send(b"tdbs\x01").is(200);
    send(b"tdbs\x02").problem(422, "newer-version");
    // What is only bad is told in the sums, as before.
    send(b"tdbs\x01\x01").is(200);
    server.stop();
}
