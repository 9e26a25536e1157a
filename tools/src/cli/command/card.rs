//! `thingdb card`: what one hands to a peer.

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::{Exit, Failure, Outcome};

/// Arguments of `thingdb card`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb card > hall-1.card                         hand this to a peer
  thingdb peer add hall-1 @hall-1.card               at the peer, after comparing fingerprints

A card holds this node's public keys and those of its actors, signed. It is no
secret; that it is the right one is for people to check by the fingerprint.")]
pub(crate) struct Args {
    /// Print the certificate of this node's server instead, in PEM
    ///
    /// For clients that check a server by its certificate, as curl --cacert
    /// does. Peers need only the card, which names it.
    #[arg(long)]
    certificate: bool,
}

#[derive(Serialize)]
struct Card {
    card: String,
    fingerprint: String,
    origin: String,
    encryption_key: String,
    /// SHA-256 of the certificate of the node's server.
    tls: Option<String>,
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
        let identity = db.tls_identity()?;
        db.close()?;
        let identity = identity.ok_or_else(|| {
            Failure::not_found("the server of this node has no certificate of its own yet")
                .hint("thingdb serve --listen ADDR:PORT makes one")
        })?;
        return context.output.bytes(pem(&identity.certificate)?.as_bytes());
    }
    let card = db.card()?;
    db.close()?;
    if context.output.chosen().is_none() || !context.output.is_json() {
        return context.output.line(&card.to_string());
    }
    context.output.object(&Card {
        card: card.to_string(),
        fingerprint: card.node_key.fingerprint().to_string(),
        origin: card.node_key.origin().to_string(),
        encryption_key: card.encryption_key.to_string(),
        tls: card.tls.map(|fingerprint| fingerprint.to_string()),
        actors: card.actors.iter().map(|(key, name)| Actor { name: name.clone(), key: key.to_string() }).collect(),
    })
}

/// A certificate as text (RFC 7468).
fn pem(certificate: &[u8]) -> Outcome<String> {
    let mut base64 = data_encoding::BASE64.specification();
    base64.wrap.width = 64;
    base64.wrap.separator.push('\n');
    let base64 =
        base64.encoding().map_err(|problem| Failure::new(Exit::Unexpected, "unexpected", problem.to_string()))?;
    Ok(format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", base64.encode(certificate)))
}
