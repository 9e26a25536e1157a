//! A watch is a service: it ends when somebody wants it to, and not when the
//! server in which it runs does.
//!
//! A watch that began in a server goes on when the server is there again, and
//! does not take the database meanwhile: the server could not start then.

use std::ffi::OsString;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use super::args::Cli;
use super::run::{ended, run_here, run_there, server};
use crate::console::{Console, interrupt};
use crate::error::{Exit, Failure, Outcome};
use crate::local::SERVER_GONE;

/// How often it is looked whether the server is there again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs a command that watches, until somebody wants it to end.
pub(super) fn run(args: &[OsString], cli: Cli, console: &Console) -> ExitCode {
    let talk = console.clone().quiet(cli.global.quiet);
    // Also between two servers a signal only asks.
    let _patience = console.patience();
    let mut cli = Some(cli);
    let mut was_in_server = false;
    let mut is_told = false;
    while !interrupt::is_requested() {
        // It was read before, and means the same.
        let Some(again) = cli.take().or_else(|| Cli::read(args).ok()) else { return Exit::Usage.into() };
        let ran = match server(&again, console) {
            Ok(Some(client)) => {
                was_in_server = true;
                if std::mem::take(&mut is_told) {
                    talk.note("the server of this node is there again");
                }
                run_there(client, again.global, console, args)
            }
            Ok(None) if was_in_server => Err(Failure::server_ends()),
            Ok(None) => return ended(run_here(again, console, args), console),
            Err(failure) => Err(failure),
        };
        if !was_in_server || !is_without_server(&ran) {
            return ended(ran, console);
        }
        if !std::mem::replace(&mut is_told, true) && !interrupt::is_requested() {
            let fact = "the server of this node has ended; the watch goes on when it is there again";
            talk.warning("server-gone", fact).say();
        }
        thread::sleep(LOOK_EVERY);
    }
    Exit::Done.into()
}

/// Whether a command ended because its server does, or did not begin because
/// there is none that takes it.
fn is_without_server(ran: &Outcome<ExitCode>) -> bool {
    match ran {
        Ok(code) => *code == ExitCode::from(Exit::Locked),
        Err(failure) => failure.exit() == Exit::Locked || failure.word() == SERVER_GONE,
    }
}
