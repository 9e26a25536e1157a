//! `thingdb migrate` as people run it: what it prints, its JSON, its exit codes.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

// By its path: nothing depends on the package of the tests.
#[allow(dead_code, unreachable_pub)]
#[path = "support/prototype.rs"]
mod prototype;

use prototype::{OldActor, Prototype};

const OLD: &str = "canary-old-passphrase";

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(world.path().join("old-passphrase"), format!("{OLD}\n")).unwrap();
        let weak = ["--kdf-memory", "8K", "--kdf-passes", "1", "--kdf-lanes", "1"];
        world.run(&[&["init", "--actor", "carol"][..], &weak].concat(), 0);
        world
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thingdb"));
        command.current_dir(self.path()).args(["--db", "db"]).args(args);
        command.env_clear().env("THINGDB_PASSPHRASE", "correct horse").stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str], code: i32) -> (String, String) {
        told(self.command(args).output().unwrap(), code)
    }

    fn json(&self, args: &[&str], code: i32) -> Value {
        serde_json::from_str(&self.run(&[args, &["--json"]].concat(), code).0).unwrap()
    }
}

fn told(output: Output, code: i32) -> (String, String) {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert!(!out.contains("canary") && !err.contains("canary"), "a secret leaks: {out}{err}");
    (out, err)
}

