//! What was defined lately, named by how many definitions ago that was.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use crate::Error;
use crate::codec::{Reader, push_varint};

/// The last definitions of one sort.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    most: usize,
    /// Definitions so far.
    defined: u64,
    /// The last ones, the newest at the end.
    items: VecDeque<(K, V)>,
    /// Which definition a key has, counted from 1.
    numbers: HashMap<K, u64>,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, defined: 0, items: VecDeque::new(), numbers: HashMap::new() }
    }

    /// How many definitions ago a key was defined, 1 being the last; nothing if
    /// that is too long ago, or never was.
    pub(super) fn find(&self, key: &K) -> Option<u64> {
        let number = self.numbers.get(key)?;
        self.defined.checked_sub(*number)?.checked_add(1)
    }

    pub(super) fn get(&self, ago: u64) -> Option<&V> {
        self.at(ago).and_then(|at| self.items.get(at)).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, ago: u64) -> Option<&mut V> {
        self.at(ago).and_then(|at| self.items.get_mut(at)).map(|(_, value)| value)
    }

    fn at(&self, ago: u64) -> Option<usize> {
        self.items.len().checked_sub(usize::try_from(ago).ok()?)
    }

    fn define(&mut self, key: K, value: V) {
        if self.items.len() >= self.most
            && let Some((oldest, _)) = self.items.pop_front()
        {
            self.numbers.remove(&oldest);
        }
        self.defined = self.defined.saturating_add(1);
        self.numbers.insert(key.clone(), self.defined);
        self.items.push_back((key, value));
    }

    /// Writes the name of a key, or 0 and its definition, and gives its value.
    pub(super) fn name(
        &mut self,
        out: &mut Vec<u8>,
        key: &K,
        define: impl FnOnce(&mut Vec<u8>),
        value: impl FnOnce() -> V,
    ) -> &mut V {
        let ago = match self.find(key) {
            Some(ago) => {
                push_varint(out, ago);
                ago
            }
            None => {
                push_varint(out, 0);
                define(out);
                self.define(key.clone(), value());
                1
            }
        };
        self.get_mut(ago).expect("what is found or was just defined is there")
    }

    /// Reads a name, or 0 and a definition. What is known must be named.
    pub(super) fn named(
        &mut self,
        r: &mut Reader<'_>,
        field: &'static str,
        read: impl FnOnce(&mut Reader<'_>) -> Result<(K, V), Error>,
    ) -> Result<K, Error> {
        let ago = r.varint(field)?;
        if ago > 0 {
            let known = self.at(ago).and_then(|at| self.items.get(at)).map(|(key, _)| key.clone());
            return known.ok_or(Error::Malformed { what: field, problem: "was not defined so long ago" });
        }
        let (key, value) = read(r)?;
        if self.numbers.contains_key(&key) {
            return Err(Error::Malformed { what: field, problem: "is defined again" });
        }
        self.define(key.clone(), value);
        Ok(key)
    }
}
