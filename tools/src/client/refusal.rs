//! How a server says that it does not do what it was asked: problem details
//! (RFC 9457) in the words of the command.

use std::time::Duration;

use serde::Deserialize;

use super::head::Head;
use crate::foreign;

/// Characters of what a server says that are told.
const MAX_TOLD: usize = 1000;

/// Entries that are told of where one could be meant.
const MAX_CANDIDATES: usize = 16;

/// What a server says when it does not do what it was asked.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The word for it, the same that the command prints as `error[word]`;
    /// empty if whoever answers knows none.
    pub(crate) code: String,
    /// What is wrong.
    pub(crate) detail: String,
    /// What helps.
    pub(crate) hint: Option<String>,
    /// The entries that an abbreviated id may mean, as they are told.
    pub(crate) candidates: Vec<String>,
    /// The answer of a witness that knows another size of a ledger.
    pub(crate) log_size: Option<u64>,
    /// The ledger of the server is not all that was written.
    pub(crate) has_lost: bool,
    /// When to ask again.
    pub(crate) after: Option<Duration>,
}

/// The problem document, as far as it matters here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    code: String,
    detail: String,
    hint: Option<String>,
    candidates: Vec<String>,
}

impl Refusal {
    /// What the head and the body of an answer say that is no success. What is
    /// no problem document is told by its status.
    pub(super) fn new(head: &Head, body: &[u8]) -> Self {
        let status = head.status;
        let Problem { title, code, detail, hint, candidates } = foreign::decode(body).unwrap_or_default();
        let told = [detail, title].into_iter().find(|told| !told.is_empty());
        let clipped = |told: String| told.chars().take(MAX_TOLD).collect();
        Self {
            status,
            code: clipped(code),
            detail: told.map_or_else(|| format!("HTTP status {status}"), clipped),
            hint: hint.map(clipped),
            candidates: candidates.into_iter().take(MAX_CANDIDATES).collect(),
            log_size: log_size(head, body),
            has_lost: head.has_lost(),
            after: head.header("retry-after").and_then(|value| value.parse().ok()).map(Duration::from_secs),
        }
    }

    /// Whether the same may go well a moment later. A server that fails says
    /// nothing of that.
    pub(super) const fn is_passing(&self) -> bool {
        matches!(self.status, 408 | 429 | 502..=504)
    }

    /// Whether there is no room at the other side.
    pub(crate) fn is_of_full_disk(&self) -> bool {
        self.code == "disk-full"
    }

    /// Whether the token is to blame.
    pub(crate) const fn is_of_token(&self) -> bool {
        matches!(self.status, 401 | 403)
    }
}

/// The decimal number of a body `text/x.tlog.size` (c2sp.org/tlog-witness).
fn log_size(head: &Head, body: &[u8]) -> Option<u64> {
    if head.header("content-type")? != "text/x.tlog.size" {
        return None;
    }
    std::str::from_utf8(body).ok()?.strip_suffix('\n')?.parse().ok()
}
