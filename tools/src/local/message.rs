//! What client and server say to each other.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::wire::{self, Frame, malformed};
use crate::console::question::{Purpose, Question};
use crate::console::replace::Manner;
use crate::console::{Access, Colours};
use crate::error::Failure;

/// The version of the messages. Client and server have to be of one version of
/// the program anyway; this is for the time before one is released.
const PROTOCOL: u32 = 3;

/// What stands before the version, so that nobody takes another program for
/// the server.
const MAGIC: &[u8] = b"thingdb local socket\n";

/// What a client wants to be run.
#[derive(Debug)]
pub(crate) struct Command {
    /// The arguments, the name of the program first.
    pub(crate) args: Vec<OsString>,
    /// The directory that relative paths start at.
    pub(crate) dir: PathBuf,
    /// The variables of its environment that the command reads.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// Where colours are wanted.
    pub(crate) colours: Colours,
    /// Whether stdout goes to a pager, and for a terminal of how many columns.
    pub(crate) paged: Option<Option<u16>>,
    /// stdin, stdout, stderr.
    pub(crate) streams: Vec<OwnedFd>,
}

/// Something one side says. The descriptors go with it.
#[derive(Debug)]
pub(crate) enum Message {
    /// The server: who is here.
    Greeting(Greeting),
    /// The client: run this.
    Command(Command),
    /// Either: it cannot be done, and why.
    Refused(Failure),
    /// The server: from here on, or no longer, a signal only asks to stop.
    Patience(bool),
    /// The client: somebody asks to stop.
    Interrupt,
    /// The server: open this file.
    Open(PathBuf, Access),
    /// The client: here it is.
    Opened(OwnedFd),
    /// The server: start to write what will be here.
    Replace(PathBuf, Manner),
    /// The client: write there; and whether it has to be committed.
    Replacing(OwnedFd, bool),
    /// The server: move the file with this number, counted from 0 as they were
    /// started, to its place.
    Commit(u32),
    /// The server: remove it.
    Discard(u32),
    /// The client: done.
    Committed,
    /// The client: the file could not be opened or moved.
    Problem(Problem),
    /// The server: read a passphrase.
    Ask(Question),
    /// The client: this is it.
    Answer(Zeroizing<Vec<u8>>),
    /// The server: the command ended with this exit code.
    Done(u8),
}

/// Who a server is.
#[derive(Debug)]
pub(crate) struct Greeting {
    /// The version of the messages.
    pub(crate) protocol: u32,
    /// The version of the program.
    pub(crate) version: String,
}

impl Greeting {
    /// This program.
    pub(crate) fn own() -> Self {
        Self { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() }
    }

    /// Whether it is this program.
    pub(crate) fn is_own(&self) -> bool {
        let own = Self::own();
        (self.protocol, &self.version) == (own.protocol, &own.version)
    }
}

/// An error of the operating system, as it is told.
#[derive(Debug)]
pub(crate) struct Problem {
    number: Option<i32>,
    /// Of the kinds, only these make a difference to a command.
    is_not_found: bool,
    is_invalid: bool,
    text: String,
}

impl From<io::Error> for Problem {
    fn from(problem: io::Error) -> Self {
        let (kind, number) = (problem.kind(), problem.raw_os_error());
        let (is_not_found, is_invalid) = (kind == io::ErrorKind::NotFound, kind == io::ErrorKind::InvalidInput);
        Self { number, is_not_found, is_invalid, text: problem.to_string() }
    }
}

