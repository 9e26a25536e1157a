//! `GET /export`: entries in the order of the ledger, as a stream, after a
//! while of waiting, or as events that go on.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, header};
use bytes::Bytes;
use thingdb::{Db, ExportOptions, StreamForm};
use tokio::sync::mpsc;

use super::call::{Answer, Bearer, Call, answer};
use super::encoding::{self, EVENTS, FRAMES, NDJSON};
use super::node::Node;
use super::pipe::{self, PIECE_BYTES, Sink};
use super::places::Scarce;
use super::problem::Problem;
use super::route::{MAX_NUMBER, MAX_WAIT};
use crate::bytes::compress::Compressor;
use crate::view::hole::HolesJson;

/// What to give to `since` the next time.
const NEXT_POSITION: HeaderName = HeaderName::from_static("thingdb-next-position");

/// How often a stream of events shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Entries that become events at once.
const EVENTS_AT_ONCE: u64 = 4096;

/// What is asked for.
#[derive(Clone)]
struct Wanted {
    prefix: String,
    to: Option<String>,
    only_addressed: bool,
    past_holes: bool,
}

impl Wanted {
    fn options<'a>(&self, since: u64, until: u64) -> ExportOptions<'a> {
        let options = ExportOptions::new().since(since).until(until).prefix(&self.prefix);
        let options = options.only_addressed(self.only_addressed).past_holes(self.past_holes);
        match &self.to {
            Some(peer) => options.to(peer),
            None => options,
        }
    }
}

/// Sends entries.
pub(crate) async fn export(mut call: Call) -> Answer {
    let form = encoding::accepted(&call.headers, &[NDJSON, EVENTS, FRAMES])?;
    let wanted = Wanted {
        prefix: call.prefix(call.query.text("things").unwrap_or_default())?,
        to: call.query.text("to").map(str::to_owned),
        only_addressed: call.query.flag("only_addressed")?,
        past_holes: call.query.flag("past_holes")?,
    };
    if wanted.only_addressed && wanted.to.is_none() {
        return Err(Problem::usage("only_addressed needs to"));
    }
    if let Some(to) = wanted.to.clone() {
        call.run(move |db| Ok(db.peer(&to).map(|_| ())?)).await?;
    }
    let mut since = call.query.number("since", MAX_NUMBER)?.unwrap_or(0);
    let wait = call.query.number("wait", MAX_WAIT)?.unwrap_or(0);
    if form == EVENTS {
        if wanted.past_holes {
            return Err(Problem::usage("events do not go past holes"));
        }
        if let Some(last) = call.header(&HeaderName::from_static("last-event-id")) {
            since = last.parse().map_err(|_| Problem::usage("Last-Event-ID is a ledger position"))?;
        }
        call.node.db.check_position(since)?;
        return follow(call, wanted, since);
    }
    call.node.db.check_position(since)?;
    if wait > 0 {
        let _place = call.take(Scarce::Followers)?;
        // Who waits takes no place from those who have something to do.
        call.place = None;
        wait_for(&call.node, since, Duration::from_secs(wait)).await;
    }
    stream(&call, wanted, since, form)
}

/// Waits until the ledger has an entry at `position`, or no longer.
async fn wait_for(node: &Node, position: u64, most: Duration) {
    let mut growth = node.growth();
    tokio::select! {
        _ = growth.wait_for(|size| *size > position) => {}
        () = tokio::time::sleep(most) => {}
        () = node.shutdown.requested() => {}
    }
}

