//! The command `thingdb`: see [`cli`] and `docs/cli.md`.

mod cli;
mod client;
mod local;
mod server;
mod sync;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
