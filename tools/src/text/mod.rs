//! Text: as other programs write it, as terminals and shells can take it.

pub(crate) mod excerpt;
mod mark;
mod number;
mod printable;
mod quoted;

pub(crate) use mark::{AfterMark, Utf16, after_mark, has_mark, newer_version};
pub(crate) use number::{counted, grouped};
pub(crate) use printable::{harmless_json, is_blank, is_unprintable, printable, shorten};
pub(crate) use quoted::{quoted, quoted_path};
