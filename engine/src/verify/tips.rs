//! What the entries of each thing say so far, in little memory: there may be millions
//! of things.

use thingdb_format::{EntryId, ThingId, Time};

use super::fingerprint;
use crate::heads::{Heads, OfEntry};
use crate::store::postings::id8;
use crate::store::schema::{Tag, TagMap};
use crate::store::state::HeadPosting;

/// An entry that no other follows.
pub(super) struct Head {
    pub(super) id: EntryId,
    pub(super) seq: u64,
    pub(super) time: Time,
    pub(super) position: u64,
}

impl OfEntry for Head {
    fn id(&self) -> EntryId {
        self.id
    }
}

impl Head {
    /// What stands for the posting that the index should have for it.
    pub(super) fn fingerprint(&self) -> u64 {
        fingerprint(self.position, self.seq, id8(&self.id))
    }

    pub(super) fn is(&self, listed: &HeadPosting) -> bool {
        let posting = &listed.posting;
        let same_place = (posting.position, posting.seq, posting.id8) == (self.position, self.seq, id8(&self.id));
        listed.id == self.id.0 && listed.time == self.time.micros() && same_place
    }
}

/// What the entries of one thing say so far.
#[derive(Default)]
pub(super) struct Tip {
    pub(super) heads: Heads<Head>,
    pub(super) entries: u64,
    /// Sum of the fingerprints of what the index should list.
    pub(super) postings: u64,
    /// Whether this node cannot read some of them.
    pub(super) has_unreadable: bool,
    /// Whether the index has it.
    is_listed: bool,
    /// Where its id lies among those of all.
    name_at: usize,
    name_bytes: u16,
}

impl Tip {
    /// Takes an entry in.
    pub(super) fn take(&mut self, head: Head, prev: &[EntryId]) {
        for prev in prev {
            self.heads.remove(prev);
        }
        self.entries += 1;
        self.postings = self.postings.wrapping_add(head.fingerprint());
        self.heads.insert(head);
    }
}

/// Those of all things.
#[derive(Default)]
pub(super) struct Tips {
    places: TagMap<u32>,
    tips: Vec<Tip>,
    /// The ids of the things, one behind the other.
    names: String,
}

impl Tips {
    /// Things that have entries.
    pub(super) fn len(&self) -> usize {
        self.tips.len()
    }

    pub(super) fn get(&self, tag: &Tag) -> Option<&Tip> {
        self.places.get(tag).and_then(|at| self.tips.get(*at as usize))
    }

    /// That of a thing, made if it has none yet.
    pub(super) fn of(&mut self, tag: Tag, thing: &ThingId) -> &mut Tip {
        let Self { places, tips, names } = self;
        let at = *places.entry(tag).or_insert_with(|| {
            let name = thing.as_str();
            let name_bytes = u16::try_from(name.len()).expect("an id of a thing is short");
            tips.push(Tip { name_at: names.len(), name_bytes, ..Tip::default() });
            names.push_str(name);
            u32::try_from(tips.len() - 1).expect("more things would not fit into memory")
        });
        &mut tips[at as usize]
    }

    /// Notes that the index has a thing.
    pub(super) fn list(&mut self, tag: &Tag) {
        if let Some(tip) = self.places.get(tag).and_then(|at| self.tips.get_mut(*at as usize)) {
            tip.is_listed = true;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Tip> {
        self.tips.iter()
    }

    /// Those of things which the index has not.
    pub(super) fn unlisted(&self) -> impl Iterator<Item = &Tip> {
        self.iter().filter(|tip| !tip.is_listed)
    }

    /// The thing of which a tip is.
    pub(super) fn thing(&self, tip: &Tip) -> Option<ThingId> {
        let name = self.names.get(tip.name_at..tip.name_at + usize::from(tip.name_bytes));
        name.and_then(|name| ThingId::new(name).ok())
    }
}
