//! The arguments of `thingdb`. Help, completions and man pages come from this
//! definition; each command keeps its own part beside what it does.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::command::{
    actor, append, audience, backup, card, checkpoint, compact, completions, demo, diff, doctor, erase, evidence,
    export, find_evidence, forks, get, help, hold, import, init, journal, keyring, log, ls, man, migrate, new_node_key,
    passwd, peer, prove, put, recovery_key, retain, salvage, serve, share, show, stats, sync, timestamp, token, verify,
    verify_proof, witness,
};
use super::context::Context;
use super::global::Global;
use super::remote::{Named, RemoteArgs};
use crate::console::environment;
use crate::error::Outcome;
use crate::local::Run;

const EXAMPLES: &str = "\
Examples:
  thingdb demo                                       see it work, and catch attacks
  thingdb init ./things --actor alice                a new database
  export THINGDB_DIR=./things
  thingdb put part-42 '{\"temp\":20.1}'                write an entry
  thingdb get part-42                                the latest
  thingdb log part-42                                who wrote what, and when
  thingdb verify                                     prove that nothing was altered

thingdb help COMMAND tells more, so do the topics: exit-codes, formats,
passphrase, environment.";

/// A tamper-evident store: every entry encrypted, signed, and linked to the one before it
#[derive(Debug, Parser)]
#[command(
    name = "thingdb",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = EXAMPLES,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Examples stand before the options: they are what one looks for.
const HELP_OF_COMMANDS: &str = "{about-with-newline}\n{usage-heading} {usage}{after-help}\n\n{all-args}";

impl Cli {
    /// The definition with the layout of its help, which derives cannot say.
    pub(crate) fn definition() -> clap::Command {
        Self::command().mut_subcommands(lay_out)
    }

    /// Reads the arguments, and the environment of this process.
    pub(crate) fn read(args: &[OsString]) -> Result<Self, clap::Error> {
        match Self::read_with(args, without_empty(Self::definition())) {
            // The usage that is shown then would count a variable as an option
            // that was given.
            Err(problem) if problem.use_stderr() => Self::read_of(args, &environment::variable),
            read => read,
        }
    }

    /// Reads the arguments and the environment of another process.
    pub(crate) fn read_of(
        args: &[OsString],
        variable: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, clap::Error> {
        Self::read_with(args, in_environment(Self::definition(), variable))
    }

    fn read_with(args: &[OsString], mut definition: clap::Command) -> Result<Self, clap::Error> {
        if args.iter().filter_map(|arg| arg.to_str()).any(is_small_negative) {
            let put = |put: clap::Command| put.mut_arg("data", |data| data.allow_hyphen_values(true));
            definition = definition.mut_subcommand("put", put);
        }
        let matches = definition.try_get_matches_from_mut(args)?;
        let mut cli = Self::from_arg_matches(&matches).map_err(|problem| problem.format(&mut definition))?;
        cli.note_named(&matches);
        Ok(cli)
    }

    /// Notes what arguments said, where the environment can say it too.
    fn note_named(&mut self, matches: &ArgMatches) {
        let matches = matches.subcommand().map_or(matches, |(_, of_command)| of_command);
        let is_named = |name: &str| {
            let is_known = matches.ids().any(|id| id.as_str() == name);
            is_known && matches.value_source(name) == Some(ValueSource::CommandLine)
        };
        self.global.is_db_named = is_named("db");
        if let Some(remote) = self.command.remote_mut() {
            remote.named = Named {
                url: is_named("url"),
                token_file: is_named("token_file"),
                card: is_named("card"),
                tls_fingerprint: is_named("tls_fingerprint"),
            };
        }
    }

    /// Whether a person wants what it prints page by page.
    pub(crate) const fn is_paged(&self) -> bool {
        use Command::{Diff, Forks, Get, Help, Log, Ls, Show};
        let is_long = matches!(self.command, Log(_) | Ls(_) | Show(_) | Diff(_) | Get(_) | Forks(_) | Help(_));
        is_long && !self.global.no_pager && !self.global.no_input
    }

    /// The server that the command reads, if it does not read a database.
    pub(crate) fn server(&self) -> Outcome<Option<&str>> {
        self.command.remote().map_or(Ok(None), |remote| remote.chosen(&self.global))
    }
}

/// Whether an argument is a number such as `-5.0e-3`, which is no option but is
/// not known as a number either.
fn is_small_negative(arg: &str) -> bool {
    let is_number = serde_json::from_str::<serde_json::Number>(arg).is_ok();
    is_number && arg.starts_with('-') && arg.contains(['e', 'E'])
}

/// The definition without the variables of this process that are empty.
fn without_empty(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        let is_empty = arg.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
        if is_empty { arg.env(clap::builder::Resettable::Reset) } else { arg }
    });
    command.mut_subcommands(without_empty)
}

