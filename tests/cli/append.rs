//! `thingdb append`: what is stored, what is refused, and what happens when it
//! is stopped.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::json;

use super::world::{Answer, World, members};

#[test]
fn good_lines_are_stored_and_bad_ones_named() {
    let world = World::new();
    let input = concat!(
        "{\"thing\":\"a\",\"data\":1}\n",
        "\n",
        "not json\n",
        "{\"thing\":\"a\",\"data\":{\"x\":1,\"x\":2}}\n",
        "{\"thing\":\"\",\"data\":1}\r\n",
        "{\"thing\":\"a\",\"data\":2,\"more\":3}\n",
        "{\"thing\":\"a\",\"data\":2,\"actor\":\"nobody\"}\n",
        "{\"thing\":\"a\",\"data\":2,\"action\":\"\"}\n",
        "{\"thing\":\"b\",\"data\":2,\"action\":\"weigh\"}",
    );
    let answer = world
        .feed(&["append", "--rejects", "rejects"], input)
        .exit(6)
        .says("error[bad-lines]: 6 of 9 lines refused, 2 stored");
    let answer =
        answer.says("line 3, column 1: a line is an object").says("line 5, column 11: ").says("line 7, column ");
    let summary = answer.json();
    assert_eq!(members(&summary).len(), 6);
    for name in ["added", "known", "refused", "lines", "interrupted", "reasons"] {
        assert!(summary.get(name).is_some(), "{name}");
    }
    assert_eq!((&summary["added"], &summary["refused"], &summary["lines"]), (&json!(2), &json!(6), &json!(9)));
    assert_eq!(summary["reasons"][1]["line"], 4);
    let rejects = std::fs::read_to_string(world.path("rejects")).unwrap();
    assert_eq!(rejects.lines().count(), 6);
    assert_eq!(rejects.lines().nth(1), Some("{\"thing\":\"a\",\"data\":{\"x\":1,\"x\":2}}"));
    assert_eq!(world.run(&["get", "b"]).ok().json()["action"], "weigh");
    assert_eq!(world.run(&["verify"]).ok().json()["entries"], 2);
}

#[test]
fn fail_fast_stops_at_the_first_bad_line() {
    let world = World::new();
    let input = "{\"thing\":\"a\",\"data\":1}\nbad\n{\"thing\":\"a\",\"data\":2}\n";
    world.write("input", input);
    let answer = world.run(&["append", "input", "--fail-fast"]).exit(6).says("tail -n +3 input | thingdb append");
    assert_eq!((&answer.json()["added"], &answer.json()["lines"]), (&json!(1), &json!(2)));
    assert_eq!(world.run(&["stats"]).ok().json()["entries"], 1);
}

#[test]
fn the_time_of_the_source_is_kept_as_its_claim() {
    let world = World::new();
    let input = "{\"thing\":\"a\",\"data\":{\"x\":1.50},\"time\":\"1999-01-01\"}\n{\"thing\":\"b\",\"data\":[],\"time\":17e8}\n";
    world.feed(&["append"], input).ok();
    assert_eq!(world.run(&["get", "a", "--raw"]).ok().stdout, "{\"time\":\"1999-01-01\",\"data\":{\"x\":1.50}}");
    assert_eq!(world.run(&["get", "b", "--raw"]).ok().stdout, "{\"time\":17e8,\"data\":[]}");
    let signed = world.run(&["get", "a", "--field", ""]).ok();
    assert!(!signed.stdout.is_empty());
    assert!(world.run(&["get", "a"]).ok().json()["time"].as_str().unwrap() > "2026");
}

