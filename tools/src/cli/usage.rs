//! What the parser of arguments has to say: help and version on stdout, what is
//! wrong on stderr in the form of all our errors.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::ValueEnum;
use clap::error::ErrorKind;

use super::context::speaking;
use super::remote;
use crate::console::output::Format;
use crate::console::pager::Pager;
use crate::console::{self, Color, Console, Form};
use crate::error::{Exit, Failure};

/// Says it, and gives the exit code.
pub(crate) fn refuse(problem: &clap::Error, args: &[OsString]) -> ExitCode {
    let Ok(console) = Console::of_process() else { return Exit::Usage.into() };
    let console = speaking(console, chosen(args));
    if let Some(failure) = remote::misplaced(problem) {
        console.fail(&failure);
        return failure.exit().into();
    }
    let text = problem.render().ansi().to_string();
    if problem.use_stderr() {
        if console.form() == Form::Json {
            console.fail(&failure(problem));
        } else {
            // A stderr that is closed is no reason for another exit code.
            let _ = writeln!(anstream::stderr(), "{}", text.replacen("error:", "error[usage]:", 1).trim_end());
        }
        return Exit::Usage.into();
    }
    let is_paged = problem.kind() == ErrorKind::DisplayHelp && !args.iter().any(|arg| arg == "--no-pager");
    let console = console.colourful(console::colours(Color::Auto));
    let (console, pager) = if is_paged { Pager::start(console) } else { (console, None) };
    let text = if console.colours().data { text } else { problem.render().to_string() };
    let exit = match console.stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(problem) => {
            let failure = Failure::output(&problem);
            console.fail(&failure);
            failure.exit()
        }
    };
    drop(console);
    if let Some(pager) = pager {
        pager.end();
    }
    exit.into()
}

/// The format that is asked for by arguments that do not parse.
fn chosen(args: &[OsString]) -> Option<Format> {
    let mut args = args.iter().map_while(|arg| arg.to_str()).skip(1).take_while(|arg| *arg != "--");
    let mut chosen = None;
    while let Some(arg) = args.next() {
        let format = match arg {
            "--json" => Some("json"),
            "--format" => args.next(),
            arg => arg.strip_prefix("--format="),
        };
        chosen = format.and_then(|format| Format::from_str(format, true).ok()).or(chosen);
    }
    chosen
}

/// What is wrong, taken from the text that the parser has for people.
fn failure(problem: &clap::Error) -> Failure {
    if problem.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::usage("no command is named").hint("thingdb --help");
    }
    let text = problem.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let fact = lines.next().unwrap_or_default();
    let fact = fact.strip_prefix("error:").unwrap_or(fact).trim().trim_end_matches(':');
    let mut failure = Failure::usage(fact);
    let mut has_tip = false;
    for line in lines.filter(|line| !line.starts_with("For more information")) {
        match line.strip_prefix("tip: ") {
            Some(tip) => {
                has_tip = true;
                failure = failure.hint(tip);
            }
            None => failure = failure.cause(line),
        }
    }
    if has_tip { failure } else { failure.hint(format!("{} --help", command(&text))) }
}

/// The command whose usage the text shows.
fn command(text: &str) -> String {
    let usage = text.lines().find_map(|line| line.trim().strip_prefix("Usage: ")).unwrap_or("thingdb");
    let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
    usage.split(' ').take_while(is_name).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;

    fn args(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_format_is_found_in_arguments_that_do_not_parse() {
        let chosen = |line: &str| super::chosen(&args(line));
        assert_eq!(chosen("thingdb get --json --nonsense"), Some(Format::Json));
        assert_eq!(chosen("thingdb --format ndjson"), Some(Format::Ndjson));
        assert_eq!(chosen("thingdb --format=table --wrong"), Some(Format::Table));
        assert_eq!(chosen("thingdb --format nonsense"), None);
        assert_eq!(chosen("thingdb put x -- --json"), None);
    }

    #[test]
    fn what_the_parser_says_becomes_a_failure_of_ours() {
        let failure = |line: &str| super::failure(&Cli::read(&args(line)).unwrap_err());
        let missing = failure("thingdb get");
        assert_eq!(missing.fact(), "the following required arguments were not provided");
        assert_eq!(missing.explanations()[0], "<THING>");
        assert_eq!(missing.hints(), ["thingdb get --help"]);
        let unknown = failure("thingdb log x --revers");
        assert!(unknown.fact().contains("--revers"), "{unknown:?}");
        assert!(unknown.hints()[0].contains("--reverse"), "{unknown:?}");
        assert_eq!(failure("thingdb").fact(), "no command is named");
    }
}