/// The definition with another environment than that of this process.
fn in_environment(command: clap::Command, variable: &impl Fn(&str) -> Option<OsString>) -> clap::Command {
    let command = command.mut_args(|arg| {
        let Some(name) = arg.get_env().map(|name| name.to_string_lossy().into_owned()) else { return arg };
        let arg = arg.env(clap::builder::Resettable::Reset);
        match variable(&name) {
            Some(value) => arg.default_value(value),
            None => arg,
        }
    });
    command.mut_subcommands(|command| in_environment(command, variable))
}

fn lay_out(command: clap::Command) -> clap::Command {
    command.help_template(HELP_OF_COMMANDS).mut_subcommands(lay_out)
}

/// The commands, in the order of the help.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a database: its directory, node key and first actor
    Init(init::Args),
    /// Write one entry
    Put(put::Args),
    /// Write many entries from ndjson, a signed entry a line
    Append(append::Args),
    /// Print a thing as it is, or as it was
    Get(get::Args),
    /// Print the history of a thing, newest first
    Log(log::Args),
    /// Print all of one entry
    Show(show::Args),
    /// List things
    Ls(ls::Args),
    /// Compare two entries of a thing
    Diff(diff::Args),
    /// Recompute every hash, link and signature from the bytes
    Verify(verify::Args),
    /// Sign the state of the ledger, to be kept elsewhere
    Checkpoint(checkpoint::Args),
    /// Have the state of the ledger stamped by a time-stamp authority
    Timestamp(timestamp::Args),
    /// Write a file by which a stranger believes the history of a thing
    Prove(prove::Args),
    /// Check such a file, without a database
    VerifyProof(verify_proof::Args),
    /// Write entries as a stream that another database can import
    Export(export::Args),
    /// Read a stream of entries, checking each
    Import(import::Args),
    /// Bring in the directory of the Python prototype
    Migrate(migrate::Args),
    /// Keys that sign entries: make, list, trust
    #[command(subcommand)]
    Actor(actor::Command),
    /// Print this node's card, to be handed to a peer
    Card(card::Args),
    /// Other nodes: make known by their card, list, forget
    #[command(subcommand)]
    Peer(peer::Command),
    /// Send a peer what it lacks
    Push(sync::Args),
    /// Fetch what a peer has and this node lacks
    Pull(sync::Args),
    /// Fetch, then send: both have everything then
    Sync(sync::Args),
    /// Check two checkpoints by which a node contradicted itself, without a database
    VerifyEvidence(evidence::Args),
    /// Compare what a node signed in several files, and write the evidence if it contradicts itself
    FindEvidence(find_evidence::Args),
    /// To whom new entries are sealed
    Audience {
        /// Shows what is set if absent.
        #[command(subcommand)]
        command: Option<audience::Command>,
    },
    /// Erase the content of entries, with a record that says so
    Erase(erase::Args),
    /// List what was erased, by whom and why
    Erasures(erase::ListArgs),
    /// Say for how long content is kept
    Retain(retain::Args),
    /// Keep a thing from being erased here, until it is released
    Hold(hold::Args),
    /// Let peers read entries that exist
    Share(share::Args),
    /// Seal nothing new to a peer
    Unshare(audience::Unshare),
    /// Tell who can read which entries of a thing
    Readers(share::ReadersArgs),
    /// List things with several heads
    Forks(forks::Args),
    /// Join the heads of a thing and say which data stands
    Resolve(forks::ResolveArgs),
    /// Print evidence that somebody wrote two entries in the place of one
    ProveFork(forks::ProveArgs),
    /// Check such evidence, without a database
    VerifyFork(forks::VerifyArgs),
    /// Hold the database open for other commands, nodes and programs
    Serve(serve::Args),
    /// What clients show to the server: make, list, remove
    #[command(subcommand)]
    Token(token::Command),
    /// Who is asked to cosign the checkpoints of this ledger: add, list, remove
    #[command(subcommand)]
    Witness(witness::Command),
    /// Copy what is new to a backup, from which the database can be restored
    Backup(backup::Args),
    /// Make a database from a backup, as it was last or before
    Restore(backup::RestoreArgs),
    /// Keep all of the journal, or what is recent
    Journal {
        /// Shows what is kept if absent.
        #[command(subcommand)]
        command: Option<journal::Command>,
    },
    /// Give back the room of what was replaced or deleted in the journal
    Compact(compact::Args),
    /// Change the passphrase
    Passwd(passwd::Args),
    /// Make a key that opens the database when the passphrase is lost
    RecoveryKey(recovery_key::Args),
    /// Keep the keyring elsewhere too, and put it back
    #[command(subcommand)]
    Keyring(keyring::Command),
    /// Go on as another node: for copies and restored backups
    NewNodeKey(new_node_key::Args),
    /// Make a new database from what can still be read of a damaged one
    Salvage(salvage::Args),
    /// Count what is stored
    Stats(stats::Args),
    /// Look for what is wrong or unwise
    Doctor(doctor::Args),
    /// Show all of it in a temporary directory, attacks included
    Demo(demo::Args),
    /// Print completions for a shell
    Completions(completions::Args),
    /// Print or write manual pages
    Man(man::Args),
    /// Explain a command or a topic
    #[command(disable_help_flag = true)]
    Help(help::Args),
}

