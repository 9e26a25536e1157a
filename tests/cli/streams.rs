//! `thingdb export` and `thingdb import`.

use serde_json::json;

use super::world::{World, members};

fn furnished() -> World {
    let world = World::new();
    let input: String = (0..30).map(|n| format!("{{\"thing\":\"t/{}\",\"data\":{n}}}\n", n % 3)).collect();
    world.feed(&["append"], input).ok();
    world.shell("cp -R db older").ok();
    world.run(&["put", "t/0", "\"late\""]).ok();
    world
}

#[test]
fn an_export_completes_an_older_copy() {
    let world = furnished();
    let summary = world.run(&["export", "-o", "all.ndjson"]).ok().json();
    assert_eq!(members(&summary).len(), 3);
    assert_eq!((&summary["entries"], &summary["next_position"]), (&json!(31), &json!(31)));
    let imported = world.run(&["-d", "older", "import", "all.ndjson"]).ok().json();
    for name in [
        "added",
        "known",
        "completed",
        "pending",
        "refused",
        "entries",
        "stream",
        "ledger",
        "contradictions",
        "interrupted",
        "reasons",
    ] {
        assert!(imported.get(name).is_some(), "{name}");
    }
    assert_eq!(
        (&imported["added"], &imported["refused"], &imported["stream"]),
        (&json!(1), &json!(0), &json!("whole"))
    );
    assert_eq!(world.run(&["-d", "older", "get", "t/0", "--field", ""]).ok().stdout, "\"late\"\n");
    let again = world.run(&["-d", "older", "import", "all.ndjson"]).ok().json();
    assert_eq!((&again["added"], &again["known"]), (&json!(0), &json!(31)));
    world.run(&["-d", "older", "verify"]).ok();
}

#[test]
fn exports_go_on_where_the_last_one_ended() {
    let world = furnished();
    let part = world.run(&["export", "--since", "30"]).ok().says("the next time: --since 31");
    assert_eq!(part.stdout.lines().filter(|line| line.contains("\"payload\"")).count(), 1);
    assert_eq!(world.feed(&["-d", "older", "import", "-"], part.stdout).ok().json()["added"], 1);
    world.run(&["export", "--since", "31"]).ok().says("the next time: --since 31");
    // What is written until the ledger gets there would be left out.
    for args in [&["export", "--since", "32"][..], &["export", "--since", "32", "-o", "y", "--binary"]] {
        let answer = world.run(args).exit(2).says("error[invalid-input]: nothing is at position 32");
        let answer = answer.says("the ledger has 31 entries").says("hint: ");
        assert!(answer.stdout.is_empty() && !world.path("y").exists(), "{answer:?}");
    }
    assert_eq!(world.run(&["export", "--prefix", "t/1", "-o", "x"]).ok().json()["entries"], 10);
    assert_eq!(world.run(&["export", "--prefix", "nothing", "-o", "x"]).ok().json()["entries"], 0);
}

#[test]
fn the_bytes_of_an_export_are_those_of_its_file() {
    let world = furnished();
    for name in ["all.ndjson", "all.ndjson.zst", "all.ndjson.gz"] {
        let exported = world.run(&["export", "-o", name]).ok().json();
        assert_eq!(exported["bytes"], std::fs::metadata(world.path(name)).unwrap().len(), "{name}");
    }
}

#[test]
fn an_export_that_fails_leaves_no_file() {
    let world = furnished();
    world.run(&["export", "-o", "there"]).ok();
    let before = std::fs::read(world.path("there")).unwrap();
    world.run(&["export", "-o", "there", "--passphrase-command", "echo wrong wrong"]).exit(12);
    assert_eq!(std::fs::read(world.path("there")).unwrap(), before);
    let files: Vec<_> = std::fs::read_dir(world.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!files.iter().any(|name| name.to_string_lossy().starts_with(".thingdb-")), "{files:?}");
}

#[test]
fn altered_lines_are_refused_by_number_and_kept() {
    let world = furnished();
    let stream = world.run(&["export"]).ok().stdout;
    let altered: Vec<String> = stream
        .lines()
        .enumerate()
        .map(|(n, line)| if n == 31 { line.replacen("\"seq\":11", "\"seq\":12", 1) } else { line.to_owned() })
        .collect();
    assert_ne!(altered.join("\n"), stream.trim_end());
    let answer = world.feed(&["-d", "older", "import", "-", "--rejects", "rejects"], altered.join("\n"));
    assert!([4, 6].contains(&answer.code), "{answer:?}");
    assert_eq!((&answer.json()["refused"], &answer.json()["reasons"][0]["line"]), (&json!(1), &json!(32)));
    assert_eq!(std::fs::read_to_string(world.path("rejects")).unwrap().trim_end(), altered[31]);
    assert_eq!(world.run(&["-d", "older", "stats"]).ok().json()["entries"], 30);
}

