//! What is due by the policies of `thingdb retain` is erased when a server begins, and
//! each day from then on.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use thingdb::{Db, DuePlan};
use tokio::time::MissedTickBehavior;

use crate::console::Console;
use crate::error::{Failure, Outcome};
use crate::server::shutdown::Shutdown;
use crate::text::{counted, printable};
use crate::view::when;

/// How often it is looked for.
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Begins. The thread ends when the server does. Where there is no log, `console` is
/// told.
pub(super) fn start(db: &Arc<Db>, shutdown: &Shutdown, console: Option<Console>) -> Outcome<JoinHandle<()>> {
    let failed = |problem: &std::io::Error| Failure::system("no threads", problem);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(|it| failed(&it))?;
    let (db, shutdown) = (Arc::clone(db), shutdown.clone());
    let work = move || {
        runtime.block_on(async {
            let mut every = tokio::time::interval(EVERY);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    () = shutdown.requested() => return,
                    _ = every.tick() => once(&db, console.as_ref()),
                }
            }
        });
    };
    std::thread::Builder::new().name("retention".into()).spawn(work).map_err(|it| failed(&it))
}

fn once(db: &Db, console: Option<&Console>) {
    match erase_due(db) {
        Err(failure) => {
            let fact = failure.whole();
            tracing::error!(problem = %fact, "what is due could not be erased; the next try is tomorrow");
            if let Some(console) = console {
                console.warning("retention", format!("what is due could not be erased: {fact}")).say();
            }
        }
        Ok((due, entries)) => {
            for thing in due.held() {
                tracing::warn!(thing = %printable(thing.as_str()), "on hold: what is due of it stays");
            }
            for thing in due.damaged() {
                tracing::error!(thing = %printable(thing.as_str()), "damaged: what is due of it cannot be told");
            }
            if due.plans().is_empty() {
                return;
            }
            let things = due.plans().len() as u64;
            tracing::info!(entries, things, "what was due is erased");
            if let Some(console) = console {
                let (entries, things) = (counted(entries, "entry", "entries"), counted(things, "thing", "things"));
                console.note(&format!("what was due is erased: the content of {entries} of {things}"));
            }
        }
    }
}

/// Erases what is due now: of how many entries.
fn erase_due(db: &Db) -> Outcome<(DuePlan, u64)> {
    if db.retentions()?.is_empty() {
        return Ok((DuePlan::default(), 0));
    }
    let due = db.plan_due(when::entry_time()?)?;
    if due.plans().is_empty() {
        return Ok((due, 0));
    }
    let erased = db.erase_due(&due)?;
    Ok((due, erased.entries))
}
