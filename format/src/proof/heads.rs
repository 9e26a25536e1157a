//! What a proof file has of the heads note: the member `heads` of its first line, and
//! what must hold between it and the rest of the file.
//!
//! ```text
//! {"note":NOTE,"count":N,"heads":[ID,…],"path":PATH}    the thing is there
//! {"note":NOTE,"path":PATH}                             nothing stands at its place
//! {"note":NOTE,"other":KEY ‖ VALUE,"path":PATH}         another thing stands there
//! ```

use serde::de::MapAccess;

use super::{MAX_ENTRIES, Subject};
use crate::checkpoint::MAX_SIZE;
use crate::codec::within;
use crate::heads::{HeadsProof, Other, Place, SignedHeads};
use crate::json::{
    List, Members, Object, Text, base64, base64_array, hex, push_base64, push_hex, push_number, push_string,
};
use crate::{Checkpoint, EntryId, Error, Hash};

/// What a file shows beyond its own entries, on the word of the node that signed the
/// heads note.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Complete {
    /// How many entries the thing has in the ledger; none if there is no such thing.
    pub count: u64,
    /// How many of them no other one follows.
    pub heads: u64,
    /// The names of the other nodes, among those that the reader named, that have
    /// recomputed the heads and signed the note as well.
    pub recomputed_by: Vec<String>,
}

impl HeadsProof {
    /// Appends the member's value.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"note\":");
        push_string(out, self.note.as_str());
        match &self.place {
            Place::Thing { count, heads } => {
                out.extend_from_slice(b",\"count\":");
                push_number(out, *count);
                out.extend_from_slice(b",\"heads\":[");
                for (place, head) in heads.iter().enumerate() {
                    out.extend_from_slice(if place == 0 { b"\"" } else { b",\"" });
                    push_hex(out, &head.0);
                    out.push(b'"');
                }
                out.push(b']');
            }
            Place::Empty => {}
            Place::Other(other) => {
                out.extend_from_slice(b",\"other\":\"");
                push_base64(out, &[other.key.0, other.value.0].concat());
                out.push(b'"');
            }
        }
        if !self.path.is_empty() {
            out.extend_from_slice(b",\"path\":\"");
            push_base64(out, &crate::heads::path_bytes(&self.path));
            out.push(b'"');
        }
        out.push(b'}');
    }

    /// Whether the note is of the ledger of the checkpoint, and has what the subject
    /// needs; as the rest of a sentence if not.
    pub(super) fn fits(&self, subject: &Subject, checkpoint: &Checkpoint) -> Result<(), &'static str> {
        let note = self.note.claimed();
        if note.size != checkpoint.size || note.ledger != checkpoint.root {
            return Err("is of another ledger than the checkpoint");
        }
        match (subject, &self.place) {
            (Subject::Absent { .. }, Place::Thing { .. }) => Err("says that the thing is there"),
            (Subject::Absent { .. }, _) | (_, Place::Thing { .. }) => Ok(()),
            _ => Err("says that there is no such thing"),
        }
    }

    /// Whether the entries of the file are those that the note knows of; as a
    /// sentence if not. So many `entries` are in the file, with this greatest seq; `open`
    /// are followed by no other one there.
    pub(super) fn agrees(
        &self,
        subject: &Subject,
        (entries, greatest_seq): (u64, u64),
        open: &[EntryId],
        is_followed: impl Fn(&EntryId) -> bool,
    ) -> Result<(), String> {
        let Place::Thing { count, heads } = &self.place else { return Ok(()) };
        let is_history = matches!(subject, Subject::History { .. });
        if entries > *count || (is_history && entries != *count) {
            return Err(format!("the thing has {count} entries, {entries} are in the file"));
        }
        // One with a seq has so many entries before it.
        if greatest_seq > *count {
            return Err(format!("the thing has {count} entries, and seq {greatest_seq} is in the file"));
        }
        if let Some(head) = heads.iter().find(|head| is_followed(head)) {
            return Err(format!("{head} is a head of the thing, and an entry in the file follows it"));
        }
        let mut found = open.to_vec();
        found.sort_unstable();
        if entries == *count && found != *heads {
            return Err("the thing has other heads than the file".to_owned());
        }
        Ok(())
    }

    /// What it shows of the thing.
    pub(super) fn complete(&self, recomputed_by: Vec<String>) -> Complete {
        let (count, heads) = match &self.place {
            Place::Thing { count, heads } => (*count, heads.len() as u64),
            Place::Empty | Place::Other(_) => (0, 0),
        };
        Complete { count, heads, recomputed_by }
    }
}

pub(super) struct WireHeads;

impl Object for WireHeads {
    const NAME: &'static str = "heads";
    const MEMBERS: &'static [&'static str] = &["note", "count", "heads", "other", "path"];
    type Value = HeadsProof;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<HeadsProof, A::Error> {
        let faults = members.faults;
        let (mut note, mut count, mut heads, mut other, mut path) = (None, None, None, None, None);
        while let Some(name) = members.next()? {
            match name {
                "note" => members.text(name, &mut note, SignedHeads::parse)?,
                "count" => members.number(name, &mut count, |n| within(name, n, 1, MAX_SIZE).map(|()| n))?,
                "heads" => {
                    let item = || Text { name, faults, parse: |text: &str| hex(name, text).map(EntryId) };
                    members.value(name, &mut heads, List { name, faults, most: MAX_ENTRIES as usize, item })?;
                }
                "other" => members.text(name, &mut other, |text| base64_array::<64>(name, text))?,
                _ => {
                    let read = |text: &str| crate::heads::read_path(&base64(name, text, crate::heads::MAX_PATH_BYTES)?);
                    members.text(name, &mut path, read)?;
                }
            }
        }
        let place = match (count, heads, other) {
            (None, None, None) => Place::Empty,
            (None, None, Some(bytes)) => {
                let (key, value) = bytes.split_at(32);
                let hash = |bytes: &[u8]| Hash(bytes.try_into().expect("64 bytes are two hashes"));
                Place::Other(Other { key: hash(key), value: hash(value) })
            }
            (count, heads, other) => {
                members.refuse("other", &other)?;
                let (count, heads) = (members.need("count", count)?, members.need("heads", heads)?);
                // Each of them is an entry.
                within("heads", heads.len() as u64, 1, count).map_err(|error| faults.put(error))?;
                if !heads.is_sorted_by(|a, b| a < b) {
                    return Err(faults.put(Error::NotAscending { field: "heads" }));
                }
                Place::Thing { count, heads }
            }
        };
        Ok(HeadsProof { note: members.need("note", note)?, place, path: path.unwrap_or_default() })
    }
}
