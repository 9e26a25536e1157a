//! Two processes and one lock.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use thingdb::lock::{DirLock, LockError};

const DIRECTORY: &str = "THINGDB_TEST_LOCK_DIRECTORY";

/// The other process: this test, run by the one below.
#[test]
fn holder() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let lock = DirLock::acquire_within(directory.as_ref(), Duration::from_secs(1)).unwrap();
    println!("\nlocked");
    std::io::stdout().flush().unwrap();
    // Until the parent closes its end, or kills.
    std::io::stdin().read_line(&mut String::new()).unwrap();
    drop(lock);
}

#[test]
fn second_process_is_told_who_holds_the_lock_and_a_killed_holder_leaves_none() {
    let dir = tempfile::tempdir().unwrap();
    for killed in [false, true] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "holder", "--nocapture"])
            .env(DIRECTORY, dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "locked"), "the other process did not get the lock");

        let refusal = DirLock::acquire_within(dir.path(), Duration::ZERO).unwrap_err();
        assert!(matches!(refusal, LockError::Locked { holder: Some(pid), .. } if pid == child.id()), "{refusal}");

        if killed {
            child.kill().unwrap();
        }
        drop(child.stdin.take());
        child.wait().unwrap();
        DirLock::acquire_within(dir.path(), Duration::ZERO).unwrap();
    }
}
