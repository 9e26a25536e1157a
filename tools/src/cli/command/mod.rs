//! The commands, one a file: its arguments and what it does.

pub(crate) mod actor;
pub(crate) mod append;
pub(crate) mod audience;
pub(crate) mod card;
pub(crate) mod checkpoint;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod evidence;
pub(crate) mod export;
pub(crate) mod forks;
pub(crate) mod get;
pub(crate) mod help;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod keyring;
pub(crate) mod log;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod migrate;
pub(crate) mod new_node_key;
pub(crate) mod passwd;
pub(crate) mod peer;
pub(crate) mod prove;
pub(crate) mod put;
pub(crate) mod recovery_key;
pub(crate) mod salvage;
pub(crate) mod serve;
pub(crate) mod share;
pub(crate) mod show;
pub(crate) mod stats;
pub(crate) mod sync;
pub(crate) mod token;
pub(crate) mod verify;
mod verify_files;
pub(crate) mod verify_proof;

use super::args::Command;
use super::context::Context;
use super::error::Outcome;

/// Runs one command.
pub(crate) fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Init(args) => init::run(context, args),
        Command::Put(args) => put::run(context, &args),
        Command::Append(args) => append::run(context, &args),
        Command::Get(args) => get::run(context, &args),
        Command::Log(args) => log::run(context, &args),
        Command::Show(args) => show::run(context, &args),
        Command::Ls(args) => ls::run(context, &args),
        Command::Diff(args) => diff::run(context, &args),
        Command::Verify(args) => verify::run(context, &args),
        Command::Checkpoint(args) => checkpoint::run(context, &args),
        Command::Export(args) => export::run(context, &args),
        Command::Import(args) => import::run(context, &args),
        Command::Migrate(args) => migrate::run(context, &args),
        Command::Actor(command) => actor::run(context, &command),
        Command::Card(args) => card::run(context, &args),
        Command::Peer(command) => peer::run(context, &command),
        Command::Push(args) => sync::run(context, sync::Way::Push, &args),
        Command::Pull(args) => sync::run(context, sync::Way::Pull, &args),
        Command::Sync(args) => sync::run(context, sync::Way::Both, &args),
        Command::Prove(args) => prove::run(context, &args),
        Command::VerifyProof(args) => verify_proof::run(context, &args),
        Command::VerifyEvidence(args) => evidence::run(context, &args),
        Command::Audience { command } => audience::run(context, command.as_ref()),
        Command::Share(args) => share::run(context, &args),
        Command::Unshare(args) => audience::unshare(context, &args),
        Command::Readers(args) => share::readers(context, &args),
        Command::Forks(args) => forks::run(context, &args),
        Command::Resolve(args) => forks::resolve(context, &args),
        Command::ProveFork(args) => forks::prove(context, &args),
        Command::VerifyFork(args) => forks::verify(context, &args),
        Command::Serve(args) => serve::run(context, &args),
        Command::Token(command) => token::run(context, &command),
        Command::Passwd(args) => passwd::run(context, args),
        Command::RecoveryKey(args) => recovery_key::run(context, &args),
        Command::Keyring(command) => keyring::run(context, &command),
        Command::NewNodeKey(args) => new_node_key::run(context, &args),
        Command::Salvage(args) => salvage::run(context, &args),
        Command::Stats(args) => stats::run(context, &args),
        Command::Doctor(args) => doctor::run(context, &args),
        Command::Demo(args) => demo::run(context, &args),
        Command::Completions(args) => completions::run(context, &args),
        Command::Man(args) => man::run(context, &args),
        Command::Help(args) => help::run(context, &args),
    }
}
