//! Where passphrases come from, and that they go nowhere else.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::world::{Answer, CANARY, WEAK, World, skip};

/// Runs `thingdb` without the passphrase file of the environment.
fn bare(world: &World, args: &[&str], env: &[(&str, &str)]) -> Answer {
    let mut command = world.thingdb(args);
    command.env_remove("THINGDB_PASSPHRASE_FILE").envs(env.iter().copied());
    Answer::of(command)
}

#[test]
fn every_source_opens_the_database() {
    let world = World::new();
    let file = world.path("passphrase");
    let file = file.to_str().unwrap();
    bare(&world, &["ls", "--passphrase-file", file], &[]).ok();
    bare(&world, &["ls", "--passphrase-command", "cat passphrase"], &[]).ok();
    bare(&world, &["ls"], &[("THINGDB_PASSPHRASE_FILE", file)]).ok();
    bare(&world, &["ls"], &[("THINGDB_PASSPHRASE_COMMAND", "cat passphrase")]).ok();
    bare(&world, &["ls"], &[("THINGDB_PASSPHRASE", CANARY)]).ok();
    fs::create_dir(world.path("credentials")).unwrap();
    fs::copy(file, world.path("credentials/thingdb-passphrase")).unwrap();
    bare(&world, &["ls"], &[("CREDENTIALS_DIRECTORY", world.path("credentials").to_str().unwrap())]).ok();
    world.shell("unset THINGDB_PASSPHRASE_FILE; thingdb ls --passphrase-fd 3 3< passphrase").ok();
    world.shell("unset THINGDB_PASSPHRASE_FILE; cat passphrase | thingdb ls --passphrase-fd 0").ok();
}

#[test]
fn options_win_over_the_environment_and_files_over_the_variable() {
    let world = World::new();
    world.write("wrong", "another passphrase");
    let right = world.path("passphrase");
    let right = right.to_str().unwrap();
    bare(&world, &["ls", "--passphrase-file", right], &[("THINGDB_PASSPHRASE_FILE", "wrong")]).ok();
    bare(&world, &["ls"], &[("THINGDB_PASSPHRASE_FILE", right), ("THINGDB_PASSPHRASE", "another passphrase")]).ok();
    bare(&world, &["ls", "--passphrase-command", "cat wrong"], &[("THINGDB_PASSPHRASE", CANARY)]).exit(12);
    bare(&world, &["ls", "--passphrase-file", right, "--passphrase-fd", "0"], &[]).exit(2);
}

#[test]
fn sources_that_give_nothing_say_so() {
    let world = World::new();
    world.write("empty", "\n");
    world.run(&["ls", "--passphrase-file", "empty"]).exit(1).says("the passphrase is empty");
    world.run(&["ls", "--passphrase-file", "missing"]).exit(2).says("missing");
    world.run(&["ls", "--passphrase-command", "exit 3"]).exit(1).says("exit status: 3");
    world.run(&["ls", "--passphrase-fd", "77"]).exit(2).says("file descriptor 77");
    bare(&world, &["ls", "--no-input"], &[]).exit(2).says("error[no-passphrase]").says("--passphrase-file");
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    let world = World::new();
    if Command::new("setsid").arg("--version").output().is_err() {
        return skip("there is no setsid to leave the terminal with");
    }
    let mut command = world.command("setsid");
    command.args(["--wait", env!("CARGO_BIN_EXE_thingdb"), "ls"]).env_remove("THINGDB_PASSPHRASE_FILE");
    Answer::of(command).exit(2).says("error[no-passphrase]").says("no terminal");
}

#[test]
fn one_line_ending_does_not_count() {
    let world = World::empty();
    world.write("unix", format!("{CANARY}\n"));
    world.write("dos", format!("{CANARY}\r\n"));
    world.write("none", CANARY);
    world.write("two", format!("{CANARY}\n\n"));
    world.run(&[&["init", "--passphrase-file", "none"][..], &WEAK].concat()).ok();
    for same in ["unix", "dos", "none"] {
        world.run(&["ls", "--passphrase-file", same]).ok();
    }
    world.run(&["ls", "--passphrase-file", "two"]).exit(12);
}

