//! `POST /import`: a stream of entries, each checked before it is stored. What
//! is refused is told while the stream still comes; what came before a
//! connection broke is stored and kept.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use bytes::Bytes;
use serde::Serialize;
use thingdb::{Db, ImportOptions, Refusal, Sender};
use tokio::sync::mpsc;

use super::call::{Answer, Call, answer, json};
use super::encoding::{self, JSON, NDJSON};
use super::pipe::{self, Break, Ending, Source, Unpacked};
use super::places::Scarce;
use super::problem::{Problem, ProblemJson};
use super::room::Room;
use super::stream::{Form, MEDIA_TYPES};
use crate::bytes::compress::{self, Compression};
use crate::view::imported::{ImportedJson, RefusalJson};

/// Bytes of refusals that wait for the client to read them. A client that
/// sends everything before it reads must not bring the import to a halt, so
/// what is more is counted and not listed.
const WAITING_BYTES: usize = 4 << 20;

/// Takes a stream in.
pub(crate) async fn import(call: Call) -> Answer {
    let form = encoding::accepted(&call.headers, &[NDJSON, JSON])?;
    let media_type = encoding::content_type(&call.headers).unwrap_or_default();
    let stream = Form::of_media_type(&media_type).ok_or_else(|| {
        encoding::unsupported(format!("a stream comes as {}, not {media_type:?}", MEDIA_TYPES.join(" or ")))
            .hint("Content-Type: application/x-ndjson")
    })?;
    let order = Order {
        form: stream,
        compression: encoding::compressed_with(&call.headers)?,
        ratio: call.node.limits.unpack_ratio,
        things: call.things().to_owned(),
        sender: call.bearer.as_ref().map_or_else(Sender::unknown, |bearer| Sender::unknown().token(bearer.token.id)),
        dry_run: call.query.flag("dry_run")?,
        fail_fast: call.query.flag("fail_fast")?,
    };
    call.told_length(call.node.limits.stream_bytes)?;
    let place = call.take(Scarce::Imports)?;
    let (pieces, body) = pipe::pieces(&call, WAITING_BYTES as u64)?;
    let (source, ending) = pipe::source(&call.node, call.take_body(), call.bearer.clone());
    let room = Room::new(&call, &ending);
    let (lines, mut events) = Lines::new(form == NDJSON && !order.fail_fast);
    let db = Arc::clone(&call.node.db);
    let node = Arc::clone(&call.node);
    let request_id = Arc::clone(&call.request_id);
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        let done = order.run(&db, source, &ending, &room, &lines);
        if let Ok(imported) = &done {
            node.metrics.imported(imported.added, imported.refused);
        }
        lines.end(done, &request_id)
    });
    // The answer begins with the first refused line, or with the end: until
    // then its status is open.
    let Some(first) = events.recv().await else {
        let done = work.await.map_err(|problem| Problem::unexpected(problem.to_string()))?;
        return match done {
            Ended::Done(imported) if form == JSON => json(&*imported),
            Ended::Done(imported) => Ok(answer(NDJSON, line(&imported.without_reasons()))),
            Ended::Failed(problem) => Err(problem),
            Ended::Told => Err(Problem::unexpected("an import told its end to nobody")),
        };
    };
    tokio::spawn(async move {
        let mut next = Some(first);
        while let Some(piece) = next {
            if pieces.send(io::Result::Ok(piece.into_bytes())).await.is_err() {
                // The client has gone; what it sent is stored all the same.
                return;
            }
            next = events.recv().await;
        }
    });
    Ok(answer(NDJSON, body))
}

/// What is to be done with a stream.
struct Order {
    form: Form,
    compression: Compression,
    ratio: u64,
    things: String,
    sender: Sender,
    dry_run: bool,
    fail_fast: bool,
}