#[test]
fn a_cut_stream_is_6_and_what_came_is_stored() {
    let world = furnished();
    let stream = world.run(&["export"]).ok().stdout;
    let cut: Vec<&str> = stream.lines().take(32).collect();
    let answer = world.feed(&["-d", "older", "import"], cut.join("\n")).exit(6).says("error[cut-stream]");
    assert_eq!((&answer.json()["added"], &answer.json()["stream"]), (&json!(1), &json!("cut")));
}

#[test]
fn strangers_are_refused_unless_all_are_trusted() {
    let (world, stranger) = (furnished(), World::new());
    stranger.run(&["put", "t/0", "\"forged\""]).ok();
    let stream = stranger.run(&["export"]).ok().stdout;
    world.feed(&["import"], &stream).exit(6).says("is not known here");
    assert_eq!(world.run(&["get", "t/0", "--field", ""]).ok().stdout, "\"late\"\n");
    world.feed(&["import", "--trust", "all"], &stream).ok();
    let log = world.run(&["log", "t/0"]).ok().lines();
    let foreign = log.iter().find(|entry| entry["content"] == "undecryptable").unwrap();
    assert_eq!((&foreign["actor"]["trusted"], &foreign["data"]), (&json!(false), &json!(null)));
    let forked = world.run(&["ls", "t/0"]).ok().json();
    assert_eq!((&forked["forked"], forked["heads"].as_array().unwrap().len()), (&json!(true), 2));
    world.run(&["log", "t/0", "--format", "table"]).ok();
    world.run(&["verify"]).exit(4);
}

#[test]
fn nonsense_is_refused_line_by_line() {
    let world = World::new();
    let answer = world.feed(&["import"], "nonsense\n{}\n\n[1]\n").exit(6);
    assert_eq!((&answer.json()["refused"], &answer.json()["added"]), (&json!(3), &json!(0)));
    assert_eq!(world.feed(&["import"], "").ok().json()["added"], 0);
    world.run(&["import", "missing"]).exit(2);
}

/// Two databases: one with three things, and an auditor's who knows it.
fn plant_and_auditor() -> World {
    let world = World::new();
    world.run(&["init", "plant", "--actor", "alice"]).ok();
    world.run(&["init", "auditor"]).ok();
    for thing in ["part-1", "alarm-9", "part-2"] {
        world.run(&["-d", "plant", "put", thing, "1"]).ok();
    }
    let card = world.run(&["-d", "plant", "card"]).ok().stdout;
    std::fs::write(world.path("plant.card"), card).unwrap();
    world.run(&["-d", "auditor", "peer", "add", "plant", "@plant.card", "--yes"]).ok();
    world
}

