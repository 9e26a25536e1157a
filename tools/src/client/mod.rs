//! A client of a ThingDB server. It knows nothing of what is asked.
//!
//! ```text
//! Client    connects when needed, tries again, says what a refusal means
//!    ↓
//! http      one request and its answer
//!    ↓
//! link      a socket with TLS: paced, counted, given up when it stalls
//! ```

pub(crate) mod address;
pub(crate) mod fault;
mod http;
mod link;
pub(crate) mod pace;
mod pin;
pub(crate) mod question;
pub(crate) mod refusal;

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use thingdb::Hash;
use zeroize::Zeroizing;

use address::Address;
use fault::{Fault, Outcome};
use http::{Answer, Body, Connection, Request};
use pace::{Pace, Traffic};
use question::Question;
use refusal::Refusal;

pub(crate) use http::Head;

/// Longest description of a problem.
const MAX_PROBLEM_BYTES: usize = 1 << 20;

/// The first wait before trying again is at most this long, each further one
/// at most twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Tries at a server that never answered.
const FIRST_TRIES: u32 = 3;

/// A server, and the connection to it. Connects when needed, and tries again
/// when the line breaks: after a time that grows and is left to chance, so that
/// not all come back at once.
pub(crate) struct Client {
    address: Address,
    /// The header with the token.
    secret: Zeroizing<String>,
    tls: Arc<ClientConfig>,
    pace: Pace,
    traffic: Traffic,
    connection: Option<Connection>,
    max_tries: u32,
    /// Tries since something went well.
    tries: u32,
    has_answered: bool,
    /// How often a connection was made.
    connections: u64,
}

impl Client {
    /// The server at an address, which shows the certificate with this hash.
    pub(crate) fn new(address: Address, token: &str, pin: Hash, pace: Pace, max_tries: u32) -> Outcome<Self> {
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) || token.is_empty() {
            return Err(Fault::Token("the token has characters that no token has".to_owned()));
        }
        Ok(Self {
            secret: Zeroizing::new(format!("authorization: Bearer {token}")),
            address,
            tls: pin::config(pin).map_err(|problem| Fault::Line(problem.to_string()))?,
            pace,
            traffic: Traffic::default(),
            connection: None,
            max_tries,
            tries: 0,
            has_answered: false,
            connections: 0,
        })
    }

    /// Where the server is.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Bytes on the wire.
    pub(crate) const fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// How often the line had to be made anew.
    pub(crate) const fn reconnects(&self) -> u64 {
        self.connections.saturating_sub(1)
    }

    /// Asks until it is answered, in JSON.
    pub(crate) fn json<T: DeserializeOwned>(&mut self, question: &Question<'_>) -> Outcome<T> {
        serde_json::from_slice(&self.bytes(question)?).map_err(Fault::answer)
    }

    /// Asks until it is answered.
    pub(crate) fn bytes(&mut self, question: &Question<'_>) -> Outcome<Vec<u8>> {
        Ok(self.whole(question)?.1)
    }

    /// Asks until it is answered, and gives the head of the answer too.
    pub(crate) fn whole(&mut self, question: &Question<'_>) -> Outcome<(Head, Vec<u8>)> {
        loop {
            let body = question.body.map_or(Body::None, Body::Bytes);
            let read = |head: &Head, answer: Answer<'_>| Ok((head.clone(), answer.bytes(question.most_bytes)?));
            let done: Outcome<_> = self.once(question, body, read);
            match done {
                Err(fault) if fault.is_passing() => self.wait(fault)?,
                done => return done,
            }
        }
    }

    /// Asks once for what `take` reads as it comes. What it took before the line
    /// broke is the caller's to keep.
    pub(crate) fn stream<T, E: From<Fault>>(
        &mut self,
        question: &Question<'_>,
        take: impl FnOnce(&Head, &mut dyn Read) -> Result<T, E>,
    ) -> Result<T, E> {
        self.once(question, question.body.map_or(Body::None, Body::Bytes), |head, mut answer| {
            let taken = take(head, &mut answer)?;
            // To its end, so that the connection can be used again.
            io::copy(&mut answer, &mut io::sink()).map_err(|problem| Fault::of_line(&problem))?;
            Ok(taken)
        })
    }

    /// Sends once what `make` writes, and gives the answer, which is JSON.
    pub(crate) fn send<T: DeserializeOwned>(
        &mut self,
        question: &Question<'_>,
        make: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Outcome<T> {
        self.once(question, Body::Stream(make), |_, answer| {
            serde_json::from_slice(&answer.bytes(question.most_bytes)?).map_err(Fault::answer)
        })
    }

    /// Waits before the next try, or gives up.
    pub(crate) fn wait(&mut self, fault: Fault) -> Outcome {
        let (last, after) = match fault {
            Fault::Line(last) => (last, None),
            Fault::Busy(refusal) => (refusal.detail, refusal.after),
            fault => return Err(fault),
        };
        self.connection = None;
        self.tries += 1;
        let most = if self.has_answered { self.max_tries } else { self.max_tries.min(FIRST_TRIES) };
        if self.tries >= most {
            return Err(Fault::Unreachable { tries: self.tries, last });
        }
        let longest = FIRST_WAIT.saturating_mul(1 << self.tries.min(10).saturating_sub(1)).min(LONGEST_WAIT);
        let jitter = longest.mul_f64(rand::random::<f64>());
        self.pace.sleep(after.map_or(jitter, |after| after.min(LONGEST_WAIT) + jitter)).map_err(|_| Fault::Interrupted)
    }

    /// Something came through: the next break is the first one again.
    pub(crate) const fn goes_well(&mut self) {
        self.tries = 0;
        self.has_answered = true;
    }

    /// Sends one request and reads its answer, on the connection that there is
    /// or a new one.
    fn once<T, E: From<Fault>>(
        &mut self,
        question: &Question<'_>,
        body: Body<'_>,
        read: impl FnOnce(&Head, Answer<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let own = [
            ("host", self.address.authority()),
            ("user-agent", concat!("thingdb/", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let headers: Vec<_> = own.chain(question.headers.iter().copied()).collect();
        let (method, target) = (question.method, question.target.as_str());
        let request = Request { method, target, headers: &headers, secret: &self.secret, body };
        let (head, answer) = connection.ask(request)?;
        let done = match head.status {
            200..=299 => read(&head, answer)?,
            // A problem that is cut is told by its status.
            _ => {
                return Err(
                    Fault::from(Refusal::new(&head, &answer.bytes(MAX_PROBLEM_BYTES).unwrap_or_default())).into()
                );
            }
        };
        self.goes_well();
        self.connection = Some(connection).filter(Connection::is_reusable);
        Ok(done)
    }

    fn connect(&mut self) -> Outcome<Connection> {
        let link = link::connect(&self.address, Arc::clone(&self.tls), self.pace.clone(), self.traffic.clone());
        let link = link.map_err(|problem| Fault::of_line(&problem))?;
        self.connections += 1;
        Ok(Connection::new(link))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("address", &self.address).finish_non_exhaustive()
    }
}
