//! A start without the passphrase in the environment.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::FdFlags;
use zeroize::Zeroizing;

use super::args::Cli;
use crate::console::Console;
use crate::console::passphrase::{self, PASSPHRASE_VARIABLE};

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
