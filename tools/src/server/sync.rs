//! `/sync/…`: what another node asks that wants to bring both up to date.
//! `docs/sync.md` has the protocol, [`answer`] what is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use thingdb::{ImportOptions, Origin, Scope, Sender};

use super::call::{Answer, Call, answer as respond, json};
use super::encoding::{self, JSON};
use super::import::broken;
use super::pipe::{self, Sink, Unpacked};
use super::places::Scarce;
use super::problem::Problem;
use super::room::Room;
use super::route::{Content, Kind, Needs, Parameter, Reply, Route, Shape, handler};
use crate::bytes::compress::{self, Compression};
use crate::foreign;
use crate::sync::sorted::{self, First, Sorted};
use crate::sync::wire::{self, Grown, MAX_IDS, MAX_RANGES, PassedOn, Receipts, Shown};
use crate::sync::{answer, reconcile, stream};

/// The media type of ids, positions and bits.
const BYTES: &str = "application/octet-stream";

/// The longest wait for new entries, in seconds.
const MAX_WAIT: u64 = 60;

/// How often it is looked whether there are any.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A checkpoint with its proof.
const MAX_SHOWN_BYTES: u64 = 256 << 10;

/// As many receipts as go at once, with the longest reasons.
const MAX_RECEIPTS_BYTES: u64 = 2 << 20;

const NODE: Parameter = Parameter { name: "node", kind: Kind::Text, about: "The node that asks, by its origin" };
const THINGS: Parameter = Parameter { name: "things", kind: Kind::Text, about: "Only things whose id begins so" };
const SINCE: Parameter =
    Parameter { name: "since", kind: Kind::Number(u64::MAX), about: "Only from this ledger position on" };

