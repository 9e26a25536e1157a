//! The small files of a database, damaged one by one: the command says what is
//! wrong and what to do, and whoever does that has everything again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::world::{WEAK, World, skip};

/// A damage of a file.
type Damage = (&'static str, fn(&Path, &[u8]));

const DAMAGES: [Damage; 6] = [
    ("a bit", |path, whole| {
        let mut bytes = whole.to_vec();
        bytes[whole.len() / 2] ^= 4;
        fs::write(path, bytes).unwrap();
    }),
    ("zeroed", |path, whole| fs::write(path, vec![0; whole.len()]).unwrap()),
    ("cut", |path, whole| fs::write(path, &whole[..whole.len() / 2]).unwrap()),
    ("empty", |path, _| fs::write(path, b"").unwrap()),
    ("longer", |path, whole| fs::write(path, [whole, b"x"].concat()).unwrap()),
    ("gone", |path, _| fs::remove_file(path).unwrap()),
];

fn checks(world: &World, args: &[&str]) -> Vec<Value> {
    let answer = world.run(&[&["doctor", "--json"][..], args].concat());
    let findings: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{answer:?}"));
    findings["checks"].as_array().unwrap().clone()
}

fn found(checks: &[Value], check: &str, state: &str) -> bool {
    checks.iter().any(|found| found["check"] == check && found["state"] == state)
}

#[test]
fn a_small_file_that_is_damaged_is_named_and_made_anew() {
    let world = World::new();
    world.run(&["put", "lamp", "1"]).ok();
    for name in ["keyring", "keyring.copy", "VERSION", "checkpoint", "LOCK", "reserve"] {
        let path = world.path("db").join(name);
        let whole = fs::read(&path).unwrap();
        for (what, damage) in DAMAGES {
            if whole.is_empty() && what != "gone" {
                continue;
            }
            damage(&path, &whole);
            let found = checks(&world, &["--fix"]);
            let word = match name {
                "keyring" | "keyring.copy" => "keyring",
                "VERSION" => "repaired",
                "checkpoint" => "checkpoint",
                _ => "open",
            };
            let is_named = |check: &Value| check["check"] == word && (word == "open" || check["state"] != "ok");
            assert!(found.iter().any(is_named), "{name} {what}: {found:?}");
            // Afterwards all is as it was, and nothing more is said of it.
            let answer = world.run(&["get", "lamp", "--field", ""]).ok();
            assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("1\n", ""), "{name} {what}");
            world.run(&["verify"]).ok();
            if !matches!(name, "LOCK" | "reserve" | "checkpoint") {
                assert!(fs::read(&path).unwrap() == whole, "{name} {what}: it is not what it was");
            }
            for entry in fs::read_dir(world.path("db")).unwrap() {
                let entry = entry.unwrap();
                if entry.file_name().to_string_lossy().contains(".aside-") {
                    fs::remove_file(entry.path()).unwrap();
                }
            }
        }
    }
}