impl Command {
    /// Runs it. `run_in_server` is how `serve` runs the commands of its clients.
    pub(crate) fn run(self, context: &Context, run_in_server: Run) -> Outcome {
        match self {
            Self::Init(args) => init::run(context, args),
            Self::Put(args) => put::run(context, &args),
            Self::Append(args) => append::run(context, &args),
            Self::Get(args) => get::run(context, &args),
            Self::Log(args) => log::run(context, &args),
            Self::Show(args) => show::run(context, &args),
            Self::Ls(args) => ls::run(context, &args),
            Self::Diff(args) => diff::run(context, &args),
            Self::Verify(args) => verify::run(context, &args),
            Self::Checkpoint(args) => checkpoint::run(context, &args),
            Self::Timestamp(args) => timestamp::run(context, &args),
            Self::Export(args) => export::run(context, &args),
            Self::Import(args) => import::run(context, &args),
            Self::Migrate(args) => migrate::run(context, &args),
            Self::Actor(command) => actor::run(context, &command),
            Self::Card(args) => card::run(context, &args),
            Self::Peer(command) => peer::run(context, &command),
            Self::Push(args) => sync::run(context, sync::Way::Push, &args),
            Self::Pull(args) => sync::run(context, sync::Way::Pull, &args),
            Self::Sync(args) => sync::run(context, sync::Way::Both, &args),
            Self::Prove(args) => prove::run(context, &args),
            Self::VerifyProof(args) => verify_proof::run(context, &args),
            Self::VerifyEvidence(args) => evidence::run(context, &args),
            Self::FindEvidence(args) => find_evidence::run(context, &args),
            Self::Audience { command } => audience::run(context, command.as_ref()),
            Self::Erase(args) => erase::run(context, &args),
            Self::Erasures(args) => erase::list(context, &args),
            Self::Retain(args) => retain::run(context, &args),
            Self::Hold(args) => hold::run(context, &args),
            Self::Share(args) => share::run(context, &args),
            Self::Unshare(args) => audience::unshare(context, &args),
            Self::Readers(args) => share::readers(context, &args),
            Self::Forks(args) => forks::run(context, &args),
            Self::Resolve(args) => forks::resolve(context, &args),
            Self::ProveFork(args) => forks::prove(context, &args),
            Self::VerifyFork(args) => forks::verify(context, &args),
            Self::Serve(args) => serve::run(context, &args, run_in_server),
            Self::Token(command) => token::run(context, &command),
            Self::Witness(command) => witness::run(context, &command),
            Self::Journal { command } => journal::run(context, command),
            Self::Compact(args) => compact::run(context, &args),
            Self::Passwd(args) => passwd::run(context, args),
            Self::RecoveryKey(args) => recovery_key::run(context, &args),
            Self::Keyring(command) => keyring::run(context, &command),
            Self::NewNodeKey(args) => new_node_key::run(context, &args),
            Self::Backup(args) => backup::run(context, &args),
            Self::Restore(args) => backup::restore(context, &args),
            Self::Salvage(args) => salvage::run(context, &args),
            Self::Stats(args) => stats::run(context, &args),
            Self::Doctor(args) => doctor::run(context, &args),
            Self::Demo(args) => demo::run(context, &args),
            Self::Completions(args) => completions::run(context, &args, Cli::definition()),
            Self::Man(args) => man::run(context, &args, Cli::definition()),
            Self::Help(args) => help::run(context, &args, Cli::definition()),
        }
    }

