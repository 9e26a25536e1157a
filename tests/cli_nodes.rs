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

/// What stands behind `hint:` in what a command said.
fn hints(said: &str) -> Vec<String> {
    said.lines().filter_map(|line| line.strip_prefix("hint: ")).map(str::to_owned).collect()
}

/// Runs a hint as it stands, in a shell, as somebody who pastes it.
fn paste(node: &Node<'_>, hint: &str) -> Output {
    let bin = Path::new(env!("CARGO_BIN_EXE_thingdb")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let mut shell = Command::new("sh");
    shell.current_dir(node.dir).env_clear().env("PATH", path).env("THINGDB_PASSPHRASE", "correct horse");
    shell.args(["-c", hint]).stdin(Stdio::null()).output().unwrap()
}

/// The hints after a refused import, followed word for word, end with the import
/// accepted: with the card that the stream begins with, in every form of it.
#[test]
fn the_hints_after_a_refused_import_lead_to_its_end() {
    let tmp = tempfile::tempdir().unwrap();
    let a = node(tmp.path(), "a");
    a.ok(&["put", "x", "1"]);
    let fingerprint = a.json(&["card"])["fingerprint"].as_str().unwrap().to_owned();
    a.ok(&["export", "-o", "e.ndjson"]);
    a.ok(&["export", "-o", "e two.ndjson.zst"]);
    a.ok(&["export", "--binary", "-o", "e.tdbs"]);
    a.ok(&["export", "--array", "-o", "e.json"]);
    for (name, file) in [("b", "e.ndjson"), ("c", "e two.ndjson.zst"), ("d", "e.tdbs"), ("e", "e.json")] {
        let reader = node(tmp.path(), name);
        let said = reader.fails(&["import", file], 6);
        let all = hints(&said);
        assert!(all[0].contains(&fingerprint), "{said}");
        let commands: Vec<&String> = all.iter().filter(|hint| hint.starts_with("thingdb ")).collect();
        assert_eq!(commands.len(), 2, "{said}");
        // Without a terminal somebody has to say that the fingerprint was compared.
        let asked = paste(&reader, commands[0]);
        let err = String::from_utf8_lossy(&asked.stderr).into_owned();
        assert_eq!(asked.status.code(), Some(2), "{err}");
        assert!(err.contains(&fingerprint) && err.contains("repeat with --yes"), "{err}");
        let added = paste(&reader, &format!("{} --yes", commands[0]));
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let imported = paste(&reader, commands[1]);
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
        assert_eq!(reader.json(&["stats"])["entries"], 1);
    }
    // A relay's stream begins with the relay's card, which would not help.
    let relay = node(tmp.path(), "relay");
    relay.ok(&["import", "e.ndjson", "--trust", "all"]);
    relay.ok(&["export", "-o", "r.ndjson"]);
    let far = node(tmp.path(), "far");
    let said = far.fails(&["import", "r.ndjson"], 6);
    assert!(said.contains("thingdb card > NAME.card") && !said.contains("@r.ndjson"), "{said}");
    // Trust in the actor alone leads no further, and the hint says what does.
    let key = a.ok(&["actor", "show", "a", "--format", "raw"]);
    far.ok(&["actor", "trust", "a", key.trim()]);
    let said = far.fails(&["import", "e.ndjson"], 6);
    assert!(said.contains("peer add a @e.ndjson"), "{said}");
}

#[test]
fn a_withdrawal_is_shown_with_who_names_the_key_and_is_taken_back_by_name() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "a"), node(tmp.path(), "b"));
    a.ok(&["peer", "add", "b", "@b.card", "--yes"]);
    b.ok(&["put", "x", "1"]);
    hand_over(&b, &a, "b.ndjson");
    a.ok(&["actor", "untrust", "b"]);
    let key = b.ok(&["actor", "show", "b", "--format", "raw"]).trim().to_owned();
    let shown = a.json(&["actor", "show", "b"]);
    assert_eq!((&shown["trusted"], &shown["named_by"]), (&false.into(), &serde_json::json!(["b"])), "{shown}");
    assert!(shown["withdrawn"].as_str().unwrap().ends_with('Z') && shown["ended_with"].is_null(), "{shown}");
    let listed = a.ok(&["actor", "ls", "--format", "table"]);
    assert!(listed.contains("withdrawn") && listed.contains("named by b"), "{listed}");
    assert!(!a.ok(&["actor", "ls", "--format", "raw"]).contains(&key), "a list of keys to trust");
    let id = a.json(&["get", "x"])["id"].as_str().unwrap().to_owned();
    assert!(a.ok(&["show", &id, "--format", "table"]).contains("(withdrawn key)"));
    let entry = a.json(&["show", &id]);
    assert_eq!((&entry["actor"]["withdrawn"], &entry["actor"]["trusted"]), (&true.into(), &false.into()), "{entry}");
    assert!(entry.get("origin_withdrawn").is_none(), "{entry}");

    let listed = &a.json(&["peer", "show", "b"])["actors"][0];
    assert_eq!((&listed["trusted"], listed["withdrawn"].is_string()), (&false.into(), true), "{listed}");

    b.ok(&["actor", "new", "other"]);
    std::fs::write(tmp.path().join("b2.card"), b.ok(&["card"])).unwrap();
    let said = a.run(&["peer", "add", "b", "@b2.card", "--yes"]);
    let err = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success() && err.contains("warning[actor-withdrawn]") && err.contains(&key), "{err}");
    b.ok(&["put", "x", "2"]);
    b.ok(&["export", "-o", "b.ndjson"]);
    let said = a.fails(&["import", "b.ndjson"], 6);
    assert!(said.contains(&format!("actor trust {key}")), "{said}");
    let said = a.fails(&["verify"], 4);
    assert!(said.contains("trust in who signed was withdrawn") && said.contains("actor trust NAME"), "{said}");
    a.fails(&["actor", "trust", "nobody"], 2);
    a.ok(&["actor", "trust", "b"]);
    assert_eq!(a.json(&["import", "b.ndjson"])["added"], 1);
    assert_eq!(a.json(&["verify"])["ok"], true);
}

