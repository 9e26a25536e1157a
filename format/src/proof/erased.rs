//! Which entries of a proof file were erased, as the records in it say.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::erasure::Erasure;
use crate::{Actor, Card, EntryId, Header, Origin};

/// The most ids that records of a file list before an entry with this id has come.
/// What they list beyond that covers only what stands before them.
pub const MAX_ERASED_AHEAD: usize = 1 << 20;

/// Takes the stubs and the erasure records of a proof file, in their order, and says
/// which of the stubs a record covers. All are of one thing.
///
/// It keeps some 100 bytes of each stub, and of each id that a record lists before its
/// entry has come.
#[derive(Debug)]
pub struct ProofErasures {
    /// The node of the file's card, whose actors may erase what was written there.
    node: Origin,
    actors: HashSet<Actor>,
    /// Stubs that no record covers so far: who wrote them, and where.
    stubs: HashMap<EntryId, (Actor, Origin)>,
    /// What records list that has not come, with the records and their signers.
    ahead: HashMap<EntryId, Vec<(EntryId, Actor)>>,
    listed_ahead: usize,
    erased: BTreeMap<EntryId, EntryId>,
}

impl ProofErasures {
    /// Of a file with this card.
    #[must_use]
    pub fn new(card: &Card) -> Self {
        Self {
            node: card.node_key.origin(),
            actors: card.actors.iter().map(|(key, _)| *key).collect(),
            stubs: HashMap::new(),
            ahead: HashMap::new(),
            listed_ahead: 0,
            erased: BTreeMap::new(),
        }
    }

    /// An entry of which only the header is in the file.
    pub fn stub(&mut self, id: EntryId, header: &Header) {
        let (actor, origin) = (header.actor, header.origin);
        let records = self.ahead.remove(&id).unwrap_or_default();
        match records.iter().find(|(_, by)| self.may(by, &actor, &origin)) {
            Some((record, _)) => drop(self.erased.insert(id, *record)),
            None => drop(self.stubs.insert(id, (actor, origin))),
        }
    }

    /// A record whose content is shown.
    pub fn record(&mut self, id: EntryId, header: &Header, record: &Erasure) {
        for listed in record.entries() {
            if let Some((actor, origin)) = self.stubs.get(listed) {
                if self.may(&header.actor, actor, origin) {
                    self.stubs.remove(listed);
                    self.erased.insert(*listed, id);
                }
            } else if !self.erased.contains_key(listed) && self.listed_ahead < MAX_ERASED_AHEAD {
                self.listed_ahead = self.listed_ahead.saturating_add(1);
                self.ahead.entry(*listed).or_default().push((id, header.actor));
            }
        }
    }

    /// The stubs that are erased, each with the first record in the file that covers it.
    #[must_use]
    pub fn erased(self) -> BTreeMap<EntryId, EntryId> {
        self.erased
    }

    /// Whether a record that `by` signed covers what `actor` wrote at `origin`.
    fn may(&self, by: &Actor, actor: &Actor, origin: &Origin) -> bool {
        by == actor || (*origin == self.node && self.actors.contains(by))
    }
}