    /// Which server it reads, if it can read one.
    pub(crate) const fn remote(&self) -> Option<&RemoteArgs> {
        match self {
            Self::Get(args) => Some(&args.remote),
            Self::Log(args) => Some(&args.remote),
            Self::Show(args) => Some(&args.remote),
            Self::Ls(args) => Some(&args.remote),
            Self::Diff(args) => Some(&args.remote),
            Self::Checkpoint(args) => Some(&args.remote),
            Self::Export(args) => Some(&args.remote),
            Self::Forks(args) => Some(&args.remote),
            Self::Erasures(args) => Some(&args.remote),
            Self::Prove(args) => Some(&args.remote),
            Self::Stats(args) => Some(&args.remote),
            _ => None,
        }
    }

    const fn remote_mut(&mut self) -> Option<&mut RemoteArgs> {
        match self {
            Self::Get(args) => Some(&mut args.remote),
            Self::Log(args) => Some(&mut args.remote),
            Self::Show(args) => Some(&mut args.remote),
            Self::Ls(args) => Some(&mut args.remote),
            Self::Diff(args) => Some(&mut args.remote),
            Self::Checkpoint(args) => Some(&mut args.remote),
            Self::Export(args) => Some(&mut args.remote),
            Self::Forks(args) => Some(&mut args.remote),
            Self::Erasures(args) => Some(&mut args.remote),
            Self::Prove(args) => Some(&mut args.remote),
            Self::Stats(args) => Some(&mut args.remote),
            _ => None,
        }
    }

    /// Whether the command goes on until somebody ends it.
    pub(crate) const fn runs_long(&self) -> bool {
        match self {
            Self::Serve(_) => true,
            Self::Backup(args) => args.watches(),
            _ => self.watches(),
        }
    }

    /// Whether the command goes on until somebody wants it to end.
    pub(crate) const fn watches(&self) -> bool {
        match self {
            Self::Push(args) | Self::Pull(args) | Self::Sync(args) => args.watches(),
            _ => false,
        }
    }

    /// Whether its exit code tells what it found: it goes on to that, whether somebody
    /// reads what it prints or not.
    pub(crate) const fn gives_verdict(&self) -> bool {
        match self {
            Self::Verify(_)
            | Self::VerifyProof(_)
            | Self::VerifyEvidence(_)
            | Self::FindEvidence(_)
            | Self::VerifyFork(_)
            | Self::Doctor(_)
            | Self::Demo(_)
            | Self::Append(_)
            | Self::Import(_)
            | Self::Migrate(_)
            | Self::Salvage(_)
            | Self::Checkpoint(_)
            | Self::Timestamp(_)
            | Self::Restore(_) => true,
            Self::Backup(_) | Self::Push(_) | Self::Pull(_) | Self::Sync(_) => !self.runs_long(),
            _ => false,
        }
    }