/// The routes.
pub(crate) static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/sync/state",
        needs: Needs::Token,
        name: "sync-state",
        about: "How this node stands: its checkpoint, the proof that it grew, what it remembers of the node that asks",
        id: None,
        query: &[
            NODE,
            Parameter { name: "known", kind: Kind::Number(u64::MAX), about: "The size from which the proof leads" },
        ],
        headers: &[],
        body: &[],
        answers: &[Reply { status: 200, about: "The state", content: &[Content(JSON, Shape::One("SyncState"))] }],
        problems: &[400, 403, 422],
        handler: handler!(state),
    },
    Route {
        method: Method::POST,
        path: "/sync/checkpoint",
        needs: Needs::Token,
        name: "sync-checkpoint",
        about: "Shows this node the checkpoint of a peer, to be held against what the peer showed before",
        id: None,
        query: &[],
        headers: &[],
        body: &[Content(JSON, Shape::One("SyncShown"))],
        answers: &[Reply { status: 200, about: "What was seen", content: &[Content(JSON, Shape::One("SyncSeen"))] }],
        problems: &[403, 404, 408, 413, 415, 422],
        handler: handler!(checkpoint),
    },
    Route {
        method: Method::POST,
        path: "/sync/seen",
        needs: Needs::Token,
        name: "sync-seen",
        about: "Passes on the newest checkpoints and heads notes of third nodes that a peer has seen, and those that \
                were seen here",
        id: None,
        query: &[],
        headers: &[],
        body: &[Content(JSON, Shape::One("SyncPassedOn"))],
        answers: &[Reply {
            status: 200,
            about: "What was seen here",
            content: &[Content(JSON, Shape::One("SyncPassedOn"))],
        }],
        problems: &[403, 408, 413, 415, 422],
        handler: handler!(seen),
    },
    Route {
        method: Method::POST,
        path: "/sync/receipts",
        needs: Needs::Token,
        name: "sync-receipts",
        about: "Takes receipts for erasures in, and gives those that came here after a revision: what nodes answered, \
                as they signed it",
        id: None,
        query: &[
            NODE,
            Parameter { name: "since", kind: Kind::Number(u64::MAX), about: "Only those of a later revision" },
            THINGS,
        ],
        headers: &[],
        body: &[Content(JSON, Shape::One("SyncReceipts"))],
        answers: &[Reply {
            status: 200,
            about: "What became of them, and receipts",
            content: &[Content(JSON, Shape::One("SyncReceiptsGiven"))],
        }],
        problems: &[403, 408, 413, 415, 422],
        handler: handler!(receipts),
    },
    Route {
        method: Method::GET,
        path: "/sync/ids",
        needs: Needs::Scope(Scope::Export),
        name: "sync-ids",
        about: "The first 16 bytes of the ids of entries, in the order of the ledger; with a prefix, each behind \
                the 8 bytes of its position. As many as one answer holds",
        id: None,
        query: &[
            SINCE,
            Parameter { name: "until", kind: Kind::Number(u64::MAX), about: "Only before this position" },
            THINGS,
        ],
        headers: &[],
        body: &[],
        answers: &[Reply { status: 200, about: "The ids", content: &[Content(BYTES, Shape::Bytes)] }],
        problems: &[403],
        handler: handler!(ids),
    },
    Route {
        method: Method::POST,
        path: "/sync/have",
        needs: Needs::Scope(Scope::Import),
        name: "sync-have",
        about: "Which of these entries are here: the first 16 bytes of ids in, a bit for each out",
        id: None,
        query: &[THINGS],
        headers: &[],
        body: &[Content(BYTES, Shape::Bytes)],
        answers: &[Reply { status: 200, about: "The bits", content: &[Content(BYTES, Shape::Bytes)] }],
        problems: &[403, 408, 413, 415, 422],
        handler: handler!(have),
    },
    Route {
        method: Method::GET,
        path: "/sync/changes",
        needs: Needs::Scope(Scope::Export),
        name: "sync-changes",
        about: "The positions of entries that were completed after a revision, but not by the node that asks",
        id: None,
        query: &[
            NODE,
            Parameter { name: "since", kind: Kind::Number(u64::MAX), about: "Only after this revision" },
            THINGS,
        ],
        headers: &[],
        body: &[],
        answers: &[Reply { status: 200, about: "Positions", content: &[Content(JSON, Shape::One("SyncChanges"))] }],
        problems: &[403, 422],
        handler: handler!(changes),
    },
    Route {
        method: Method::POST,
        path: "/sync/reconcile",
        needs: Needs::Scope(Scope::Export),
        name: "sync-reconcile",
        about: "A message of the negentropy protocol over the ids of the first entries of the ledger, and the answer",
        id: None,
        query: &[Parameter { name: "size", kind: Kind::Number(1_000_000), about: "How many entries" }],
        headers: &[],
        body: &[Content(BYTES, Shape::Bytes)],
        answers: &[Reply { status: 200, about: "The answer", content: &[Content(BYTES, Shape::Bytes)] }],
        problems: &[403, 408, 413, 415, 422],
        handler: handler!(differ),
    },
    Route {
        method: Method::POST,
        path: "/sync/locate",
        needs: Needs::Scope(Scope::Export),
        name: "sync-locate",
        about: "The positions, 8 bytes each and ascending, of those of these entries that are here",
        id: None,
        query: &[THINGS],
        headers: &[],
        body: &[Content(BYTES, Shape::Bytes)],
        answers: &[Reply { status: 200, about: "The positions", content: &[Content(BYTES, Shape::Bytes)] }],
        problems: &[403, 408, 413, 415, 422],
        handler: handler!(locate),
    },
    Route {
        method: Method::GET,
        path: "/sync/wanted",
        needs: Needs::Scope(Scope::Import),
        name: "sync-wanted",
        about: "The first 16 bytes of the ids of entries that are not here and for which others wait here, at most 4096",
        id: None,
        query: &[THINGS],
        headers: &[],
        body: &[],
        answers: &[Reply { status: 200, about: "The ids", content: &[Content(BYTES, Shape::Bytes)] }],
        problems: &[403],
        handler: handler!(wanted),
    },
    Route {
        method: Method::GET,
        path: "/sync/wait",
        needs: Needs::Token,
        name: "sync-wait",
        about: "Answers when there are more entries or completions than these, or the time is over",
        id: None,
        query: &[
            Parameter { name: "size", kind: Kind::Number(u64::MAX), about: "Entries that are known" },
            Parameter { name: "revision", kind: Kind::Number(u64::MAX), about: "The revision that is known" },
            Parameter { name: "seconds", kind: Kind::Number(MAX_WAIT), about: "How long to wait" },
        ],
        headers: &[],
        body: &[],
        answers: &[Reply {
            status: 200,
            about: "How many there are",
            content: &[Content(JSON, Shape::One("SyncGrown"))],
        }],
        problems: &[],
        handler: handler!(wait),
    },
    Route {
        method: Method::POST,
        path: "/sync/fetch",
        needs: Needs::Scope(Scope::Export),
        name: "sync-fetch",
        about: "The entries in ranges of positions, each its start and its end, 8 bytes each: a binary stream in zstd",
        id: None,
        query: &[THINGS],
        headers: &[],
        body: &[Content(BYTES, Shape::Bytes)],
        answers: &[Reply { status: 200, about: "The entries", content: &[Content(stream::MEDIA_TYPE, Shape::Bytes)] }],
        problems: &[403, 408, 413, 415, 422],
        handler: handler!(fetch),
    },
    Route {
        method: Method::POST,
        path: "/sync/entries",
        needs: Needs::Scope(Scope::Import),
        name: "sync-entries",
        about: "Takes entries in, a binary stream in zstd; what came whole before a line broke is stored",
        id: None,
        query: &[NODE, THINGS],
        headers: &[],
        body: &[Content(stream::MEDIA_TYPE, Shape::Bytes)],
        answers: &[Reply {
            status: 200,
            about: "What became of them",
            content: &[Content(JSON, Shape::One("SyncReceived"))],
        }],
        problems: &[403, 408, 413, 415, 422],
        handler: handler!(entries),
    },
];

