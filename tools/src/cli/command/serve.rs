//! `thingdb serve`: holds the database open for many.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::cli::context::Context;
use crate::cli::error::{Exit, Failure, Outcome};
use crate::cli::interrupt;
use crate::local::{Client, Listener};

/// How long commands may take to end when the server ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `thingdb serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb serve --db /srv/things --passphrase-file /run/keys/things

As long as it runs, every command on that directory runs in it, with the same
output and the same exit codes, and without a passphrase: whoever may connect to
the socket in the directory (its owner, and root) could read the server's memory
as well.

Ctrl-C and SIGTERM end it: commands that run are asked to stop, and what they
reported as stored is stored. Exit code 0 then.")]
pub(crate) struct Args {}

/// Holds the database until somebody wants it to end.
pub(crate) fn run(context: &Context, _: &Args) -> Outcome {
    let dir = context.dir()?;
    if Client::connect(dir)?.is_some() {
        return Err(Failure::new(Exit::Locked, "locked", format!("a server holds {} already", dir.display()))
            .hint("thingdb doctor tells which process it is"));
    }
    let db = Arc::new(context.open()?.into_own()?);
    let _patience = context.console.patience();
    let (sender, requests) = channel();
    interrupt::on_request(Box::new(move || {
        // Nobody waits any more if this fails.
        let _ = sender.send(());
    }));
    let socket = |problem| Failure::file(&format!("the socket in {}", dir.display()), &problem);
    let listener = Listener::start(&db).map_err(socket)?;
    context.console.note(&format!("serving {}", dir.display()));
    // The sender lives as long as nobody asks, and a request that came before
    // there was somebody to tell is seen here.
    if !context.console.is_interrupted() {
        let _ = requests.recv();
    }
    let left = listener.stop(PATIENCE);
    match Arc::try_unwrap(db) {
        Ok(db) => db.close()?,
        // A command that does not end still has it.
        Err(db) => db.settle_all()?,
    }
    if left > 0 {
        return Err(Failure::new(
            Exit::Unexpected,
            "not-ended",
            format!("{left} commands did not end; what they reported as stored is stored"),
        ));
    }
    Ok(())
}