impl Order {
    fn run(
        &self,
        db: &Db,
        source: Source,
        ending: &Ending,
        room: &Room,
        lines: &Lines,
    ) -> Result<Box<ImportedJson>, Problem> {
        let received = source.received();
        let malformed =
            |problem: &io::Error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-stream", problem.to_string());
        let unpacked = compress::unpacked(self.compression, source).map_err(|problem| malformed(&problem))?;
        let unpacked = Unpacked::new(unpacked, received, self.ratio, ending.clone());
        let (unwrapped, is_array) = self.form.lines(unpacked).map_err(|problem| malformed(&problem))?;
        let mut tell = |refusal: &Refusal| lines.tell(refusal);
        let large = || room.for_large_line();
        let options = ImportOptions::new()
            .memory(room.bytes())
            .room(&large)
            .prefix(&self.things)
            .from(self.sender)
            .dry_run(self.dry_run)
            .fail_fast(self.fail_fast)
            .rewritten(is_array)
            .refused(&mut tell);
        let imported = db.import(options, unwrapped).map_err(Problem::from)?;
        let stopped = ending.broken() == Some(Break::Stopped);
        if let Some(how) = ending.broken().filter(|_| !stopped) {
            return Err(broken(how));
        }
        if self.fail_fast
            && let Some(refusal) = imported.reasons.first()
        {
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-line", refusal.reason.clone());
            return Err(problem.at(refusal.line, refusal.column));
        }
        Ok(Box::new(ImportedJson::new(&imported, stopped)))
    }
}

/// What is said of a stream that broke off. What came of it is stored.
pub(crate) fn broken(how: Break) -> Problem {
    let stored = "what came before it is stored";
    match how {
        Break::Gone => Problem::usage(format!("the body broke off; {stored}")),
        Break::Slow => Problem::too_slow(format!("the body did not go on, or too slowly; {stored}")),
        Break::Large => Problem::too_large(format!("the stream, or what it unpacks to, is too large; {stored}")),
        Break::Token => {
            Problem::new(StatusCode::UNAUTHORIZED, "token-refused", format!("the token holds no longer; {stored}"))
        }
        Break::Stopped => Problem::busy(format!("the server stops; {stored}")),
        Break::Busy => Problem::busy(format!("there is no memory for a line this large now; {stored}")),
    }
}

/// How an import ended, for whoever waits for it.
enum Ended {
    Done(Box<ImportedJson>),
    Failed(Problem),
    /// It stands in the last line.
    Told,
}

/// The lines of the answer while it goes on.
struct Lines {
    /// Nothing if the answer is one document.
    to: Option<mpsc::UnboundedSender<Told>>,
    state: Mutex<LinesState>,
    waiting: Arc<std::sync::atomic::AtomicUsize>,
}

#[derive(Default)]
struct LinesState {
    begun: bool,
    left_out: u64,
}

/// A line, counted for as long as it waits.
struct Told {
    line: Vec<u8>,
    waiting: Arc<std::sync::atomic::AtomicUsize>,
}

impl Told {
    fn into_bytes(self) -> Bytes {
        self.waiting.fetch_sub(self.line.len(), std::sync::atomic::Ordering::Relaxed);
        Bytes::from(self.line)
    }
}

#[derive(Serialize)]
struct Failed {
    error: ProblemJson,
}

fn line(value: &impl Serialize) -> Vec<u8> {
    // These types have no value that JSON cannot hold.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    let _ = line.write_all(b"\n");
    line
}

impl Lines {
    fn new(streams: bool) -> (Self, mpsc::UnboundedReceiver<Told>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { to: streams.then_some(sender), state: Mutex::default(), waiting: Arc::default() }, receiver)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, LinesState> {
        self.state.lock().expect("no thread panics while it holds the lines")
    }

    /// Tells of a refused line.
    fn tell(&self, refusal: &Refusal) {
        let Some(to) = &self.to else { return };
        let line = line(&RefusalJson::new(refusal));
        let mut state = self.state();
        state.begun = true;
        if self.waiting.load(std::sync::atomic::Ordering::Relaxed) + line.len() > WAITING_BYTES {
            state.left_out += 1;
            return;
        }
        self.send(to, line);
    }

    fn send(&self, to: &mpsc::UnboundedSender<Told>, line: Vec<u8>) {
        self.waiting.fetch_add(line.len(), std::sync::atomic::Ordering::Relaxed);
        // Nobody listens if the client has gone.
        let _ = to.send(Told { line, waiting: Arc::clone(&self.waiting) });
    }

    /// Tells how it ended, in the last line if there were others.
    fn end(self, done: Result<Box<ImportedJson>, Problem>, request_id: &str) -> Ended {
        let (begun, left_out) = {
            let state = self.state();
            (state.begun, state.left_out)
        };
        match (&self.to, done) {
            (Some(to), Ok(imported)) if begun => {
                self.send(to, line(&imported.without_reasons().left_out(left_out)));
                Ended::Told
            }
            (Some(to), Err(problem)) if begun => {
                self.send(to, line(&Failed { error: problem.into_json(request_id) }));
                Ended::Told
            }
            (_, Ok(imported)) => Ended::Done(imported),
            (_, Err(problem)) => Ended::Failed(problem),
        }
    }
}
