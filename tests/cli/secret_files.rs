//! Secrets that are shown once, and the files that keep them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::world::{Answer, WEAK, World};

fn mode(world: &World, name: &str) -> u32 {
    fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o777
}

/// Runs under the umask that most people have.
fn shell(world: &World, line: &str) -> Answer {
    world.shell(&format!("umask 022; {line}"))
}

#[test]
fn a_token_in_a_file_is_for_its_owner_only() {
    let world = World::new();
    let answer = shell(&world, "thingdb token new --name hall --scope read -o hall.token").ok();
    assert_eq!((answer.stdout.as_str(), mode(&world, "hall.token")), ("", 0o600));
    let token = fs::read_to_string(world.path("hall.token")).unwrap();
    assert!(token.starts_with("tdb_") && token.ends_with('\n') && !answer.stderr.contains(token.trim()), "{answer:?}");

    // In JSON the file is named and the token is not told.
    let told = shell(&world, "thingdb token new --name two --scope read -o two.token --json").ok().json();
    assert_eq!((told["file"].as_str(), told.get("token")), (Some("two.token"), None));
    // The stdout of old.
    assert!(
        world.run(&["token", "new", "--name", "three", "--scope", "read", "-o", "-"]).ok().stdout.starts_with("tdb_")
    );
}

#[test]
fn a_secret_takes_the_place_of_no_file_and_nothing_is_made() {
    let world = World::new();
    world.write("there", "the only copy");
    std::os::unix::fs::symlink("nowhere", world.path("link")).unwrap();
    for name in ["there", "link"] {
        world
            .run(&["token", "new", "--name", "x", "--scope", "read", "-o", name])
            .exit(2)
            .says("error[already-exists]");
        world.run(&["recovery-key", "-o", name]).exit(2).says("error[already-exists]");
        let init = [&["-d", "other", "init", "--recovery-key", name][..], &WEAK].concat();
        world.run(&init).exit(2).says("error[already-exists]");
    }
    world.run(&["token", "new", "--name", "x", "--scope", "read", "-o", "no/such/dir"]).exit(2);
    assert_eq!(fs::read_to_string(world.path("there")).unwrap(), "the only copy");
    assert!(!world.path("nowhere").exists() && !world.path("other").exists());
    assert_eq!(world.run(&["token", "ls"]).ok().stdout, "");
    let checks = world.run(&["doctor"]).ok().stdout;
    assert!(checks.contains("thingdb recovery-key"), "there is none: {checks}");
}

#[test]
fn a_new_database_can_have_its_recovery_key_at_once() {
    let world = World::empty();
    let line = format!("thingdb init --recovery-key key {}", WEAK.join(" "));
    let told = shell(&world, &line).ok().json();
    assert_eq!((told["recovery_key_file"].as_str(), mode(&world, "key")), (Some("key"), 0o600));
    let key = fs::read_to_string(world.path("key")).unwrap();
    assert!(key.starts_with("TDBREC1-") && !told.to_string().contains(key.trim()), "{told}");
    world.run(&["ls", "--recovery-key-file", "key"]).ok();

    let shown = world.run(&[&["-d", "two", "init", "--recovery-key", "-"][..], &WEAK].concat()).ok().json();
    world.write("shown", shown["recovery_key"].as_str().unwrap());
    world.run(&["-d", "two", "ls", "--recovery-key-file", "shown"]).ok();
    // A later one takes its place.
    world.run(&["recovery-key", "-o", "later"]).ok();
    world.run(&["ls", "--recovery-key-file", "key"]).exit(12);
    world.run(&["ls", "--recovery-key-file", "later"]).ok();
}

#[test]
fn a_token_that_others_can_read_is_taken_with_a_warning() {
    let world = World::new();
    world.run(&[&["-d", "b", "init"][..], &WEAK].concat()).ok();
    world.shell("thingdb -d b card | thingdb peer add b - --yes").ok();
    world.shell("thingdb -d b token new --name a --scope import -o token; cp token open; chmod 644 open").ok();
    let set = |file: &str| world.run(&["peer", "set", "b", "--url", "https://localhost:1", "--token-file", file]).ok();
    assert_eq!(set("token").stderr, "");
    set("open").says("warning[token-file]").says("hint: chmod 600 open");
}
