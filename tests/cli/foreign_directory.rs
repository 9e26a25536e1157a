//! A directory that somebody else made, or that is somebody else's: nothing is
//! opened that leads out of it, and nothing is left in it that its owner could
//! not read.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cli::world::{Answer, World, skip};

const NOBODY: u32 = 65_534;

/// A file that the reader of the directory would not want to lose.
const PRECIOUS: &str = "precious\n";

/// What is put in the place of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trap {
    Link,
    DanglingLink,
    HardLink,
    Pipe,
    Directory,
    Socket,
}

fn set(trap: Trap, at: &Path, victim: &Path) {
    match trap {
        Trap::Link => symlink(victim, at).unwrap(),
        Trap::DanglingLink => symlink(victim.with_extension("absent"), at).unwrap(),
        Trap::HardLink => fs::hard_link(victim, at).unwrap(),
        Trap::Pipe => assert!(Command::new("mkfifo").arg(at).status().unwrap().success()),
        Trap::Directory => fs::create_dir(at).unwrap(),
        Trap::Socket => drop(UnixListener::bind(at).unwrap()),
    }
}

fn clear(at: &Path) {
    let Ok(found) = fs::symlink_metadata(at) else { return };
    if found.is_dir() { fs::remove_dir_all(at).unwrap() } else { fs::remove_file(at).unwrap() }
}

/// Runs a command that must not wait for anything.
fn promptly(world: &World, args: &[&str]) -> Answer {
    let mut command = world.command("timeout");
    command.arg("60").arg(env!("CARGO_BIN_EXE_thingdb")).args(args);
    Answer::of(command)
}

fn refused(world: &World, path: &Path, victim: &Path, what: &str) {
    for args in [&["get", "lamp"][..], &["put", "lamp", "2"], &["serve"], &["init"]] {
        let answer = promptly(world, args);
        let answer = answer.exit(17).says("error[not-own-file]").says("hint: ").says(what);
        assert!(answer.stderr.contains(&path.display().to_string()), "{answer:?}");
        assert_eq!(fs::read_to_string(victim).unwrap(), PRECIOUS, "{} with {args:?}", path.display());
        assert!(!victim.with_extension("absent").exists(), "{} with {args:?}", path.display());
    }
}

fn database() -> World {
    let world = World::new();
    world.run(&["put", "lamp", "1"]).ok();
    world
}

#[test]
fn nothing_is_opened_through_what_lies_in_the_place_of_a_file() {
    let world = database();
    let victim = world.path("victim.txt");
    fs::write(&victim, PRECIOUS).unwrap();
    let db = world.path("db");
    let snap = fs::read_dir(db.join("store")).unwrap().map(|entry| entry.unwrap().file_name());
    let snap = snap.into_iter().find_map(|name| name.into_string().ok().filter(|name| name.starts_with("snap.")));
    let written = ["LOCK", "reserve", "store/db", "store/conf", "store/blobs/7"].map(str::to_owned);
    let written = written.into_iter().chain(snap.map(|snap| format!("store/{snap}")));
    let replaced = ["VERSION", "keyring", "keyring.copy", "checkpoint", "checkpoint.former-1", ".keyring.1.2.new"];
    let names = written.map(|name| (name, true)).chain(replaced.map(|name| (name.to_owned(), false)));
    for (name, is_written) in names {
        let path = db.join(&name);
        let aside = world.path("aside");
        let was_there = path.exists();
        if was_there {
            fs::rename(&path, &aside).unwrap();
        }
        let traps = [Trap::Link, Trap::DanglingLink, Trap::HardLink, Trap::Pipe, Trap::Directory, Trap::Socket];
        for trap in traps {
            // What is only read and replaced may have two names.
            if trap == Trap::HardLink && !is_written {
                continue;
            }
            set(trap, &path, &victim);
            let what = match trap {
                Trap::Link | Trap::DanglingLink => "a symbolic link",
                Trap::HardLink => "2 names",
                Trap::Pipe => "a pipe",
                Trap::Directory => "a directory",
                Trap::Socket => "a socket",
            };
            refused(&world, &path, &victim, what);
            clear(&path);
        }
        if was_there {
            fs::rename(&aside, &path).unwrap();
        }
    }
    // Nothing of it did any harm.
    assert_eq!(world.run(&["get", "lamp", "--raw"]).ok().stdout, "1");
    world.run(&["verify"]).ok();
}