    /// Whether the command needs nothing but to read the database.
    pub(crate) fn only_reads(&self) -> bool {
        match self {
            Self::Get(_)
            | Self::Log(_)
            | Self::Show(_)
            | Self::Ls(_)
            | Self::Diff(_)
            | Self::Verify(_)
            | Self::Export(_)
            | Self::Card(_)
            | Self::Readers(_)
            | Self::Forks(_)
            | Self::ProveFork(_)
            | Self::Prove(_)
            | Self::Erasures(_)
            | Self::Stats(_) => true,
            Self::Retain(args) => args.only_reads(),
            Self::Doctor(args) => !args.fix,
            Self::Timestamp(args) => args.only_reads(),
            Self::Keyring(command) => matches!(command, keyring::Command::Export { .. }),
            Self::Audience { command } => matches!(command, None | Some(audience::Command::Show)),
            Self::Journal { command } => matches!(command, None | Some(journal::Command::Show)),
            Self::Actor(command) => matches!(command, actor::Command::Ls | actor::Command::Show { .. }),
            Self::Peer(command) => matches!(command, peer::Command::Ls),
            Self::Token(command) => matches!(command, token::Command::Ls),
            Self::Witness(command) => matches!(command, witness::Command::Ls),
            _ => !self.opens_database() && !matches!(self, Self::Init(_) | Self::Serve(_) | Self::Restore(_)),
        }
    }

    /// Whether the command opens the database that `--db` names, so that it has
    /// to run in the server that holds it.
    pub(crate) fn opens_database(&self) -> bool {
        if let Self::Verify(args) = self {
            return !args.is_of_files();
        }
        if let Self::VerifyProof(args) = self {
            return args.opens_database();
        }
        !matches!(
            self,
            Self::Init(_)
                | Self::VerifyFork(_)
                | Self::VerifyEvidence(_)
                | Self::FindEvidence(_)
                | Self::Serve(_)
                | Self::Backup(_)
                | Self::Restore(_)
                | Self::Demo(_)
                | Self::Completions(_)
                | Self::Man(_)
                | Self::Help(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::definition().debug_assert();
    }

    #[test]
    fn the_commands_that_read_a_server_are_those_that_are_told() {
        let reads = |command: &&clap::Command| command.get_arguments().any(|arg| arg.get_id() == "tls_fingerprint");
        let mut found: Vec<String> =
            Cli::definition().get_subcommands().filter(reads).map(|command| command.get_name().to_owned()).collect();
        let mut told: Vec<&str> = crate::cli::remote::COMMANDS.split(", ").collect();
        found.sort();
        told.sort_unstable();
        assert_eq!(found, told);
    }

    #[test]
    fn no_argument_takes_a_passphrase() {
        fn names(command: &clap::Command, found: &mut Vec<String>) {
            found.extend(command.get_arguments().filter_map(|arg| arg.get_long()).map(str::to_owned));
            command.get_subcommands().for_each(|command| names(command, found));
        }
        let mut found = Vec::new();
        names(&Cli::definition(), &mut found);
        assert!(found.iter().any(|name| name == "passphrase-file"));
        assert!(!found.iter().any(|name| name == "passphrase" || name == "new-passphrase" || name == "password"));
    }

    #[test]
    fn hints_name_the_place_after_every_command_that_opens_a_database() {
        use crate::console::whereabouts::{COMMANDS, READERS};
        let all = Cli::definition();
        for name in COMMANDS.into_iter().chain(READERS) {
            assert!(all.find_subcommand(name).is_some(), "{name}");
        }
        let rest = [
            "init",
            "card",
            "restore",
            "salvage",
            "find-evidence",
            "verify-evidence",
            "verify-fork",
            "verify-proof",
            "demo",
            "completions",
            "man",
            "help",
        ];
        for command in all.get_subcommands() {
            let name = command.get_name();
            assert!(COMMANDS.contains(&name) != rest.contains(&name), "{name}");
        }
    }
}