fn stream(call: &Call, wanted: Wanted, since: u64, media_type: &'static str) -> Answer {
    let form = if media_type == FRAMES { StreamForm::Binary } else { StreamForm::Lines };
    let place = call.take(Scarce::Exports)?;
    let compression = encoding::compression(&call.headers);
    let (sink, body) = pipe::sink(call)?;
    let until = call.node.db.ledger_size();
    let db = Arc::clone(&call.node.db);
    let request_id = Arc::clone(&call.request_id);
    tokio::task::spawn_blocking(move || {
        let _place = place;
        let audience = sink.audience();
        let is_wanted = || audience.is_there();
        let written = Compressor::new(compression, sink).map_err(|problem| problem.to_string()).and_then(|mut out| {
            let exported = db.export(wanted.options(since, until).form(form).while_wanted(&is_wanted), &mut out);
            let exported = exported.map_err(|problem| told(&problem))?;
            if exported.lost > 0 {
                let holes = HolesJson::new(exported.lost, &exported.holes);
                serde_json::to_writer(&mut out, &holes).map_err(|problem| problem.to_string())?;
                out.write_all(b"\n").map_err(|problem| problem.to_string())?;
            }
            out.end().and_then(Sink::end).map_err(|problem| problem.to_string())
        });
        if let Err(problem) = written {
            tracing::warn!(%request_id, problem, "an export broke off");
        }
    });
    let mut response = answer(media_type, body);
    response.headers_mut().insert(NEXT_POSITION, HeaderValue::from(until));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if let Some(encoding) = encoding::content_encoding(compression) {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    Ok(response)
}

fn told(problem: &thingdb::Error) -> String {
    match std::error::Error::source(problem) {
        Some(source) => format!("{problem}: {source}"),
        None => problem.to_string(),
    }
}

fn follow(call: Call, wanted: Wanted, since: u64) -> Answer {
    let place = call.take(Scarce::Followers)?;
    let (sender, body) = pipe::pieces(&call, 0)?;
    tokio::spawn(async move {
        let _place = place;
        let Call { node, bearer, request_id, .. } = call;
        let broken = sender.clone();
        let follower = Follower { node, wanted, bearer, pieces: sender };
        if let Err(problem) = follower.run(since).await {
            // Nobody listens if the client has gone.
            let _ = broken.try_send(Err(io::ErrorKind::UnexpectedEof.into()));
            tracing::warn!(%request_id, problem, "a stream of events broke off");
        }
    });
    let mut response: Response<Body> = answer(EVENTS, body);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// Sends entries as events, and goes on when there are more.
struct Follower {
    node: Arc<Node>,
    wanted: Wanted,
    bearer: Option<Bearer>,
    pieces: mpsc::Sender<io::Result<Bytes>>,
}

impl Follower {
    async fn run(mut self, mut since: u64) -> Result<(), String> {
        let mut growth = self.node.growth();
        loop {
            let size = *growth.borrow_and_update();
            while since < size {
                let until = size.min(since.saturating_add(EVENTS_AT_ONCE));
                self.send(since, until).await?;
                since = until;
            }
            let holds = self.bearer.as_mut().is_none_or(|bearer| bearer.still_holds(&self.node.db));
            if !holds || self.pieces.is_closed() {
                return Ok(());
            }
            tokio::select! {
                _ = growth.changed() => {}
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    if self.pieces.send(Ok(Bytes::from_static(b": here\n\n"))).await.is_err() {
                        return Ok(());
                    }
                }
                // So that a token that was removed ends what it began.
                () = tokio::time::sleep(Duration::from_secs(1)), if self.bearer.is_some() => {}
                () = self.pieces.closed() => return Ok(()),
                () = self.node.shutdown.requested() => return Ok(()),
            }
        }
    }

    /// Sends the entries between two positions.
    async fn send(&self, since: u64, until: u64) -> Result<(), String> {
        let share = self.bearer.as_ref().map(Bearer::share);
        let place = self.node.wait(share, Scarce::Exports, 1).await;
        let place = place.map_err(|_| "the server stops".to_owned())?;
        let (db, wanted, pieces) = (Arc::clone(&self.node.db), self.wanted.clone(), self.pieces.clone());
        let sent = tokio::task::spawn_blocking(move || {
            let _place = place;
            events(&db, &wanted, since, until, pieces)
        });
        sent.await.map_err(|problem| problem.to_string())?
    }
}

fn events(
    db: &Db,
    wanted: &Wanted,
    since: u64,
    until: u64,
    pieces: mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), String> {
    let mut out = Events { pieces, ready: Vec::new(), is_within_line: false };
    db.export(wanted.options(since, until).bare(true), &mut out).map_err(|problem| told(&problem))?;
    out.ready
        .extend_from_slice(format!("event: position\nid: {until}\ndata: {{\"next_position\":{until}}}\n\n").as_bytes());
    out.send().map_err(|problem| problem.to_string())
}

/// Makes events of the lines of a stream.
struct Events {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    ready: Vec<u8>,
    is_within_line: bool,
}

impl Events {
    fn send(&mut self) -> io::Result<()> {
        let piece = Bytes::from(std::mem::take(&mut self.ready));
        self.pieces.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Events {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.is_within_line {
                self.ready.extend_from_slice(b"event: entry\ndata: ");
            }
            for part in part.chunks(PIECE_BYTES) {
                self.ready.extend_from_slice(part);
                if self.ready.len() >= PIECE_BYTES {
                    self.send()?;
                }
            }
            self.is_within_line = part.last() != Some(&b'\n');
            if !self.is_within_line {
                self.ready.push(b'\n');
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
