//! What a child process was told is stored, and whether it is.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use thingdb::Db;

use crate::database::text;

/// An entry that was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Whether it survives a power cut.
    pub durable: bool,
    /// Its place in the ledger.
    pub position: u64,
    /// Its place in the history.
    pub seq: u64,
    /// Its id, in hex.
    pub id: String,
    /// What it is about.
    pub thing: String,
}

impl Acknowledged {
    /// Reads a line of the child; nothing for another line, or one that was
    /// cut by the end of the child.
    #[must_use]
    pub fn from_line(line: &str) -> Option<Self> {
        let mut parts = line.splitn(5, ' ');
        let durable = match parts.next()? {
            "D" => true,
            "R" => false,
            _ => return None,
        };
        let position = parts.next()?.parse().ok()?;
        let seq = parts.next()?.parse().ok()?;
        let (id, thing) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        Some(Self { durable, position, seq, id, thing })
    }
}

/// The data of every entry of a thing.
#[must_use]
pub fn data(thing: &str, size: usize) -> String {
    format!("{thing}: ").chars().cycle().take(size).collect()
}

/// A child that writes and tells.
pub struct Writer {
    /// The process.
    pub child: Child,
    lines: Receiver<String>,
}

impl Writer {
    /// Starts `program` and waits until it has opened its database.
    ///
    /// # Panics
    /// If it does not within a minute.
    #[must_use]
    pub fn start(program: &str, dir: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .arg(dir)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the child starts");
        let mut reader = BufReader::new(child.stdout.take().expect("the pipe"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            // A line without its end was cut in the middle.
            while reader.read_line(&mut line).is_ok_and(|read| read > 0) && line.ends_with('\n') {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        let ready = lines.recv_timeout(Duration::from_secs(60)).expect("the child opens its database within a minute");
        assert_eq!(ready, "ready\n");
        Self { child, lines }
    }

    /// Waits for the first `count` entries.
    ///
    /// # Panics
    /// If they take more than a minute.
    #[must_use]
    pub fn first(&self, count: usize) -> Vec<Acknowledged> {
        let next = || self.lines.recv_timeout(Duration::from_secs(60)).expect("an entry within a minute");
        (0..count).filter_map(|_| Acknowledged::from_line(next().trim_end_matches('\n'))).collect()
    }

    /// Kills it, and reads what it had still told.
    ///
    /// # Panics
    /// If it cannot be killed.
    #[must_use]
    pub fn kill(mut self) -> Vec<Acknowledged> {
        self.child.kill().expect("a child can be killed");
        self.rest()
    }

    /// Waits until it ends by itself, and reads what it had still told.
    ///
    /// # Panics
    /// If it does not end within half a minute after its last word.
    #[must_use]
    pub fn rest(&mut self) -> Vec<Acknowledged> {
        let mut told = Vec::new();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(30)) {
                Ok(line) => told.extend(Acknowledged::from_line(line.trim_end_matches('\n'))),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    panic!("the child neither writes nor ends");
                }
            }
        }
        let _ = self.child.wait();
        told
    }
}

/// Says what is wrong unless each of them is there as it was told.
///
/// # Errors
/// The first that is not.
pub fn check<'a>(db: &Db, told: impl IntoIterator<Item = &'a Acknowledged>) -> Result<(), String> {
    for one in told {
        let found = db.get_seq(&one.thing, one.seq).map_err(|problem| format!("{one:?}: {problem}"))?;
        let Some(record) = found.iter().find(|record| record.id().to_string() == one.id) else {
            return Err(format!("{one:?} is not there"));
        };
        if record.position() != one.position {
            return Err(format!("{one:?} is at position {}", record.position()));
        }
        let text = text(record);
        if text != data(&one.thing, text.len()) || text.len() < 40 {
            return Err(format!("{one:?} has other data: {text}"));
        }
    }
    Ok(())
}
