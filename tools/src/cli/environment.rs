//! The variables of this process's environment. One that is empty is none:
//! scripts and unit files unset a variable so.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::FdFlags;
use zeroize::Zeroizing;

use super::args::Cli;
use super::console::Console;
use super::passphrase::{self, PASSPHRASE_VARIABLE};

/// A variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// All such variables.
pub(crate) fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(_, value)| !value.is_empty())
}

/// Says of a file that was not found that there is no directory to find it in, if
/// so: one that was deleted still looks like one to the shell.
pub(crate) fn with_working_directory(path: &Path, problem: io::Error) -> io::Error {
    if problem.kind() == io::ErrorKind::NotFound && has_lost_directory(path) {
        return io::Error::new(problem.kind(), LOST_DIRECTORY);
    }
    problem
}

/// What is wrong where [`has_lost_directory`] says so.
pub(crate) const LOST_DIRECTORY: &str =
    "the working directory was deleted, so nothing can be named by its place below it";

/// Whether a path is one from the working directory, and that was deleted.
pub(crate) fn has_lost_directory(path: &Path) -> bool {
    path.is_relative() && std::env::current_dir().is_err()
}

/// Starts this program anew without the passphrase in its environment, for
/// commands that run long: whoever may look at a process sees the environment
/// that it was started with, for as long as it runs, and what it starts inherits
/// it. The passphrase goes through a pipe.
///
/// Returns where there is nothing to do, or where it cannot be done, which is
/// said.
pub(crate) fn without_passphrase(cli: &Cli, args: &[OsString], console: &Console) {
    let Some(passphrase) = std::env::var_os(PASSPHRASE_VARIABLE) else { return };
    if !cli.command.runs_long() {
        return;
    }
    let passphrase = Zeroizing::new(passphrase.into_encoded_bytes());
    let is_needed = passphrase::is_of_environment(&cli.global.passphrase, console);
    // There is no way back from a start that works.
    let Err(problem) = start_anew(args, is_needed.then_some(&passphrase));
    console
        .warning("environment", format!("the passphrase stays in the environment of this process: {problem}"))
        .hint("give --passphrase-file FILE instead; thingdb help passphrase")
        .say();
}

fn start_anew(args: &[OsString], passphrase: Option<&Zeroizing<Vec<u8>>>) -> io::Result<std::convert::Infallible> {
    let mut command = Command::new(program()?);
    if let Some(name) = args.first() {
        command.arg0(name);
    }
    // Where the program that is started finds it.
    let mut reader = None;
    if let Some(passphrase) = passphrase {
        if passphrase.len() as u64 > passphrase::MAX_BYTES {
            return Err(io::Error::other("it is too long to be one"));
        }
        let (read, mut write) = io::pipe()?;
        // A pipe takes as much at once as the longest passphrase has.
        write.write_all(passphrase)?;
        rustix::io::fcntl_setfd(&read, FdFlags::empty())?;
        command.arg("--passphrase-fd").arg(read.as_raw_fd().to_string());
        reader = Some(read);
    }
    let problem = command.args(args.iter().skip(1)).env_remove(PASSPHRASE_VARIABLE).exec();
    drop(reader);
    Err(problem)
}

/// This program by its name, so that it is still called so; where its file was
/// replaced, by what the system runs.
fn program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    Ok(if path.is_file() { path } else { Path::new("/proc/self/exe").to_owned() })
}
