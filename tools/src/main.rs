//! The command `thingdb`: see [`cli`] and `docs/cli.md`.

mod bytes;
mod cli;
mod client;
mod console;
mod error;
mod foreign;
mod local;
mod panics;
mod reader;
mod server;
mod sync;
mod text;
mod timestamp;
mod user;
mod view;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Keys are in memory, and a system that forbids this keeps them otherwise;
    // `serve` says so if it does not.
    let _ = thingdb::forbid_dumps();
    panics::silence_sled();
    cli::run(std::env::args_os())
}
