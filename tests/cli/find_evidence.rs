//! `thingdb find-evidence`: whoever was shown two ledgers convicts the node with the files
//! alone.

use std::fs;

use data_encoding::{BASE64, HEXLOWER};
use serde_json::json;

use super::world::World;

/// A node that shows one ledger to Anna and another one to Ben.
fn two_faced() -> World {
    let world = World::new();
    world.run(&["put", "part-42", "1"]).ok();
    world.run(&["checkpoint", "-o", "early"]).ok();
    let card = world.run(&["card"]).ok().stdout;
    world.write("plant.card", card);
    world.shell("cp -R db other").ok();
    world.run(&["put", "part-42", "2"]).ok();
    world.run(&["-d", "other", "put", "part-42", "3"]).ok();
    world.run(&["prove", "part-42", "-o", "anna.tdbproof"]).ok();
    world.run(&["-d", "other", "prove", "part-42", "-o", "ben.tdbproof"]).ok();
    world.run(&["-d", "other", "prove", "part-42", "--html", "-o", "ben.html"]).ok();
    world.run(&["-d", "other", "prove", "part-42", "--seq", "2", "--tlog-proof", "-o", "ben.tlog-proof"]).ok();
    world.run(&["-d", "other", "checkpoint", "-o", "ben.checkpoint"]).ok();
    // An auditor has none of it.
    world.shell("rm -r db other").ok();
    world
}

fn found(world: &World, args: &[&str], exit: i32) {
    let told = world.run(&[&["find-evidence"], args, &["-o", "evidence"]].concat());
    let told = told.exit(exit);
    assert_eq!(world.path("evidence").exists(), exit == 0, "{args:?}");
    if exit == 0 {
        assert_eq!((&told.json()["found"], &told.json()["proven"]), (&json!("split-view"), &json!(true)), "{args:?}");
        let checked = world.run(&["verify-evidence", "evidence"]).ok().json();
        assert_eq!(checked, told.json(), "{args:?}");
        fs::remove_file(world.path("evidence")).unwrap();
    }
}

#[test]
fn two_files_of_two_ledgers_become_evidence_that_convicts() {
    let world = two_faced();
    for (other, size) in [("ben.tdbproof", 2), ("ben.html", 2), ("ben.tlog-proof", 2), ("ben.checkpoint", 2)] {
        found(&world, &["anna.tdbproof", other], 0);
        found(&world, &[other, "early", "anna.tdbproof"], 0);
        let told = world.run(&["find-evidence", "anna.tdbproof", other]).ok();
        let told = told.says("proven: the node signed two ledgers of one size");
        world.write("piped", &told.stdout);
        let checked = world.run(&["verify-evidence", "piped"]).ok().json();
        let sizes = json!([checked["checkpoints"][0]["size"], checked["checkpoints"][1]["size"]]);
        assert_eq!(sizes, json!([size, size]));
    }
    let stdin = fs::read(world.path("ben.tdbproof")).unwrap();
    world.feed(&["find-evidence", "anna.tdbproof", "-", "-o", "evidence"], stdin).ok();
    // A file that is cut and of which nothing else holds still has what was signed.
    let text = fs::read_to_string(world.path("ben.tdbproof")).unwrap();
    world.write("first", text.lines().next().unwrap());
    world.run(&["find-evidence", "anna.tdbproof", "first"]).ok();
}

#[test]
fn where_nothing_contradicts_it_says_what_was_shown() {
    let world = World::new();
    world.run(&["put", "part-42", "1"]).ok();
    world.run(&["checkpoint", "-o", "early"]).ok();
    world.run(&["put", "part-42", "2"]).ok();
    world.run(&["prove", "part-42", "-o", "later"]).ok();
    world.run(&["prove", "part-42", "-o", "grown", "--checkpoint", "early"]).ok();
    world.run(&["-d", "elsewhere", "init", "--actor", "bob"]).ok();
    world.run(&["-d", "elsewhere", "put", "x", "1"]).ok();
    world.run(&["-d", "elsewhere", "prove", "x", "-o", "strange"]).ok();
    world.run(&["-d", "elsewhere", "checkpoint", "-o", "strange-checkpoint"]).ok();
    let card = world.run(&["card"]).ok().stdout;
    world.write("plant.card", card);
    for (files, exit, says) in [
        (&["early", "grown"][..], 3, "one ledger that only grew"),
        (&["later", "grown"], 3, "one ledger that only grew"),
        (&["later"], 3, "one ledger that only grew"),
        (&["early", "--card", "@plant.card"], 3, "one ledger that only grew"),
        (&["early", "later"], 6, "no proof leads from the ledger of 1 entry to that of 2"),
        (&["later", "strange"], 2, "strange is of the node"),
        (&["later", "strange-checkpoint"], 4, "did not sign"),
        (&["early", "strange-checkpoint"], 2, "no proof file says which key"),
        (&["later", "plant.card"], 2, "no proof file and no checkpoint"),
        (&["later", "nowhere"], 2, "nowhere"),
        (&[], 2, "FILE"),
        (&["-", "-"], 2, "stdin"),
    ] {
        let args = [&["find-evidence"], files, &["-o", "evidence"]].concat();
        let told = world.run(&args);
        assert!(told.stdout.is_empty() && !world.path("evidence").exists(), "{files:?} {}", told.stdout);
        told.exit(exit).says(says);
    }
    // A checkpoint that somebody made up.
    let note = fs::read_to_string(world.path("early")).unwrap();
    let at = note.len() - 20;
    let other = if &note[at..=at] == "A" { "B" } else { "A" };
    world.write("forged", format!("{}{other}{}", &note[..at], &note[at + 1..]));
    world.run(&["find-evidence", "later", "forged"]).exit(4).says("did not sign");
}

#[test]
fn two_heads_notes_of_one_size_become_evidence() {
    let world = World::empty();
    let vector = |name: &str| {
        let path = format!("{}/../tests/vectors/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        fs::read_to_string(path).unwrap().split_once("\n\n").unwrap().1.to_owned()
    };
    let evidence = vector("evidence/good-split-heads");
    let (_, notes) = evidence.split_once("-- remembered\n").unwrap();
    let (one, other) = notes.split_once("-- shown\n").unwrap();
    world.write("one", one);
    world.write("other", other);
    let card: String = vector("card/good").split_whitespace().collect();
    world.write("card", format!("tdbcard1:{}\n", BASE64.encode(&HEXLOWER.decode(card.as_bytes()).unwrap())));
    let args = ["find-evidence", "one", "other", "--card", "@card", "-o", "evidence"];
    assert_eq!(world.run(&args).ok().json()["found"], "split-heads");
    assert_eq!(world.run(&["verify-evidence", "evidence"]).ok().json()["proven"], true);
    world.run(&["find-evidence", "one", "one", "--card", "@card"]).exit(3);
}
