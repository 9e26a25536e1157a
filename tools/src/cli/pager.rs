//! Long output goes through a pager, as git's does: `THINGDB_PAGER`, or `PAGER`,
//! or `less`.
//!
//! The command writes into a pipe and goes on believing in its terminal. The
//! pager starts when the first bytes come, so that a command that says nothing, or
//! asks for a passphrase first, has the terminal for itself.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};

use super::args::{Cli, Command as Asked};
use super::channel::Channel;
use super::console::Console;
use super::interrupt;

/// What `less` gets where nobody said otherwise, as git gives it: end if it fits
/// one screen, pass colours on, leave the screen as it is.
const LESS: &str = "FRX";

/// A pager that waits for output, or shows it.
pub(crate) struct Pager {
    thread: JoinHandle<()>,
}

impl Pager {
    /// The pager for what `cli` asks for, if a person reads it, and the console
    /// that writes into it.
    pub(crate) fn between(console: Console, cli: &Cli) -> (Console, Option<Self>) {
        let is_long = matches!(
            &cli.command,
            Asked::Log(_)
                | Asked::Ls(_)
                | Asked::Show(_)
                | Asked::Diff(_)
                | Asked::Get(_)
                | Asked::Forks(_)
                | Asked::Help(_)
        );
        let is_wanted = is_long && !cli.global.no_pager && !cli.global.no_input;
        if is_wanted { Self::start(console) } else { (console, None) }
    }

    /// The pager for any output.
    pub(crate) fn start(console: Console) -> (Console, Option<Self>) {
        match Self::of(&console) {
            Some((pager, stdout)) => (console.with_stdout(stdout), Some(pager)),
            None => (console, None),
        }
    }

    fn of(console: &Console) -> Option<(Self, Channel)> {
        let terminal = console.stdout();
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if !terminal.is_terminal() || is_dumb {
            return None;
        }
        let (command, is_named) = chosen()?;
        let columns = terminal.columns();
        // What goes wrong here leaves the terminal as it is.
        let screen = terminal.file().try_clone().ok()?;
        let (reader, writer) = io::pipe().ok()?;
        let console = console.clone();
        let show = move || show(reader, &command, screen, &console, is_named);
        let thread = thread::Builder::new().name("pager".into()).spawn(show).ok()?;
        Some((Self { thread }, Channel::own(File::from(OwnedFd::from(writer))).read_by_a_person(columns)))
    }

    /// Waits until the person has read. Whatever writes into it has to be gone.
    pub(crate) fn end(self) {
        // A thread that panicked has said so.
        let _ = self.thread.join();
    }
}

/// Waits for output and shows it.
fn show(reader: PipeReader, command: &str, screen: File, console: &Console, is_named: bool) {
    loop {
        let mut waiting = [PollFd::new(&reader, PollFlags::IN)];
        match poll(&mut waiting, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => break,
            // Its end and no output: nothing is to be shown.
            Ok(_) if waiting.iter().all(|pipe| !pipe.revents().contains(PollFlags::IN)) => return,
            Ok(_) => break,
        }
    }
    let Ok(kept) = reader.try_clone() else { return plainly(reader, screen) };
    // While it has the terminal, Ctrl-C is meant for it.
    let _screen = interrupt::leave_to_another();
    match pager(command).stdin(Stdio::from(reader)).stdout(Stdio::from(screen)).spawn() {
        Ok(mut child) => {
            drop(kept);
            let _ = child.wait();
        }
        Err(problem) => {
            // Nobody asked for `less`.
            if is_named {
                console
                    .warning("pager", format!("{command}: {problem}"))
                    .hint("--no-pager, or THINGDB_PAGER=cat")
                    .say();
            }
            if let Ok(screen) = console.stdout().file().try_clone() {
                plainly(kept, screen);
            }
        }
    }
}

fn plainly(mut reader: PipeReader, mut screen: File) {
    // A terminal that is gone needs nothing.
    let _ = io::copy(&mut reader, &mut screen);
}

/// The pager, and whether somebody named it; none for `cat`, which would do
/// nothing.
fn chosen() -> Option<(String, bool)> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let named = set("THINGDB_PAGER").or_else(|| set("PAGER"));
    let is_named = named.is_some();
    let chosen = named.unwrap_or_else(|| "less".to_owned());
    (chosen.trim() != "cat").then_some((chosen, is_named))
}

fn pager(command: &str) -> Command {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " -_./=+:,".contains(c);
    let mut words = command.split_whitespace();
    let mut pager = match words.next() {
        // Without a shell, so that a pager that is not there is noticed.
        Some(program) if command.chars().all(is_plain) => {
            let mut pager = Command::new(program);
            pager.args(words);
            pager
        }
        _ => {
            let mut pager = Command::new("sh");
            pager.args(["-c", command]);
            pager
        }
    };
    let unset = |name: &str| std::env::var_os(name).is_none_or(|value: OsString| value.is_empty());
    for (name, value) in [("LESS", LESS), ("LV", "-c"), ("LESSCHARSET", "utf-8")] {
        if unset(name) {
            pager.env(name, value);
        }
    }
    pager.env_remove("THINGDB_PASSPHRASE");
    pager
}
