//! Connections: accepted while there is room, with time-outs for the slow, and
//! brought to their end when the server stops.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::flow::Flow;
use super::node::Node;
use super::router::Peer;
use super::tls::Tls;

/// Headers of a request, together.
const HEAD_BYTES: u32 = 32 << 10;

/// Headers of a request.
const HEADERS: usize = 64;

/// Requests at once on one connection: more than a client has reason for, and
/// few enough that what they may leave waiting is small beside the rest.
const STREAMS: u32 = 128;

/// What a client may send ahead on one connection.
const WINDOW_BYTES: u32 = 1 << 20;

/// Requests that a client takes back before the server has looked at them;
/// then the connection ends (CVE-2023-44487).
const TAKEN_BACK: usize = 20;

/// Requests of a connection that the server takes back because of what the
/// client does wrong; then the connection ends. Nobody errs that often.
const WRONG: usize = 128;

/// What of an answer is given to the connection at once: what lies with the
/// connection is not counted, and how fast it goes shows in its pieces.
const PIECE_BYTES: usize = 16 << 10;

/// How often a connection is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the listener rests when the system gives no more sockets.
const REST: Duration = Duration::from_millis(100);

/// What serves connections.
pub(crate) struct Listener {
    /// The node.
    pub(crate) node: Arc<Node>,
    /// What answers requests.
    pub(crate) router: Router,
    /// How connections are protected; not at all without it.
    pub(crate) tls: Option<Arc<Tls>>,
}

impl Listener {
    /// Accepts connections until the server stops, then waits for those that
    /// are open.
    pub(crate) async fn run(self: Arc<Self>, socket: TcpListener) {
        let room = Arc::new(Semaphore::new(self.node.limits.connections.max(1)));
        let all = u32::try_from(self.node.limits.connections.max(1)).unwrap_or(u32::MAX);
        let stop = self.node.shutdown.clone();
        loop {
            let place = tokio::select! {
                place = Arc::clone(&room).acquire_owned() => place,
                () = stop.requested() => break,
            };
            let Ok(place) = place else { break };
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = stop.requested() => break,
            };
            match accepted {
                Ok((stream, address)) => {
                    let listener = Arc::clone(&self);
                    tokio::spawn(async move {
                        let _place = place;
                        let _counted = listener.node.metrics.connected();
                        listener.connection(stream, address).await;
                    });
                }
                Err(problem) => {
                    tracing::warn!(%problem, "a connection could not be accepted");
                    tokio::time::sleep(REST).await;
                }
            }
        }
        // What came after the wish to stop is told so by the system.
        drop(socket);
        let _ = room.acquire_many(all).await;
    }

    async fn connection(&self, stream: TcpStream, address: SocketAddr) {
        // Small answers must not wait for more.
        let _ = stream.set_nodelay(true);
        let stream = Unstalled::new(stream, self.node.limits.stall);
        let Some(tls) = &self.tls else {
            return self.serve(stream, address, false).await;
        };
        let handshake = TlsAcceptor::from(tls.config()).accept(stream);
        match tokio::time::timeout(self.node.limits.head, handshake).await {
            Ok(Ok(stream)) => {
                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                self.serve(stream, address, h2).await;
            }
            Ok(Err(problem)) => {
                self.node.metrics.handshake_failed();
                tracing::debug!(peer = %address, %problem, "no TLS");
            }
            Err(_) => {
                self.node.metrics.handshake_failed();
                tracing::debug!(peer = %address, "a TLS handshake took too long");
            }
        }
    }

    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, address: SocketAddr, h2: bool) {
        let activity = Arc::new(Activity::default());
        let (router, active) = (self.router.clone(), Arc::clone(&activity));
        let flow = Flow::new(&self.node.limits);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let busy = Busy::new(&active);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(address));
            let router = router.clone();
            async move {
                let answered = router.oneshot(request).await;
                answered
                    .map(|response: Response<Body>| response.map(|body| Body::new(Answering::new(body, busy, flow))))
            }
        });
        let limits = &self.node.limits;
        let io = TokioIo::new(stream);
        if h2 {
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS)
                .max_header_list_size(HEAD_BYTES)
                .max_pending_accept_reset_streams(TAKEN_BACK)
                .max_local_error_reset_streams(WRONG)
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(WINDOW_BYTES)
                .max_send_buf_size(PIECE_BYTES)
                // A ping would wait behind what a slow line has still to carry,
                // and cut it. Whether a client is there shows in what it takes.
                .keep_alive_interval(None);
            self.end(builder.serve_connection(io, service), &activity).await;
        } else {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(limits.head)
                .max_buf_size(HEAD_BYTES as usize)
                .max_headers(HEADERS)
                .half_close(false);
            self.end(builder.serve_connection(io, service), &activity).await;
        }
    }

    /// Serves a connection to its end: that of the client, or ours when it
    /// lies idle or the server stops.
    async fn end(&self, connection: impl Connection, activity: &Activity) {
        let mut connection = std::pin::pin!(connection);
        let limits = &self.node.limits;
        let mut every = tokio::time::interval(LOOK_EVERY);
        let (mut seen, mut since) = (0, Instant::now());
        let mut left_since = None;
        let mut is_ending = false;
        let mut stop = std::pin::pin!(self.node.shutdown.requested());
        loop {
            tokio::select! {
                _ = &mut connection => return,
                () = &mut stop, if !is_ending => {
                    is_ending = true;
                    connection.as_mut().finish();
                }
                _ = every.tick() => {
                    if self.node.leave.is_requested() {
                        left_since.get_or_insert_with(Instant::now);
                    }
                    if activity.busy() > 0 || activity.seen() != seen {
                        (seen, since) = (activity.seen(), Instant::now());
                    }
                    let is_idle = since.elapsed() > if is_ending { LOOK_EVERY } else { limits.idle };
                    if activity.is_too_slow() {
                        tracing::debug!("a client takes its answer too slowly");
                        return;
                    }
                    if is_idle || left_since.is_some_and(|left| left.elapsed() > limits.head) {
                        return;
                    }
                }
            }
        }
    }
}

