//! What an import would do, by the rule that decides for it, and with nothing
//! written.

use std::collections::{HashMap, HashSet};

use thingdb_format::EntryId;

use super::waiting::Room;
use crate::committer::{Arrived, Fate, Links, Place, Verdict};
use crate::entry::refusal::Cause;
use crate::error::{Error, Result};
use crate::node::Node;
use crate::store::schema::Tag;

/// New entries that it remembers, to know what follows them: about 40 bytes
/// each. It looks no further.
pub(super) const MAX_IMAGINED: usize = 400_000;

/// Entries that would be here, and those that would wait.
pub(super) struct DryRun {
    /// By the first half of the id; of the tag the first bytes.
    imagined: HashMap<[u8; 16], ([u8; 8], Place)>,
    links: Links,
    pub(super) room: Room,
    /// Those of the waiting room that would go on, or came again.
    moved: HashSet<EntryId>,
}

impl DryRun {
    pub(super) fn new() -> Self {
        Self { imagined: HashMap::new(), links: Links::default(), room: Room::imaginary(), moved: HashSet::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.imagined.len() >= MAX_IMAGINED
    }

    /// What would become of entries.
    pub(super) fn imagine(&mut self, node: &Node, entries: Vec<Arrived>) -> Result<Vec<Fate>> {
        let imagined = &self.imagined;
        self.links.look_for(&node.store, &entries, |id| imagined.contains_key(&short(id)))?;
        entries
            .into_iter()
            .map(|arrived| match self.imagine_one(node, arrived) {
                Err(Error::Damaged { what, detail }) => Ok(Fate::Refused(Cause::damaged_here(&what, &detail))),
                fate => fate,
            })
            .collect()
    }

    fn imagine_one(&mut self, node: &Node, arrived: Arrived) -> Result<Fate> {
        let (store, tag, header) = (&node.store, arrived.tag, &arrived.header);
        if self.imagined.contains_key(&short(&arrived.id)) {
            return Ok(Fate::Known);
        }
        if let Some(state) = store.state(&tag)?
            && store.find(&tag, &state, &arrived.id, Some(header.seq))?.is_some()
        {
            return Ok(Fate::Known);
        }
        let imagined = &self.imagined;
        let taken = |id: &EntryId| {
            let (of, place) = imagined.get(&short(id))?;
            let other = Tag(tag.0.map(|byte| !byte));
            Some((if *of == first(&tag) { tag } else { other }, *place))
        };
        match self.links.judge(&node.committer, store, (&tag, header), taken)? {
            Verdict::Follows => {}
            Verdict::Missing(prev) => return Ok(Fate::MissingPrev(prev, Box::new(arrived))),
            Verdict::Refused(cause) => return Ok(Fate::Refused(cause)),
        }
        if !arrived.takes_revoked
            && arrived.key.is_none()
            && store.is_disbelieved(&store.keys.logs(), &header.actor, None)?
        {
            return Ok(Fate::Refused(Cause::revoked_key(&header.actor)));
        }
        self.imagined.insert(short(&arrived.id), (first(&tag), (header.seq, header.time)));
        Ok(Fate::Added)
    }

    /// One of the waiting room would go on, or came again. Whether it is the
    /// first time.
    pub(super) fn moves(&mut self, id: EntryId) -> bool {
        self.moved.insert(id)
    }

    /// How many would wait, of `here` that do.
    pub(super) fn pending(&self, here: u64) -> u64 {
        here.saturating_sub(self.moved.len() as u64) + self.room.len()
    }
}

fn short(id: &EntryId) -> [u8; 16] {
    *id.0.first_chunk().expect("16 is less than 32")
}

fn first(tag: &Tag) -> [u8; 8] {
    *tag.0.first_chunk().expect("8 is less than 16")
}
