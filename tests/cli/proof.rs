//! `thingdb prove` and `thingdb verify-proof`.

use serde_json::json;

use super::world::{World, members};

/// Ten entries of `part-42` among those of another thing, and the node's card.
fn furnished() -> World {
    let world = World::new();
    let line = |n: usize| {
        let thing = if n.is_multiple_of(3) { "part-42" } else { "other" };
        format!("{{\"thing\":\"{thing}\",\"data\":{{\"n\":{n}}}}}\n")
    };
    world.feed(&["append"], (0..30).map(line).collect::<String>()).ok();
    let card = world.run(&["card"]).ok().stdout;
    world.write("plant.card", card);
    world
}

/// Commands of an auditor: no database, no passphrase.
fn auditor(world: &World, args: &[&str]) -> super::world::Answer {
    let mut command = world.command(env!("CARGO_BIN_EXE_thingdb"));
    command.env_remove("THINGDB_DIR").env_remove("THINGDB_PASSPHRASE_FILE").env_remove("THINGDB_PASSPHRASE");
    command.args(args);
    super::world::Answer::of(command)
}

#[test]
fn a_stranger_checks_a_history_with_the_file_alone() {
    let world = furnished();
    let summary = world.run(&["prove", "part-42", "-o", "p.tdbproof"]).ok().json();
    assert_eq!(
        members(&summary),
        [
            "bytes",
            "complete",
            "entries",
            "erased",
            "origin",
            "partly_shown",
            "root",
            "shown",
            "size",
            "undecryptable",
            "withheld"
        ]
    );
    assert_eq!((&summary["entries"], &summary["shown"], &summary["size"]), (&json!(10), &json!(10), &json!(30)));
    assert_eq!(std::fs::metadata(world.path("p.tdbproof")).unwrap().len(), summary["bytes"].as_u64().unwrap());
    world.shell("rm -rf db").ok();
    let told = auditor(&world, &["verify-proof", "p.tdbproof", "--card", "@plant.card"]).ok().json();
    assert_eq!(told["ok"], true);
    assert_eq!((&told["thing"], &told["subject"]["kind"]), (&json!("part-42"), &json!("history")));
    assert_eq!((&told["ledger"]["trusted"], &told["ledger"]["size"]), (&json!(true), &json!(30)));
    assert_eq!(told["ledger"]["root"], summary["root"]);
    // Without a card it is consistent with itself, and says that this is little.
    let told = auditor(&world, &["verify-proof", "p.tdbproof"]).ok().json();
    assert_eq!(told["ledger"]["trusted"], false);
    assert!(told["not_told"][0].as_str().unwrap().contains("you have not said whom you trust"));
}

#[test]
fn every_entry_comes_with_what_it_says() {
    let world = furnished();
    world.run(&["prove", "part-42", "--withhold", "2", "-o", "p.tdbproof"]).ok();
    let answer = auditor(&world, &["verify-proof", "p.tdbproof", "--card", "@plant.card", "--entries"]).ok();
    let lines = answer.lines();
    assert_eq!(lines.len(), 11);
    for (n, entry) in lines[..10].iter().enumerate() {
        assert_eq!((&entry["seq"], &entry["place"]), (&json!(n + 1), &json!(n * 3)));
        assert_eq!(entry["actor"]["name"], "alice");
        if n == 1 {
            assert_eq!((&entry["content"], entry.get("data")), (&json!("withheld"), None));
        } else {
            assert_eq!((&entry["content"], &entry["data"]), (&json!("shown"), &json!({"n": n * 3})));
        }
    }
    assert_eq!((&lines[10]["ok"], &lines[10]["withheld"]), (&json!(true), &json!(1)));
    let text = auditor(&world, &["verify-proof", "p.tdbproof", "--card", "@plant.card", "--format", "table"]).ok();
    for words in ["the history of part-42: 10 entries", "(withheld)", "not told:", "which you trust"] {
        assert!(text.stdout.contains(words), "{words}: {text:?}");
    }
}

