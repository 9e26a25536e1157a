//! The body: the plaintext of a payload.
//!
//! ```text
//! encoding 0 | actor name 1 + n | action 1 + n | media type 1 + n | data …
//! encoding 1 | the same three     | attachment type 1 + n | attachment 4 + n | data …
//! encodings 2 and 3: the same, and single fields can be shown
//! ```

use std::fmt;
use std::ops::Range;

use zeroize::Zeroizing;

use crate::Error;
use crate::codec::{Reader, plain_text, push_short_text, text_length, within};

/// Data as it is.
const ENCODING_PLAIN: u8 = 0;

/// An attachment before the data.
const ENCODING_ATTACHMENT: u8 = 1;

/// Added to the encoding: what is committed to is the tree over the fields.
const PROVABLE_FIELDS: u8 = 2;

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
    attachment: Option<(Range<usize>, Range<usize>)>,
    data: Range<usize>,
}

/// A document that goes with the data and is not data: the signed original of
/// a migrated entry, the reason of a resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment<'a> {
    /// Media type of the document, 1 to 255 bytes.
    pub media_type: &'a str,
    /// The document.
    pub bytes: &'a [u8],
}

impl Body {
    /// Checks and encodes the parts.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::Text`] that names the part.
    pub fn new(actor_name: &str, action: &str, media_type: &str, data: &[u8]) -> Result<Self, Error> {
        Self::with_attachment(actor_name, action, media_type, data, None)
    }

    /// The same with a document that goes with the data.
    ///
    /// # Errors
    /// As [`Body::new`].
    pub fn with_attachment(
        actor_name: &str,
        action: &str,
        media_type: &str,
        data: &[u8],
        attachment: Option<Attachment<'_>>,
    ) -> Result<Self, Error> {
        let attached = attachment.map_or(0, |attached| attached.media_type.len().saturating_add(attached.bytes.len()));
        let size = [actor_name.len(), action.len(), media_type.len(), attached, data.len(), 9]
            .into_iter()
            .fold(0, usize::saturating_add);
        // Room for the tag, so that sealing does not move the plaintext and
        // leave a copy behind.
        let mut bytes = Vec::with_capacity(size.saturating_add(16));
        check(actor_name, action, media_type)?;
        bytes.push(if attachment.is_some() { ENCODING_ATTACHMENT } else { ENCODING_PLAIN });
        push_short_text(&mut bytes, actor_name);
        push_short_text(&mut bytes, action);
        push_short_text(&mut bytes, media_type);
        if let Some(attachment) = attachment {
            check_media_type("attachment type", attachment.media_type)?;
            push_short_text(&mut bytes, attachment.media_type);
            let len = attachment.bytes.len() as u64;
            within("attachment", len, 0, u64::from(crate::header::MAX_PAYLOAD_BYTES))?;
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&len.to_be_bytes());
            bytes.extend_from_slice(attachment.bytes);
        }
        bytes.extend_from_slice(data);
        Self::from_bytes(bytes)
    }

    /// Reads a body and takes the bytes over.
    ///
    /// # Errors
    /// Any [`Error`] of malformed bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        let bytes = Zeroizing::new(bytes);
        let total = bytes.len();
        let mut r = Reader::new(&bytes);
        // Where the field ends that was just read, `len` bytes long.
        let ended = |r: &Reader<'_>, len: usize| {
            let end = total.saturating_sub(r.left());
            end.saturating_sub(len)..end
        };
        let encoding = r.u8("encoding")?;
        check_encoding(&[encoding])?;
        let text = r.short_text("actor name")?;
        let actor_name = ended(&r, text.len());
        let action_text = r.short_text("action")?;
        let action = ended(&r, action_text.len());
        let media_type_text = r.short_text("media type")?;
        let media_type = ended(&r, media_type_text.len());
        check(text, action_text, media_type_text)?;
        let attachment = if encoding & ENCODING_ATTACHMENT != 0 {
            let text = r.short_text("attachment type")?;
            check_media_type("attachment type", text)?;
            let kind = ended(&r, text.len());
            let len = usize::try_from(r.u32("attachment")?).unwrap_or(usize::MAX);
            let attached = r.take(len, "attachment")?;
            Some((kind, ended(&r, attached.len())))
        } else {
            None
        };
        let data_len = r.rest().len();
        let data = ended(&r, data_len);
        r.finish("body")?;
        Ok(Self { bytes, actor_name, action, media_type, attachment, data })
    }

    /// The same, and whoever has the key can show single [fields](crate::fields) of it. It
    /// costs hashes, for each value of JSON data, whenever it is sealed or opened.
    #[must_use]
    pub fn with_provable_fields(mut self) -> Self {
        if let Some(encoding) = self.bytes.first_mut() {
            *encoding |= PROVABLE_FIELDS;
        }
        self
    }

    /// Whether single [fields](crate::fields) can be shown.
    #[must_use]
    pub fn has_provable_fields(&self) -> bool {
        has_provable_fields(&self.bytes)
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

    /// The document that goes with the data, if there is one.
    #[must_use]
    pub fn attachment(&self) -> Option<Attachment<'_>> {
        let (media_type, bytes) = self.attachment.as_ref()?;
        Some(Attachment { media_type: self.text(media_type), bytes: self.bytes.get(bytes.clone()).unwrap_or_default() })
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

/// Whether the bytes are those of a body with fields.
pub(crate) fn has_provable_fields(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|encoding| encoding & PROVABLE_FIELDS != 0)
}