/// What HTTP/1.1 and HTTP/2 have in common.
trait Connection: Future<Output = Result<(), hyper::Error>> {
    /// Takes no more requests.
    fn finish(self: Pin<&mut Self>);
}

impl<I, S> Connection for hyper::server::conn::http1::Connection<I, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S> Connection for hyper::server::conn::http2::Connection<I, S, TokioExecutor>
where
    S: hyper::service::HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    TokioExecutor: hyper::rt::bounds::Http2ServerConnExec<S::Future, Body>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// What happens on a connection.
#[derive(Debug, Default)]
struct Activity {
    busy: AtomicUsize,
    seen: AtomicUsize,
    /// Answers so far.
    given: AtomicU64,
    answers: Mutex<BTreeMap<u64, Taking>>,
}

/// How a client takes an answer.
#[derive(Debug)]
struct Taking {
    flow: Flow,
    /// Since when it has a piece that it has not taken yet.
    since: Option<Instant>,
    /// Bytes of that piece.
    bytes: usize,
}

impl Activity {
    fn answers(&self) -> MutexGuard<'_, BTreeMap<u64, Taking>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an answer is taken more slowly than the least rate.
    fn is_too_slow(&self) -> bool {
        let is_late =
            |taking: &Taking| taking.since.is_some_and(|since| since.elapsed() > taking.flow.patience(Duration::MAX));
        self.answers().values().any(is_late)
    }

    /// Requests without their whole answer.
    fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Requests so far.
    fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}

/// A request that is not answered to its end.
struct Busy(Arc<Activity>);

impl Busy {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.busy.fetch_add(1, Ordering::Relaxed);
        activity.seen.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that keeps its request counted until it is sent, and notes how fast
/// its client takes it.
struct Answering {
    body: Body,
    /// What is left of the piece that came from the body last.
    rest: Bytes,
    number: u64,
    busy: Busy,
}

impl Answering {
    fn new(body: Body, busy: Busy, flow: Flow) -> Self {
        let number = busy.0.given.fetch_add(1, Ordering::Relaxed);
        // Until its first piece is asked for, the client takes the head.
        let taking = Taking { flow, since: Some(Instant::now()), bytes: 0 };
        busy.0.answers().insert(number, taking);
        Self { body, rest: Bytes::new(), number, busy }
    }

    /// The connection wants the next piece: it has taken the one before.
    fn taken(&self) {
        if let Some(taking) = self.busy.0.answers().get_mut(&self.number)
            && let Some(since) = taking.since.take()
        {
            taking.flow.moved(since.elapsed(), taking.bytes);
        }
    }

    fn given(&self, bytes: usize) {
        if let Some(taking) = self.busy.0.answers().get_mut(&self.number) {
            (taking.since, taking.bytes) = (Some(Instant::now()), bytes);
        }
    }

    fn piece(&mut self) -> http_body::Frame<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        self.given(piece.len());
        http_body::Frame::data(piece)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.busy.0.answers().remove(&self.number);
    }
}

impl http_body::Body for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        self.taken();
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => frame,
            other => return other,
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) => {
                self.rest = data;
                self.piece()
            }
            // Trailers.
            Err(other) => other,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        let (rest, hint) = (self.rest.len() as u64, self.body.size_hint());
        let mut whole = http_body::SizeHint::new();
        whole.set_lower(hint.lower().saturating_add(rest));
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper.saturating_add(rest));
        }
        whole
    }
}

/// A socket whose client must go on taking what is sent: one that does not for
/// too long is let go, and with it what waits to be sent.
struct Unstalled {
    stream: TcpStream,
    stall: Duration,
    /// Runs while something cannot be sent.
    until: Option<Pin<Box<Sleep>>>,
}

impl Unstalled {
    const fn new(stream: TcpStream, stall: Duration) -> Self {
        Self { stream, stall, until: None }
    }

    fn watch<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.until = None;
            return written;
        }
        let stall = self.stall;
        let until = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        match until.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Unstalled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Unstalled {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
