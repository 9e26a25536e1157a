//! A storage without a disk: the contract of the seam in its shortest form.
//!
//! Tests use it where a file system would only slow them down, and the
//! conformance test uses it to tell a wrong test from a wrong implementation.
//! What it holds is gone when it is dropped, so every commit counts as durable.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Batch, Direction, Health, KeyRange, Rows, Storage, StorageError, Ticket};

/// An ordered map in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    commits: u64,
    closed: bool,
}

impl MemoryStorage {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn read(&self) -> Result<RwLockReadGuard<'_, State>, StorageError> {
        // Nothing panics half way through a change.
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(StorageError::Closed);
        }
        Ok(state)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemoryStorage {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.read()?.rows.get(key).cloned())
    }

    fn scan(&self, range: &KeyRange, direction: Direction) -> Rows<'_> {
        let state = match self.read() {
            Ok(state) => state,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        if range.is_empty() {
            return Box::new(std::iter::empty());
        }
        let end = range.end().map_or(Bound::Unbounded, Bound::Excluded);
        let rows = state
            .rows
            .range::<[u8], _>((Bound::Included(range.start()), end))
            .map(|(key, value)| Ok((key.clone(), value.clone())));
        let rows: Vec<_> = match direction {
            Direction::Forward => rows.collect(),
            Direction::Backward => rows.rev().collect(),
        };
        Box::new(rows.into_iter())
    }

    fn commit(&self, batch: Batch) -> Result<Ticket, StorageError> {
        let mut state = self.write();
        if state.closed {
            return Err(StorageError::Closed);
        }
        for (key, expected) in batch.guards {
            if state.rows.get(&key) != expected.as_ref() {
                return Err(StorageError::Conflict { key });
            }
        }
        for (key, change) in batch.changes {
            match change {
                Some(value) => state.rows.insert(key, value),
                None => state.rows.remove(&key),
            };
        }
        state.commits += 1;
        Ok(Ticket(state.commits))
    }

    fn wait(&self, _ticket: Ticket) -> Result<(), StorageError> {
        Ok(())
    }

    fn health(&self) -> Health {
        match self.read() {
            Ok(_) => Health::Writable,
            Err(_) => Health::Closed,
        }
    }

    fn disk_bytes(&self) -> Result<u64, StorageError> {
        self.read().map(|_| 0)
    }

    fn compact(&self) -> Result<u64, StorageError> {
        Ok(0)
    }

    fn close(&self) -> Result<(), StorageError> {
        self.write().closed = true;
        Ok(())
    }
}
