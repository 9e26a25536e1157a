//! From a request to an answer: names it, admits it, has it done, and tells
//! log and metrics.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::routing::{MethodFilter, on};
use futures_util::FutureExt;
use percent_encoding::utf8_percent_encode;
use tokio::sync::OwnedSemaphorePermit;
use tower_http::compression::CompressionLayer;

use super::call::{Answer, Bearer, Call};
use super::flow::drain;
use super::node::{Node, Turn};
use super::problem::Problem;
use super::query::Query;
use super::route::{Needs, Route};
use super::things::PLAIN;
use super::{guard, pipe, routes};
use crate::view::missing::MissingOfLedger;

/// Names a request in answers and in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Tells whoever has a token for a prefix that nothing else is shown.
const THINGS: HeaderName = HeaderName::from_static("thingdb-things");

/// The code of what is missing of the ledger, in each answer to who shows a token.
const MISSING: HeaderName = HeaderName::from_static("thingdb-missing");

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The router that is made from the table.
pub(crate) fn router(node: &Arc<Node>) -> Router {
    let mut router = Router::new();
    for route in routes::all() {
        let node = Arc::clone(node);
        let filter = MethodFilter::try_from(route.method.clone()).unwrap_or(MethodFilter::GET);
        let handler = move |request: Request| serve(Arc::clone(&node), Target::Route(route), request);
        router = router.route(route.path, on(filter, handler));
    }
    let (nowhere, other_method) = (Arc::clone(node), Arc::clone(node));
    router
        .fallback(move |request: Request| serve(Arc::clone(&nowhere), Target::Nowhere, request))
        .method_not_allowed_fallback(move |request: Request| {
            serve(Arc::clone(&other_method), Target::OtherMethod, request)
        })
        .layer(CompressionLayer::new())
}

/// What a request is for.
#[derive(Clone, Copy)]
enum Target {
    Route(&'static Route),
    Nowhere,
    OtherMethod,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Route(route) => route.name,
            Self::Nowhere => "nowhere",
            Self::OtherMethod => "other-method",
        }
    }

    fn needs(self) -> Needs {
        match self {
            Self::Route(route) => route.needs,
            Self::Nowhere | Self::OtherMethod => Needs::Token,
        }
    }
}

async fn serve(node: Arc<Node>, target: Target, request: Request) -> Response<Body> {
    let began = Instant::now();
    let request_id = request_id(request.headers());
    let method = request.method().clone();
    let address = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    let under_way = node.metrics.begin();
    let (mut parts, body) = request.into_parts();
    let admitted = caught(admit(&node, target, &mut parts, address)).await;
    let token = admitted.as_ref().map_or_else(|_| String::new(), Admitted::token);
    let is_known = admitted.as_ref().is_ok_and(|admitted| admitted.bearer.is_some());
    let done = caught(answer(&node, admitted, parts.headers, body, &request_id)).await;
    let (code, cause) = match &done {
        Ok(_) => (None, None),
        Err(problem) => (Some(problem.code().to_owned()), problem.log_cause().map(str::to_owned)),
    };
    let mut response = done.unwrap_or_else(|problem| problem.into_response(&request_id));
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, value);
    }
    if is_known {
        headers.extend(missing(&node).map(|code| (MISSING, code)));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let took = began.elapsed();
    under_way.end(target.name(), response.status(), took);
    let status = response.status().as_u16();
    let (route, took_us) = (target.name(), u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    if status >= 500 {
        tracing::error!(%request_id, %method, route, status, code, cause, took_us, token, peer = %address, "request");
    } else {
        tracing::info!(%request_id, %method, route, status, code, took_us, token, peer = %address, "request");
    }
    response
}

/// A bug must cost one request, not the connection.
async fn caught<T>(work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(Problem::unexpected("a panic")))
}

/// Has a request done that was let through, or says why it was not. What is left
/// of its body is read.
async fn answer(
    node: &Arc<Node>,
    admitted: Result<Admitted, Problem>,
    headers: HeaderMap,
    body: Body,
    request_id: &Arc<str>,
) -> Answer {
    let body = Arc::new(Mutex::new(Some(body)));
    let done = match admitted {
        Err(problem) => Err(problem),
        Ok(Admitted { route, bearer, turn, place, id, query }) => {
            let part = bearer.as_ref().and_then(|bearer| part(&bearer.token.things));
            let (server, request_id) = (Arc::clone(node), Arc::clone(request_id));
            let call = Call { node: server, bearer, id, query, headers, body: Arc::clone(&body), place, request_id };
            let done = (route.handler)(call).await.map(|mut response| {
                response.headers_mut().extend(part.map(|part| (THINGS, part)));
                response
            });
            done.and_then(|response| counted(node, turn.as_ref(), response))
        }
    };
    let unread = body.lock().expect("no thread panics while it holds the body").take();
    if let Some(body) = unread.filter(|_| done.is_err()) {
        drain(body).await;
    }
    done
}

