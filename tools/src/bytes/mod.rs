//! Streams of bytes: compressed, unwrapped from JSON, cut into lines.

pub(crate) mod array;
pub(crate) mod compress;
pub(crate) mod examine;
pub(crate) mod lines;
pub(crate) mod page;
pub(crate) mod unescape;
pub(crate) mod unwrap;
pub(crate) mod watched;
