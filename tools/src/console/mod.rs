//! What a command has around it: stdin, stdout and stderr, the terminal, files
//! that arguments name, the environment, signals.
//!
//! A command that runs by itself has what its process has. One that runs in a
//! server has what its client's process has, so that nobody can tell the
//! difference. Several can run at once in one process.

pub(crate) mod channel;
pub(crate) mod confirm;
pub(crate) mod environment;
pub(crate) mod host;
pub(crate) mod interrupt;
pub(crate) mod output;
pub(crate) mod pager;
pub(crate) mod passphrase;
pub(crate) mod progress;
pub(crate) mod question;
pub(crate) mod replace;
pub(crate) mod secret;
mod shown;
mod spool;
pub(crate) mod spooling;
pub(crate) mod talk;
pub(crate) mod times;
pub(crate) mod whereabouts;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use crate::error::{Failure, Outcome};
use channel::Channel;
use host::Process;
use question::{Answer, Question};
use replace::{Manner, Place, Replacement};
use shown::Shown;
use whereabouts::Whereabouts;

pub(crate) use host::{Access, Host, Patience};

/// How a command talks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where colours are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Colours {
    /// On stderr.
    pub(crate) talk: bool,
    /// On stdout.
    pub(crate) data: bool,
}

/// What a command has around it.
#[derive(Clone)]
pub(crate) struct Console {
    host: Arc<dyn Host>,
    stdin: Channel,
    stdout: Channel,
    stderr: Channel,
    /// What was read from stdin as a whole.
    read: Arc<Mutex<Option<Zeroizing<Vec<u8>>>>>,
    /// In what is said, and in data.
    colours: Colours,
    is_quiet: bool,
    form: Form,
    /// For hints.
    whereabouts: Whereabouts,
    shown: Shown,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("stdout", &self.stdout).finish_non_exhaustive()
    }
}

impl Console {
    /// That of a process: its stdin, stdout and stderr, and the rest of it.
    pub(crate) fn new([stdin, stdout, stderr]: [Channel; 3], host: Arc<dyn Host>) -> Self {
        Self {
            host,
            stdin,
            stdout,
            stderr,
            read: Arc::default(),
            colours: Colours::default(),
            is_quiet: false,
            form: Form::Text,
            whereabouts: Whereabouts::default(),
            shown: Shown::default(),
        }
    }

    /// That of this process.
    pub(crate) fn of_process() -> Outcome<Self> {
        let own = |fd: io::Result<std::os::fd::OwnedFd>, name: &str| {
            fd.map(|fd| Channel::own(File::from(fd))).map_err(|problem| Failure::file(name, &problem))
        };
        let stdin = own(io::stdin().as_fd().try_clone_to_owned(), "stdin")?;
        let stdout = own(io::stdout().as_fd().try_clone_to_owned(), "stdout")?;
        let stderr = own(io::stderr().as_fd().try_clone_to_owned(), "stderr")?;
        Ok(Self::new([stdin, stdout, stderr], Arc::new(Process)))
    }

    /// With colours where they are wanted.
    pub(crate) fn colourful(mut self, colours: Colours) -> Self {
        self.colours = colours;
        self
    }

    /// With another stdout.
    pub(crate) fn with_stdout(mut self, stdout: Channel) -> Self {
        self.stdout = stdout;
        self
    }

    /// For a command that goes on if the reader of its stdout goes away.
    pub(crate) fn outliving_its_reader(self) -> Self {
        let stdout = self.stdout().outliving_its_reader();
        self.with_stdout(stdout)
    }

    /// With another stderr.
    pub(crate) fn with_stderr(mut self, stderr: Channel) -> Self {
        self.stderr = stderr;
        self
    }

    /// Says only errors and warnings.
    pub(crate) fn quiet(mut self, is_quiet: bool) -> Self {
        self.is_quiet = is_quiet;
        self
    }

    /// Talks in this form.
    pub(crate) fn speaking(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// Working on what is there.
    pub(crate) fn at(mut self, whereabouts: Whereabouts) -> Self {
        self.whereabouts = whereabouts;
        self
    }

    /// Where what it works on is.
    pub(crate) const fn whereabouts(&self) -> &Whereabouts {
        &self.whereabouts
    }

    /// The bar that is on the terminal.
    pub(crate) const fn shown(&self) -> &Shown {
        &self.shown
    }

    /// In which form it talks.
    pub(crate) const fn form(&self) -> Form {
        self.form
    }

    /// Whether what is said has colours.
    pub(crate) const fn is_colourful(&self) -> bool {
        self.colours.talk
    }

    /// Where colours are wanted.
    pub(crate) const fn colours(&self) -> Colours {
        self.colours
    }

    /// Whether only errors and warnings are said.
    pub(crate) const fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    /// Where data comes from.
    pub(crate) fn stdin(&self) -> Channel {
        self.stdin.clone()
    }

    /// All of stdin was read: this is what it had.
    pub(crate) fn has_read(&self, all: &[u8]) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(Zeroizing::new(all.to_vec()));
    }

