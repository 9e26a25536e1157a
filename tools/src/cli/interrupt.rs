//! Ctrl-C, SIGTERM and SIGHUP for the commands that write in batches: the first
//! one asks them to stop after the batch, the second one stops at once.

use std::sync::atomic::{AtomicBool, Ordering};

use super::error::Exit;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Takes the signals over. Without this call they end the process, which is
/// right for every command that only reads.
pub(crate) fn watch() {
    // It fails only if a handler is there already, and then that one is ours.
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(Exit::Interrupted as i32);
        }
    });
}

/// Whether somebody asked us to stop.
pub(crate) fn is_requested() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}
