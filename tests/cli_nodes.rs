//! Nodes as directories, through the command: cards, peers, envelopes, forks.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

struct Node<'a> {
    dir: &'a Path,
    name: &'static str,
}

impl Node<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thingdb"));
        command.current_dir(self.dir).args(["--db", self.name]).args(args);
        command.env_clear().env("THINGDB_PASSPHRASE", "correct horse").stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Succeeds and gives what was printed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{} {args:?}: {out}{err}", self.name);
        out.into_owned()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["--json"]].concat())).unwrap()
    }

    fn fails(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{} {args:?}: {err}", self.name);
        err
    }
}

const WEAK: [&str; 6] = ["--kdf-memory", "8K", "--kdf-passes", "1", "--kdf-lanes", "1"];

fn node<'a>(dir: &'a Path, name: &'static str) -> Node<'a> {
    let node = Node { dir, name };
    node.ok(&[&["init", "--actor", name][..], &WEAK].concat());
    let card = node.ok(&["card"]);
    std::fs::write(dir.join(format!("{name}.card")), card).unwrap();
    node
}

fn introduce(a: &Node<'_>, b: &Node<'_>) {
    for (one, other) in [(a, b), (b, a)] {
        one.ok(&["peer", "add", other.name, &format!("@{}.card", other.name), "--yes"]);
    }
}

/// Hands everything that `from` has to `to`, by a file.
fn hand_over(from: &Node<'_>, to: &Node<'_>, file: &str) -> Value {
    from.ok(&["export", "-o", file]);
    to.json(&["import", file])
}

#[test]
fn three_nodes_end_with_the_same_histories() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b, c) = (node(tmp.path(), "a"), node(tmp.path(), "b"), node(tmp.path(), "c"));
    introduce(&a, &b);
    introduce(&b, &c);
    introduce(&a, &c);
    a.ok(&["audience", "set", "b", "c"]);
    b.ok(&["audience", "set", "a", "c"]);
    a.ok(&["put", "x", "1"]);
    a.ok(&["put", "y", r#"{"n":1.0e400}"#, "--media-type", "text/plain"]);
    for file in ["one.ndjson", "two.ndjson.zst", "three.ndjson.gz"] {
        hand_over(&a, &b, file);
    }
    b.ok(&["put", "x", "2"]);
    a.ok(&["put", "x", "3"]);
    // B passes on what it got; C takes it in any order.
    assert_eq!(hand_over(&b, &c, "b.ndjson.gz")["added"], 3);
    assert_eq!(hand_over(&a, &c, "a.ndjson.zst")["added"], 1);
    hand_over(&c, &a, "c.ndjson");
    hand_over(&c, &b, "c.ndjson");
    let heads = |node: &Node<'_>| node.ok(&["forks", "x", "--format", "ndjson"]);
    assert_eq!(heads(&a), heads(&b));
    assert_eq!(heads(&a), heads(&c));
    let latest = |node: &Node<'_>| node.json(&["get", "x"])["id"].clone();
    assert_eq!(latest(&a), latest(&b));
    assert_eq!(latest(&a), latest(&c));
    assert!(c.ok(&["log", "x", "--graph"]).contains("|/"));
    for node in [&a, &b, &c] {
        assert_eq!(node.json(&["verify"])["ok"], true);
        assert_eq!(node.json(&["get", "x"])["actor"]["trusted"], true);
    }

    // The next put joins.
    c.ok(&["resolve", "x", "--keep", latest(&c).as_str().unwrap(), "--reason", "it was later"]);
    assert_eq!(c.ok(&["forks", "--format", "ndjson"]), "");
    assert_eq!(c.json(&["get", "x"])["action"], "resolve");
}

#[test]
fn readers_are_chosen_added_and_listed() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "a"), node(tmp.path(), "b"));
    introduce(&a, &b);
    a.ok(&["put", "x", "1"]);
    a.ok(&["put", "x", "2", "--to", "b"]);
    hand_over(&a, &b, "1.ndjson");
    assert_eq!(b.json(&["get", "x"])["data"], 2);
    let readers: Value = serde_json::from_str(&a.ok(&["readers", "x", "--json"])).unwrap();
    let bob = readers.as_array().unwrap().iter().find(|reader| reader["name"] == "b").unwrap();
    assert_eq!((&bob["entries"], &bob["first_seq"]), (&1.into(), &2.into()));

    assert_eq!(a.json(&["share", "x", "--to", "b"])["shared"], 1);
    assert_eq!(hand_over(&a, &b, "2.ndjson")["completed"], 1);
    assert_eq!(b.json(&["get", "x", "--seq", "1"])["data"], 1);
    a.fails(&["share", "nothing", "--to", "b"], 3);
    a.fails(&["share", "x", "--to", "nobody"], 3);
    a.fails(&["unshare", "--to", "b"], 3);
    a.ok(&["audience", "set", "b", "--prefix", "p/"]);
    a.ok(&["unshare", "--to", "b"]);
    a.ok(&["peer", "rm", "b"]);
    a.fails(&["put", "x", "3", "--to", "b"], 3);
}

