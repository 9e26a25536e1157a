//! `GET /info`: what this node is, and what the one who asks may do.

use serde::Serialize;
use utoipa::ToSchema;

use super::call::{Answer, Call, json};
use super::problem::Problem;
use crate::view::missing::MissingOfLedger;

/// The version of the routes and of what they mean.
const PROTOCOL: u32 = 1;

/// What a node is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Info {
    /// Version of the protocol.
    protocol: u32,
    /// Version of the program.
    version: &'static str,
    /// The name under which the node writes entries.
    origin: String,
    /// Of the node's key.
    fingerprint: String,
    /// The node's card: its public keys, signed.
    card: String,
    /// Entries in the ledger: the position of the next one.
    entries: u64,
    /// What is known to be missing of it: where there is something, what is not found may
    /// have been here.
    missing: Vec<MissingOfLedger>,
    /// Media types in which entries come and go.
    streams: Vec<&'static str>,
    /// What the token of this request allows.
    token: TokenJson,
    /// How much is taken.
    limits: LimitsJson,
}

/// A token, without its text.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
struct TokenJson {
    /// Its name.
    name: String,
    /// What it allows.
    scopes: Vec<&'static str>,
    /// Only for things whose id begins so.
    things: String,
    /// From when on it is refused.
    expires: Option<String>,
}

/// How much the server takes.
#[derive(Serialize, ToSchema)]
#[schema(as = Limits)]
struct LimitsJson {
    /// Bytes of the data of an entry, about.
    body_bytes: u64,
    /// Bytes of a line of a stream.
    line_bytes: u64,
    /// Bytes of a stream as it comes.
    stream_bytes: u64,
    /// Requests a second with one token.
    requests_per_second: u32,
    /// Things or entries on a page.
    page: u64,
}

/// Tells what the node is.
pub(crate) async fn info(call: Call) -> Answer {
    let Some(bearer) = &call.bearer else { return Err(Problem::unexpected("a request without a token")) };
    let token = TokenJson {
        name: bearer.token.name.clone(),
        scopes: bearer.token.scopes.iter().map(|scope| scope.as_str()).collect(),
        things: bearer.token.things.clone(),
        expires: bearer.token.expires.map(|time| time.to_string()),
    };
    let limits = &call.node.limits;
    let limits = LimitsJson {
        body_bytes: limits.body_bytes,
        line_bytes: thingdb::format::line::MAX_LINE_BYTES as u64,
        stream_bytes: limits.stream_bytes,
        requests_per_second: limits.rate,
        page: super::route::MAX_PAGE,
    };
    call.run(|db| {
        let card = db.card()?;
        json(&Info {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION"),
            origin: db.origin().to_string(),
            fingerprint: card.node_key.fingerprint().to_string(),
            card: card.to_string(),
            entries: db.ledger_size(),
            missing: MissingOfLedger::of(db)?,
            streams: super::stream::MEDIA_TYPES.to_vec(),
            token,
            limits,
        })
    })
    .await
}
