//! Where a command runs: in this process, or in the server that holds the
//! database.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use thingdb::Db;

use super::args::{Cli, Command};
use super::context::{Context, speaking};
use super::global::Global;
use super::remote::RemoteArgs;
use super::usage;
use super::waiting::Waiting;
use crate::console::Console;
use crate::console::passphrase::Sources;
use crate::console::spooling::Spooling;
use crate::console::whereabouts::Whereabouts;
use crate::error::{Exit, Failure, Outcome};
use crate::local::Client;

/// Where the arguments name a database, or a server.
pub(crate) fn whereabouts(cli: &Cli) -> Whereabouts {
    let dir = cli.global.db.as_deref().filter(|_| cli.global.is_db_named);
    Whereabouts::new(dir, cli.command.remote().and_then(RemoteArgs::named_options))
}

/// The exit code, after what there is to be said.
pub(crate) fn ended(ran: Outcome<ExitCode>, console: &Console) -> ExitCode {
    ran.unwrap_or_else(|failure| {
        console.fail(&failure);
        failure.exit().into()
    })
}

/// The server that holds the database, or is about to, if the command opens one
/// and there is a server.
pub(crate) fn server(cli: &Cli, console: &Console) -> Outcome<Option<Client>> {
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
pub(crate) fn run_there(client: Client, global: Global, console: &Console, args: &[OsString]) -> Outcome<ExitCode> {
    let sources = Sources::new(global.passphrase, global.no_input, console)?;
    client.run(console, sources, args)
}

/// Runs a command in this process; in a server, if one took the database before
/// the command could.
pub(crate) fn run_here(cli: Cli, console: &Console, args: &[OsString]) -> Outcome<ExitCode> {
    // Whoever asks a server has no database to let go of; a stream of the whole
    // database is better written as it comes.
    let opens = cli.command.opens_database() && cli.server()?.is_none();
    let is_spooled = opens && !cli.command.runs_long() && !matches!(cli.command, Command::Export(_));
    let around = around(console, &cli.command);
    let (spooled, spooling) = if is_spooled { Spooling::between(&around) } else { (around, None) };
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
    let console = speaking(console.clone(), cli.global.chosen()).at(whereabouts(&cli));
    let console = &around(&console, &cli.command);
    match Context::new(cli.global, console, Some(db)) {
        Ok(context) => execute(&context, cli.command),
        Err(failure) => {
            console.fail(&failure);
            failure.exit()
        }
    }
}

/// The console of a command. A verdict stays what it is if nobody reads the output.
fn around(console: &Console, command: &Command) -> Console {
    let console = console.clone();
    if command.gives_verdict() { console.outliving_its_reader() } else { console }
}

fn execute(context: &Context, command: Command) -> Exit {
    match command.run(context, run_in_server) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            let failure = context.after(failure);
            context.console.fail(&failure);
            failure.exit()
        }
    }
}
