//! Threads that share work for as long as a call lasts. The system may give none, or fewer
//! than were asked for: one is enough, and without any the call fails.

use std::path::Path;
use std::thread::{Builder, Scope};

use crate::error::{Error, Result};

/// Starts up to `most` threads that work on the database in `dir`.
pub(crate) fn start<'scope, Work: FnOnce() + Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    dir: &Path,
    most: usize,
    work: impl Fn() -> Work,
) -> Result<()> {
    start_one(scope, dir, work())?;
    // As many as there are.
    for _ in 1..most {
        if start_one(scope, dir, work()).is_err() {
            break;
        }
    }
    Ok(())
}

/// Starts a thread.
pub(crate) fn start_one<'scope>(
    scope: &'scope Scope<'scope, '_>,
    dir: &Path,
    work: impl FnOnce() + Send + 'scope,
) -> Result<()> {
    let started = Builder::new().spawn_scoped(scope, work);
    started.map(drop).map_err(Error::file(dir, "cannot be worked on, for want of a thread"))
}
