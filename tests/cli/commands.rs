//! Every command does what it is for, and its JSON has the members that
//! `docs/cli.md` promises.

use serde_json::{Value, json};

use super::world::{Answer, WEAK, World, members};

const ENTRY: [&str; 11] =
    ["thing", "seq", "id", "time", "actor", "action", "prev", "heads", "content", "media_type", "data"];

/// Two entries of part-42, one of lamp/2.
fn furnished() -> World {
    let world = World::new();
    world.run(&["put", "part-42", r#"{"temp":20.1,"site":"plant-3"}"#]).ok();
    world.run(&["put", "part-42", r#"{"temp":21.4,"site":"plant-3"}"#]).ok();
    world.run(&["put", "lamp/2", "true"]).ok();
    world
}

fn same_members(value: &Value, expected: &[&str]) {
    let mut found = members(value);
    let mut expected = expected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn init_names_node_and_actor() {
    let world = World::empty();
    let made = world.run(&[&["init", "deep/below/db", "--actor", "alice"][..], &WEAK].concat()).ok().json();
    same_members(&made, &["db", "origin", "node_key", "fingerprint", "actor"]);
    assert_eq!(made["actor"]["name"], "alice");
    assert!(made["fingerprint"].as_str().unwrap().starts_with(made["origin"].as_str().unwrap()));
    world.run(&["-d", "deep/below/db", "put", "a", "1"]).ok();
}

#[test]
fn init_refuses_a_database_that_is_there() {
    let world = furnished();
    world.run(&[&["init"][..], &WEAK].concat()).exit(2).says("error[already-exists]");
    world.run(&[&["init", "--if-absent"][..], &WEAK].concat()).exit(0).says("stays as it is");
    assert_eq!(world.run(&["stats"]).ok().json()["entries"], 3);
}

#[test]
fn put_gives_a_receipt() {
    let world = World::new();
    let receipt = world.run(&["put", "a", "1"]).ok().json();
    same_members(&receipt, &["thing", "seq", "id", "time", "position", "actor"]);
    assert_eq!((&receipt["seq"], &receipt["actor"]["name"]), (&json!(1), &json!("alice")));
    let text = world.run(&["put", "a", "-5", "--format", "table", "--relaxed"]).ok().stdout;
    assert!(text.starts_with("a #2  ") && text.ends_with("  signed by alice\n"), "{text}");
}

#[test]
fn put_reads_files_and_stdin_and_other_media_types() {
    let world = World::new();
    world.write("reading.json", "{\n  \"temp\": 1.00\n}\n");
    world.run(&["put", "a", "@reading.json"]).ok();
    assert_eq!(world.run(&["get", "a", "--raw"]).ok().stdout, "{\n  \"temp\": 1.00\n}\n");
    assert_eq!(world.run(&["get", "a"]).ok().stdout.lines().count(), 1, "ndjson is one line");
    world.feed(&["put", "a", "-"], "[1]").ok();
    assert_eq!(world.run(&["get", "a", "--field", "/0"]).ok().stdout, "1\n");

    world.feed(&["put", "photo", "-", "--media-type", "image/jpeg"], b"\xff\xd8\x00").ok();
    let photo = world.run(&["get", "photo"]).ok().json();
    assert_eq!((&photo["media_type"], &photo["data"]), (&json!("image/jpeg"), &json!("/9gA")));
}

#[test]
fn expect_guards_a_put() {
    let world = World::new();
    let first = world.run(&["put", "a", "1", "--expect", "none"]).ok().json();
    let id = first["id"].as_str().unwrap();
    world.run(&["put", "a", "2", "--expect", "none"]).exit(5).says("error[conflict]");
    let second = world.run(&["put", "a", "2", "--expect", &id[..8]]).ok().json();
    world
        .run(&["put", "a", "3", "--expect", &id[..8]])
        .exit(5)
        .says("the head is")
        .says("hint: thingdb log a -n 2 --patch");
    world.run(&["put", "a", "3", "--expect", "ffffffff"]).exit(5);
    world.run(&["put", "a", "3", "--expect", second["id"].as_str().unwrap()]).ok();
    world.run(&["put", "new", "3", "--expect", &id[..8]]).exit(5).says("does not exist");
    world.run(&["put", "a", "3", "--expect", "xyz"]).exit(2);
}

#[test]
fn get_log_and_show_have_the_members_of_an_entry() {
    let world = furnished();
    let entry = world.run(&["get", "part-42"]).ok().json();
    same_members(&entry, &ENTRY);
    same_members(&entry["actor"], &["name", "key", "trusted"]);
    assert_eq!((&entry["seq"], &entry["action"], &entry["content"]), (&json!(2), &json!("update"), &json!("open")));
    assert_eq!(entry["actor"]["trusted"], true);
    let log = world.run(&["log", "part-42"]).ok().lines();
    assert_eq!(log.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 1]);
    log.iter().for_each(|entry| same_members(entry, &ENTRY));
    assert_eq!(log[0]["prev"][0], log[1]["id"]);

    let shown = world.run(&["show", &entry["id"].as_str().unwrap()[..4]]).ok().json();
    let more = ["position", "origin", "suite", "data_hash", "payload_hash", "payload_len", "signature", "recipients"];
    same_members(&shown, &[&ENTRY[..], &more].concat());
    assert_eq!(shown["signature"], json!({"kind": 1}));
}

#[test]
fn json_is_one_document() {
    let world = furnished();
    assert_eq!(world.run(&["log", "part-42", "--json"]).ok().json().as_array().unwrap().len(), 2);
    assert_eq!(world.run(&["ls", "nothing", "--json"]).ok().json(), json!([]));
    assert_eq!(world.run(&["ls", "nothing"]).ok().stdout, "");
    assert_eq!(world.run(&["stats", "--format", "json"]).ok().json()["entries"], 3);
}

#[test]
fn get_finds_versions_by_seq_id_and_time() {
    let world = furnished();
    let first = world.run(&["get", "part-42", "--seq", "1"]).ok().json();
    assert_eq!(first["data"]["temp"], 20.1);
    let id = first["id"].as_str().unwrap();
    assert_eq!(world.run(&["get", "part-42", "--id", &id[..10]]).ok().json(), first);
    assert_eq!(world.run(&["get", "part-42", "--at", first["time"].as_str().unwrap()]).ok().json(), first);
    assert_eq!(world.run(&["get", "part-42", "--at", "0s"]).ok().json()["seq"], 2);
    world.run(&["get", "part-42", "--at", "2w"]).exit(3);
    world.run(&["get", "part-42", "--at", "tomorrow"]).exit(2);
    world.run(&["get", "part-42", "--seq", "3"]).exit(3).says("the last is 2");
    world.run(&["get", "lamp/2", "--id", &id[..10]]).exit(3).says("is an entry of part-42");
    world.run(&["get", "part-42", "--seq", "1", "--id", id]).exit(2);
}

#[test]
fn fields_come_as_they_are_spelled() {
    let world = World::new();
    let data = r#"{"big":123456789012345678901234567890.10,"text":"a\"b","a/b":{"~":[null]}}"#;
    world.run(&["put", "a", data]).ok();
    let field = |args: &[&str]| world.run(&[&["get", "a", "--field"][..], args].concat()).ok().stdout;
    assert_eq!(field(&["/big"]), "123456789012345678901234567890.10\n");
    assert_eq!(field(&["/text"]), "\"a\\\"b\"\n");
    assert_eq!(field(&["/text", "--raw"]), "a\"b\n");
    assert_eq!(field(&["/a~1b/~0/0"]), "null\n");
    assert_eq!(field(&[""]), format!("{data}\n"));
    assert!(world.run(&["get", "a"]).ok().stdout.contains(data), "numbers of any size survive");
    world.run(&["get", "a", "--field", "/none"]).exit(3);
    world.run(&["get", "a", "--field", "big"]).exit(2).says("starts with a slash");
}

#[test]
fn log_goes_both_ways_and_in_ranges() {
    let world = World::new();
    let lines: String = (1..=250).map(|n| format!("{{\"thing\":\"a\",\"data\":{{\"n\":{n}}}}}\n")).collect();
    world.feed(&["append"], lines).ok();
    let seqs = |args: &[&str]| -> Vec<u64> {
        let answer = world.run(&[&["log", "a"][..], args].concat()).ok();
        answer.lines().iter().map(|entry| entry["seq"].as_u64().unwrap()).collect()
    };
    assert_eq!(seqs(&[]), (1..=250).rev().collect::<Vec<_>>());
    assert_eq!(seqs(&["--reverse", "-n", "3"]), [1, 2, 3]);
    assert_eq!(seqs(&["--since", "7", "--until", "9"]), [9, 8, 7]);
    assert_eq!(seqs(&["--since", "1w", "-n", "1"]), [250]);
    assert_eq!(seqs(&["--until", "1w"]), [0; 0]);
    world.run(&["log", "a", "--since", "9", "--until", "7"]).exit(2);

    let table = world.run(&["log", "a", "--format", "table"]).ok().stdout;
    assert_eq!(table.lines().count(), 251);
    assert!(table.lines().nth(1).unwrap().contains("n 249 → 250"), "{table}");
    let patched = world.run(&["log", "a", "--patch", "--since", "2", "--until", "2"]).ok().json();
    assert_eq!(patched["patch"], json!([{"op": "replace", "path": "/n", "value": 2}]));
    let reversed = world.run(&["log", "a", "--patch", "--reverse", "-n", "2"]).ok().lines();
    assert_eq!(reversed[0]["patch"], json!([{"op": "add", "path": "/n", "value": 1}]));
    assert_eq!(reversed[1]["patch"], patched["patch"]);
}

#[test]
fn ls_lists_in_pages() {
    let world = furnished();
    let things = world.run(&["ls"]).ok().lines();
    assert_eq!(things.iter().map(|thing| thing["thing"].as_str().unwrap()).collect::<Vec<_>>(), ["lamp/2", "part-42"]);
    same_members(&things[1], &["thing", "entries", "forked", "heads", "latest", "erased", "retired"]);
    same_members(&things[1]["heads"][0], &["id", "seq", "time"]);
    assert_eq!(world.run(&["ls", "part"]).ok().lines().len(), 1);
    world.run(&["ls", "--limit", "1"]).ok().says("thingdb ls --limit 1 --after lamp/2");
    let page = world.run(&["ls", "--limit", "1", "--after", "lamp/2"]).ok();
    assert_eq!((page.lines()[0]["thing"].as_str(), page.stderr.as_str()), (Some("part-42"), ""));
    assert_eq!(world.run(&["ls", "--format", "raw"]).ok().stdout, "lamp/2\npart-42\n");
    assert!(world.run(&["ls", "-l", "--format", "table"]).ok().stdout.contains("part-42  2"));
}

#[test]
fn diff_gives_a_patch() {
    let world = furnished();
    let patch = json!({"op": "replace", "path": "/temp", "value": 21.4});
    assert_eq!(world.run(&["diff", "part-42", "1", "2"]).ok().json(), patch);
    assert_eq!(world.run(&["diff", "part-42", "1", "2", "--json"]).ok().json(), json!([patch]));
    assert_eq!(world.run(&["diff", "part-42", "2", "2"]).ok().stdout, "");
    let ids: Vec<String> =
        world.run(&["log", "part-42"]).ok().lines().iter().map(|entry| entry["id"].as_str().unwrap().into()).collect();
    assert_eq!(world.run(&["diff", "part-42", &ids[1], &ids[0][..9]]).ok().json(), patch);
    let table = world.run(&["diff", "part-42", "1", "2", "--format", "table"]).ok().stdout;
    assert!(table.contains("\ntemp 20.1 → 21.4\n"), "{table}");
    world.run(&["diff", "part-42", "1", "9"]).exit(3);
    world.run(&["diff", "lamp/2", "1", &ids[0]]).exit(3);
}

#[test]
fn verify_reports_what_it_looked_at() {
    let world = furnished();
    let report = world.run(&["verify"]).ok().json();
    let expected = [
        "ok",
        "entries",
        "things",
        "actors",
        "stubs",
        "undecryptable",
        "erased",
        "refused_erasures",
        "forked",
        "problems",
        "problems_total",
        "checkpoint",
        "copy",
    ];
    same_members(&report, &expected);
    same_members(&report["checkpoint"], &["size", "root"]);
    assert_eq!((&report["ok"], &report["entries"], &report["things"]), (&json!(true), &json!(3), &json!(2)));
    assert_eq!(world.run(&["verify", "part-42"]).ok().json()["entries"], 2);
    world.run(&["verify", "part-42", "--checkpoint", "x"]).exit(2);
}

#[test]
fn checkpoints_hold_against_what_comes_later() {
    let world = furnished();
    let note = world.run(&["checkpoint"]).ok().stdout;
    assert!(note.starts_with("thingdb.node/") && note.lines().nth(1) == Some("3"), "{note}");
    let made = world.run(&["checkpoint", "-o", "kept", "--json"]).ok().json();
    same_members(&made, &["origin", "size", "root", "note", "cosigned", "timestamps"]);
    assert_eq!(made["root"], world.run(&["verify"]).ok().json()["checkpoint"]["root"]);
    world.run(&["put", "lamp/2", "false"]).ok();
    world.run(&["verify", "--checkpoint", "kept"]).ok();
    world.feed(&["verify", "--checkpoint", "-"], note).ok();
}

#[test]
fn actors_are_made_listed_and_trusted() {
    let world = World::new();
    let expected = ["name", "key", "own", "default", "trusted", "since", "withdrawn", "ended_with", "named_by"];
    let made = world.run(&["actor", "new", "press-7"]).ok().json();
    same_members(&made, &expected);
    assert_eq!((&made["own"], &made["default"], &made["trusted"]), (&json!(true), &json!(false), &json!(true)));
    world.run(&["put", "a", "1", "--actor", "press-7"]).ok();
    assert_eq!(world.run(&["get", "a"]).ok().json()["actor"]["name"], "press-7");
    world.run(&["put", "a", "1", "--actor", "nobody"]).exit(3).says("hint: thingdb actor new nobody");
    world.run(&["actor", "new", "press-7"]).exit(2);

    let other = World::new();
    let key = other.run(&["actor", "show", "alice", "--format", "raw"]).ok().stdout;
    let trusted = world.run(&["actor", "trust", "hq", key.trim()]).ok().json();
    assert_eq!((&trusted["name"], &trusted["own"]), (&json!("hq"), &json!(false)));
    assert_eq!(world.run(&["actor", "ls"]).ok().lines().len(), 3);
    assert_eq!(world.run(&["actor", "show", &key[..8]]).ok().json()["name"], "hq");
    assert_eq!(world.run(&["actor", "untrust", "hq"]).ok().json()["trusted"], false);
    // It is known that it is not trusted, and since when.
    assert!(world.run(&["actor", "show", "hq"]).ok().json()["withdrawn"].is_string());
    world.run(&["actor", "untrust", "hq"]).exit(3);
    // The name can be given to others, who are told whose it was.
    let whose = format!("hq is also the name of the key {}, in which trust was withdrawn", key.trim());
    for args in [&["actor", "new", "hq"][..], &["actor", "rename", "press-7", "hq"]] {
        let hint = format!("thingdb actor rename {} OTHER-NAME", key.trim());
        world.run(args).ok().says(&whose).says(&hint);
        world.run(&["actor", "rename", "hq", if args.len() == 3 { "hq-2" } else { "press-7" }]).ok();
    }
    let taken = world.run(&["actor", "trust", "alice", key.trim()]).exit(2);
    taken.says("the name 'alice' is taken").says("thingdb actor ls").says("choose another name");
    world.run(&["actor", "show", "nobody"]).exit(3);
    world.run(&["actor", "trust", "x", "abc"]).exit(2);

    world.run(&["actor", "default", "press-7"]).ok();
    assert_eq!(world.run(&["put", "a", "2"]).ok().json()["actor"]["name"], "press-7");
}

#[test]
fn a_question_is_asked_again_until_it_is_answered() {
    let world = furnished();
    let untrust = |typed: &[u8]| world.on_terminal("thingdb actor untrust alice", "[y/N]", typed);
    let Some((code, text)) = untrust(b"maybe\nn\n") else { return };
    assert_eq!((code, text.matches("[y/N]").count()), (130, 2), "{text}");
    assert!(text.contains("trusted as before"), "{text}");
    let (code, text) = untrust(b"1\n2\n3\n").unwrap();
    assert_eq!((code, text.matches("[y/N]").count()), (130, 3), "{text}");
    assert_eq!(world.run(&["actor", "show", "alice"]).ok().json()["trusted"], true);
    let (code, text) = untrust(b"yes\n").unwrap();
    assert!(code == 0 && text.contains("no actor of this database can sign now"), "{text}");
    world.run(&["put", "a", "1"]).exit(2).says("error[withdrawn-actor]");
}

#[test]
fn stats_and_doctor_have_their_members() {
    let world = furnished();
    let stats = world.run(&["stats"]).ok().json();
    let expected = [
        "db",
        "store_version",
        "entries",
        "erased",
        "things",
        "actors",
        "trusted_actors",
        "waiting",
        "disk_bytes",
        "journal",
        "origin",
        "fingerprint",
        "checkpoint",
    ];
    same_members(&stats, &expected);
    assert_eq!(stats["checkpoint"]["size"], 3);
    let health = world.run(&["doctor"]).ok().json();
    assert_eq!(health["ok"], true);
    let recovery = health["checks"].as_array().unwrap().iter().find(|check| check["check"] == "recovery").unwrap();
    assert_eq!((&recovery["state"], &recovery["hint"]), (&json!("warn"), &json!("thingdb recovery-key -o FILE")));
    world.run(&["recovery-key"]).ok();
    let healthy = world.run(&["doctor", "--format", "table"]).ok().stdout;
    assert!(healthy.contains("ok    recovery: there is a recovery key"), "{healthy}");
}

#[test]
fn a_journal_of_recent_commits_is_chosen_and_changed() {
    let world = World::empty();
    world.run(&["init", "--actor", "alice", "--journal", "recent"]).ok();
    assert_eq!(world.run(&["stats"]).ok().json()["journal"], "recent");
    let checks = world.run(&["doctor"]).ok().json()["checks"].clone();
    let copies = checks.as_array().unwrap().iter().find(|check| check["check"] == "copies").unwrap().clone();
    assert!(copies["detail"].as_str().unwrap().contains("recent commits only"), "{copies}");
    assert!(copies["hint"].as_str().unwrap().contains("thingdb backup"), "{copies}");
    world.run(&["put", "lamp", "1"]).ok();
    let kept = world.run(&["journal", "keep"]).ok().json();
    same_members(&kept, &["db", "journal", "disk_bytes"]);
    assert_eq!(kept["journal"], "keep");
    assert_eq!(world.run(&["journal"]).ok().json()["journal"], "keep");
    assert_eq!(world.run(&["journal", "recent", "--json"]).ok().json()["journal"], "recent");
    let told = world.run(&["journal", "show", "--format", "table"]).ok().stdout;
    assert!(told.starts_with("recent commits only"), "{told}");
    world.run(&["journal", "nothing"]).exit(2);
    world.run(&["init", "other", "--journal", "none"]).exit(2);
    assert_eq!(world.run(&["get", "lamp", "--raw"]).ok().stdout.trim(), "1");
}

#[test]
fn doctor_says_why_a_database_does_not_open() {
    let world = World::new();
    world.write("passphrase", "not the right one");
    let answer = world.run(&["doctor"]).exit(12);
    assert_eq!(answer.json()["ok"], false);
}

#[test]
fn completions_and_manual_pages_come_from_the_program() {
    let world = World::empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(world.run(&["completions", shell]).ok().stdout.contains("recovery-key"), "{shell}");
    }
    let page = world.run(&["man"]).ok().stdout;
    assert!(page.contains(".TH thingdb 1") && page.contains("EXIT STATUS"), "{page}");
    world.run(&["man", "-o", "pages"]).ok();
    for name in ["thingdb", "thingdb-put", "thingdb-actor-trust"] {
        let page = std::fs::read_to_string(world.path(&format!("pages/{name}.1"))).unwrap();
        assert!(page.contains("EXIT STATUS") && page.contains("wrong passphrase"), "{name}");
    }
}

#[test]
fn help_explains_commands_and_topics() {
    let world = World::empty();
    let exit_codes = world.run(&["help", "exit-codes"]).ok().stdout;
    assert!(exit_codes.contains("  12  wrong passphrase"), "{exit_codes}");
    for topic in ["formats", "passphrase", "environment", "put", "actor"] {
        assert!(!world.run(&["help", topic]).ok().stdout.is_empty());
    }
    assert!(world.run(&["help", "actor", "trust"]).ok().stdout.contains("64 hex digits"));
    world.run(&["help", "nothing"]).exit(2);
    assert!(world.run(&["--help"]).ok().stdout.contains("Examples:"));
    assert!(world.run(&["put", "-h"]).ok().stdout.contains("--expect"));
    assert_eq!(world.run(&["--version"]).ok().stdout, concat!("thingdb ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn the_demo_notices_every_attack() {
    let world = World::empty();
    let mut command = world.thingdb(&["demo"]);
    command.env_remove("THINGDB_DIR").env_remove("THINGDB_PASSPHRASE_FILE").env("TMPDIR", world.path("."));
    let story = Answer::of(command).ok().stdout;
    assert_eq!(story.matches("=> noticed").count(), 5, "{story}");
    assert!(story.contains("truncated") && story.contains("is not known here") && story.contains("cut"), "{story}");
    let summary = world.run(&["demo", "--json"]).ok().json();
    assert_eq!(summary["ok"], true);
    same_members(&summary["attacks"][0], &["attack", "noticed", "said"]);
    assert_eq!(summary["erasure"], serde_json::json!({"gone": true, "confirmed": true, "proven": true}));
    assert!(story.contains("partner has signed: erased 2 of 2") && story.contains("=> shown"), "{story}");
}

#[test]
fn the_documents_list_the_exit_codes_of_the_program() {
    let world = World::empty();
    let page = include_str!("../../docs/cli.md");
    let listed: Vec<(String, String)> = world
        .run(&["help", "exit-codes"])
        .ok()
        .stdout
        .lines()
        .filter_map(|line| line.trim().split_once("  ").map(|(code, meaning)| (code.to_owned(), meaning.to_owned())))
        .collect();
    assert_eq!(listed.len(), 16);
    for (code, meaning) in listed {
        assert!(page.contains(&format!("| {code} | {meaning} |")), "{code} {meaning}");
    }
}

/// The names of the commands that a help text lists.
fn listed_commands(help: &str) -> Vec<String> {
    let list = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.trim().is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_document_names_every_command_and_every_option() {
    let world = World::empty();
    let page = include_str!("../../docs/cli.md");
    let words: std::collections::BTreeSet<&str> =
        page.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
    let mut paths = vec![Vec::new()];
    let mut count = 0;
    while let Some(path) = paths.pop() {
        let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = world.run(&args).ok().stdout;
        for line in help.lines().filter(|line| line.starts_with(' ')) {
            // An option is defined by `--long` or by `-s, --long`.
            let mut parts = line.split_whitespace();
            let option = match parts.next() {
                Some(short) if short.len() == 3 && short.starts_with('-') && short.ends_with(',') => parts.next(),
                first => first,
            };
            let Some(option) = option.filter(|option| option.starts_with("--") && option.len() > 2) else { continue };
            if !matches!(option, "--help" | "--version") {
                count += 1;
                assert!(words.contains(option), "{path:?} {option} is not in docs/cli.md");
            }
        }
        for name in listed_commands(&help) {
            assert!(words.contains(name.as_str()), "{path:?} {name} is not in docs/cli.md");
            paths.push([path.clone(), vec![name]].concat());
        }
    }
    assert!(count > 100, "{count} options found");
}

#[test]
fn a_ledger_that_was_set_back_goes_on_under_a_new_node_key() {
    let world = furnished();
    let before = world.run(&["card", "--json"]).ok().json();
    world.run(&["new-node-key"]).exit(2).says("given up for good");
    std::fs::copy(world.path("db/checkpoint"), world.path("kept")).unwrap();
    let made = world.run(&["new-node-key", "--yes", "--json"]).ok().json();
    same_members(&made, &["db", "origin", "node_key", "fingerprint"]);
    let after = world.run(&["card", "--json"]).ok().json();
    assert_eq!(after["fingerprint"], made["fingerprint"]);
    assert_ne!(after["fingerprint"], before["fingerprint"]);
    assert_ne!(after["certificate"], before["certificate"]);
    assert_eq!(after["actors"], before["actors"]);
    world.run(&["put", "a", "2"]).ok();
    world.run(&["verify"]).ok();
    // What the former key signed is kept, and still holds.
    assert_eq!(
        std::fs::read(world.path("db/checkpoint.former-1")).unwrap(),
        std::fs::read(world.path("kept")).unwrap()
    );
}
