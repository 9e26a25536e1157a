//! A part of a history, as `log` and the server are asked for it: by seq, or by
//! time.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use thingdb::Time;

use super::when::{When, is_year};
use crate::text::quoted;

/// A seq, or from one to another: `3`, `8-10`.
pub(crate) fn seqs(text: &str) -> Result<RangeInclusive<u64>, String> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|seq| *seq > 0);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err(format!("{} is no seq: write 3, or 8-10", quoted(text))),
    }
}

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
            match seq(text) {
                Some(seq) => span.first_seq = Some(seq),
                None => span.since = Some(When::parse(text, now)?.first),
            }
        }
        if let Some(text) = until {
            match seq(text) {
                Some(seq) => span.last_seq = Some(seq),
                None => span.until = Some(When::parse(text, now)?.last),
            }
        }
        Ok(span)
    }

    /// Whether an entry that counts by the time `dated` is in it, as far as times
    /// are asked for; otherwise nobody has to tell.
    pub(crate) fn has(&self, dated: impl FnOnce() -> Time) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let time = dated();
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
    }
}

/// What stands before a seq that could be taken for a year.
const SEQ: &str = "seq:";

/// A seq: digits that are no year, or any number after `seq:`.
fn seq(text: &str) -> Option<u64> {
    match text.strip_prefix(SEQ) {
        Some(digits) => digits.parse().ok(),
        None => text.parse().ok().filter(|number| !is_year(*number)),
    }
}

/// A seq as [`Span::parse`] takes it.
pub(crate) fn spelled(seq: u64) -> String {
    if is_year(seq) { format!("{SEQ}{seq}") } else { seq.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_are_times_and_other_numbers_are_seqs() {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let span = |since, until| Span::parse(Some(since), Some(until), now).unwrap();
        let year = span("2026", "2026");
        assert_eq!(year.since.unwrap().to_string(), "2026-01-01T00:00:00.000000Z");
        assert_eq!(year.until.unwrap().to_string(), "2026-12-31T23:59:59.999999Z");
        assert_eq!((year.first_seq, year.last_seq), (None, None));
        let seqs = span("20", "seq:2026");
        assert_eq!((seqs.first_seq, seqs.last_seq), (Some(20), Some(2026)));
        for seq in [0, 1, 1969, 1970, 2026, 2199, 2200, u64::MAX] {
            assert_eq!(Span::parse(Some(&spelled(seq)), None, now).unwrap().first_seq, Some(seq));
        }
        assert!(Span::parse(Some("seq:x"), None, now).is_err());
    }
}
