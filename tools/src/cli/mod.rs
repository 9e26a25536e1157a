//! The command line over the engine's public API: parse, run one command, say
//! how it ended.
//!
//! Data goes to stdout, talk to stderr. Every failure is an
//! [`error::Failure`], which knows its exit code.

pub(crate) mod args;
mod array;
mod as_text;
mod card;
pub(crate) mod channel;
mod command;
pub(crate) mod compress;
mod confirm;
pub(crate) mod console;
mod context;
pub(crate) mod counts;
mod database;
pub(crate) mod entry;
pub(crate) mod environment;
pub(crate) mod error;
mod examine;
mod excerpt;
pub(crate) mod find;
pub(crate) mod fork;
mod graph;
mod heads;
mod input;
pub(crate) mod interrupt;
mod kept;
mod lines;
mod media_type;
mod original;
mod output;
mod pager;
mod paint;
pub(crate) mod passphrase;
mod patch;
mod pointer;
mod pretty;
mod progress;
mod quantity;
mod reader;
pub(crate) mod record;
mod rejects;
mod remote;
pub(crate) mod replace;
mod secret;
pub(crate) mod similar;
mod source;
pub(crate) mod span;
mod spool;
mod table;
pub(crate) mod talk;
pub(crate) mod text;
mod times;
mod unescape;
mod unreadable;
pub(crate) mod unwrap;
mod usage;
pub(crate) mod user;
mod waiting;
mod watch;
pub(crate) mod when;
mod whereabouts;
mod whole;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use thingdb::Db;

use crate::local::Client;
use args::Cli;
use console::Console;
use context::Context;
use error::{Exit, Failure, Outcome};
use output::Format;
use pager::Pager;
use spool::Spooling;
use talk::Form;
use waiting::Waiting;
use whereabouts::Whereabouts;

/// Runs the command that `args` name and gives its exit code: in the server
/// that holds the database, or else here.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::read(&args) {
        Ok(cli) => cli,
        Err(problem) => return usage::refuse(&problem, &args),
    };
    let console = match Console::of_process() {
        Ok(console) => console.colourful(console::colours(cli.global.color)),
        Err(failure) => return failure.exit().into(),
    };
    let console = speaking(console, cli.global.chosen()).at(Whereabouts::of(&cli));
    environment::without_passphrase(&cli, &args, &console);
    if cli.command.watches() {
        return watch::run(&args, cli, &console);
    }
    let (console, pager) = Pager::between(console, &cli);
    let ran = server(&cli, &console).and_then(|found| match found {
        Some(client) => client.run(&console, cli.global, &args),
        None => run_here(cli, &console, &args),
    });
    let code = ended(ran, &console);
    drop(console);
    if let Some(pager) = pager {
        pager.end();
    }
    code
}

/// The exit code, after what there is to be said.
fn ended(ran: Outcome<ExitCode>, console: &Console) -> ExitCode {
    ran.unwrap_or_else(|failure| {
        failure.say(console);
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
    // Whoever asks a server has no database to let go of; a stream of the whole
    // database is better written as it comes.
    let opens = cli.command.opens_database() && cli.server()?.is_none();
    let is_spooled = opens && !cli.command.runs_long() && !matches!(cli.command, args::Command::Export(_));
    let (spooled, spooling) = if is_spooled { Spooling::between(console) } else { (console.clone(), None) };
    let context = Context::new(cli.global, &spooled, None)?.handing_over(cli.command.opens_database());
    let exit = execute(&context, cli.command);
    let written = spooling.map_or(Ok(()), Spooling::end);
    let Some(client) = context.server() else {
        return match written {
            Err(problem) if exit == Exit::Done => Err(context.after(Failure::output(&problem))),
            _ => Ok(exit.into()),
        };
    };
    match Cli::read(args) {
        Ok(cli) => client.run(&console.rewound()?, cli.global, args),
        Err(problem) => Ok(usage::refuse(&problem, args)),
    }
}

/// Runs a command in a server, on the database that it holds.
pub(crate) fn run_in_server(cli: Cli, console: &Console, db: Arc<Db>) -> Exit {
    let console = &speaking(console.clone(), cli.global.chosen()).at(Whereabouts::of(&cli));
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

/// The console, talking JSON where a format that is JSON was asked for by name.
fn speaking(console: Console, chosen: Option<Format>) -> Console {
    // What the variable says that means nothing is told by the command.
    let chosen = chosen.or_else(|| context::format_of_environment(&console).ok().flatten());
    let is_json = matches!(chosen, Some(Format::Json | Format::Ndjson));
    console.speaking(if is_json { Form::Json } else { Form::Text })
}
