//! A line of the kernel's own making: 1 KiB/s, packets lost, late where the
//! kernel can do that. Needs root, a network namespace, `tc` and `nft`;
//! elsewhere it is skipped and says so.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::node::Place;

/// A network namespace with one bad line in it: its loopback.
struct Namespace(String);

impl Namespace {
    /// Nothing, and why, where the system does not allow it.
    fn new() -> Result<Self, String> {
        let name = format!("thingdb-test-{}", std::process::id());
        sh(&["ip", "netns", "add", &name])?;
        let space = Self(name);
        space.sh(&["ip", "link", "set", "lo", "mtu", "1500", "up"])?;
        space.sh(&["nft", "add", "table", "inet", "bad"])?;
        space.sh(&["nft", "add chain inet bad loss { type filter hook input priority 0; }"])?;
        space.sh(&["nft", "add rule inet bad loss numgen random mod 100 < 5 drop"])?;
        Ok(space)
    }

    /// Makes it slow, and late if the kernel knows how. From here on.
    fn slow(&self) -> Result<&'static str, String> {
        let late = ["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "500ms", "rate", "8kbit"];
        if self.sh(&late).is_ok() {
            return Ok("1 KiB/s, 500 ms, 5 % loss");
        }
        let slow =
            ["tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "8kbit", "burst", "3000", "latency", "4s"];
        self.sh(&slow)?;
        Ok("1 KiB/s, late by its queue only, 5 % loss")
    }

    fn sh(&self, command: &[&str]) -> Result<(), String> {
        sh(&[&["ip", "netns", "exec", &self.0], command].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = sh(&["ip", "netns", "del", &self.0]);
    }
}

fn sh(command: &[&str]) -> Result<(), String> {
    let output = Command::new(command[0]).args(&command[1..]).stdin(Stdio::null()).output();
    let output = output.map_err(|problem| format!("{}: {problem}", command[0]))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", command.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// Entries to send: few, since each takes a second. `THINGDB_TEST_SLOW_ENTRIES`
/// asks for more.
fn entries() -> usize {
    std::env::var("THINGDB_TEST_SLOW_ENTRIES").map_or(12, |n| n.parse().expect("it is a number"))
}

#[test]
fn a_kibibyte_a_second_with_losses_is_enough() {
    let space = match Namespace::new() {
        Ok(space) => space,
        Err(why) => return println!("skipped: no network namespace: {why}"),
    };
    let place = Place::new();
    let (mut a, mut b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.write("plant", entries());
    b.space = Some(space.0.clone());
    let server = b.serve();
    a.reaches(&b, &server.url, "export,import");
    a.space = Some(space.0.clone());
    let line = match space.slow() {
        Ok(line) => line,
        Err(why) => return println!("skipped: the kernel slows no line: {why}"),
    };
    let start = Instant::now();
    let done = a.json(&["sync", "b", "--tries", "50", "--stall", "30s"]);
    let (seconds, sent) = (start.elapsed().as_secs_f64(), done["sent_bytes"].as_u64().unwrap());
    println!("{line}: {} entries, {sent} bytes in {seconds:.0} s, {} reconnects", entries(), done["reconnects"]);
    assert_eq!(done["pushed"]["added"], entries(), "{done}");
    assert_eq!(done["pushed"]["known"], 0, "{done}");
    a.space = None;
    assert_eq!(a.heads(), b.heads());
}