#[test]
fn a_peer_that_goes_takes_its_tokens_along_and_the_command_says_so() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "a"), node(tmp.path(), "b"));
    introduce(&a, &b);
    a.ok(&["token", "new", "--peer", "b", "--name", "for-b", "--scope", "import"]);
    a.ok(&["token", "new", "--name", "other", "--scope", "import"]);
    let output = a.run(&["peer", "rm", "b", "--format", "table"]);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && err.contains("tokens that end with it: for-b"), "{err}");
    assert!(err.contains("trusted no more: b"), "{err}");
    let left = a.json(&["token", "ls"]);
    assert_eq!(left.as_array().unwrap().iter().map(|token| &token["name"]).collect::<Vec<_>>(), ["other"]);
    // In JSON, too; and that the node was known and is so again is told.
    let output = a.run(&["peer", "add", "b", "@b.card", "--yes"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("warning[node-withdrawn]"));
    let gone = a.json(&["peer", "rm", "b"]);
    assert_eq!((&gone["tokens_ended"], &gone["actors_ended"]), (&serde_json::json!([]), &serde_json::json!(["b"])));
}

#[test]
fn an_own_actor_signs_no_more_once_somebody_has_said_so() {
    let tmp = tempfile::tempdir().unwrap();
    let a = node(tmp.path(), "a");
    a.ok(&["put", "x", "1"]);
    let said = a.fails(&["actor", "untrust", "a"], 2);
    assert!(said.contains("an actor of this database") && said.contains("actor untrust a --yes"), "{said}");
    a.ok(&["put", "x", "2"]);
    let output = a.run(&["actor", "untrust", "a", "--yes"]);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && err.contains("no actor of this database can sign now"), "{err}");
    let said = a.fails(&["put", "x", "3"], 2);
    assert!(said.contains("error[withdrawn-actor]") && said.contains("trust in a was withdrawn"), "{said}");
    let said = a.fails(&["verify"], 4);
    assert!(said.contains("withdrawn actor") || said.contains("the signatures hold"), "{said}");
    let findings = a.json(&["doctor"]);
    let actor = findings["checks"].as_array().unwrap().iter().find(|check| check["check"] == "actor").unwrap();
    assert_eq!(actor["state"], "warn", "{actor}");
    // The hint of the doctor, with a name for NAME.
    let hint = actor["hint"].as_str().unwrap().replace("NAME", "second");
    assert!(paste(&a, &hint).status.success(), "{hint}");
    a.ok(&["put", "x", "3"]);
    assert_eq!(a.json(&["get", "x"])["actor"]["name"], "second");
    // The first one again.
    a.ok(&["actor", "trust", "a"]);
    a.ok(&["put", "x", "4", "--actor", "a"]);
    assert_eq!(a.json(&["verify"])["ok"], true);
    let output = a.run(&["actor", "untrust", "second", "--yes"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("hint: thingdb --db a actor default a"), "{said}");
}
