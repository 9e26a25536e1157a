//! The server's end of the local socket: takes clients in, and lets them out
//! when the server ends.

use std::collections::BTreeMap;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use thingdb::Db;

use super::session::{Run, Session};
use super::socket;
use crate::error::{Exit, Failure};

/// Commands that run at once. Each may hold a batch of 16 MiB.
const MAX_COMMANDS: usize = 64;

/// What a command gets to end after its files were taken away.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// Takes commands on the database of a directory, until it is stopped.
pub(crate) struct Listener {
    dir: PathBuf,
    clients: Arc<Clients>,
    accepting: JoinHandle<()>,
    /// Shut down to end the accepting.
    wake: UnixStream,
}

impl Listener {
    /// Starts to listen in the directory of the database. Each command that comes
    /// is run by `run`.
    ///
    /// Threads of its own do the work. They let go of the database before
    /// [`Listener::stop`] returns, unless a command does not end in time.
    pub(crate) fn start(db: &Arc<Db>, run: Run) -> io::Result<Self> {
        let dir = db.dir().to_owned();
        let socket = socket::listen(&dir)?;
        // Nobody else takes from it, but who connects may be gone by then.
        socket.set_nonblocking(true)?;
        let (wake, end) = UnixStream::pair()?;
        let clients = Arc::new(Clients::default());
        let (db, inside) = (Arc::clone(db), Arc::clone(&clients));
        let accepting = thread::Builder::new()
            .name("local socket".into())
            .spawn(move || accept(&socket, &end, &inside, &db, run))?;
        Ok(Self { dir, clients, accepting, wake })
    }

    /// Takes the socket away, asks the commands that run to stop, and waits for
    /// them, but not longer than `patience`. Gives how many do not end.
    pub(crate) fn stop(self, patience: Duration) -> usize {
        socket::remove(&self.dir);
        // It cannot fail on an open socket; and the thread does not panic.
        let _ = self.wake.shutdown(Shutdown::Both);
        let _ = self.accepting.join();
        self.clients.end(patience)
    }
}

fn accept(socket: &UnixListener, end: &UnixStream, clients: &Arc<Clients>, db: &Arc<Db>, run: Run) {
    loop {
        let mut waiting = [PollFd::new(socket, PollFlags::IN), PollFd::new(end, PollFlags::IN)];
        let polled = poll(&mut waiting, None);
        if waiting.iter().skip(1).any(|end| !end.revents().is_empty()) {
            return;
        }
        match polled.map_err(io::Error::from).and_then(|_| socket.accept()) {
            Ok((stream, _)) => take_in(stream, clients, db, run),
            Err(problem) if matches!(problem.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            // Too many open files: some will be closed.
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn take_in(stream: UnixStream, clients: &Arc<Clients>, db: &Arc<Db>, run: Run) {
    // What fails here closes the connection, and the client says so.
    let Ok(()) = stream.set_nonblocking(false) else { return };
    let Ok(session) = Session::new(stream).map(Arc::new) else { return };
    let Some(number) = clients.add(&session) else {
        let fact = format!("the server runs {MAX_COMMANDS} commands already");
        return session.refuse(false, Failure::new(Exit::Locked, "busy", fact).hint("wait for one of them to end"));
    };
    let (inside, db) = (Arc::clone(clients), Arc::clone(db));
    let spawned = thread::Builder::new().name("client".into()).spawn(move || {
        let command = session.greet();
        match command {
            Ok(command) if inside.begin(number) => {
                let failed = session.run(command, Arc::clone(&db), run);
                if let Err(problem) = failed {
                    session.refuse(true, Failure::new(Exit::Unexpected, "unexpected", problem.to_string()));
                }
            }
            Ok(_) => {
                let ending = Failure::new(Exit::Locked, "locked", "the server is about to end");
                session.refuse(true, ending.hint("run the command again"));
            }
            // Whoever says nothing sensible gets no answer.
            Err(_) => {}
        }
        // Before the client is out: who ends the server closes the database then.
        drop(db);
        inside.remove(number);
    });
    if spawned.is_err() {
        clients.remove(number);
    }
}

/// The clients that are there.
#[derive(Default)]
struct Clients {
    inside: Mutex<Inside>,
    left: Condvar,
}

#[derive(Default)]
struct Inside {
    is_closing: bool,
    last: u64,
    sessions: BTreeMap<u64, (Arc<Session>, bool)>,
}

impl Clients {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new client, if there is room.
    fn add(&self, session: &Arc<Session>) -> Option<u64> {
        let mut inside = self.lock();
        if inside.sessions.len() >= MAX_COMMANDS {
            return None;
        }
        inside.last = inside.last.saturating_add(1);
        let number = inside.last;
        inside.sessions.insert(number, (Arc::clone(session), false));
        Some(number)
    }

    /// The command of a client begins, unless the server is about to end.
    fn begin(&self, number: u64) -> bool {
        let mut inside = self.lock();
        let is_closing = inside.is_closing;
        inside.sessions.get_mut(&number).is_some_and(|(_, has_begun)| {
            *has_begun = !is_closing;
            *has_begun
        })
    }

    fn remove(&self, number: u64) {
        self.lock().sessions.remove(&number);
        self.left.notify_all();
    }

    /// Ends all commands and gives how many would not.
    fn end(&self, patience: Duration) -> usize {
        let mut inside = self.lock();
        inside.is_closing = true;
        for (session, has_begun) in inside.sessions.values() {
            if *has_begun { session.end() } else { session.cut() }
        }
        let some_are_there = |inside: &mut Inside| !inside.sessions.is_empty();
        let waited = self.left.wait_timeout_while(inside, patience, some_are_there);
        let (inside, _) = waited.unwrap_or_else(PoisonError::into_inner);
        inside.sessions.values().for_each(|(session, _)| session.cut());
        let waited = self.left.wait_timeout_while(inside, LAST_PATIENCE, some_are_there);
        let (inside, _) = waited.unwrap_or_else(PoisonError::into_inner);
        inside.sessions.len()
    }
}
