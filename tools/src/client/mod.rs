//! A client of a ThingDB server. It knows nothing of what is asked.
//!
//! ```text
//! Client    connects when needed, tries again, says what a refusal means
//!    ↓
//! http      one request and its answer, framed by ureq
//!    ↓
//! transport what ureq sends and reads through
//!    ↓
//! link      a socket with TLS: paced, counted, given up when it stalls
//! ```

pub(crate) mod address;
pub(crate) mod fault;
mod head;
mod http;
mod link;
pub(crate) mod pace;
mod pin;
mod pipe;
pub(crate) mod question;
pub(crate) mod refusal;
mod roots;
mod transport;

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use thingdb::Hash;

use address::Address;
use fault::{Fault, Outcome};
use http::{Answer, Body, Http};
use pace::{Pace, Traffic};
use question::Question;
use refusal::Refusal;

use crate::foreign;

pub(crate) use head::Head;
pub(crate) use http::Make;

/// Longest description of a problem.
const MAX_PROBLEM_BYTES: usize = 1 << 20;

/// zstd refuses frames that need more than 8 MiB of history (RFC 9659).
const WINDOW_LOG_MAX: u32 = 23;

/// The first wait before trying again is at most this long, each further one
/// at most twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Tries at a server that never answered.
const FIRST_TRIES: u32 = 3;

/// Whether a text can stand in the header with the token.
pub(crate) fn can_be_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A server, and the connection to it. Connects when needed, and tries again
/// when the line breaks: after a time that grows and is left to chance, so that
/// not all come back at once.
pub(crate) struct Client {
    address: Address,
    pace: Pace,
    traffic: Traffic,
    http: Http,
    max_tries: u32,
    /// Tries since it went on.
    tries: u32,
    has_answered: bool,
}

impl Client {
    /// The server at an address, which shows the certificate with this hash.
    pub(crate) fn new(address: Address, token: &str, pin: Hash, pace: Pace, max_tries: u32) -> Outcome<Self> {
        let tls = pin::config(pin).map_err(|problem| Fault::Line(problem.to_string()))?;
        Self::with(address, Some(token), Some(tls), pace, max_tries)
    }

    /// The server at an address of this machine, without TLS.
    pub(crate) fn on_loopback(address: Address, token: &str, pace: Pace, max_tries: u32) -> Outcome<Self> {
        Self::with(address, Some(token), None, pace, max_tries)
    }

    /// A server that asks for no token: it shows the certificate with this hash, or
    /// one that the system trusts; or is on this machine, without TLS.
    pub(crate) fn without_token(address: Address, pin: Option<Hash>, pace: Pace, max_tries: u32) -> Outcome<Self> {
        let tls = match pin {
            _ if address.is_plain() => None,
            Some(pin) => Some(pin::config(pin).map_err(|problem| Fault::Line(problem.to_string()))?),
            None => Some(roots::config().map_err(Fault::Line)?),
        };
        Self::with(address, None, tls, pace, max_tries)
    }