/// The node that asks, as it says, and as its token says if that is a peer's.
fn origin(call: &Call) -> Result<Origin, Problem> {
    let node = call.query.text("node").unwrap_or_default();
    let node = node.parse().map_err(|_| Problem::invalid("node is an origin: 32 lower-case hex digits"))?;
    match node_of_token(call) {
        Some(known) if known != node => Err(of_another_node(&known, &node)),
        _ => Ok(node),
    }
}

/// Who sends: the node that asks, as far as its token proves that.
fn sender(call: &Call) -> Result<Sender, Problem> {
    let node = origin(call)?;
    let sender = if node_of_token(call).is_some() { Sender::node(node) } else { Sender::claiming(node) };
    Ok(call.bearer.as_ref().map_or(sender, |bearer| sender.token(bearer.token.id)))
}

/// The peer's node that the token was made for.
fn node_of_token(call: &Call) -> Option<Origin> {
    call.bearer.as_ref().and_then(|bearer| bearer.token.node)
}

/// The node of the peer that the token was made for, which has to be there.
fn node_of_peer(call: &Call) -> Result<Origin, Problem> {
    node_of_token(call).ok_or_else(|| {
        let problem = Problem::new(StatusCode::FORBIDDEN, "token-refused", "the token was made for no peer's node");
        problem.hint("thingdb token new --peer NAME --scope export,import")
    })
}

fn of_another_node(known: &Origin, node: &Origin) -> Problem {
    let detail = format!("the token was made for the node {known}, and {node} shows it");
    Problem::new(StatusCode::FORBIDDEN, "token-refused", detail)
        .hint("thingdb peer add NAME @FILE, with the card of the node that asks (thingdb card, there); then thingdb token new --peer NAME --scope export,import")
}

fn prefix(call: &Call) -> Result<String, Problem> {
    call.prefix(call.query.text("things").unwrap_or_default())
}

fn number(call: &Call, name: &str) -> Result<u64, Problem> {
    Ok(call.query.number(name, u64::MAX)?.unwrap_or(0))
}

fn must_be(call: &Call, media_type: &'static str) -> Result<(), Problem> {
    if encoding::content_type(&call.headers).as_deref() == Some(media_type) {
        return Ok(());
    }
    Err(encoding::unsupported(format!("this comes as {media_type}")))
}

/// How this node stands.
async fn state(call: Call) -> Answer {
    let (node, known, things) = (origin(&call)?, number(&call, "known")?, call.things().to_owned());
    let speaks = node_of_token(&call).is_some();
    call.run(move |db| json(&answer::state(db, &node, known, &things, speaks)?)).await
}

/// Takes note of how a peer stands. Whoever shows an old checkpoint of a node
/// that is not theirs would make that node look as if it was set back.
async fn checkpoint(mut call: Call) -> Answer {
    must_be(&call, JSON)?;
    let node = node_of_peer(&call)?;
    let body = call.whole_body(MAX_SHOWN_BYTES).await?;
    call.run(move |db| {
        let shown: Shown = foreign::decode(&body).map_err(|fault| Problem::of_json("no checkpoint", &fault))?;
        let shows = shown.node.parse().map_err(thingdb::Error::from)?;
        if shows != node {
            return Err(of_another_node(&node, &shows));
        }
        match answer::observe(db, &shown)? {
            Some(seen) => json(&seen),
            None => Err(Problem::not_found("this node is none of the peers here")),
        }
    })
    .await
}

