//! `thingdb completions`: what a shell needs to complete our arguments.

use clap_complete::Shell;

use crate::cli::context::Context;
use crate::error::Outcome;

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

/// Prints the completions of `definition`.
pub(crate) fn run(context: &Context, args: &Args, mut definition: clap::Command) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut definition, "thingdb", &mut text);
    context.output.bytes(&text)
}