#[test]
fn what_is_withheld_is_not_in_the_file() {
    let world = furnished();
    world.run(&["put", "part-42", "\"CANARY-3141592653\""]).ok();
    world.run(&["prove", "part-42", "--stubs-only", "-o", "p.tdbproof"]).ok();
    world.run(&["prove", "part-42", "--withhold", "11", "-o", "q.tdbproof"]).ok();
    let whole = world.run(&["prove", "part-42"]).ok().stdout;
    let last = whole.lines().nth(11).unwrap();
    let entry: serde_json::Value = serde_json::from_str(last).unwrap();
    for name in ["p.tdbproof", "q.tdbproof"] {
        let file = std::fs::read_to_string(world.path(name)).unwrap();
        for secret in [entry["cek"].as_str().unwrap(), entry["entry"]["payload"].as_str().unwrap()] {
            assert!(!file.contains(secret), "{name}");
        }
        auditor(&world, &["verify-proof", name, "--card", "@plant.card"]).ok();
    }
    // The content of one entry does not open another one.
    assert!(!whole.contains("CANARY"), "what is shown is sealed under the key that stands beside it");
}

#[test]
fn content_can_be_for_one_reader_only() {
    let world = furnished();
    world.run(&["-d", "auditor", "init", "--actor", "bob"]).ok();
    let card = world.run(&["-d", "auditor", "card"]).ok().stdout;
    world.write("auditor.card", card);
    world.run(&["prove", "part-42", "--to", "@auditor.card", "-o", "p.tdbproof"]).ok();
    let told = auditor(&world, &["verify-proof", "p.tdbproof", "--card", "@plant.card"]).ok().json();
    assert_eq!((&told["sealed"], &told["shown"]), (&json!(10), &json!(0)));
    let file = std::fs::read_to_string(world.path("p.tdbproof")).unwrap();
    let first: serde_json::Value = serde_json::from_str(file.lines().nth(1).unwrap()).unwrap();
    assert_eq!(first.get("cek"), None);
    assert_eq!(first["entry"]["envelopes"].as_array().unwrap().len(), 1);
    assert_eq!(first["entry"]["envelopes"][0]["recipients"].as_array().unwrap().len(), 1);
    let open = ["verify-proof", "p.tdbproof", "--card", "@plant.card", "--open", "--entries"];
    let lines = world.run(&[&["-d", "auditor"][..], &open].concat()).ok().lines();
    assert_eq!((&lines[3]["content"], &lines[3]["data"]), (&json!("opened"), &json!({"n": 9})));
    assert_eq!((&lines[10]["opened"], &lines[10]["sealed"]), (&json!(10), &json!(0)));
    // The node that made it is no reader of it.
    let lines = world.run(&open).ok().lines();
    assert_eq!((&lines[10]["opened"], &lines[10]["sealed"]), (&json!(0), &json!(10)));
}

#[test]
fn a_part_of_a_history_is_told_as_such() {
    let world = furnished();
    world.run(&["prove", "part-42", "--since", "3", "--until", "5", "-o", "p.tdbproof"]).ok();
    let told = auditor(&world, &["verify-proof", "p.tdbproof", "--card", "@plant.card"]).ok().json();
    assert_eq!((&told["entries"], &told["subject"]), (&json!(3), &json!({"kind": "range", "from": 3, "to": 5})));
    let id =
        world.run(&["log", "part-42", "--since", "4", "--until", "4"]).ok().json()["id"].as_str().unwrap().to_owned();
    world.run(&["prove", "part-42", "--entry", &id[..10], "-o", "p.tdbproof"]).ok();
    let told = auditor(&world, &["verify-proof", "p.tdbproof", "--card", "@plant.card"]).ok().json();
    assert_eq!((&told["entries"], &told["subject"]["kind"]), (&json!(1), &json!("entries")));
    world.run(&["prove", "part-43"]).exit(3).says("no thing named part-43");
    world.run(&["prove", "other", "--entry", &id]).exit(2).says("is an entry of part-42");
    world.run(&["prove", "part-42", "--since", "5", "--until", "3"]).exit(2);
    world.run(&["prove", "part-42", "--since", "500"]).exit(3);
}

