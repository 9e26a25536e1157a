//! Times as people write them on a command line.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use thingdb::Time;

/// The span that a text names: `2026-11-22` is a whole day, a time without a
/// fraction a whole second. So a time that was copied from `thingdb log`
/// includes its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct When {
    /// The first microsecond.
    pub(crate) first: Time,
    /// The last microsecond.
    pub(crate) last: Time,
}

const FORMS: &str = "write 2026-11-22, '2026-11-22 06:01', 2026-11-22T06:01:12Z (UTC if no offset is given), or 90s, 15m, 2h, 3d, 4w for that long ago";

impl When {
    /// Reads a text at the time `now`.
    pub(crate) fn parse(text: &str, now: Timestamp) -> Result<Self, String> {
        Self::absolute(text).or_else(|| Self::ago(text, now)).ok_or_else(|| format!("{text:?} is no time: {FORMS}"))
    }

    fn absolute(text: &str) -> Option<Self> {
        let (start, width) = if let Ok(instant) = text.parse::<Timestamp>() {
            (instant, width(text))
        } else if text.len() == 10 {
            (
                utc(text.parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight()))?,
                SignedDuration::from_hours(24),
            )
        } else {
            (utc(text.parse::<DateTime>().ok()?)?, width(text))
        };
        Self::span(start, start.checked_add(width).ok()?.checked_sub(SignedDuration::from_micros(1)).ok()?)
    }

    fn ago(text: &str, now: Timestamp) -> Option<Self> {
        let text = text.strip_suffix("ago").map_or(text, str::trim_end);
        let then = now.checked_sub(duration(text)?).ok()?;
        Self::span(then, then)
    }

    fn span(first: Timestamp, last: Timestamp) -> Option<Self> {
        Some(Self { first: time(first)?, last: time(last)? })
    }
}

/// `90s`, `15m`, `2h`, `3d`, `4w`.
fn duration(text: &str) -> Option<SignedDuration> {
    let unit = text.chars().last()?;
    let count: i64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    Some(SignedDuration::from_secs(count.checked_mul(seconds)?))
}

/// The time that lies so long after `now`, if the text is a duration.
pub(crate) fn from_now(text: &str, now: Timestamp) -> Option<Time> {
    time(now.checked_add(duration(text)?).ok()?)
}

/// How much a time of day names: its last digit decides.
fn width(text: &str) -> SignedDuration {
    let clock = text.split(['T', 't', ' ']).nth(1).unwrap_or_default();
    let clock = clock.split(['Z', 'z', '+', '-', '[']).next().unwrap_or_default();
    if clock.contains(['.', ',']) {
        SignedDuration::from_micros(1)
    } else if clock.matches(':').count() > 1 || !clock.contains(':') && clock.len() > 4 {
        SignedDuration::from_secs(1)
    } else {
        SignedDuration::from_mins(1)
    }
}

fn utc(civil: DateTime) -> Option<Timestamp> {
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn time(instant: Timestamp) -> Option<Time> {
    Time::from_micros(u64::try_from(instant.as_microsecond()).ok()?).ok()
}

/// Now, by this machine's clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// How long before `now` an entry was written, in words.
pub(crate) fn ago(then: Time, now: Timestamp) -> String {
    let now = u64::try_from(now.as_second()).unwrap_or_default();
    let seconds = now.saturating_sub(then.micros() / 1_000_000);
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

/// A time to the second, for tables.
pub(crate) fn short(time: Time) -> String {
    let text = time.to_string();
    text.get(..19).unwrap_or(&text).replacen('T', " ", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (String, String) {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let when = When::parse(text, now).unwrap();
        (when.first.to_string(), when.last.to_string())
    }

    #[test]
    fn a_text_names_the_span_that_it_is_exact_to() {
        let span = |a: &str, b: &str| (format!("2026-11-{a}Z"), format!("2026-11-{b}Z"));
        assert_eq!(parse("2026-11-22"), span("22T00:00:00.000000", "22T23:59:59.999999"));
        assert_eq!(parse("2026-11-22 06:01"), span("22T06:01:00.000000", "22T06:01:59.999999"));
        assert_eq!(parse("2026-11-22 06:01:12"), span("22T06:01:12.000000", "22T06:01:12.999999"));
        assert_eq!(parse("2026-11-22T06:01:12+01:00"), span("22T05:01:12.000000", "22T05:01:12.999999"));
        assert_eq!(parse("2026-11-22T06:01:12.000500Z"), span("22T06:01:12.000500", "22T06:01:12.000500"));
        assert_eq!(parse("2h"), span("22T10:00:00.000000", "22T10:00:00.000000"));
        assert_eq!(parse("1d ago"), span("21T12:00:00.000000", "21T12:00:00.000000"));
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_forms() {
        for bad in ["", "x", "yesterday", "2026-13-01", "5y", "99999999999999999999s", "1969-01-01", "é"] {
            let problem = When::parse(bad, now()).unwrap_err();
            assert!(problem.contains("2026-11-22"), "{bad}: {problem}");
        }
    }

    #[test]
    fn ago_counts_in_the_unit_people_would_use() {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let ago = |text: &str| super::ago(text.parse().unwrap(), now);
        assert_eq!(ago("2026-11-22T11:59:59.000000Z"), "1 second ago");
        assert_eq!(ago("2026-11-22T11:00:00.000000Z"), "1 hour ago");
        assert_eq!(ago("2026-11-12T12:00:00.000000Z"), "10 days ago");
        assert_eq!(ago("2026-11-22T12:00:09.000000Z"), "0 seconds ago");
    }
}
