//! A server that runs, and clients that know no passphrase.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::world::{Answer, World};

/// `thingdb serve` on the database of a world. Killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    talk: BufReader<ChildStderr>,
}

impl Server {
    /// Starts it and waits until it serves.
    pub(crate) fn start(world: &World) -> Self {
        Self::spawn(world.thingdb(&["serve"]))
    }

    /// Starts it by a command and waits until it serves.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut talk = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("serving ") {
            line.clear();
            assert_ne!(talk.read_line(&mut line).unwrap(), 0, "the server ended");
        }
        Self { child, talk }
    }

    /// Ends it as a service manager does. It has nothing to complain of, and no
    /// command is left in it.
    pub(crate) fn stop(mut self) {
        signal("TERM", self.child.id());
        let mut rest = String::new();
        self.talk.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!((status.code(), rest.as_str()), (Some(0), ""));
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal.
pub(crate) fn signal(name: &str, process: u32) {
    assert!(Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap().success());
}

/// A command that knows no passphrase: only a server can run it.
pub(crate) fn client(world: &World, args: &[&str]) -> Command {
    let mut command = world.thingdb(args);
    command.env_remove("THINGDB_PASSPHRASE_FILE").arg("--no-input");
    command
}

/// Runs a command that knows no passphrase.
pub(crate) fn through(world: &World, args: &[&str]) -> Answer {
    Answer::of(client(world, args))
}

/// A command with pipes on all sides.
pub(crate) fn piped(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs it with something on stdin.
pub(crate) fn fed(command: Command, input: &[u8]) -> Answer {
    use std::io::Write;
    let mut child = piped(command);
    // The other side may close its end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input);
    Answer::wait(child)
}

/// Reads talk until a progress line says that so much is done. Gives that
/// number.
pub(crate) fn done_at_least(talk: &mut impl BufRead, least: u64) -> u64 {
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(talk.read_line(&mut line).unwrap(), 0, "it ended without a word");
        let progress: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        let done = progress["done"].as_u64().unwrap();
        if done >= least {
            return done;
        }
    }
}
