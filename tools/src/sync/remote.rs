//! What a peer's server answers. Connects when needed, and tries again when
//! the line breaks: after a time that grows and is left to chance, so that not
//! all come back at once.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thingdb::{Hash, Origin, ShortId};
use zeroize::Zeroizing;

use super::address::Address;
use super::fault::{Fault, Outcome};
use super::http::{Answer, Body, Connection, Head, Request};
use super::pace::{Pace, Traffic};
use super::wire::{self, ChangedEntries, Grown, MAX_IDS, Received, Seen, Shown, State};
use super::{link, pin, stream};

/// Longest answer that is not a stream of entries.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// The first wait before trying again is at most this long, each further one
/// at most twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The longest question for something new, in seconds: shorter than a line may
/// stall.
const LONGEST_POLL: u64 = 30;

/// Tries at a server that never answered.
const FIRST_TRIES: u32 = 3;

/// A peer's server.
pub(crate) struct Remote {
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

/// A problem as the server tells it (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
}

impl Remote {
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

    /// How it stands, for `node`, which knows its state of `known` entries.
    pub(crate) fn state(&mut self, node: &Origin, known: u64) -> Outcome<State> {
        self.json("GET", &format!("/sync/state?node={node}&known={known}"), None)
    }

    /// Shows it how this node stands.
    pub(crate) fn show(&mut self, shown: &Shown) -> Outcome<Seen> {
        let body = serde_json::to_vec(shown).map_err(Fault::answer)?;
        self.json("POST", "/sync/checkpoint", Some(("application/json", &body)))
    }