/// Takes what a peer has seen of third nodes.
async fn seen(mut call: Call) -> Answer {
    must_be(&call, JSON)?;
    let node = node_of_peer(&call)?;
    let body = call.whole_body(MAX_SHOWN_BYTES).await?;
    call.run(move |db| {
        let passed: PassedOn = foreign::decode(&body).map_err(|fault| Problem::of_json("no checkpoints", &fault))?;
        json(&answer::pass_on(db, &node, &passed)?)
    })
    .await
}

/// Takes receipts for erasures, and gives some.
async fn receipts(mut call: Call) -> Answer {
    must_be(&call, JSON)?;
    let (node, since, prefix) = (origin(&call)?, number(&call, "since")?, prefix(&call)?);
    let body = call.whole_body(MAX_RECEIPTS_BYTES).await?;
    call.run(move |db| {
        let came: Receipts = foreign::decode(&body).map_err(|fault| Problem::of_json("no receipts", &fault))?;
        json(&answer::receipts(db, &node, since, &prefix, &came)?)
    })
    .await
}

/// New entries that are gone through one by one before they are put in order
/// with the others.
const NEW: u64 = 16_384;

/// The ids of the first `size` entries, and of more.
async fn ids_of_first(call: &Call, size: u64) -> Result<Arc<Sorted>, Problem> {
    let mut newest = call.node.ids.newest().await;
    if newest.size() >= size {
        return Ok(Arc::clone(&newest));
    }
    // The lock goes with the work: a client that leaves has nobody do it a
    // second time beside it.
    call.run(move |db| {
        let size = db.ledger_size().min(*reconcile::ENTRIES.end()).max(size);
        *newest = Arc::new(newest.grown(db, size)?);
        Ok(Arc::clone(&newest))
    })
    .await
}

/// The ids of nearly all entries; nothing if there are too many to keep.
async fn ids_of_most(call: &Call) -> Result<Option<Arc<Sorted>>, Problem> {
    let size = call.node.db.ledger_size();
    if size > *reconcile::ENTRIES.end() {
        return Ok(None);
    }
    ids_of_first(call, size.saturating_sub(NEW)).await.map(Some)
}

/// Lists ids.
async fn ids(call: Call) -> Answer {
    let (prefix, since) = (prefix(&call)?, number(&call, "since")?);
    let until = call.query.number("until", u64::MAX)?.unwrap_or(u64::MAX);
    call.run(move |db| Ok(respond(BYTES, answer::ids(db, &prefix, since..until)?))).await
}

/// Says what is here.
async fn have(mut call: Call) -> Answer {
    must_be(&call, BYTES)?;
    let prefix = prefix(&call)?;
    let body = call.whole_body(MAX_IDS as u64 * 16).await?;
    let sorted = ids_of_most(&call).await?;
    call.run(move |db| match answer::have(db, sorted.as_deref(), &prefix, &body)? {
        Some(bits) => Ok(respond(BYTES, bits)),
        None => Err(Problem::invalid("each id is 16 bytes")),
    })
    .await
}

/// Answers what differs.
async fn differ(mut call: Call) -> Answer {
    must_be(&call, BYTES)?;
    call.for_everything()?;
    let size = call.query.number("size", *reconcile::ENTRIES.end())?.unwrap_or(0);
    let body = call.whole_body(reconcile::MAX_MESSAGE_BYTES as u64).await?;
    if size > call.node.db.ledger_size() {
        return Err(Problem::invalid("the ledger has fewer entries"));
    }
    let place = call.take(Scarce::Comparisons)?;
    let ids = ids_of_first(&call, size).await?;
    call.run(move |_| {
        let _place = place;
        let answer = reconcile::answer(&First::new(ids, size), &body);
        Ok(respond(BYTES, answer.ok_or_else(|| Problem::invalid("this is no message of negentropy"))?))
    })
    .await
}

