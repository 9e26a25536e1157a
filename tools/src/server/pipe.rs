//! Pipes between asynchronous bodies and the synchronous engine. Both hold a
//! few pieces and no more: whoever is faster waits.

use std::io::{self, BufRead, Read, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use bytes::{Buf, Bytes};
use http_body::Frame;
use http_body_util::BodyExt;
use thingdb::Db;
use tokio::sync::mpsc;

use super::call::{Bearer, Call};
use super::flow::{Flow, drain};
use super::node::Node;
use super::places::Place;
use super::problem::Problem;

/// Pieces that wait in a pipe.
const PIECES: usize = 4;

/// Bytes after which a writer hands a piece on.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// Why a body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// The connection broke.
    Gone,
    /// Nothing came for too long, or too little.
    Slow,
    /// More came than is taken.
    Large,
    /// The token was removed or has expired.
    Token,
    /// The server stops.
    Stopped,
    /// There was no memory for a large line.
    Busy,
}

/// How a body ended, to be asked afterwards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending(Arc<Mutex<Option<Break>>>);

impl Ending {
    /// Notes it, unless it ended before.
    pub(crate) fn set(&self, how: Break) {
        self.0.lock().expect("no thread panics while it holds the ending").get_or_insert(how);
    }

    /// Why it ended early, if it did.
    pub(crate) fn broken(&self) -> Option<Break> {
        *self.0.lock().expect("no thread panics while it holds the ending")
    }
}

/// The body of a request, for a thread that blocks. A body that breaks off
/// looks like one that ends: what came before is good, and the
/// [`Ending`] tells.
pub(crate) struct Source {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
    received: Arc<AtomicU64>,
    ending: Ending,
    bearer: Option<Bearer>,
    db: Arc<Db>,
}

/// Has the body of a request read as fast as the source is.
pub(crate) fn source(node: &Arc<Node>, body: Body, bearer: Option<Bearer>) -> (Source, Ending) {
    let (sender, pieces) = mpsc::channel(PIECES);
    let ending = Ending::default();
    let source = Source {
        pieces,
        piece: Bytes::new(),
        received: Arc::default(),
        ending: ending.clone(),
        bearer,
        db: Arc::clone(&node.db),
    };
    tokio::spawn(pump(Arc::clone(node), body, sender, ending.clone()));
    (source, ending)
}

