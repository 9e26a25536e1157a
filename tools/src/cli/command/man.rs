//! `thingdb man`: manual pages from the definition of the arguments.

use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::context::Context;
use crate::error::{Exit, Failure, Outcome};

/// Arguments of `thingdb man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb man | man -l -
  thingdb man -o /usr/local/share/man/man1")]
pub(crate) struct Args {
    /// Write the pages of all commands into a directory
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Prints or writes the pages of `command` and those below it.
pub(crate) fn run(context: &Context, args: &Args, mut command: clap::Command) -> Outcome {
    command.build();
    let dir = args.output.as_deref().filter(|dir| *dir != Path::new("-"));
    let Some(dir) = dir else { return context.output.bytes(&page(command, "thingdb")?) };
    std::fs::create_dir_all(dir).map_err(|problem| Failure::file(&dir.display().to_string(), &problem))?;
    let mut pages = Vec::new();
    collect(&command, "thingdb".to_owned(), &mut pages);
    for (name, command) in &pages {
        context.console.write_file(&dir.join(format!("{name}.1")), &page(command.clone(), name)?)?;
    }
    context.console.note(&format!("{} pages in {}", pages.len(), dir.display()));
    Ok(())
}

fn collect(command: &Command, name: String, pages: &mut Vec<(String, Command)>) {
    for below in command.get_subcommands() {
        collect(below, format!("{name}-{}", below.get_name()), pages);
    }
    pages.push((name, command.clone()));
}

fn page(command: Command, name: &str) -> Outcome<Vec<u8>> {
    let mut out = Vec::new();
    let page = Man::new(command.name(name.to_owned()).disable_help_subcommand(true)).section("1").manual("ThingDB");
    page.render(&mut out)
        .and_then(|()| exit_codes().to_writer(&mut out))
        .map_err(|problem: io::Error| Failure::output(&problem))?;
    Ok(out)
}

fn exit_codes() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for exit in Exit::ALL {
        roff.control("TP", []);
        roff.text([bold((exit as u8).to_string())]);
        roff.text([roman(exit.meaning())]);
    }
    roff
}
