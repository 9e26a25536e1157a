//! The rows of the storage: the only file that knows their keys.
//!
//! ```text
//! L ‖ position 8              a block of records, the first of which has this position
//! P ‖ position 8 ‖ part 2     a part of a payload that is too large for its record
//! T ‖ tag 16                  the state of a thing: its id, heads, newest postings
//! C ‖ tag 16 ‖ chunk 8        older postings of a thing, 64 seqs a row
//! C ‖ tag 16 ‖ chunk 8 ‖ part 4   more of them, from part 1, if one row is full
//! H ‖ tag 16 ‖ position / 64 8    the heads of a thing that has many
//! M ‖ level 1 ‖ index 8       128 entry ids (level 0) or subtree roots of the ledger's tree
//! K ‖ hash 16                 the KEK packets of a set of recipients, shared or of one record
//! W ‖ id 16 ‖ part 2         a part of a line whose entry waits for its prev
//! Y ‖ id 16                   an entry that waits: for what, and since when
//! O ‖ segment 8               the KEK under which exports seal to this node itself
//! D ‖ position 8              an erasure record, and what became of it
//! G ‖ position 8              an entry that was erased, and by which record
//! J ‖ position 8              an erasure record that is not carried out yet
//! A ‖ id 16 ‖ position 8      an entry that was erased before it came, by which record
//! F ‖ tag 16                  a hold: that what is stored of a thing is not erased, and why
//! I ‖ 0 ‖ position 8 ‖ tag 16 the newest receipt of a node for the erasure record there
//! I ‖ 1 ‖ revision 8          which receipt came with this revision
//! I ‖ 2 ‖ id 16               where the erasure record with this id is, if it has receipts
//! U ‖ revision 8              the position of an entry that was completed after it came
//! V ‖ position 8              the revision under which `U` lists that entry
//! R ‖ tag 16                  the newest checkpoint of another node that was seen
//! Q ‖ tag 16                  a checkpoint of another node that a third one passed on
//! B ‖ tag 16                  the newest heads note of another node that was seen
//! X ‖ tag 16 ‖ tag 16         how far the exchange with another node is, for a prefix of things
//! N ‖ level 1 ‖ bits          a page of the map of heads: level × 4 bits of keys
//! E ‖ tag 16                  when exchanges with another node ended last
//! Z ‖ size 8 ‖ hash 8         a timestamp of the checkpoint of this size
//! S ‖ name                    a small thing that the engine keeps
//! ```
//!
//! A tag is an HMAC of the thing's id, so that no key tells an id. Integers are
//! big-endian, so that key order is numeric order.
//!
//! Rows stay below [`MAX_ROW_BYTES`]: sled keeps up to 17 rows on a page and
//! moves pages above 128 KiB into files of their own.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thingdb_format::{EntryId, Hash, ThingId};

use crate::storage::KeyRange;
use crate::storage::sled::Grouped;

/// What a row's value should not exceed, in bytes.
pub(crate) const MAX_ROW_BYTES: usize = 7000;

/// Hides a thing's id in keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Tag(pub(crate) [u8; 16]);

/// A map by tag.
pub(crate) type TagMap<V> = HashMap<Tag, V, TagState>;

/// Hashes a tag by taking its first bytes: they are those of an HMAC, and
/// nobody who has not its key can choose them.
#[derive(Clone, Copy, Default)]
pub(crate) struct TagState;

impl BuildHasher for TagState {
    type Hasher = TagHasher;

    fn build_hasher(&self) -> TagHasher {
        TagHasher(0)
    }
}

/// See [`TagState`].
pub(crate) struct TagHasher(u64);

impl Hasher for TagHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    }

    /// The length that stands before an array.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Makes tags; holds the index key in the form of a keyed HMAC.
pub(crate) struct Tagger(Hmac<Sha256>);

impl Tagger {
    pub(crate) fn new(index_key: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(index_key).expect("HMAC takes keys of any length"))
    }

    /// `HMAC(index key, thing id)`, its first 16 bytes.
    pub(crate) fn tag(&self, thing: &ThingId) -> Tag {
        self.tag_of(thing.as_str().as_bytes())
    }

    /// The same for bytes that are no thing id, in rows of their own.
    pub(crate) fn tag_of(&self, bytes: &[u8]) -> Tag {
        let mut mac = self.0.clone();
        mac.update(bytes);
        let hash: [u8; 32] = mac.finalize().into_bytes().into();
        Tag(*hash.first_chunk().expect("16 is less than 32"))
    }
}

