//! A request on its way to its handler: allowed, and taken apart.

use std::fmt;
use std::io::Read;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde::Serialize;
use thingdb::{Db, EntryId, Token, TokenRefusal};
use tokio::sync::OwnedSemaphorePermit;
use zeroize::Zeroizing;

use super::config::Limits;
use super::encoding;
use super::flow::{Flow, drain};
use super::node::{Node, Share};
use super::places::{Place, Scarce};
use super::problem::Problem;
use super::query::Query;
use crate::bytes::compress::{self, Compression};
use crate::view::id;

/// A request that its token allows.
pub(crate) struct Call {
    /// The node.
    pub(crate) node: Arc<Node>,
    /// Who asks; nobody on routes that need no token.
    pub(crate) bearer: Option<Bearer>,
    /// What stands in the place of `{id}`, decoded.
    pub(crate) id: Option<String>,
    /// The query, its names checked.
    pub(crate) query: Query,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, until somebody takes it.
    pub(crate) body: Arc<Mutex<Option<Body>>>,
    /// The place of the request among all.
    pub(crate) place: Option<OwnedSemaphorePermit>,
    /// Names the request.
    pub(crate) request_id: Arc<str>,
}

/// What an answer is, or why there is none.
pub(crate) type Answer = Result<Response<Body>, Problem>;

/// A token and its text, to be looked at again while a stream lasts.
#[derive(Clone)]
pub(crate) struct Bearer {
    /// What it allows.
    pub(crate) token: Token,
    text: Arc<Zeroizing<String>>,
    /// What its requests take together.
    share: Arc<Share>,
    checked: Instant,
}

/// How long a stream may go on after its token was removed.
const CHECK_EVERY: Duration = Duration::from_secs(1);

impl Bearer {
    /// The token with its text.
    pub(crate) fn new(token: Token, text: Zeroizing<String>, share: Arc<Share>) -> Self {
        Self { token, text: Arc::new(text), share, checked: Instant::now() }
    }

    /// What its requests take together.
    pub(crate) fn share(&self) -> &Share {
        &self.share
    }

    /// Whether the token still holds, looked up now and then.
    pub(crate) fn still_holds(&mut self, db: &Db) -> bool {
        if self.checked.elapsed() < CHECK_EVERY {
            return true;
        }
        self.checked = Instant::now();
        self.holds(db)
    }

    /// Whether the token holds now.
    fn holds(&self, db: &Db) -> bool {
        db.check_token(&self.text).is_ok_and(|token| token.id == self.token.id)
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bearer({})", self.token.id)
    }
}

impl Call {
    /// The prefix of the things that the token is for; all if empty.
    pub(crate) fn things(&self) -> &str {
        self.bearer.as_ref().map_or("", |bearer| &bearer.token.things)
    }

    /// The thing in the path, if the token is for it.
    pub(crate) fn thing(&self) -> Result<String, Problem> {
        self.allowed(self.id.as_deref().unwrap_or_default())
    }

    /// A thing, if the token is for it.
    pub(crate) fn allowed(&self, thing: &str) -> Result<String, Problem> {
        // Checked before anything is said of the thing.
        thingdb::ThingId::new(thing).map_err(thingdb::Error::from)?;
        if !thing.starts_with(self.things()) {
            return Err(self.outside());
        }
        Ok(thing.to_owned())
    }

    /// Refuses tokens that are for a part of the things only.
    pub(crate) fn for_everything(&self) -> Result<(), Problem> {
        if self.things().is_empty() { Ok(()) } else { Err(self.outside()) }
    }

    /// The digits of the entry id in the path.
    pub(crate) fn entry(&self) -> Result<&str, Problem> {
        let text = self.id.as_deref().unwrap_or_default();
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let length = id::MIN_DIGITS..=2 * EntryId::LEN;
        if is_hex && length.contains(&text.len()) {
            return Ok(text);
        }
        Err(Problem::invalid(format!("an entry id is {} to {} lower-case hex digits", length.start(), length.end())))
    }

    /// The prefix that a listing is for: the one that was asked for, within
    /// what the token is for.
    pub(crate) fn prefix(&self, asked: &str) -> Result<String, Problem> {
        let own = self.things();
        if asked.starts_with(own) {
            Ok(asked.to_owned())
        } else if own.starts_with(asked) {
            Ok(own.to_owned())
        } else {
            Err(self.outside())
        }
    }

    fn outside(&self) -> Problem {
        let detail = format!("the token is for things that begin with {:?} only", self.things());
        Problem::new(StatusCode::FORBIDDEN, "token-refused", detail)
            .hint("thingdb token new --name NAME --scope SCOPE --things PREFIX")
    }

