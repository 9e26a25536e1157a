//! `thingdb completions`: what a shell needs to complete our arguments.

use clap_complete::Shell;

use crate::cli::args::Cli;
use crate::cli::context::Context;
use crate::cli::error::Outcome;

/// Arguments of `thingdb completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb completions bash > ~/.local/share/bash-completion/completions/thingdb
  thingdb completions zsh > ~/.zfunc/_thingdb
  thingdb completions fish > ~/.config/fish/completions/thingdb.fish")]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completions.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::definition(), "thingdb", &mut text);
    context.output.bytes(&text)
}
