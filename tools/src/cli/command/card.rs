//! `thingdb card`: what one hands to a peer.

use serde::Serialize;

use crate::cli::context::Context;
use crate::console::output::Format;
use crate::error::Outcome;
use crate::server::certificate;

/// Arguments of `thingdb card`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb card > hall-1.card                         hand this to a peer
  thingdb peer add hall-1 @hall-1.card               at the peer, after comparing fingerprints
  thingdb card --certificate > hall-1.pem            curl --cacert hall-1.pem https://…
  thingdb card --vkey                                what a policy or a log of others takes

A card holds this node's public keys and those of its actors, signed. It is no
secret; that it is the right one is for people to check by the fingerprint.")]
pub(crate) struct Args {
    /// Print the certificate of the node's server instead, in PEM
    ///
    /// Its fingerprint is on the card. For programs that take files of certificates, as curl does
    /// with --cacert.
    #[arg(long)]
    certificate: bool,

    /// Print the keys of the node as C2SP verifier keys instead: that of its ledger, and that
    /// under which it cosigns as a witness
    #[arg(long, conflicts_with = "certificate")]
    vkey: bool,
}

#[derive(Serialize)]
struct VerifierKeys {
    /// Signs the checkpoints of its ledger.
    log: String,
    /// Cosigns those of others.
    witness: String,
}

#[derive(Serialize)]
struct Card {
    card: String,
    fingerprint: String,
    origin: String,
    encryption_key: String,
    /// SHA-256 of the certificate of the node's server.
    certificate: Option<String>,
    actors: Vec<Actor>,
}

#[derive(Serialize)]
struct Actor {
    name: String,
    key: String,
}

/// Prints this node's card.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let db = context.open()?;
    if args.certificate {
        let certificate = certificate::of_node(&db)?;
        context.close(db);
        return context.output.line(certificate::pem(&certificate).trim_end());
    }
    if args.vkey {
        let key = db.node_key();
        context.close(db);
        let [log, witness] = [key.log_vkey(), key.witness_vkey()].map(|key| key.map(|key| key.to_string()));
        let keys =
            VerifierKeys { log: log.map_err(thingdb::Error::from)?, witness: witness.map_err(thingdb::Error::from)? };
        return match context.output.chosen() {
            Some(format) if format != Format::Table => context.output.object(&keys),
            // As a policy has them, where a witness has a name.
            _ => {
                let name: String = key.origin().to_string().chars().take(8).collect();
                context.output.line(&format!("log {}\nwitness {name} {}", keys.log, keys.witness))
            }
        };
    }
    let card = db.card()?;
    context.close(db);
    if context.output.chosen().is_none() || !context.output.is_json() {
        return context.output.line(&card.to_string());
    }
    context.output.object(&Card {
        card: card.to_string(),
        fingerprint: card.node_key.fingerprint().to_string(),
        origin: card.node_key.origin().to_string(),
        encryption_key: card.encryption_key.to_string(),
        certificate: card.tls.map(|hash| hash.to_string()),
        actors: card.actors.iter().map(|(key, name)| Actor { name: name.clone(), key: key.to_string() }).collect(),
    })
}