impl From<Problem> for io::Error {
    fn from(problem: Problem) -> Self {
        let kind = match (problem.is_not_found, problem.is_invalid) {
            (true, _) => io::ErrorKind::NotFound,
            (_, true) => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        problem.number.map_or_else(|| Self::new(kind, problem.text), Self::from_raw_os_error)
    }
}

impl Message {
    /// Sends it.
    pub(crate) fn send(&self, stream: &UnixStream) -> io::Result<()> {
        let mut out = Out::default();
        let mut descriptors: Vec<BorrowedFd<'_>> = Vec::new();
        let kind = match self {
            Self::Greeting(greeting) => {
                out.0.extend_from_slice(MAGIC);
                out.number(greeting.protocol).bytes(greeting.version.as_bytes());
                1
            }
            Self::Command(command) => {
                out.list(&command.args, |out, arg| out.bytes(arg.as_bytes()));
                out.bytes(command.dir.as_os_str().as_bytes());
                out.list(&command.variables, |out, (name, value)| out.bytes(name.as_bytes()).bytes(value.as_bytes()));
                out.flag(command.colours.talk).flag(command.colours.data);
                out.flag(command.paged.is_some()).number(command.paged.flatten().map_or(0, u32::from));
                descriptors.extend(command.streams.iter().map(AsFd::as_fd));
                2
            }
            Self::Refused(failure) => {
                out.bytes(&[failure.exit_code()]).bytes(failure.word().as_bytes()).bytes(failure.fact().as_bytes());
                out.list(failure.explanations(), |out, line| out.bytes(line.as_bytes()));
                out.list(failure.hints(), |out, line| out.bytes(line.as_bytes()));
                3
            }
            Self::Patience(patient) => {
                out.flag(*patient);
                4
            }
            Self::Interrupt => 5,
            Self::Open(path, access) => {
                out.bytes(path.as_os_str().as_bytes());
                out.flag(*access == Access::Append).flag(*access == Access::Regular);
                6
            }
            Self::Opened(file) => {
                descriptors.push(file.as_fd());
                7
            }
            Self::Replace(path, manner) => {
                let folders = if let Manner::Below(folders) = manner { u32::from(*folders) } else { 0 };
                out.bytes(path.as_os_str().as_bytes()).flag(*manner == Manner::Secret).number(folders);
                8
            }
            Self::Replacing(file, is_pending) => {
                descriptors.push(file.as_fd());
                out.flag(*is_pending);
                9
            }
            Self::Commit(number) => {
                out.number(*number);
                10
            }
            Self::Discard(number) => {
                out.number(*number);
                11
            }
            Self::Committed => 12,
            Self::Problem(problem) => {
                out.flag(problem.number.is_some()).number(problem.number.unwrap_or_default().unsigned_abs());
                out.flag(problem.is_not_found).flag(problem.is_invalid).bytes(problem.text.as_bytes());
                13
            }
            Self::Ask(question) => {
                out.number(question.purpose as u32);
                out.list(&question.file, |out, file| out.bytes(file.as_os_str().as_bytes()));
                out.list(&question.descriptor, |out, number| out.number(*number));
                out.bytes(question.what.as_os_str().as_bytes());
                14
            }
            Self::Answer(secret) => {
                // Reserved at once, so that no copy stays behind.
                out.0.reserve_exact(secret.len().saturating_add(4));
                out.bytes(secret);
                15
            }
            Self::Done(code) => {
                out.bytes(&[*code]);
                16
            }
        };
        wire::send(stream, kind, &out.0, &descriptors)
    }