pub(crate) fn block(first: u64) -> Vec<u8> {
    key(b'L', &[&first.to_be_bytes()])
}

pub(crate) fn blocks() -> KeyRange {
    KeyRange::prefix(*b"L")
}

pub(crate) fn blocks_between(start: u64, end: u64) -> KeyRange {
    KeyRange::between(block(start), block(end))
}

/// The blocks that begin at or before `position`.
pub(crate) fn blocks_up_to(position: u64) -> KeyRange {
    KeyRange::between(block(0), block(position.saturating_add(1)))
}

/// The position of the first record of the block under `key`.
pub(crate) fn first_of_block(key: &[u8]) -> Option<u64> {
    key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
}

pub(crate) fn part(position: u64, part: u16) -> Vec<u8> {
    key(b'P', &[&position.to_be_bytes(), &part.to_be_bytes()])
}

pub(crate) fn state(tag: &Tag) -> Vec<u8> {
    key(b'T', &[&tag.0])
}

pub(crate) fn states() -> KeyRange {
    KeyRange::prefix(*b"T")
}

/// The tag in the key of a state row.
pub(crate) fn tag_of_state(key: &[u8]) -> Option<Tag> {
    key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(Tag)
}

pub(crate) fn postings(tag: &Tag, chunk: u64, part: u32) -> Vec<u8> {
    let part = part.to_be_bytes();
    let part = if part == [0; 4] { &[][..] } else { &part[..] };
    key(b'C', &[&tag.0, &chunk.to_be_bytes(), part])
}

pub(crate) fn all_postings() -> KeyRange {
    KeyRange::prefix(*b"C")
}

pub(crate) fn head_row(tag: &Tag, row: u64) -> Vec<u8> {
    key(b'H', &[&tag.0, &row.to_be_bytes()])
}

/// The head rows of a thing.
pub(crate) fn heads(tag: &Tag) -> KeyRange {
    KeyRange::prefix(key(b'H', &[&tag.0]))
}

pub(crate) fn all_heads() -> KeyRange {
    KeyRange::prefix(*b"H")
}

pub(crate) fn tile(level: u8, index: u64) -> Vec<u8> {
    key(b'M', &[&[level], &index.to_be_bytes()])
}

pub(crate) fn tiles(level: u8) -> KeyRange {
    KeyRange::prefix([b'M', level])
}

pub(crate) fn kek(hash: &[u8; 16]) -> Vec<u8> {
    key(b'K', &[hash])
}

pub(crate) fn own_kek(segment: u64) -> Vec<u8> {
    key(b'O', &[&segment.to_be_bytes()])
}

pub(crate) fn waiting(id: &EntryId) -> Vec<u8> {
    key(b'Y', &[&id.0[..16]])
}

/// The entries that wait.
pub(crate) fn waiting_entries() -> KeyRange {
    KeyRange::prefix(*b"Y")
}

pub(crate) fn waiting_line(id: &EntryId, part: u16) -> Vec<u8> {
    key(b'W', &[&id.0[..16], &part.to_be_bytes()])
}

/// All lines that wait.
pub(crate) fn waiting_lines() -> KeyRange {
    KeyRange::prefix(*b"W")
}

/// The lines of the entry whose row has the key `of`.
pub(crate) fn waiting_lines_of(of: &[u8]) -> KeyRange {
    KeyRange::prefix(key(b'W', &[of.get(1..).unwrap_or_default()]))
}

pub(crate) fn erasure(position: u64) -> Vec<u8> {
    key(b'D', &[&position.to_be_bytes()])
}

pub(crate) fn all_erasures() -> KeyRange {
    KeyRange::prefix(*b"D")
}

pub(crate) fn erased_entry(position: u64) -> Vec<u8> {
    key(b'G', &[&position.to_be_bytes()])
}

pub(crate) fn erased_entries() -> KeyRange {
    KeyRange::prefix(*b"G")
}

/// Whether a row says that an entry was erased.
pub(crate) fn is_erased_entry(key: &[u8]) -> bool {
    key.first() == Some(&b'G') && key.len() == 9
}

pub(crate) fn due_erasure(position: u64) -> Vec<u8> {
    key(b'J', &[&position.to_be_bytes()])
}

pub(crate) fn due_erasures() -> KeyRange {
    KeyRange::prefix(*b"J")
}

pub(crate) fn key_record(position: u64) -> Vec<u8> {
    key(b'Q', &[&position.to_be_bytes()])
}

/// The rows of all key records.
pub(crate) fn key_records() -> KeyRange {
    KeyRange::prefix(*b"Q")
}