#[test]
fn entries_of_one_batch_share_a_signature() {
    let world = World::new();
    let input: String = (0..10).map(|n| format!("{{\"thing\":\"t-{}\",\"data\":{n}}}\n", n % 3)).collect();
    world.feed(&["append", "--batch", "4"], input).ok();
    let log = world.run(&["log", "t-0", "--reverse"]).ok().lines();
    assert_eq!(log.iter().map(|entry| entry["data"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 3, 6, 9]);
    let shown = world.run(&["show", log[1]["id"].as_str().unwrap()]).ok().json();
    assert_eq!(shown["signature"], json!({"kind": 2, "index": 3, "size": 4}));
}

#[test]
fn lines_may_name_their_actor() {
    let world = World::new();
    world.run(&["actor", "new", "press-7"]).ok();
    let input = "{\"thing\":\"a\",\"data\":1}\n{\"thing\":\"a\",\"data\":2,\"actor\":\"alice\"}\n";
    world.feed(&["append", "--actor", "press-7"], input).ok();
    let log = world.run(&["log", "a", "--reverse"]).ok().lines();
    assert_eq!((&log[0]["actor"]["name"], &log[1]["actor"]["name"]), (&json!("press-7"), &json!("alice")));
    world.feed(&["append", "--actor", "nobody"], "").exit(3);
}

#[test]
fn a_source_that_pauses_is_stored_meanwhile() {
    let world = World::new();
    let mut child = spawn(&world, &["append", "--progress", "json"]);
    let mut input = child.stdin.take().unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    // The pipe stays open, and yet each entry is there. The database is locked
    // meanwhile, so the progress is what tells.
    for done in 1..=2 {
        writeln!(input, "{{\"thing\":\"a\",\"data\":{done}}}").unwrap();
        let mut line = String::new();
        while !line.contains(&format!("\"done\":{done},")) {
            line.clear();
            assert_ne!(talk.read_line(&mut line).unwrap(), 0, "it ended without a word");
        }
    }
    drop(input);
    assert_eq!(Answer::wait(child).ok().json()["added"], 2);
}

#[test]
fn an_interrupted_append_has_stored_what_it_reports() {
    let world = World::new();
    let mut child = spawn(&world, &["append", "--batch", "50", "--progress", "json"]);
    let mut input = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || {
        for n in 0_u64.. {
            if writeln!(input, "{{\"thing\":\"t-{}\",\"data\":{{\"n\":{n}}}}}", n % 7).is_err() {
                return;
            }
        }
    });
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    talk.read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"type\":\"progress\",\"op\":\"appending\",\"done\":"), "{line}");
    interrupt(child.id());
    let rest = std::thread::spawn(move || std::io::read_to_string(talk).unwrap());
    let answer = Answer::wait(child).exit(130);
    feeder.join().unwrap();
    let rest = rest.join().unwrap();
    let summary = answer.json();
    let added = summary["added"].as_u64().unwrap();
    assert!(added > 0 && summary["interrupted"] == true && summary["lines"] == added, "{summary}");
    assert!(rest.contains("error[interrupted]") && rest.contains("the next line of the input"), "{rest}");
    assert_eq!(world.run(&["stats"]).ok().json()["entries"], added);
    assert_eq!(world.run(&["verify"]).ok().json()["entries"], added);
}

#[test]
fn a_terminated_append_ends_while_its_source_is_silent() {
    let world = World::new();
    let mut child = spawn(&world, &["append", "--progress", "json"]);
    let mut input = child.stdin.take().unwrap();
    let lines: String = (0..2_000).map(|n| format!("{{\"thing\":\"a\",\"data\":{n}}}\n")).collect();
    input.write_all(lines.as_bytes()).unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"done\":2000,") {
        line.clear();
        assert_ne!(talk.read_line(&mut line).unwrap(), 0, "it ended by itself");
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let answer = Answer::wait(child).exit(130);
    drop(input);
    assert_eq!(answer.json()["added"], 2_000);
    assert_eq!(world.run(&["stats"]).ok().json()["entries"], 2_000);
}

#[test]
fn progress_in_json_has_its_members() {
    let world = World::new();
    let input: String = (0..100).map(|n| format!("{{\"thing\":\"a\",\"data\":{n}}}\n")).collect();
    let answer = world.feed(&["append", "--progress", "json"], input).ok();
    let last: serde_json::Value = serde_json::from_str(answer.stderr.lines().last().unwrap()).unwrap();
    for name in ["type", "op", "done", "total", "bytes", "rate", "eta_s"] {
        assert!(last.get(name).is_some(), "{name}: {last}");
    }
    assert_eq!((&last["type"], &last["op"], &last["done"]), (&json!("progress"), &json!("appending"), &json!(100)));
    let quiet = world.feed(&["append", "--progress", "off"], "{\"thing\":\"a\",\"data\":1}\n").ok();
    assert_eq!(quiet.stderr, "");
}

fn spawn(world: &World, args: &[&str]) -> std::process::Child {
    world.thingdb(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn interrupt(process: u32) {
    assert!(Command::new("kill").args(["-INT", &process.to_string()]).status().unwrap().success());
}