#[test]
fn a_kept_keyring_is_put_back_when_both_files_are_lost() {
    let world = World::new();
    world.run(&["put", "lamp", "1"]).ok();
    world.run(&["recovery-key", "-o", "recovery"]).ok();
    let told = world.run(&["keyring", "export", "-o", "kept", "--json"]).ok().json();
    assert_eq!(told["recovery_key"], json!(true));
    let mode = fs::metadata(world.path("kept")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    world.run(&["keyring", "export", "-o", "kept"]).exit(2).says("already-exists");
    // It is there already.
    let same = world.run(&["keyring", "import", "kept", "--json"]).ok().json();
    assert_eq!(same["changed"], false);

    let files = ["keyring", "keyring.copy"].map(|name| world.path("db").join(name));
    for (what, damage) in DAMAGES {
        for path in &files {
            let whole = fs::read(path).unwrap();
            damage(path, &whole);
        }
        let answer = world.run(&["get", "lamp"]).exit(4).says("hint: thingdb keyring import FILE");
        assert!(answer.stderr.contains("keyring"), "{what}: {answer:?}");
        let failed = checks(&world, &[]);
        assert!(found(&failed, "keyring", "fail"), "{what}: {failed:?}");
        // Nobody makes another database over it.
        world.run(&[&["init"][..], &WEAK].concat()).exit(if what == "gone" { 4 } else { 2 });
        let args: &[&str] = if what == "gone" { &["--recovery-key-file", "recovery"] } else { &[] };
        let put_back = world.run(&[&["keyring", "import", "kept", "--json"][..], args].concat()).ok().json();
        assert_eq!(put_back["changed"], true, "{what}");
        assert_eq!(put_back["aside"].as_array().map_or(0, Vec::len), if what == "gone" { 0 } else { 2 }, "{what}");
        assert_eq!(world.run(&["get", "lamp", "--field", ""]).ok().stdout, "1\n");
        world.run(&["verify"]).ok();
    }
}

#[test]
fn a_kept_keyring_does_not_replace_a_newer_or_another_one_unless_it_is_said() {
    let world = World::new();
    world.run(&["keyring", "export", "-o", "old"]).ok();
    world.run(&["actor", "new", "press"]).ok();
    let newest = fs::read(world.path("db/keyring")).unwrap();
    world.run(&["keyring", "import", "old"]).exit(5).says("error[keyring-present]").says("--replace");
    assert_eq!(fs::read(world.path("db/keyring")).unwrap(), newest);
    let told = world.run(&["keyring", "import", "old", "--replace", "--json"]).ok().json();
    let aside = told["aside"].as_array().unwrap();
    assert_eq!(fs::read(aside[0].as_str().unwrap()).unwrap(), newest);
    // The newer one goes back without a question.
    fs::write(world.path("newest"), &newest).unwrap();
    world.run(&["keyring", "import", "newest"]).ok();
    world.run(&["put", "lamp", "1", "--actor", "press"]).ok();

    world.run(&[&["-d", "other", "init"][..], &WEAK].concat()).ok();
    world.run(&["-d", "other", "keyring", "export", "-o", "others"]).ok();
    world.run(&["keyring", "import", "others"]).exit(5).says("another database");
    // What does not open is not put anywhere.
    fs::write(world.path("wrong"), "not the right one\n").unwrap();
    fs::set_permissions(world.path("wrong"), fs::Permissions::from_mode(0o600)).unwrap();
    world.run(&["keyring", "import", "newest", "--passphrase-file", "wrong"]).exit(12);
    fs::write(world.path("half"), &newest[..100]).unwrap();
    world.run(&["keyring", "import", "half"]).exit(4).says("half is damaged");
    world.run(&["-d", "nowhere", "keyring", "import", "newest"]).exit(10);
    world.run(&["-d", "nowhere", "keyring", "export", "-o", "none"]).exit(10);
    assert!(!world.path("none").exists());

    // Also where both files are lost, it is not put in their place.
    for name in ["keyring", "keyring.copy"] {
        fs::remove_file(world.path("db").join(name)).unwrap();
    }
    world.run(&["keyring", "import", "others"]).exit(5).says("error[other-keyring]").says("of the node");
    fs::remove_file(world.path("db/checkpoint")).unwrap();
    world.run(&["keyring", "import", "others"]).exit(5);
    assert!(!world.path("db/keyring").exists());
    world.run(&["keyring", "import", "newest"]).ok();
    world.run(&["doctor", "--fix"]).ok();

    // Said and done: then nothing here opens with it, and nothing is touched.
    world.run(&["keyring", "import", "others", "--replace"]).ok();
    world.run(&["get", "lamp"]).exit(4).says("another database");
    world.run(&["keyring", "import", "newest", "--replace"]).ok();
    world.run(&["verify"]).ok();
}

#[test]
fn doctor_puts_right_what_loses_nothing() {
    let world = World::new();
    world.run(&["put", "lamp", "1"]).ok();
    let half = world.path("db/.checkpoint.4711.0.new");
    fs::write(&half, "half").unwrap();
    fs::set_permissions(world.path("db/keyring"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(world.path("db"), fs::Permissions::from_mode(0o777)).unwrap();
    let before = checks(&world, &[]);
    for check in ["keyring", "directory", "left over"] {
        assert!(found(&before, check, "warn"), "{check}: {before:?}");
    }
    assert!(half.exists());
    let after = checks(&world, &["--fix"]);
    for check in ["keyring", "directory", "left over"] {
        assert!(found(&after, check, "fixed"), "{check}: {after:?}");
    }
    assert!(!half.exists());
    let mode = |name: &str| fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("db/keyring"), mode("db")), (0o600, 0o755));
    let healthy = checks(&world, &[]);
    assert!(found(&healthy, "keyring", "ok") && found(&healthy, "left over", "ok"), "{healthy:?}");
    assert!(!found(&healthy, "directory", "warn"), "{healthy:?}");
}

/// An old keyring has the keys of all entries that were written since: it lacks
/// only what was changed in it.
#[test]
fn an_old_keyring_opens_what_was_written_since() {
    let world = World::new();
    world.run(&["put", "lamp", "1"]).ok();
    world.run(&["keyring", "export", "-o", "old"]).ok();
    world.run(&["actor", "new", "press"]).ok();
    let lines: String = (0..3000).map(|n| format!("{{\"thing\":\"t{}\",\"data\":{n}}}\n", n % 3)).collect();
    world.feed(&["append"], lines).ok();
    for name in ["keyring", "keyring.copy"] {
        fs::remove_file(world.path("db").join(name)).unwrap();
    }
    world.run(&["keyring", "import", "old"]).ok();
    world.run(&["verify"]).ok();
    assert_eq!(world.run(&["get", "t2", "--field", ""]).ok().stdout, "2999\n");
    let whole = world.run(&["export", "-o", "whole.tdbs", "--binary", "--json"]).ok().json();
    assert_eq!(whole["entries"], json!(3001), "{whole}");
    world.run(&["put", "t1", "1"]).ok();
}

/// Killed at each call to the system that changes files, an init can be
/// repeated. It takes its time: every kill is a process that is traced.
#[test]
fn an_init_that_is_killed_at_any_step_can_be_repeated() {
    let world = World::empty();
    let (peer, card) = (World::new(), world.path("peer.card"));
    fs::write(&card, peer.run(&["card"]).ok().stdout).unwrap();
    let to = format!("hq=@{}", card.display());
    let init = [&["init", "--actor", "alice", "--to", &to][..], &WEAK].concat();
    let traced = |call: &str, n: u64| {
        let mut command = world.command("strace");
        let inject = format!("inject={call}:signal=KILL:when={n}");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
        command.arg(env!("CARGO_BIN_EXE_thingdb")).args(&init);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    match traced("fsync", 1).status() {
        Err(problem) => return skip(&format!("strace: {problem}")),
        Ok(status) if status.success() || !world.path("db").exists() => return skip("strace cannot trace here"),
        Ok(_) => fs::remove_dir_all(world.path("db")).unwrap(),
    }
    let mut kills = 0;
    for call in ["mkdir", "fsync", "fdatasync", "rename", "pwrite64"] {
        for n in 1..60 {
            if traced(call, n).status().unwrap().success() {
                fs::remove_dir_all(world.path("db")).unwrap();
                break;
            }
            kills += 1;
            let is_there = ["keyring", "keyring.copy"].iter().any(|name| world.path("db").join(name).exists());
            let again = if n % 2 == 0 { [&init[..], &["--if-absent"]].concat() } else { init.clone() };
            world.run(&again).exit(if is_there && n % 2 == 1 { 2 } else { 0 });
            // Whole, as it was asked for.
            world.run(&["put", "lamp", "1"]).ok();
            let audience = world.run(&["audience"]).ok().stdout;
            assert!(audience.contains("hq"), "{call} {n}: {audience}");
            fs::remove_dir_all(world.path("db")).unwrap();
        }
    }
    println!("{kills} kills");
    assert!(kills > 10, "{kills}");
}
