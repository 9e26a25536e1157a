//! How fast bytes may go, how long nothing may come, and what went.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Nobody waits longer than this without looking whether it should end.
pub(crate) const SLICE: Duration = Duration::from_millis(200);

/// How a line is used.
#[derive(Clone)]
pub(crate) struct Pace {
    /// Bytes a second in each direction, at most.
    pub(crate) rate: Option<u64>,
    /// A line on which nothing moves for so long is broken.
    pub(crate) stall: Duration,
    /// Until when there is time for all of it, and how long that was; for ever if absent.
    pub(crate) limit: Option<Limit>,
    /// Whether everything should end.
    pub(crate) is_cancelled: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Until when there is time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    end: Instant,
    time: Duration,
}

impl Limit {
    /// From now on.
    pub(crate) fn of(time: Duration) -> Self {
        Self { end: Instant::now() + time, time }
    }
}

impl Pace {
    /// Whether it goes on.
    ///
    /// # Errors
    /// Somebody wants it to end, or the time is over.
    pub(crate) fn goes_on(&self) -> io::Result<()> {
        if (self.is_cancelled)() {
            return Err(cancelled());
        }
        match self.limit {
            Some(Limit { end, time }) if Instant::now() >= end => {
                let fact = format!("not done within {} s", time.as_secs());
                Err(io::Error::new(io::ErrorKind::TimedOut, fact))
            }
            _ => Ok(()),
        }
    }

    /// Waits, unless everything should end.
    pub(crate) fn sleep(&self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        loop {
            self.goes_on()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(SLICE));
        }
    }

    /// Does what cannot be broken off on a thread of its own, and leaves it there
    /// if everything should end meanwhile.
    pub(crate) fn aside<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (done, waits) = sync_channel(1);
        // Nobody may wait for it any more.
        thread::Builder::new().spawn(move || drop(done.send(act())))?;
        loop {
            match waits.recv_timeout(SLICE) {
                Ok(done) => return Ok(done),
                Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("it ended without a result")),
                Err(RecvTimeoutError::Timeout) => self.goes_on()?,
            }
        }
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").field("rate", &self.rate).field("stall", &self.stall).finish_non_exhaustive()
    }
}

/// Somebody wants it to end.
#[derive(Debug)]
struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Cancelled {}

/// The same as a problem of the line. Not [`io::ErrorKind::Interrupted`]: what
/// reads to an end takes that for a reason to try again, for ever.
pub(crate) fn cancelled() -> io::Error {
    io::Error::other(Cancelled)
}

/// Whether a problem of the line is that somebody wants it to end.
pub(crate) fn is_cancelled(problem: &io::Error) -> bool {
    problem.get_ref().is_some_and(|cause| cause.is::<Cancelled>())
}

/// Bytes on the wire, over all connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic(Arc<[AtomicU64; 2]>);

impl Traffic {
    /// Bytes that were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.0[0].load(Ordering::Relaxed)
    }

    /// Bytes that came.
    pub(crate) fn received(&self) -> u64 {
        self.0[1].load(Ordering::Relaxed)
    }

    pub(crate) fn count_sent(&self, bytes: usize) {
        self.0[0].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_received(&self, bytes: usize) {
        self.0[1].fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Lets bytes through at a rate: each is paid for by waiting before the next.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Option<u64>,
    free_at: Instant,
}

impl Bucket {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Self { rate, free_at: Instant::now() }
    }

    /// How many bytes may go at once, so that they flow rather than jump.
    pub(crate) fn portion(&self, wanted: usize) -> usize {
        self.rate.map_or(wanted, |rate| wanted.min(usize::try_from(rate / 4).unwrap_or(usize::MAX).max(256)))
    }

    /// Waits until what went before is paid for.
    pub(crate) fn wait(&self, pace: &Pace) -> io::Result<()> {
        match self.free_at.checked_duration_since(Instant::now()) {
            Some(time) if self.rate.is_some() => pace.sleep(time),
            _ => Ok(()),
        }
    }

    /// So many bytes have gone.
    pub(crate) fn pay(&mut self, bytes: usize) {
        if let Some(rate) = self.rate {
            let time = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
            self.free_at = self.free_at.max(Instant::now()) + time;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};

    use super::*;

    struct Stopped;

    impl Read for Stopped {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(cancelled())
        }
    }

    #[test]
    fn what_has_a_limit_ends_at_it() {
        let limit = Some(Limit::of(Duration::ZERO));
        let pace = Pace { rate: None, stall: SLICE, limit, is_cancelled: Arc::new(|| false) };
        for problem in [pace.goes_on(), pace.sleep(SLICE), pace.aside(|| thread::sleep(2 * SLICE))] {
            let problem = problem.unwrap_err();
            assert!(!is_cancelled(&problem) && problem.to_string() == "not done within 0 s", "{problem}");
        }
        let pace = Pace { limit: None, ..pace };
        assert!(pace.goes_on().is_ok() && pace.sleep(Duration::ZERO).is_ok());
    }

    #[test]
    fn who_reads_to_an_end_stops_when_it_is_cancelled() {
        let until = BufReader::new(Stopped).read_until(b'\n', &mut Vec::new());
        let exact = Stopped.read_exact(&mut [0]);
        let all = Stopped.read_to_end(&mut Vec::new());
        for problem in [until.map(drop), exact, all.map(drop)] {
            assert!(is_cancelled(&problem.unwrap_err()));
        }
        assert!(!is_cancelled(&io::Error::other("something else")));
    }
}
