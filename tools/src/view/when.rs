//! Times as people write them on a command line.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use thingdb::Time;

use crate::error::{Failure, Outcome};

/// The span that a text names: `2026` is a whole year, `2026-11-22` a whole day,
/// a time without a fraction a whole second. So a time that was copied from
/// `thingdb log` includes its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct When {
    /// The first microsecond.
    pub(crate) first: Time,
    /// The last microsecond.
    pub(crate) last: Time,
}

const FORMS: &str = "write 2026, 2026-11, 2026-11-22, '2026-11-22 06:01', 2026-11-22T06:01:12Z (UTC if no offset is given), today, yesterday, or 90s, 15m, 2h, 3d, 4w for that long ago";

/// Numbers of four digits that are taken as years.
const YEARS: std::ops::RangeInclusive<u64> = 1970..=2199;

/// The time of a cosignature, which is in seconds since 1970.
pub(crate) fn of_seconds(seconds: u64) -> Time {
    Time::from_micros(seconds.saturating_mul(1_000_000)).unwrap_or(Time::MAX)
}

impl When {
    /// Reads a text at the time `now`.
    pub(crate) fn parse(text: &str, now: Timestamp) -> Result<Self, String> {
        Self::absolute(text)
            .or_else(|| Self::calendar(text, now))
            .or_else(|| Self::ago(text, now))
            .ok_or_else(|| format!("{text:?} is no time: {FORMS}"))
    }

    /// A year, a month, a day, or the name of one, in UTC.
    fn calendar(text: &str, now: Timestamp) -> Option<Self> {
        let today = now.to_zoned(TimeZone::UTC).date();
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let (first, end) = match (text, text.split_once('-')) {
            ("today", _) => (today, today.tomorrow().ok()?),
            ("yesterday", _) => (today.yesterday().ok()?, today),
            (year, None) if year.len() == 4 => {
                let first = Date::new(digits(year)?, 1, 1).ok()?;
                (first, first.checked_add(1.year()).ok()?)
            }
            (_, Some((year, month))) if year.len() == 4 && month.len() == 2 => {
                let first = Date::new(digits(year)?, i8::try_from(digits(month)?).ok()?, 1).ok()?;
                (first, first.checked_add(1.month()).ok()?)
            }
            _ if text.len() == 10 => {
                let day: Date = text.parse().ok()?;
                (day, day.tomorrow().ok()?)
            }
            _ => return None,
        };
        let midnight = |day: Date| utc(day.to_datetime(jiff::civil::Time::midnight()));
        Self::span(midnight(first)?, midnight(end)?.checked_sub(SignedDuration::from_micros(1)).ok()?)
    }

    fn absolute(text: &str) -> Option<Self> {
        let (start, width) = if let Ok(instant) = text.parse::<Timestamp>() {
            (instant, width(text))
        } else if text.len() <= 10 {
            return None;
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

/// Whether a number is taken as a year where it could be a seq too.
pub(crate) fn is_year(number: u64) -> bool {
    YEARS.contains(&number)
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

/// Now, as entries have it.
pub(crate) fn entry_time() -> Outcome<Time> {
    let micros = u64::try_from(now().as_microsecond()).unwrap_or_default();
    Time::from_micros(micros).map_err(|problem| Failure::usage(format!("this machine's clock: {problem}")))
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
        assert_eq!(parse("today"), span("22T00:00:00.000000", "22T23:59:59.999999"));
        assert_eq!(parse("yesterday"), span("21T00:00:00.000000", "21T23:59:59.999999"));
        assert_eq!(parse("2026-11"), span("01T00:00:00.000000", "30T23:59:59.999999"));
        assert_eq!(parse("2024").0, "2024-01-01T00:00:00.000000Z");
        assert_eq!(parse("2024").1, "2024-12-31T23:59:59.999999Z");
        assert_eq!(parse("2024-02").1, "2024-02-29T23:59:59.999999Z");
        assert_eq!(parse("2026-11-22 06:01"), span("22T06:01:00.000000", "22T06:01:59.999999"));
        assert_eq!(parse("2026-11-22 06:01:12"), span("22T06:01:12.000000", "22T06:01:12.999999"));
        assert_eq!(parse("2026-11-22T06:01:12+01:00"), span("22T05:01:12.000000", "22T05:01:12.999999"));
        assert_eq!(parse("2026-11-22T06:01:12.000500Z"), span("22T06:01:12.000500", "22T06:01:12.000500"));
        assert_eq!(parse("2h"), span("22T10:00:00.000000", "22T10:00:00.000000"));
        assert_eq!(parse("1d ago"), span("21T12:00:00.000000", "21T12:00:00.000000"));
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_forms() {
        for bad in [
            "",
            "x",
            "tomorrow",
            "2026-13-01",
            "2026-13",
            "2026-1",
            "20",
            "12026",
            "+026",
            "2026-+1",
            "1969",
            "5y",
            "99999999999999999999s",
            "1969-01-01",
            "é",
        ] {
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
