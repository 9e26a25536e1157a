//! The command line over the engine's public API: parse, run one command, say
//! how it ended.
//!
//! Data goes to stdout, talk to stderr. Every failure is a
//! [`Failure`], which knows its exit code.

mod anew;
mod args;
mod command;
mod context;
mod global;
mod input;
mod recovery;
mod remote;
mod run;
mod usage;
mod waiting;
mod watch;
mod way_back;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::console::pager::Pager;
use crate::console::{self, Console};
use crate::error::{Failure, Outcome};
use args::Cli;
use context::speaking;
use run::{ended, run_here, run_there, server, whereabouts};

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
