//! One client at the server: what it wants to be run, and what the command asks
//! of it.

use std::ffi::OsString;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use thingdb::Db;

use super::message::{Command, Greeting, Message};
use super::socket;
use super::wire::{self, malformed};
use crate::console::channel::{Channel, Leash};
use crate::console::question::{Answer, Question};
use crate::console::replace::{Manner, Pending, Place};
use crate::console::{Access, Console, Host};
use crate::error::{Exit, Failure};

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(30);

/// As large as that of a process's first thread: the same code runs here.
const STACK_BYTES: usize = 8 << 20;

/// Runs a command on the database: its arguments, the variables of the client's
/// environment, and what it has around it.
pub(crate) type Run = fn(&[OsString], &dyn Fn(&str) -> Option<OsString>, &Console, Arc<Db>) -> Exit;

/// A client, from its first word to its exit code.
pub(crate) struct Session {
    stream: UnixStream,
    /// Held for the whole of a message, so that no two are mixed.
    sending: Mutex<()>,
    /// Cut when the client is gone or the command has ended: whoever waits for
    /// its files wakes up.
    leash: Arc<Leash>,
    is_interrupted: AtomicBool,
    is_server_ending: AtomicBool,
}

impl Session {
    /// A client that has connected.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        let leash = Arc::new(Leash::new()?);
        Ok(Self {
            stream,
            sending: Mutex::new(()),
            leash,
            is_interrupted: AtomicBool::new(false),
            is_server_ending: AtomicBool::new(false),
        })
    }

    /// Asks the command to stop.
    pub(crate) fn interrupt(&self) {
        self.is_interrupted.store(true, Ordering::SeqCst);
    }

    /// Asks the command to stop, because the server ends.
    pub(crate) fn end(&self) {
        self.is_server_ending.store(true, Ordering::SeqCst);
        self.interrupt();
    }

    /// Leaves the client alone, whatever its command does.
    pub(crate) fn cut(&self) {
        self.interrupt();
        self.leash.cut();
        // It fails only if the client has done so.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Tells the client, who is greeted if that has not been done, that nothing
    /// is run for it.
    pub(crate) fn refuse(&self, is_greeted: bool, failure: Failure) {
        let greeted = if is_greeted { Ok(()) } else { self.send(&Message::Greeting(Greeting::own())) };
        // A client that has gone needs no answer.
        let _ = greeted.and_then(|()| self.send(&Message::Refused(failure)));
    }

    /// Checks who the client is, greets it, and learns what it wants to be run.
    pub(crate) fn greet(&self) -> io::Result<Command> {
        if let Some(user) = socket::user(&self.stream)?
            && !socket::is_ours(user)
        {
            self.refuse(
                false,
                Failure::new(Exit::NotOwn, "other-user", format!("the server takes no command from user {user}")),
            );
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.send(&Message::Greeting(Greeting::own()))?;
        self.stream.set_read_timeout(Some(PATIENCE))?;
        let frame = wire::Receiver::new(&self.stream).next()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.stream.set_read_timeout(None)?;
        match Message::read(frame)? {
            Message::Command(command) => Ok(command),
            _ => Err(malformed()),
        }
    }

    /// Runs the command to its end, or to that of the client.
    pub(crate) fn run(self: &Arc<Self>, command: Command, db: Arc<Db>, run: Run) -> io::Result<()> {
        let (answers, waiting) = sync_channel(1);
        let session = Arc::clone(self);
        let work = thread::Builder::new().name("command".into()).stack_size(STACK_BYTES).spawn(move || {
            let code = session.execute(command, waiting, db, run);
            // A client that has gone needs no answer.
            let _ = session.send(&Message::Done(code));
            session.cut();
        })?;
        self.listen(&answers);
        drop(answers);
        self.cut();
        // The thread catches what panics in it.
        let _ = work.join();
        Ok(())
    }

    /// Takes what the client says until it ends.
    fn listen(&self, answers: &SyncSender<Message>) {
        let mut frames = wire::Receiver::new(&self.stream);
        while let Ok(Some(frame)) = frames.next() {
            match Message::read(frame) {
                Ok(Message::Interrupt) => self.interrupt(),
                // Who answers what nobody asked would have us hold what comes
                // with it. A command that has ended wants no answer.
                Ok(answer) => match answers.try_send(answer) {
                    Ok(()) | Err(TrySendError::Disconnected(_)) => {}
                    Err(TrySendError::Full(_)) => return,
                },
                Err(_) => return,
            }
        }
    }

    fn execute(self: &Arc<Self>, command: Command, answers: Receiver<Message>, db: Arc<Db>, run: Run) -> u8 {
        let Command { args, dir, variables, colours, paged, streams } = command;
        let client = Client {
            session: Arc::clone(self),
            answers: Mutex::new(answers),
            dir,
            variables,
            replacements: AtomicU32::new(0),
        };
        let Ok(streams) = <[_; 3]>::try_from(streams) else { return Exit::Usage as u8 };
        let [stdin, stdout, stderr] = streams.map(|stream| Channel::on_leash(stream, Arc::clone(&self.leash)));
        let stdout = match paged {
            Some(columns) => stdout.read_by_a_person(columns),
            None => stdout,
        };
        let client = Arc::new(client);
        let host = Arc::new(Remote(Arc::clone(&client)));
        let console = Console::new([stdin, stdout, stderr], host).colourful(colours);
        let ran = catch_unwind(AssertUnwindSafe(|| run(&args, &|name| client.variable(name), &console, db)));
        let exit = ran.unwrap_or_else(|_| {
            let fact = "the command broke off in the server; its log tells where";
            console.fail(&Failure::new(Exit::Unexpected, "unexpected", fact));
            Exit::Unexpected
        });
        exit as u8
    }

    fn send(&self, message: &Message) -> io::Result<()> {
        let _whole = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        message.send(&self.stream)
    }
}

/// What a command asks of its client.
struct Client {
    session: Arc<Session>,
    /// Held from a question to its answer.
    answers: Mutex<Receiver<Message>>,
    dir: PathBuf,
    variables: Vec<(OsString, OsString)>,
    /// Files that were begun beside their place.
    replacements: AtomicU32,
}

impl Client {
    fn variable(&self, name: &str) -> Option<OsString> {
        let set = self.variables.iter().find(|(known, value)| known == name && !value.is_empty());
        set.map(|(_, value)| value.clone())
    }

    /// Asks the client for something. One that is gone is a closed pipe.
    fn ask(&self, question: &Message) -> io::Result<Message> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        self.session.send(question)?;
        match answers.recv() {
            Ok(Message::Problem(problem)) => Err(problem.into()),
            Ok(answer) => Ok(answer),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// The process of the client.
struct Remote(Arc<Client>);

impl Host for Remote {
    fn variable(&self, name: &str) -> Option<OsString> {
        self.0.variable(name)
    }

    fn path(&self, path: &Path) -> PathBuf {
        self.0.dir.join(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Channel> {
        match self.0.ask(&Message::Open(path.to_owned(), access))? {
            Message::Opened(file) => Ok(Channel::on_leash(file, Arc::clone(&self.0.session.leash))),
            _ => Err(malformed()),
        }
    }

    fn replace(&self, path: &Path, manner: Manner) -> io::Result<Place> {
        let Message::Replacing(file, is_pending) = self.0.ask(&Message::Replace(path.to_owned(), manner))? else {
            return Err(malformed());
        };
        let number = self.0.replacements.fetch_add(1, Ordering::SeqCst);
        let beside = || Box::new(Beside { client: Arc::clone(&self.0), number, is_settled: false }) as Box<dyn Pending>;
        let out = Channel::on_leash(file, Arc::clone(&self.0.session.leash));
        Ok(Place { out, pending: is_pending.then(beside) })
    }

    fn answer(&self, question: &Question, _: &dyn Fn() -> Answer) -> Answer {
        let gone = |problem: io::Error| Failure::file("the client", &problem);
        match self.0.ask(&Message::Ask(question.clone())).map_err(gone)? {
            Message::Answer(secret) => Ok(secret),
            Message::Refused(failure) => Err(failure),
            _ => Err(gone(malformed())),
        }
    }

    fn be_patient(&self, patient: bool) {
        // A client that has gone has interrupted the command already.
        let _ = self.0.session.send(&Message::Patience(patient));
    }

    fn is_interrupted(&self) -> bool {
        self.0.session.is_interrupted.load(Ordering::SeqCst)
    }

    fn is_server_ending(&self) -> bool {
        self.0.session.is_server_ending.load(Ordering::SeqCst)
    }
}

/// A file that the client has begun beside its place.
struct Beside {
    client: Arc<Client>,
    number: u32,
    is_settled: bool,
}

impl Pending for Beside {
    fn commit(mut self: Box<Self>) -> io::Result<()> {
        self.is_settled = true;
        match self.client.ask(&Message::Commit(self.number))? {
            Message::Committed => Ok(()),
            _ => Err(malformed()),
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.is_settled {
            // A client that has gone has removed it.
            let _ = self.client.session.send(&Message::Discard(self.number));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn answers_that_nobody_asked_for_end_the_conversation() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let session = Session::new(theirs).unwrap();
        let (answers, _waiting) = sync_channel(1);
        let sent = std::thread::spawn(move || {
            let null = || File::open("/dev/null").unwrap().into();
            let sent = (0..1_000).take_while(|_| Message::Opened(null()).send(&ours).is_ok()).count();
            (sent, ours)
        });
        // It ends, although the client is still there.
        session.listen(&answers);
        session.cut();
        let (_, ours) = sent.join().unwrap();
        drop(ours);
    }
}
