//! Passphrases and the server: none is needed to get in, new ones are read by
//! the client.

use std::fs;

use super::server::{Server, through};
use crate::world::{Answer, World};

#[test]
fn no_passphrase_is_needed_and_none_is_read() {
    let world = World::new();
    world.write("wrong", "another passphrase");
    let server = Server::start(&world);
    through(&world, &["put", "a", "1"]).ok();
    let marked = format!("touch {}", world.path("was-run").display());
    through(&world, &["get", "a", "--passphrase-command", &marked]).ok();
    assert!(!world.path("was-run").exists());
    server.stop();
    through(&world, &["get", "a"]).exit(2).says("error[no-passphrase]");
}

#[test]
fn passwd_takes_the_new_passphrase_from_the_client() {
    let world = World::new();
    let new = world.write("new", "an entirely new one\n");
    let server = Server::start(&world);
    world.write("short", "short");
    through(&world, &["passwd", "--new-passphrase-file", "short"]).exit(2).says("at least 8");
    through(&world, &["passwd"]).exit(2).says("error[no-passphrase]");
    through(&world, &["passwd", "--new-passphrase-file", &new]).ok();
    let shell = |line: &str| {
        let mut command = world.command("sh");
        command.args(["-c", line]).env_remove("THINGDB_PASSPHRASE_FILE");
        Answer::of(command)
    };
    shell("thingdb passwd --new-passphrase-fd 3 3< new").ok();
    server.stop();
    world.run(&["ls"]).exit(12);
    world.run(&["ls", "--passphrase-file", "new"]).ok();
}

#[test]
fn a_terminal_is_asked_by_the_client() {
    let world = World::new();
    let server = Server::start(&world);
    let line = "unset THINGDB_PASSPHRASE_FILE; thingdb passwd";
    let typed = b"typed on a terminal\ntyped on a terminal\n";
    let Some((code, text)) = world.on_terminal(line, "New passphrase for ", typed) else { return };
    assert!(code == 0 && !text.contains("typed on"), "{text}");
    // Who does not type the same twice is asked again, three times in all.
    let typed = b"one passphrase\nanother one\n".repeat(3);
    let (code, _) = world.on_terminal(line, "New passphrase for ", &typed).unwrap();
    assert_eq!(code, 2);
    server.stop();
    world.write("new", "typed on a terminal\n");
    world.run(&["ls", "--passphrase-file", "new"]).ok();
}

#[test]
fn a_passphrase_file_that_others_can_read_is_warned_of_by_the_client() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let server = Server::start(&world);
    world.write("new", "an entirely new one\n");
    fs::set_permissions(world.path("new"), fs::Permissions::from_mode(0o644)).unwrap();
    through(&world, &["passwd", "--new-passphrase-file", "new"]).ok().says("warning[passphrase-file]");
    server.stop();
}
