//! What all requests share: the database, the limits, the counters; and how the
//! synchronous engine is called from asynchronous threads.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use thingdb::{Db, TokenId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::config::Limits;
use super::metrics::Metrics;
use super::problem::Problem;
use super::shutdown::Shutdown;
use crate::sync::reconcile::LastIds;

/// How often followers may learn of new entries.
const GROWTH_EVERY: Duration = Duration::from_millis(100);

/// Clients whose rate is remembered. Beyond it the oldest knowledge is thrown
/// away, which lets clients through and takes no memory.
const MAX_RATES: usize = 10_000;

/// The node that is served.
pub(crate) struct Node {
    /// The database.
    pub(crate) db: Arc<Db>,
    /// How much is taken.
    pub(crate) limits: Limits,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// Everything comes to its end.
    pub(crate) shutdown: Shutdown,
    /// Streams that are still under way are left.
    pub(crate) leave: Shutdown,
    /// The ids that other nodes compare with theirs.
    pub(crate) ids: LastIds,
    /// Permits for imports.
    pub(crate) imports: Arc<Semaphore>,
    /// Permits for exports.
    pub(crate) exports: Arc<Semaphore>,
    /// Permits for exports that follow.
    pub(crate) followers: Arc<Semaphore>,
    /// Permits for requests.
    pub(crate) requests: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    /// A permit a KiB.
    bodies: Arc<Semaphore>,
    rates: Mutex<HashMap<Client, Arc<Share>>>,
    size: watch::Sender<u64>,
}

/// Whose rate is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// Who has this token.
    Token(TokenId),
    /// Who is refused, by address.
    Address(IpAddr),
}

/// What one client takes of the server.
pub(crate) struct Share {
    rate: DefaultDirectRateLimiter,
    requests: AtomicUsize,
}

/// A request of a client, while it is under way.
pub(crate) struct Turn(Arc<Share>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Node {
    /// A node that serves `db`.
    pub(crate) fn new(db: Arc<Db>, limits: Limits, shutdown: Shutdown) -> Self {
        let size = watch::Sender::new(db.ledger_size());
        let permits = |count: usize| Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            db,
            metrics: Metrics::new(),
            ids: LastIds::default(),
            shutdown,
            leave: Shutdown::new(),
            imports: permits(limits.imports),
            exports: permits(limits.exports),
            followers: permits(limits.followers),
            requests: permits(limits.requests),
            calls: permits(limits.calls),
            bodies: permits(usize::try_from(limits.bodies_bytes >> 10).unwrap_or(usize::MAX)),
            rates: Mutex::default(),
            size,
            limits,
        }
    }

    /// Calls into the database off the threads that serve connections.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Db) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = Arc::clone(&self.calls).acquire_owned().await.map_err(|_| Problem::busy("the server stops"))?;
        let db = Arc::clone(&self.db);
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            act(&db)
        });
        done.await.map_err(|problem| Problem::unexpected(problem.to_string()))?
    }

    /// Looks one thing up on the thread that serves the connection: that takes
    /// less time than to hand it to another one. The threads are more than the
    /// cores, so that one that has to wait for the disk holds up few.
    pub(crate) fn look<T>(&self, act: impl FnOnce(&Db) -> Result<T, Problem>) -> Result<T, Problem> {
        act(&self.db)
    }

    /// Takes part of the memory for bodies that are read as a whole.
    pub(crate) async fn room_for(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Problem> {
        let most = self.limits.bodies_bytes >> 10;
        let kib = u32::try_from((bytes >> 10).saturating_add(1).min(most)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.bodies).acquire_many_owned(kib);
        match tokio::time::timeout(self.limits.stall, room).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Problem::busy("too many large bodies at once")),
        }
    }

    /// A place among few, or "busy".
    pub(crate) fn place(places: &Arc<Semaphore>, what: &str) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(places).try_acquire_owned().map_err(|_| Problem::busy(format!("too many {what} at once")))
    }

    /// Counts one request against the rate of a client.
    pub(crate) fn spend(&self, client: Client) -> Result<(), Problem> {
        self.share(client).spend()
    }

    /// Lets a request of a client begin, if it has not too many.
    pub(crate) fn turn(&self, client: Client) -> Result<Turn, Problem> {
        let share = self.share(client);
        share.spend()?;
        let under_way = share.requests.fetch_add(1, Ordering::Relaxed);
        let turn = Turn(share);
        if under_way >= self.limits.requests_per_token {
            return Err(Problem::too_many("too many requests at once with this token", 1));
        }
        Ok(turn)
    }

    fn share(&self, client: Client) -> Arc<Share> {
        let mut rates = self.rates.lock().expect("no thread panics while it holds the rates");
        if rates.len() >= MAX_RATES {
            // Who has a request under way is held by it.
            rates.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let new = || {
            let rate = NonZeroU32::new(self.limits.rate).unwrap_or(NonZeroU32::MAX);
            Arc::new(Share { rate: RateLimiter::direct(Quota::per_second(rate)), requests: AtomicUsize::new(0) })
        };
        Arc::clone(rates.entry(client).or_insert_with(new))
    }

    /// The size of the ledger, as followers see it.
    pub(crate) fn growth(&self) -> watch::Receiver<u64> {
        self.size.subscribe()
    }

    /// Tells followers when the ledger grows, until everything ends.
    pub(crate) async fn watch_growth(&self) {
        let mut every = tokio::time::interval(GROWTH_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = every.tick() => {}
                () = self.shutdown.requested() => return,
            }
            let size = self.db.ledger_size();
            self.size.send_if_modified(|known| std::mem::replace(known, size) != size);
        }
    }
}

impl Share {
    fn spend(&self) -> Result<(), Problem> {
        let clock = DefaultClock::default();
        self.rate.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(clock.now());
            Problem::too_many("too many requests", wait.as_secs().saturating_add(1))
        })
    }
}
