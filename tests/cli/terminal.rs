//! What a terminal, a pipe and a closed pipe get. Terminals are made with
//! `script`; where there is none these tests are skipped.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::world::{Answer, CANARY, World};

#[test]
fn terminals_get_tables_and_pipes_get_ndjson() {
    let world = World::new();
    world.run(&["put", "a", "{\"x\":1}"]).ok();
    assert!(world.run(&["log", "a"]).ok().stdout.starts_with("{\"thing\":\"a\""));
    let Some((code, text)) = world.on_terminal("thingdb log a", "", b"") else { return };
    assert_eq!(code, 0);
    assert!(text.contains("when (UTC)") && text.contains("+x"), "{text}");
    let (_, text) = world.on_terminal("thingdb log a --json", "", b"").unwrap();
    assert!(text.contains("[\r\n{\"thing\":\"a\""), "{text}");
}

#[test]
fn the_environment_chooses_a_format_and_options_win() {
    let world = World::new();
    let run = |args: &[&str], format: &str| {
        let mut command = world.thingdb(args);
        command.env("THINGDB_FORMAT", format);
        Answer::of(command)
    };
    assert!(run(&["stats"], "table").ok().stdout.starts_with("database "));
    assert!(run(&["stats", "--json"], "table").ok().stdout.starts_with("{"));
    run(&["stats"], "nonsense").exit(2).says("THINGDB_FORMAT");
    run(&["stats"], "").ok();
}

