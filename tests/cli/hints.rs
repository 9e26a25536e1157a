//! Commands that hints propose work when they are pasted.

use super::world::{Answer, WEAK, World};

/// What the hints of an answer say.
fn hints(answer: &Answer) -> Vec<String> {
    answer.stderr.lines().filter_map(|line| line.strip_prefix("hint: ")).map(str::to_owned).collect()
}

#[test]
fn hints_name_the_database_that_an_argument_named() {
    let world = World::new();
    world.run(&[&["-d", "my things", "init"][..], &WEAK].concat()).ok();
    world.run(&["-d", "my things", "put", "a", "1"]).ok();
    for args in [
        &["-d", "my things", "get", "nope"][..],
        &["get", "nope", "-d", "my things"],
        &["-d", "my things", "peer", "show", "nope"],
        &["-d", "my things", "actor", "show", "nope"],
        &["-d", "my things", "token", "rm", "nope"],
        &["-d", "my things", "diff", "a", "1", "2"],
    ] {
        let answer = world.run(args).exit(3);
        let [hint] = &hints(&answer)[..] else { panic!("{args:?}: {}", answer.stderr) };
        assert!(hint.starts_with("thingdb --db 'my things' "), "{hint}");
        world.shell(&format!("unset THINGDB_DIR; {hint}")).ok();
        let json = world.run(&[args, &["--json"]].concat()).exit(3);
        assert!(json.stderr.contains("\"hint\":\"thingdb --db 'my things' "), "{}", json.stderr);
    }
    // The environment is there for the next command, too.
    assert_eq!(hints(&world.run(&["get", "nope"]).exit(3)), ["thingdb ls"]);
}

#[test]
fn hints_name_the_server_that_an_argument_named() {
    let world = World::new();
    world.write("token", "x".repeat(32));
    let line = "unset THINGDB_DIR; thingdb get a --seq 1 --id 2 --url http://localhost:1 --token-file token";
    world.shell(line).exit(2);
    // Nobody answers: what is proposed is for the other side, and stays as it is.
    let line = "unset THINGDB_DIR; thingdb get a --url http://localhost:1 --token-file token";
    let answer = world.shell(line).exit(14);
    assert!(!answer.stderr.contains("--db"), "{}", answer.stderr);
}

#[test]
fn a_card_is_named_by_its_text_or_its_file() {
    let world = World::new();
    world.run(&[&["-d", "b", "init"][..], &WEAK].concat()).ok();
    world.shell("thingdb -d b card > b.card; thingdb export -o all.ndjson; thingdb card > here.card").ok();
    for card in ["b.card", "@b.card", "./b.card", "\"$(cat b.card)\"", "- < b.card"] {
        world.shell(&format!("thingdb peer add b --yes {card}")).ok();
        world.shell("thingdb peer rm b").ok();
    }
    for card in ["here.card", "@here.card", "\"$(cat here.card)\""] {
        let report = world.shell(&format!("thingdb verify all.ndjson --card {card} --json")).json();
        assert_eq!(report["ledger"]["trusted"].as_bool().unwrap_or_default(), report["ledger"].is_object(), "{card}");
    }
    world.run(&["peer", "add", "b", "nothing.card"]).exit(2).says("nothing.card");
    world.run(&["peer", "add", "b", "tdbcard1:AAAA"]).exit(2).says("this is no card");
}