    /// What a frame says.
    pub(crate) fn read(frame: Frame) -> io::Result<Self> {
        let mut from = In(&frame.payload);
        let mut descriptors = frame.descriptors.into_iter();
        let mut descriptor = || descriptors.next().ok_or_else(malformed);
        let message = match frame.kind {
            1 => {
                from.0 = from.0.strip_prefix(MAGIC).ok_or_else(malformed)?;
                let greeting = Greeting { protocol: from.number()?, version: from.text()? };
                // What others say after it is theirs to know.
                from.0 = &[];
                Self::Greeting(greeting)
            }
            2 => Self::Command(Command {
                args: from.list(In::os)?,
                dir: from.os()?.into(),
                variables: from.list(|from| Ok((from.os()?, from.os()?)))?,
                colours: Colours { talk: from.flag()?, data: from.flag()? },
                paged: match (from.flag()?, from.number()?) {
                    (true, columns) => Some(u16::try_from(columns).ok().filter(|columns| *columns > 0)),
                    (false, _) => None,
                },
                streams: vec![descriptor()?, descriptor()?, descriptor()?],
            }),
            3 => Self::Refused(Failure::of_other_process(
                from.byte()?,
                from.text()?,
                from.text()?,
                from.list(In::text)?,
                from.list(In::text)?,
            )),
            4 => Self::Patience(from.flag()?),
            5 => Self::Interrupt,
            6 => {
                let path = from.os()?.into();
                let access = match (from.flag()?, from.flag()?) {
                    (false, false) => Access::Read,
                    (true, false) => Access::Append,
                    (false, true) => Access::Regular,
                    (true, true) => return Err(malformed()),
                };
                Self::Open(path, access)
            }
            7 => Self::Opened(descriptor()?),
            8 => {
                let path = from.os()?.into();
                let manner = match (from.flag()?, from.number()?) {
                    (true, 0) => Manner::Secret,
                    (false, 0) => Manner::Public,
                    (false, folders) => Manner::Below(u8::try_from(folders).map_err(|_| malformed())?),
                    _ => return Err(malformed()),
                };
                Self::Replace(path, manner)
            }
            9 => Self::Replacing(descriptor()?, from.flag()?),
            10 => Self::Commit(from.number()?),
            11 => Self::Discard(from.number()?),
            12 => Self::Committed,
            13 => {
                let (is_numbered, number) = (from.flag()?, from.number()?);
                let number = if is_numbered { Some(i32::try_from(number).map_err(|_| malformed())?) } else { None };
                let (is_not_found, is_invalid) = (from.flag()?, from.flag()?);
                Self::Problem(Problem { number, is_not_found, is_invalid, text: from.text()? })
            }
            14 => Self::Ask(Question {
                purpose: match from.number()? {
                    number if number == Purpose::Replace as u32 => Purpose::Replace,
                    number if number == Purpose::Prototype as u32 => Purpose::Prototype,
                    number if number == Purpose::Archive as u32 => Purpose::Archive,
                    _ => return Err(malformed()),
                },
                file: from.list(In::os)?.pop().map(PathBuf::from),
                descriptor: from.list(In::number)?.pop(),
                what: from.os()?.into(),
            }),
            15 => Self::Answer(Zeroizing::new(from.bytes()?.to_vec())),
            16 => Self::Done(from.byte()?),
            _ => return Err(malformed()),
        };
        if !from.0.is_empty() || descriptors.next().is_some() {
            return Err(malformed());
        }
        Ok(message)
    }
}

/// A payload that is written: numbers big-endian, bytes after their length.
#[derive(Default)]
struct Out(Zeroizing<Vec<u8>>);

impl Out {
    fn number(&mut self, number: u32) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn flag(&mut self, flag: bool) -> &mut Self {
        self.number(u32::from(flag))
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        // What is longer than that is refused as a whole when it is sent.
        self.number(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(bytes);
        self
    }

    fn list<'a, T: 'a, L: IntoIterator<Item = &'a T>>(
        &mut self,
        items: L,
        mut write: impl for<'o> FnMut(&'o mut Self, &T) -> &'o mut Self,
    ) -> &mut Self {
        for item in items {
            self.flag(true);
            write(self, item);
        }
        self.flag(false)
    }
}

