//! Times in tables: how long ago, for who looks at a terminal; by the clock for
//! all others.

use jiff::Timestamp;
use thingdb::Time;

use super::output::Output;
use crate::view::paint::{Paint, Painted};
use crate::view::when;

/// From this width on there is room for both.
const BOTH_COLUMNS: u16 = 100;

/// How the times in tables are shown.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct TimesArgs {
    /// Show times to the second in UTC, as a pipe gets them, and not how long ago
    #[arg(long, conflicts_with = "iso")]
    utc: bool,

    /// Show times whole, as RFC 3339
    #[arg(long)]
    iso: bool,
}

/// How the times of one table are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    style: Style,
    now: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Iso,
    Clock,
    Ago,
    Both,
}

impl Times {
    /// As the arguments and the output want them.
    pub(crate) fn new(args: TimesArgs, output: &Output) -> Self {
        let style = match output.columns() {
            _ if args.iso => Style::Iso,
            _ if args.utc || !output.is_terminal() => Style::Clock,
            Some(columns) if columns < BOTH_COLUMNS && !output.is_wide() => Style::Ago,
            _ => Style::Both,
        };
        Self { style, now: when::now() }
    }

    /// What stands above the times called `name`.
    pub(crate) fn header(self, name: Header) -> &'static str {
        let [clock, other] = name.0;
        if self.style == Style::Clock || self.style == Style::Both { clock } else { other }
    }

    /// A time.
    pub(crate) fn cell(self, time: Time) -> Painted {
        match self.style {
            Style::Iso => time.to_string().into(),
            Style::Clock => when::short(time).into(),
            Style::Ago => self.ago(time).unwrap_or_else(|| when::short(time).chars().take(10).collect()).into(),
            Style::Both => match self.ago(time) {
                Some(ago) => Painted::from(when::short(time)).and(Paint::Faint, format!("  {ago}")),
                None => when::short(time).into(),
            },
        }
    }

    /// How long ago, if that tells more than the date.
    fn ago(self, time: Time) -> Option<String> {
        let now = self.now.as_microsecond();
        let then = i64::try_from(time.micros()).ok()?;
        let seconds = now.checked_sub(then)?.checked_div(1_000_000)?;
        let (count, unit) = match seconds.unsigned_abs() {
            0..60 => (seconds, "s"),
            60..3_600 => (seconds / 60, "min"),
            3_600..172_800 => (seconds / 3_600, "h"),
            172_800..2_592_000 => (seconds / 86_400, "d"),
            _ => return None,
        };
        Some(if count < 0 { format!("in {} {unit}", count.unsigned_abs()) } else { format!("{count} {unit} ago") })
    }
}

/// What may stand above times: where the clock is shown, and elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header([&'static str; 2]);

/// When an entry was written.
pub(crate) const WHEN: Header = Header(["when (UTC)", "when"]);

/// When the last entry was written.
pub(crate) const LAST_ENTRY: Header = Header(["last entry (UTC)", "last entry"]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_unit_that_people_would_use() {
        let show = |style, text: &str| {
            let times = Times { style, now: "2026-11-22T12:00:00Z".parse().unwrap() };
            times.cell(text.parse().unwrap()).to_string()
        };
        assert_eq!(show(Style::Ago, "2026-11-22T11:59:58.500000Z"), "1 s ago");
        assert_eq!(show(Style::Ago, "2026-11-22T11:57:00.000000Z"), "3 min ago");
        assert_eq!(show(Style::Ago, "2026-11-21T12:00:00.000000Z"), "24 h ago");
        assert_eq!(show(Style::Ago, "2026-11-02T12:00:00.000000Z"), "20 d ago");
        assert_eq!(show(Style::Ago, "2025-11-02T12:00:00.000000Z"), "2025-11-02");
        assert_eq!(show(Style::Ago, "2026-11-22T12:04:00.000000Z"), "in 4 min");
        assert_eq!(show(Style::Both, "2026-11-22T11:57:00.000000Z"), "2026-11-22 11:57:00  3 min ago");
        assert_eq!(show(Style::Both, "2025-11-22T11:57:00.000000Z"), "2025-11-22 11:57:00");
        assert_eq!(show(Style::Clock, "2026-11-22T11:57:00.000000Z"), "2026-11-22 11:57:00");
        assert_eq!(show(Style::Iso, "2026-11-22T11:57:00.000001Z"), "2026-11-22T11:57:00.000001Z");
    }
}
