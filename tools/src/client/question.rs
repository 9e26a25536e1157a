//! One question to a server.

use std::fmt;

/// Longest answer that is kept in memory, unless the question says otherwise.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// What is asked. Asked again if the line breaks, so its body is here as a
/// whole; a body that is made on the way goes by `Client::send`.
pub(crate) struct Question<'q> {
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) headers: Vec<(&'static str, &'q str)>,
    pub(super) body: Option<&'q [u8]>,
    pub(super) most_bytes: usize,
    pub(super) is_repeated: bool,
    pub(super) is_old_fashioned: bool,
}

impl<'q> Question<'q> {
    /// Asks for what is at a path, with its query.
    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target.into())
    }

    /// Brings something to a path.
    pub(crate) fn post(target: impl Into<String>, media_type: &'q str) -> Self {
        Self::new("POST", target.into()).header("content-type", media_type)
    }

    const fn new(method: &'static str, target: String) -> Self {
        Self {
            method,
            target,
            headers: Vec::new(),
            body: None,
            most_bytes: MAX_ANSWER_BYTES,
            is_repeated: false,
            is_old_fashioned: false,
        }
    }

    /// Adds a header, by its name in small letters.
    pub(crate) fn header(mut self, name: &'static str, value: &'q str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Takes answers of up to so many bytes.
    pub(crate) const fn at_most(mut self, bytes: usize) -> Self {
        self.most_bytes = bytes;
        self
    }

    /// Makes it one of which the answer brings nothing forward: it does not count
    /// as something that went well.
    pub(crate) const fn repeated(mut self) -> Self {
        self.is_repeated = true;
        self
    }

    /// Takes an answer of HTTP/1.0, too, and one that ends with the connection: for answers
    /// that show themselves whether they are whole.
    pub(crate) const fn old_fashioned(mut self) -> Self {
        self.is_old_fashioned = true;
        self
    }

    /// Adds what goes with it.
    pub(crate) const fn body(mut self, bytes: &'q [u8]) -> Self {
        self.body = Some(bytes);
        self
    }
}

/// Bodies are data, and targets name things: neither is for a log.
impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("method", &self.method).finish_non_exhaustive()
    }
}