/// A payload that is read.
struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> io::Result<u32> {
        let bytes = self.take(4)?.try_into().map_err(|_| malformed())?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn flag(&mut self) -> io::Result<bool> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(malformed()),
        }
    }

    fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let count = self.number()? as usize;
        self.take(count)
    }

    fn byte(&mut self) -> io::Result<u8> {
        match self.bytes()? {
            [byte] => Ok(*byte),
            _ => Err(malformed()),
        }
    }

    fn os(&mut self) -> io::Result<OsString> {
        Ok(OsString::from_vec(OsStr::from_bytes(self.bytes()?).to_owned().into_vec()))
    }

    fn text(&mut self) -> io::Result<String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| malformed())
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let mut items = Vec::new();
        while self.flag()? {
            items.push(read(self)?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::local::wire::Receiver;

    fn there(message: &Message) -> Message {
        let (ours, theirs) = UnixStream::pair().unwrap();
        message.send(&ours).unwrap();
        Message::read(Receiver::new(&theirs).next().unwrap().unwrap()).unwrap()
    }

    fn file() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn messages_arrive_as_they_were_said() {
        let odd = OsString::from_vec(b"a\xff\n".to_vec());
        let messages = [
            Message::Greeting(Greeting::own()),
            Message::Command(Command {
                args: vec!["thingdb".into(), odd.clone(), OsString::new()],
                dir: "/x".into(),
                variables: vec![("A".into(), odd.clone())],
                colours: Colours { talk: false, data: true },
                paged: Some(Some(80)),
                streams: Vec::new(),
            }),
            Message::Refused(Failure::new(Exit::Locked, "busy", "too many").cause("a").hint("b").hint("c")),
            Message::Patience(true),
            Message::Interrupt,
            Message::Open(odd.into(), Access::Append),
            Message::Replace("x".into(), Manner::Secret),
            Message::Open("x".into(), Access::Regular),
            Message::Replace("x".into(), Manner::Below(3)),
            Message::Replace("x".into(), Manner::Public),
            Message::Commit(7),
            Message::Discard(u32::MAX),
            Message::Committed,
            Message::Problem(io::Error::from_raw_os_error(2).into()),
            Message::Problem(io::Error::other("other").into()),
            Message::Problem(io::Error::new(io::ErrorKind::InvalidInput, "no").into()),
            Message::Ask(Question::archive("x")),
            Message::Answer(Zeroizing::new(b"secret".to_vec())),
            Message::Done(130),
        ];
        for message in messages {
            match message {
                // Its descriptors have numbers of their own at the other side.
                Message::Command(command) => {
                    let command = Command { streams: vec![file(), file(), file()], ..command };
                    let (args, variables) = (command.args.clone(), command.variables.clone());
                    let looks = (command.colours, command.paged);
                    let Message::Command(there) = there(&Message::Command(command)) else { panic!("another message") };
                    assert_eq!((there.args, there.variables, there.streams.len()), (args, variables, 3));
                    assert_eq!((there.colours, there.paged), looks);
                }
                message => assert_eq!(format!("{:?}", there(&message)), format!("{message:?}")),
            }
        }
        assert!(matches!(there(&Message::Replacing(file(), true)), Message::Replacing(_, true)));
        assert!(matches!(there(&Message::Opened(file())), Message::Opened(_)));
    }

    #[test]
    fn errors_of_the_system_keep_their_kind_and_words() {
        for number in [2, 13, 28] {
            let here = io::Error::from_raw_os_error(number);
            let there = io::Error::from(Problem::from(io::Error::from_raw_os_error(number)));
            assert_eq!((there.kind(), there.to_string()), (here.kind(), here.to_string()));
        }
        let there = io::Error::from(Problem::from(io::Error::new(io::ErrorKind::NotFound, "words")));
        assert_eq!((there.kind(), there.to_string().as_str()), (io::ErrorKind::NotFound, "words"));
    }

    #[test]
    fn nonsense_is_refused() {
        for (kind, payload) in
            [(0, &b""[..]), (17, b""), (1, b"another server"), (4, b"\0\0\0\x02"), (5, b"more"), (16, b"\0\0\0\x02xx")]
        {
            let frame = Frame { kind, payload: Zeroizing::new(payload.to_vec()), descriptors: Vec::new() };
            assert!(Message::read(frame).is_err(), "{kind} {payload:?}");
        }
        let frame = Frame { kind: 5, payload: Zeroizing::default(), descriptors: vec![file()] };
        assert!(Message::read(frame).is_err(), "a descriptor that nobody asked for");
    }
}
