//! A part of a history, as `log` and the server are asked for it: by seq, or by
//! time.

use jiff::Timestamp;
use thingdb::Time;

use super::when::When;

/// A part of a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// No entry with a smaller seq.
    pub(crate) first_seq: Option<u64>,
    /// No entry with a greater seq.
    pub(crate) last_seq: Option<u64>,
    /// No entry that is older.
    pub(crate) since: Option<Time>,
    /// No entry that is younger.
    pub(crate) until: Option<Time>,
}

impl Span {
    /// The span from `since` on, up to `until`; each a seq or a time, seen from
    /// `now`. The problem says what is wrong.
    pub(crate) fn parse(since: Option<&str>, until: Option<&str>, now: Timestamp) -> Result<Self, String> {
        let mut span = Self::default();
        if let Some(text) = since {
            match text.parse() {
                Ok(seq) => span.first_seq = Some(seq),
                Err(_) => span.since = Some(When::parse(text, now)?.first),
            }
        }
        if let Some(text) = until {
            match text.parse() {
                Ok(seq) => span.last_seq = Some(seq),
                Err(_) => span.until = Some(When::parse(text, now)?.last),
            }
        }
        Ok(span)
    }

    /// Whether an entry of this time is in it, as far as times are asked for.
    pub(crate) fn has(&self, time: Time) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
    }
}
