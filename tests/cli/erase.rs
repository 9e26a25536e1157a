//! `thingdb erase` and `thingdb erasures`, and what the commands say of an entry that was
//! erased.

use serde_json::json;

use super::world::{Answer, World};

fn furnished() -> World {
    let world = World::new();
    for data in ["{\"name\":\"Ada\"}", "{\"name\":\"Ada L\"}", "{\"name\":\"Ada Lovelace\"}"] {
        world.run(&["put", "person-7", data]).ok();
    }
    world
}

fn prints(answer: &Answer, words: &[&str]) {
    for word in words {
        assert!(answer.stdout.contains(word), "{word}: {}", answer.stdout);
    }
}

const WHY: [&str; 2] = ["--reason", "asked for by the person"];

#[test]
fn what_is_erased_is_told_everywhere() {
    let world = furnished();
    let erase = [&["erase", "person-7", "--seq", "1-2", "--basis", "gdpr-17", "--yes", "--json"][..], &WHY].concat();
    let told = world.run(&erase).ok().json();
    assert_eq!((&told["thing"], &told["erased"], &told["removed"]), (&json!("person-7"), &json!(2), &json!([])));
    let record = told["records"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(told["records"][0]["seq"], 4);

    let entry = world.run(&["get", "person-7", "--seq", "1", "--json"]).ok().json();
    assert_eq!(
        (&entry["content"], &entry["erased_by"], &entry["data"]),
        (&json!("erased"), &json!(record), &json!(null))
    );
    let open = world.run(&["get", "person-7", "--seq", "3", "--json"]).ok().json();
    assert_eq!((&open["content"], open.get("erased_by")), (&json!("open"), None));
    let refused = world.run(&["get", "person-7", "--seq", "1", "--raw"]).exit(6);
    refused.says("was erased, as entry").says("thingdb erasures person-7");
    prints(&world.run(&["show", entry["id"].as_str().unwrap(), "--format", "table"]).ok(), &[&record, "(erased)"]);
    let log = world.run(&["log", "person-7", "--json"]).ok().json();
    let words: Vec<_> = log.as_array().unwrap().iter().map(|entry| entry["content"].as_str().unwrap()).collect();
    assert_eq!(words, ["open", "open", "erased", "erased"]);
    prints(&world.run(&["log", "person-7", "--graph"]).ok(), &["(erased)"]);
    let verified = world.run(&["verify", "--json"]).ok().json();
    assert_eq!(
        (&verified["ok"], &verified["erased"], &verified["refused_erasures"]),
        (&json!(true), &json!(2), &json!(0))
    );
    prints(&world.run(&["verify", "--format", "table"]).ok(), &["2 erased entries"]);

    let listed = world.run(&["erasures", "--json"]).ok().json();
    let listed = &listed[0];
    assert_eq!(
        (&listed["id"], &listed["reason"], &listed["basis"]),
        (&json!(record), &json!(WHY[1]), &json!("gdpr-17"))
    );
    assert_eq!((&listed["erased"], &listed["refused"], &listed["done"]), (&json!(2), &json!(0), &json!(true)));
    assert_eq!(listed["listed"].as_array().unwrap().len(), 2);
    prints(&world.run(&["erasures", "person-7", "--format", "table"]).ok(), &["asked for by the person (gdpr-17)"]);
    world.run(&["erasures", "nobody"]).exit(3).says("no thing named nobody");
    // An export has stubs for them, and the next import nothing to add.
    world.run(&["export", "-o", "all.ndjson"]).ok();
    assert_eq!(std::fs::read_to_string(world.path("all.ndjson")).unwrap().matches("\"payload\":").count(), 2);
    world.run(&["import", "all.ndjson"]).ok();
}

#[test]
fn what_cannot_be_erased_is_refused_and_nothing_is_signed() {
    let world = furnished();
    let erase = |args: &[&str]| world.run(&[&["erase", "person-7", "--yes"][..], args].concat());
    erase(&WHY).exit(2).says("--all");
    erase(&["--all", "--seq", "1", WHY[0], WHY[1]]).exit(2);
    erase(&["--seq", "4", WHY[0], WHY[1]]).exit(2).says("nothing of person-7");
    erase(&["--seq", "0", WHY[0], WHY[1]]).exit(2).says("is no seq");
    erase(&["--all", WHY[0], ""]).exit(2).says("reason");
    erase(&["--all", WHY[0], "why", "--basis", "two words"]).exit(2).says("basis");
    erase(&["--before", "2020", WHY[0], WHY[1]]).exit(2).says("nothing of person-7");
    erase(&["--all", "--actor", "nobody", WHY[0], WHY[1]]).exit(3).says("nobody");
    let put = ["put", "person-7", "{}", "--action", "erase", "--media-type", "application/vnd.thingdb.erasure+json"];
    world.run(&put).exit(2).says("thingdb erase");
    // Without a terminal nobody can be asked; what would be signed is shown.
    let asked = world.run(&[&["erase", "person-7", "--all"][..], &WHY].concat()).exit(2);
    asked.says("\"reason\":\"asked for by the person\"").says("nothing personal").says("--yes");
    assert_eq!(world.run(&["log", "person-7", "--json"]).ok().json().as_array().unwrap().len(), 3);
}

#[test]
fn on_a_terminal_it_asks() {
    let world = furnished();
    let line = "thingdb erase person-7 --all --reason 'asked for'";
    let Some((code, text)) = world.on_terminal(line, "[y/N]", b"n\n") else { return };
    assert!(code == 2 && text.contains("nothing was erased") && text.contains("1-3"), "{text}");
    assert_eq!(world.run(&["erasures", "--json"]).ok().json(), json!([]));
    let (code, text) = world.on_terminal(line, "[y/N]", b"y\n").unwrap();
    assert!(code == 0 && text.contains("erased: 3 entries"), "{text}");
}

/// The words that `verify-proof --entries` has for the entries of a file, and the verdict.
fn verdict(world: &World, file: &str) -> (Vec<(u64, String, Option<String>)>, serde_json::Value) {
    let mut lines = world.run(&["verify-proof", file, "--entries"]).ok().lines();
    let told = lines.pop().unwrap();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let entry = |entry: &serde_json::Value| {
        (entry["seq"].as_u64().unwrap(), text(&entry["content"]).unwrap(), text(&entry["erased_by"]))
    };
    (lines.iter().map(entry).collect(), told)
}

#[test]
fn a_stranger_tells_what_was_erased_from_what_is_withheld() {
    let world = furnished();
    let erase = [&["erase", "person-7", "--seq", "1-2", "--yes", "--json"][..], &WHY].concat();
    let record = world.run(&erase).ok().json()["records"][0]["id"].as_str().unwrap().to_owned();
    let erased = |seq| (seq, "erased".to_owned(), Some(record.clone()));
    let other = |seq, word: &str| (seq, word.to_owned(), None);

    let summary = world.run(&["prove", "person-7", "-o", "whole"]).ok().json();
    assert_eq!((&summary["shown"], &summary["erased"], &summary["withheld"]), (&json!(2), &json!(2), &json!(0)));
    let (entries, told) = verdict(&world, "whole");
    assert_eq!(entries, [erased(1), erased(2), other(3, "shown"), other(4, "shown")]);
    assert_eq!((&told["erased"], &told["withheld"], &told["shown"]), (&json!(2), &json!(0), &json!(2)));
    let table = world.run(&["verify-proof", "whole", "--format", "table"]).ok();
    prints(&table, &["(erased)", "2 entries erased, as records in the file say"]);

    // What is withheld beside it is not called erased.
    world.run(&["prove", "person-7", "--withhold", "3", "-o", "part"]).ok();
    assert_eq!(verdict(&world, "part").0, [erased(1), erased(2), other(3, "withheld"), other(4, "shown")]);
    // Without the record nobody can tell.
    world.run(&["prove", "person-7", "--withhold", "4", "-o", "without"]).ok();
    let (entries, told) = verdict(&world, "without");
    assert_eq!(entries, [other(1, "withheld"), other(2, "withheld"), other(3, "shown"), other(4, "withheld")]);
    assert_eq!((&told["erased"], &told["withheld"]), (&json!(0), &json!(3)));

    // With one entry goes its record.
    let summary = world.run(&["prove", "person-7", "--seq", "2", "-o", "one"]).ok().json();
    assert_eq!((&summary["entries"], &summary["erased"]), (&json!(2), &json!(1)));
    assert_eq!(verdict(&world, "one").0, [erased(2), other(4, "shown")]);
    world.run(&["prove", "person-7", "--seq", "3", "-o", "other"]).ok();
    assert_eq!(verdict(&world, "other").0, [other(3, "shown")]);

    // A record is for everybody, what is sealed to one reader is not.
    world.run(&["-d", "auditor", "init", "--actor", "bob"]).ok();
    world.write("auditor.card", world.run(&["-d", "auditor", "card"]).ok().stdout);
    world.run(&["prove", "person-7", "--to", "@auditor.card", "-o", "sealed"]).ok();
    assert_eq!(verdict(&world, "sealed").0, [erased(1), erased(2), other(3, "sealed"), other(4, "shown")]);
    world.run(&["prove", "person-7", "--stubs-only", "-o", "stubs"]).ok();
    assert!(verdict(&world, "stubs").0.iter().all(|(_, word, _)| word == "withheld"));
    world.run(&["prove", "person-7", "--html", "-o", "page.html"]).ok();
    assert_eq!(verdict(&world, "page.html").0, verdict(&world, "whole").0);
}
