//! Every exit code that can be had, and that nothing is lost on the way.

use std::fs;

use thingdb::{Hash, Options, Passphrase};

use super::world::{CANARY, World};

#[test]
fn usage_is_2() {
    let world = World::new();
    world.run(&["nonsense"]).exit(2).says("error[usage]");
    world.run(&["pet"]).exit(2).says("put");
    world.run(&["get"]).exit(2);
    world.run(&["put", "", "1"]).exit(2).says("error[invalid-input]");
    world.run(&["put", &"x".repeat(513), "1"]).exit(2);
    world.run(&["put", "a\u{7}b", "1"]).exit(2);
    world.run(&["put", "a", "1", "--action", "b\nc"]).exit(2);
    world.run(&["put", "a", "@missing"]).exit(2);
    world.run(&["ls", "--format", "yaml"]).exit(2);
    let mut command = world.thingdb(&["ls"]);
    command.env_remove("THINGDB_DIR");
    super::world::Answer::of(command).exit(2).says("hint: thingdb --db DIR");
    assert_eq!(world.run(&["stats"]).ok().json()["entries"], 0);
}

#[test]
fn json_that_is_none_is_2_and_shows_where() {
    let world = World::new();
    world.run(&["put", "a", r#"{"temp":20.1 "site":3}"#]).exit(2).says("line 1, column 14").says("             ^");
    world.feed(&["put", "a", "-"], "{\n  \"a\": 1,\n  \"a\": 2\n}").exit(2).says("line 3");
    for bad in ["", "{", "[1,]", "NaN", "'a'", "01", "\"\\x\"", "{\"a\":1}}", "1\u{feff}"] {
        world.run(&["put", "a", bad]).exit(2).says("error[bad-json]");
    }
    assert_eq!(world.run(&["stats"]).ok().json()["entries"], 0);
}

#[test]
fn data_over_the_limit_is_2() {
    let world = World::new();
    let huge = format!("\"{}\"", "x".repeat(16 * 1024 * 1024));
    world.feed(&["put", "a", "-"], &huge).exit(2).says("error[");
    world.feed(&["put", "a", "-"], &huge[..huge.len() / 2]).exit(2).says("error[bad-json]");
    let large = format!("\"{}\"", "x".repeat(15 * 1024 * 1024));
    world.feed(&["put", "a", "-"], &large).ok();
    assert_eq!(world.run(&["get", "a", "--raw"]).ok().stdout.len(), large.len());
}

#[test]
fn absent_is_3_with_names_like_it() {
    let world = World::new();
    world.run(&["put", "part-42", "1"]).ok();
    for command in ["get", "log", "verify"] {
        world.run(&[command, "part-43"]).exit(3).says("error[not-found]").says("hint: similar names: part-42");
    }
    world.run(&["diff", "Part-42", "1", "1"]).exit(3).says("part-42");
    world.run(&["show", "00000000"]).exit(3);
    world.run(&["show", "zz"]).exit(2);
    world.run(&["get", "nothing-like-it"]).exit(3).says("hint: thingdb ls");
}

#[test]
fn a_ledger_that_was_set_back_is_4() {
    let world = World::new();
    world.run(&["put", "a", "1"]).ok();
    world.shell("cp -R db older").ok();
    world.run(&["put", "a", "2"]).ok();
    world.run(&["checkpoint", "-o", "kept"]).ok();

    // The whole directory: only the checkpoint that was kept elsewhere shows it.
    world.run(&["-d", "older", "verify"]).ok();
    let report =
        world.run(&["-d", "older", "verify", "--checkpoint", "kept"]).exit(4).says("error[not-verified]").json();
    assert_eq!((report["ok"].as_bool(), report["problems"][0]["verdict"].as_str()), (Some(false), Some("truncated")));

    // All but the node's own checkpoint: it shows at once, and nothing can be
    // written.
    fs::copy(world.path("db/checkpoint"), world.path("older/checkpoint")).unwrap();
    let got = world.run(&["-d", "older", "get", "a"]).ok().says("warning[truncated]");
    assert_eq!(got.json()["data"], 1);
    world.run(&["-d", "older", "put", "a", "3"]).exit(4).says("error[rolled-back]");
    world.run(&["-d", "older", "verify"]).exit(4);
    assert_eq!(world.run(&["verify"]).ok().json()["entries"], 2);
}

#[test]
fn a_checkpoint_of_another_node_or_a_forged_one_is_4() {
    let (world, other) = (World::new(), World::new());
    let note = other.run(&["checkpoint"]).ok().stdout;
    world.feed(&["verify", "--checkpoint", "-"], &note).exit(4).says("error[other-node]");
    let own = world.run(&["checkpoint"]).ok().stdout.replacen("\n0\n", "\n1\n", 1);
    world.feed(&["verify", "--checkpoint", "-"], own).exit(4);
    world.feed(&["verify", "--checkpoint", "-"], "nonsense").exit(2);
}

#[test]
fn no_database_is_10_before_any_question() {
    let world = World::empty();
    world.run(&["get", "a"]).exit(10).says("error[no-database]").says("hint: thingdb init");
    fs::create_dir(world.path("db")).unwrap();
    world.run(&["get", "a"]).exit(10);
    world.run(&["-d", "passphrase", "get", "a"]).exit(10);
}

#[test]
fn locked_is_11() {
    let world = World::new();
    let db = Options::new().open(world.path("db"), &Passphrase::new(CANARY)).unwrap();
    world.run(&["get", "a"]).exit(11).says("error[locked]");
    db.close().unwrap();
    world.run(&["ls"]).ok();
}

#[test]
fn a_wrong_passphrase_is_12_and_changes_nothing() {
    let world = World::new();
    world.write("wrong", "another passphrase");
    for command in [&["get", "a"][..], &["verify"], &["put", "a", "1"], &["passwd", "--new-passphrase-file", "wrong"]] {
        world.run(&[command, &["--passphrase-file", "wrong"]].concat()).exit(12).says("error[wrong-passphrase]");
    }
    assert_eq!(world.run(&["stats"]).ok().json()["entries"], 0);
}

#[test]
fn a_damaged_keyring_is_4_and_not_12() {
    let world = World::new();
    let mut keyring = fs::read(world.path("db/keyring")).unwrap();
    keyring[100] ^= 1;
    fs::write(world.path("db/keyring"), &keyring).unwrap();
    // One of its two files is enough.
    world.run(&["ls"]).ok().says("warning[keyring]").says("made anew from the other file");
    assert_eq!(world.run(&["ls"]).ok().stderr, "");
    for name in ["keyring", "keyring.copy"] {
        fs::write(world.path("db").join(name), &keyring).unwrap();
    }
    world.run(&["get", "a"]).exit(4).says("error[damaged]");
}

#[test]
fn newer_versions_are_15() {
    let world = World::new();
    let version = fs::read(world.path("db/VERSION")).unwrap();
    let text = String::from_utf8(version.clone()).unwrap();
    let known: u64 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    fs::write(world.path("db/VERSION"), format!("thingdb {}\n", known + 1)).unwrap();
    world.run(&["ls"]).exit(15).says("error[newer-version]");
    // Of before the first release.
    fs::write(world.path("db/VERSION"), "thingdb 1\n").unwrap();
    world.run(&["ls"]).exit(15).says("error[older-version]").says("hint: with the thingdb that wrote it");
    fs::write(world.path("db/VERSION"), version).unwrap();
    world.run(&["ls"]).ok();

    // The keyring: its version follows the magic of 16 bytes, its last 32 bytes
    // are the hash of the others.
    let mut keyring = fs::read(world.path("db/keyring")).unwrap();
    keyring[16] += 1;
    let body = keyring.len() - 32;
    let hash = Hash::of(&keyring[..body]);
    keyring[body..].copy_from_slice(hash.as_bytes());
    fs::write(world.path("db/keyring"), keyring).unwrap();
    world.run(&["ls"]).exit(15).says("error[newer-version]");
}

#[test]
fn an_unwritable_output_is_1_and_a_full_one_16() {
    let world = World::new();
    world.run(&["put", "a", "1"]).ok();
    world.run(&["export", "-o", "no/such/dir/file"]).exit(2);
    world.run(&["export", "-o", "."]).exit(1);
    if fs::metadata("/dev/full").is_err() {
        return super::world::skip("there is no /dev/full");
    }
    world.shell("thingdb log a > /dev/full").exit(16).says("error[disk-full]");
    world.shell("thingdb export > /dev/full").exit(16);
    world.shell("thingdb help exit-codes > /dev/full").exit(16);
    world.shell("thingdb --help > /dev/full").exit(16);
}
