//! stub
use crate::cli::context::Context;
use crate::cli::error::Outcome;
/// Arguments of `thingdb demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}
/// Runs the demo.
pub(crate) fn run(_context: &Context, _: &Args) -> Outcome { Ok(()) }
