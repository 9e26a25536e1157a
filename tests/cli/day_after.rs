//! The day after: a file of the database is lost or damaged, and what the program says
//! is followed to the letter until every entry is back. No command ends with 0 and
//! fewer entries, and no hint leads nowhere.
//!
//! Each file is damaged in one way; with `THINGDB_TEST_ROUNDS` above 1 in every way.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use thingdb::{Db, KdfChoice, Options, Passphrase};

use super::world::{Answer, CANARY, World};

/// Entries of the database.
const ENTRIES: u64 = BACKED_UP + 5;

/// Entries that were there when it was backed up: seven and those of [`furnish`].
const BACKED_UP: u64 = 7 + 6;

/// Every kind of file that a database can have, by how its name begins; sockets and what
/// only a crash leaves aside.
const KINDS: [&str; 14] = [
    "LOCK",
    "VERSION",
    "checkpoint",
    "checkpoint.former-",
    "evidence/",
    "journal/0",
    "keyring",
    "keyring.copy",
    "last-backup",
    "reserve",
    "store/conf",
    "store/db",
    "store/left",
    "store/snap.",
];

/// What gives a database the rows and files that not each one has: an erasure, a large
/// payload, a former node key, and evidence against a peer.
fn furnish(world: &World) {
    world.run(&["put", "gone", "1"]).ok();
    world.run(&["erase", "gone", "--all", "--reason", "asked for", "--yes"]).ok();
    world.run(&["put", "large", &format!("\"{}\"", "y".repeat(20_000))]).ok();
    world.run(&["new-node-key", "--yes"]).ok();
    world.run(&["-d", "other", "init", "--actor", "bob"]).ok();
    let card = world.run(&["-d", "other", "card"]).ok().stdout;
    world.write("other.card", card);
    world.run(&["peer", "add", "other", "@other.card", "--yes"]).ok();
    world.run(&["-d", "other", "put", "their", "1"]).ok();
    world.shell("cp -R other twin").ok();
    for (dir, data, exit) in [("other", "2", 0), ("twin", "3", 4)] {
        world.run(&["-d", dir, "put", "their", data]).ok();
        let stream = world.run(&["-d", dir, "export"]).ok().stdout;
        world.feed(&["import"], stream).exit(exit);
    }
    assert_eq!(fs::read_dir(world.path("db/evidence")).unwrap().count(), 1);
    world.shell("rm -r other twin").ok();
}

const HOW: [&str; 4] = ["deleted", "with a zeroed head", "cut in half", "with a flipped bit"];

/// A database that was closed, with all kinds of files, a journal of several of them, and a
/// backup of the first entries.
fn world(options: &Options) -> World {
    let world = World::in_memory();
    let passphrase = Passphrase::new(CANARY);
    options.clone().kdf(KdfChoice::weakest()).create(world.path("db"), &passphrase).unwrap().close().unwrap();
    furnish(&world);
    let db = Options::new().open(world.path("db"), &passphrase).unwrap();
    for n in 0..12 {
        db.put(&format!("thing {}", n % 5), &format!("[{n},\"{}\"]", "x".repeat(200))).unwrap();
        if n % 4 == 3 {
            db.compact().unwrap();
        }
        if n == 6 {
            db.backup(world.path("backup")).unwrap();
        }
    }
    db.close().unwrap();
    // It has a snapshot of its storage then.
    Options::new().open(world.path("db"), &passphrase).unwrap().close().unwrap();
    world
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        put_in_place(&path, &to);
    }
}

/// Copies a file, or a directory.
fn put_in_place(from: &Path, to: &Path) {
    if from.is_dir() {
        copy(from, to);
    } else {
        fs::copy(from, to).unwrap();
    }
}

/// The files below a directory, by their names in it.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.push(path.strip_prefix(dir).unwrap().to_owned());
        }
    }
    found.sort();
    found
}

