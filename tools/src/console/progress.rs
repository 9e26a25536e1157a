//! Progress of long work: a bar on a terminal, lines of JSON on request.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use serde::Serialize;

use super::Console;
use super::channel::Channel;
use crate::text::grouped;

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

/// From this width on there is room for a bar and for numbers.
const BAR_COLUMNS: u16 = 64;

/// The progress of one command. Its bar goes with it, however the command ends.
pub(crate) struct Meter {
    console: Console,
    operation: &'static str,
    start: Instant,
    last: Instant,
    kind: Kind,
    /// How the bar looks.
    template: Option<&'static str>,
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Kind::Bar(bar) = &self.kind {
            self.console.shown().lock().take();
            bar.finish_and_clear();
        }
    }
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
    pub(crate) fn new(progress: Progress, operation: &'static str, console: &Console) -> Self {
        let kind = match progress {
            Progress::Auto if console.stderr().is_terminal() => {
                let bar = bar(operation, console.stderr());
                *console.shown().lock() = Some(bar.clone());
                Kind::Bar(bar)
            }
            Progress::Json => Kind::Json,
            Progress::Auto | Progress::Off => Kind::Off,
        };
        let start = Instant::now();
        Self { console: console.clone(), operation, start, last: start, kind, template: None }
    }

    /// Tells how far the work is; `total` is 0 while nobody knows.
    pub(crate) fn update(&mut self, done: u64, total: u64, bytes: u64) {
        match &self.kind {
            Kind::Bar(bar) => {
                if total > 0 {
                    // The terminal may have another width by now.
                    let is_narrow = self.console.stderr().columns().is_some_and(|columns| columns < BAR_COLUMNS);
                    let template = match (is_narrow, self.console.is_colourful()) {
                        (true, _) => NARROW,
                        (false, true) => COLOURFUL,
                        (false, false) => WITH_TOTAL,
                    };
                    if self.template != Some(template) {
                        self.template = Some(template);
                        bar.set_style(style(template));
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
            Kind::Json => self.json(done, done, bytes),
            Kind::Bar(_) | Kind::Off => {}
        }
    }

    fn json(&self, done: u64, total: u64, bytes: u64) {
        let rate = rate(done, self.start.elapsed());
        let total = (total > 0 || done == 0).then_some(total);
        let eta_s = total.and_then(|total| total.saturating_sub(done).checked_div(rate));
        let line = Line { kind: "progress", op: self.operation, done, total, bytes, rate, eta_s };
        let text = serde_json::to_string(&line).expect("numbers and short words");
        self.console.plain(&text);
    }
}

/// Done a second.
pub(crate) fn rate(done: u64, elapsed: Duration) -> u64 {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    done.saturating_mul(1_000) / millis
}

const WITHOUT_TOTAL: &str = "{prefix} {spinner}  {wide_msg}";
const NARROW: &str = "{prefix} {percent:>3}%  {wide_msg}";
const WITH_TOTAL: &str = "{prefix} {wide_bar} {percent:>3}%  {msg}  {eta}";

/// Spelled out: the bar's own words for colours look at the terminal of this
/// process, which is not always the one that shows it.
const COLOURFUL: &str = "{prefix} \x1b[36m{wide_bar}\x1b[0m {percent:>3}%  {msg}  \x1b[2m{eta}\x1b[0m";

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constants")
}

fn bar(operation: &'static str, terminal: Channel) -> ProgressBar {
    let screen = Screen { terminal, waiting: Mutex::default() };
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::term_like_with_hz(Box::new(screen), 20));
    bar.set_style(style(WITHOUT_TOTAL));
    bar.set_prefix(operation);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The terminal that shows the bar. What is drawn goes there in one piece.
#[derive(Debug)]
struct Screen {
    terminal: Channel,
    waiting: Mutex<String>,
}

impl Screen {
    fn draw(&self, text: &str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
    }

    fn move_cursor(&self, by: usize, direction: char) {
        if by > 0 {
            self.draw(&format!("\x1b[{by}{direction}"));
        }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        // In the last column some terminals go on to the next line.
        self.terminal.columns().unwrap_or(80).saturating_sub(1)
    }

    fn move_cursor_up(&self, by: usize) -> io::Result<()> {
        self.move_cursor(by, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, by: usize) -> io::Result<()> {
        self.move_cursor(by, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, by: usize) -> io::Result<()> {
        self.move_cursor(by, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, by: usize) -> io::Result<()> {
        self.move_cursor(by, 'D');
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.draw(text);
        self.draw("\n");
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.draw(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.draw("\r\x1b[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let text = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.terminal.clone().write_all(text.as_bytes())
    }
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
