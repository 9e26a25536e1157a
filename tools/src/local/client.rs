//! The client's end of the local socket: hands a command to the server and does
//! for it what only this process can do.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thingdb::Db;

use super::message::{self, Command, Greeting, Message};
use super::socket;
use super::wire::{Receiver, malformed};
use crate::console::channel::Channel;
use crate::console::passphrase::Sources;
use crate::console::replace::{Manner, Pending};
use crate::console::{Console, Patience, environment, interrupt};
use crate::error::{Exit, Failure, Outcome};
use crate::user;

/// How long a server may take to greet.
const PATIENCE: Duration = Duration::from_secs(30);

/// Variables that the server does not get to see: they hold secrets, or say how
/// to get them.
const SECRET: [&str; 2] = ["THINGDB_PASSPHRASE", "THINGDB_PASSPHRASE_COMMAND"];

/// A server that holds the database, and waits for a command.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects to the server that holds the database in `dir`, if there is
    /// one.
    pub(crate) fn connect(dir: &Path) -> Outcome<Option<Self>> {
        // What lies there may be another socket than that of a server.
        Db::check_directory(dir)?;
        let shown = dir.display();
        let failure = |problem: io::Error| Failure::file(&format!("the socket in {shown}"), &problem);
        let Some(stream) = socket::connect(dir).map_err(failure)? else { return Ok(None) };
        // It gets our descriptors, and opens files in our name.
        if let Some(user) = socket::user(&stream).map_err(failure)?
            && !socket::is_ours(user)
        {
            return Err(Failure::new(
                Exit::NotOwn,
                "other-user",
                format!("the server that holds {shown} runs as user {user}"),
            )
            .hint(format!("sudo -u {} thingdb …", user::named(user))));
        }
        stream.set_read_timeout(Some(PATIENCE)).map_err(failure)?;
        let frame = match Receiver::new(&stream).next() {
            Ok(Some(frame)) => frame,
            // It was about to end.
            Ok(None) => return Ok(None),
            Err(problem) if problem.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(problem) if matches!(problem.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                let fact = format!("the server that holds {shown} does not answer");
                return Err(Failure::new(Exit::Locked, "locked", fact).hint("look what the server does, or stop it"));
            }
            Err(problem) => return Err(failure(problem)),
        };
        stream.set_read_timeout(None).map_err(failure)?;
        match Message::read(frame).map_err(failure)? {
            Message::Greeting(greeting) if greeting.is_own() => Ok(Some(Self { stream })),
            Message::Greeting(greeting) => Err(other_version(&shown.to_string(), &greeting)),
            _ => Err(failure(malformed())),
        }
    }

    /// Has the server run a command, and gives its exit code. Passphrases that it
    /// asks for come from `sources`.
    pub(crate) fn run(self, console: &Console, sources: Sources, args: &[OsString]) -> Outcome<ExitCode> {
        Errand::new(self.stream, console, sources)?.run(args)
    }
}

fn other_version(dir: &str, greeting: &Greeting) -> Failure {
    let own = Greeting::own();
    let fact = format!("the server that holds {dir} is thingdb {}, this is {}", greeting.version, own.version);
    let failure = Failure::new(Exit::Unexpected, "other-version", fact);
    let failure = if greeting.version == own.version {
        failure.cause(format!("and they speak {} and {} on the socket", greeting.protocol, own.protocol))
    } else {
        failure
    };
    failure.hint("use the program that the server runs, or restart the server with this one")
}

/// The word for a server that is gone in the middle of a command.
pub(crate) const SERVER_GONE: &str = "server-gone";

/// The server is gone in the middle of a command.
fn gone() -> Failure {
    Failure::new(Exit::Unexpected, SERVER_GONE, "the server ended before the command did")
        .cause("what was reported as stored is stored; what else was, thingdb log THING tells")
        .hint("start the server, or run the command without it")
}

/// A command that the server runs, from the side of the client.
struct Errand<'a> {
    console: &'a Console,
    sources: Sources,
    stream: UnixStream,
    /// Whoever sends holds it for the whole of a message.
    sender: Arc<Mutex<UnixStream>>,
    /// Files that were begun beside their place.
    pending: Vec<Option<Box<dyn Pending>>>,
    /// While a signal only asks the command to stop.
    patience: Option<Patience>,
}

