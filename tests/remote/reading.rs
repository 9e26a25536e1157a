//! A command with a URL, a token and a card, and nothing else.

use std::fs;
use std::process::{Command, Stdio};

use super::running::Running;
use super::world::World;

/// What a command answered, byte for byte.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bytes {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Bytes {
    pub(crate) fn of(mut command: Command) -> Self {
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!stderr.contains("panicked"), "{stderr}");
        Self { code: output.status.code(), stdout: output.stdout, stderr }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn exit(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{} {}", self.text(), self.stderr);
        self
    }

    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} in {}", self.stderr);
        self
    }
}

/// Keeps a token as a person would.
pub(crate) fn keep(world: &World, name: &str, token: &str) {
    use std::os::unix::fs::PermissionsExt;
    let name = world.write(name, format!("{token}\n"));
    fs::set_permissions(world.path(&name), fs::Permissions::from_mode(0o600)).unwrap();
}

/// A command that has no database and no passphrase.
pub(crate) fn bare(world: &World, args: &[&str]) -> Command {
    let mut command = world.thingdb(args);
    command.env_remove("THINGDB_DIR").env_remove("THINGDB_PASSPHRASE_FILE").arg("--no-input");
    command
}

/// Where the server is.
pub(crate) fn url(server: &Running) -> String {
    server.said["url"].as_str().unwrap().to_owned()
}

/// A command that reads the server, with the token in the file `token`.
pub(crate) fn remote(server: &Running, args: &[&str]) -> Command {
    let mut command = bare(&server.world, args);
    command.args(["--url", &url(server), "--card", "card", "--token-file", "token"]);
    command
}

/// A world whose card and token are kept, as `card` and `token`.
pub(crate) fn with_token(world: &World, scopes: &str, args: &[&str]) {
    let card = world.run(&["card"]).ok().stdout;
    world.write("card", card);
    let token = Running::token(world, "reader", &[&["--scope", scopes], args].concat());
    keep(world, "token", &token);
}

/// A server that has lost entries gives the rest, and names them as the database does.
#[test]
fn an_export_goes_past_what_the_server_cannot_read_and_names_it() {
    let world = World::new();
    let data = "a".repeat(2000);
    let lines: String = (0..400).map(|n| format!("{{\"thing\":\"t/{}\",\"data\":\"{data}\"}}\n", n % 7)).collect();
    world.feed(&["append", "--batch", "20"], &lines).ok();
    fs::remove_dir_all(world.path("db/journal")).unwrap();
    let log = fs::read(world.path("db/store/db")).unwrap();
    fs::write(world.path("db/store/db"), &log[..log.len() / 2]).unwrap();
    world.run(&["salvage", "db", "--out", "new"]).exit(6);
    fs::remove_dir_all(world.path("db")).unwrap();
    fs::rename(world.path("new"), world.path("db")).unwrap();
    let here = world.run(&["export", "-o", "here.ndjson", "--json"]).exit(6);
    with_token(&world, "read,export", &[]);
    let server = Running::start(world, &[]);
    for args in [&["export", "-o", "there.ndjson", "--json"][..], &["export", "--binary", "-o", "there.tdbs", "--json"]]
    {
        let there = Bytes::of(remote(&server, args)).exit(6).says("cannot be read");
        let there: serde_json::Value = serde_json::from_str(&there.text()).unwrap();
        for member in ["entries", "lost", "holes", "next_position"] {
            assert_eq!(there[member], here.json()[member], "{member}");
        }
        assert!(there["lost"].as_u64().unwrap() > 0, "{there}");
    }
    let lines = |name: &str| fs::read_to_string(server.world.path(name)).unwrap().lines().count();
    assert_eq!(lines("there.ndjson"), lines("here.ndjson"));
    server.stop();
}

#[test]
fn a_kept_checkpoint_is_held_against_the_server_before_it_goes() {
    let world = World::new();
    with_token(&world, "read", &[]);
    world.run(&["put", "x", "1"]).ok();
    world.shell("cp -r db older").ok();
    world.run(&["put", "x", "2"]).ok();
    let server = Running::start(world, &[]);
    let written = Bytes::of(remote(&server, &["checkpoint", "-o", "kept"])).exit(0);
    assert!(written.stdout.is_empty(), "{}", written.text());
    let kept = fs::read(server.world.path("kept")).unwrap();
    server.world.run(&["put", "x", "3"]).ok();
    Bytes::of(remote(&server, &["checkpoint", "-o", "kept"])).exit(0);
    let newer = fs::read(server.world.path("kept")).unwrap();
    assert_ne!(kept, newer, "it grew out of it");
    let world = server.stop();
    world.shell("rm -r db && mv older db").ok();
    let server = Running::start(world, &[]);
    for _ in 0..3 {
        // Shorter, as long, and longer than what was kept.
        Bytes::of(remote(&server, &["checkpoint", "-o", "kept"])).exit(4).says("error[checkpoint-kept]");
        assert_eq!(fs::read(server.world.path("kept")).unwrap(), newer);
        server.world.run(&["put", "x", "\"another\""]).ok();
    }
    server.world.run(&["put", "x", "\"another\""]).ok();
    Bytes::of(remote(&server, &["checkpoint", "-o", "kept"])).exit(4).says("are others than the checkpoint says");
}
