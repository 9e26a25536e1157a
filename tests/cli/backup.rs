//! `backup`, `restore` and `--read-only`, beside a server and without one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::cli::failing_disk::disk;
use crate::cli::world::{WEAK, World, skip};

/// A process that ends with the test, however that ends.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_backup_is_made_verified_read_and_restored() {
    let world = World::new();
    world.run(&["put", "lamp", "1"]).ok();
    let dest = world.path("backup").display().to_string();
    let new = world.path("new").display().to_string();
    let made = world.run(&["backup", &dest, "--json"]).ok().json();
    assert_eq!(made["missing"].as_array().unwrap().len(), 0);
    assert!(made["copied_bytes"].as_u64().unwrap() > 0);
    world.run(&["put", "lamp", "2"]).ok();
    world.run(&["put", "other", "3"]).ok();
    assert!(world.run(&["backup", &dest, "--format", "table"]).ok().stdout.contains("commits"));
    assert_eq!(world.run(&["backup", &dest, "--json"]).ok().json()["copied_bytes"], 0);
    let verified = world.run(&["backup", "verify", &dest, "--json"]).ok().json();
    assert_eq!((&verified["ok"], &verified["entries"], &verified["checkpoint"]), (&true.into(), &3.into(), &3.into()));
    assert_eq!(verified["database"], "has the same");
    world.run(&["put", "other", "4"]).ok();
    let verified = world.run(&["backup", "verify", &dest]).ok().json();
    assert_eq!(verified["database"], "has the same, and 1 entry since");
    world.run(&["--db", &dest, "get", "lamp"]).exit(2).says("is a backup");
    assert_eq!(world.run(&["--db", &dest, "--read-only", "get", "lamp", "--format", "raw"]).ok().stdout, "2");
    let restored = world.run(&["restore", &dest, &new, "--json"]).ok();
    restored.says("new-node-key");
    world.run(&["restore", &dest, &new]).exit(2).says("is a database already");
    world
        .run(&["restore", &dest, "beyond", "--at", "99999999"])
        .exit(2)
        .says("hint: --at 3 is all that the backup has");
    assert_eq!(world.run(&["--db", &new, "stats", "--json"]).ok().json()["entries"], 3);
    world.run(&["--db", &new, "verify"]).ok();
    let before = world.path("before").display().to_string();
    let restored = world.run(&["restore", &dest, &before, "--at", "1"]).ok();
    restored.says("ends with entry 1, and the node had signed for 3").says("new key");
    assert_eq!(world.run(&["--db", &before, "verify"]).ok().json()["entries"], 1);
    world.run(&["--db", &before, "put", "lamp", "5"]).ok();
    world.run(&["--db", &before, "verify"]).ok();
    world.feed(&["append"], "{\"thing\":\"a\",\"data\":1}\n{\"thing\":\"b\",\"data\":1}\n").ok();
    world.run(&["backup", &dest]).ok();
    let within = world.path("within").display().to_string();
    let restored = world.run(&["restore", &dest, &within, "--at", "5", "--json"]).ok();
    assert_eq!(restored.says("entry 5 was committed at once with those from 5 to 6").json()["entries"], 4);
    let never = world.path("never").display().to_string();
    world.run(&["restore", &dest, &never, "--at", "2001-01-01"]).ok();
    assert_eq!(world.run(&["--db", &never, "--read-only", "stats", "--json"]).ok().json()["entries"], 0);
    world.run(&["restore", &new, &world.path("x").display().to_string()]).exit(10).says("no backup");
    world.run(&["backup", &world.path("db/backup").display().to_string()]).exit(2).says("lies in");
    assert!(world.run(&["doctor", "--format", "table"]).ok().stdout.contains("ok    backup"));
}

/// Everything below the directory of the database: name, times, inode, bytes.
fn snapshot(world: &World) -> Vec<(PathBuf, u64, [i64; 4], Vec<u8>)> {
    let mut found = Vec::new();
    let mut left = vec![world.path("db")];
    while let Some(path) = left.pop() {
        let known = fs::symlink_metadata(&path).unwrap();
        if known.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let bytes = if known.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        found.push((path, known.ino(), [known.mtime(), known.mtime_nsec(), known.ctime(), known.ctime_nsec()], bytes));
    }
    found.sort();
    found
}