pub(crate) fn erased_ahead(id: &EntryId, record: u64) -> Vec<u8> {
    key(b'A', &[&id.0[..16], &record.to_be_bytes()])
}

/// The records that erased an entry before it came.
pub(crate) fn erased_ahead_of(id: &EntryId) -> KeyRange {
    KeyRange::prefix(key(b'A', &[&id.0[..16]]))
}

pub(crate) fn erased_ahead_all() -> KeyRange {
    KeyRange::prefix(*b"A")
}

pub(crate) fn hold(tag: &Tag) -> Vec<u8> {
    key(b'F', &[&tag.0])
}

pub(crate) fn holds() -> KeyRange {
    KeyRange::prefix(*b"F")
}

/// The newest receipt of a node for the record at a position.
pub(crate) fn receipt(record: u64, node: &Tag) -> Vec<u8> {
    key(b'I', &[&[0], &record.to_be_bytes(), &node.0])
}

pub(crate) fn receipts_of(record: u64) -> KeyRange {
    KeyRange::prefix(key(b'I', &[&[0], &record.to_be_bytes()]))
}

pub(crate) fn receipt_revision(revision: u64) -> Vec<u8> {
    key(b'I', &[&[1], &revision.to_be_bytes()])
}

/// The receipts that came after a revision.
pub(crate) fn receipts_after(revision: u64) -> KeyRange {
    KeyRange::between(receipt_revision(revision.saturating_add(1)), key(b'I', &[&[2]]))
}

/// The revision in the key of such a row.
pub(crate) fn revision_of_receipt(key: &[u8]) -> Option<u64> {
    key.get(2..).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
}

pub(crate) fn record_of_receipts(id: &EntryId) -> Vec<u8> {
    key(b'I', &[&[2], &id.0[..16]])
}

/// The ledger position in the key of a row of one.
pub(crate) fn position_in(key: &[u8]) -> Option<u64> {
    first_of_block(key)
}

pub(crate) fn change(revision: u64) -> Vec<u8> {
    key(b'U', &[&revision.to_be_bytes()])
}

/// The changes after a revision.
pub(crate) fn changes_after(revision: u64) -> KeyRange {
    KeyRange::between(change(revision.saturating_add(1)), change(u64::MAX))
}

/// The revision in the key of a change.
pub(crate) fn revision_of_change(key: &[u8]) -> Option<u64> {
    key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
}

pub(crate) fn changed(position: u64) -> Vec<u8> {
    key(b'V', &[&position.to_be_bytes()])
}

pub(crate) fn remembered(node: &Tag) -> Vec<u8> {
    key(b'R', &[&node.0])
}

pub(crate) fn heard(node: &Tag) -> Vec<u8> {
    key(b'Q', &[&node.0])
}

pub(crate) fn seen_heads(node: &Tag) -> Vec<u8> {
    key(b'B', &[&node.0])
}

pub(crate) fn cursors(node: &Tag, prefix: &Tag) -> Vec<u8> {
    key(b'X', &[&node.0, &prefix.0])
}

pub(crate) fn exchanges(node: &Tag) -> Vec<u8> {
    key(b'E', &[&node.0])
}

pub(crate) fn all_cursors(node: &Tag) -> KeyRange {
    KeyRange::prefix([&b"X"[..], &node.0].concat())
}

/// The page of the map of heads in which a key lies, so many levels of four bits down.
pub(crate) fn heads_page(level: usize, of: &Hash) -> Vec<u8> {
    let (whole, half) = (level / 2, level % 2);
    let mut bits = of.0.get(..whole + half).unwrap_or_default().to_vec();
    if let (1, Some(last)) = (half, bits.last_mut()) {
        *last &= 0xf0;
    }
    key(b'N', &[&[level as u8], &bits])
}

/// The map of heads.
pub(crate) fn heads_pages() -> KeyRange {
    KeyRange::prefix(*b"N")
}

/// How far the map of heads goes.
pub(crate) const HEADS_MAP: &[u8] = b"Sheads-map";

/// The newest heads note of this node.
pub(crate) const HEADS_NOTE: &[u8] = b"Sheads-note";
pub(crate) fn timestamp(size: u64, token: &Hash) -> Vec<u8> {
    key(b'Z', &[&size.to_be_bytes(), &token.0[..8]])
}

pub(crate) fn timestamps() -> KeyRange {
    KeyRange::prefix(*b"Z")
}

/// The size of the ledger in the key of a timestamp.
pub(crate) fn size_of_timestamp(key: &[u8]) -> Option<u64> {
    key.get(1..9).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
}