async fn pump(node: Arc<Node>, mut body: Body, pieces: mpsc::Sender<Bytes>, ending: Ending) {
    let mut left = node.limits.stream_bytes;
    let mut flow = Flow::new(&node.limits);
    loop {
        let since = Instant::now();
        let frame = tokio::select! {
            frame = tokio::time::timeout(flow.patience(node.limits.stall), body.frame()) => frame,
            () = node.leave.requested() => return ending.set(Break::Stopped),
            // The other end wants no more.
            () = pieces.closed() => return drain(body).await,
        };
        let piece = match frame {
            Err(_) => return ending.set(Break::Slow),
            Ok(None) => return,
            Ok(Some(Err(_))) => return ending.set(Break::Gone),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        flow.moved(since.elapsed(), piece.len());
        match left.checked_sub(piece.len() as u64) {
            Some(rest) => left = rest,
            None => {
                ending.set(Break::Large);
                drop(pieces);
                return drain(body).await;
            }
        }
        node.metrics.received(piece.len());
        if pieces.send(piece).await.is_err() {
            return drain(body).await;
        }
    }
}

impl Source {
    /// Counts what came.
    pub(crate) fn received(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.received)
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() {
            if self.bearer.as_mut().is_some_and(|bearer| !bearer.still_holds(&self.db)) {
                self.ending.set(Break::Token);
                self.pieces.close();
                return Ok(&[]);
            }
            let Some(piece) = self.pieces.blocking_recv() else { return Ok(&[]) };
            self.received.fetch_add(piece.len() as u64, Ordering::Relaxed);
            self.piece = piece;
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, used: usize) {
        self.piece.advance(used);
    }
}

/// Refuses what unpacks to far more than came.
pub(crate) struct Unpacked<R> {
    source: R,
    received: Arc<AtomicU64>,
    ratio: u64,
    unpacked: u64,
    ending: Ending,
}

/// What anything may unpack to.
const UNPACKED_FREE: u64 = 64 << 20;

impl<R: Read> Unpacked<R> {
    /// Holds what comes out of `source` against what was received.
    pub(crate) const fn new(source: R, received: Arc<AtomicU64>, ratio: u64, ending: Ending) -> Self {
        Self { source, received, ratio, unpacked: 0, ending }
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.unpacked = self.unpacked.saturating_add(read as u64);
        let most = self.received.load(Ordering::Relaxed).saturating_mul(self.ratio).saturating_add(UNPACKED_FREE);
        if self.unpacked > most {
            self.ending.set(Break::Large);
            return Ok(0);
        }
        Ok(read)
    }
}

/// The body of an answer, for a thread that blocks. Dropped before its end it
/// breaks the answer off, so that nobody takes it for whole.
pub(crate) struct Sink {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    bearer: Option<Bearer>,
    db: Arc<Db>,
    sent: Arc<AtomicU64>,
    is_whole: bool,
}

/// What a pipe holds at most: what waits in it, what is being filled, and what
/// is on its way to the connection.
const PIPE_BYTES: u64 = (PIECES as u64 + 2) * PIECE_BYTES as u64;

/// A body, and where to write it.
pub(crate) fn sink(call: &Call) -> Result<(Sink, Body), Problem> {
    let (node, bearer) = (&call.node, call.bearer.clone());
    let (pieces, body) = pieces(call, PIPE_BYTES)?;
    let sink = Sink {
        pieces,
        piece: Vec::new(),
        bearer,
        db: Arc::clone(&node.db),
        sent: node.metrics.sent_bytes(),
        is_whole: false,
    };
    Ok((sink, body))
}

/// A body of pieces, which has room for as many bytes as may wait for its
/// client.
pub(crate) fn pieces(call: &Call, bytes: u64) -> Result<(mpsc::Sender<io::Result<Bytes>>, Body), Problem> {
    let room = call.node.room_for_answer(call.share(), bytes.max(PIPE_BYTES))?;
    let (sender, pieces) = mpsc::channel(PIECES);
    Ok((sender, Body::new(Pieces { pieces, _room: room })))
}

/// Has an answer that is there as a whole counted for as long as it waits for
/// its client.
pub(crate) fn held(room: Place, body: Body) -> Body {
    Body::new(Held { body, _room: room })
}

struct Held {
    body: Body,
    _room: Place,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Whether somebody still takes what is written to a sink.
pub(crate) struct Audience(mpsc::WeakSender<io::Result<Bytes>>);

impl Audience {
    /// Somebody does.
    pub(crate) fn is_there(&self) -> bool {
        self.0.upgrade().is_some_and(|pieces| !pieces.is_closed())
    }
}

impl Sink {
    /// Who takes what is written, to be asked by those who write seldom.
    pub(crate) fn audience(&self) -> Audience {
        Audience(self.pieces.downgrade())
    }

    /// Everything was written.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.send()?;
        self.is_whole = true;
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        if self.bearer.as_mut().is_some_and(|bearer| !bearer.still_holds(&self.db)) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the token holds no longer"));
        }
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        self.pieces.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // No more than a piece, however large the entry is: the rest comes again.
        let room = PIECE_BYTES.saturating_sub(self.piece.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.piece.extend_from_slice(taken);
        if self.piece.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if !self.is_whole {
            // Nobody listens if the client has gone.
            let _ = self.pieces.blocking_send(Err(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    _room: Place,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.pieces.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unpacks_to_too_much_ends() {
        let ending = Ending::default();
        let received = Arc::new(AtomicU64::new(1000));
        let mut source = Unpacked::new(io::repeat(0), received, 100, ending.clone());
        let unpacked = io::copy(&mut source, &mut io::sink()).unwrap();
        assert!(unpacked <= UNPACKED_FREE + 100 * 1000);
        assert_eq!(ending.broken(), Some(Break::Large));
    }
}