    /// Whether another process can have a stdin from which nothing was read.
    pub(crate) fn can_be_rewound(&self) -> bool {
        !self.stdin.was_read() || self.read.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The same with a stdin from which nothing was read yet, for another process
    /// that is to do the work.
    pub(crate) fn rewound(&self) -> Outcome<Self> {
        let mut console = self.clone();
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(all) = read {
            let stdin = |problem: io::Error| Failure::file("stdin", &problem);
            let (reader, mut writer) = io::pipe().map_err(stdin)?;
            // Who reads no further ends it.
            let written = std::thread::Builder::new().name("stdin".into()).spawn(move || writer.write_all(&all));
            written.map_err(stdin)?;
            console.stdin = Channel::own(File::from(std::os::fd::OwnedFd::from(reader)));
        }
        Ok(console)
    }

    /// Where data goes.
    pub(crate) fn stdout(&self) -> Channel {
        self.stdout.clone()
    }

    /// Where talk goes.
    pub(crate) fn stderr(&self) -> Channel {
        self.stderr.clone()
    }

    /// Where talk goes that people are to see: into the pager if that has their
    /// terminal.
    pub(crate) fn talk(&self) -> Channel {
        let is_covered = self.stdout.is_pager_shown() && self.stderr.is_terminal();
        if is_covered { self.stdout.clone() } else { self.stderr.clone() }
    }

    /// A variable of the environment.
    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        self.host.variable(name)
    }

    /// A path as this process can use it, for what can only be done by path.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        self.host.path(path)
    }

    /// Opens a file.
    pub(crate) fn open(&self, path: &Path, access: Access) -> io::Result<Channel> {
        self.host.open(path, access)
    }

    /// Opens what an argument names: `-` is stdin.
    pub(crate) fn source(&self, argument: &str) -> Outcome<Channel> {
        if argument == "-" {
            return Ok(self.stdin());
        }
        let file = self.open(Path::new(argument), Access::Read).map_err(|problem| Failure::file(argument, &problem))?;
        if file.file().metadata().is_ok_and(|data| data.is_dir()) {
            let hint = "name a file in it: ls tells which there are";
            return Err(Failure::usage(format!("{argument} is a directory")).hint(hint));
        }
        Ok(file)
    }

    /// Starts to write what will be at `path`.
    pub(crate) fn place(&self, path: &Path, manner: Manner) -> io::Result<Place> {
        self.host.replace(path, manner)
    }

    /// Starts to write a file that is there whole or not at all.
    pub(crate) fn replace(&self, path: &Path) -> Outcome<Replacement> {
        self.begin(path, Manner::Public)
    }

    /// Starts to write a secret: nobody but its owner can read the file, and it
    /// takes the place of no other.
    pub(crate) fn secret(&self, path: &Path) -> Outcome<Replacement> {
        self.begin(path, Manner::Secret)
    }

    fn begin(&self, path: &Path, manner: Manner) -> Outcome<Replacement> {
        let place = self.place(path, manner).map_err(|problem| Failure::file(&shown(path), &problem))?;
        Ok(Replacement::new(path, place))
    }

    /// Puts `bytes` at `path`, whole or not at all.
    pub(crate) fn write_file(&self, path: &Path, bytes: &[u8]) -> Outcome {
        let mut file = self.replace(path)?;
        file.write_all(bytes).map_err(|problem| Failure::file(&shown(path), &problem))?;
        file.end()
    }

    /// Puts `bytes` at `name` below `dir`, in folders that are made if they are not there:
    /// none of them is a link, and nothing but a regular file is replaced. What a run that
    /// was killed has left is taken away.
    pub(crate) fn write_below(&self, dir: &Path, name: &str, bytes: &[u8]) -> Outcome {
        let folders = u8::try_from(name.split('/').count()).unwrap_or(u8::MAX);
        let path = &dir.join(name);
        let mut file = self.begin(path, Manner::Below(folders))?;
        file.write_all(bytes).map_err(|problem| Failure::file(&shown(path), &problem))?;
        file.end()
    }

    /// Has a passphrase read that is not the one that opens the database; `here`
    /// reads it in this process.
    pub(crate) fn answer(&self, question: &Question, here: &dyn Fn() -> Answer) -> Answer {
        self.host.answer(question, here)
    }

    /// While the result lives, a signal only asks the command to stop.
    pub(crate) fn patience(&self) -> Patience {
        Patience::begin(&self.host)
    }

    /// Whether somebody asked the command to stop.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.host.is_interrupted()
    }

    /// Whether that is because the server ends in which the command runs.
    pub(crate) fn is_server_ending(&self) -> bool {
        self.host.is_server_ending()
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Where this process has colours: as `--color` says, else as `NO_COLOR`,
/// `CLICOLOR_FORCE` and the terminals do.
pub(crate) fn colours(color: Color) -> Colours {
    let is_wanted = |choice| choice != anstream::ColorChoice::Never;
    match color {
        Color::Always => Colours { talk: true, data: true },
        Color::Never => Colours::default(),
        Color::Auto => Colours {
            talk: is_wanted(anstream::AutoStream::choice(&io::stderr())),
            data: is_wanted(anstream::AutoStream::choice(&io::stdout())),
        },
    }
}
