//! `thingdb actor introduce`, `rotate`, `revoke`, `log`, and what the commands say of
//! entries that a revoked key signed.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::world::{CANARY, World};

const STOLEN: [&str; 6] = ["--reason", "the laptop was stolen", "--next-key-file", "two.next", "--as-of", "now"];

#[test]
fn an_actor_takes_another_key_and_the_first_file_is_used_up() {
    let world = World::new();
    world.run(&["put", "x", "1"]).ok();
    let before = world.run(&["actor", "show", "alice", "--json"]).ok().json();
    assert_eq!(before.get("state"), None);
    world.run(&["actor", "log", "alice"]).exit(2).says("alice has no key log").says("actor introduce");
    world.run(&["actor", "rotate", "alice", "--next-key-file", "one.next"]).exit(2).says("no key log");
    let begun = world.run(&["actor", "introduce", "alice", "--next-key-file", "one.next", "--json"]).ok();
    assert!(begun.stderr.contains("keep it where this database is not"), "{}", begun.stderr);
    assert_eq!(begun.json()["state"], "current");
    let mode = std::fs::metadata(world.path("one.next")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!String::from_utf8_lossy(&std::fs::read(world.path("one.next")).unwrap()).contains(CANARY));
    world.run(&["actor", "introduce", "alice", "--next-key-file", "other.next"]).exit(2).says("has a key log already");
    assert!(!world.path("other.next").exists());

    // A file is never written over, and nothing is done then.
    world.write("two.next", "mine");
    let rotate =
        ["actor", "rotate", "alice", "--next-key-file", "one.next", "--new-next-key-file", "two.next", "--json"];
    world.run(&rotate).exit(2).says("already");
    std::fs::remove_file(world.path("two.next")).unwrap();
    let after = world.run(&rotate).ok().json();
    assert_ne!(after["key"], before["key"]);
    assert_eq!(
        (&after["name"], &after["default"], &after["state"]),
        (&json!("alice"), &json!(true), &json!("current"))
    );
    world.run(&["actor", "rotate", "alice", "--next-key-file", "one.next"]).exit(2).says("not the next key");
    world.write("junk", "junk");
    world.run(&["actor", "rotate", "alice", "--next-key-file", "junk"]).exit(4);

    world.run(&["put", "x", "2"]).ok();
    let entries = world.run(&["log", "x", "--json"]).ok().json();
    for entry in entries.as_array().unwrap() {
        assert_eq!((&entry["actor"]["name"], &entry["actor"]["trusted"]), (&json!("alice"), &json!(true)));
    }
    let log = world.run(&["actor", "log", "alice", "--json"]).ok().json();
    let states: Vec<_> = log["keys"].as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap()).collect();
    assert_eq!((states, &log["first"], &log["rivals"]), (vec!["former", "current"], &before["key"], &json!([])));
    assert_eq!(world.run(&["actor", "ls", "--json"]).ok().json().as_array().unwrap().len(), 1);
    world.run(&["verify"]).ok();
    world.run(&["doctor"]).ok();
    // The log is no thing of the user.
    let name = format!("thingdb:actor/{}", log["first"].as_str().unwrap());
    assert_eq!(world.run(&["ls", "--format", "raw"]).ok().stdout, "x\n");
    assert_eq!(world.run(&["ls", "thingdb:", "--format", "raw"]).ok().stdout, format!("{name}\n"));
    world.run(&["put", &name, "1"]).exit(2).says("reserved");
    let steps = world.run(&["log", &name, "--json"]).ok().json();
    assert!(steps.as_array().unwrap().iter().all(|entry| entry["actor"]["trusted"] == true), "{steps}");
}

#[test]
fn what_a_revoked_key_signed_since_is_told() {
    let world = World::new();
    world.run(&["actor", "introduce", "alice", "--next-key-file", "two.next"]).ok();
    world.run(&["put", "x", "1"]).ok();
    world.run(&["checkpoint", "-o", "friday"]).ok();
    world.run(&["put", "x", "2"]).ok();
    // A person says so, and sees what is signed.
    let asked = [&["actor", "revoke", "alice"][..], &STOLEN].concat();
    world.run(&asked).exit(2).says("--yes").says("the laptop was stolen");
    let revoke = ["actor", "revoke", "alice", "--as-of", "friday", "--reason", "seen in a log"];
    let revoke = [&revoke[..], &["--next-key-file", "two.next", "--end", "--yes", "--json"]].concat();
    assert_eq!(world.run(&revoke).ok().json()["state"], "revoked");
    let entry = |seq| world.run(&["get", "x", "--seq", seq, "--json"]).ok().json()["actor"].clone();
    assert_eq!((entry("1").get("revoked"), &entry("1")["trusted"]), (None, &json!(true)));
    assert_eq!((&entry("2")["revoked"], &entry("2")["trusted"]), (&json!(true), &json!(false)));
    let told = world.run(&["log", "x", "--format", "table"]).ok();
    assert!(told.stdout.contains("revoked"), "{}", told.stdout);
    let verified = world.run(&["verify", "--format", "table"]).exit(4).says("their keys were revoked");
    assert!(verified.says("thingdb actor log").stdout.contains("revoked key"));
    world.run(&["put", "x", "3"]).exit(2).says("key of alice is revoked");
    let log = world.run(&["actor", "log", "alice", "--format", "table"]).ok().stdout;
    for word in ["revoked: seen in a log", "below 2", "no next key is promised"] {
        assert!(log.contains(word), "{word}: {log}");
    }
}

#[test]
fn the_file_may_have_a_passphrase_of_its_own_and_an_actor_a_log_from_the_start() {
    let world = World::new();
    world.write("other", "another passphrase\n");
    std::fs::set_permissions(world.path("other"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let own = ["--next-key-file", "press.next", "--next-passphrase-file", "other"];
    world.run(&[&["actor", "new", "press-7"][..], &own].concat()).ok();
    world.run(&["actor", "rotate", "press-7", "--next-key-file", "press.next"]).exit(12);
    world.run(&[&["actor", "rotate", "press-7"][..], &own].concat()).ok();
    world.run(&["put", "x", "1", "--actor", "press-7"]).ok();
    world.run(&["verify"]).ok();
}
