//! What a field is called.

use std::fmt;
use std::str::FromStr;

use super::{MAX_DEPTH, MAX_POINTER_BYTES, Name};
use crate::Error;

/// What a field is called, as in a proof file: `@actor`, `@action`, `@media-type`, or a
/// JSON pointer (RFC 6901), which is empty or begins with `/`.
///
/// ```
/// use thingdb_format::fields::FieldName;
/// assert_eq!("@actor".parse(), Ok(FieldName::Actor));
/// assert_eq!("/a~1b/0".parse::<FieldName>()?.to_string(), "/a~1b/0");
/// assert!("a".parse::<FieldName>().is_err() && "/a~2".parse::<FieldName>().is_err());
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldName {
    /// The name that the actor went by.
    Actor,
    /// What was done.
    Action,
    /// The media type of the data.
    MediaType,
    /// The value to which this pointer leads; in its one spelling.
    Pointer(String),
}

impl FieldName {
    /// As it stands in a proof file.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Actor => "@actor",
            Self::Action => "@action",
            Self::MediaType => "@media-type",
            Self::Pointer(pointer) => pointer,
        }
    }

    /// The kind of the leaf, which is the index of all but the last.
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Actor => 1,
            Self::Action => 2,
            Self::MediaType => 3,
            Self::Pointer(_) => 4,
        }
    }

    /// The name in whose place it stands while data is walked through.
    pub(super) fn as_name(&self) -> Name<'_> {
        match self {
            Self::Actor => Name::Actor,
            Self::Action => Name::Action,
            Self::MediaType => Name::MediaType,
            Self::Pointer(pointer) => Name::Pointer(pointer),
        }
    }

    /// Whether this, as somebody asks for it, is the field `name`, or an object or array
    /// that the field is in.
    #[must_use]
    pub fn covers(&self, name: &Name<'_>) -> bool {
        match (self, name) {
            (Self::Pointer(outer), Name::Pointer(inner)) => {
                inner.strip_prefix(outer.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            (asked, found) => asked.as_name() == *found,
        }
    }
}

impl From<&Name<'_>> for FieldName {
    fn from(name: &Name<'_>) -> Self {
        match name {
            Name::Actor => Self::Actor,
            Name::Action => Self::Action,
            Name::MediaType => Self::MediaType,
            Name::Pointer(pointer) => Self::Pointer((*pointer).to_owned()),
        }
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FieldName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "@actor" => return Ok(Self::Actor),
            "@action" => return Ok(Self::Action),
            "@media-type" => return Ok(Self::MediaType),
            _ => {}
        }
        let refuse = |problem| Err(Error::Malformed { what: "field", problem });
        if !text.is_empty() && !text.starts_with('/') {
            return refuse("is no JSON pointer, which begins with /, and none of @actor, @action, @media-type");
        }
        if text.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
            return refuse("has a ~ without 0 or 1 behind it: ~ is written ~0, and / in a name ~1");
        }
        if text.len() > MAX_POINTER_BYTES || text.matches('/').count() > MAX_DEPTH {
            return refuse("is longer than a pointer can be: 1024 bytes, 128 steps");
        }
        Ok(Self::Pointer(text.to_owned()))
    }
}