#[test]
fn what_was_left_out_shows_and_what_is_not_there_is_shown() {
    let world = furnished();
    world.run(&["prove", "part-42", "-o", "p.tdbproof"]).ok();
    let verify = |file: &str| auditor(&world, &["verify-proof", file, "--card", "@plant.card"]);
    let told = verify("p.tdbproof").ok().json();
    assert_eq!(told["complete"], json!({"entries": 10, "heads": 1, "recomputed_by": []}));
    let text = |file: &str| auditor(&world, &["verify-proof", file, "--format", "table"]).ok().stdout;
    assert!(text("p.tdbproof").contains("complete up to ledger size 30: these are all 10 entries of it"));
    // The newest entry is taken out, and the last line made to fit.
    let file = std::fs::read_to_string(world.path("p.tdbproof")).unwrap();
    let older = world.run(&["prove", "part-42", "--until", "9"]).ok().stdout;
    let first = file.lines().next().unwrap();
    let rest: String = older.lines().skip(1).map(|line| format!("{line}\n")).collect();
    let digest = older.lines().last().unwrap().rsplit('"').nth(1).unwrap();
    let forged = format!("{first}\n{rest}");
    let mut sum = thingdb::format::stream::Digest::default();
    let lines: Vec<&str> = forged.lines().collect();
    lines[..lines.len() - 1].iter().for_each(|line| sum.push(&thingdb::format::stream::hash_of_line(line.as_bytes())));
    world.write("q.tdbproof", forged.replace(digest, &sum.value().to_string()));
    verify("q.tdbproof").exit(4).says("the thing has 10 entries, 9 are in the file");
    world.run(&["prove", "part-43"]).exit(3).says("hint: to show somebody that there is none");
    world.run(&["prove", "part-42", "--absent"]).exit(2).says("part-42 is here");
    let told = world.run(&["prove", "part-43", "--absent", "-o", "none.tdbproof"]).ok().json();
    assert_eq!((&told["entries"], &told["complete"]), (&json!(0), &json!(true)));
    let told = verify("none.tdbproof").ok().json();
    assert_eq!((&told["subject"]["kind"], &told["complete"]["entries"]), (&json!("absent"), &json!(0)));
    assert!(text("none.tdbproof").contains("ok  there is no part-43"));
    // A file of another thing does not do.
    let none = std::fs::read_to_string(world.path("none.tdbproof")).unwrap();
    world.write("q.tdbproof", none.replace("part-43", "part-44"));
    verify("q.tdbproof").exit(4);
}

#[test]
fn a_kept_checkpoint_is_followed_to_the_ledger_of_the_file() {
    let world = furnished();
    world.run(&["checkpoint", "-o", "kept"]).ok();
    world.run(&["put", "part-42", "1"]).ok();
    let verify = |file: &str| auditor(&world, &["verify-proof", file, "--card", "@plant.card", "--checkpoint", "kept"]);
    world.run(&["prove", "part-42", "-o", "p.tdbproof"]).ok();
    verify("p.tdbproof").exit(6).says("hint: at the node: thingdb prove THING --checkpoint FILE");
    world.run(&["prove", "part-42", "--checkpoint", "kept", "-o", "p.tdbproof"]).ok();
    assert_eq!(verify("p.tdbproof").ok().json()["kept"], "holds");
    // A node that was set back, and went on otherwise.
    world.shell("rm -rf older && cp -R db older").ok();
    world.run(&["put", "part-42", "2"]).ok();
    world.run(&["checkpoint", "-o", "kept2"]).ok();
    world.run(&["-d", "older", "put", "part-42", "3"]).ok();
    world.run(&["-d", "older", "prove", "part-42", "-o", "q.tdbproof"]).ok();
    auditor(&world, &["verify-proof", "q.tdbproof", "--card", "@plant.card", "--checkpoint", "kept2"])
        .exit(4)
        .says("the node signed two ledgers of 32 entries");
    world.run(&["-d", "older", "prove", "part-42", "--checkpoint", "kept2"]).exit(4).says("did not grow out of");
}