/// A stream without the entry of `thing`, its trailer written anew.
fn thinned(stream: &str, thing: &str) -> String {
    use thingdb::format::{Trailer, line, merkle};
    let lines: Vec<&str> = stream.lines().filter(|line| !line.contains(&format!("\"thing\":\"{thing}\""))).collect();
    let (end, kept) = lines.split_last().unwrap();
    let ids = kept[1..].iter().map(|text| merkle::leaf(&line::decode(text.as_bytes(), 1).unwrap().id()));
    let entries = kept.len() as u64 - 1;
    let end = Trailer { entries, root: merkle::root(ids), digest: None, ..Trailer::decode(end.as_bytes(), 1).unwrap() };
    let mut out = format!("{}\n", kept.join("\n")).into_bytes();
    end.encode(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_thinned_export_is_a_part_whatever_its_trailer_says() {
    let world = plant_and_auditor();
    let stream = world.run(&["-d", "plant", "export"]).ok().stdout;
    let forged = thinned(&stream, "alarm-9");
    let answer = world.feed(&["-d", "auditor", "import"], &forged).ok().json();
    assert_eq!(
        (&answer["stream"], &answer["entries"], &answer["ledger"]["size"]),
        (&json!("part"), &json!(2), &json!(3))
    );
    assert_eq!((&answer["ledger"]["known"], &answer["ledger"]["name"]), (&json!("peer"), &json!("plant")));
    let said = world.feed(&["-d", "auditor", "import", "--format", "table"], &forged).ok().stdout;
    assert!(said.contains("a part: 2 entries of a ledger of 3 entries, signed by plant"), "{said}");
    world.feed(&["-d", "auditor", "import", "--expect-whole"], &forged).exit(4).says("error[not-whole]");
    let said = world.feed(&["-d", "auditor", "import", "--format", "table", "--expect-whole"], &stream).ok().stdout;
    assert!(said.contains("the whole ledger up to 3, signed by plant"), "{said}");
    let bare: Vec<&str> = stream.lines().filter(|line| line.starts_with("{\"v\"")).collect();
    let answer = world.feed(&["-d", "auditor", "import", "--expect-whole"], bare.join("\n")).exit(4);
    assert_eq!(answer.json()["stream"], "bare");
}

#[test]
fn a_backup_by_increments_is_the_whole_ledger() {
    let world = plant_and_auditor();
    let first = world.run(&["-d", "plant", "export"]).ok().stdout;
    world.run(&["-d", "plant", "put", "part-3", "1"]).ok();
    let later = world.run(&["-d", "plant", "export", "--since", "3"]).ok().stdout;
    world.feed(&["-d", "auditor", "import", "--expect-whole"], first).ok();
    let answer = world.feed(&["-d", "auditor", "import", "--expect-whole"], &later).ok().json();
    assert_eq!((&answer["stream"], &answer["ledger"]["here"]), (&json!("part"), &json!(true)));
}

#[test]
fn compressed_streams_that_are_cut_or_damaged_store_what_came_before() {
    let world = furnished();
    let input: String = (0..2000).map(|n| format!("{{\"thing\":\"many/{}\",\"data\":{n}}}\n", n % 7)).collect();
    world.feed(&["append"], input).ok();
    for (n, name) in
        ["all.ndjson", "all.ndjson.gz", "all.ndjson.zst", "all.tdbs", "all.tdbs.gz", "all.tdbs.zst"].iter().enumerate()
    {
        let args = ["export", "-o", name, "--binary"];
        world.run(&args[..if name.contains("tdbs") { 4 } else { 3 }]).ok();
        let bytes = std::fs::read(world.path(name)).unwrap();
        let copy = format!("copy-{n}");
        world.shell(&format!("cp -R older {copy}")).ok();
        let import = |bytes: &[u8]| {
            std::fs::write(world.path("part"), bytes).unwrap();
            world.run(&["-d", &copy, "import", "part"])
        };
        let cut = import(&bytes[..bytes.len() * 8 / 10]).exit(6).says("error[cut-stream]");
        assert_eq!(cut.json()["stream"], "cut", "{name}");
        let added = cut.json()["added"].as_u64().unwrap();
        assert!(added > 200 && added < 2001 && cut.json()["refused"] == 0, "{name}: {added}");
        let last = import(&bytes[..bytes.len() - 2]).exit(6).json();
        assert!(last["stream"] == "cut" && last["refused"] == 0, "{name}: {last}");
        assert_eq!(last["added"].as_u64().unwrap() + added, 2001, "{name}");
        let mut damaged = bytes.clone();
        let at = bytes.len() / 2;
        damaged[at] ^= 0x10;
        let answer = import(&damaged);
        // What was changed may be the length of a frame, or look like a newer kind.
        let ends = [(4, "damaged"), (6, "cut"), (15, "newer")];
        assert!(ends.contains(&(answer.code, answer.json()["stream"].as_str().unwrap())), "{name}: {answer:?}");
        assert_eq!(import(&bytes).ok().json()["stream"], "whole", "{name}");
    }
}

#[test]
fn cut_is_said_before_refused_lines() {
    let world = furnished();
    let stream = world.run(&["export"]).ok().stdout;
    let torn = &stream[..stream.len() * 2 / 3];
    let answer = world.feed(&["-d", "older", "import", "--rejects", "rejects"], torn).exit(6).says("error[cut-stream]");
    assert_eq!(answer.json()["refused"], 0);
    assert!(std::fs::read(world.path("rejects")).unwrap_or_default().is_empty());
    // Lines that are refused are told with the cut.
    let bad = torn.replacen("\"seq\":2,", "\"seq\":3,", 1);
    let answer = world.feed(&["-d", "older", "import"], bad).exit(6).says("error[cut-stream]");
    assert_eq!(answer.json()["refused"], 1);
    answer.says("line ");
}

#[test]
fn what_a_newer_version_wrote_is_15() {
    let world = plant_and_auditor();
    let stream = world.run(&["-d", "plant", "export"]).ok().stdout;
    for (from, to) in [
        ("{\"thingdb\":1", "{\"new\":[],\"thingdb\":2"),
        ("{\"v\":1", "{\"v\":2"),
        ("\"thingdb_end\":1", "\"thingdb_end\":2"),
        ("tdbcard1:AQ", "tdbcard1:Ag"),
    ] {
        let newer = stream.replacen(from, to, 1);
        assert_ne!(newer, stream);
        let answer = world.feed(&["-d", "auditor", "import"], newer).exit(15).says("error[newer-version]");
        assert_eq!(answer.json()["stream"], "newer");
        // What was good is stored.
        assert!(world.run(&["-d", "auditor", "stats"]).ok().json()["entries"].as_u64().unwrap() >= 2);
    }
    world.run(&["-d", "plant", "export", "--binary", "-o", "all.tdbs"]).ok();
    let mut frames = std::fs::read(world.path("all.tdbs")).unwrap();
    frames[4] = 2;
    std::fs::write(world.path("all.tdbs"), frames).unwrap();
    world.run(&["-d", "auditor", "import", "all.tdbs"]).exit(15).says("error[newer-version]");
}

#[test]
fn bytes_that_change_no_entry_show_and_line_ends_do_not() {
    let world = plant_and_auditor();
    let stream = world.run(&["-d", "plant", "export"]).ok().stdout;
    let spaced = stream.replacen("\"seq\":1,", "\"seq\": 1,", 1);
    let answer = world.feed(&["-d", "auditor", "import"], spaced).exit(4).says("error[damaged-stream]").says("digest");
    assert_eq!((&answer.json()["added"], &answer.json()["refused"]), (&json!(3), &json!(0)));
    let crlf = stream.replace('\n', "\r\n");
    assert_eq!(world.feed(&["-d", "auditor", "import"], crlf).ok().json()["stream"], "whole");
    world.run(&["-d", "plant", "export", "--array", "-o", "all.json"]).ok();
    let array = std::fs::read_to_string(world.path("all.json")).unwrap();
    assert_eq!(world.feed(&["-d", "auditor", "import"], &array).ok().json()["stream"], "whole");
    let set = array.replace("\",\"", "\" ,\n  \"");
    assert_eq!(world.feed(&["-d", "auditor", "import"], set).ok().json()["stream"], "whole");
}

#[test]
fn an_export_that_contradicts_an_earlier_one_is_4_and_leaves_evidence() {
    let world = plant_and_auditor();
    world.shell("cp -R plant copy").ok();
    world.run(&["-d", "plant", "put", "alarm-9", "\"on\""]).ok();
    world.run(&["-d", "copy", "put", "alarm-9", "\"off\""]).ok();
    let one = world.run(&["-d", "plant", "export"]).ok().stdout;
    let other = world.run(&["-d", "copy", "export"]).ok().stdout;
    world.feed(&["-d", "auditor", "import"], one).ok();
    let answer = world.feed(&["-d", "auditor", "import"], other).exit(4).says("error[split-view]").says("plant");
    assert_eq!(answer.json()["contradictions"][0]["found"], "split-view");
    let file = world.shell("ls auditor/evidence/*").ok().stdout;
    world.run(&["verify-evidence", file.trim()]).ok();
}

#[test]
fn an_auditor_checks_an_export_without_a_database() {
    let world = plant_and_auditor();
    world.run(&["-d", "plant", "checkpoint", "-o", "kept"]).ok();
    world.run(&["-d", "plant", "put", "part-3", "1"]).ok();
    let stream = world.run(&["-d", "plant", "export"]).ok().stdout;
    for name in ["all.ndjson", "all.ndjson.zst", "all.ndjson.gz", "all.tdbs.zst", "all.json"] {
        let form = match name {
            "all.tdbs.zst" => &["--binary"][..],
            "all.json" => &["--array"][..],
            _ => &[],
        };
        world.run(&[&["-d", "plant", "export", "-o", name], form].concat()).ok();
        let args = ["-d", "no-such", "verify", name, "--card", "@plant.card", "--checkpoint", "kept"];
        let answer = world.run(&args).ok().json();
        assert_eq!(
            (&answer["ok"], &answer["stream"], &answer["kept"]),
            (&json!(true), &json!("whole"), &json!("holds"))
        );
        assert_eq!((&answer["ledger"]["trusted"], &answer["ledger"]["size"]), (&json!(true), &json!(4)));
        assert_eq!((&answer["entries"], &answer["strangers"]), (&json!(4), &json!(0)), "{name}");
    }
    let said = world.feed(&["verify", "-", "--format", "table"], &stream).ok().stdout;
    assert!(said.contains("you have not said whom you trust") && said.contains("the whole ledger up to 4"), "{said}");
    // Thinned out, cut, altered, and by somebody else.
    let thinned = thinned(&stream, "alarm-9");
    let answer = world.feed(&["verify", "-", "--card", "@plant.card", "--checkpoint", "kept"], thinned).exit(6);
    assert_eq!((&answer.json()["stream"], &answer.json()["kept"]), (&json!("part"), &json!("unknown")));
    let answer = world.feed(&["verify", "-"], &stream[..stream.len() / 2]).exit(6);
    assert_eq!(answer.json()["stream"], "cut");
    let altered = stream.replacen("\"seq\":1,", "\"seq\":2,", 1);
    let answer = world.feed(&["verify", "-"], altered).exit(4).json();
    assert_eq!((&answer["stream"], &answer["problems"][0]["line"]), (&json!("damaged"), &json!(2)));
    let card = world.run(&["-d", "auditor", "card"]).ok().stdout;
    let answer = world.feed(&["verify", "-", "--card", card.trim()], &stream).exit(4).json();
    assert_eq!(answer["problems"][0]["verdict"], "other node");
    world.feed(&["verify", "-"], stream.replacen("\"thingdb\":1", "\"thingdb\":2", 1)).exit(15);
    world.run(&["-d", "plant", "export", "--since", "3", "-o", "later.ndjson"]).ok();
    let answer = world.run(&["verify", "later.ndjson", "--card", "@plant.card", "--checkpoint", "kept"]).exit(6).json();
    assert_eq!((&answer["stream"], &answer["kept"]), (&json!("part"), &json!("unknown")));
    // The first export and what followed are one.
    std::fs::write(world.path("three.ndjson"), {
        let lines: Vec<&str> = stream.lines().collect();
        lines[1..4].join("\n")
    })
    .unwrap();
    let answer = world.run(&["verify", "three.ndjson", "--card", "@plant.card", "--checkpoint", "kept"]).exit(6).json();
    assert_eq!((&answer["stream"], &answer["kept"]), (&json!("bare"), &json!("holds")));
}

#[test]
fn a_checkpoint_of_another_node_is_compared_where_its_ledger_is_here() {
    let world = plant_and_auditor();
    world.run(&["-d", "plant", "checkpoint", "-o", "kept"]).ok();
    world.run(&["-d", "plant", "put", "part-1", "2"]).ok();
    let stream = world.run(&["-d", "plant", "export"]).ok().stdout;
    world.run(&["-d", "auditor", "verify", "--checkpoint", "kept"]).exit(6).says("error[cannot-tell]");
    world.feed(&["-d", "auditor", "import"], &stream).ok();
    let answer = world.run(&["-d", "auditor", "verify", "--checkpoint", "kept"]).ok().json();
    assert_eq!((&answer["other"]["name"], &answer["other"]["holds"]), (&json!("plant"), &json!(true)));
    // With an own entry before them, too.
    world.run(&["init", "mixed"]).ok();
    world.run(&["-d", "mixed", "peer", "add", "plant", "@plant.card", "--yes"]).ok();
    world.run(&["-d", "mixed", "actor", "add", "bob"]);
    world.run(&["-d", "mixed", "put", "own", "1"]).ok();
    world.feed(&["-d", "mixed", "import"], &stream).ok();
    world.run(&["-d", "mixed", "verify", "--checkpoint", "kept"]).ok();
    // One that nobody here knows.
    world.run(&["init", "stranger", "--actor", "eve"]).ok();
    world.run(&["-d", "stranger", "put", "x", "1"]).ok();
    world.run(&["-d", "stranger", "checkpoint", "-o", "foreign"]).ok();
    world.run(&["-d", "mixed", "verify", "--checkpoint", "foreign"]).exit(4).says("not known here");
}