    /// A header as text, if it is there and is text.
    pub(crate) fn header(&self, name: &header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Refuses a request whose token was removed while its body came.
    fn must_hold(&self) -> Result<(), Problem> {
        if self.bearer.as_ref().is_none_or(|bearer| bearer.holds(&self.node.db)) {
            return Ok(());
        }
        Err(Problem::refused(&TokenRefusal::Unknown))
    }

    /// Takes the body, to be read. What nobody takes is read and thrown away.
    pub(crate) fn take_body(&self) -> Body {
        self.body.lock().expect("no thread panics while it holds the body").take().unwrap_or_default()
    }

    /// What the token takes of the server, if there is one.
    pub(crate) fn share(&self) -> Option<&Share> {
        self.bearer.as_ref().map(Bearer::share)
    }

    /// A place among few, or why there is none.
    pub(crate) fn take(&self, scarce: Scarce) -> Result<Place, Problem> {
        self.node.place(self.share(), scarce)
    }

    /// Calls into the database off the threads that serve connections.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Db) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.node.call(self.share(), Scarce::Calls, act).await
    }

    /// The same for a call that may read as much data as an answer holds.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Db) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.node.call(self.share(), Scarce::Reads, act).await
    }

    /// Refuses a body that says itself that it is larger than `most` bytes,
    /// before anything is done for it. Gives what it says.
    pub(crate) fn told_length(&self, most: u64) -> Result<Option<u64>, Problem> {
        let told = self.header(&header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
        if told.is_some_and(|told| told > most) { Err(too_large(most)) } else { Ok(told) }
    }

    /// Reads the whole body, no more than `most` bytes of it.
    pub(crate) async fn whole_body(&mut self, most: u64) -> Result<Whole, Problem> {
        let told = self.told_length(most)?;
        let compression = encoding::compressed_with(&self.headers)?;
        // What is compressed is there twice for a while, and may become as large
        // as is allowed.
        let room = match compression {
            Compression::None => told.unwrap_or(most),
            _ => told.unwrap_or(most).saturating_add(most),
        };
        let room = self.node.room_for(self.share(), room).await?;
        let bytes = collect(self.take_body(), most, &self.node.limits).await?;
        self.must_hold()?;
        let bytes = match compression {
            Compression::None => bytes,
            compression => self.run(move |_| unpack(compression, &bytes, most)).await?,
        };
        Ok(Whole { bytes, room })
    }
}

/// A body that was read as a whole, with the room that it takes: whoever uses
/// the bytes keeps both for as long.
pub(crate) struct Whole {
    bytes: Vec<u8>,
    room: Place,
}

impl Whole {
    /// The bytes, and the room to be kept beside them.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Place) {
        (self.bytes, self.room)
    }
}

impl Deref for Whole {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

async fn collect(mut body: Body, most: u64, limits: &Limits) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut flow = Flow::new(limits);
    loop {
        let since = Instant::now();
        let piece = match tokio::time::timeout(flow.patience(limits.stall), body.frame()).await {
            Err(_) => return Err(Problem::too_slow("the body did not go on, or too slowly")),
            Ok(None) => return Ok(bytes),
            Ok(Some(Err(problem))) => return Err(Problem::usage(format!("the body broke off: {problem}"))),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        flow.moved(since.elapsed(), piece.len());
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > most {
            drop(bytes);
            drain(body).await;
            return Err(too_large(most));
        }
    }
}

fn too_large(most: u64) -> Problem {
    Problem::too_large(format!("the body is larger than {most} bytes"))
}

/// Unpacks a body, no more than `most` bytes of it.
fn unpack(compression: Compression, packed: &[u8], most: u64) -> Result<Vec<u8>, Problem> {
    let broken = |problem: std::io::Error| Problem::invalid(format!("the body does not unpack: {problem}"));
    let mut bytes = Vec::new();
    let unpacked = compress::unpacked(compression, packed).map_err(broken)?;
    unpacked.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() as u64 > most {
        return Err(Problem::too_large(format!("the body unpacks to more than {most} bytes")));
    }
    Ok(bytes)
}

/// An answer with a body of this type.
pub(crate) fn answer(media_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// An answer in JSON.
pub(crate) fn json(value: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(value).map_err(|problem| Problem::unexpected(problem.to_string()))?;
    Ok(answer("application/json", text))
}

/// A header value of digits, hex or quotes.
pub(crate) fn header_value(text: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(text).map_err(|problem| Problem::unexpected(problem.to_string()))
}