    /// Positions and ids of its entries in a range, as many as it gives at once.
    pub(crate) fn ids(&mut self, prefix: &str, range: Range<u64>) -> Outcome<Vec<(u64, ShortId)>> {
        let things = things(prefix);
        let target = format!("/sync/ids?since={}&until={}{things}", range.start, range.end);
        let bytes = self.bytes("GET", &target, None)?;
        let places = if prefix.is_empty() {
            wire::ids_of_bytes(&bytes).map(|ids| (range.start..).zip(ids).collect())
        } else {
            wire::places_of_bytes(&bytes)
        };
        let places: Vec<(u64, ShortId)> = places.ok_or_else(|| Fault::answer("a list of ids of another length"))?;
        let ascend = places.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0));
        if !ascend || places.iter().any(|(position, _)| !range.contains(position)) {
            return Err(Fault::answer("ids at positions that were not asked for"));
        }
        Ok(places)
    }

    /// Which of these entries it has.
    pub(crate) fn have(&mut self, prefix: &str, ids: &[ShortId]) -> Outcome<Vec<bool>> {
        let mut bits = Vec::with_capacity(ids.len());
        for some in ids.chunks(MAX_IDS) {
            let things = things(prefix).replacen('&', "?", 1);
            let body = Some(("application/octet-stream", some.as_flattened()));
            let bytes = self.bytes("POST", &format!("/sync/have{things}"), body)?;
            let answer = wire::bits_of_bytes(&bytes, some.len());
            bits.extend(answer.ok_or_else(|| Fault::answer("another number of answers than questions"))?);
        }
        Ok(bits)
    }

    /// Its answer to a message about the ids of its first `size` entries.
    pub(crate) fn reconcile(&mut self, size: u64, message: &[u8]) -> Outcome<Vec<u8>> {
        self.bytes("POST", &format!("/sync/reconcile?size={size}"), Some(("application/octet-stream", message)))
    }

    /// Where it has these entries.
    pub(crate) fn locate(&mut self, ids: &[ShortId]) -> Outcome<Vec<u64>> {
        let mut positions = Vec::with_capacity(ids.len());
        for some in ids.chunks(MAX_IDS) {
            let body = Some(("application/octet-stream", some.as_flattened()));
            let bytes = self.bytes("POST", "/sync/locate", body)?;
            let (found, rest) = bytes.as_chunks::<8>();
            if !rest.is_empty() || found.len() > some.len() {
                return Err(Fault::answer("positions that were not asked for"));
            }
            positions.extend(found.iter().copied().map(u64::from_be_bytes));
        }
        positions.sort_unstable();
        positions.dedup();
        Ok(positions)
    }

    /// Its entries that were completed after a revision.
    pub(crate) fn changes(&mut self, prefix: &str, node: &Origin, since: u64) -> Outcome<ChangedEntries> {
        self.json("GET", &format!("/sync/changes?node={node}&since={since}{}", things(prefix)), None)
    }

    /// Waits until it has more than this, or the time is over.
    pub(crate) fn wait_for_more(&mut self, size: u64, revision: u64, most: Duration) -> Outcome {
        let seconds = most.as_secs().clamp(1, LONGEST_POLL);
        let target = format!("/sync/wait?size={size}&revision={revision}&seconds={seconds}");
        self.json::<Grown>("GET", &target, None).map(drop)
    }

    /// Asks for entries, once: what came before the line broke is the caller's
    /// to keep.
    pub(crate) fn fetch<T>(
        &mut self,
        prefix: &str,
        ranges: &[Range<u64>],
        take: impl FnOnce(&mut dyn Read) -> Outcome<T>,
    ) -> Outcome<T> {
        let things = things(prefix).replacen('&', "?", 1);
        let headers =
            self.headers(&["content-type: application/octet-stream", &format!("accept: {}", stream::MEDIA_TYPE)]);
        let body = wire::ranges_to_bytes(ranges);
        let target = format!("/sync/fetch{things}");
        let secret = self.secret.clone();
        let body = Body::Bytes(&body);
        let request = Request { method: "POST", target: &target, headers: &headers, secret: &secret, body };
        self.once(request, |mut answer| {
            let taken = take(&mut answer)?;
            // To its end, so that the connection can be used again.
            io::copy(&mut answer, &mut io::sink()).map_err(|problem| Fault::of_line(&problem))?;
            Ok(taken)
        })
    }

    /// Sends entries, once.
    pub(crate) fn send(
        &mut self,
        prefix: &str,
        node: &Origin,
        make: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Outcome<Received> {
        let headers = self.headers(&[&format!("content-type: {}", stream::MEDIA_TYPE), "content-encoding: zstd"]);
        let target = format!("/sync/entries?node={node}{}", things(prefix));
        let secret = self.secret.clone();
        let body = Body::Stream(make);
        let request = Request { method: "POST", target: &target, headers: &headers, secret: &secret, body };
        self.once(request, read_json)
    }

    /// Waits before the next try, or gives up.
    pub(crate) fn wait(&mut self, fault: Fault) -> Outcome {
        let (last, after) = match fault {
            Fault::Line(last) => (last, None),
            Fault::Busy(last, after) => (last, after),
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

    fn json<T: DeserializeOwned>(&mut self, method: &str, target: &str, body: Option<(&str, &[u8])>) -> Outcome<T> {
        let bytes = self.bytes(method, target, body)?;
        serde_json::from_slice(&bytes).map_err(Fault::answer)
    }

    /// Asks until it is answered.
    fn bytes(&mut self, method: &str, target: &str, body: Option<(&str, &[u8])>) -> Outcome<Vec<u8>> {
        let kind = body.map(|(kind, _)| format!("content-type: {kind}"));
        let headers = self.headers(&kind.as_deref().into_iter().collect::<Vec<_>>());
        let secret = self.secret.clone();
        loop {
            let body = body.map_or(Body::None, |(_, bytes)| Body::Bytes(bytes));
            let request = Request { method, target, headers: &headers, secret: &secret, body };
            match self.once(request, |answer| answer.bytes(MAX_ANSWER_BYTES)) {
                Err(fault) if fault.is_passing() => self.wait(fault)?,
                done => return done,
            }
        }
    }

    fn headers(&self, more: &[&str]) -> Vec<String> {
        let own = [
            format!("host: {}", self.address.authority()),
            concat!("user-agent: thingdb/", env!("CARGO_PKG_VERSION")).to_owned(),
        ];
        own.into_iter().chain(more.iter().map(|line| (*line).to_owned())).collect()
    }

    /// Sends one request and reads its answer, on the connection that there is
    /// or a new one.
    fn once<T>(&mut self, request: Request<'_>, read: impl FnOnce(Answer<'_>) -> Outcome<T>) -> Outcome<T> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let (head, answer) = connection.ask(request)?;
        let done = match head.status {
            200..=299 => read(answer)?,
            _ => return Err(refusal(&head, answer)),
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

fn read_json<T: DeserializeOwned>(answer: Answer<'_>) -> Outcome<T> {
    serde_json::from_slice(&answer.bytes(MAX_ANSWER_BYTES)?).map_err(Fault::answer)
}

/// What an answer that is no success means.
fn refusal(head: &Head, answer: Answer<'_>) -> Fault {
    let body = answer.bytes(MAX_ANSWER_BYTES).unwrap_or_default();
    let problem = serde_json::from_slice::<Problem>(&body).ok();
    let told = problem.map(|problem| if problem.detail.is_empty() { problem.title } else { problem.detail });
    let detail = told.filter(|told| !told.is_empty()).unwrap_or_else(|| format!("HTTP status {}", head.status));
    match head.status {
        401 | 403 => Fault::Token(detail),
        408 | 429 | 500..=599 => {
            let after = head.header("retry-after").and_then(|value| value.parse().ok()).map(Duration::from_secs);
            Fault::Busy(detail, after)
        }
        status => Fault::Refused { status, detail },
    }
}

/// The part of a query that names a prefix.
fn things(prefix: &str) -> String {
    if prefix.is_empty() {
        return String::new();
    }
    let mut query = "&things=".to_owned();
    for byte in prefix.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            query.push(char::from(byte));
        } else {
            query.push_str(&format!("%{byte:02X}"));
        }
    }
    query
}
