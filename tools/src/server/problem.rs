//! How a request fails: problem details (RFC 9457) in the words of the command.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode};
use serde::Serialize;
use thingdb::TokenRefusal;
use utoipa::ToSchema;

use crate::error::{Failure, NEWER_VERSION};
use crate::foreign::Fault;
use crate::view::thing::HeadJson;

/// The media type of problem details.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Debug)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    json: ProblemJson,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log, not for the client.
    cause: Option<String>,
}

/// Problem details.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemJson {
    /// Says nothing beyond the status.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// A stable word, the same that the command prints as `error[word]`.
    code: Cow<'static, str>,
    /// What is wrong.
    detail: String,
    /// What helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// Names the request in the server's log.
    request_id: String,
    /// Line of the body, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// Column in the line, in bytes, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    /// The heads that the thing has.
    #[serde(skip_serializing_if = "Option::is_none")]
    heads: Option<Vec<HeadJson>>,
    /// The entries that an abbreviated id may mean, some of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<Vec<String>>,
}

impl Problem {
    /// A problem with its status, its word, and the fact.
    pub(crate) fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        let json = ProblemJson {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Problem"),
            status: status.as_u16(),
            code: code.into(),
            detail: detail.into(),
            hint: None,
            request_id: String::new(),
            line: None,
            column: None,
            heads: None,
            candidates: None,
        };
        Self(Box::new(Inner { status, json, headers: Vec::new(), cause: None }))
    }

    /// A request that is not well formed.
    pub(crate) fn usage(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "usage", detail)
    }

    /// Input that cannot be stored or looked for.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-input", detail)
    }

    /// 422 for a body of JSON: `what` it is not, and what is wrong with it.
    pub(crate) fn of_json(what: &str, fault: &Fault) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-json", format!("{what}: {fault}"))
            .at(fault.line as u64, Some(fault.column))
    }

    /// A newer version wrote what came.
    pub(crate) fn newer(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, NEWER_VERSION, detail)
            .hint("a newer thingdb at the server reads it")
    }

    /// No such thing or entry.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// More than is taken at once.
    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    }

    /// The client let the server wait too long.
    pub(crate) fn too_slow(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", detail).header(header::CONNECTION, "close")
    }

    /// The server has enough to do.
    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(1)
    }

    /// This client has enough to do.
    pub(crate) fn too_many(detail: impl Into<String>, seconds: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail).retry_after(seconds)
    }

    /// Something that no client can help; the cause is for the log.
    pub(crate) fn unexpected(cause: impl Into<String>) -> Self {
        let detail = "something unexpected; the server's log tells more under the request id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected", detail).cause(cause)
    }

    /// There is no token, where one is needed.
    pub(crate) fn no_token(detail: impl Into<String>) -> Self {
        Self::unauthorized(detail, "Bearer realm=\"thingdb\"")
    }

    /// The token is none that holds.
    pub(crate) fn bad_token(detail: impl Into<String>) -> Self {
        Self::unauthorized(detail, "Bearer realm=\"thingdb\", error=\"invalid_token\"")
    }

    /// The token does not hold, or no longer.
    pub(crate) fn refused(refusal: &TokenRefusal) -> Self {
        Self::bad_token(refusal.to_string())
    }

    fn unauthorized(detail: impl Into<String>, challenge: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "token-refused", detail)
            .hint("thingdb token new --name NAME --scope read")
            .header(header::WWW_AUTHENTICATE, challenge)
    }

    /// Adds what helps.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.json.hint = Some(hint.into());
        self
    }

    /// Adds where in the body it is.
    pub(crate) fn at(mut self, line: u64, column: Option<usize>) -> Self {
        self.0.json.line = Some(line);
        self.0.json.column = column;
        self
    }

    /// Adds the entries that could be meant.
    pub(crate) fn candidates(mut self, ids: Vec<String>) -> Self {
        self.0.json.candidates = Some(ids);
        self
    }

    /// Adds heads of the thing.
    pub(crate) fn heads(mut self, heads: Vec<HeadJson>) -> Self {
        self.0.json.heads = Some(heads);
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.0.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// Adds which methods the path has.
    pub(crate) fn allow(mut self, methods: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(methods) {
            self.0.headers.push((header::ALLOW, value));
        }
        self
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.0.headers.push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        self
    }

    fn cause(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// What the log is told beside the status.
    pub(crate) fn log_cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The stable word.
    pub(crate) fn code(&self) -> &str {
        &self.0.json.code
    }

    /// The problem in JSON, to be sent where the status is gone already.
    pub(crate) fn into_json(mut self, request_id: &str) -> ProblemJson {
        request_id.clone_into(&mut self.0.json.request_id);
        self.0.json
    }

    /// The same fact under another status and word.
    pub(crate) fn with_status(mut self, status: StatusCode, code: &'static str) -> Self {
        self.0.status = status;
        self.0.json.status = status.as_u16();
        self.0.json.title = status.canonical_reason().unwrap_or("Problem");
        self.0.json.code = code.into();
        self
    }

    /// The answer to the request with this id.
    pub(crate) fn into_response(mut self, request_id: &str) -> Response<Body> {
        let headers = std::mem::take(&mut self.0.headers);
        let status = self.0.status;
        let text = serde_json::to_vec(&self.into_json(request_id)).unwrap_or_default();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        for (name, value) in headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}

/// What the engine says, with its status. What only the operator can mend is
/// told to the log and not to the client: it may name files.
impl From<thingdb::Error> for Problem {
    fn from(problem: thingdb::Error) -> Self {
        let heads = match &problem {
            thingdb::Error::Conflict { heads, .. } => Some(heads.iter().map(HeadJson::new).collect()),
            _ => None,
        };
        let place = match &problem {
            thingdb::Error::Json { line, column, .. } => Some((*line as u64, *column)),
            _ => None,
        };
        let status = match &problem {
            p if p.is_conflict() => StatusCode::PRECONDITION_FAILED,
            p if p.is_forked() => StatusCode::CONFLICT,
            p if p.is_not_found() => StatusCode::NOT_FOUND,
            p if p.is_disk_full() || p.is_read_only() => StatusCode::SERVICE_UNAVAILABLE,
            thingdb::Error::Closed => StatusCode::SERVICE_UNAVAILABLE,
            p if p.is_invalid_input() => StatusCode::UNPROCESSABLE_ENTITY,
            thingdb::Error::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let failure = Failure::from(problem);
        let mut found = match status {
            StatusCode::INTERNAL_SERVER_ERROR => Self::unexpected(failure.whole()),
            StatusCode::SERVICE_UNAVAILABLE => {
                let detail = "the database takes no entries now; it can be read";
                Self::new(status, failure.word().to_owned(), detail).retry_after(60).cause(failure.whole())
            }
            _ => {
                let found = Self::new(status, failure.word().to_owned(), failure.fact());
                failure.hints().iter().fold(found, |found, hint| found.hint(hint))
            }
        };
        found.0.json.heads = heads;
        match place {
            Some((line, column)) => found.at(line, Some(column)),
            None => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_operator_can_mend_is_not_told_to_clients() {
        let source = std::sync::Arc::new(std::io::Error::other("secret cause"));
        let path = std::path::PathBuf::from("/srv/secret/checkpoint");
        let problem = Problem::from(thingdb::Error::File { path, action: "cannot be written", source });
        assert_eq!(problem.0.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(
            problem.log_cause().is_some_and(|cause| cause.contains("/srv/secret") && cause.contains("secret cause"))
        );
        let json = serde_json::to_string(&problem.into_json("r-1")).unwrap();
        assert!(!json.contains("secret"), "{json}");
        assert!(json.contains("\"request_id\":\"r-1\""), "{json}");
    }

    #[test]
    fn bad_json_is_told_with_its_place() {
        let problem = thingdb::Draft::json("a", "{\n \"x\":}").unwrap_err();
        let json = Problem::from(problem).into_json("r-1");
        assert_eq!((json.status, json.line, json.column), (422, Some(2), Some(6)));
        assert_eq!(json.code, "bad-json");
    }
}