/// Damages a file; not one in which there is nothing to damage.
fn damage(path: &Path, how: &str) -> bool {
    let mut bytes = fs::read(path).unwrap();
    let len = bytes.len();
    match how {
        "deleted" => {
            fs::remove_file(path).unwrap();
            return true;
        }
        _ if len == 0 => return false,
        "with a zeroed head" => bytes[..len.min(4096)].fill(0),
        "cut in half" => bytes.truncate(len / 2),
        // In the first frame of a file of the journal.
        _ => bytes[if len > 4300 { 4300 } else { len / 2 }] ^= 4,
    }
    fs::write(path, bytes).unwrap();
    true
}

/// Every file with every way to damage it, or with one of them.
fn cases(files: Vec<PathBuf>) -> Vec<(PathBuf, &'static str)> {
    let is_all = std::env::var("THINGDB_TEST_ROUNDS").is_ok_and(|rounds| rounds.parse::<u64>().is_ok_and(|n| n > 1));
    let named = |(file, how): &(PathBuf, &str)| println!("{} {how}", file.display());
    let some = |at: usize| if is_all { 0..HOW.len() } else { at % HOW.len()..at % HOW.len() + 1 };
    let cases = files.into_iter().enumerate();
    cases.flat_map(|(at, file)| some(at).map(move |how| (file.clone(), HOW[how]))).inspect(named).collect()
}

/// The command that a hint begins with, if it is one that can be run as it stands.
fn command_of(hint: &str) -> Option<String> {
    let command = hint.split([',', ';']).next()?.trim();
    let is_whole = !command.split(' ').any(|word| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase()));
    (command.starts_with("thingdb ") && is_whole).then(|| command.to_owned())
}

/// The commands that an answer proposes: of `doctor`'s list those of what failed.
fn proposed(answer: &Answer) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut has_failed = false;
    for line in answer.stdout.lines() {
        has_failed = if line.starts_with("      hint: ") { has_failed } else { line.starts_with("FAIL") };
        commands.extend(line.strip_prefix("      hint: ").filter(|_| has_failed).and_then(command_of));
    }
    commands.extend(answer.stderr.lines().filter_map(|line| line.strip_prefix("hint: ")).filter_map(command_of));
    commands
}

/// What is left of a damage when everything that was proposed is done.
#[derive(Debug, PartialEq)]
enum End {
    Whole,
    /// Entries are lost, and are named.
    Named,
}

/// Does what the program says about the database in `dir` until it verifies.
fn follow(world: &World, dir: &str, what: &str) -> End {
    let mut dir = dir.to_owned();
    let mut left: VecDeque<String> = VecDeque::new();
    let mut done: Vec<String> = Vec::new();
    let mut named = false;
    for _ in 0..12 {
        // Lists first, as people do.
        let listed = world.run(&["-d", &dir, "ls"]);
        let entries: u64 = listed.lines().iter().map(|thing| thing["entries"].as_u64().unwrap()).sum();
        assert!(
            named || listed.code != 0 || entries == ENTRIES,
            "{what}: ls ends with 0 and {entries} entries: {listed:?}"
        );
        let verified = world.run(&["-d", &dir, "verify", "--json"]);
        if verified.code == 0 && named {
            return End::Named;
        }
        if verified.code == 0 {
            assert_eq!(verified.json()["entries"], ENTRIES, "{what}: verify ends with 0: {verified:?}");
            let counted = world.run(&["-d", &dir, "stats", "--json"]).ok().json();
            assert_eq!(counted["entries"], ENTRIES, "{what}");
            return End::Whole;
        }
        for command in proposed(&listed).into_iter().chain(proposed_in_json(&verified)) {
            if !left.contains(&command) && !done.contains(&command) {
                left.push_back(command);
            }
        }
        let Some(command) = left.pop_front() else {
            assert!(named, "{what}: nothing more is proposed after {done:#?}: {listed:?} {verified:?}");
            return End::Named;
        };
        let answer = world.shell(&format!("unset THINGDB_DIR; {command} --format table"));
        named |= answer.code == 6 && answer.stderr.contains("missing");
        for command in proposed(&answer).into_iter().rev() {
            if !left.contains(&command) && !done.contains(&command) {
                left.push_front(command);
            }
        }
        // What is made anew is looked at from then on.
        let words: Vec<&str> = command.split(' ').collect();
        if let Some(at) = words.iter().position(|word| *word == "--out")
            && world.path(words[at + 1]).exists()
        {
            dir = words[at + 1].to_owned();
            left.clear();
        }
        done.push(command);
    }
    panic!("{what}: it goes round in circles: {done:#?}");
}

