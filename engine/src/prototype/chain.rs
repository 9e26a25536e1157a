//! The prototype's own chain: each entry names the ciphertext of the one before
//! it in the same thing. What holds of it is told, and is no fault of ours: what
//! the prototype lost cannot be mended here, and what was changed since shows in
//! our own links.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use thingdb_format::{Hash, ThingId};

use super::sealed::Form;

/// What can be said of the prototype's chain of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ChainVerdict {
    /// Each entry follows the one before it.
    Good,
    /// Its entries were written in the mode that chained nothing.
    Absent,
    /// Entries follow the same one; each follows one that is here.
    Forked,
    /// Entries are here that this node cannot read, and the others follow
    /// entries that may be among them.
    Unreadable,
    /// An entry follows one that is not here, or that comes later.
    Broken,
}

impl ChainVerdict {
    /// The words for it, as in reports and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "prototype chain good",
            Self::Absent => "no prototype chain: its default mode wrote none",
            Self::Forked => "prototype chain forked",
            Self::Unreadable => "prototype chain not readable here",
            Self::Broken => "prototype chain broken",
        }
    }
}

impl fmt::Display for ChainVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The prototype's chain of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chain {
    /// The thing.
    pub thing: ThingId,
    /// Entries that came from the prototype.
    pub entries: u64,
    /// What can be said of it.
    pub verdict: ChainVerdict,
    /// The first link that does not hold, if one does not.
    pub detail: Option<String>,
}

/// What checks of originals gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OriginalReport {
    /// Originals whose signature and hash of the data hold.
    pub signatures_good: u64,
    /// Originals of which one does not.
    pub signatures_bad: u64,
    /// The prototype's chain of each thing, by thing.
    pub chains: Vec<Chain>,
}

/// What an original says of its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) line: u64,
    pub(crate) form: Form,
    pub(crate) ciphertext: Hash,
    pub(crate) prev: Option<Hash>,
}

/// Takes originals in ledger order.
#[derive(Default)]
pub(crate) struct Chains {
    things: BTreeMap<ThingId, Progress>,
}

#[derive(Default)]
struct Progress {
    /// Whether somebody follows a ciphertext that is here.
    followed: HashMap<Hash, bool>,
    entries: u64,
    chained: bool,
    has_begun: bool,
    is_forked: bool,
    broken: Option<String>,
}

impl Chains {
    /// Takes the next original of a thing. One that came before, as when two
    /// nodes brought it in, changes nothing.
    pub(crate) fn take(&mut self, thing: &ThingId, link: &Link) {
        if !self.things.contains_key(thing) {
            self.things.insert(thing.clone(), Progress::default());
        }
        if let Some(progress) = self.things.get_mut(thing) {
            progress.take(link);
        }
    }

    /// Things with an original.
    pub(crate) fn things(&self) -> u64 {
        self.things.len() as u64
    }

    /// The verdicts. `has_unreadable` tells whether entries of a thing cannot
    /// be read here.
    pub(crate) fn settle(self, mut has_unreadable: impl FnMut(&ThingId) -> bool) -> Vec<Chain> {
        let settle = |(thing, progress): (ThingId, Progress)| {
            let verdict = match &progress {
                Progress { broken: Some(_), .. } if has_unreadable(&thing) => ChainVerdict::Unreadable,
                Progress { broken: Some(_), .. } => ChainVerdict::Broken,
                Progress { chained: false, .. } => ChainVerdict::Absent,
                Progress { is_forked: true, .. } => ChainVerdict::Forked,
                _ => ChainVerdict::Good,
            };
            Chain { thing, entries: progress.entries, verdict, detail: progress.broken }
        };
        self.things.into_iter().map(settle).collect()
    }
}

impl Progress {
    fn take(&mut self, link: &Link) {
        if self.followed.contains_key(&link.ciphertext) {
            return;
        }
        self.entries += 1;
        match &link.prev {
            None if link.form == Form::Legacy => {}
            None => {
                self.chained = true;
                // Two beginnings are a fork too.
                self.is_forked |= std::mem::replace(&mut self.has_begun, true);
            }
            Some(prev) => {
                self.chained = true;
                self.has_begun = true;
                match self.followed.get_mut(prev) {
                    Some(followed) => self.is_forked |= std::mem::replace(followed, true),
                    None => {
                        let detail =
                            || format!("line {} follows the ciphertext {prev}, which is not before it", link.line);
                        self.broken.get_or_insert_with(detail);
                    }
                }
            }
        }
        self.followed.insert(link.ciphertext, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(links: &[(u8, Option<u8>)]) -> ChainVerdict {
        let mut chains = Chains::default();
        for (line, (own, prev)) in (1..).zip(links) {
            let hash = |byte: u8| Hash([byte; 32]);
            let link = Link { line, form: Form::Envelope, ciphertext: hash(*own), prev: prev.map(hash) };
            chains.take(&ThingId::new("x").unwrap(), &link);
        }
        chains.settle(|_| false)[0].verdict
    }

    #[test]
    fn chains_are_good_forked_or_broken() {
        assert_eq!(verdict(&[(1, None), (2, Some(1)), (3, Some(2))]), ChainVerdict::Good);
        assert_eq!(verdict(&[(1, None), (2, Some(1)), (2, Some(1)), (3, Some(2))]), ChainVerdict::Good);
        assert_eq!(verdict(&[(1, None), (2, Some(1)), (3, Some(1))]), ChainVerdict::Forked);
        assert_eq!(verdict(&[(1, None), (2, None)]), ChainVerdict::Forked);
        assert_eq!(verdict(&[(1, None), (3, Some(2)), (2, Some(1))]), ChainVerdict::Broken);
        assert_eq!(verdict(&[(2, Some(1)), (3, Some(2))]), ChainVerdict::Broken);
    }

    #[test]
    fn legacy_entries_have_no_chain_and_unreadable_ones_may_hold_a_link() {
        let thing = ThingId::new("x").unwrap();
        let link = |form, prev| Link { line: 1, form, ciphertext: Hash([1; 32]), prev };
        let mut chains = Chains::default();
        chains.take(&thing, &link(Form::Legacy, None));
        assert_eq!(chains.settle(|_| true)[0].verdict, ChainVerdict::Absent);
        let mut chains = Chains::default();
        chains.take(&thing, &link(Form::Envelope, Some(Hash([2; 32]))));
        assert_eq!(chains.settle(|_| true)[0].verdict, ChainVerdict::Unreadable);
    }
}
