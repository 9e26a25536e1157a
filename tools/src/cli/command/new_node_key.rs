//! `thingdb new-node-key`: the database goes on as another node.

use serde::Serialize;

use crate::cli::context::Context;
use crate::error::{Failure, Outcome};
use crate::server::certificate;

/// Arguments of `thingdb new-node-key`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cp -a things copy && thingdb -d copy new-node-key --yes     before the copy is written to
  thingdb new-node-key --yes                                  after a backup was restored

Two directories that write under one node key sign two ledgers, which is what a
forger does: peers will say so. A copy, a restored backup, and a ledger that was
cut and is to be written to again therefore go on under a new key. Everything
stays readable; entries are written by a new origin from now on. The last
checkpoint of the former key is kept in the directory.

Peers need the new card, and the server gets a new certificate.")]
pub(crate) struct Args {
    /// Do not refuse: the former key is given up for good
    #[arg(long, short)]
    yes: bool,
}

#[derive(Serialize)]
struct NewNode {
    db: String,
    origin: String,
    node_key: String,
    fingerprint: String,
}

/// Gives the node new keys.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    if !args.yes {
        return Err(Failure::usage("the node's key is given up for good, and peers will need a new card")
            .hint("thingdb new-node-key --yes, if that is what you want"));
    }
    let db = context.open()?.into_own()?;
    certificate::renew(&db)?;
    let dir = db.dir().display().to_string();
    let node_key = db.new_node_key()?;
    context.did(format!("the node has the new key {}", node_key.fingerprint()));
    let new = NewNode {
        db: dir,
        origin: node_key.origin().to_string(),
        node_key: node_key.to_string(),
        fingerprint: node_key.fingerprint().to_string(),
    };
    if context.output.is_json() {
        return context.output.object(&new);
    }
    context.output.line(&format!("node   {}", new.fingerprint))?;
    context.console.note(&format!("hand the new card to peers: {}", context.console.whereabouts().card()));
    Ok(())
}