/// Those of ledgers of at least `least` and less than `end` entries.
pub(crate) fn timestamps_between(least: u64, end: u64) -> KeyRange {
    let start = |size: u64| key(b'Z', &[&size.to_be_bytes()]);
    KeyRange::between(start(least), start(end))
}

/// Entries below this position are in the index rows.
pub(crate) const INDEXED: &[u8] = b"Sindexed";

/// Between which ledger positions entries with originals may be.
pub(crate) const ORIGINALS: &[u8] = b"Soriginals";

/// How many entries wait for their prev, and how far the ledger was looked
/// through for them.
pub(crate) const WAITING: &[u8] = b"Swaiting";

/// When each token was used last.
pub(crate) const TOKENS_USED: &[u8] = b"Stokens-used";

/// The witnesses whom this node asks.
pub(crate) const WITNESSES: &[u8] = b"Switnesses";

/// The own checkpoints that others have cosigned.
pub(crate) const COSIGNED: &[u8] = b"Scosigned";

/// For how long content is kept.
pub(crate) const RETENTIONS: &[u8] = b"Sretentions";
/// Who could erase when erasure records were decided last.
pub(crate) const ERASERS: &[u8] = b"Serasers";

/// Which change of the keyring took keys of positions away last.
pub(crate) const KEYS_TAKEN: &[u8] = b"Skeys-taken";

/// There if ids of the ledger are lost for good: the tree's rows stand for them
/// with placeholders, over which the node must not sign.
pub(crate) const IDS_LOST: &[u8] = b"Sids-lost";

/// Which ids it was accepted that are lost: the node got a key then that has signed for
/// the ledger as it is.
pub(crate) const IDS_ACCEPTED: &[u8] = b"Sids-accepted";

/// There if the journal was lost while the store may have lacked its end: what was
/// acknowledged last may be gone, and the node must not sign what contradicts it.
pub(crate) const COMMITS_LOST: &[u8] = b"Scommits-lost";

/// How many entries the ledger had, if a salvage did not find the last of them: the first
/// positions, and all.
pub(crate) const END_LOST: &[u8] = b"Send-lost";

/// Whether a row follows from the ledger, so that it can be made anew: the index, and
/// the map of heads.
/// The tree's rows follow from it as well, but hold ids that damaged records
/// have lost.
pub(crate) fn is_derived(key: &[u8]) -> bool {
    match (key.first(), key.len()) {
        (Some(b'T'), 17) | (Some(b'C'), 25 | 29) | (Some(b'H'), 25) | (Some(b'N'), _) => true,
        _ => key == INDEXED || key == HEADS_MAP,
    }
}

/// Which rows are small, and lie side by side in the order in which they come: blocks.
pub(crate) const GROUPED: Grouped = Grouped::new(b"L", 9);

/// Whether a row is never deleted, or does no harm if it comes back: blocks of records,
/// the ledger's tree, and parts of payloads, which nobody can open once their entry was
/// erased.
pub(crate) fn is_permanent(key: &[u8]) -> bool {
    matches!(key.first(), Some(b'L' | b'P' | b'M' | b'O'))
}

/// Whether entries are made of rows of this key, which do no harm if nothing needs
/// them: those that are permanent, and KEK packets.
pub(crate) fn is_of_entries(key: &[u8]) -> bool {
    matches!(key.first(), Some(b'L' | b'P' | b'M' | b'O' | b'K')) && is_worth_keeping(key)
}

/// Whether a salvage keeps a row of this key: not what follows from the ledger,
/// nor what was under way with other nodes.
pub(crate) fn is_worth_keeping(key: &[u8]) -> bool {
    match key.first() {
        Some(b'L' | b'O' | b'U' | b'V' | b'D' | b'G' | b'J') => key.len() == 9,
        Some(b'P') => key.len() == 11,
        Some(b'M') => key.len() == 10,
        Some(b'K' | b'R' | b'Z' | b'B' | b'F') => key.len() == 17,
        Some(b'A') => key.len() == 25,
        Some(b'I') => matches!(key.len(), 10 | 18 | 26),
        Some(b'S') => {
            const KEPT: [&[u8]; 9] = [
                ORIGINALS,
                IDS_LOST,
                IDS_ACCEPTED,
                COMMITS_LOST,
                END_LOST,
                WITNESSES,
                COSIGNED,
                HEADS_NOTE,
                RETENTIONS,
            ];
            KEPT.contains(&key)
        }
        _ => false,
    }
}

fn key(space: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(space);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}