#[test]
fn short_passphrases_are_refused_before_anything_is_made() {
    let world = World::empty();
    world.write("short", "seven!!");
    world.run(&[&["init", "--passphrase-file", "short"][..], &WEAK].concat()).exit(2).says("at least 8");
    assert!(!world.path("db").exists());
}

#[cfg(unix)]
#[test]
fn a_passphrase_file_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    assert_eq!(world.run(&["ls"]).ok().stderr, "");
    fs::set_permissions(world.path("passphrase"), fs::Permissions::from_mode(0o644)).unwrap();
    world.run(&["ls", "-q"]).ok().says("warning[passphrase-file]").says("hint: chmod 600");
}

#[test]
fn passwd_changes_the_passphrase_and_no_entry() {
    let world = World::new();
    world.run(&["put", "a", "1"]).ok();
    world.write("new", "an entirely new one\n");
    let before = world.run(&["checkpoint"]).ok().stdout;
    let changed = world.run(&["passwd", "--new-passphrase-file", "new"]).ok().json();
    assert_eq!(changed["changed"], true);
    world.run(&["ls"]).exit(12);
    world.run(&["verify", "--passphrase-file", "new"]).ok();
    assert_eq!(world.run(&["checkpoint", "--passphrase-file", "new"]).ok().stdout, before);
    world.shell("thingdb passwd --passphrase-file new --new-passphrase-fd 3 3< passphrase").ok();
    world.run(&["ls"]).ok();
    world.write("short", "short");
    world.run(&["passwd", "--new-passphrase-file", "short"]).exit(2);
    world.run(&["ls"]).ok();
}

#[test]
fn the_recovery_key_opens_when_the_passphrase_is_lost() {
    let world = World::new();
    world.run(&["put", "a", "1"]).ok();
    let first = world.run(&["recovery-key"]).ok().stdout;
    let key = world.run(&["recovery-key", "--json"]).ok().json()["recovery_key"].as_str().unwrap().to_owned();
    world.write("first", first);
    world.write("key", format!("{}\n", key.to_lowercase()));
    world.write("new", "an entirely new one\n");
    assert_eq!(world.run(&["get", "a", "--field", "", "--recovery-key-file", "key"]).ok().stdout, "1\n");
    world.run(&["ls", "--recovery-key-file", "first"]).exit(12).says("wrong recovery key");
    world.run(&["ls", "--recovery-key-file", "new"]).exit(2);
    world.run(&["passwd", "--recovery-key-file", "key", "--new-passphrase-file", "new"]).ok();
    world.run(&["ls", "--passphrase-file", "new"]).ok();
    world.run(&["ls"]).exit(12);
    world.run(&["ls", "--recovery-key-file", "key"]).ok();
}

#[cfg(target_os = "linux")]
#[test]
fn the_passphrase_is_in_no_argument_and_no_environment() {
    let world = World::new();
    let mut child = world
        .thingdb(&["append", "--passphrase-file", "passphrase"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // More than a pipe holds: once it is written, the program has begun to
    // read, so it has the passphrase.
    let lines: String = (0..20_000).map(|n| format!("{{\"thing\":\"a\",\"data\":{n}}}\n")).collect();
    input.write_all(lines.as_bytes()).unwrap();
    let of_process = |name: &str| fs::read(format!("/proc/{}/{name}", child.id())).unwrap();
    for place in ["cmdline", "environ", "comm"] {
        let bytes = of_process(place);
        assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{place}");
    }
    let listed = Command::new("ps").args(["-ww", "-e", "-o", "args"]).output();
    if let Ok(listed) = listed {
        assert!(!String::from_utf8_lossy(&listed.stdout).contains(CANARY));
    }
    drop(input);
    Answer::wait(child).ok();
}

#[test]
fn the_files_of_the_database_hold_no_secret_in_clear() {
    let world = World::empty();
    world.run(&[&["init", "--actor", "canary-actor"][..], &WEAK].concat()).ok();
    world.run(&["put", "canary-thing", "{\"canary-data\":\"canary-value\"}", "--action", "canary-action"]).ok();
    let mut waiting = vec![world.path("db")];
    let mut files = 0;
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            files += 1;
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(6).any(|window| window == b"canary"), "{}", path.display());
        }
    }
    assert!(files > 3);
}
