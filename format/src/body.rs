//! The body: the plaintext of a payload.
//!
//! ```text
//! encoding 1 | actor name 1 + n | action 1 + n | media type 1 + n | data …
//! ```

use std::fmt;
use std::ops::Range;

use zeroize::Zeroizing;

use crate::Error;
use crate::codec::{Reader, plain_text, push_short_text, within};

/// Data as it is, the only encoding of version 1.
const ENCODING_PLAIN: u8 = 0;

/// Longest actor name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// Longest action, in bytes.
pub const MAX_ACTION_BYTES: usize = 64;

/// Longest media type, in bytes.
pub const MAX_MEDIA_TYPE_BYTES: usize = 255;

/// What an entry says, in the clear: actor name, action, media type, data.
///
/// It is encoded once when made; its bytes are wiped when it is dropped.
///
/// ```
/// use thingdb_format::Body;
/// let body = Body::new("alice", "create", "application/json", br#"{"temp":20}"#)?;
/// assert_eq!(Body::from_bytes(body.as_bytes().to_vec())?.data(), br#"{"temp":20}"#);
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    bytes: Zeroizing<Vec<u8>>,
    actor_name: Range<usize>,
    action: Range<usize>,
    media_type: Range<usize>,
    data: Range<usize>,
}

impl Body {
    /// Checks and encodes the parts.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] or [`Error::Text`] that names the part.
    pub fn new(actor_name: &str, action: &str, media_type: &str, data: &[u8]) -> Result<Self, Error> {
        let size = [actor_name.len(), action.len(), media_type.len(), data.len(), 4]
            .into_iter()
            .fold(0, usize::saturating_add);
        // Room for the tag, so that sealing does not move the plaintext and
        // leave a copy behind.
        let mut bytes = Vec::with_capacity(size.saturating_add(16));
        check(actor_name, action, media_type)?;
        bytes.push(ENCODING_PLAIN);
        push_short_text(&mut bytes, actor_name);
        push_short_text(&mut bytes, action);
        push_short_text(&mut bytes, media_type);
        bytes.extend_from_slice(data);
        Self::from_bytes(bytes)
    }

    /// Reads a body and takes the bytes over.
    ///
    /// # Errors
    /// Any [`Error`] of malformed bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        let bytes = Zeroizing::new(bytes);
        let mut r = Reader::new(&bytes);
        r.version(ENCODING_PLAIN, "encoding")?;
        let actor_name = r.short_text("actor name")?;
        let action = r.short_text("action")?;
        let media_type = r.short_text("media type")?;
        let data_len = r.rest().len();
        r.finish("body")?;
        check(actor_name, action, media_type)?;
        let span = |start: usize, len: usize| start..start.saturating_add(len);
        let actor_name = span(2, actor_name.len());
        let action = span(actor_name.end.saturating_add(1), action.len());
        let media_type = span(action.end.saturating_add(1), media_type.len());
        let data = span(media_type.end, data_len);
        Ok(Self { bytes, actor_name, action, media_type, data })
    }

    /// The one spelling of the body: what is sealed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The name that the actor went by. A claim: the key is in the header.
    #[must_use]
    pub fn actor_name(&self) -> &str {
        self.text(&self.actor_name)
    }

    /// `create`, `update`, `retire` or the user's own word.
    #[must_use]
    pub fn action(&self) -> &str {
        self.text(&self.action)
    }

    /// Media type of the data, such as `application/json`.
    #[must_use]
    pub fn media_type(&self) -> &str {
        self.text(&self.media_type)
    }

    /// The data.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.bytes.get(self.data.clone()).unwrap_or_default()
    }

    fn text(&self, range: &Range<usize>) -> &str {
        self.bytes.get(range.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    pub(crate) fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.bytes
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.bytes.len())
    }
}

fn check(actor_name: &str, action: &str, media_type: &str) -> Result<(), Error> {
    plain_text("actor name", actor_name, 1, MAX_NAME_BYTES as u64)?;
    plain_text("action", action, 1, MAX_ACTION_BYTES as u64)?;
    within("media type", media_type.len() as u64, 1, MAX_MEDIA_TYPE_BYTES as u64)?;
    if !media_type.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
        return Err(Error::Text { field: "media type", problem: "holds a character that is not printable ASCII" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        let body = Body::new("alice", "update", "text/plain", b"hello").unwrap();
        let again = Body::from_bytes(body.as_bytes().to_vec()).unwrap();
        assert_eq!(
            (again.actor_name(), again.action(), again.media_type(), again.data()),
            ("alice", "update", "text/plain", &b"hello"[..])
        );
        assert_eq!(Body::new("a", "b", "c", b"").unwrap().data(), b"");
        assert_eq!(Body::new("a", "b", "c", b"").unwrap().as_bytes().len(), 7);
    }

    #[test]
    fn names_with_control_characters_are_refused() {
        assert!(Body::new("a\n", "b", "c", b"").is_err());
        assert!(Body::new("a", "", "c", b"").is_err());
        assert!(Body::new("a", "b", "é", b"").is_err());
        assert!(Body::new(&"a".repeat(129), "b", "c", b"").is_err());
    }

    #[test]
    fn an_unknown_encoding_was_written_by_a_newer_version() {
        let problem = Body::from_bytes(vec![1, 1, b'a', 1, b'b', 1, b'c']).unwrap_err();
        assert!(problem.is_newer_version());
    }

    #[test]
    fn debug_shows_no_data() {
        assert_eq!(format!("{:?}", Body::new("a", "b", "c", b"secret").unwrap()), "Body(13 bytes)");
    }
}