#[test]
fn control_characters_never_reach_a_terminal() {
    let world = World::new();
    // CSI as one character, the right-to-left override, DEL: all of them are
    // allowed in JSON strings as they are.
    let evil = "{\"k\u{9b}31m\":\"v\u{202e}\u{7f}\",\"e\":\"\\u001b]0;x\\u0007\"}";
    world.run(&["put", "a\u{202e}b", evil, "--action", "x\u{202e}y"]).ok();
    world.run(&["put", "plain", "\"\\u001b[31m\""]).ok();
    world.feed(&["put", "bytes", "-", "--media-type", "text/plain"], b"\x1b[31m").ok();
    let is_bad = |c: char| (c.is_control() && !"\r\n".contains(c)) || matches!(c, '\u{202a}'..='\u{202e}');
    for line in
        ["ls", "ls -l", "log 'a\u{202e}b'", "log 'a\u{202e}b' --patch", "get 'a\u{202e}b'", "get bytes", "get plain"]
    {
        let table = world.shell(&format!("thingdb {line} --format table")).ok().stdout;
        assert!(!table.chars().any(is_bad), "{line}: {table:?}");
    }
    world.run(&["get", "c\u{202e}d"]).exit(3).says("\\u{202e}");
    let id = world.run(&["log", "a\u{202e}b"]).ok().json()["id"].as_str().unwrap().to_owned();
    let table = world.run(&["show", &id, "--format", "table"]).ok().stdout;
    assert!(!table.chars().any(is_bad), "{table:?}");
    // A pipe gets what was put, byte for byte.
    assert!(world.run(&["get", "a\u{202e}b"]).ok().stdout.contains(evil));

    let Some((_, text)) = world.on_terminal("thingdb log 'a\u{202e}b' --json", "", b"") else { return };
    assert!(!text.chars().any(is_bad) && text.contains("\\u009b31m") && text.contains("\\u202e"), "{text:?}");
    let (code, text) = world.on_terminal("thingdb get bytes --raw", "", b"").unwrap();
    assert!(code == 2 && text.contains("would upset the terminal") && !text.contains("\x1b[31mX"), "{text:?}");
    let (code, text) = world.on_terminal("thingdb get plain --field '' --raw", "", b"").unwrap();
    assert!(code == 0 && text.contains("\\u{1b}[31m"), "{text:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let world = World::new();
    let input: String = (0..3_000).map(|n| format!("{{\"thing\":\"a\",\"data\":\"{n:0100}\"}}\n")).collect();
    world.feed(&["append"], input).ok();
    for args in [&["log", "a"][..], &["log", "a", "--format", "table"], &["export"], &["log", "a", "--format", "raw"]] {
        let mut child = world.thingdb(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::with_capacity(64, child.stdout.take().unwrap());
        output.read_until(b'\n', &mut Vec::new()).unwrap();
        drop(output);
        let answer = Answer::wait(child).ok();
        assert_eq!(answer.stderr, "", "{args:?}");
    }
    for line in
        ["thingdb --help | true", "thingdb man | true", "thingdb completions bash | true", "thingdb get a | true"]
    {
        assert_eq!(world.shell(line).ok().stderr, "", "{line}");
    }
    // stderr gone as well.
    world.shell("thingdb get nothing 2>&-").exit(3);
}

#[test]
fn a_verdict_stays_what_it_is_when_its_reader_goes_away() {
    let world = World::new();
    let input: String = (0..2_000).map(|n| format!("{{\"thing\":\"a\",\"data\":\"{n:0100}\"}}\n")).collect();
    world.feed(&["append"], input).ok();
    world.shell("thingdb card > card; thingdb checkpoint --publish tiles; thingdb prove a -o good; thingdb export -o stream").ok();
    world.run(&["backup", "saved"]).ok();
    world
        .shell("sed 's/\"seq\":1900,/\"seq\":1901,/' good > bad; sed 's/\"seq\":1900,/\"seq\":1901,/' stream > torn")
        .ok();
    world.shell("sed '0,/root/s/./x/' tiles/checkpoint > /dev/null; echo x >> tiles/tile/entries/000").ok();
    world.shell("for file in saved/journal/*; do truncate -s 4000 $file; done; echo nothing > none").ok();
    let codes = [
        (4, &["verify-proof", "bad", "--card", "@card", "--entries"][..]),
        (4, &["verify-proof", "bad", "--card", "@card", "--json"]),
        (4, &["verify-proof", "bad", "--card", "@card", "--format", "table"]),
        (0, &["verify-proof", "good", "--card", "@card", "--entries"]),
        (4, &["verify", "--tiles", "tiles"]),
        (4, &["verify", "torn", "--card", "@card"]),
        (4, &["verify-fork", "none"]),
        (4, &["verify-evidence", "none"]),
        (4, &["backup", "verify", "saved"]),
        (0, &["verify"]),
    ];
    for (code, args) in codes {
        let answered = world.run(args);
        assert_eq!(answered.code, code, "{args:?}: {answered:?}");
        let mut child = world.thingdb(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let unread = Answer::wait(child).exit(code);
        assert_eq!(unread.stderr, answered.stderr, "{args:?}");
    }
}

#[test]
fn colours_are_for_terminals_and_for_who_asks() {
    let world = World::new();
    assert!(!world.run(&["get", "x"]).exit(3).stderr.contains('\x1b'));
    assert!(world.run(&["get", "x", "--color", "always"]).exit(3).stderr.contains("\x1b[1;31merror[not-found]"));
    let Some((_, text)) = world.on_terminal("thingdb get x", "", b"") else { return };
    assert!(text.contains("\x1b[1;31merror[not-found]"), "{text:?}");
    let (_, text) = world.on_terminal("NO_COLOR=1 thingdb get x", "", b"").unwrap();
    assert!(!text.contains("\x1b[1;31m"), "{text:?}");
    let (_, text) = world.on_terminal("thingdb get x --color never", "", b"").unwrap();
    assert!(!text.contains("\x1b[1;31m"), "{text:?}");
}

#[test]
fn a_terminal_is_asked_for_the_passphrase_and_may_err() {
    let world = World::new();
    let bare = "unset THINGDB_PASSPHRASE_FILE; thingdb stats --json";
    let typed = format!("a wrong passphrase\n{CANARY}\n");
    let Some((code, text)) = world.on_terminal(bare, "Passphrase for ", typed.as_bytes()) else { return };
    assert!(code == 0 && text.contains("wrong passphrase, try again") && text.contains("\"entries\": 0"), "{text}");
    assert!(!text.contains(CANARY), "{text}");
}

#[test]
fn an_interrupted_prompt_leaves_the_terminal_with_its_echo() {
    let world = World::new();
    let line = "trap : INT; unset THINGDB_PASSPHRASE_FILE; thingdb ls; echo code $?; stty -a";
    let Some((_, text)) = world.on_terminal(line, "Passphrase for ", b"\x03") else { return };
    assert!(text.contains("code 130") && text.contains(" echo ") && !text.contains("-echo "), "{text}");
}
