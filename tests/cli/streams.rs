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
    for name in ["added", "known", "completed", "pending", "refused", "stream", "interrupted", "reasons"] {
        assert!(imported.get(name).is_some(), "{name}");
    }
    assert_eq!(
        (&imported["added"], &imported["refused"], &imported["stream"]),
        (&json!(1), &json!(0), &json!("complete"))
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
