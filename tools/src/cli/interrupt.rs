//! Ctrl-C, SIGTERM and SIGHUP. They end the process, as always, except where
//! something has to be put in order first: a batch that is being written, a
//! terminal that does not echo. Then the first one only asks to stop, and the
//! second one stops at once.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::Exit;

static PATIENT: AtomicBool = AtomicBool::new(false);
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// While it is there, a signal only asks.
pub(crate) struct Patience(());

impl Patience {
    /// From here on a signal only asks.
    pub(crate) fn new() -> Self {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(|| {
            // It fails only if there is a handler already, and there is none.
            let _ = ctrlc::set_handler(|| {
                if !PATIENT.load(Ordering::SeqCst) || REQUESTED.swap(true, Ordering::SeqCst) {
                    std::process::exit(Exit::Interrupted as i32);
                }
            });
        });
        PATIENT.store(true, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        PATIENT.store(false, Ordering::SeqCst);
    }
}

/// Whether somebody asked us to stop.
pub(crate) fn is_requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
