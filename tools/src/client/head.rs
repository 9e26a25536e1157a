//! The head of an answer.

use ureq::http::HeaderMap;

/// The head of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The status.
    pub(crate) status: u16,
    pub(super) headers: HeaderMap,
}

impl Head {
    /// The value of a header, by its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the server says that its ledger is not all that was written.
    pub(crate) fn has_lost(&self) -> bool {
        self.headers.contains_key("thingdb-missing")
    }
}
