//! Long output goes through a pager, as git's does: `THINGDB_PAGER`, or `PAGER`,
//! or `less`.
//!
//! The command writes into a pipe and goes on believing in its terminal. The
//! pager starts when the first bytes come, so that a command that says nothing, or
//! asks for a passphrase first, has the terminal for itself.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::channel::Channel;
use super::{Console, interrupt};

/// What `less` gets where nobody said otherwise, as git gives it: end if it fits
/// one screen, pass colours on, leave the screen as it is.
const LESS: &str = "FRX";

/// Bytes that are taken from the command at once.
const PIECE_BYTES: usize = 16 << 10;

/// Pieces that wait for the person, 64 MiB at most. They stay in memory: they are
/// what the database keeps sealed.
const MOST_PIECES: usize = 4_096;

/// A pager that waits for output, or shows it.
pub(crate) struct Pager {
    thread: JoinHandle<()>,
}

impl Pager {
    /// The pager, if a person reads, and the console that writes into it.
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
fn show(reader: PipeReader, command: &str, mut screen: File, console: &Console, is_named: bool) {
    let (pieces, output) = sync_channel(MOST_PIECES);
    // It ends when the command ends, or nobody reads on.
    let taken = thread::Builder::new().name("pager-pipe".into()).spawn(move || take(reader, &pieces));
    let (Ok(_), Ok(first)) = (taken, output.recv()) else { return };
    let mut output = std::iter::once(first).chain(output);
    let Ok(shown) = screen.try_clone() else { return };
    // While it has the terminal, Ctrl-C is meant for it.
    let away = interrupt::leave_to_another();
    match pager(command).stdin(Stdio::piped()).stdout(Stdio::from(shown)).spawn() {
        Ok(mut child) => {
            if let Some(mut stdin) = child.stdin.take() {
                // A pager that was left early has read enough.
                if output.try_for_each(|piece| stdin.write_all(&piece)).is_ok() {
                    // The command has ended, and so does the process after the pager. A
                    // Ctrl-C that was meant for the pager may be seen only then.
                    std::mem::forget(away);
                }
            }
            drop(output);
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
            // A terminal that is gone needs nothing.
            let _ = output.try_for_each(|piece| screen.write_all(&piece));
        }
    }
}

/// Takes what the command writes as soon as it comes: whoever reads slowly must
/// not have it wait, for it holds the database.
fn take(mut reader: PipeReader, pieces: &SyncSender<Vec<u8>>) {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        match reader.read(&mut piece) {
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return,
            Ok(read) => {
                piece.truncate(read);
                if pieces.send(piece).is_err() {
                    return;
                }
            }
        }
    }
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
