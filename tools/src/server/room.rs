//! The memory that an import has: a part for what is under way, which is small
//! lines mostly, and for a large one as much as a body of that size would take.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::call::{Bearer, Call};
use super::config::Limits;
use super::node::Node;
use super::pipe::{Break, Ending};

/// What the largest line takes, taken apart: its 24 MiB, the 16 of its payload,
/// and the same once more, sealed.
const LARGE_LINE: u64 = 56 << 20;

/// What is under way in one import, at most.
const MOST_BYTES: u64 = 16 << 20;

/// Where an import asks for memory.
pub(crate) struct Room {
    node: Arc<Node>,
    bearer: Option<Bearer>,
    ending: Ending,
    runtime: Handle,
}

impl Room {
    /// For an import whose body ends as `ending` says.
    pub(crate) fn new(call: &Call, ending: &Ending) -> Self {
        Self {
            node: Arc::clone(&call.node),
            bearer: call.bearer.clone(),
            ending: ending.clone(),
            runtime: Handle::current(),
        }
    }

    /// What may be under way: half of what is held is for all imports together.
    pub(crate) fn bytes(&self) -> usize {
        bytes(&self.node.limits)
    }

    /// Waits until there is memory for a large line, on a thread that may block.
    /// If there is none for too long, the body ends there.
    pub(crate) fn for_large_line(&self) -> Option<thingdb::Room> {
        let share = self.bearer.as_ref().map(Bearer::share);
        if let Ok(place) = self.runtime.block_on(self.node.room_for(share, LARGE_LINE)) {
            return Some(Box::new(place));
        }
        self.ending.set(Break::Busy);
        None
    }
}

fn bytes(limits: &Limits) -> usize {
    let part = limits.held_bytes / 2 / limits.imports.max(1) as u64;
    usize::try_from(part.min(MOST_BYTES)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_imports_together_have_half_of_what_is_held() {
        let usual = Limits::default();
        assert_eq!(bytes(&usual) as u64, 16 << 20);
        for (imports, held) in [(1, 128 << 20), (4, 32 << 20), (64, 128 << 20)] {
            let limits = Limits { imports, held_bytes: held, ..usual.clone() };
            assert!(bytes(&limits) as u64 * imports as u64 <= held / 2);
        }
    }
}
