//! Progress of long work: a bar on a terminal, lines of JSON on request.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::output::grouped;

/// How progress is shown, always on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// A bar if stderr is a terminal.
    #[default]
    Auto,
    /// A line of JSON twice a second.
    Json,
    /// Nothing.
    Off,
}

const EVERY: Duration = Duration::from_millis(500);

/// The progress of one command.
pub(crate) struct Meter {
    operation: &'static str,
    start: Instant,
    last: Instant,
    kind: Kind,
}

enum Kind {
    Bar(ProgressBar),
    Json,
    Off,
}

/// One line of `--progress json`; `docs/cli.md` lists the members.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    op: &'a str,
    done: u64,
    total: Option<u64>,
    bytes: u64,
    rate: u64,
    eta_s: Option<u64>,
}

impl Meter {
    /// Starts to measure an operation, named by what is going on: `verifying`.
    pub(crate) fn new(progress: Progress, operation: &'static str) -> Self {
        let kind = match progress {
            Progress::Auto if io::stderr().is_terminal() => Kind::Bar(bar(operation)),
            Progress::Json => Kind::Json,
            Progress::Auto | Progress::Off => Kind::Off,
        };
        let start = Instant::now();
        Self { operation, start, last: start, kind }
    }

    /// Tells how far the work is; `total` is 0 while nobody knows.
    pub(crate) fn update(&mut self, done: u64, total: u64, bytes: u64) {
        match &self.kind {
            Kind::Bar(bar) => {
                if total > 0 {
                    if bar.length().is_none() {
                        bar.set_style(style(WITH_TOTAL));
                    }
                    bar.set_length(total.max(done));
                }
                bar.set_position(done);
                let speed = grouped(rate(done, self.start.elapsed()));
                bar.set_message(format!("{}  {speed}/s", grouped(done)));
            }
            Kind::Json if self.last.elapsed() >= EVERY => {
                self.last = Instant::now();
                self.json(done, total, bytes);
            }
            Kind::Json | Kind::Off => {}
        }
    }

    /// Ends the bar, or writes the last line.
    pub(crate) fn end(self, done: u64, bytes: u64) {
        match &self.kind {
            Kind::Bar(bar) => bar.finish_and_clear(),
            Kind::Json => self.json(done, done, bytes),
            Kind::Off => {}
        }
    }

    fn json(&self, done: u64, total: u64, bytes: u64) {
        let rate = rate(done, self.start.elapsed());
        let total = (total > 0 || done == 0).then_some(total);
        let eta_s = total.and_then(|total| total.saturating_sub(done).checked_div(rate));
        let line = Line { kind: "progress", op: self.operation, done, total, bytes, rate, eta_s };
        let text = serde_json::to_string(&line).expect("numbers and short words");
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// Done a second.
pub(crate) fn rate(done: u64, elapsed: Duration) -> u64 {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    done.saturating_mul(1_000) / millis
}

const WITHOUT_TOTAL: &str = "{prefix} {spinner}  {msg}";
const WITH_TOTAL: &str = "{prefix} {wide_bar:.cyan} {percent:>3}%  {msg}  {eta:.dim}";

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constants")
}

fn bar(operation: &'static str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    bar.set_style(style(WITHOUT_TOTAL));
    bar.set_prefix(operation);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_bear_no_time_at_all() {
        assert_eq!(rate(5, Duration::ZERO), 5_000);
        assert_eq!(rate(5_000, Duration::from_secs(2)), 2_500);
        assert_eq!(rate(u64::MAX, Duration::from_secs(1)), u64::MAX / 1_000);
    }
}
