//! What a command says goes through a spool where its reader could make it wait.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::Console;
use super::channel::Channel;
use super::spool::Spool;

/// The writing of what a command says, until all of it is written.
pub(crate) struct Spooling {
    spool: Arc<Spool>,
    thread: JoinHandle<()>,
}

impl Spooling {
    /// The console with a stdout that never waits, if its reader could make it
    /// wait. What is said on stderr keeps its place where both are one pipe.
    pub(crate) fn between(console: &Console) -> (Console, Option<Self>) {
        let (stdout, stderr) = (console.stdout(), console.stderr());
        let Some(pipe) = identity(&stdout) else { return (console.clone(), None) };
        let spool = Arc::new(Spool::default());
        let (inside, out) = (Arc::clone(&spool), stdout.clone());
        // Without a thread the command waits for its reader.
        let spawned = thread::Builder::new().name("output".into()).spawn(move || inside.write_out(out));
        let Ok(thread) = spawned else { return (console.clone(), None) };
        let is_one = identity(&stderr) == Some(pipe);
        let mut spooled = console.clone().with_stdout(stdout.spooled(Arc::clone(&spool)));
        if is_one {
            spooled = spooled.with_stderr(stderr.spooled(Arc::clone(&spool)));
        }
        (spooled, Some(Self { spool, thread }))
    }

    /// Waits until the reader has taken everything.
    pub(crate) fn end(self) -> io::Result<()> {
        self.spool.end();
        if self.thread.join().is_err() {
            return Err(io::Error::other("the thread that writes broke off"));
        }
        self.spool.failed()
    }
}

/// Which pipe or socket a channel is, if it is one.
fn identity(channel: &Channel) -> Option<(u64, u64)> {
    let found = channel.file().metadata().ok()?;
    let kind = found.file_type();
    (kind.is_fifo() || kind.is_socket()).then(|| (found.dev(), found.ino()))
}
