//! The command line over the engine's public API: parse, run one command, say
//! how it ended.
//!
//! Data goes to stdout, talk to stderr. Every failure is an
//! [`error::Failure`], which knows its exit code.

pub(crate) mod args;
mod array;
mod as_text;
pub(crate) mod channel;
mod command;
pub(crate) mod compress;
pub(crate) mod console;
mod context;
pub(crate) mod counts;
mod database;
pub(crate) mod entry;
pub(crate) mod error;
mod excerpt;
pub(crate) mod find;
pub(crate) mod fork;
mod graph;
mod input;
pub(crate) mod interrupt;
mod lines;
mod media_type;
mod output;
pub(crate) mod passphrase;
mod patch;
mod pretty;
mod progress;
mod quantity;
mod reader;
pub(crate) mod record;
mod remote;
pub(crate) mod replace;
pub(crate) mod similar;
mod source;
pub(crate) mod span;
mod talk;
pub(crate) mod unwrap;
pub(crate) mod when;
mod whole;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use thingdb::Db;

use crate::local::Client;
use args::Cli;
use console::Console;
use context::Context;
use error::{Exit, Failure, Outcome};

/// Runs the command that `args` name and gives its exit code: in the server
/// that holds the database, or else here.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::read(&args) {
        Ok(cli) => cli,
        Err(problem) => return refuse(&problem),
    };
    let console = match Console::of_process() {
        Ok(console) => console.colourful(console::is_colourful(cli.global.color)),
        Err(failure) => return failure.exit().into(),
    };
    match server(&cli) {
        Ok(Some(client)) => client.run(&console, cli.global, &args),
        Ok(None) => execute(cli, &console, None).into(),
        Err(failure) => {
            failure.say(&console);
            failure.exit().into()
        }
    }
}

/// The server that holds the database, if the command opens one and there is
/// a server.
fn server(cli: &Cli) -> Outcome<Option<Client>> {
    match &cli.global.db {
        _ if cli.server()?.is_some() => Ok(None),
        Some(dir) if cli.command.opens_database() && !dir.as_os_str().is_empty() => Client::connect(dir),
        _ => Ok(None),
    }
}

/// Runs a command, on the database of a server if it is given.
pub(crate) fn execute(cli: Cli, console: &Console, held: Option<Arc<Db>>) -> Exit {
    let context = Context::new(cli.global, console, held);
    match context.and_then(|context| command::run(&context, cli.command)) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            failure.say(console);
            failure.exit()
        }
    }
}

/// Prints what the parser has to say: help and version on stdout, errors in
/// the form of all our errors on stderr.
fn refuse(problem: &clap::Error) -> ExitCode {
    if let (Some(failure), Ok(console)) = (remote::misplaced(problem), Console::of_process()) {
        failure.say(&console);
        return failure.exit().into();
    }
    let text = problem.render().ansi().to_string();
    if problem.use_stderr() {
        // A stderr that is closed is no reason for another exit code.
        let _ = writeln!(anstream::stderr(), "{}", text.replacen("error:", "error[usage]:", 1).trim_end());
        return Exit::Usage.into();
    }
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done.into(),
        Err(problem) => {
            let failure = Failure::output(&problem);
            if let Ok(console) = Console::of_process() {
                failure.say(&console);
            }
            failure.exit().into()
        }
    }
}
