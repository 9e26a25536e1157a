//! Nodes as directories, and their servers as processes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const WEAK: [&str; 6] = ["--kdf-memory", "8K", "--kdf-passes", "1", "--kdf-lanes", "1"];

/// A directory for some nodes.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("thingdb-sync-").tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Three nodes that know each other. An entry of the third one waits at the
    /// second one for one of the first, about the thing `door`.
    pub(crate) fn one_waits(&self) -> (Node, Node, Node) {
        let (a, b, c) = (self.node("a"), self.node("b"), self.node("c"));
        for (one, other) in [(&a, &b), (&a, &c), (&b, &c)] {
            one.knows(other);
        }
        a.put("door", "1");
        let file = self.path("door.ndjson");
        let file = file.to_str().unwrap();
        a.ok(&["export", "-o", file]);
        c.ok(&["import", file]);
        c.put("door", "2");
        c.ok(&["export", "--since", "1", "-o", file]);
        assert_eq!(b.json(&["import", file])["pending"], 1);
        (a, b, c)
    }

    /// A new node.
    pub(crate) fn node(&self, name: &'static str) -> Node {
        let node = Node { dir: self.0.path().to_owned(), name, space: None };
        node.ok(&[&["init", "--actor", name][..], &WEAK].concat());
        node
    }
}

/// A database, through the command.
#[derive(Clone)]
pub(crate) struct Node {
    dir: PathBuf,
    pub(crate) name: &'static str,
    /// The network namespace in which its commands run.
    pub(crate) space: Option<String>,
}

impl Node {
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let thingdb = env!("CARGO_BIN_EXE_thingdb");
        let mut command = match &self.space {
            None => Command::new(thingdb),
            Some(space) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", space, thingdb]);
                command
            }
        };
        command.current_dir(&self.dir).args(["--db", self.name]).args(args);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("THINGDB_PASSPHRASE", "correct horse")
            .stdin(Stdio::null());
        command
    }

    /// The same node as it is now, in a directory of its own.
    pub(crate) fn copied(&self, name: &'static str) -> Self {
        let other = Self { name, ..self.clone() };
        let _ = fs::remove_dir_all(other.db());
        copy(&self.db(), &other.db());
        other
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.dir.join(self.name)
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Succeeds and gives what was printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{} {args:?}: {out}{err}", self.name);
        out.into_owned()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["--json"]].concat())).unwrap()
    }

    /// The same, and what was said beside it.
    pub(crate) fn json_and_talk(&self, args: &[&str]) -> (Value, String) {
        let output = self.run(&[args, &["--json"]].concat());
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{} {args:?}: {err}", self.name);
        (serde_json::from_slice(&output.stdout).unwrap(), err)
    }

    /// Fails with an exit code and a word.
    pub(crate) fn fails(&self, args: &[&str], code: i32, word: &str) -> String {
        let output = self.run(args);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{} {args:?}: {err}", self.name);
        assert!(err.contains(&format!("error[{word}]")), "{err}");
        err
    }

    /// Writes entries of 200 bytes, signed singly if there are few.
    pub(crate) fn write(&self, thing: &str, entries: usize) {
        let line =
            |n| format!("{{\"thing\":\"{thing}-{}\",\"data\":{{\"n\":{n},\"x\":\"{}\"}}}}\n", n % 7, "x".repeat(180));
        let lines: String = (0..entries).map(line).collect();
        fs::write(self.dir.join("lines"), lines).unwrap();
        self.ok(&["append", "lines"]);
    }

    pub(crate) fn put(&self, thing: &str, data: &str) -> String {
        self.json(&["put", thing, data])["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn entries(&self) -> u64 {
        self.json(&["stats"])["entries"].as_u64().unwrap()
    }

    /// All things with their heads: what must be the same everywhere.
    pub(crate) fn heads(&self) -> Vec<(String, Vec<String>, u64)> {
        let all = self.json(&["ls", "-l"]);
        let ids = |thing: &Value| {
            let heads = thing["heads"].as_array().unwrap().iter();
            let mut ids: Vec<String> = heads.map(|head| head["id"].as_str().unwrap().to_owned()).collect();
            ids.sort();
            ids
        };
        let row = |thing: &Value| {
            (thing["thing"].as_str().unwrap().to_owned(), ids(thing), thing["entries"].as_u64().unwrap())
        };
        all.as_array().unwrap().iter().map(row).collect()
    }

    /// Everything verifies.
    pub(crate) fn verifies(&self) {
        let report = self.json(&["verify"]);
        assert_eq!(report["ok"], true, "{report}");
    }

    /// Makes both known to each other.
    pub(crate) fn knows(&self, other: &Self) {
        for (one, other) in [(self, other), (other, self)] {
            let card = other.ok(&["card"]);
            one.ok(&["peer", "add", other.name, card.trim(), "--yes"]);
        }
    }

    /// Tells where the server of a peer is, with a token that it gives.
    pub(crate) fn reaches(&self, other: &Self, url: &str, scope: &str) {
        let name = format!("for-{}-{}", self.name, scope.replace(',', "-"));
        let _ = other.run(&["token", "rm", &name]);
        let peer = ["token", "new", "--peer", self.name, "--name", &name, "--scope", scope, "--format", "raw"];
        let token = other.ok(&peer);
        let file = self.dir.join(format!("{}-{}.token", self.name, other.name));
        fs::write(&file, token).unwrap();
        self.ok(&["peer", "set", other.name, "--url", url, "--token-file", file.to_str().unwrap()]);
    }

    /// Starts its server.
    pub(crate) fn serve(&self) -> Server {
        Server::start(self, 0, &[])
    }

    /// Starts its server again where it was.
    pub(crate) fn serve_at(&self, port: u16) -> Server {
        Server::start(self, port, &[])
    }

    /// Starts its server with more options.
    pub(crate) fn serve_with(&self, options: &[&str]) -> Server {
        Server::start(self, 0, options)
    }

    /// Starts its server without TLS, for something that stands before it.
    pub(crate) fn serve_plainly(&self) -> Server {
        Server::start(self, 0, &["--plain-http"])
    }
}

/// A server that runs.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) port: u16,
    said: Value,
}

impl Server {
    fn start(node: &Node, port: u16, options: &[&str]) -> Self {
        let listen = format!("127.0.0.1:{port}");
        let serve = ["serve", "--listen", &listen, "--log-level", "error", "--json"];
        let mut command = node.command(&[&serve, options].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut said = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        while !said.trim_end().ends_with('}') && out.read_line(&mut said).unwrap() > 0 {}
        // Nobody else reads it.
        std::thread::spawn(move || out.read_to_end(&mut Vec::new()));
        let said: Value =
            serde_json::from_str(&said).unwrap_or_else(|_| panic!("{} does not serve: {said}", node.name));
        let url = said["url"].as_str().unwrap().to_owned();
        let port = url.rsplit(':').next().unwrap().parse().unwrap();
        Self { child, url, port, said }
    }

    /// The values of its metrics, by name and labels.
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let address = self.said["metrics"].as_str().unwrap().strip_prefix("http://").unwrap();
        let (address, path) = address.split_once('/').unwrap();
        let mut socket = TcpStream::connect(address).unwrap();
        write!(socket, "GET /{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let text = std::io::read_to_string(socket).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("thingdb_"));
        let pairs = lines.filter_map(|line| line.rsplit_once(' '));
        pairs.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
    }

    /// Ends it without warning.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies a directory of a database that nobody has open.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