#[test]
fn what_was_altered_cut_or_is_none_is_4() {
    let world = furnished();
    world.run(&["prove", "part-42", "-o", "p.tdbproof"]).ok();
    let file = std::fs::read_to_string(world.path("p.tdbproof")).unwrap();
    let lines: Vec<&str> = file.split_inclusive('\n').collect();
    let verify = |text: String| {
        world.write("q.tdbproof", text);
        auditor(&world, &["verify-proof", "q.tdbproof", "--card", "@plant.card"]).exit(4)
    };
    verify(lines[..6].concat()).says("the last line did not come");
    verify([&lines[..4], &lines[5..]].concat().concat());
    verify(file.replace("\"seq\":3", "\"seq\":4"));
    // A line that does not hold makes no fork, and the heads note is there.
    let words = auditor(&world, &["verify-proof", "q.tdbproof", "--card", "@plant.card", "--format", "table"]).exit(4);
    assert!(words.stdout.contains("NOT ok  ") && words.stdout.contains("nothing of this file is proven"), "{words:?}");
    assert!(!words.stdout.contains("forked") && !words.stdout.contains("heads note"), "{words:?}");
    verify(String::new()).says("the first line of a proof file did not come");
    world.run(&["-d", "stranger", "init", "--actor", "bob"]).ok();
    let card = world.run(&["-d", "stranger", "card"]).ok().stdout;
    world.write("stranger.card", card);
    auditor(&world, &["verify-proof", "p.tdbproof", "--card", "@stranger.card"])
        .exit(4)
        .says("which is none that you trust");
    auditor(&world, &["verify-proof", "absent.tdbproof"]).exit(2);
}

#[test]
fn a_file_of_another_kind_is_told_as_what_it_is() {
    let world = furnished();
    let id = world.run(&["get", "part-42", "--json"]).ok().json()["id"].as_str().unwrap().to_owned();
    world
        .shell(&format!(
            "thingdb checkpoint -o note; thingdb export -o stream; thingdb export --binary -o frames.tdbs; gzip -k stream
        thingdb prove part-42 --entry {id} --tlog-proof -o log; thingdb prove part-42 --entry {id} --cose -o receipt"
        ))
        .ok();
    for (file, what) in [
        ("plant.card", "this is a card"),
        ("note", "this is a checkpoint"),
        ("stream", "this is an export"),
        ("stream.gz", "this is an export"),
        ("frames.tdbs", "this is an export"),
        ("log", "this is a proof for clients of transparency logs"),
        ("receipt", "this is a receipt (COSE)"),
        ("db", "db is a directory"),
    ] {
        let told = auditor(&world, &["verify-proof", file]).exit(2).says(what).says("hint: ");
        assert_eq!((told.stdout.as_str(), told.stderr.contains("dmesg")), ("", false), "{told:?}");
    }
}

#[test]
fn a_part_without_an_end_names_no_last_seq() {
    let world = furnished();
    world.run(&["prove", "part-42", "--since", "2", "-o", "p.tdbproof"]).ok();
    let words = auditor(&world, &["verify-proof", "p.tdbproof", "--card", "@plant.card", "--format", "table"]).ok();
    assert!(words.stdout.contains("part-42, seq 2 to the end: 9 entries"), "{words:?}");
    assert!(words.stdout.contains("before seq 2, and what came after the last seq here"), "{words:?}");
}

#[test]
fn content_prints_no_line_of_its_own() {
    let world = furnished();
    world.run(&["put", "part-42", "{\n\"ok\":true,\r\n\"thing\":\"part-42\"}"]).ok();
    world.run(&["prove", "part-42", "-o", "p.tdbproof"]).ok();
    let lines = auditor(&world, &["verify-proof", "p.tdbproof", "--card", "@plant.card", "--entries"]).ok().lines();
    assert_eq!(lines.len(), 12);
    assert_eq!(lines[10]["data"], json!({"ok": true, "thing": "part-42"}));
}

