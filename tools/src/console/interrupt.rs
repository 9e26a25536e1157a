//! Ctrl-C, SIGTERM and SIGHUP. They end the process, as always, except where
//! something has to be put in order first: a batch that is being written, a
//! terminal that does not echo. Then the first one only asks to stop, and the
//! second one stops at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::Exit;

/// How many want to be asked first.
static PATIENT: AtomicUsize = AtomicUsize::new(0);
/// How many other programs have the terminal.
static AWAY: AtomicUsize = AtomicUsize::new(0);
static REQUESTED: AtomicBool = AtomicBool::new(false);
static LISTENER: Mutex<Option<Listener>> = Mutex::new(None);
static HANGUP: Mutex<Option<Box<dyn Fn() + Send>>> = Mutex::new(None);

/// What is called once, from another thread, when somebody asks us to stop.
pub(crate) type Listener = Box<dyn FnOnce() + Send>;

fn handle() {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        // Where signals cannot be waited for they end the process, as always.
        let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
        let _ = thread::Builder::new().name("signals".into()).spawn(move || signals.forever().for_each(take));
    });
}

/// From here on a signal ends the process with our exit code, unless somebody is
/// to be asked first.
pub(crate) fn listen() {
    handle();
}

/// While the result lives, Ctrl-C is meant for another program on this terminal.
pub(crate) fn leave_to_another() -> Away {
    handle();
    AWAY.fetch_add(1, Ordering::SeqCst);
    Away
}

/// While it lives, Ctrl-C is meant for another program.
pub(crate) struct Away;

impl Drop for Away {
    fn drop(&mut self) {
        AWAY.fetch_sub(1, Ordering::SeqCst);
    }
}

/// From here on, or no longer, a signal only asks.
pub(crate) fn be_patient(patient: bool) {
    handle();
    if patient {
        PATIENT.fetch_add(1, Ordering::SeqCst);
    } else {
        PATIENT.fetch_sub(1, Ordering::SeqCst);
    }
}

fn take(signal: i32) {
    if signal == SIGINT && AWAY.load(Ordering::SeqCst) > 0 {
        return;
    }
    if signal == SIGHUP
        && let Some(listener) = &*HANGUP.lock().unwrap_or_else(PoisonError::into_inner)
    {
        return listener();
    }
    if PATIENT.load(Ordering::SeqCst) == 0 || REQUESTED.swap(true, Ordering::SeqCst) {
        std::process::exit(Exit::Interrupted as i32);
    }
    let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(listener) = listener {
        listener();
    }
}

/// Has something called at each SIGHUP, which then asks nobody to stop.
pub(crate) fn on_hangup(listener: Box<dyn Fn() + Send>) {
    *HANGUP.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
}

/// Has something called when somebody asks us to stop.
pub(crate) fn on_request(listener: Listener) {
    *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
}

/// Whether somebody asked us to stop.
pub(crate) fn is_requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
