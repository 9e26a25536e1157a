//! A server that runs, and what it serves.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::client::{Client, Connection, Reply, head};
use super::world::World;

/// A world with a server in it.
pub(crate) struct Running {
    pub(crate) world: World,
    pub(crate) client: Client,
    /// What it said of itself.
    pub(crate) said: Value,
    child: Option<Child>,
    log: Arc<Mutex<String>>,
}

impl Running {
    /// A server in a world.
    pub(crate) fn start(world: World, args: &[&str]) -> Self {
        let args = [&["serve", "--listen", "127.0.0.1:0"], args].concat();
        let mut child = world.thingdb(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (into, stderr) = (Arc::clone(&log), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *into.lock().unwrap() += &format!("{line}\n");
            }
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("it does not serve: {line:?}, log: {}", log.lock().unwrap()));
        let address = said["url"].as_str().unwrap().split("//").nth(1).unwrap().parse().unwrap();
        let client = Client::new(address, said["certificate"].as_str().unwrap_or_default());
        Self { world, client, said, child: Some(child), log }
    }

    /// Makes a token while the server does not run.
    pub(crate) fn token(world: &World, name: &str, args: &[&str]) -> String {
        let args = [&["token", "new", "--name", name, "--format", "raw"], args].concat();
        world.run(&args).ok().stdout.trim().to_owned()
    }

    /// A request with a token.
    pub(crate) fn ask(&self, token: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let bearer = format!("Bearer {token}");
        let headers = [&[("authorization", bearer.as_str()), ("connection", "close")], headers].concat();
        self.client.send(method, path, &headers, body).unwrap_or_else(|problem| panic!("{problem}: {}", self.log()))
    }

    /// A GET with a token.
    pub(crate) fn get(&self, token: &str, path: &str) -> Reply {
        self.ask(token, "GET", path, &[], b"")
    }

    /// A POST of JSON with a token.
    pub(crate) fn post(&self, token: &str, path: &str, body: &str) -> Reply {
        self.ask(token, "POST", path, &[("content-type", "application/json")], body.as_bytes())
    }

    /// Opens a connection and sends the head of a request on it.
    pub(crate) fn begin(&self, token: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Connection {
        let bearer = format!("Bearer {token}");
        let headers = [&[("authorization", bearer.as_str()), ("connection", "close")], headers].concat();
        let mut connection = self.client.connect().unwrap();
        let length = (method == "GET").then_some(0);
        connection.write_all(&head(method, path, &headers, length)).unwrap();
        connection.flush().unwrap();
        connection
    }

    /// What its metrics say, with the head of the answer.
    pub(crate) fn metrics(&self) -> String {
        let address = self.said["metrics"].as_str().unwrap().strip_prefix("http://").unwrap();
        let (address, path) = address.split_once('/').unwrap();
        let mut socket = TcpStream::connect(address).unwrap();
        write!(socket, "GET /{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        std::io::read_to_string(socket).unwrap()
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap().success());
    }

    /// Waits for its end, and gives its exit code and the world.
    pub(crate) fn wait(mut self) -> (Option<i32>, World, String) {
        let code = self.child.take().unwrap().wait().unwrap().code();
        // Whoever reads the log is at its end soon.
        let log = loop {
            if Arc::strong_count(&self.log) == 1 {
                break self.log();
            }
            std::thread::yield_now();
        };
        let empty = World::empty();
        (code, std::mem::replace(&mut self.world, empty), log)
    }

    /// Asks it to stop and gives the world back. No secret may be in the log.
    pub(crate) fn stop(self) -> World {
        self.signal("-TERM");
        let (code, world, log) = self.wait();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("tdb_") && !log.contains("canary") && !log.contains("a panic"), "{log}");
        world
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
