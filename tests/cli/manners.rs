//! What people stumbled over, each once: messages, forms of arguments, what is
//! in the way.

use std::fs;

use super::world::{WEAK, World};

#[test]
fn lengths_have_a_unit() {
    let world = World::new();
    world.run(&["put", "", "1"]).exit(2).says("thing has 0 bytes, allowed are 1 to 512");
    world.run(&["put", &"x".repeat(513), "1"]).exit(2).says("thing has 513 bytes");
    world.run(&["put", "a", "1", "--action", &"x".repeat(65)]).exit(2).says("action has 65 bytes");
    world.feed(&["append"], "{\"thing\":\"\",\"data\":1}\n").exit(6).says("thing has 0 bytes");
}

#[test]
fn media_types_are_looked_at() {
    let world = World::new();
    for bad in ["jpeg", "image/", "image/jpeg; q", "text/plain\u{7}", ""] {
        world.run(&["put", "a", "1", "--media-type", bad]).exit(2).says("a media type looks like");
    }
    world.run(&["put", "a", "x", "--media-type", "text/plain; charset=utf-8"]).ok();
    assert_eq!(world.run(&["get", "a"]).ok().json()["media_type"], "text/plain; charset=utf-8");
}

#[test]
fn init_wants_a_directory_of_its_own() {
    let world = World::empty();
    let init = |dir: &str| world.run(&[&["init", dir][..], &WEAK].concat());
    fs::create_dir(world.path("full")).unwrap();
    for n in 0..5 {
        fs::write(world.path(&format!("full/file-{n}")), "").unwrap();
    }
    let refused =
        init("full").exit(2).says("error[not-empty]: full is not empty: it holds file-0, file-1, file-2 and 2 more");
    refused.says("hint: give the database a directory of its own: thingdb init full/things");
    assert_eq!(fs::read_dir(world.path("full")).unwrap().count(), 5);
    init("full/things").ok();
    // An empty one, the root of a file system, and one that an init left that
    // was broken off are taken.
    fs::create_dir_all(world.path("empty/lost+found")).unwrap();
    fs::write(world.path("empty/VERSION"), "thingdb 1\n").unwrap();
    init("empty").ok();
    world.write("file", "");
    init("file").exit(1).says("file: ");
}

#[test]
fn peers_are_repeated_or_have_commas_and_swallow_nothing() {
    let world = World::new();
    for name in ["hq", "auditor", "one, two"] {
        let other = World::new();
        world.write("card", other.run(&["card"]).ok().stdout);
        world.run(&["peer", "add", name, "@card", "--yes"]).ok();
    }
    let readers = |thing: &str| -> Vec<String> {
        let rows = world.run(&["readers", thing]).ok().lines();
        rows.iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect()
    };
    world.run(&["put", "--to", "hq", "a", "1"]).ok();
    assert!(readers("a").contains(&"hq".to_owned()) && !readers("a").contains(&"auditor".to_owned()));
    world.run(&["put", "b", "1", "--to", "hq,auditor"]).ok();
    world.run(&["put", "c", "1", "--to", "hq", "--to", "auditor"]).ok();
    for thing in ["b", "c"] {
        assert!(readers(thing).contains(&"hq".to_owned()) && readers(thing).contains(&"auditor".to_owned()), "{thing}");
    }
    world.run(&["put", "d", "1", "--to", "one, two"]).ok();
    assert!(readers("d").contains(&"one, two".to_owned()));
    world.run(&["share", "--to", "hq, auditor", "d"]).ok();
    assert_eq!(readers("d").len(), 4, "{:?}", readers("d"));
    world.run(&["put", "a", "1", "--to", "hq,nobody"]).exit(3);
}

#[test]
fn usage_shows_only_what_was_typed() {
    let world = World::new();
    let usage = |args: &[&str]| {
        let answer = world.run(args).exit(2);
        answer.stderr.lines().find(|line| line.starts_with("Usage:")).map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(usage(&["get"]), "Usage: thingdb get <THING>");
    let mut command = world.thingdb(&["put"]);
    command.env("THINGDB_ACTOR", "alice");
    let answer = super::world::Answer::of(command).exit(2);
    assert!(answer.stderr.contains("Usage: thingdb put <THING> <JSON|@FILE|->"), "{answer:?}");
    assert_eq!(usage(&["get", "--db", "x"]).matches("--db").count(), 1);
    // The help names the variables.
    assert!(world.run(&["put", "--help"]).ok().stdout.contains("[env: THINGDB_ACTOR]"));
}

#[test]
fn every_json_number_is_data() {
    let world = World::new();
    for number in ["-5.0e-3", "-1E+2", "-0", "-1.5", "-2e7"] {
        world.run(&["put", "n", number]).ok();
        assert_eq!(world.run(&["get", "n", "--raw"]).ok().stdout, number);
        world.run(&["put", "n", number, "--relaxed"]).ok();
    }
    world.run(&["put", "n", "-5.0e-3x"]).exit(2).says("error[usage]");
    world.run(&["put", "n", "--expct", "none"]).exit(2).says("--expect");
}

#[test]
fn a_thing_is_verified_against_a_checkpoint() {
    let world = World::new();
    world.run(&["put", "a", "1"]).ok();
    world.shell("cp -R db older").ok();
    world.run(&["put", "a", "2"]).ok();
    world.run(&["put", "b", "1"]).ok();
    world.run(&["checkpoint", "-o", "kept"]).ok();
    world.run(&["put", "a", "3"]).ok();
    assert_eq!(world.run(&["verify", "a", "--checkpoint", "kept"]).ok().json()["entries"], 3);
    // A ledger that went another way after the older state is another one.
    world.run(&["-d", "older", "put", "a", "\"other\""]).ok();
    world.run(&["-d", "older", "put", "b", "\"other\""]).ok();
    world.run(&["-d", "older", "put", "b", "\"more\""]).ok();
    world.run(&["-d", "older", "verify", "a", "--checkpoint", "kept"]).exit(4);
}

#[test]
fn what_is_no_checkpoint_is_named() {
    let world = World::new();
    world.write("text", "some text\n");
    world.write("bytes", b"\xfe\x00");
    let hint = "hint: thingdb checkpoint -o FILE makes one";
    world.run(&["verify", "--checkpoint", "text"]).exit(2).says("text is no checkpoint: ").says(hint);
    world.run(&["verify", "--checkpoint", "bytes"]).exit(2).says("bytes is no checkpoint: it is not text").says(hint);
    world.feed(&["verify", "--checkpoint", "-"], "").exit(2).says("stdin is no checkpoint: ");
}

#[test]
fn no_column_is_0() {
    let world = World::new();
    for nothing in ["", " \n"] {
        world.feed(&["put", "a", "-"], nothing).exit(2).says("error[bad-json]: the data is empty");
    }
    let cut = world.feed(&["put", "a", "-"], "[\n").exit(2).says("error[bad-json]");
    assert!(!cut.stderr.contains("column 0"), "{cut:?}");
}

#[test]
fn one_entry_is_singular() {
    let world = World::empty();
    let story = world.run(&["demo"]).ok().stdout;
    assert!(story.contains("counts 1 entry,") && !story.contains(" 1 entries"), "{story}");
}

#[test]
fn the_document_tells_the_kinds_of_signatures() {
    let page = include_str!("../../docs/cli.md");
    assert!(page.contains("`kind` (1: of this entry alone, 2: of a batch)"));
}
