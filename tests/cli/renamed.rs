//! Actors that get another name.

use super::world::{WEAK, World};

#[test]
fn a_renamed_actor_signs_by_its_new_name_and_old_entries_keep_theirs() {
    let world = World::new();
    world.run(&["put", "a", "1"]).ok();
    let answer = world.run(&["actor", "rename", "alice", "bob"]).ok().says("thingdb card");
    let known = answer.json();
    assert_eq!((&known["name"], &known["own"], &known["default"]), (&"bob".into(), &true.into(), &true.into()));
    world.run(&["put", "a", "2"]).ok();
    world.run(&["put", "a", "3", "--actor", "alice"]).exit(3);
    world.run(&["put", "a", "3", "--actor", "bob"]).ok();

    // All are shown by the name that this database knows, with the one that was
    // signed where it is another.
    let history = world.run(&["log", "a"]).ok().lines();
    assert!(history.iter().all(|entry| entry["actor"]["name"] == "bob" && entry["actor"]["trusted"] == true));
    let show = |entry: &serde_json::Value| world.run(&["show", entry["id"].as_str().unwrap()]).ok().json();
    assert_eq!(show(&history[2])["signed_as"], "alice");
    assert_eq!(show(&history[0]).get("signed_as"), None);
    let table = world.run(&["show", history[2]["id"].as_str().unwrap(), "--format", "table"]).ok().stdout;
    assert!(table.contains("bob (trusted key)") && table.contains("signed as     alice"), "{table}");
    let card = world.run(&["card", "--json"]).ok().json();
    assert_eq!(card["actors"][0]["name"], "bob");
    assert_eq!(world.run(&["verify"]).ok().json()["ok"], true);
}

#[test]
fn a_name_belongs_to_one_key() {
    let world = World::new();
    let other = World::new();
    let key = other.run(&["actor", "ls", "--format", "raw"]).ok().stdout.trim().to_owned();
    world.run(&["actor", "new", "press-7"]).ok();
    world.run(&["actor", "trust", "carol", &key]).ok();
    for (old, new) in [("alice", "press-7"), ("press-7", "alice"), ("alice", "carol"), ("carol", "alice")] {
        world.run(&["actor", "rename", old, new]).exit(2).says("error[invalid-input]");
    }
    world.run(&["actor", "rename", "nobody", "x"]).exit(3);
    world.run(&["actor", "rename", "alice", ""]).exit(2);
    // Its own name is no other's.
    world.run(&["actor", "rename", "alice", "alice"]).ok();
    world.run(&["actor", "rename", &key[..8], "dora"]).ok();
    let names: Vec<String> = world
        .run(&["actor", "ls"])
        .ok()
        .lines()
        .iter()
        .map(|actor| actor["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["alice", "press-7", "dora"]);
}

#[test]
fn peers_go_on_accepting_a_renamed_actor() {
    let world = World::new();
    world.run(&[&["-d", "b", "init"][..], &WEAK].concat()).ok();
    world.shell("thingdb card | thingdb -d b peer add a - --yes").ok();
    world.run(&["put", "x", "1"]).ok();
    world.run(&["actor", "rename", "alice", "bob"]).ok();
    world.run(&["put", "x", "2"]).ok();
    world.shell("thingdb card | thingdb -d b peer add a - --yes").ok();
    let imported = world.shell("thingdb export | thingdb -d b import - --json").ok().json();
    assert_eq!((&imported["added"], &imported["refused"]), (&2.into(), &0.into()));
}