/// Says where entries are.
async fn locate(mut call: Call) -> Answer {
    must_be(&call, BYTES)?;
    let prefix = prefix(&call)?;
    let body = call.whole_body(MAX_IDS as u64 * 16).await?;
    let ids = wire::ids_of_bytes(&body).ok_or_else(|| Problem::invalid("each id is 16 bytes"))?;
    let sorted = ids_of_most(&call).await?;
    call.run(move |db| {
        let mut positions = Vec::new();
        for position in sorted::positions(db, sorted.as_deref(), &ids)?.into_values() {
            if prefix.is_empty() || db.is_of(position, &prefix)? {
                positions.push(position);
            }
        }
        positions.sort_unstable();
        Ok(respond(BYTES, positions.into_iter().flat_map(u64::to_be_bytes).collect::<Vec<u8>>()))
    })
    .await
}

/// Lists what is waited for.
async fn wanted(call: Call) -> Answer {
    let prefix = prefix(&call)?;
    call.run(move |db| Ok(respond(BYTES, answer::wanted(db, &prefix)?))).await
}

/// Lists completions.
async fn changes(call: Call) -> Answer {
    let (node, prefix, since) = (origin(&call)?, prefix(&call)?, number(&call, "since")?);
    call.run(move |db| json(&answer::changes(db, &prefix, &node, since)?)).await
}

/// Waits until there is something new.
async fn wait(mut call: Call) -> Answer {
    let (size, revision) = (number(&call, "size")?, number(&call, "revision")?);
    let _place = call.take(Scarce::Followers)?;
    // Who waits takes no place from those who have something to do.
    call.place = None;
    let end = Instant::now() + Duration::from_secs(call.query.number("seconds", MAX_WAIT)?.unwrap_or(0));
    loop {
        let grown = Grown { size: call.node.db.ledger_size(), revision: call.node.db.revision() };
        if grown.size > size || grown.revision > revision || Instant::now() >= end {
            return json(&grown);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = call.node.shutdown.requested() => return json(&grown),
        }
    }
}

/// Sends entries.
async fn fetch(mut call: Call) -> Answer {
    must_be(&call, BYTES)?;
    let prefix = prefix(&call)?;
    let body = call.whole_body(MAX_RANGES as u64 * 16).await?;
    let ranges = wire::ranges_of_bytes(&body)
        .ok_or_else(|| Problem::invalid("ranges ascend and do not meet, each a start and an end of 8 bytes"))?;
    let place = call.take(Scarce::Exports)?;
    let (mut sink, body) = pipe::sink(&call)?;
    let (db, request_id) = (Arc::clone(&call.node.db), Arc::clone(&call.request_id));
    tokio::task::spawn_blocking(move || {
        let _place = place;
        let written = answer::entries(&db, &prefix, ranges, &mut sink).map_err(|problem| problem.to_string());
        if let Err(problem) = written.and_then(|()| Sink::end(sink).map_err(|problem| problem.to_string())) {
            tracing::warn!(%request_id, problem, "an exchange broke off");
        }
    });
    Ok(respond(stream::MEDIA_TYPE, body))
}

/// Takes entries in.
async fn entries(call: Call) -> Answer {
    must_be(&call, stream::MEDIA_TYPE)?;
    if encoding::compressed_with(&call.headers)? != Compression::Zstd {
        return Err(encoding::unsupported("this comes compressed with zstd"));
    }
    let (sender, prefix) = (sender(&call)?, prefix(&call)?);
    call.told_length(call.node.limits.stream_bytes)?;
    let place = call.take(Scarce::Imports)?;
    let (source, ending) = pipe::source(&call.node, call.take_body(), call.bearer.clone());
    let (server, ratio) = (Arc::clone(&call.node), call.node.limits.unpack_ratio);
    let room = Room::new(&call, &ending);
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        let received = source.received();
        let malformed = |problem: std::io::Error| Problem::invalid(problem.to_string());
        let unpacked = compress::unpacked(Compression::Zstd, source).map_err(malformed)?;
        let unpacked = Unpacked::new(unpacked, received, ratio, ending.clone());
        let large = || room.for_large_line();
        let options = ImportOptions::new().prefix(&prefix).from(sender).memory(room.bytes()).room(&large);
        let (done, newer) = answer::receive(&server.db, options, unpacked)?;
        server.metrics.imported(done.tally.added, done.tally.refused);
        match (ending.broken(), newer) {
            (Some(how), _) => Err(broken(how)),
            (None, Some(newer)) => Err(Problem::newer(format!("{newer}; what came before it is stored"))),
            (None, None) => json(&done),
        }
    });
    work.await.map_err(|problem| Problem::unexpected(problem.to_string()))?
}
