//! How a body must move, and what is read of one that nobody wants. A client
//! that sends or takes a byte now and then would otherwise hold its place for
//! ever.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;

use super::config::Limits;

/// Whether a client keeps up the least rate: it has a time to spend, each byte
/// that moves adds to it, and waiting for the client takes from it. Only time in
/// which it is the client's turn counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    /// Bytes a second.
    rate: u32,
    /// The most that a client can have to spend, and what it begins with.
    most: Duration,
    left: Duration,
}

impl Flow {
    /// A body whose client has moved nothing yet.
    pub(crate) const fn new(limits: &Limits) -> Self {
        Self { rate: limits.min_rate, most: limits.rate_window, left: limits.rate_window }
    }

    /// How long the next piece may take, if a client may pause for `stall`.
    pub(crate) fn patience(&self, stall: Duration) -> Duration {
        self.left.min(stall)
    }

    /// A piece moved after the client was waited for.
    pub(crate) fn moved(&mut self, waited: Duration, bytes: usize) {
        let nanos = (bytes as u64).saturating_mul(1_000_000_000) / u64::from(self.rate.max(1));
        let left = self.left.saturating_sub(waited).saturating_add(Duration::from_nanos(nanos));
        self.left = left.min(self.most);
    }
}

/// What is read of a body that nobody wants.
const DRAINED_BYTES: usize = 16 << 20;
const DRAINED_FOR: Duration = Duration::from_secs(1);

/// Reads what is left of a body, within bounds: who is still sending would
/// otherwise see the connection break instead of the answer.
pub(crate) async fn drain(mut body: Body) {
    let read = async {
        let mut left = DRAINED_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // What was not read in time is not wanted.
    let _ = tokio::time::timeout(DRAINED_FOR, read).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    /// For how many seconds a client is waited for that moves `bytes` every
    /// `seconds`; nothing if for an hour.
    fn lasts(bytes: usize, seconds: u64) -> Option<u64> {
        let mut flow = Flow::new(&Limits::default());
        (0..3_600).step_by(seconds as usize).find(|_| {
            let is_late = flow.patience(STALL) < Duration::from_secs(seconds);
            flow.moved(Duration::from_secs(seconds), bytes);
            is_late
        })
    }

    #[test]
    fn who_drips_is_let_go_and_a_bad_line_is_not() {
        assert!(lasts(1, 20).is_some_and(|seconds| seconds <= 60));
        assert!(lasts(60, 1).is_some(), "a little less than the least rate");
        assert_eq!(lasts(64, 1), None);
        // A line of 1 KiB/s that is gone for 25 seconds, again and again, and
        // one of 100 B/s that moves a packet at a time.
        assert_eq!(lasts(5 << 10, 30), None);
        assert_eq!(lasts(1_460, 15), None);
    }

    #[test]
    fn what_came_fast_is_not_saved_up() {
        let mut flow = Flow::new(&Limits::default());
        flow.moved(Duration::ZERO, 1 << 30);
        assert_eq!(flow.patience(Duration::MAX), Limits::default().rate_window);
    }
}
