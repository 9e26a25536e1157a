//! One request and its answer at a time, HTTP/1.1 (RFC 9112).
//!
//! The framing is ureq's, over a transport of ours. ureq and not hyper, because
//! it blocks as the engine does: the paced socket, and everything that looks
//! whether it should end, stay as they are, and no runtime is needed. A body that
//! is made on the way is written by a thread of its own, and read by ureq.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, TRANSFER_ENCODING};
use ureq::http::{HeaderValue, Request, Response, Version};
use ureq::{Agent, BodyReader, SendBody};
use zeroize::Zeroizing;

use super::address::Address;
use super::fault::{Fault, Outcome};
use super::head::Head;
use super::pace::{Pace, Traffic};
use super::pipe::{Outlet, pipe};
use super::question::Question;
use super::transport::{Dialer, Finder, INPUT_BYTES, Watch};

/// How long a connection is kept without a question: as long as a server does.
const IDLE: Duration = Duration::from_secs(75);

/// What goes with a request.
pub(super) enum Body<'a> {
    /// What the question has.
    Whole,
    /// Bytes that are made on the way.
    Made(&'a mut Make<'a>),
}

/// Makes a body by writing it.
pub(crate) type Make<'a> = dyn FnMut(&mut dyn Write) -> io::Result<()> + Send + 'a;

/// A server, and the connection to it, which is used for one request after the
/// other.
pub(super) struct Http {
    agent: Agent,
    origin: String,
    secret: Option<HeaderValue>,
    watch: Arc<Watch>,
    /// How often a connection was made.
    connections: Arc<AtomicU64>,
}

impl Http {
    /// The server at an address. Nothing if the token has characters that no
    /// header has.
    pub(super) fn new(
        address: &Address,
        token: Option<&str>,
        tls: Option<Arc<ClientConfig>>,
        pace: &Pace,
        traffic: &Traffic,
    ) -> Option<Self> {
        let watch = Arc::new(Watch::default());
        let connections = Arc::default();
        let is_secure = tls.is_some();
        let dialer = Dialer {
            address: address.clone(),
            tls,
            pace: pace.clone(),
            traffic: traffic.clone(),
            watch: Arc::clone(&watch),
            count: Arc::clone(&connections),
        };
        // What comes from the environment or from the server itself must not lead
        // the token somewhere else.
        let config = Agent::config_builder()
            .https_only(is_secure)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .max_response_header_size(INPUT_BYTES)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(IDLE)
            .user_agent(concat!("thingdb/", env!("CARGO_PKG_VERSION")))
            .accept("")
            .accept_encoding("")
            .build();
        Some(Self {
            agent: Agent::with_parts(config, dialer, Finder(pace.clone())),
            origin: address.to_string(),
            secret: match token {
                Some(token) => Some(secret(token)?),
                None => None,
            },
            watch,
            connections,
        })
    }

    /// The header with the token, as ureq would log it.
    #[cfg(test)]
    pub(super) fn shows_secret(&self) -> String {
        format!("{:?}", self.secret)
    }

    /// How often a connection was made.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Sends a request and reads the head of the answer. The next request goes
    /// over the same connection if the answer was read to its end.
    pub(super) fn ask(&self, question: &Question<'_>, body: Body<'_>) -> Outcome<(Head, Answer)> {
        let answered = match (body, question.body) {
            (Body::Made(make), _) => self.ask_while(question, make),
            (Body::Whole, Some(bytes)) => self.ask_once(question, true, bytes),
            (Body::Whole, None) => self.ask_once(question, false, ()),
        };
        let (parts, body) = answered.map_err(Fault::of_http)?.into_parts();
        let head = Head { status: parts.status.as_u16(), headers: parts.headers };
        // An answer that ends with the connection could be cut unnoticed.
        let has_length = head.headers.contains_key(CONTENT_LENGTH) || head.headers.contains_key(TRANSFER_ENCODING);
        let is_framed = parts.version == Version::HTTP_11 && (has_length || matches!(head.status, 204 | 304));
        if !is_framed && !question.is_old_fashioned {
            return Err(Fault::answer("an answer without a length, or of another HTTP than 1.1"));
        }
        Ok((head, Answer { body: body.into_reader(), watch: Arc::clone(&self.watch) }))
    }

    /// Sends what `make` writes, while it does.
    fn ask_while(&self, question: &Question<'_>, make: &mut Make<'_>) -> Result<Response<ureq::Body>, ureq::Error> {
        let (mut inlet, pieces) = pipe();
        let mut body = Listening { pieces, watch: &self.watch };
        thread::scope(|scope| {
            // What it runs into shows as a body that is cut.
            let write = move || make(&mut inlet).and_then(|()| inlet.end());
            thread::Builder::new().spawn_scoped(scope, write)?;
            let answered = self.ask_once(question, true, SendBody::from_reader(&mut body));
            // So that whoever still writes learns that nobody reads.
            drop(body);
            answered
        })
    }

    fn ask_once(
        &self,
        question: &Question<'_>,
        has_body: bool,
        body: impl ureq::AsSendBody,
    ) -> Result<Response<ureq::Body>, ureq::Error> {
        let uri = format!("{}{}", self.origin, question.target);
        let mut request = Request::builder().method(question.method).uri(uri);
        if let Some(secret) = &self.secret {
            request = request.header(AUTHORIZATION, secret);
        }
        for (name, value) in &question.headers {
            request = request.header(*name, *value);
        }
        self.watch.begin(has_body);
        self.agent.run(request.body(body)?)
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// The header with the token. It is wiped where it lies, once nobody has it any
/// more, and in the buffer out of which it is sent ([`super::transport`]). ureq
/// makes no other copy that lasts; TLS seals it out of that buffer.
fn secret(token: &str) -> Option<HeaderValue> {
    // Large enough that no copy is left where it grew.
    let mut bearer = Zeroizing::new(String::with_capacity("Bearer ".len() + token.len()));
    bearer.push_str("Bearer ");
    bearer.push_str(token);
    let mut secret = HeaderValue::from_maybe_shared(Bytes::from_owner(bearer)).ok()?;
    secret.set_sensitive(true);
    Some(secret)
}

/// A body that ends where the server does not listen any more.
struct Listening<'w> {
    pieces: Outlet,
    watch: &'w Watch,
}

impl Read for Listening<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.watch.is_deaf() { Ok(0) } else { self.pieces.read(buffer) }
    }
}

/// The body of an answer.
pub(super) struct Answer {
    body: BodyReader<'static>,
    watch: Arc<Watch>,
}

impl Answer {
    /// Reads all of it, no more than `most` bytes.
    pub(super) fn bytes(self, most: usize) -> Outcome<Vec<u8>> {
        let mut bytes = Vec::new();
        self.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|problem| Fault::of_line(&problem))?;
        if bytes.len() > most {
            return Err(Fault::answer(format!("an answer of more than {most} bytes")));
        }
        Ok(bytes)
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.watch.heard();
        self.body.read(buffer)
    }
}
