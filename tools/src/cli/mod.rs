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
mod heads;
mod input;
pub(crate) mod interrupt;
mod kept;
mod lines;
mod media_type;
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
mod table;
pub(crate) mod talk;
pub(crate) mod text;
mod times;
pub(crate) mod unwrap;
mod usage;
mod watch;
pub(crate) mod when;
mod whole;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use thingdb::Db;

use crate::local::Client;
use args::Cli;
use console::Console;
use context::Context;
use error::{Exit, Outcome};
use output::Format;
use pager::Pager;
use talk::Form;

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
    let console = speaking(console, cli.global.chosen());
    if cli.command.watches() {
        return watch::run(&args, cli, &console);
    }
    let (console, pager) = Pager::between(console, &cli);
    let ran = match server(&cli) {
        Ok(Some(client)) => client.run(&console, cli.global, &args),
        Ok(None) => Ok(execute(cli, &console, None).into()),
        Err(failure) => Err(failure),
    };
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
    let console = &speaking(console.clone(), cli.global.chosen());
    let context = Context::new(cli.global, console, held);
    match context.and_then(|context| command::run(&context, cli.command)) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            failure.say(console);
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
