//! What all requests share: the database, the limits, the counters; and how the
//! synchronous engine is called from asynchronous threads.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use thingdb::{Db, TokenId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::config::Limits;
use super::ids::Ids;
use super::metrics::Metrics;
use super::places::{self, Place, Places, Scarce};
use super::problem::Problem;
use super::shutdown::Shutdown;

/// How often followers may learn of new entries.
const GROWTH_EVERY: Duration = Duration::from_millis(100);

/// Clients whose rate is remembered. Beyond it the oldest knowledge is thrown
/// away, which lets clients through and takes no memory.
const MAX_RATES: usize = 10_000;

/// Requests without a token that are under way together.
const MAX_NAMELESS: usize = 32;

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
    pub(crate) ids: Ids,
    /// Places for what takes long or takes much.
    pub(crate) places: Places,
    /// Permits for requests.
    requests: Arc<Semaphore>,
    /// Permits for those who show no token.
    nameless: Arc<Semaphore>,
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
    /// Made when they are asked for: who is refused needs none.
    places: OnceLock<Places>,
}

/// A request of a client, while it is under way.
pub(crate) struct Turn(Arc<Share>);

impl Turn {
    /// What the client takes of the server.
    pub(crate) fn share(&self) -> Arc<Share> {
        Arc::clone(&self.0)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Node {
    /// A node that serves `db`.
    pub(crate) fn new(db: Arc<Db>, limits: Limits, shutdown: Shutdown) -> Self {
        let size = watch::Sender::new(db.ledger_size());
        Self {
            db,
            metrics: Metrics::new(),
            ids: Ids::default(),
            shutdown,
            leave: Shutdown::new(),
            places: Places::of_all(&limits),
            requests: Arc::new(Semaphore::new(limits.requests.clamp(1, Semaphore::MAX_PERMITS))),
            nameless: Arc::new(Semaphore::new(MAX_NAMELESS.min(limits.requests.max(1)))),
            rates: Mutex::default(),
            size,
            limits,
        }
    }

    /// Calls into the database off the threads that serve connections.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        share: Option<&Share>,
        scarce: Scarce,
        act: impl FnOnce(&Db) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.wait(share, scarce, 1).await?;
        let db = Arc::clone(&self.db);
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
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
    pub(crate) async fn room_for(&self, share: Option<&Share>, bytes: u64) -> Result<Place, Problem> {
        let kib = places::kib_of(bytes, self.limits.held_bytes);
        match tokio::time::timeout(self.limits.stall, self.wait(share, Scarce::Bodies, kib)).await {
            Ok(room) => room,
            Err(_) => Err(Problem::busy("too many large bodies at once")),
        }
    }

    /// Takes part of the memory for answers that wait for their client.
    pub(crate) fn room_for_answer(&self, share: Option<&Share>, bytes: u64) -> Result<Place, Problem> {
        let kib = places::kib_of(bytes, self.limits.held_bytes);
        self.places.take(share.map(|share| share.places(&self.limits)), Scarce::Answers, kib)
    }

    /// A place for a request, or "busy".
    pub(crate) fn request(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.requests).try_acquire_owned();
        place.map_err(|_| Problem::busy("too many requests at once"))
    }

    /// A place for a request without a token, or "busy": they take none from those
    /// who have one.
    pub(crate) fn nameless_request(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.nameless).try_acquire_owned();
        place.map_err(|_| Problem::busy("too many requests without a token at once"))
    }

    /// A place among few, or why there is none.
    pub(crate) fn place(&self, share: Option<&Share>, scarce: Scarce) -> Result<Place, Problem> {
        self.places.take(share.map(|share| share.places(&self.limits)), scarce, 1)
    }

    /// Places as soon as there are some.
    pub(crate) async fn wait(&self, share: Option<&Share>, scarce: Scarce, count: u32) -> Result<Place, Problem> {
        self.places.wait(share.map(|share| share.places(&self.limits)), scarce, count).await
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
            return Err(Problem::too_many("too many requests at once of this token or address", 1));
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
            Arc::new(Share {
                rate: RateLimiter::direct(Quota::per_second(rate)),
                requests: AtomicUsize::new(0),
                places: OnceLock::new(),
            })
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
    fn places(&self, limits: &Limits) -> &Places {
        self.places.get_or_init(|| Places::of_token(limits))
    }

    fn spend(&self) -> Result<(), Problem> {
        let clock = DefaultClock::default();
        self.rate.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(clock.now());
            Problem::too_many("too many requests", wait.as_secs().saturating_add(1))
        })
    }
}
