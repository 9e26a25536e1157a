//! What was acknowledged survives when the file system is cut off.
//!
//! A kill proves nothing about power: the kernel still writes what the process
//! had handed over. Here a child writes to an ext4 image on a loop device, and
//! in the middle of that the file system is shut down without a flush of its
//! journal. What had not reached the device is gone. Then the image is mounted
//! again, and the store has to hold a prefix of the commits, no shorter than
//! what the child reported as durable.
//!
//! Needs root, a loop device, `mkfs.ext4` and `python3`; is skipped, and says
//! so, without them. `THINGDB_POWER_CUTS` is the number of cuts for each kind
//! of writer; the default is 4.

#[path = "support/storage_script.rs"]
mod storage_script;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use thingdb::storage::Storage;
use thingdb::storage::journaled::JournaledStorage;

/// An ext4 image on a loop device, unmounted when dropped.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
    mounted: bool,
}

impl Disk {
    fn new(directory: &Path, bytes: u64) -> Result<Self, String> {
        let image = directory.join("image");
        let mount = directory.join("mount");
        fs::create_dir(&mount).map_err(|error| error.to_string())?;
        fs::File::create(&image).and_then(|file| file.set_len(bytes)).map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let mut disk = Self { image, mount, mounted: false };
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&mut self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount))?;
        self.mounted = true;
        Ok(())
    }

    /// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`. In a child,
    /// because an ioctl needs `unsafe` here and none there.
    fn cut(&self) -> Result<(), String> {
        let program = "import fcntl,os,sys,struct\n\
             fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";
        run(Command::new("python3").args(["-c", program]).arg(&self.mount))
    }

    fn unmount(&mut self) -> Result<(), String> {
        run(Command::new("umount").arg(&self.mount))?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = self.unmount();
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}", text.trim()))
}

/// How the child writes.
#[derive(Clone, Copy)]
struct Writer {
    /// How many commits it makes before it waits for one.
    commits_per_wait: u64,
    /// Whether the file system keeps the order of its writes.
    ordered: bool,
    /// Whether the journal is compacted all the time.
    compacted: bool,
}

/// A child that writes and reports what is durable.
fn start_writer(directory: &Path, writer: Writer) -> (Child, mpsc::Receiver<u64>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_storage_writer"))
        .arg(directory)
        .arg(writer.commits_per_wait.to_string())
        .arg(writer.ordered.to_string())
        .args(writer.compacted.then_some("compact"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, acknowledged) = mpsc::channel();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if sender.send(line.parse().unwrap()).is_err() {
                return;
            }
        }
    });
    (child, acknowledged)
}

fn cuts() -> u64 {
    std::env::var("THINGDB_POWER_CUTS").map_or(4, |n| n.parse().expect("a number of cuts"))
}

/// The journal alone has the same.
fn from_journal(database: &Path, expected: u64) -> Result<u64, String> {
    fs::remove_dir_all(database.join("store")).map_err(|error| error.to_string())?;
    let storage = JournaledStorage::open(database, storage_script::options()).map_err(|error| error.to_string())?;
    let found = storage_script::check_prefix(&storage, expected)?;
    storage.close().map_err(|error| error.to_string())?;
    if found == expected { Ok(found) } else { Err(format!("the store had {expected} commits, the journal {found}")) }
}

fn power_cuts(writer: Writer) {
    let directory = tempfile::tempdir().unwrap();
    // Sparse, and large: a fast machine writes more between two cuts, and a
    // writer that finds the disk full acknowledges nothing.
    let mut disk = match Disk::new(directory.path(), 4 << 30) {
        Ok(disk) => disk,
        Err(reason) => {
            println!("skipped: {reason}");
            return;
        }
    };
    let database = disk.mount.join("database");
    let mut bad = Vec::new();
    for cut in 0..cuts() {
        // A store that has grown too large for the image starts afresh.
        if cut % 8 == 0 {
            let _ = fs::remove_dir_all(&database);
            fs::create_dir(&database).unwrap();
        }
        let (mut child, acknowledged) = start_writer(&database, writer);
        let mut last =
            acknowledged.recv_timeout(Duration::from_secs(60)).expect("a first commit is acknowledged within a minute");
        // The moment of the cut: somewhere in the first 1.2 seconds.
        thread::sleep(Duration::from_millis(20 + (cut * 367) % 1200));
        if let Err(reason) = disk.cut() {
            let _ = child.kill();
            let _ = child.wait();
            println!("skipped: {reason}");
            return;
        }
        // A report that comes after the cut is a promise like any other. The
        // child ends by itself at the first error: the channel closes then. A
        // sync that hangs is a failure of its own.
        loop {
            match acknowledged.recv_timeout(Duration::from_secs(30)) {
                Ok(n) => last = n,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let _ = child.kill();
                    panic!("the writer ends when its disk is gone");
                }
            }
        }
        child.wait().unwrap();
        disk.unmount().unwrap();
        disk.mount().unwrap();
        let checked = JournaledStorage::open(&database, storage_script::options())
            .map_err(|error| format!("cannot open: {error}"))
            .and_then(|storage| {
                let checked = storage_script::check_prefix(&storage, last)?;
                storage.close().map_err(|error| error.to_string())?;
                Ok(checked)
            })
            .and_then(|found| if writer.compacted { from_journal(&database, found) } else { Ok(found) });
        match checked {
            Ok(found) => println!("cut {cut}: {last} acknowledged, {found} found"),
            Err(reason) => {
                println!("cut {cut}: {last} acknowledged: {reason}");
                bad.push(reason);
                let _ = fs::remove_dir_all(&database);
                fs::create_dir(&database).unwrap();
            }
        }
    }
    assert!(bad.is_empty(), "{} of {} cuts: {bad:#?}", bad.len(), cuts());
}

#[test]
fn durable_commits_survive_power_cuts() {
    power_cuts(Writer { commits_per_wait: 1, ordered: true, compacted: false });
}

/// Most commits are waited for by nobody: those that were have to survive
/// whatever the later ones overwrote. Before the log was written in order,
/// 3 of 4 cuts lost the whole store.
#[test]
fn relaxed_commits_do_not_endanger_durable_ones() {
    power_cuts(Writer { commits_per_wait: 5000, ordered: true, compacted: false });
}

#[test]
fn relaxed_commits_do_not_where_the_file_system_keeps_no_order() {
    power_cuts(Writer { commits_per_wait: 5000, ordered: false, compacted: false });
}

#[test]
fn a_compaction_that_is_cut_off_loses_nothing() {
    power_cuts(Writer { commits_per_wait: 50, ordered: true, compacted: true });
}
