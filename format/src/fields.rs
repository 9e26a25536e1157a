//! The fields of a body: what of an entry can be shown alone, to somebody who has no
//! key to the rest.
//!
//! ```text
//! index   0            1            2        3            4 …
//! field   whole body   actor name   action   media type   one for each leaf value of JSON data
//! leaf    H(0x00 ‖ "thingdb/1/field" ‖ 0x00 ‖ salt ‖ kind ‖ content)
//! data_hash = HMAC(commitment key, 0x02 ‖ u32 count ‖ root of the Merkle tree over the leaves)
//! ```
//!
//! Only bodies that were made so have them ([`Body::with_provable_fields`]). The normative
//! text is the section "Fields" of `docs/format.md`.

mod name;
mod scan;
mod shown;
mod tree;

use crate::{Body, Error};

pub use name::FieldName;
pub use scan::walk;
pub use shown::{ShownField, ShownFields};
pub(crate) use tree::commitment;
pub use tree::show;

/// The most fields of a body, the whole body among them.
pub const MAX_FIELDS: u32 = 65_536;

/// The fewest: the whole body, actor name, action, media type.
pub const MIN_FIELDS: u32 = 4;

/// The most fields of an entry that are shown one by one.
pub const MAX_SHOWN: usize = 4096;

/// Longest pointer, in bytes.
pub const MAX_POINTER_BYTES: usize = 1024;

/// The most arrays and objects that a value is within.
pub const MAX_DEPTH: usize = 128;

/// Whether data of this media type has its values as fields.
///
/// ```
/// use thingdb_format::fields::is_json;
/// assert!(is_json("application/json; charset=utf-8") && is_json("application/senml+JSON"));
/// assert!(!is_json("text/json") && !is_json("application/json-seq"));
/// ```
#[must_use]
pub fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim_matches(' ').to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// Calls `each` with the name and the content of every field that can be shown, in their
/// order; the first has the index 1.
///
/// # Errors
/// [`Error::Field`] if the data should be JSON and is not, or not of the kind that has one
/// meaning; [`Error::OutOfRange`] if there are too many; and those of `each`.
pub fn each<'b>(body: &'b Body, mut each: impl FnMut(&Name<'_>, &'b [u8]) -> Result<(), Error>) -> Result<(), Error> {
    each(&Name::Actor, body.actor_name().as_bytes())?;
    each(&Name::Action, body.action().as_bytes())?;
    each(&Name::MediaType, body.media_type().as_bytes())?;
    if !is_json(body.media_type()) {
        return Ok(());
    }
    let mut count = u64::from(MIN_FIELDS);
    walk(body.data(), |pointer, value| {
        count = count.saturating_add(1);
        crate::codec::within("the number of fields", count, 0, u64::from(MAX_FIELDS))?;
        each(&Name::Pointer(pointer), value)
    })
}

/// What a field is called, while the data is walked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'p> {
    /// The name that the actor went by.
    Actor,
    /// What was done.
    Action,
    /// The media type of the data.
    MediaType,
    /// The value to which this JSON pointer (RFC 6901) leads.
    Pointer(&'p str),
}

impl<'p> From<&'p FieldName> for Name<'p> {
    fn from(name: &'p FieldName) -> Self {
        name.as_name()
    }
}

#[cfg(test)]
mod tests;
