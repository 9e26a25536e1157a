//! How entries, things, forks, counts and times look, as JSON and as text, and
//! how people spell them. The server answers with the same JSON.

pub(crate) mod as_text;
pub(crate) mod counts;
pub(crate) mod details;
pub(crate) mod entry;
pub(crate) mod erasure;
pub(crate) mod evidence;
pub(crate) mod fields;
pub(crate) mod fork;
pub(crate) mod graph;
pub(crate) mod hole;
pub(crate) mod id;
pub(crate) mod imported;
pub(crate) mod journal;
pub(crate) mod ledger;
pub(crate) mod missing;
pub(crate) mod one_form;
pub(crate) mod original;
pub(crate) mod original_report;
pub(crate) mod paint;
pub(crate) mod patch;
pub(crate) mod phrase;
pub(crate) mod pointer;
pub(crate) mod pretty;
pub(crate) mod receipt;
pub(crate) mod record;
pub(crate) mod similar;
pub(crate) mod span;
pub(crate) mod stamp;
pub(crate) mod table;
pub(crate) mod thing;
pub(crate) mod told;
pub(crate) mod when;
pub(crate) mod whole;
pub(crate) mod witnessed;
