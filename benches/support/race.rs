//! Measures contestants side by side.
//!
//! The machine is never quiet, and it is not the same in the next minute. So
//! contestants take turns, round by round, and what counts is the ratio within
//! a round; the median of the rounds is reported, with the spread.

use std::ops::Range;
use std::time::{Duration, Instant};

/// One who does the work, with a name.
pub(crate) struct Contestant<'a> {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn FnMut(Range<u64>) + 'a>,
    /// Done between turns and not measured: lets background work end.
    pub(crate) rest: Box<dyn FnMut() + 'a>,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(name: &'static str, run: impl FnMut(Range<u64>) + 'a) -> Self {
        Self { name, run: Box::new(run), rest: Box::new(|| {}) }
    }

    pub(crate) fn resting(self, rest: impl FnMut() + 'a) -> Self {
        Self { rest: Box::new(rest), ..self }
    }
}

/// What one contestant took for a round.
#[derive(Clone, Copy)]
struct Lap {
    wall: Duration,
    processor: Duration,
}

/// Microseconds an entry that one contestant took, round by round.
pub(crate) struct Result {
    pub(crate) name: &'static str,
    entries: u64,
    laps: Vec<Lap>,
}

impl Result {
    /// The median of the rounds.
    pub(crate) fn micros(&self) -> f64 {
        median(self.laps.iter().map(|lap| self.each(lap.wall)).collect())
    }

    /// The same for the time on all processors.
    pub(crate) fn processor_micros(&self) -> f64 {
        median(self.laps.iter().map(|lap| self.each(lap.processor)).collect())
    }

    pub(crate) fn per_second(&self) -> f64 {
        1e6 / self.micros()
    }

    /// What both take, one after the other.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let laps = self.laps.iter().zip(&other.laps);
        let laps = laps.map(|(a, b)| Lap { wall: a.wall + b.wall, processor: a.processor + b.processor }).collect();
        Self { name: self.name, entries: self.entries, laps }
    }

    fn each(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.entries as f64
    }

    /// How many times as fast as `other` this is: median, least and most of
    /// the rounds.
    pub(crate) fn times(&self, other: &Self) -> Times {
        let ratios: Vec<f64> =
            self.laps.iter().zip(&other.laps).map(|(a, b)| other.each(b.wall) / self.each(a.wall)).collect();
        Times {
            least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            most: ratios.iter().copied().fold(0.0, f64::max),
            median: median(ratios),
        }
    }
}

/// A ratio of speeds over several rounds.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 0 => f64::midpoint(values[n / 2 - 1], values[n / 2]),
        n => values[n / 2],
    }
}

/// Lets each contestant do `rounds` rounds of `entries` entries and prints what
/// they took.
pub(crate) fn race(title: &str, rounds: u64, entries: u64, contestants: Vec<Contestant<'_>>) -> Vec<Result> {
    let mut contestants = contestants;
    let mut results: Vec<Result> =
        contestants.iter().map(|c| Result { name: c.name, entries, laps: Vec::new() }).collect();
    for round in 0..rounds {
        for (contestant, result) in contestants.iter_mut().zip(&mut results) {
            let (start, processor) = (Instant::now(), processor_time());
            (contestant.run)(round * entries..(round + 1) * entries);
            let lap = Lap { wall: start.elapsed(), processor: processor_time().saturating_sub(processor) };
            result.laps.push(lap);
            (contestant.rest)();
        }
    }
    println!("\n{title}: {rounds} rounds of {entries}");
    println!("  {:<44}{:>10}{:>10}{:>12}", "", "us each", "us cpu", "per second");
    for result in &results {
        println!(
            "  {:<44}{:>10.2}{:>10.2}{:>12.0}",
            result.name,
            result.micros(),
            result.processor_micros(),
            result.per_second()
        );
    }
    results
}

/// What all threads of this process have had so far.
fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// The rows of the last table.
#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

struct Row {
    what: String,
    ours: f64,
    theirs: f64,
    times: Times,
    goal: f64,
}

impl Table {
    /// Notes how `ours` compares with `theirs`, and how it should.
    pub(crate) fn add(&mut self, what: &str, ours: &Result, theirs: &Result, goal: f64) {
        self.0.push(Row {
            what: what.to_owned(),
            ours: ours.per_second(),
            theirs: theirs.per_second(),
            times: ours.times(theirs),
            goal,
        });
    }

    pub(crate) fn print(&self) {
        println!("\nratios (ours / other, median of the rounds, least and most)\n");
        println!(
            "| {:<58} | {:>9} | {:>9} | {:>6} | {:>12} | {:>5} | {:<4} |",
            "what", "ours/s", "other/s", "ratio", "spread", "goal", ""
        );
        println!("|{:-<60}|{:->11}|{:->11}|{:->8}|{:->14}|{:->7}|{:-<6}|", "", ":", ":", ":", ":", ":", "");
        for row in &self.0 {
            let spread = format!("{:.2}-{:.2}", row.times.least, row.times.most);
            let (goal, met) = if row.goal > 0.0 {
                (format!("{:.2}", row.goal), if row.times.median >= row.goal { "met" } else { "MISS" })
            } else {
                (String::new(), "")
            };
            println!(
                "| {:<58} | {:>9.0} | {:>9.0} | {:>6.2} | {:>12} | {:>5} | {:<4} |",
                row.what, row.ours, row.theirs, row.times.median, spread, goal, met
            );
        }
    }
}
