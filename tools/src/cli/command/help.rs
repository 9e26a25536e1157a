//! `thingdb help`: commands and topics.

use crate::cli::context::Context;
use crate::error::{Exit, Failure, Outcome};

/// Arguments of `thingdb help`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Topics: exit-codes, formats, passphrase, environment, erasure")]
pub(crate) struct Args {
    /// A command, or a topic: exit-codes, formats, passphrase, environment, erasure
    #[arg(value_name = "COMMAND|TOPIC")]
    subject: Vec<String>,
}

const FORMATS: &str = "\
Data goes to stdout, everything else to stderr.

--format table    for people; the default on a terminal
--format ndjson   one JSON object a line; the default in a pipe
--format json     one JSON document; --json is short for it
--format raw      only the data, byte for byte (get, show, log), or names (ls)

checkpoint, export, recovery-key, completions and man print the thing itself
unless a format is asked for. THINGDB_FORMAT sets another default.

The members of the JSON are listed in docs/cli.md. Data that was put as JSON
comes back as it was spelled, however long its numbers are.

--progress json prints a line of JSON on stderr twice a second:
{\"type\":\"progress\",\"op\":\"verifying\",\"done\":…,\"total\":…,\"bytes\":…,\"rate\":…,\"eta_s\":…}";

const ENVIRONMENT: &str = "\
THINGDB_DIR                  the directory of the database; --db wins
THINGDB_URL                  the server that get, log, show, ls, diff, stats,
                             forks, erasures, checkpoint, export and prove
                             read; --url wins, and so does --db. With
                             THINGDB_DIR one has to be named
THINGDB_TOKEN_FILE           the file with the token for it; --token-file wins
THINGDB_CARD                 the card of its node; --card wins
THINGDB_ACTOR                who signs; --actor wins
THINGDB_FORMAT               table, json, ndjson or raw; --format wins
THINGDB_PASSPHRASE_FILE      a file that holds the passphrase
THINGDB_PASSPHRASE_COMMAND   a command that prints it
CREDENTIALS_DIRECTORY        systemd's; the credential is thingdb-passphrase
THINGDB_PASSPHRASE           the passphrase itself, as the last choice
THINGDB_WAIT                 seconds to wait for another process that has the
                             database open; --wait wins, 10 without either
NO_COLOR, CLICOLOR_FORCE     colours off, colours on
THINGDB_PAGER, PAGER         what shows long output on a terminal, less if
                             neither is set; cat for none

A variable that is empty counts as one that is not set.";

const ERASURE: &str = "\
What was written can lose its content, and never the fact that it was written.

  thingdb erase THING --all --reason TEXT --dry-run     what would be signed
  thingdb erase THING --all --reason TEXT --basis WORD  sign it, and erase
  thingdb erasures                                      what, by whom, when, why
  thingdb verify                                        counts erased entries

goes    data, media type, action, attachment, the name of the actor, all keys
stays   the id of the thing, key and node of the writer, time, size, signature

Four words for content that is not there:

erased          a record of somebody who may says so
stub            it never came to this node
undecryptable   it is here, and this node has no key to it
lost            it should be here, and no record says why it is not

The record is an entry that everybody can read: it must hold nothing personal.
The writer of an entry may erase it, and so may the actors of the node at which
it was written. The record travels by sync and import, and others erase their
copies. Backups and exports of before, and what somebody copied, are not
reached. docs/erasure.md has the whole of it.";

/// Prints the help. `definition` is that of all commands.
pub(crate) fn run(context: &Context, args: &Args, definition: clap::Command) -> Outcome {
    let text = match args.subject.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["exit-codes"] => exit_codes(),
        ["formats"] => FORMATS.to_owned(),
        ["passphrase"] => passphrase(),
        ["environment"] => ENVIRONMENT.to_owned(),
        ["erasure"] => ERASURE.to_owned(),
        path => of_command(definition, path)?,
    };
    context.output.line(text.trim_end())
}

fn exit_codes() -> String {
    let lines: Vec<String> = Exit::ALL.iter().map(|exit| format!("{:>4}  {}", *exit as u8, exit.meaning())).collect();
    format!("Exit codes; treat one that is not listed as a failure.\n\n{}", lines.join("\n"))
}

fn passphrase() -> String {
    let least = thingdb::Passphrase::LEAST_CHARACTERS;
    format!(
        "\
The passphrase opens the keyring, which holds every other key. It is looked
for in this order:

  --passphrase-file FILE, --passphrase-fd N, --passphrase-command COMMAND
  THINGDB_PASSPHRASE_FILE, THINGDB_PASSPHRASE_COMMAND
  the systemd credential thingdb-passphrase
  THINGDB_PASSPHRASE
  the terminal, unless --no-input is given

Where thingdb serve holds the database, none is needed.

One line ending at its end does not count. A new passphrase needs {least}
characters or more. There is no option that is the passphrase itself: other
users of the machine could read it.

A passphrase that is lost is lost, unless there is a recovery key:

  thingdb recovery-key                      make one beforehand
  thingdb passwd --recovery-key-file FILE   open with it, set a new passphrase"
    )
}

fn of_command(mut command: clap::Command, path: &[&str]) -> Outcome<String> {
    command.build();
    let mut found = &mut command;
    for name in path {
        found = found.find_subcommand_mut(name).ok_or_else(|| {
            Failure::usage(format!("no command or topic is called {}", path.join(" "))).hint("thingdb --help")
        })?;
    }
    Ok(found.render_long_help().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;

    #[test]
    fn every_command_has_help() {
        for command in Cli::definition().get_subcommands() {
            let text = of_command(Cli::definition(), &[command.get_name()]).unwrap();
            assert!(text.contains("Usage:"), "{}", command.get_name());
        }
    }
}