#[test]
fn directories_in_the_directory_are_its_own() {
    let world = database();
    let victim = world.path("victim.txt");
    fs::write(&victim, PRECIOUS).unwrap();
    for name in ["store", "store/blobs", "journal"] {
        let (path, elsewhere) = (world.path("db").join(name), world.path("elsewhere"));
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        refused(&world, &path, &victim, "a symbolic link");
        fs::remove_file(&path).unwrap();
        fs::write(&path, PRECIOUS).unwrap();
        refused(&world, &path, &victim, "a file, where a database has a directory of its own");
        fs::remove_file(&path).unwrap();
        fs::rename(&elsewhere, &path).unwrap();
    }
    let evidence = world.path("db/evidence");
    symlink(world.path(""), &evidence).unwrap();
    refused(&world, &evidence, &victim, "a symbolic link");
    fs::remove_file(&evidence).unwrap();
    assert_eq!(world.run(&["get", "lamp", "--raw"]).ok().stdout, "1");
}

/// A link to the socket of another server would have commands run there.
#[test]
fn a_socket_that_leads_elsewhere_is_not_used() {
    let (world, other) = (database(), database());
    other.run(&["put", "lamp", "\"of another database\""]).ok();
    let mut serve = other.thingdb(&["serve"]);
    let mut server = serve.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stderr.as_mut().unwrap()), &mut said).unwrap();
    assert!(said.contains("serving"), "{said}");
    let path = world.path("db/socket");
    symlink(other.path("db/socket"), &path).unwrap();
    let answer = world.run(&["get", "lamp"]).exit(17).says("a symbolic link").says("hint: rm ");
    assert!(answer.stdout.is_empty(), "{answer:?}");
    fs::remove_file(&path).unwrap();
    assert_eq!(world.run(&["get", "lamp", "--raw"]).ok().stdout, "1");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn the_directory_itself_may_be_reached_through_a_link() {
    let world = database();
    symlink(world.path("db"), world.path("link")).unwrap();
    assert_eq!(world.run(&["--db", "link", "get", "lamp", "--raw"]).ok().stdout, "1");
    world.run(&["--db", "link", "put", "lamp", "2"]).ok();
    assert_eq!(world.run(&["get", "lamp", "--raw"]).ok().stdout, "2");
}

#[test]
fn a_directory_that_others_can_write_to_is_warned_of() {
    let world = database();
    fs::set_permissions(world.path("db"), fs::Permissions::from_mode(0o777)).unwrap();
    world.run(&["get", "lamp"]).ok().says("warning[directory-mode]").says("hint: chmod go-w ");
}

/// Everything in a directory, with its owner, mode and bytes.
fn state(dir: &Path) -> Vec<(PathBuf, u32, u32, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let data = fs::symlink_metadata(&path).unwrap();
        if data.is_dir() {
            found.extend(state(&path));
        }
        let bytes = if data.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        found.push((path, data.uid(), data.mode(), bytes));
    }
    found.sort();
    found
}

fn give(dir: &Path, user: u32) {
    chown(dir, Some(user), Some(user)).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { give(&path, user) } else { chown(&path, Some(user), Some(user)).unwrap() }
    }
}

/// A world that belongs to the user nobody, and a way to run commands as that
/// user.
fn of_nobody() -> Option<World> {
    let world = database();
    if chown(world.path("db"), Some(NOBODY), Some(NOBODY)).is_err() {
        skip("only root can make a directory somebody else's");
        return None;
    }
    give(&world.path(""), NOBODY);
    let mut probe = as_nobody(&world, &["--version"]);
    if !probe.output().is_ok_and(|output| output.status.success()) {
        skip("the user nobody cannot run the program where it lies");
        return None;
    }
    Some(world)
}

fn as_nobody(world: &World, args: &[&str]) -> Command {
    let mut command = world.thingdb(args);
    command.uid(NOBODY).gid(NOBODY);
    command
}

