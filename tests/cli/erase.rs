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