#[test]
fn nothing_is_written_with_read_only() {
    let world = World::new();
    world.run(&["put", "lamp", "1"]).ok();
    // There would be something to put right.
    fs::write(world.path("db/.checkpoint.4711.0.new"), "half").unwrap();
    fs::set_permissions(world.path("db/keyring"), fs::Permissions::from_mode(0o644)).unwrap();
    let before = snapshot(&world);
    for args in [&["put", "lamp", "2"][..], &["serve"], &["new-node-key", "--yes"], &["doctor", "--fix"]] {
        world.run(&[&["--read-only"], args].concat()).exit(2).says("--read-only");
    }
    let dest = world.path("backup").display().to_string();
    for args in [
        &["get", "lamp"][..],
        &["log", "lamp"],
        &["ls"],
        &["verify"],
        &["export"],
        &["stats"],
        &["doctor"],
        &["card"],
        &["forks"],
        &["actor", "ls"],
        &["backup", &dest],
        &["backup", "verify", &dest],
        &["keyring", "export", "-o", "kept"],
    ] {
        world.run(&[&["--read-only"], args].concat()).ok();
        assert!(snapshot(&world) == before, "{args:?}");
    }
}

#[test]
fn what_cannot_be_read_from_the_journal_is_read_without_read_only() {
    let world = World::new();
    world.run(&["put", "lamp", "1"]).ok();
    fs::remove_dir_all(world.path("db/journal")).unwrap();
    let answer = world.run(&["--read-only", "get", "lamp"]).exit(4).says("journal is damaged: it is missing");
    answer.says("without --read-only");
    assert!(!world.path("db/journal").exists());
    assert_eq!(world.run(&["get", "lamp", "--format", "raw"]).ok().stdout, "1");
    assert_eq!(world.run(&["--read-only", "get", "lamp", "--format", "raw"]).ok().stdout, "1");
}

#[test]
fn where_nothing_can_be_written_every_command_says_so() {
    let world = World::empty();
    let tmpfs = match disk::Tmpfs::new(&world.path(""), "64m") {
        Ok(tmpfs) => tmpfs,
        Err(reason) => return skip(&reason),
    };
    let db = tmpfs.path().join("db").display().to_string();
    world.run(&[&["-d", &db, "init"][..], &WEAK].concat()).ok();
    world.run(&["-d", &db, "put", "lamp", "1"]).ok();
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(tmpfs.path()).status();
    if !remounted.is_ok_and(|status| status.success()) {
        return skip("it cannot be mounted anew");
    }
    world.write("new", "another passphrase\n");
    fs::set_permissions(world.path("new"), fs::Permissions::from_mode(0o600)).unwrap();
    for args in [
        &["put", "lamp", "2"][..],
        &["serve"],
        &["checkpoint"],
        &["passwd", "--new-passphrase-file", "new"],
        &["actor", "new", "bob"],
        &["new-node-key", "--yes"],
        &["recovery-key", "-o", "recovery"],
    ] {
        let answer = world.run(&[&["-d", &db], args].concat()).exit(2).says("error[read-only-medium]");
        answer.says("hint: mount it so that it can be written");
    }
    assert_eq!(world.run(&["-d", &db, "get", "lamp", "--format", "raw"]).ok().stdout, "1");
    let told = world.run(&["-d", &db, "doctor", "--format", "table"]).ok().stdout;
    assert!(told.contains("warn  medium: nothing can be written"), "{told}");
}

