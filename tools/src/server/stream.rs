//! The forms in which entries come and go. A new form has its media type here,
//! and an arm in each function that matches on [`Form`].

use std::io::{self, BufRead, Read};

use super::encoding::{FRAMES, JSON, NDJSON};
use crate::bytes::unwrap;
use crate::text::AfterMark;

/// A form in which entries are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Lines: the header, an entry each, the trailer.
    Ndjson,
    /// A JSON array of lines, or of objects; taken in only.
    Array,
    /// A binary stream, which tells itself apart from lines.
    Frames,
}

/// The media types of forms, the one that is preferred first.
pub(crate) const MEDIA_TYPES: &[&str] = &[NDJSON, JSON, FRAMES];

impl Form {
    /// The form of a body of this media type.
    pub(crate) fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            NDJSON | "application/ndjson" | "application/jsonl" => Some(Self::Ndjson),
            JSON => Some(Self::Array),
            FRAMES => Some(Self::Frames),
            _ => None,
        }
    }

    /// The lines of a body, and whether they come out of an array.
    pub(crate) fn lines<'a>(self, source: impl Read + 'a) -> io::Result<(Box<dyn BufRead + 'a>, bool)> {
        match self {
            Self::Ndjson | Self::Frames => {
                Ok((Box::new(io::BufReader::with_capacity(256 << 10, AfterMark::new(source))), false))
            }
            // A single line is valid JSON, too.
            Self::Array => unwrap::lines(source),
        }
    }
}