/// The same of an answer whose remarks are JSON.
fn proposed_in_json(answer: &Answer) -> Vec<String> {
    let said = answer.stderr.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let hints = said.filter_map(|line| line["error"]["hint"].as_str().map(str::to_owned));
    hints.flat_map(|hints| hints.lines().filter_map(command_of).collect::<Vec<_>>()).collect()
}

#[test]
fn whichever_file_is_lost_everything_comes_back_by_what_is_said() {
    let world = world(&Options::new());
    let all = files(&world.path("db"));
    for kind in KINDS {
        let is_one = |file: &PathBuf| {
            let name = file.to_str().unwrap();
            name == kind || (kind.ends_with(['/', '.', '-', '0']) && name.starts_with(kind))
        };
        assert!(all.iter().any(is_one), "{kind} is not among {all:?}");
    }
    for (file, how) in cases(all) {
        copy(&world.path("db"), &world.path("x"));
        let what = format!("{} {how}", file.display());
        if damage(&world.path("x").join(&file), how) {
            assert_eq!(follow(&world, "x", &what), End::Whole, "{what}");
        }
        let _ = fs::remove_dir_all(world.path("x.salvaged"));
    }
}

/// What no single file does: the backup has the rest.
#[test]
fn what_both_copies_have_lost_comes_from_the_backup() {
    let world = world(&Options::new());
    for lost in [&["keyring", "keyring.copy"][..], &["store", "journal/00000000000000000001"], &["journal", "store"]] {
        copy(&world.path("db"), &world.path("x"));
        for name in lost {
            let path = world.path("x").join(name);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        // The backup is older than the last entries.
        let end = follow(&world, "x", &format!("{lost:?}"));
        assert_eq!(end, if lost.contains(&"journal") { End::Named } else { End::Whole }, "{lost:?}");
        let _ = fs::remove_dir_all(world.path("x.salvaged"));
    }
}

/// The store is the only whole copy then, and the backup and the journal together are
/// another.
#[test]
fn a_recent_journal_and_the_backup_have_everything() {
    let world = world(&Options::new().journal(thingdb::Keep::Recent));
    let of_entries = |file: &PathBuf| file.starts_with("store") || file.starts_with("journal");
    for (file, how) in cases(files(&world.path("db")).into_iter().filter(of_entries).collect()) {
        copy(&world.path("db"), &world.path("x"));
        let what = format!("recent: {} {how}", file.display());
        if damage(&world.path("x").join(&file), how) {
            assert_eq!(follow(&world, "x", &what), End::Whole, "{what}");
        }
        let _ = fs::remove_dir_all(world.path("x.salvaged"));
    }
}

/// After a kill the newest entries may be in the journal only: if that is damaged, what
/// is lost is named.
#[test]
fn after_a_kill_everything_comes_back_or_is_named() {
    let world = world(&Options::new());
    for (file, how) in [
        ("store/db", "cut in half"),
        ("store/db", "with a flipped bit"),
        ("store/left", "deleted"),
        ("keyring", "deleted"),
        ("checkpoint", "cut in half"),
        ("journal/00000000000000000001", "deleted"),
    ] {
        copy(&world.path("db"), &world.path("x"));
        // Killed where it lies: a copy is known as one.
        let mut server = world.thingdb(&["-d", "x", "serve"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stderr.as_mut().unwrap()), &mut said).unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
        assert!(damage(&world.path("x").join(file), how));
        assert_eq!(follow(&world, "x", &format!("killed, {file} {how}")), End::Whole);
        let _ = fs::remove_dir_all(world.path("x.salvaged"));
    }
}

/// A damaged file of the backup is named or does not matter; what is said mends it, and
/// what is restored is all that it had.
#[test]
fn a_backup_of_which_a_file_is_lost_is_mended_by_what_is_said() {
    let world = world(&Options::new());
    for (file, how) in cases(files(&world.path("backup"))) {
        copy(&world.path("backup"), &world.path("b"));
        let _ = fs::remove_dir_all(world.path("new"));
        let what = format!("{} {how}", file.display());
        if !damage(&world.path("b").join(&file), how) {
            continue;
        }
        let verified = world.run(&["backup", "verify", "b"]);
        let restored = world.run(&["restore", "b", "new"]);
        assert!(restored.code != 0 || restored.json()["entries"] == BACKED_UP, "{what}: {restored:?}");
        if verified.code != 0 {
            assert!(!verified.stderr.contains("error[unexpected]"), "{what}: {verified:?}");
            let commands = proposed(&verified);
            let [command] = &commands[..] else { panic!("{what}: {verified:?}") };
            world.shell(command).ok();
            let mended = world.run(&["backup", "verify", "b"]).exit(0).json();
            assert_eq!(mended["entries"], ENTRIES, "{what}");
        } else {
            assert_eq!(verified.json()["entries"], BACKED_UP, "{what}: {verified:?}");
        }
        if restored.code != 0 {
            assert!(!restored.stderr.contains("error[unexpected]"), "{what}: {restored:?}");
            assert!(restored.stderr.contains("hint: "), "{what}: {restored:?}");
            let _ = fs::remove_dir_all(world.path("new"));
            world.run(&["backup", "b", "--check"]).ok();
            assert_eq!(world.run(&["restore", "b", "new"]).ok().json()["entries"], ENTRIES, "{what}");
        }
        // The first use has nothing to say.
        let used = world.run(&["-d", "new", "ls"]).ok();
        assert_eq!(used.stderr, "", "{what}");
    }
}

#[test]
fn a_restore_that_was_broken_off_is_repeated_by_every_hint() {
    // Behind what the journal was compacted up to.
    const AT: &str = "11";
    let world = world(&Options::new());
    // To what was before, nothing leads back: it says so, and what there is.
    world.run(&["restore", "backup", "before", "--at", "3"]).exit(2).says("error[compacted]").says("without --at");
    assert!(!world.path("before/keyring").exists());
    let backup = world.path("backup");
    world.run(&["restore", "backup", "whole", "--at", AT]).ok();
    let all = ["VERSION", "journal", "checkpoint", "keyring.copy", "keyring", "store"];
    for (with, opened) in [(&[][..], ""), (&all[..2], ""), (&all[..5], ""), (&all[..5], "opened\n"), (&all, "opened\n")]
    {
        let _ = fs::remove_dir_all(world.path("x"));
        fs::create_dir(world.path("x")).unwrap();
        fs::write(
            world.path("x/RESTORE"),
            format!("thingdb restore 1\nentries {AT}\nfrom {}\n{opened}", backup.display()),
        )
        .unwrap();
        for name in with {
            let (from, to) = (world.path("whole").join(name), world.path("x").join(name));
            put_in_place(&from, &to);
        }
        let hint = format!("hint: thingdb restore {} x --at {AT}", backup.display());
        for args in [
            &["ls"][..],
            &["--read-only", "ls"],
            &["verify"],
            &["doctor"],
            &["init"],
            &["init", "--if-absent"],
            &["serve"],
            &["put", "a", "1"],
            &["backup", "other"],
            &["keyring", "import", "whole/keyring"],
            &["salvage", "--out", "other"],
        ] {
            let refused = world.run(&[&["-d", "x"], args].concat()).exit(10);
            assert!(refused.says("error[restore-unfinished]").stderr.contains(&hint), "{with:?} {args:?}");
        }
        world.shell(hint.trim_start_matches("hint: ")).ok();
        assert_eq!(world.run(&["-d", "x", "stats", "--json"]).ok().json()["entries"].to_string(), AT);
        world.run(&["-d", "x", "verify"]).ok();
        // Nobody makes a database where evidence lies.
        assert_eq!(Db::strangers_in(world.path("x")).unwrap(), ["evidence"]);
    }
}