#[test]
fn a_fingerprint_is_enough_to_trust_a_node() {
    let world = furnished();
    world.run(&["prove", "part-42", "--since", "2", "--until", "4", "-o", "p.tdbproof"]).ok();
    let told = auditor(&world, &["verify-proof", "p.tdbproof"]).ok().json();
    let fingerprint = told["ledger"]["fingerprint"].as_str().unwrap();
    let told = auditor(&world, &["verify-proof", "p.tdbproof", "--fingerprint", fingerprint]).ok().json();
    assert_eq!((&told["ledger"]["trusted"], &told["heads"]), (&json!(true), &json!([])));
    let other = "0".repeat(64);
    auditor(&world, &["verify-proof", "p.tdbproof", "--fingerprint", &other]).exit(4);
    auditor(&world, &["verify-proof", "p.tdbproof", "--fingerprint", &fingerprint[..40]]).exit(2);
}

#[test]
fn a_packed_file_and_a_pipe_are_read() {
    let world = furnished();
    let file = world.run(&["prove", "part-42"]).ok().stdout;
    std::fs::write(world.path("p.tdbproof"), &file).unwrap();
    world.shell("gzip -k p.tdbproof && head -c 900 p.tdbproof.gz > cut.gz").ok();
    auditor(&world, &["verify-proof", "p.tdbproof.gz", "--card", "@plant.card"]).ok();
    auditor(&world, &["verify-proof", "cut.gz", "--card", "@plant.card"]).exit(4);
    world.shell("thingdb prove part-42 | thingdb verify-proof - --card @plant.card").ok();
}

#[test]
fn a_packed_file_that_is_damaged_behind_its_last_line_is_4() {
    let world = furnished();
    world.run(&["prove", "part-42", "-o", "p.tdbproof"]).ok();
    let verify = |name: &str| auditor(&world, &["verify-proof", name, "--card", "@plant.card"]);
    let packers = ["gzip -k", "zstd -q --check"];
    for (packer, ending) in packers.into_iter().zip(["gz", "zst"]) {
        let name = format!("p.tdbproof.{ending}");
        if world.shell(&format!("{packer} p.tdbproof")).code != 0 {
            println!("skipped: {packer} is not there");
            continue;
        }
        verify(&name).ok();
        let packed = std::fs::read(world.path(&name)).unwrap();
        let len = packed.len();
        // The checksum is among the last eight bytes of gzip, and the last four of zstd.
        let at = if ending == "gz" { len - 8 } else { len - 4 };
        let mut changed = packed.clone();
        changed[at] ^= 1;
        std::fs::write(world.path("bad"), changed).unwrap();
        let told = verify("bad").exit(4).says("it does not unpack");
        assert_eq!((&told.json()["ok"], &told.json()["entries"]), (&json!(false), &json!(10)));
        for cut in [1, 3, len - at] {
            std::fs::write(world.path("bad"), &packed[..len - cut]).unwrap();
            verify("bad").exit(4).says("ends before its end");
        }
        std::fs::write(world.path("bad"), [&packed[..], b"something else that follows"].concat()).unwrap();
        verify("bad").exit(4);
    }
}

/// Two heads notes of one size are evidence that anybody checks.
#[test]
fn evidence_of_two_heads_notes_is_checked_without_a_database() {
    let world = World::new();
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/evidence/");
    let vector = |name: &str| {
        let vector = std::fs::read_to_string(format!("{dir}{name}.txt")).unwrap();
        world.write("evidence", vector.split_once("\n\n").unwrap().1);
        world.run(&["-d", "none", "verify-evidence", "evidence"])
    };
    let told = vector("good-split-heads").ok().json();
    assert_eq!((&told["found"], &told["proven"]), (&json!("split-heads"), &json!(true)));
    assert_eq!(told["checkpoints"][1]["map"], "02".repeat(32));
    vector("split-heads-same").exit(4).says("do not contradict each other");
    vector("split-heads-of-checkpoints").exit(4).says("error[no-evidence]");
}

