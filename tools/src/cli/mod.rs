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
pub(crate) mod environment;
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
pub(crate) mod user;
mod waiting;
pub(crate) mod when;

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
use waiting::Waiting;

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
    environment::without_passphrase(&cli, &args, &console);
    let ran = server(&cli, &console).and_then(|found| match found {
        Some(client) => Ok(client.run(&console, cli.global, &args)),
        None => run_here(cli, &console, &args),
    });
    ran.unwrap_or_else(|failure| {
        failure.say(&console);
        failure.exit().into()
    })
}

/// The server that holds the database, or is about to, if the command opens one
/// and there is a server.
fn server(cli: &Cli, console: &Console) -> Outcome<Option<Client>> {
    match &cli.global.db {
        _ if cli.server()?.is_some() => Ok(None),
        Some(dir) if cli.command.opens_database() && !dir.as_os_str().is_empty() => {
            let console = console.clone().quiet(cli.global.quiet);
            Waiting::new(dir, cli.global.wait, &console).until_free()
        }
        _ => Ok(None),
    }
}

/// Runs a command in this process; in a server, if one took the database before
/// the command could.
fn run_here(cli: Cli, console: &Console, args: &[OsString]) -> Outcome<ExitCode> {
    let context = Context::new(cli.global, console, None)?.handing_over(cli.command.opens_database());
    let exit = execute(&context, cli.command);
    let Some(client) = context.server() else { return Ok(exit.into()) };
    match Cli::read(args) {
        Ok(cli) => Ok(client.run(&console.rewound()?, cli.global, args)),
        Err(problem) => Ok(refuse(&problem)),
    }
}

/// Runs a command in a server, on the database that it holds.
pub(crate) fn run_in_server(cli: Cli, console: &Console, db: Arc<Db>) -> Exit {
    match Context::new(cli.global, console, Some(db)) {
        Ok(context) => execute(&context, cli.command),
        Err(failure) => {
            failure.say(console);
            failure.exit()
        }
    }
}

fn execute(context: &Context, command: args::Command) -> Exit {
    match command::run(context, command) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            let failure = context.after(failure);
            failure.say(&context.console);
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
