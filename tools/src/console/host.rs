//! Who a command works for.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::channel::Channel;
use super::question::{Answer, Question};
use super::replace::{self, Manner, Place};
use super::{environment, interrupt};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// To read what is there.
    Read,
    /// To read a regular file: no link in its place is followed, and nothing waits for a
    /// pipe.
    Regular,
    /// To write at its end; it is made if it is not there.
    Append,
}

/// Who a command works for: this process, or a client.
pub(crate) trait Host: Send + Sync {
    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<OsString>;
    /// A path as this process can use it.
    fn path(&self, path: &Path) -> PathBuf;
    /// Opens a file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Channel>;
    /// Starts to write what will be at `path`.
    fn replace(&self, path: &Path, manner: Manner) -> io::Result<Place>;
    /// Has a passphrase read that is not the one that opens the database; `here`
    /// reads it in this process.
    fn answer(&self, question: &Question, here: &dyn Fn() -> Answer) -> Answer;
    /// From here on, or no longer, a signal only asks the command to stop.
    fn be_patient(&self, patient: bool);
    /// Whether somebody asked the command to stop.
    fn is_interrupted(&self) -> bool;
    /// Whether that is because the server ends in which the command runs.
    fn is_server_ending(&self) -> bool;
}

/// While it is there, a signal only asks.
pub(crate) struct Patience(Arc<dyn Host>);

impl Patience {
    /// From here on a signal only asks.
    pub(crate) fn begin(host: &Arc<dyn Host>) -> Self {
        host.be_patient(true);
        Self(Arc::clone(host))
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        self.0.be_patient(false);
    }
}

/// This process.
pub(crate) struct Process;

impl Host for Process {
    fn variable(&self, name: &str) -> Option<OsString> {
        environment::variable(name)
    }

    fn path(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Channel> {
        let mut options = OpenOptions::new();
        match access {
            Access::Read => options.read(true),
            Access::Regular => options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32),
            Access::Append => options.read(true).append(true).create(true),
        };
        let opened = options.open(path).map_err(|problem| match problem.raw_os_error() {
            Some(errno) if access == Access::Regular && errno == Errno::LOOP.raw_os_error() => not_regular(),
            _ => environment::with_working_directory(path, problem),
        })?;
        if access == Access::Regular && !opened.metadata()?.is_file() {
            return Err(not_regular());
        }
        Ok(Channel::own(opened))
    }

    fn replace(&self, path: &Path, manner: Manner) -> io::Result<Place> {
        replace::beside(path, manner).map_err(|problem| environment::with_working_directory(path, problem))
    }

    fn answer(&self, _: &Question, here: &dyn Fn() -> Answer) -> Answer {
        here()
    }

    fn be_patient(&self, patient: bool) {
        interrupt::be_patient(patient);
    }

    fn is_interrupted(&self) -> bool {
        interrupt::is_requested()
    }

    fn is_server_ending(&self) -> bool {
        false
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")
}
