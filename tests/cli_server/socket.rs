//! The socket: who may use it, where it lies, what is left of it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use super::server::{Server, through};
use crate::world::{Answer, WEAK, World, skip};

#[test]
fn the_socket_is_for_its_owner_and_goes_with_the_server() {
    let world = World::new();
    let before = names(&world);
    let server = Server::start(&world);
    let mode = fs::metadata(world.path("db/socket")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(names(&world).len(), before.len() + 1);
    server.stop();
    assert_eq!(names(&world), before);
}

fn names(world: &World) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(world.path("db")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn a_path_of_any_length_will_do() {
    let world = World::empty();
    let long = format!("{0}/{0}/{0}", "d".repeat(120));
    world.run(&[&["init", &*long][..], &WEAK].concat()).ok();
    let server = Server::spawn(world.thingdb(&["serve", "-d", &long]));
    through(&world, &["put", "a", "1", "-d", &long]).ok();
    assert_eq!(through(&world, &["get", "a", "--field", "", "-d", &long]).ok().stdout, "1\n");
    server.stop();
}

#[test]
fn the_socket_of_a_killed_server_is_in_nobodys_way() {
    let world = World::new();
    let mut server = Server::start(&world);
    server.kill();
    assert!(world.path("db/socket").exists());
    world.run(&["put", "a", "1"]).ok();
    fs::create_dir(world.path("db/socket.new")).unwrap();
    let server = Server::start(&world);
    assert_eq!(through(&world, &["stats"]).ok().json()["entries"], 1);
    server.stop();
    assert!(!world.path("db/socket").exists() && !world.path("db/socket.new").exists());
}

#[test]
fn two_servers_do_not_hold_one_directory() {
    let world = World::new();
    let server = Server::start(&world);
    world.run(&["serve"]).exit(11).says("error[locked]");
    through(&world, &["get", "x"]).exit(3);
    server.stop();
}

/// A server that greets with these bytes after a header of kind 1.
fn greets(world: &World, greeting: &'static [u8]) -> std::thread::JoinHandle<()> {
    let listener = UnixListener::bind(world.path("db/socket")).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let length = u32::try_from(greeting.len()).unwrap().to_be_bytes();
        stream.write_all(&[&[1, 0], &length[..], greeting].concat()).unwrap();
    })
}

#[test]
fn a_server_of_another_version_is_named() {
    let world = World::new();
    let server = greets(&world, b"thingdb local socket\n\0\0\0\x01\0\0\0\x059.9.9");
    let own = env!("CARGO_PKG_VERSION");
    world.run(&["get", "a"]).exit(1).says(&format!("is thingdb 9.9.9, this is {own}")).says("hint: ");
    server.join().unwrap();
}

#[test]
fn another_program_on_the_socket_is_no_server() {
    let world = World::new();
    let server = greets(&world, b"something else");
    world.run(&["get", "a"]).exit(1).says("error[file]").says("the socket in ");
    server.join().unwrap();
}

#[test]
fn a_wide_umask_opens_nothing() {
    let world = World::new();
    let mut command = world.command("sh");
    command.args(["-c", "umask 0; exec thingdb serve"]);
    let server = Server::spawn(command);
    let mode = fs::metadata(world.path("db/socket")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.stop();
}

/// A frame as a client would send it, without descriptors.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 0], &u32::try_from(payload.len()).unwrap().to_be_bytes()[..], payload].concat()
}

#[test]
fn nonsense_on_the_socket_harms_nobody() {
    let world = World::new();
    let server = Server::start(&world);
    let garbage: Vec<u8> = (0..4_096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let sayings = [
        Vec::new(),
        b"G".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        garbage,
        vec![0xff; 64],
        frame(2, b""),
        frame(2, &[0; 20]),
        // The arguments of a command, with none of the descriptors that it needs.
        frame(2, b"\0\0\0\x01\0\0\0\x07thingdb\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        frame(5, b""),
        frame(15, b"\0\0\0\x06secret"),
        frame(16, b"\0\0\0\x01\0"),
        // Descriptors that are announced and do not come.
        vec![2, 3, 0, 0, 0, 0],
        // More than anybody has to say.
        vec![2, 0, 0xff, 0xff, 0xff, 0xff],
    ];
    for saying in &sayings {
        for ends in [true, false] {
            let mut stream = UnixStream::connect(world.path("db/socket")).unwrap();
            // The server may hang up before it has heard everything.
            let _ = stream.write_all(saying);
            if ends {
                let _ = stream.shutdown(std::net::Shutdown::Write);
                // It greets and hangs up.
                let _ = stream.read_to_end(&mut Vec::new());
            }
        }
    }
    through(&world, &["put", "a", "1"]).ok();
    server.stop();
}

/// Both sides look who is at the other end, whatever the modes say.
#[test]
fn another_user_is_refused_by_either_side() {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    if !is_root || Command::new("setpriv").arg("--version").output().is_err() {
        return skip("to be another user takes root and setpriv");
    }
    let nobody = |world: &World, args: &[&str]| {
        let mut command = world.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]).args(args);
        command
    };
    let world = World::new();
    let program = world.path("thingdb");
    fs::copy(env!("CARGO_BIN_EXE_thingdb"), &program).unwrap();
    for path in [world.path("."), world.path("db"), program.clone()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let program = program.to_str().unwrap();
    if !nobody(&world, &[program, "--version"]).output().is_ok_and(|ran| ran.status.success()) {
        return skip("another user cannot run the program where it lies");
    }

    let server = Server::start(&world);
    Answer::of(nobody(&world, &[program, "get", "a"])).exit(17).says("belongs to user 0");
    // Nor by way of a directory of its own, from which nothing keeps it.
    let (socket, own) = (world.path("db/socket"), world.path("own"));
    fs::create_dir(&own).unwrap();
    fs::hard_link(&socket, own.join("socket")).unwrap();
    for path in [&own, &socket] {
        std::os::unix::fs::chown(path, Some(65_534), None).unwrap();
    }
    let by_way_of_own = [program, "--db", own.to_str().unwrap(), "get", "a"];
    Answer::of(nobody(&world, &by_way_of_own)).exit(17).says("takes no command from user 65534");
    std::os::unix::fs::chown(&socket, Some(0), None).unwrap();
    through(&world, &["get", "a"]).exit(3);
    server.stop();

    let mut owned = Command::new("chown");
    owned.args(["-R", "65534:65534"]).arg(world.path("db")).arg(world.path("passphrase"));
    assert!(owned.status().unwrap().success());
    let server = Server::spawn(nobody(&world, &[program, "serve"]));
    through(&world, &["get", "a"]).exit(17).says("belongs to user 65534").says("hint: sudo -u ");
    Answer::of(nobody(&world, &[program, "get", "a"])).exit(3);
    server.stop();
}
