//! A temporary directory to run `thingdb` in, and what it answered.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The passphrase of every test. It must never show up anywhere.
pub(crate) const CANARY: &str = "canary-8c1f-passphrase";

/// As weak as it gets, so that opening takes no time.
pub(crate) const WEAK: [&str; 6] = ["--kdf-memory", "8K", "--kdf-passes", "1", "--kdf-lanes", "1"];

/// A directory with a passphrase file, and mostly a database.
pub(crate) struct World {
    dir: TempDir,
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The exit code.
    pub(crate) code: i32,
    /// Data.
    pub(crate) stdout: String,
    /// Talk.
    pub(crate) stderr: String,
}

impl World {
    /// Without a database.
    pub(crate) fn empty() -> Self {
        Self::of(tempfile::Builder::new().prefix("thingdb-cli-").tempdir().unwrap())
    }

    /// Without a database, and in memory where that can be had: nothing waits for a
    /// disk.
    #[allow(dead_code, reason = "the tests of the server use this file, too")]
    pub(crate) fn in_memory() -> Self {
        let in_memory = tempfile::Builder::new().prefix("thingdb-cli-").tempdir_in("/dev/shm");
        in_memory.map_or_else(|_| Self::empty(), Self::of)
    }

    fn of(dir: TempDir) -> Self {
        fs::write(dir.path().join("passphrase"), format!("{CANARY}\n")).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(dir.path().join("passphrase"), fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self { dir }
    }

    /// With a database whose actor is alice.
    pub(crate) fn new() -> Self {
        let world = Self::empty();
        world.run(&[&["init", "--actor", "alice"][..], &WEAK].concat()).ok();
        world
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        name.to_owned()
    }

    /// A command that knows the database and its passphrase and nothing of the
    /// environment of this test.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("THINGDB_") {
                command.env_remove(name);
            }
        }
        let bin = Path::new(env!("CARGO_BIN_EXE_thingdb")).parent().unwrap();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = [bin.to_owned(), examples].into_iter().chain(std::env::split_paths(&path));
        command
            .current_dir(self.dir.path())
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("HOME", self.dir.path())
            .env("THINGDB_DIR", self.path("db"))
            .env("THINGDB_PASSPHRASE_FILE", self.path("passphrase"))
            .env_remove("CREDENTIALS_DIRECTORY")
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .stdin(Stdio::null());
        command
    }

    /// The command `thingdb` with arguments.
    pub(crate) fn thingdb(&self, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_thingdb"));
        command.args(args);
        command
    }

    /// Runs `thingdb`.
    pub(crate) fn run(&self, args: &[&str]) -> Answer {
        Answer::of(self.thingdb(args))
    }

    /// Runs `thingdb` with something on stdin.
    pub(crate) fn feed(&self, args: &[&str], input: impl AsRef<[u8]>) -> Answer {
        let mut command = self.thingdb(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // The other side may close its end before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(input.as_ref());
        Answer::wait(child)
    }

    /// Runs a line of shell.
    pub(crate) fn shell(&self, line: &str) -> Answer {
        let mut command = self.command("sh");
        command.args(["-c", line]);
        Answer::of(command)
    }

    /// Runs a line of shell on a terminal, types something once the terminal
    /// shows `prompt`, and gives what the terminal got.
    pub(crate) fn on_terminal(&self, line: &str, prompt: &str, typed: &[u8]) -> Option<(i32, String)> {
        if Command::new("script").arg("--version").output().is_err() {
            skip("there is no script to make a terminal with");
            return None;
        }
        // A prompt that waits for ever fails the test and does not stop all others.
        let mut command = self.command("timeout");
        command.args(["60", "script", "-qec", line, "/dev/null"]).env("TERM", "xterm").env("COLUMNS", "120");
        // `script` starts the shell of whoever runs the tests.
        command.env("SHELL", "/bin/sh");
        // What a pager does to the screen is not what most tests look at.
        command.env("THINGDB_PAGER", "cat").env_remove("PAGER").env_remove("LESS");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut shown = Vec::new();
        let mut part = [0; 4_096];
        let mut waits = true;
        loop {
            if waits && (prompt.is_empty() || String::from_utf8_lossy(&shown).contains(prompt)) {
                waits = false;
                input.write_all(typed).unwrap();
            }
            match output.read(&mut part).unwrap() {
                0 => break,
                read => shown.extend_from_slice(&part[..read]),
            }
        }
        // The input stays open until the command ends, as a keyboard does.
        drop(input);
        let code = child.wait().unwrap().code().unwrap_or(-1);
        Some((code, String::from_utf8_lossy(&shown).into_owned()))
    }
}

impl Answer {
    /// Runs a command to its end.
    pub(crate) fn of(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::wait(command.spawn().unwrap())
    }

    /// Waits for a command that runs.
    pub(crate) fn wait(child: Child) -> Self {
        let output = child.wait_with_output().unwrap();
        let answer = Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        assert!(!answer.stdout.contains(CANARY) && !answer.stderr.contains(CANARY), "the passphrase leaks: {answer:?}");
        assert!(!answer.stderr.contains("panicked"), "{answer:?}");
        answer
    }

    /// It must have worked.
    pub(crate) fn ok(self) -> Self {
        self.exit(0)
    }

    /// It must have ended with this exit code.
    pub(crate) fn exit(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// It must have said this on stderr: in these words, or in JSON that means
    /// them.
    pub(crate) fn says(self, text: &str) -> Self {
        let said: String = self.stderr.lines().map(|line| in_words(line) + "\n").collect();
        assert!(self.stderr.contains(text) || said.contains(text), "no {text:?} in {self:?}");
        self
    }

    /// The one JSON object on stdout.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|problem| panic!("{problem}: {self:?}"))
    }

    /// The JSON objects on stdout, one a line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|problem| panic!("{problem}: {line}")))
            .collect()
    }
}

/// A line of stderr as people read it, if it is an error or warning in JSON.
fn in_words(line: &str) -> String {
    let Ok(Value::Object(said)) = serde_json::from_str(line) else { return line.to_owned() };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let Some((kind, said)) = said.iter().find(|(kind, _)| matches!(kind.as_str(), "error" | "warning")) else {
        return line.to_owned();
    };
    let mut lines = vec![format!("{kind}[{}]: {}", text(&said["code"]), text(&said["message"]))];
    lines.extend(said["details"].as_array().into_iter().flatten().map(|detail| format!("  {}", text(detail))));
    lines.extend(text(&said["hint"]).lines().map(|hint| format!("hint: {hint}")));
    lines.join("\n")
}

/// The names of an object's members, in their order.
pub(crate) fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

/// Says on stderr that a test did not run, and why.
pub(crate) fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}
