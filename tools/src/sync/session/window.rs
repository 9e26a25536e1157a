//! How much goes in one request.

use std::time::Duration;

use crate::sync::wire::MAX_IDS;

/// How long a window should take.
const WINDOW_TIME: Duration = Duration::from_secs(4);

/// Bytes of the first window, before the line is known, and of the smallest
/// and largest one.
const FIRST_WINDOW: u64 = 16 << 10;
const LEAST_WINDOW: u64 = 2 << 10;
const MOST_WINDOW: u64 = 16 << 20;

/// What an entry takes on the wire before any was seen.
const ENTRY_BYTES: u64 = 600;

/// Hardly an entry takes less: without its data it has some 220.
const LEAST_ENTRY_BYTES: u64 = 256;

/// What takes a few seconds on this line, so that a break costs little and a
/// good line is not kept waiting.
pub(super) struct Window {
    /// Bytes of a request.
    pub(super) bytes: u64,
    /// What an entry takes on the wire.
    pub(super) entry_bytes: u64,
}

impl Window {
    pub(super) const fn new() -> Self {
        Self { bytes: FIRST_WINDOW, entry_bytes: ENTRY_BYTES }
    }

    /// Entries that about fill it.
    pub(super) fn entries(&self) -> usize {
        usize::try_from(self.bytes / self.entry_bytes).unwrap_or(usize::MAX).max(1)
    }

    /// Entries that it holds at most, however small they are.
    pub(super) fn most_entries(&self) -> usize {
        usize::try_from(self.bytes / LEAST_ENTRY_BYTES).unwrap_or(usize::MAX).clamp(1, MAX_IDS)
    }

    /// So many bytes took so long.
    pub(super) fn measure(&mut self, bytes: u64, entries: u64, time: Duration) {
        if let Some(each) = bytes.checked_div(entries) {
            self.entry_bytes = each.max(64);
        }
        let wanted = bytes as f64 / time.as_secs_f64().max(0.001) * WINDOW_TIME.as_secs_f64();
        let wanted = wanted.min(self.bytes as f64 * 4.0) as u64;
        self.bytes = wanted.clamp(LEAST_WINDOW, MOST_WINDOW);
    }

    pub(super) fn shrink(&mut self) {
        self.bytes = (self.bytes / 2).max(LEAST_WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_follows_the_line() {
        let mut window = Window::new();
        for _ in 0..10 {
            let bytes = window.bytes;
            window.measure(bytes, bytes / 500, Duration::from_secs_f64(bytes as f64 / 1024.0));
        }
        assert_eq!((window.bytes, window.entries()), (4096, 8));
        for _ in 0..10 {
            let bytes = window.bytes;
            window.measure(bytes, bytes / 500, Duration::from_secs_f64(bytes as f64 / 100e6));
        }
        assert_eq!(window.bytes, MOST_WINDOW);
        for _ in 0..20 {
            window.shrink();
        }
        assert_eq!(window.bytes, LEAST_WINDOW);
    }
}
