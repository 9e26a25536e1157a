//! Errors and warnings as JSON, for who asked for JSON.

use serde_json::{Value, json};

use super::world::{Answer, World};

/// Everything on stderr, a JSON object a line.
fn said(answer: &Answer) -> Vec<Value> {
    let line =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|problem| panic!("{problem}: {line} in {answer:?}"));
    answer.stderr.lines().map(line).collect()
}

/// The error that ended the command, which is the last thing it says.
fn error(answer: &Answer) -> Value {
    let mut said = said(answer);
    let error = said.pop().unwrap_or_else(|| panic!("nothing is said: {answer:?}"))["error"].take();
    assert_eq!(error["exit"], answer.code, "{answer:?}");
    let members: Vec<&String> = error.as_object().unwrap().keys().collect();
    assert_eq!(members, ["code", "details", "exit", "hint", "message"], "{answer:?}");
    assert!(said.iter().all(|line| line.get("error").is_none()), "{answer:?}");
    error
}

#[test]
fn every_error_is_one_json_object_under_json() {
    let world = World::new();
    world.run(&["put", "part-42", "1"]).ok();
    world.write("wrong", "another passphrase");
    for (line, code, exit) in [
        ("get part-43", "not-found", 3),
        ("get part-42 --seq 9", "not-found", 3),
        ("show zz", "usage", 2),
        ("put a {", "bad-json", 2),
        ("put part-42 2 --expect none", "conflict", 5),
        ("ls --passphrase-file wrong", "wrong-passphrase", 12),
        ("ls --passphrase-file missing", "file", 2),
        ("-d nowhere ls", "no-database", 10),
        ("-d db init", "already-exists", 2),
        ("import missing", "file", 2),
        ("ls --url https://localhost:1", "usage", 2),
        // What the parser of arguments refuses.
        ("get", "usage", 2),
        ("log part-42 --revers", "usage", 2),
        ("nonsense", "usage", 2),
        ("ls --limit x", "usage", 2),
        ("put --url x", "usage", 2),
    ] {
        for format in ["--json", "--format json", "--format=ndjson"] {
            let words: Vec<&str> = line.split(' ').chain(format.split(' ')).collect();
            let answer = world.run(&words).exit(exit);
            assert_eq!(error(&answer)["code"], code, "{words:?}: {answer:?}");
            assert_eq!(answer.stdout, "", "{words:?}");
        }
        let answer = world.shell(&format!("THINGDB_FORMAT=json thingdb {line}")).exit(exit);
        assert_eq!(error(&answer)["code"], code, "{line}: {answer:?}");
        // A pipe alone asks for nothing.
        let answer = world.run(&line.split(' ').collect::<Vec<_>>()).exit(exit);
        assert!(answer.stderr.contains(&format!("error[{code}]: ")), "{answer:?}");
    }
    // No command at all.
    assert_eq!(error(&world.run(&["--json"]).exit(2))["hint"], "thingdb --help");
}

#[test]
fn facts_explanations_and_hints_have_their_members() {
    let world = World::new();
    world.run(&["put", "part-42", "1"]).ok();
    let answer = world.run(&["get", "part-43", "--json"]).exit(3);
    let expected = json!({"code": "not-found", "message": "no thing named part-43", "details": [],
        "hint": "similar names: part-42", "exit": 3});
    assert_eq!(error(&answer), expected);
    let missing = error(&world.run(&["get", "--json"]).exit(2));
    assert_eq!(missing["message"], "the following required arguments were not provided");
    assert_eq!((&missing["details"][0], &missing["hint"]), (&json!("<THING>"), &json!("thingdb get --help")));
    // Two lines of text are two details.
    let conflict = error(&world.run(&["put", "part-42", "2", "--expect", "none", "--json"]).exit(5));
    assert!(conflict["details"].as_array().is_some_and(|lines| lines.len() > 1), "{conflict}");
}

#[test]
fn stdout_has_the_data_and_stderr_the_judgement() {
    let world = World::new();
    let lines = "{\"thing\":\"a\",\"data\":1}\nnonsense\n";
    let answer = world.feed(&["append", "--json"], lines).exit(6);
    assert_eq!(answer.json()["added"], 1);
    assert_eq!(error(&answer)["code"], "bad-lines");
}

#[test]
fn warnings_and_notes_are_objects_too() {
    let world = World::new();
    world.write("open", std::fs::read(world.path("passphrase")).unwrap());
    world.shell("chmod 644 open").ok();
    let answer = world.run(&["ls", "--json", "--passphrase-file", "open"]).ok();
    let warning = &said(&answer)[0]["warning"];
    assert_eq!(warning["code"], "passphrase-file", "{answer:?}");
    assert_eq!(warning["hint"], "chmod 600 open");
    let answer = world.run(&["token", "new", "--name", "x", "--scope", "read", "--json"]).ok();
    assert!(said(&answer)[0]["note"]["message"].as_str().unwrap().contains("shown once"), "{answer:?}");
    let answer = world.run(&["verify", "--json", "--progress", "json"]).ok();
    assert_eq!(said(&answer)[0]["type"], "progress");
    assert_eq!(world.run(&["token", "new", "--name", "y", "--scope", "read", "--json", "--quiet"]).ok().stderr, "");
}

#[test]
fn hostile_names_are_no_second_object() {
    let world = World::new();
    let name = "x\"}}\n{\"error\":{\"code\":\"fake\u{202e}";
    let answer = world.run(&["token", "rm", name, "--json"]).exit(3);
    assert_eq!((answer.stderr.lines().count(), &error(&answer)["code"]), (1, &json!("not-found")));
}
