//! The command line over the engine's public API: parse, run one command, say
//! how it ended.
//!
//! Data goes to stdout, talk to stderr. Every failure is an
//! [`Failure`], which knows its exit code.

mod anew;
mod args;
mod command;
mod context;
mod global;
mod input;
mod remote;
mod usage;
mod waiting;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use thingdb::Db;

use crate::console::output::Format;
use crate::console::pager::Pager;
use crate::console::passphrase::Sources;
use crate::console::spool::Spooling;
use crate::console::talk::Form;
use crate::console::whereabouts::Whereabouts;
use crate::console::{self, Console};
use crate::error::{Exit, Failure, Outcome};
use crate::local::Client;
use args::Cli;
use context::Context;
use global::Global;
use waiting::Waiting;

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
    let console = speaking(console, cli.global.chosen()).at(whereabouts(&cli));
    if let Err(failure) = refuse_to_write(&cli, &args) {
        console.fail(&failure);
        return failure.exit().into();
    }
    anew::without_passphrase(&cli, &args, &console);
    if cli.command.watches() {
        return watch::run(&args, cli, &console);
    }
    let (console, pager) = if cli.is_paged() { Pager::start(console) } else { (console, None) };
    let ran = server(&cli, &console).and_then(|found| match found {
        Some(client) => run_there(client, cli.global, &console, &args),
        None => run_here(cli, &console, &args),
    });
    let code = ended(ran, &console);
    drop(console);
    if let Some(pager) = pager {
        pager.end();
    }
    code
}

/// Refuses a command that writes if nothing may be written.
fn refuse_to_write(cli: &Cli, args: &[OsString]) -> Outcome {
    if !cli.global.read_only || cli.command.only_reads() {
        return Ok(());
    }
    let named = Cli::definition();
    let names: Vec<_> = named.get_subcommands().map(clap::Command::get_name).collect();
    // The first: that of a command below it may be one, too.
    let name = args.iter().find_map(|arg| names.iter().find(|name| arg == **name)).unwrap_or(&"this command");
    Err(Failure::usage(format!("{name} writes, and --read-only says that nothing is to be written"))
        .hint("leave --read-only out"))
}

/// Where the arguments name a database, or a server.
fn whereabouts(cli: &Cli) -> Whereabouts {
    let dir = cli.global.db.as_deref().filter(|_| cli.global.is_db_named);
    Whereabouts::new(dir, cli.command.remote().and_then(remote::RemoteArgs::named_options))
}

/// The exit code, after what there is to be said.
fn ended(ran: Outcome<ExitCode>, console: &Console) -> ExitCode {
    ran.unwrap_or_else(|failure| {
        console.fail(&failure);
        failure.exit().into()
    })
}

/// The server that holds the database, or is about to, if the command opens one
/// and there is a server.
fn server(cli: &Cli, console: &Console) -> Outcome<Option<Client>> {
    match &cli.global.db {
        _ if cli.server()?.is_some() || cli.global.read_only => Ok(None),
        Some(dir) if cli.command.opens_database() && !dir.as_os_str().is_empty() => {
            let console = console.clone().quiet(cli.global.quiet);
            Waiting::new(dir, cli.global.wait, &console).until_free()
        }
        _ => Ok(None),
    }
}

/// Runs a command in the server that holds the database.
fn run_there(client: Client, global: Global, console: &Console, args: &[OsString]) -> Outcome<ExitCode> {
    let sources = Sources::new(global.passphrase, global.no_input, console)?;
    client.run(console, sources, args)
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
        Ok(cli) => run_there(client, cli.global, &console.rewound()?, args),
        Err(problem) => Ok(usage::refuse(&problem, args)),
    }
}

/// Runs a command in a server, on the database that it holds, with the arguments
/// and the environment of the server's client.
fn run_in_server(
    args: &[OsString],
    variable: &dyn Fn(&str) -> Option<OsString>,
    console: &Console,
    db: Arc<Db>,
) -> Exit {
    let cli = match Cli::read_of(args, &variable) {
        Ok(cli) if cli.command.opens_database() => cli,
        // The client has read the same arguments, and found nothing wrong.
        _ => return Exit::Usage,
    };
    let console = &speaking(console.clone(), cli.global.chosen()).at(whereabouts(&cli));
    match Context::new(cli.global, console, Some(db)) {
        Ok(context) => execute(&context, cli.command),
        Err(failure) => {
            console.fail(&failure);
            failure.exit()
        }
    }
}

fn execute(context: &Context, command: args::Command) -> Exit {
    match command.run(context, run_in_server) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            let failure = context.after(failure);
            context.console.fail(&failure);
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
