//! How much memory processes take at most, as the system counts it, held against
//! what an ordinary input takes.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What hostile input may take beyond an ordinary one of its kind, in KiB.
pub const MOST_KIB: u64 = 64 << 10;

/// The most that a process has taken, in KiB, where the system tells.
pub fn kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Has the system count the most that a process takes anew, from what it has now.
pub fn count_anew(process: u32) -> Option<u64> {
    fs::write(format!("/proc/{process}/clear_refs"), "5").ok()?;
    kib(process)
}

/// Watches a process that ends by itself.
pub struct Watch(JoinHandle<Option<u64>>);

impl Watch {
    /// Begins to watch.
    pub fn of(process: u32) -> Self {
        // At once, as it may be gone when the thread begins.
        let mut peak = kib(process);
        Self(thread::spawn(move || {
            // There until it has ended, and without memory from then on.
            while let Some(kib) = kib(process) {
                peak = peak.max(Some(kib));
                thread::sleep(Duration::from_millis(1));
            }
            peak
        }))
    }

    /// The most that it has taken, in KiB. Waits for its end.
    pub fn end(self) -> Option<u64> {
        self.0.join().expect("the watch does not panic")
    }
}

/// Runs a command to its end, and gives what it has taken, too.
pub fn of(command: &mut Command) -> (Output, Option<u64>) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it is there");
    let watch = Watch::of(child.id());
    (child.wait_with_output().expect("it ends"), watch.end())
}

/// What inputs take beyond an ordinary one, a line for each.
pub struct Table {
    ordinary_kib: u64,
    most_kib: u64,
    greedy: Vec<String>,
}

impl Table {
    /// Inputs of a kind of which an ordinary one takes so much.
    pub const fn new(ordinary_kib: u64) -> Self {
        Self { ordinary_kib, most_kib: MOST_KIB, greedy: Vec::new() }
    }

    /// With another bound than [`MOST_KIB`].
    pub const fn at_most(mut self, kib: u64) -> Self {
        self.most_kib = kib;
        self
    }

    /// Notes what one took. A process that ended before anybody could look had no
    /// time to take much.
    pub fn add(&mut self, name: &str, kib: Option<u64>) {
        let Some(kib) = kib else { return println!("{name}: ended before it was seen") };
        let more = kib.saturating_sub(self.ordinary_kib);
        println!("{name}: {} MiB more", more >> 10);
        if more >= self.most_kib {
            self.greedy.push(format!("{name}: {} MiB", more >> 10));
        }
    }

    /// None took more than it may.
    pub fn end(self) {
        assert!(self.greedy.is_empty(), "beyond {} KiB: {:#?}", self.ordinary_kib, self.greedy);
    }
}
