//! What the server is told when it starts: where it listens, who it is, and how
//! much it takes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How to serve.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Where clients connect.
    pub(crate) listen: SocketAddr,
    /// How their connections are protected.
    pub(crate) transport: Transport,
    /// Where metrics are read, if anywhere.
    pub(crate) metrics: Option<SocketAddr>,
    /// How much is taken.
    pub(crate) limits: Limits,
}

/// How connections are protected.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    /// TLS 1.3.
    Tls {
        /// A certificate from files; without them, the node's own.
        files: Option<TlsFiles>,
        /// Who must have signed the certificate of a client.
        client_ca: Option<PathBuf>,
    },
    /// Not at all; for loopback only.
    Plain,
}

/// A certificate chain and its key, both PEM.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    /// The chain, the server's certificate first.
    pub(crate) certificate: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
}

/// How much the server takes before it says no.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Connections at once; more wait in the operating system's queue.
    pub(crate) connections: usize,
    /// Requests at once, over all connections.
    pub(crate) requests: usize,
    /// Requests at once with one token.
    pub(crate) requests_per_token: usize,
    /// Requests a second with one token, and failed ones from one address.
    pub(crate) rate: u32,
    /// Calls into the database at once, streams not counted.
    pub(crate) calls: usize,
    /// Imports at once. Each may hold some ten MiB.
    pub(crate) imports: usize,
    /// Exports at once.
    pub(crate) exports: usize,
    /// Exports that follow the ledger at once.
    pub(crate) followers: usize,
    /// Calls at once that may read as much data as an answer holds. Each may
    /// hold it three times over: stored, opened, and as JSON.
    pub(crate) reads: usize,
    /// Comparisons of all ids at once.
    pub(crate) comparisons: usize,
    /// Bytes of a body that is read as a whole: data of one entry, ids.
    pub(crate) body_bytes: u64,
    /// Bytes of bodies that are read as a whole, over all requests; and as many
    /// of answers that wait for their clients.
    pub(crate) held_bytes: u64,
    /// Bytes of a stream as it comes.
    pub(crate) stream_bytes: u64,
    /// What a compressed stream may unpack to, as a multiple of what came.
    pub(crate) unpack_ratio: u64,
    /// For a TLS handshake, and for the head of a request.
    pub(crate) head: Duration,
    /// Between two pieces of a body, either way.
    pub(crate) stall: Duration,
    /// Bytes a second that a body must move, either way.
    pub(crate) min_rate: u32,
    /// How long a body may move less than that.
    pub(crate) rate_window: Duration,
    /// For a connection without a request.
    pub(crate) idle: Duration,
    /// For what is under way when the server is told to stop.
    pub(crate) shutdown: Duration,
}

/// The data of an entry is at most 16 MiB; its media type and names come on
/// top.
const LARGEST_BODY: u64 = 16 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            requests: 512,
            requests_per_token: 256,
            rate: 20_000,
            calls: 64,
            imports: 4,
            exports: 8,
            followers: 128,
            reads: 8,
            comparisons: 4,
            body_bytes: LARGEST_BODY,
            held_bytes: 8 * LARGEST_BODY,
            stream_bytes: 64 << 30,
            unpack_ratio: 100,
            head: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            // A line of 1 KiB/s, however bad it is, is far above it.
            min_rate: 64,
            rate_window: Duration::from_secs(60),
            idle: Duration::from_secs(75),
            shutdown: Duration::from_secs(30),
        }
    }
}