#[test]
fn a_card_is_compared_before_it_is_believed() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b, m) = (node(tmp.path(), "a"), node(tmp.path(), "b"), node(tmp.path(), "m"));
    let err = a.fails(&["peer", "add", "b", "@b.card"], 2);
    let fingerprint = b.json(&["card"])["fingerprint"].as_str().unwrap().to_owned();
    assert!(err.contains(&fingerprint) && err.contains("--yes"), "{err}");
    a.ok(&["peer", "add", "b", "@b.card", "--yes"]);
    let since = a.json(&["peer", "show", "b"])["since"].as_str().unwrap().to_owned();
    assert!(since.contains('T') && since.ends_with('Z'), "a time as everywhere else: {since}");
    let err = a.fails(&["peer", "add", "b", "@m.card", "--yes"], 2);
    let other = m.json(&["card"])["fingerprint"].as_str().unwrap().to_owned();
    assert!(err.contains(&fingerprint) && err.contains(&other), "{err}");
    a.fails(&["peer", "add", "c", "not a card", "--yes"], 2);
    assert_eq!(a.json(&["peer", "show", "b"])["fingerprint"], fingerprint.as_str());
}

#[test]
fn what_is_odd_about_a_card_is_said_also_without_asking() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b, m) = (node(tmp.path(), "a"), node(tmp.path(), "b"), node(tmp.path(), "m"));
    let warnings = |node: &Node<'_>, args: &[&str], code: i32| {
        let output = node.run(args);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
        err
    };
    let key = |node: &Node<'_>, name: &str| node.ok(&["actor", "show", name, "--format", "raw"]).trim().to_owned();
    b.ok(&["actor", "new", "second"]);
    std::fs::write(tmp.path().join("b2.card"), b.ok(&["card"])).unwrap();
    let second = key(&b, "second");
    // Nothing to say.
    assert_eq!(warnings(&a, &["peer", "add", "b", "@b2.card", "--yes"], 0), "");
    let err = warnings(&a, &["peer", "add", "b", "@b.card", "--yes"], 0);
    assert!(err.contains("warning[older-card]") && !err.contains("actor-left"), "{err}");
    assert!(a.ok(&["peer", "show", "b", "--json"]).contains("second"), "the newer card stays");
    // A node does not forget its actors, so here it is another one's card that
    // lists the key: known by its name in one place, by another in the other.
    m.ok(&["actor", "trust", "somebody", &second]);
    let err = warnings(&m, &["peer", "add", "b", "@b2.card", "--yes"], 0);
    assert!(err.contains("warning[actor-claimed]"), "{err}");
    assert!(
        err.contains("lists as second") && err.contains("known here as somebody") && err.contains(&second),
        "{err}"
    );
    assert!(m.ok(&["actor", "ls"]).contains("somebody"));
    // Asked on no terminal, it says so before it refuses to go on.
    a.ok(&["peer", "rm", "b"]);
    assert!(warnings(&m, &["peer", "add", "b", "@b.card"], 2).contains("warning[older-card]"));
}