    fn with(
        address: Address,
        token: Option<&str>,
        tls: Option<Arc<ClientConfig>>,
        pace: Pace,
        max_tries: u32,
    ) -> Outcome<Self> {
        let bad_token = || Fault::Token("the token has characters that no token has".to_owned());
        if !token.is_none_or(can_be_token) {
            return Err(bad_token());
        }
        let traffic = Traffic::default();
        let http = Http::new(&address, token, tls, &pace, &traffic).ok_or_else(bad_token)?;
        Ok(Self { address, pace, traffic, http, max_tries, tries: 0, has_answered: false })
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
    pub(crate) fn reconnects(&self) -> u64 {
        self.http.connections().saturating_sub(1)
    }

    /// Asks until it is answered, in JSON.
    pub(crate) fn json<T: DeserializeOwned>(&mut self, question: &Question<'_>) -> Outcome<T> {
        foreign::decode(&self.bytes(question)?).map_err(Fault::answer)
    }

    /// Asks until it is answered.
    pub(crate) fn bytes(&mut self, question: &Question<'_>) -> Outcome<Vec<u8>> {
        Ok(self.whole(question)?.1)
    }

    /// Asks until it is answered, and gives the head of the answer too.
    pub(crate) fn whole(&mut self, question: &Question<'_>) -> Outcome<(Head, Vec<u8>)> {
        loop {
            let read = |head: &Head, answer: Answer| Ok((head.clone(), answer.bytes(question.most_bytes)?));
            let done: Outcome<_> = self.once(question, Body::Whole, read);
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
        self.once(question, Body::Whole, |head, mut answer| {
            let taken = take(head, &mut answer)?;
            // To its end, so that the connection can be used again.
            io::copy(&mut answer, &mut io::sink()).map_err(|problem| Fault::of_line(&problem))?;
            Ok(taken)
        })
    }

    /// Sends once what `make` writes, and gives the answer, which is JSON.
    pub(crate) fn send<T: DeserializeOwned>(&mut self, question: &Question<'_>, make: &mut Make<'_>) -> Outcome<T> {
        self.once(question, Body::Made(make), |_, answer| {
            foreign::decode(&answer.bytes(question.most_bytes)?).map_err(Fault::answer)
        })
    }

    /// Waits before the next try, or gives up.
    pub(crate) fn wait(&mut self, fault: Fault) -> Outcome {
        let (last, after) = match &fault {
            Fault::Line(last) => (last.clone(), None),
            Fault::Busy(refusal) => (refusal.detail.clone(), refusal.after),
            _ => return Err(fault),
        };
        self.tries += 1;
        let most = if self.has_answered { self.max_tries } else { self.max_tries.min(FIRST_TRIES) };
        if self.tries >= most {
            return Err(match fault {
                // It was reached, and will not be any use until somebody makes room.
                Fault::Busy(refusal) if refusal.is_of_full_disk() => Fault::Busy(refusal),
                _ => Fault::Unreachable { tries: self.tries, last },
            });
        }
        let longest = FIRST_WAIT.saturating_mul(1 << self.tries.min(10).saturating_sub(1)).min(LONGEST_WAIT);
        let jitter = longest.mul_f64(rand::random::<f64>());
        self.pace
            .sleep(after.map_or(jitter, |after| after.min(LONGEST_WAIT) + jitter))
            .map_err(|problem| Fault::of_line(&problem))
    }

    /// It went on: the next break is the first one again.
    pub(crate) const fn goes_well(&mut self) {
        self.tries = 0;
    }

    /// Sends one request and reads its answer, on the connection that there is
    /// or a new one.
    fn once<T, E: From<Fault>>(
        &mut self,
        question: &Question<'_>,
        body: Body<'_>,
        read: impl FnOnce(&Head, Answer) -> Result<T, E>,
    ) -> Result<T, E> {
        let (head, answer) = self.http.ask(question, body)?;
        let done = match head.status {
            200..=299 => read(&head, answer)?,
            // A problem that is cut is told by its status.
            _ => {
                let told = answer.bytes(MAX_PROBLEM_BYTES).and_then(|bytes| plain(&head, bytes)).unwrap_or_default();
                return Err(Fault::from(Refusal::new(&head, &told)).into());
            }
        };
        self.has_answered = true;
        if !question.is_repeated {
            self.goes_well();
        }
        Ok(done)
    }
}

/// A problem as it was before it was compressed: whoever asks for a stream in
/// zstd gets everything so.
fn plain(head: &Head, bytes: Vec<u8>) -> Outcome<Vec<u8>> {
    if head.header("content-encoding") != Some("zstd") {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    let unpacked = zstd::Decoder::new(&bytes[..]).and_then(|mut decoder| {
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        decoder.take(MAX_PROBLEM_BYTES as u64).read_to_end(&mut plain)
    });
    unpacked.map(|_| plain).map_err(Fault::answer)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn client(token: &str) -> Outcome<Client> {
        let pace = Pace { rate: None, stall: Duration::from_secs(1), limit: None, is_cancelled: Arc::new(|| false) };
        Client::new("https://127.0.0.1:1".parse().unwrap(), token, Hash([0; 32]), pace, 1)
    }

    #[test]
    fn a_token_is_never_shown() {
        let client = client("tdb_secret").unwrap();
        for shown in [format!("{client:?}"), format!("{:?}", client.http), client.http.shows_secret()] {
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn what_no_header_can_have_is_no_token() {
        for token in ["", "a b", "a\r\nx: y", "\u{e4}", "a\0"] {
            assert!(matches!(client(token), Err(Fault::Token(_))), "{token:?}");
        }
    }
}
