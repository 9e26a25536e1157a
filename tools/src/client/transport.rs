//! What ureq sends and reads through: links of our own, mostly with TLS.
//!
//! Beside carrying bytes a transport does three things that a server's answer
//! calls for: a head goes together with the beginning of its body; a server that
//! does not listen any more is asked nevertheless what it has said; and one that
//! sends framing without an end is left.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use rustls::ClientConfig;
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};
use zeroize::{Zeroize, Zeroizing};

use super::address::Address;
use super::link::{self, Link};
use super::pace::{Pace, Traffic, is_cancelled};

/// Room for what came: the longest head, or line of the framing.
pub(super) const INPUT_BYTES: usize = 32 << 10;

/// Room for what goes: a TLS record.
const OUTPUT_BYTES: usize = 16 << 10;

/// What may come without a byte of a body in it: a head, answers before it, the
/// framing of chunks, trailers.
const MAX_FRAMING: usize = 4 * INPUT_BYTES;

/// What a question and the transport that carries it know of each other.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// What is sent next waits for what follows it.
    holds: AtomicBool,
    /// The server does not take the rest of the body.
    is_deaf: AtomicBool,
    /// Bytes that came since a part of a body did.
    framing: AtomicUsize,
}

impl Watch {
    /// A question begins, with a body or without.
    pub(super) fn begin(&self, has_body: bool) {
        self.holds.store(has_body, Ordering::Relaxed);
        self.is_deaf.store(false, Ordering::Relaxed);
        self.heard();
    }

    /// A part of a body came.
    pub(super) fn heard(&self) {
        self.framing.store(0, Ordering::Relaxed);
    }

    /// Whether the rest of the body would go nowhere.
    pub(super) fn is_deaf(&self) -> bool {
        self.is_deaf.load(Ordering::Relaxed)
    }
}

/// Makes connections to one server.
pub(super) struct Dialer {
    pub(super) address: Address,
    /// Nothing if the address says so.
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) pace: Pace,
    pub(super) traffic: Traffic,
    pub(super) watch: Arc<Watch>,
    /// How many were made.
    pub(super) count: Arc<AtomicU64>,
}

impl Connector for Dialer {
    type Out = Wire;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Wire>, Error> {
        let link = link::connect(&self.address, &details.addrs, self.tls.clone(), &self.pace, &self.traffic)?;
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Wire {
            link,
            buffers: LazyBuffers::new(INPUT_BYTES, OUTPUT_BYTES),
            held: Zeroizing::new(Vec::with_capacity(2 * OUTPUT_BYTES)),
            watch: Arc::clone(&self.watch),
            refused: None,
        }))
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Finds addresses by name, unless everything should end meanwhile.
#[derive(Debug)]
pub(super) struct Finder(pub(super) Pace);

impl Resolver for Finder {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let (uri, config) = (uri.clone(), config.clone());
        self.0.aside(move || DefaultResolver::default().resolve(&uri, &config, timeout))?
    }
}

/// A connection.
pub(super) struct Wire {
    link: Link,
    buffers: LazyBuffers,
    /// What waits for what follows it.
    held: Zeroizing<Vec<u8>>,
    watch: Arc<Watch>,
    /// What the server said to a body that it did not take.
    refused: Option<io::Error>,
}

impl Wire {
    /// Sends what is held. A server that refuses a body may have answered before
    /// it closed its ear: then the rest goes nowhere, and the answer is read.
    fn send_held(&mut self) -> io::Result<()> {
        let sent = if self.watch.is_deaf() { Ok(()) } else { self.link.write_all(&self.held) };
        self.held.zeroize();
        match sent {
            Err(problem) if is_closed(problem.kind()) => {
                self.watch.is_deaf.store(true, Ordering::Relaxed);
                self.refused = Some(problem);
                Ok(())
            }
            sent => sent,
        }
    }
}

const fn is_closed(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let piece = &mut self.buffers.output()[..amount];
        self.held.extend_from_slice(piece);
        // Heads have the token, bodies have data.
        piece.zeroize();
        if self.watch.holds.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        Ok(self.send_held()?)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        if !self.held.is_empty() {
            self.send_held()?;
        }
        let room = self.buffers.input_append_buf();
        if room.is_empty() {
            return Err(endless());
        }
        let got = match self.refused.take() {
            None if self.watch.is_deaf() => link::read_last(&mut self.link, room)?,
            None => self.link.read(room)?,
            Some(refused) => match link::read_last(&mut self.link, room) {
                Ok(got @ 1..) => got,
                Err(problem) if is_cancelled(&problem) => return Err(problem.into()),
                // It went away without a word.
                _ => return Err(refused.into()),
            },
        };
        self.buffers.input_appended(got);
        if self.watch.framing.fetch_add(got, Ordering::Relaxed) > MAX_FRAMING {
            return Err(endless());
        }
        Ok(got > 0)
    }

    fn is_open(&mut self) -> bool {
        !self.watch.is_deaf() && self.held.is_empty() && link::is_idle(&mut self.link)
    }

    fn is_tls(&self) -> bool {
        matches!(self.link, Link::Tls(_))
    }
}

fn endless() -> Error {
    Error::Other("a head or a frame without an end".into())
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}