/// Refuses a body of an encoding that is not known: what its header commits to is not
/// known, either.
pub(crate) fn check_encoding(bytes: &[u8]) -> Result<(), Error> {
    match bytes.first() {
        Some(found) if *found > ENCODING_ATTACHMENT | PROVABLE_FIELDS => {
            Err(Error::NewerVersion { field: "encoding", found: u64::from(*found) })
        }
        _ => Ok(()),
    }
}

fn check(actor_name: &str, action: &str, media_type: &str) -> Result<(), Error> {
    check_name(actor_name)?;
    check_action(action)?;
    check_media_type("media type", media_type)
}

pub(crate) fn check_name(actor_name: &str) -> Result<(), Error> {
    plain_text("actor name", actor_name, 1, MAX_NAME_BYTES as u64)
}

pub(crate) fn check_action(action: &str) -> Result<(), Error> {
    plain_text("action", action, 1, MAX_ACTION_BYTES as u64)
}

pub(crate) fn check_media_type(field: &'static str, media_type: &str) -> Result<(), Error> {
    text_length(field, media_type, 1, MAX_MEDIA_TYPE_BYTES as u64)?;
    if !media_type.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
        return Err(Error::Text { field, problem: "holds a character that is not printable ASCII" });
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
    fn an_attachment_comes_back_and_every_truncation_of_it_is_refused() {
        let attachment = Attachment { media_type: "text/x-original", bytes: b"signed" };
        let body = Body::with_attachment("a", "b", "c", b"data", Some(attachment)).unwrap();
        let again = Body::from_bytes(body.as_bytes().to_vec()).unwrap();
        assert_eq!((again.attachment(), again.data()), (Some(attachment), &b"data"[..]));
        assert_eq!((again.actor_name(), again.action(), again.media_type()), ("a", "b", "c"));
        for len in 0..body.as_bytes().len() - 4 {
            assert!(Body::from_bytes(body.as_bytes()[..len].to_vec()).is_err(), "{len}");
        }
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
        let problem = Body::from_bytes(vec![4, 1, b'a', 1, b'b', 1, b'c']).unwrap_err();
        assert!(problem.is_newer_version());
    }

    #[test]
    fn debug_shows_no_data() {
        assert_eq!(format!("{:?}", Body::new("a", "b", "c", b"secret").unwrap()), "Body(13 bytes)");
    }
}
