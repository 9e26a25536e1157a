//! Places for what takes long or takes much: so many for all, and of these only
//! a part for one token, so that nobody shuts out the others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::Limits;
use super::problem::Problem;

/// What there are places for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scarce {
    /// Streams that come.
    Imports,
    /// Streams that go.
    Exports,
    /// Requests that wait for something new.
    Followers,
    /// Calls into the database.
    Calls,
    /// Calls that may read as much data as an answer holds.
    Reads,
    /// Comparisons of all ids.
    Comparisons,
    /// KiB of bodies that are read as a whole.
    Bodies,
    /// KiB of answers that wait for their client.
    Answers,
}

/// All kinds, in the order of their numbers.
const ALL: [Scarce; 8] = [
    Scarce::Imports,
    Scarce::Exports,
    Scarce::Followers,
    Scarce::Calls,
    Scarce::Reads,
    Scarce::Comparisons,
    Scarce::Bodies,
    Scarce::Answers,
];

impl Scarce {
    const fn of_all(self, limits: &Limits) -> usize {
        match self {
            Self::Imports => limits.imports,
            Self::Exports => limits.exports,
            Self::Followers => limits.followers,
            Self::Calls => limits.calls,
            Self::Reads => limits.reads,
            Self::Comparisons => limits.comparisons,
            Self::Bodies | Self::Answers => kib(limits.held_bytes),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Imports => "imports",
            Self::Exports => "exports",
            Self::Followers => "followers",
            Self::Calls | Self::Reads => "calls",
            Self::Comparisons => "comparisons",
            Self::Bodies => "large bodies",
            Self::Answers => "large answers",
        }
    }
}

const fn kib(bytes: u64) -> usize {
    (bytes >> 10) as usize
}

/// The part of all places that one token may have: most of them, and never the
/// last one if there are several.
const fn part(all: usize) -> usize {
    let most = all - all / 4;
    if most == all && all > 1 { all - 1 } else { most }
}

/// A place of each scarce that is free.
pub(crate) struct Places([Arc<Semaphore>; ALL.len()]);

/// Something taken, until it is dropped.
pub(crate) struct Place {
    _all: OwnedSemaphorePermit,
    _own: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// The places of all.
    pub(crate) fn of_all(limits: &Limits) -> Self {
        Self::new(|scarce| scarce.of_all(limits))
    }

    /// The places of one token.
    pub(crate) fn of_token(limits: &Limits) -> Self {
        Self::new(|scarce| part(scarce.of_all(limits)))
    }

    fn new(count: impl Fn(Scarce) -> usize) -> Self {
        Self(ALL.map(|scarce| Arc::new(Semaphore::new(count(scarce).clamp(1, Semaphore::MAX_PERMITS)))))
    }

    fn of(&self, scarce: Scarce) -> Arc<Semaphore> {
        Arc::clone(&self.0[scarce as usize])
    }

    /// Takes places, or says that there are none: the token's own if it has
    /// too many, or anybody's.
    pub(crate) fn take(&self, own: Option<&Self>, scarce: Scarce, count: u32) -> Result<Place, Problem> {
        let busy = || Problem::busy(format!("too many {} at once", scarce.name()));
        let all = self.of(scarce).try_acquire_many_owned(count).map_err(|_| busy())?;
        let own = own.map(|own| own.of(scarce).try_acquire_many_owned(count)).transpose();
        let too_many = || Problem::too_many(format!("too many {} at once with this token", scarce.name()), 1);
        Ok(Place { _all: all, _own: own.map_err(|_| too_many())? })
    }

    /// Takes places as soon as there are some. Who waits for a place of its
    /// own token keeps none of the others from theirs.
    pub(crate) async fn wait(&self, own: Option<&Self>, scarce: Scarce, count: u32) -> Result<Place, Problem> {
        let stops = |_| Problem::busy("the server stops");
        let own = match own {
            Some(own) => Some(own.of(scarce).acquire_many_owned(count).await.map_err(stops)?),
            None => None,
        };
        Ok(Place { _all: self.of(scarce).acquire_many_owned(count).await.map_err(stops)?, _own: own })
    }

    /// Waits until everybody who has a place of this scarce has given it back.
    pub(crate) async fn wait_for_all(&self, limits: &Limits, scarce: Scarce) {
        let all = u32::try_from(scarce.of_all(limits).max(1)).unwrap_or(u32::MAX);
        // It fails only if somebody closes it, and nobody does.
        let _ = self.of(scarce).acquire_many_owned(all).await;
    }
}

/// How many KiB of places that many bytes are, no more than a token may have.
pub(crate) fn kib_of(bytes: u64, of_all: u64) -> u32 {
    let most = part(kib(of_all)).max(1) as u64;
    u32::try_from(bytes.div_ceil(1 << 10).clamp(1, most)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_never_has_all() {
        assert_eq!([1, 2, 3, 4, 8, 64, 128].map(part), [1, 1, 2, 3, 6, 48, 96]);
        let limits = Limits::default();
        let (all, one, other) = (Places::of_all(&limits), Places::of_token(&limits), Places::of_token(&limits));
        let take = |own| all.take(Some(own), Scarce::Imports, 1);
        let held: Vec<Place> = (0..3).map(|_| take(&one).ok().unwrap()).collect();
        assert_eq!(take(&one).err().unwrap().code(), "too-many-requests");
        let last = take(&other).ok().unwrap();
        assert_eq!(take(&other).err().unwrap().code(), "busy");
        drop((held, last));
        assert!(take(&other).is_ok());
    }

    #[test]
    fn the_kinds_have_their_numbers() {
        for (number, scarce) in ALL.into_iter().enumerate() {
            assert_eq!(scarce as usize, number);
        }
    }
}
