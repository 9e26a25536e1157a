//! The command line over the engine's public API: parse, run one command, say
//! how it ended.
//!
//! Data goes to stdout, talk to stderr. Every failure is an
//! [`error::Failure`], which knows its exit code.

mod args;
mod command;
pub(crate) mod compress;
mod context;
pub(crate) mod error;
mod excerpt;
mod find;
mod graph;
mod input;
mod interrupt;
mod lines;
mod output;
mod passphrase;
mod patch;
mod pretty;
mod progress;
pub(crate) mod record;
mod replace;
mod source;
mod talk;
pub(crate) mod unwrap;
mod when;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use args::Cli;
use context::Context;
use error::{Exit, Failure};

/// Runs the command that `args` name and gives its exit code.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::read(args) {
        Ok(cli) => cli,
        Err(problem) => return refuse(&problem),
    };
    talk::choose_color(cli.global.color);
    let context = Context::new(cli.global);
    let exit = match context.and_then(|context| command::run(&context, cli.command)) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            failure.say();
            failure.exit()
        }
    };
    exit.into()
}

/// Prints what the parser has to say: help and version on stdout, errors in
/// the form of all our errors on stderr.
fn refuse(problem: &clap::Error) -> ExitCode {
    let text = problem.render().ansi().to_string();
    if problem.use_stderr() {
        talk::plain(text.replacen("error:", "error[usage]:", 1).trim_end());
        return Exit::Usage.into();
    }
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done.into(),
        Err(problem) => {
            let failure = Failure::output(&problem);
            failure.say();
            failure.exit().into()
        }
    }
}