#[test]
fn a_write_only_node_says_why_it_cannot_read() {
    let tmp = tempfile::tempdir().unwrap();
    let reader = node(tmp.path(), "reader");
    let sensor = Node { dir: tmp.path(), name: "sensor" };
    sensor.ok(&[&["init", "--actor", "sensor", "--write-only", "--to", "reader=@reader.card"][..], &WEAK].concat());
    sensor.ok(&["put", "x", r#"{"v":1}"#]);
    assert_eq!(sensor.json(&["get", "x"])["content"], "undecryptable");
    for args in [&["get", "x", "--format", "raw"][..], &["get", "x", "--raw"], &["get", "x", "--field", "/a"]] {
        let said = sensor.fails(args, 6);
        assert!(said.contains("error[not-readable]") && said.contains("the node has no key"), "{said}");
    }
    let said = sensor.fails(&["diff", "x", "1", "1"], 6);
    assert!(said.contains("error[not-readable]") && !said.contains("JSON"), "{said}");
    assert_eq!(sensor.json(&["verify"])["ok"], true);
    std::fs::write(tmp.path().join("sensor.card"), sensor.ok(&["card"])).unwrap();
    reader.ok(&["peer", "add", "sensor", "@sensor.card", "--yes"]);
    assert_eq!(hand_over(&sensor, &reader, "s.ndjson")["added"], 1);
    assert_eq!(reader.json(&["get", "x"])["data"]["v"], 1);
}

#[test]
fn an_equivocation_is_proven_without_a_database() {
    let tmp = tempfile::tempdir().unwrap();
    let a = node(tmp.path(), "a");
    a.ok(&["put", "x", "0"]);
    let copied = Command::new("cp").args(["-r", "a", "twin"]).current_dir(tmp.path()).status().unwrap();
    assert!(copied.success());
    let twin = Node { dir: tmp.path(), name: "twin" };
    a.ok(&["put", "x", "1"]);
    twin.ok(&["put", "x", "2"]);
    a.fails(&["prove-fork", "x"], 3);
    hand_over(&twin, &a, "t.ndjson");
    assert!(a.ok(&["forks", "--format", "table"]).contains("equivocation"));
    std::fs::write(tmp.path().join("evidence"), a.ok(&["prove-fork", "x"])).unwrap();
    let stranger = |file: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thingdb"));
        command.current_dir(tmp.path()).env_clear().args(["verify-fork", file, "--json"]).output().unwrap()
    };
    let output = stranger("evidence");
    assert!(output.status.success());
    let proven: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&proven["ok"], &proven["thing"]), (&true.into(), &"x".into()));
    std::fs::write(tmp.path().join("nothing"), "").unwrap();
    assert_eq!(stranger("nothing").status.code(), Some(4));
}

#[test]
fn streams_come_as_arrays_archives_and_dry_runs() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "a"), node(tmp.path(), "b"));
    a.ok(&["put", "x", "1"]);
    a.ok(&["put", "x", "2"]);
    std::fs::write(tmp.path().join("pass"), "the archive's own\n").unwrap();
    a.ok(&["export", "--archive-passphrase-file", "pass", "-o", "archive.ndjson.zst"]);
    let import = ["import", "archive.ndjson.zst", "--trust", "all", "--archive-passphrase-file", "pass"];
    assert_eq!(b.json(&[&import[..], &["--dry-run"]].concat())["added"], 2);
    assert_eq!(b.json(&["stats"])["entries"], 0);
    assert_eq!(b.json(&import)["added"], 2);
    assert_eq!(b.json(&["get", "x"])["data"], 2);

    let c = node(tmp.path(), "c");
    let lines = a.ok(&["export"]);
    let entries: Vec<&str> = lines.lines().filter(|line| line.starts_with("{\"v\"")).collect();
    let strings = serde_json::to_string(&entries).unwrap();
    std::fs::write(tmp.path().join("strings.json"), strings).unwrap();
    std::fs::write(tmp.path().join("objects.json"), format!("[\n{}\n]\n", entries.join(",\n"))).unwrap();
    assert_eq!(c.json(&["import", "strings.json", "--trust", "all"])["added"], 2);
    assert_eq!(c.json(&["import", "objects.json", "--trust", "all"])["known"], 2);

    let d = node(tmp.path(), "d");
    std::fs::write(tmp.path().join("bad"), format!("{}\n{{}}\n{}\n", entries[0], entries[1])).unwrap();
    d.fails(&["import", "bad", "--trust", "all", "--fail-fast"], 6);
    assert_eq!(d.json(&["stats"])["entries"], 1);
}