/// A directory with a bit of everything.
fn old_directory(world: &World) -> Prototype {
    let alice = OldActor::new("alice");
    let mut prototype = Prototype::new(&world.path().join("old"), OLD);
    prototype.save_node_key();
    prototype.save_key("actor_key.enc", alice.pem().as_bytes());
    prototype.save_file("tokens.json", r#"{"canary-token": {"name": "t", "scopes": []}}"#);
    prototype.save_file("peers.json", r#"{"nodeB": {"x25519_pub": "Yg/SSO5a/K3SU0MHE9ppL4lIftjuFsYQ1ryPSHBzOGg="}}"#);
    prototype.envelope(&alice, "valve-7", "create", r#"{"t":1e-07}"#);
    prototype.envelope(&alice, "valve-7", "update", "NaN");
    prototype.legacy(&alice, "sensor-1", "create", "1");
    prototype.save();
    prototype
}

const ABSENT: &str = "no prototype chain: its default mode wrote none";

#[test]
fn a_directory_comes_over_and_its_originals_are_verified() {
    let world = World::new();
    old_directory(&world);
    let migrate = ["migrate", "old", "--old-passphrase-file", "old-passphrase"];
    let dry = world.json(&[&migrate[..], &["--dry-run"]].concat(), 0);
    assert_eq!((&dry["dry_run"], &dry["migrated"]), (&json!(true), &json!(3)));
    assert_eq!(world.json(&["stats"], 0)["entries"], 0);

    let report = world.json(&migrate, 0);
    let counts = ["entries", "things", "migrated", "known", "refused_total"].map(|name| report[name].as_u64().unwrap());
    assert_eq!((counts, &report["refused"]), ([3, 2, 3, 0, 0], &json!([])));
    let chains = json!([
        {"thing": "sensor-1", "entries": 1, "verdict": ABSENT, "detail": null},
        {"thing": "valve-7", "entries": 2, "verdict": "prototype chain good", "detail": null},
    ]);
    let original = json!({"signatures_good": 3, "signatures_bad": 0, "chains": chains});
    assert_eq!(report["original"], original);
    assert_eq!((&report["actors"][0]["name"], &report["actors"][0]["outcome"]), (&json!("alice"), &json!("added")));
    assert!(report["peers"][0]["note"].as_str().unwrap().contains("card"));
    assert_eq!((&report["tokens"]["found"], &report["tokens"]["without_scopes"]), (&json!(1), &json!(1)));

    assert_eq!(world.json(&["verify"], 0)["original"], original);
    let (text, _) = world.run(&["verify", "--format", "table"], 0);
    assert!(text.contains("3 entries: prototype signature good"), "{text}");
    assert!(text.contains(&format!("1 thing: {ABSENT}")), "{text}");
    assert_eq!(world.run(&["get", "valve-7", "--seq", "1", "--format", "raw"], 0).0.trim_end(), r#"{"t":1e-07}"#);
    assert_eq!(world.run(&["get", "valve-7", "--format", "raw"], 0).0.trim_end(), "NaN");
    world.run(&["put", "valve-7", "2", "--actor", "alice"], 0);
    let (text, _) = world.run(&[&migrate[..], &["--format", "table"]].concat(), 0);
    assert!(text.starts_with("migrated 0 entries, 3 known already\n"), "{text}");
}

/// Who wrote a migrated entry, and when, shows wherever it is shown, with who
/// migrated it beside.
#[test]
fn migrated_entries_show_who_wrote_their_originals_and_when() {
    let world = World::new();
    let bob = OldActor::new("bob");
    let mut prototype = Prototype::new(&world.path().join("old"), OLD);
    prototype.save_node_key();
    let documents: Vec<String> = [("2024-03-01T10:00:00Z", "1"), ("2024-03-02T11:30:00.25Z", "2")]
        .map(|(time, data)| bob.sign_at(time, "valve", "update", data, None))
        .to_vec();
    prototype.lines = documents.iter().map(|document| prototype.seal_legacy(document)).collect();
    prototype.save();
    world.run(&["migrate", "old", "--old-passphrase-file", "old-passphrase"], 0);

    let original = |time: &str| json!({"actor": {"name": "bob", "key": bob.key(), "trusted": false}, "time": time, "verified": true, "fault": null});
    let entry = world.json(&["get", "valve"], 0);
    assert_eq!(entry["original"], original("2024-03-02T11:30:00.250000Z"));
    assert_eq!(entry["actor"]["name"], "carol");
    let phrase = "by bob (original) at 2024-03-02 11:30:00 (verified, unknown key), migrated ";
    let id = entry["id"].as_str().unwrap();
    for args in [&["get", "valve"][..], &["log", "valve", "--patch"], &["diff", "valve", "1", "2"]] {
        let (text, _) = world.run(&[args, &["--format", "table"]].concat(), 0);
        assert!(text.contains(phrase) && text.contains(" by carol (trusted key)"), "{text}");
    }
    let (table, _) = world.run(&["log", "valve", "--format", "table"], 0);
    assert!(table.contains("2024-03-02 11:30:00") && table.contains("bob (migrated by carol)"), "{table}");
    let (graph, _) = world.run(&["log", "valve", "--graph"], 0);
    assert!(graph.contains("2024-03-01 10:00:00") && graph.contains("bob"), "{graph}");
    let (shown, _) = world.run(&["show", id, "--format", "table"], 0);
    assert!(shown.contains("by bob (original) at 2024-03-02 11:30:00 (verified, unknown key)"), "{shown}");
    assert!(shown.contains(&bob.key()) && shown.contains("who migrated it"), "{shown}");

    let at = |time: &str, code| world.run(&["get", "valve", "--at", time, "--raw"], code).0;
    assert_eq!(
        (at("2024-03-01", 0), at("2024-03-02", 0), at("2024-02-28", 3)),
        ("1".into(), "2".into(), String::new())
    );
    let since: Value = world.json(&["log", "valve", "--since", "2024-03-02", "--until", "2024-03-03"], 0);
    assert_eq!((since.as_array().map(Vec::len), &since[0]["data"]), (Some(1), &json!(2)));
    assert_eq!(world.json(&["log", "valve", "--since", "2025-01-01"], 0), json!([]));

    // The document, to the byte.
    assert_eq!(world.run(&["show", id, "--original"], 0).0, documents[1]);
    assert_eq!(world.run(&["show", id, "--original", "--format", "raw"], 0).0, documents[1]);
    let whole = world.json(&["show", id], 0);
    assert_eq!(whole["attachment"]["media_type"], "application/vnd.thingdb.prototype+json");
    world.run(&["put", "plain", "1"], 0);
    let plain = world.json(&["get", "plain"], 0);
    assert!(plain.get("original").is_none());
    world.run(&["show", plain["id"].as_str().unwrap(), "--original"], 3);
}

#[test]
fn refused_lines_are_named_with_exit_code_6() {
    let world = World::new();
    let mut prototype = old_directory(&world);
    prototype.lines.insert(1, "garbage".into());
    prototype.lines.push(prototype.lines[0][..100].to_owned());
    prototype.save();
    let migrate = ["migrate", "old", "--old-passphrase-file", "old-passphrase"];
    let (_, err) = world.run(&[&migrate[..], &["--dry-run"]].concat(), 6);
    assert!(err.contains("2 entries of the prototype would be refused, 3 migrated"), "{err}");
    let report = world.json(&migrate, 6);
    assert_eq!((&report["entries"], &report["migrated"]), (&json!(5), &json!(3)));
    assert_eq!(report["refused"][0], json!({"line": 2, "reason": "not JSON: garbage"}));
    assert_eq!(report["refused"][1]["line"], 5);
    // The prototype's lines are no stream of ours, and the refusal says so.
    let (_, err) = world.run(&["import", "old/ledger.ndjson"], 6);
    assert!(err.contains("thingdb migrate DIR"), "{err}");
}

#[test]
fn the_old_passphrase_comes_from_a_file_or_a_descriptor_and_is_told_from_a_wrong_one() {
    let world = World::new();
    old_directory(&world);
    fs::write(world.path().join("wrong"), "wrong").unwrap();
    let (_, err) = world.run(&["migrate", "old", "--old-passphrase-file", "wrong"], 12);
    assert!(err.contains("opens nothing of the prototype in old"), "{err}");
    let (_, err) = world.run(&["migrate", "old", "--no-input"], 2);
    assert!(err.contains("--old-passphrase-file"), "{err}");
    let (_, err) = world.run(&["migrate", "db", "--old-passphrase-file", "wrong"], 2);
    assert!(err.contains("no prototype in db"), "{err}");
    assert_eq!(world.json(&["stats"], 0)["entries"], 0);
    let mut command = world.command(&["migrate", "old", "--old-passphrase-fd", "0"]);
    command.stdin(fs::File::open(world.path().join("old-passphrase")).unwrap());
    told(command.output().unwrap(), 0);
}