/// What the page for auditors explains: of each row what the program says, in pieces
/// between which it says something of its own.
fn explained() -> Vec<Vec<String>> {
    let page = include_str!("../../docs/proofs.md");
    let (_, section) = page.split_once("### What the verdict means").unwrap();
    let (section, _) = section.split_once("\n### ").unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |")).map(|(cell, _)| cell);
    let phrases = cells.flat_map(|cell| cell.split(['*', '`']).skip(1).step_by(2));
    phrases.map(|phrase| plain(phrase).split('…').map(|piece| piece.trim().to_owned()).collect()).collect()
}

/// A line without its numbers.
fn plain(line: &str) -> String {
    let line = line.replace("size N", "size 1");
    let mut plain = String::new();
    for c in line.chars() {
        match c {
            '0'..='9' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            c => plain.push(c),
        }
    }
    plain
}

/// Whether a line says all pieces, in their order.
fn says(line: &str, pieces: &[String]) -> bool {
    let mut rest = line;
    pieces.iter().all(|piece| rest.split_once(piece.as_str()).map(|(_, after)| rest = after).is_some())
}

#[test]
fn each_line_of_a_verdict_is_explained_to_auditors() {
    let world = furnished();
    world.shell("cp -R db twin").ok();
    world.run(&["put", "part-42", "1"]).ok();
    world.run(&["-d", "twin", "put", "part-42", "2"]).ok();
    world.run(&["checkpoint", "-o", "kept"]).ok();
    world.run(&["-d", "twin", "checkpoint", "-o", "other"]).ok();
    world.run(&["erase", "part-42", "--seq", "1", "--reason", "asked for", "--yes"]).ok();
    world.run(&["prove", "part-42", "--checkpoint", "kept", "-o", "grown"]).ok();
    world.run(&["-d", "twin", "prove", "part-42", "--withhold", "2", "-o", "two-faced"]).ok();
    world.run(&["checkpoint", "-o", "larger"]).ok();
    let keys = world.run(&["card", "--vkey", "--json"]).ok().json();
    let policy = |quorum: &str| {
        let (log, witness) = (keys["log"].as_str().unwrap(), keys["witness"].as_str().unwrap());
        format!("log {log}\nwitness w {witness}\nquorum {quorum}\n")
    };
    world.write("nobody", policy("none"));
    world.write("witness", policy("w"));
    let made = |name: &str, options: &[&str]| world.run(&[&["prove", "part-42", "-o", name], options].concat()).ok();
    made("range", &["--since", "2", "--until", "4"]);
    made("end", &["--since", "2"]);
    made("one", &["--seq", "2"]);
    world.run(&["prove", "part-43", "--absent", "-o", "none"]).ok();
    let text = std::fs::read_to_string(world.path("one")).unwrap();
    world.write("bad", text.replace("\"seq\":2", "\"seq\":3"));
    let explained = explained();
    assert!(explained.len() > 25, "{explained:?}");
    let mut lines = 0;
    for (args, exit) in [
        (&["grown"][..], 0),
        (&["grown", "--card", "@plant.card", "--checkpoint", "kept"], 0),
        (&["two-faced", "--checkpoint", "kept"], 4),
        (&["two-faced", "--checkpoint", "larger"], 6),
        (&["range", "--card", "@plant.card"], 0),
        (&["end"], 0),
        (&["one"], 0),
        (&["none"], 0),
        (&["bad"], 4),
        (&["grown", "--policy", "nobody"], 0),
        (&["grown", "--policy", "witness"], 4),
    ] {
        let told = auditor(&world, &[&["verify-proof", "--format", "table"], args].concat()).exit(exit);
        let verdict = told.stdout.lines().skip_while(|line| !line.starts_with("ok  ") && !line.starts_with("NOT ok  "));
        for line in verdict.take_while(|line| *line != "not told:") {
            assert!(explained.iter().any(|pieces| says(&plain(line), pieces)), "{args:?}: nobody explains {line:?}");
            lines += 1;
        }
    }
    assert!(lines > 50, "{lines}");
}