/// What a token for a part of the things is for, as a header has it.
fn part(things: &str) -> Option<HeaderValue> {
    let things = Some(things).filter(|things| !things.is_empty())?;
    HeaderValue::from_str(&utf8_percent_encode(things, PLAIN).to_string()).ok()
}

/// The code of what is missing of the ledger, if anything is. What does not read is told by
/// `/info`.
fn missing(node: &Node) -> Option<HeaderValue> {
    let missing = MissingOfLedger::of(&node.db).ok()?;
    HeaderValue::from_str(&missing.first()?.code).ok()
}

/// Answers up to this size are not counted: a head takes as much.
const SMALL_BYTES: u64 = 4 << 10;

/// An answer that takes its part of the memory for answers, until its client
/// has it. Streams have taken theirs already.
fn counted(node: &Node, turn: Option<&Turn>, response: Response<Body>) -> Answer {
    let bytes = http_body::Body::size_hint(response.body()).exact().filter(|bytes| *bytes > SMALL_BYTES);
    let Some(bytes) = bytes else { return Ok(response) };
    let share = turn.map(Turn::share);
    let room = node.room_for_answer(share.as_deref(), bytes)?;
    Ok(response.map(|body| pipe::held(room, body)))
}

/// A request that was let through.
struct Admitted {
    route: &'static Route,
    bearer: Option<Bearer>,
    turn: Option<Turn>,
    place: Option<OwnedSemaphorePermit>,
    id: Option<String>,
    query: Query,
}

impl Admitted {
    /// The token by its id, for the log.
    fn token(&self) -> String {
        self.bearer.as_ref().map(|bearer| bearer.token.id.to_string()).unwrap_or_default()
    }
}

/// Everything that can be said of a request before its body is read.
async fn admit(node: &Arc<Node>, target: Target, parts: &mut Parts, address: IpAddr) -> Result<Admitted, Problem> {
    // Whoever asks whether the server lives gets an answer however busy it is.
    let place = match target.needs() {
        Needs::Nothing => None,
        Needs::Signature => Some(node.nameless_request()?),
        Needs::Token | Needs::Scope(_) => Some(node.request()?),
    };
    let (bearer, turn) = guard::admit(node, target.needs(), &parts.headers, address)?;
    let route = match target {
        Target::Route(route) => route,
        Target::Nowhere => return Err(Problem::not_found("there is nothing under this path").hint("GET /openapi.json")),
        Target::OtherMethod => return Err(other_method(parts)),
    };
    let id = match route.id {
        None => None,
        Some(_) => Some(id(parts).await?),
    };
    let known = route.query.iter().map(|parameter| parameter.name);
    let query = Query::parse(parts.uri.query().unwrap_or_default(), known)?;
    Ok(Admitted { route, bearer, turn, place, id, query })
}

fn other_method(parts: &Parts) -> Problem {
    let path = parts.extensions.get::<axum::extract::MatchedPath>().map(|path| path.as_str().to_owned());
    let there = routes::all().filter(|route| Some(route.path) == path.as_deref());
    let methods: Vec<&str> = there.flat_map(|route| names(&route.method)).collect();
    let detail = format!("{} is not understood here", parts.method);
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "usage", detail).allow(&methods.join(", "))
}

fn names(method: &Method) -> Vec<&str> {
    if *method == Method::GET { vec!["GET", "HEAD"] } else { vec![method.as_str()] }
}

async fn id(parts: &mut Parts) -> Result<String, Problem> {
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|_| Problem::invalid("the path is not UTF-8"))?;
    let id = params.iter().next().map(|(_, id)| id.to_owned());
    id.ok_or_else(|| Problem::unexpected("a route with an id whose path has none"))
}

/// The id that the client gave the request, if it is a plain word, or a new
/// one.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let plain = |id: &&str| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(plain);
    given.map_or_else(new_request_id, Arc::from)
}

fn new_request_id() -> Arc<str> {
    let mut bytes = [0; 12];
    // It only tells requests apart: where the system gives no randomness they
    // all have the same.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    data_encoding::HEXLOWER.encode(&bytes).into()
}