impl<'a> Errand<'a> {
    fn new(stream: UnixStream, console: &'a Console, sources: Sources) -> Outcome<Self> {
        let sender = stream.try_clone().map_err(|problem| Failure::file("the local socket", &problem))?;
        let sender = Arc::new(Mutex::new(sender));
        Ok(Self { console, sources, stream, sender, pending: Vec::new(), patience: None })
    }

    fn run(mut self, args: &[OsString]) -> Outcome<ExitCode> {
        let streams = [self.console.stdin(), self.console.stdout(), self.console.stderr()];
        let streams: io::Result<Vec<OwnedFd>> = streams.iter().map(descriptor).collect();
        let named = |(name, _): &(OsString, OsString)| {
            let name = name.to_string_lossy();
            name == "CREDENTIALS_DIRECTORY" || (name.starts_with("THINGDB_") && !SECRET.contains(&&*name))
        };
        let command = Command {
            args: args.to_vec(),
            // Without one, relative paths are found from the server's.
            dir: std::env::current_dir().unwrap_or_default(),
            variables: environment::variables().filter(named).collect(),
            colours: self.console.colours(),
            paged: self.console.stdout().paged(),
            streams: streams.map_err(|problem| Failure::file("stdin, stdout or stderr", &problem))?,
        };
        let sender = Arc::clone(&self.sender);
        interrupt::on_request(Box::new(move || {
            // A server that is gone needs not be asked.
            let _ = send(&sender, &Message::Interrupt);
        }));
        // A server that refuses may have ended the conversation already; what it
        // said is still there to be read.
        let _ = send(&self.sender, &Message::Command(command));
        if interrupt::is_requested() {
            // It may have come before there was somebody to tell.
            let _ = send(&self.sender, &Message::Interrupt);
        }
        let stream = self.stream.try_clone().map_err(|_| gone())?;
        let mut frames = Receiver::new(&stream);
        loop {
            let Ok(Some(frame)) = frames.next() else { return Err(gone()) };
            let answer = match Message::read(frame).map_err(|_| gone())? {
                Message::Done(code) => return Ok(ExitCode::from(code)),
                Message::Refused(failure) => return Err(failure),
                message => self.answer(message),
            };
            if let Some(answer) = answer {
                send(&self.sender, &answer).map_err(|_| gone())?;
            }
        }
    }

    /// Does what the server wants, and gives the answer if it wants one.
    fn answer(&mut self, message: Message) -> Option<Message> {
        let done = match message {
            Message::Patience(patient) => {
                self.patience = patient.then(|| self.console.patience());
                return None;
            }
            Message::Discard(number) => {
                self.take(number);
                return None;
            }
            Message::Ask(question) => {
                return Some(self.sources.answer(&question).map_or_else(Message::Refused, Message::Answer));
            }
            Message::Open(path, access) => {
                self.console.open(&path, access).and_then(|file| descriptor(&file)).map(Message::Opened)
            }
            Message::Replace(path, manner) => self.replace(&path, manner),
            Message::Commit(number) => self.take(number).map_or(Ok(()), Pending::commit).map(|()| Message::Committed),
            _ => Err(malformed()),
        };
        Some(done.unwrap_or_else(|problem| Message::Problem(message::Problem::from(problem))))
    }

    fn replace(&mut self, path: &Path, manner: Manner) -> io::Result<Message> {
        let place = self.console.place(path, manner)?;
        let file = descriptor(&place.out)?;
        let is_pending = place.pending.is_some();
        self.pending.push(place.pending);
        Ok(Message::Replacing(file, is_pending))
    }

    fn take(&mut self, number: u32) -> Option<Box<dyn Pending>> {
        let number = usize::try_from(number).ok()?;
        self.pending.get_mut(number)?.take()
    }
}

fn send(sender: &Mutex<UnixStream>, message: &Message) -> io::Result<()> {
    message.send(&sender.lock().unwrap_or_else(PoisonError::into_inner))
}

fn descriptor(channel: &Channel) -> io::Result<OwnedFd> {
    channel.file().try_clone().map(OwnedFd::from)
}