#[test]
fn a_backup_follows_beside_a_server() {
    let world = World::new();
    let mut server = Ended(world.thingdb(&["serve"]).stderr(Stdio::piped()).spawn().unwrap());
    let mut said = String::new();
    BufReader::new(server.0.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
    let dest = world.path("backup").display().to_string();
    let mut watch = world.thingdb(&["backup", &dest, "--watch", "--format", "json"]);
    let mut watch = Ended(watch.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(watch.0.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    for n in 0..3 {
        world.run(&["put", "lamp", &n.to_string()]).ok();
        let shown = loop {
            let line = lines.next().unwrap().unwrap();
            let shown = world.run(&["--db", &dest, "--read-only", "get", "lamp", "--format", "raw"]);
            if shown.code == 0 && shown.stdout == n.to_string() {
                break line;
            }
        };
        assert!(!shown.is_empty());
        assert_eq!(world.run(&["--read-only", "get", "lamp", "--format", "raw"]).ok().stdout, n.to_string());
    }
    assert_eq!(world.run(&["backup", "verify", &dest]).ok().json()["database"], "has the same");
}

#[test]
fn a_backup_that_holds_the_journal_back_for_ever_is_named_and_let_go_of() {
    let world = World::new();
    world.run(&["journal", "recent"]).ok();
    world.write("db/last-backup", "2020-01-01T00:00:00.000000Z 3 /mnt/none\n");
    let told = world.run(&["doctor", "--format", "table"]).stdout;
    let named = "warn  copies: files of the journal are kept for the backup in /mnt/none, which was last gone on with";
    assert!(told.contains(named) && told.contains("thingdb backup forget /mnt/none"), "{told}");
    assert_eq!(world.run(&["backup", "forget", "/mnt/none", "--json"]).ok().json()["forgotten"], true);
    assert_eq!(world.run(&["backup", "forget", "/mnt/none", "--json"]).ok().json()["forgotten"], false);
    assert!(!world.run(&["doctor", "--format", "table"]).stdout.contains("/mnt/none"));
}

#[test]
fn a_place_that_cannot_be_is_named_plainly() {
    let world = World::new();
    world.run(&["put", "lamp", "1"]).ok();
    world.write("file", "text");
    let before = snapshot(&world);
    for inside in ["db", "db/pub", "."] {
        world.run(&["checkpoint", "--publish", inside]).exit(2).says("error[within]");
    }
    for (args, fact) in [
        (&["-d", "other", "checkpoint", "--publish", "db"][..], "db is a database, or a backup of one"),
        (&["checkpoint", "--publish", "file"], "file is a file"),
        (&["verify", "--tiles", "db"], "db is a database"),
        (&["verify", "--tiles", "file"], "file is a file"),
        (&["verify", "--tiles", "none"], "none is no directory"),
        (&["backup", "file"], "file is a file"),
        (&["backup", "none/x/y"], "none/x is no directory"),
    ] {
        let refused = world.run(args).exit(2).says(fact);
        assert!(!refused.stderr.contains("dmesg"), "{args:?}: {refused:?}");
    }
    assert_eq!(snapshot(&world), before);
    world.shell("thingdb prove lamp > /dev/full").exit(16).says("error[disk-full]");
    world.run(&["backup", "b"]).ok();
    fs::create_dir(world.path("unfinished")).unwrap();
    world.write("unfinished/BACKUP", format!("thingdb backup 1\ndatabase {}\n", "0".repeat(32)));
    let refused = world.run(&["restore", "unfinished", "new"]).exit(10).says("is not finished");
    refused.says("hint: thingdb --db DATABASE backup unfinished");
    for keyring in ["db/keyring", "db/keyring.copy"] {
        fs::remove_file(world.path(keyring)).unwrap();
    }
    world.run(&["backup", "b"]).exit(4).says("hint: thingdb keyring import");
}

/// Whoever is second at a directory is refused, whether the first is still at it or not,
/// and disturbs nothing.
#[test]
fn of_two_restores_to_one_directory_one_is_refused() {
    let world = World::new();
    world.feed(&["append"], (0..200).map(|n| format!("{{\"thing\":\"x\",\"data\":{n}}}\n")).collect::<String>()).ok();
    world.run(&["backup", "saved"]).ok();
    // The first one is under way.
    let first = thingdb::Restore::begin(world.path("saved"), world.path("new"), None).unwrap();
    for args in [&["restore", "saved", "new"][..], &["-d", "new", "ls"], &["-d", "new", "init", "--actor", "bob"]] {
        let refused = world.run(&[args, &["--wait", "0"]].concat());
        assert!([10, 11].contains(&refused.code), "{args:?} {refused:?}");
        assert!(refused.stderr.contains("error[") && refused.stderr.contains("hint: "), "{args:?} {refused:?}");
    }
    first.end().unwrap();
    world.run(&["-d", "new", "verify"]).ok().says("");
    assert_eq!(world.run(&["-d", "new", "stats", "--json"]).ok().json()["entries"], 200);
    world.run(&["restore", "saved", "new"]).exit(2).says("is a database already");
    // Both at once, as processes.
    for round in 0..4 {
        let dir = format!("both-{round}");
        let begin = || {
            let mut command = world.thingdb(&["restore", "saved", &dir, "--json"]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        };
        let ended = [begin(), begin()].map(|child| child.wait_with_output().unwrap());
        let codes = ended.each_ref().map(|output| output.status.code().unwrap());
        let told = ended.each_ref().map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
        let (done, refused) = if codes[0] == 0 { (0, 1) } else { (1, 0) };
        assert_eq!(codes[done], 0, "{codes:?} {told:?}");
        assert!([2, 10, 11].contains(&codes[refused]), "{codes:?} {told:?}");
        assert!(told[refused].contains("error"), "{told:?}");
        assert_eq!(world.run(&["-d", &dir, "verify", "--json"]).ok().json()["entries"], 200, "{told:?}");
    }
}