#[test]
fn root_leaves_nothing_in_the_database_of_a_service() {
    let Some(world) = of_nobody() else { return };
    let before = state(&world.path("db"));
    for args in [&["put", "lamp", "2"][..], &["get", "lamp"], &["verify"], &["doctor"], &["serve"], &["init"]] {
        let answer = promptly(&world, args);
        // What is wrong is in what `doctor` prints, too.
        answer.exit(17).says("error[other-user]").says("runs as user 0").says("hint: sudo -u nobody thingdb");
        assert_eq!(state(&world.path("db")), before, "{args:?}");
    }
    Answer::of(as_nobody(&world, &["put", "lamp", "3"])).ok();
    // What root left there with an older program is named.
    let path = world.path("db/LOCK");
    chown(&path, Some(0), Some(0)).unwrap();
    let answer = Answer::of(as_nobody(&world, &["get", "lamp"])).exit(17).says("error[other-user]");
    assert!(answer.stderr.contains(&format!("sudo chown nobody {}", path.display())), "{answer:?}");
}

/// A server has its clients open files: one of another user could have root open
/// any.
#[test]
fn root_hands_no_command_to_the_server_of_a_service() {
    let Some(world) = of_nobody() else { return };
    let mut server = as_nobody(&world, &["serve"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stderr.as_mut().unwrap()), &mut said).unwrap();
    assert!(said.contains("serving"), "{said}");
    world.run(&["stats"]).exit(17).says("hint: sudo -u nobody thingdb");
    Answer::of(as_nobody(&world, &["--no-input", "stats"])).ok();
    server.kill().unwrap();
    server.wait().unwrap();
    let unit = include_str!("../../tools/systemd/thingdb.service");
    assert!(unit.contains("sudo -u thingdb thingdb -d /var/lib/thingdb/node") && !unit.contains("as root or"));
}

/// A place that a container is given is root's, and what lies in it the user's.
#[test]
fn a_database_in_a_directory_of_root_is_that_of_its_files() {
    let Some(world) = of_nobody() else { return };
    let place = world.path("place");
    fs::create_dir(&place).unwrap();
    chown(&place, Some(0), Some(NOBODY)).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o770)).unwrap();
    let db = ["--db", place.to_str().unwrap()];
    let weak = crate::cli::world::WEAK;
    Answer::of(as_nobody(&world, &[&db[..], &["init", "--actor", "x"], &weak].concat())).ok();
    Answer::of(as_nobody(&world, &[&db[..], &["put", "lamp", "1"]].concat())).ok().says("directory-mode");
    world.run(&[&db[..], &["get", "lamp"]].concat()).exit(17).says(" belongs to user 65534");
}

#[test]
fn an_init_that_was_killed_can_be_repeated() {
    let world = World::empty();
    let init = [&["init", "--actor", "alice"][..], &crate::cli::world::WEAK].concat();
    let if_absent = [&init[..], &["--if-absent"]].concat();
    for args in [&init, &if_absent] {
        let db = world.path("db");
        fs::create_dir(&db).unwrap();
        for name in ["LOCK", ".VERSION.123.0.new", ".checkpoint.9.1.new", ".keyring.7.0.new", ".keyring.copy.7.0.new"] {
            fs::write(db.join(name), "half").unwrap();
        }
        world.run(args).ok();
        let left: Vec<String> = fs::read_dir(&db)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".new"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        world.run(&["put", "lamp", "1"]).ok();
        fs::remove_dir_all(&db).unwrap();
    }
    // What is anybody else's is not touched.
    for stranger in [".VERSION.backup", ".VERSION.1.new", "notes.txt", ".checkpoint.1.2.new~"] {
        let db = world.path("db");
        fs::create_dir(&db).unwrap();
        fs::write(db.join(stranger), PRECIOUS).unwrap();
        fs::write(db.join(".VERSION.123.0.new"), "half").unwrap();
        world.run(&init).exit(2).says("error[not-empty]").says(stranger);
        assert_eq!(fs::read_to_string(db.join(stranger)).unwrap(), PRECIOUS);
        assert_eq!(fs::read_dir(&db).unwrap().count(), 2);
        fs::remove_dir_all(&db).unwrap();
    }
}

/// Killed at any moment, an init that is repeated makes a database or finds one.
#[test]
fn an_init_that_is_killed_at_any_moment_can_be_repeated() {
    let world = World::empty();
    let init = [&["init", "--if-absent", "--actor", "alice"][..], &crate::cli::world::WEAK].concat();
    for round in 0..12_u64 {
        for delay in 0..4 {
            let mut child = world.thingdb(&init).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // Not to wait for something: to cut it off somewhere.
            std::thread::sleep(std::time::Duration::from_micros(700 * (round * 4 + delay)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        world.run(&init).ok();
        world.run(&["put", "lamp", "1"]).ok();
        fs::remove_dir_all(world.path("db")).unwrap();
    }
}
