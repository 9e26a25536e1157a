//! What a command answers is the same, byte for byte, whether it reads the
//! database or its server.

use std::fs;

use serde_json::Value;

use super::prototype::{OldActor, Prototype};
use super::reading::{Bytes, bare, remote, url, with_token};
use super::running::Running;
use super::world::World;

/// Names that are hard to put into a path or on a terminal.
const NAMES: [&str; 9] = [
    "a/b/../c",
    "..",
    ".",
    "%2e%2e",
    "a b?x=1&y#z",
    "größe/漢字 🐚",
    "it's \"quoted\"\\",
    "\u{202e}evil\u{200f}",
    "+;,:@&=$!*'()[]",
];

/// JSON whose spelling is easily lost.
const SPELLED: &str =
    " {\r\n\t\"a\" : 1.000000000000000000000000000000000001e5 , \"\\u00e9\":[ ],\"è\":\"\u{9b}\"\n}\n";

/// A history of everything: forks, stubs, data that nobody here can read, binary
/// data, long histories, hard names.
fn furnished() -> World {
    let world = World::new();
    let other = World::new();
    let cards = [world.run(&["card"]).ok().stdout, other.run(&["card"]).ok().stdout];
    other.write("here.card", &cards[0]);
    world.write("other.card", &cards[1]);
    other.run(&["peer", "add", "here", "@here.card", "--yes"]).ok();
    world.run(&["peer", "add", "other", "@other.card", "--yes"]).ok();
    // Entries of another node: one that is not for this one, one as a stub.
    other.run(&["put", "sealed", r#"{"secret":1}"#]).ok();
    let stream = other.run(&["export"]).ok().stdout;
    world.feed(&["import"], stream).ok();
    other.run(&["put", "stub", r#"{"secret":2}"#]).ok();
    other.run(&["put", "stub", r#"{"open":3}"#, "--to", "here"]).ok();
    let stream = other.run(&["export", "--to", "here", "--prefix", "stub"]).ok().stdout;
    world.feed(&["import"], stream).ok();

    world.run(&["put", "part-42", r#"{"temp":20.1,"site":"plant-3"}"#]).ok();
    world.shell("cp -R db twin").ok();
    world.run(&["put", "part-42", r#"{"temp":21.4,"site":"plant-3"}"#]).ok();
    world.run(&["-d", "twin", "put", "part-42", r#"{"temp":9}"#]).ok();
    let stream = world.run(&["-d", "twin", "export"]).ok().stdout;
    world.feed(&["import"], stream).ok();
    let binary: Vec<u8> = (0..=255).collect();
    world.feed(&["put", "photo", "-", "--media-type", "image/jpeg"], &binary).ok();
    world.feed(&["put", "photo", "-", "--media-type", "image/jpeg"], b"").ok();
    world.feed(&["put", "spelled", "-"], SPELLED).ok();
    world.feed(&["put", "text", "-", "--media-type", "text/plain; charset=utf-8"], "line\r\nline\u{1b}[31m").ok();
    for name in NAMES {
        world.run(&["put", "--", name, "1"]).ok();
        world.run(&["put", "--action", "weigh", "--", name, "null"]).ok();
    }
    migrated(&world);
    world.run(&["put", "retired", "null", "--action", "retire"]).ok();
    for data in ["1", "2", "3"] {
        world.run(&["put", "gone", data]).ok();
    }
    world.run(&["erase", "gone", "--seq", "1", "--reason", "asked for", "--basis", "gdpr-17", "--yes"]).ok();
    world.run(&["erase", "gone", "--seq", "2", "--reason", "größe", "--yes"]).ok();
    world.run(&["put", "gone", "4", "--action", "erase"]).ok();
    world.run(&["erase", "retired", "--all", "--reason", "all of it", "--yes"]).ok();
    let lines: String = (0..1150).map(|n| format!("{{\"thing\":\"long\",\"data\":{{\"n\":{n}}}}}\n")).collect();
    world.feed(&["append"], lines).ok();
    let lines: String = (0..1040).map(|n| format!("{{\"thing\":\"many-{n:04}\",\"data\":{n}}}\n")).collect();
    world.feed(&["append"], lines).ok();
    world
}

/// Entries with originals, of two years ago.
fn migrated(world: &World) {
    let bob = OldActor::new("bob");
    let mut old = Prototype::new(&world.path("old"), "old passphrase");
    old.save_node_key();
    for (time, data) in [("2024-03-01T10:00:00Z", "1"), ("2024-03-02T11:30:00Z", r#"{"a":2}"#)] {
        let line = old.seal_legacy(&bob.sign_at(time, "valve", "update", data, None));
        old.lines.push(line);
    }
    old.save();
    world.write("old-passphrase", "old passphrase");
    world.run(&["migrate", "old", "--old-passphrase-file", "old-passphrase"]).ok();
}

const FORMATS: [&str; 4] = ["table", "json", "ndjson", "raw"];

/// The formats in which something is asked: two of them in turns, or all.
fn formats(place: usize, args: &[String]) -> Vec<&'static str> {
    let is_plain = args.len() < 3 || matches!(args.last().map(String::as_str), Some("part-42" | "photo" | "stub"));
    if is_plain { FORMATS.to_vec() } else { vec![FORMATS[place % 4], FORMATS[(place + 1) % 4]] }
}

/// What is asked.
fn asked(world: &World) -> Vec<Vec<String>> {
    let entry = |args: &[&str]| world.run(&[&["get"], args].concat()).ok().json();
    let id = |args: &[&str]| entry(args)["id"].as_str().unwrap().to_owned();
    let time = |seq: &str| entry(&["long", "--seq", seq])["time"].as_str().unwrap().to_owned();
    let (first, photo, stub) =
        (id(&["part-42", "--seq", "1"]), id(&["photo", "--seq", "1"]), id(&["stub", "--seq", "1"]));
    let (early, late) = (time("70"), time("1100"));
    let mut asked: Vec<Vec<String>> = Vec::new();
    let mut add = |args: &[&str]| asked.push(args.iter().map(|arg| (*arg).to_owned()).collect());
    for name in NAMES {
        add(&["get", "--", name]);
        add(&["log", "--patch", "--", name]);
        add(&["forks", "--", name]);
    }
    for name in ["part-42", "photo", "spelled", "text", "sealed", "stub"] {
        add(&["get", "--", name]);
        add(&["get", "--raw", "--", name]);
        add(&["get", "--seq", "1", "--", name]);
        add(&["log", "--patch", "--", name]);
        add(&["log", "--reverse", "--", name]);
        add(&["forks", "--", name]);
    }
    for args in [&["erasures"][..], &["erasures", "gone"], &["erasures", "-n", "1"], &["erasures", "lamp"]] {
        add(args);
    }
    add(&["get", "gone"]);
    add(&["get", "gone", "--seq", "1"]);
    add(&["get", "gone", "--seq", "4"]);
    add(&["get", "gone", "--at", "0s"]);
    add(&["log", "gone", "--patch"]);
    add(&["log", "gone", "--graph"]);
    add(&["get", "part-42", "--strict"]);
    add(&["get", "long", "--strict"]);
    add(&["get", "part-42", "--field", "/temp"]);
    add(&["get", "part-42", "--field", "/site", "--raw"]);
    add(&["get", "part-42", "--field", "/nothing"]);
    add(&["get", "part-42", "--field", "temp"]);
    add(&["get", "photo", "--field", "/x"]);
    add(&["get", "sealed", "--field", "/x"]);
    add(&["get", "spelled", "--field", "/a"]);
    add(&["get", "part-42", "--seq", "2"]);
    add(&["get", "part-42", "--seq", "0"]);
    add(&["get", "part-42", "--seq", "99"]);
    add(&["get", "part-42", "--seq", "18446744073709551615"]);
    add(&["get", "part-43", "--seq", "1"]);
    add(&["get", "part-42", "--at", "2020-01-01"]);
    add(&["get", "part-43", "--at", "2020-01-01"]);
    add(&["get", "part-42", "--at", "noon"]);
    add(&["get", "long", "--at", &early]);
    add(&["get", "part-42", "--id", &first[..16]]);
    add(&["get", "part-42", "--id", &photo]);
    add(&["get", "part-42", "--id", &first.to_ascii_uppercase()]);
    add(&["get", "part-43"]);
    add(&["get", "nothing like it"]);
    add(&["get", ""]);
    add(&["get", "a\nb"]);
    add(&["get", &"x".repeat(513)]);
    add(&["log", "part-42", "--graph"]);
    add(&["log", "part-43"]);
    add(&["log", "long"]);
    add(&["log", "long", "-n", "0"]);
    add(&["log", "long", "-n", "1"]);
    add(&["log", "long", "-n", "999"]);
    add(&["log", "long", "-n", "1000", "--reverse"]);
    add(&["log", "long", "-n", "1001", "--patch"]);
    add(&["log", "long", "--reverse", "--patch", "--since", "900"]);
    add(&["log", "long", "--since", "70", "--until", "1100"]);
    add(&["log", "long", "--since", "1100", "--until", "70"]);
    add(&["log", "long", "--since", "5000"]);
    add(&["log", "long", "--since", &early, "--until", &late]);
    add(&["log", "long", "--since", &early, "--until", &late, "--reverse", "-n", "3"]);
    add(&["log", "long", "--since", "2001-01-01", "--until", "2001-12-31"]);
    add(&["log", "long", "--since", "noon"]);
    for id in [&first, &photo, &stub] {
        add(&["show", id]);
        add(&["show", &id[..20]]);
    }
    let valve = id(&["valve"]);
    add(&["get", "valve"]);
    add(&["get", "valve", "--at", "2024-03-01"]);
    add(&["get", "valve", "--at", "2024-02-01"]);
    add(&["log", "valve"]);
    add(&["log", "valve", "--graph"]);
    add(&["log", "valve", "--since", "2024-03-02", "--until", "2024-03-02"]);
    add(&["diff", "valve", "1", "2"]);
    add(&["show", &valve]);
    add(&["show", &valve, "--original"]);
    add(&["show", &photo, "--original"]);
    add(&["show", &stub, "--original"]);
    add(&["get", "retired"]);
    add(&["show", "zz"]);
    add(&["show", "0000000000"]);
    add(&["ls"]);
    add(&["ls", "-l"]);
    add(&["ls", "many-", "--limit", "1000"]);
    add(&["ls", "many-", "--limit", "1001", "-l"]);
    add(&["ls", "many-", "--limit", "1040"]);
    add(&["ls", "many-", "--after", "many-0999", "--limit", "1"]);
    add(&["ls", "--limit", "0"]);
    add(&["ls", "größe"]);
    add(&["ls", "\u{202e}"]);
    add(&["ls", "none"]);
    add(&["diff", "part-42", "1", &first[..12]]);
    add(&["diff", "part-42", "1", "2"]);
    add(&["diff", "long", "1", "1150"]);
    add(&["diff", "long", "1", "1151"]);
    add(&["diff", "photo", "1", "2"]);
    add(&["diff", "part-43", "1", "2"]);
    add(&["diff", "part-42", "1", &photo[..20]]);
    add(&["checkpoint"]);
    add(&["checkpoint", "-o", "kept"]);
    add(&["forks"]);
    add(&["export", "--to", "nobody"]);
    add(&["export", "--prefix", "nothing-begins-so", "-o", "no/such/directory/file"]);
    asked
}

#[test]
fn reading_commands_answer_the_same_byte_for_byte() {
    let world = furnished();
    with_token(&world, "read,export", &[]);
    let asked = asked(&world);
    let mut alone = Vec::new();
    for (place, args) in asked.iter().enumerate() {
        for format in formats(place, args) {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let mut command = world.thingdb(&["--no-input", "--format", format]);
            command.args(args);
            alone.push(Bytes::of(command));
        }
    }
    let kept = fs::read(world.path("kept")).unwrap();
    fs::remove_file(world.path("kept")).unwrap();
    let server = Running::start(world, &[]);
    let mut alone = alone.into_iter();
    for (place, args) in asked.iter().enumerate() {
        for format in formats(place, args) {
            let (command, rest) = args.split_first().unwrap();
            let mut reading = remote(&server, &["--format", format, command]);
            reading.args(rest);
            let (told, alone) = (Bytes::of(reading), alone.next().unwrap());
            // Hints say where again, to whoever said where.
            let whereabouts = format!(" --url {} --card card --token-file token", url(&server));
            let said = told.stderr.replace(&whereabouts, "");
            // Of a server's peers no command here can tell.
            let alone_said = alone.stderr.replace("\"hint\":\"thingdb peer ls\"", "\"hint\":null");
            let alone_said = alone_said.replace("hint: thingdb peer ls\n", "");
            assert_eq!((told.code, told.text(), &said), (alone.code, alone.text(), &alone_said), "{args:?} {format}");
            assert_eq!(told.stdout, alone.stdout, "{args:?} {format}");
        }
    }
    assert_eq!(fs::read(server.world.path("kept")).unwrap(), kept);
    server.stop();
}

#[test]
fn numbers_are_those_of_the_database() {
    let world = furnished();
    with_token(&world, "read", &[]);
    let alone = world.run(&["stats", "--json"]).ok().json();
    let server = Running::start(world, &[]);
    let mut told: Value =
        serde_json::from_slice(&Bytes::of(remote(&server, &["stats", "--json"])).exit(0).stdout).unwrap();
    assert_eq!(told["db"], url(&server).as_str());
    // The files change a little while the server runs.
    for member in ["db", "disk_bytes"] {
        assert!(told[member].is_string() || told[member].as_u64().unwrap() > 0);
        told[member] = alone[member].clone();
    }
    assert_eq!(told, alone);
    let table = Bytes::of(remote(&server, &["stats", "--format", "table"])).exit(0).text();
    assert!(table.starts_with(&format!("database       {}\n", url(&server))), "{table}");
    server.stop();
}

/// What a terminal got, without how long ago it was: time goes on.
fn without_ages(shown: &str) -> String {
    let piece = |piece: &'_ str| match piece.split_once("\u{1b}[0m") {
        Some((faint, rest)) if faint.ends_with(" ago") => rest.to_owned(),
        _ => piece.to_owned(),
    };
    let text: String = shown.split("\u{1b}[2m").map(piece).collect();
    // Columns are as wide as what stands in them.
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_terminal_gets_escapes_from_a_server_too() {
    let world = furnished();
    with_token(&world, "read", &[]);
    let lines = [
        "thingdb get text --raw",
        "thingdb get text --json",
        "thingdb log text",
        "thingdb get spelled",
        "thingdb ls $(printf '\\342\\200\\256')",
        "thingdb get part-43",
    ];
    let Some(alone) = lines.iter().map(|line| world.on_terminal(line, "", b"")).collect::<Option<Vec<_>>>() else {
        return;
    };
    let server = Running::start(world, &[]);
    let variables =
        format!("export THINGDB_URL={} THINGDB_CARD=card THINGDB_TOKEN_FILE=token; unset THINGDB_DIR", url(&server));
    for (line, alone) in lines.iter().zip(alone) {
        let told = server.world.on_terminal(&format!("{variables}; {line}"), "", b"").unwrap();
        assert_eq!((told.0, without_ages(&told.1)), (alone.0, without_ages(&alone.1)), "{line}");
    }
    server.stop();
}

#[test]
fn what_is_exported_is_what_the_database_exports() {
    let world = furnished();
    with_token(&world, "export", &[]);
    let ids = |stream: &str| -> Vec<String> {
        stream.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].to_string()).collect()
    };
    let forms: [&[&str]; 5] = [
        &[],
        &["--since", "100"],
        &["--prefix", "many-"],
        &["--to", "other", "--prefix", "stub"],
        &["--array", "--prefix", "p"],
    ];
    let alone: Vec<String> = forms.iter().map(|args| world.run(&[&["export"], *args].concat()).ok().stdout).collect();
    let summary = world.run(&["export", "-o", "all.ndjson", "--json"]).ok().json();
    let server = Running::start(world, &[]);
    for (args, alone) in forms.iter().zip(alone) {
        let told = Bytes::of(remote(&server, &[&["export"], *args].concat())).exit(0);
        if args.contains(&"--array") {
            let parse = |text: &str| serde_json::from_str::<Vec<Value>>(text).unwrap().len();
            assert_eq!(parse(&told.text()), parse(&alone));
        } else {
            assert_eq!(ids(&told.text()), ids(&alone), "{args:?}");
        }
    }
    for (name, args) in [
        ("far.ndjson", &[][..]),
        ("far.ndjson.zst", &[]),
        ("far.ndjson.gz", &[]),
        ("far.tdbs", &["--binary"]),
        ("far.tdbs.zst", &["--binary"]),
    ] {
        let args = [&["export", "-o", name, "--json"], args].concat();
        let told: Value = serde_json::from_slice(&Bytes::of(remote(&server, &args)).exit(0).stdout).unwrap();
        for member in ["entries", "next_position"] {
            assert_eq!(told[member], summary[member], "{name}");
        }
        assert_eq!(told["bytes"].as_u64(), fs::metadata(server.world.path(name)).ok().map(|file| file.len()), "{name}");
        // Everybody who knows both nodes takes it in.
        let reader = World::new();
        fs::copy(server.world.path(name), reader.path(name)).unwrap();
        let taken = reader.run(&["import", name, "--trust", "all"]).ok().json();
        assert_eq!((&taken["added"], &taken["stream"]), (&summary["entries"], &"whole".into()), "{name}");
    }
    let last = summary["next_position"].to_string();
    let told = Bytes::of(remote(&server, &["export", "--since", &last])).exit(0);
    assert_eq!(ids(&told.text()), ["null", "null"]);
    Bytes::of(remote(&server, &["export", "--archive-passphrase-file", "passphrase"])).exit(2).says("error[usage]");
    // Without a pipe's other end there is nothing to say.
    let line = format!("thingdb export --url {} --card card --token-file token | head -1", url(&server));
    let mut shell = server.world.command("sh");
    shell.args(["-c", &line]).env_remove("THINGDB_DIR");
    let cut = Bytes::of(shell).exit(0);
    assert_eq!((cut.text().lines().count(), cut.stderr.as_str()), (1, ""));
    server.stop();
}

/// A name that the command line cannot tell from an option.
#[test]
fn a_dash_is_no_option_after_two() {
    let world = World::new();
    world.run(&["put", "--", "-x", "1"]).ok();
    with_token(&world, "read", &[]);
    let server = Running::start(world, &[]);
    let (url, base) = (url(&server), ["--card", "card", "--token-file", "token", "--url"]);
    let mut command = bare(&server.world, &["get", "--raw"]);
    command.args(base).args([&url, "--", "-x"]);
    assert_eq!(Bytes::of(command).exit(0).text(), "1");
    server.stop();
}

/// A server looks at so many entries for a page, and few are of the time that
/// is asked for.
#[test]
fn pages_in_which_nothing_is_wanted_are_passed_over() {
    let world = World::new();
    let lines: String = (0..4400).map(|n| format!("{{\"thing\":\"t\",\"data\":{n}}}\n")).collect();
    world.feed(&["append"], lines).ok();
    with_token(&world, "read", &[]);
    let late = world.run(&["get", "t", "--seq", "4390"]).ok().json()["time"].as_str().unwrap().to_owned();
    let args = ["log", "t", "--reverse", "--since", &late];
    let alone = world.run(&args).ok();
    assert!((1..1000).contains(&alone.stdout.lines().count()), "{alone:?}");
    let server = Running::start(world, &[]);
    assert_eq!(Bytes::of(remote(&server, &args)).exit(0).text(), alone.stdout);
    server.stop();
}
