//! A frame: the changes of one commit, in one piece of a journal file.
//!
//! ```text
//! [3]  mark a6 4a d1                                       header, 32 bytes
//! [1]  kind: 1 changes, 2 end, 3 given up, 4 replaced
//! [4]  length of the body
//! [8]  sequence
//! [8]  the newest sequence that was durable when this was written
//! [4]  CRC-32C of the body
//! [4]  CRC-32C of the salt of the file and the 28 bytes before
//! [n]  body
//! [..] zeros, up to a multiple of 16
//! ```
//!
//! Integers are little-endian. A frame begins at a multiple of 16. By its mark it
//! is found again behind damage; the salt tells the frames of one file from those
//! of another.
//!
//! The body of *changes* has for each change, in their order,
//!
//! ```text
//! [1]  1 puts, 0 deletes
//! [4]  length of the key        [n] key
//! [4]  length of the value      [n] value     (not in a delete)
//! ```
//!
//! *End* has no body: the journal was closed, and its sequence is the next one.
//! *Given up* has the last sequence, 8 bytes, of those from its own on that are
//! lost or stand in later frames, and are not missed any more. *Replaced* has the
//! same of those of which later ones have replaced or deleted everything: they were
//! left out when the file was compacted.
//!
//! A frame is durable after what it says to be durable, unless its file was written
//! anew: then it says with regard to which commits, and whoever reads it needs
//! those, too.

use std::io;
use std::ops::Range;

use super::super::Change;

/// Frames begin at multiples of it.
pub(super) const ALIGN: u64 = 16;

/// The bytes of a header.
pub(super) const HEAD_BYTES: usize = 32;

const MARK: [u8; 3] = [0xa6, 0x4a, 0xd1];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Changes,
    End,
    GivenUp,
    Replaced,
}

/// What the header of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) body_bytes: u32,
    pub(super) sequence: u64,
    pub(super) durable: u64,
    pub(super) body_crc: u32,
}

impl Head {
    pub(super) fn encode(&self, seed: u32) -> [u8; HEAD_BYTES] {
        let kind = match self.kind {
            Kind::Changes => 1,
            Kind::End => 2,
            Kind::GivenUp => 3,
            Kind::Replaced => 4,
        };
        let mut bytes = [0; HEAD_BYTES];
        bytes[..3].copy_from_slice(&MARK);
        bytes[3] = kind;
        bytes[4..8].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.durable.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8], seed: u32) -> Option<Self> {
        let rest = bytes.strip_prefix(&MARK)?;
        let (kind, rest) = rest.split_first()?;
        let kind = match kind {
            1 => Kind::Changes,
            2 => Kind::End,
            3 => Kind::GivenUp,
            4 => Kind::Replaced,
            _ => return None,
        };
        let (body_bytes, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (durable, rest) = rest.split_first_chunk()?;
        let (body_crc, rest) = rest.split_first_chunk()?;
        let (crc, _) = rest.split_first_chunk()?;
        if crc32c::crc32c_append(seed, bytes.get(..28)?) != u32::from_le_bytes(*crc) {
            return None;
        }
        Some(Self {
            kind,
            body_bytes: u32::from_le_bytes(*body_bytes),
            sequence: u64::from_le_bytes(*sequence),
            durable: u64::from_le_bytes(*durable),
            body_crc: u32::from_le_bytes(*body_crc),
        })
    }

    /// The body of changes that begins here, if its own checksum holds, whichever file
    /// it is of.
    pub(super) fn raw_body(bytes: &[u8]) -> Option<&[u8]> {
        let rest = bytes.strip_prefix(&MARK)?.strip_prefix(&[1])?;
        let (body_bytes, rest) = rest.split_first_chunk()?;
        let crc = rest.get(16..20)?.try_into().map(u32::from_le_bytes).ok()?;
        let body = rest.get(24..)?.get(..usize::try_from(u32::from_le_bytes(*body_bytes)).ok()?)?;
        (crc32c::crc32c(body) == crc).then_some(body)
    }

    /// The last commit that whoever reads this frame needs, too, if the file was
    /// written anew with regard to it; otherwise 0.
    pub(super) fn level(&self) -> u64 {
        if self.durable >= self.sequence { self.durable } else { 0 }
    }

    /// Whether a header may begin here.
    pub(super) fn has_mark(bytes: &[u8]) -> bool {
        bytes.starts_with(&MARK)
    }

    /// The bytes of the whole frame, with what fills it up.
    pub(super) fn frame_bytes(&self) -> u64 {
        frame_bytes(u64::from(self.body_bytes))
    }
}

/// The bytes of a frame with a body of so many bytes.
pub(super) const fn frame_bytes(body_bytes: u64) -> u64 {
    (HEAD_BYTES as u64 + body_bytes).next_multiple_of(ALIGN)
}

/// The bytes of the body that these changes have.
pub(super) fn body_bytes(changes: &[Change]) -> u64 {
    let bytes = |(key, value): &Change| 5 + key.len() as u64 + value.as_ref().map_or(0, |value| 4 + value.len() as u64);
    changes.iter().map(bytes).sum()
}

/// Hands over the body in pieces. It must be below 4 GiB.
pub(super) fn each_piece(changes: &[Change], mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a body is below 4 GiB").to_le_bytes();
    for (key, value) in changes {
        take(&[u8::from(value.is_some())])?;
        take(&length(key))?;
        take(key)?;
        if let Some(value) = value {
            take(&length(value))?;
            take(value)?;
        }
    }
    Ok(())
}

/// A change in a body: where its key is, and its value if it puts one.
pub(crate) type Place = (Range<usize>, Option<Range<usize>>);

/// The changes in a body, by place; `None` if it is malformed.
pub(super) fn places(body: &[u8]) -> Option<Vec<Place>> {
    let mut at = 0;
    let field = |at: &mut usize| -> Option<Range<usize>> {
        let (length, rest) = body.get(*at..)?.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        if rest.len() < length {
            return None;
        }
        let start = *at + 4;
        *at = start + length;
        Some(start..*at)
    };
    let mut found = Vec::new();
    while at < body.len() {
        let kind = body[at];
        at += 1;
        let key = field(&mut at)?;
        let value = match kind {
            0 => None,
            1 => Some(field(&mut at)?),
            _ => return None,
        };
        found.push((key, value));
    }
    Some(found)
}

/// The changes in a body; `None` if it is malformed.
pub(super) fn changes(body: &[u8]) -> Option<Vec<Change>> {
    let own = |(key, value): Place| (body[key].to_vec(), value.map(|value| body[value].to_vec()));
    Some(places(body)?.into_iter().map(own).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_changes() -> Vec<Change> {
        vec![(b"lamp".to_vec(), Some(b"on".to_vec())), (b"gone".to_vec(), None), (Vec::new(), Some(Vec::new()))]
    }

    fn body(changes: &[Change]) -> Vec<u8> {
        let mut body = Vec::new();
        each_piece(changes, |piece| {
            body.extend(piece);
            Ok(())
        })
        .unwrap();
        assert_eq!(body.len() as u64, body_bytes(changes));
        body
    }

    #[test]
    fn a_body_reads_back() {
        assert_eq!(changes(&body(&some_changes())), Some(some_changes()));
        assert_eq!(changes(b""), Some(Vec::new()));
    }

    #[test]
    fn a_body_is_found_without_its_file() {
        let body = body(&some_changes());
        let body_bytes = u32::try_from(body.len()).unwrap();
        let head = Head { kind: Kind::Changes, body_bytes, sequence: 9, durable: 3, body_crc: crc32c::crc32c(&body) };
        let mut bytes = head.encode(5).to_vec();
        bytes.extend(&body);
        assert_eq!(Head::raw_body(&bytes), Some(&body[..]));
        assert_eq!(Head::raw_body(&bytes[..bytes.len() - 1]), None);
        for bit in 0..bytes.len() * 8 {
            let is_needed = !(8 * 8..24 * 8).contains(&bit) && !(28 * 8..32 * 8).contains(&bit);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::raw_body(&bytes).is_none(), is_needed, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_malformed_body_is_none() {
        let whole = body(&some_changes());
        for end in 0..whole.len() {
            // A cut between two changes leaves fewer changes, no other cut does.
            if let Some(read) = changes(&whole[..end]) {
                assert!(read.len() < 3 && some_changes().starts_with(&read));
            }
        }
        assert_eq!(changes(&[2, 0, 0, 0, 0]), None);
        assert_eq!(changes(&[0, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn a_header_holds_for_one_salt_and_no_flipped_bit() {
        let head = Head { kind: Kind::Changes, body_bytes: 7, sequence: 1 << 40, durable: 3, body_crc: 0xdead_beef };
        let bytes = head.encode(5);
        assert_eq!(Head::decode(&bytes, 5), Some(head));
        assert_eq!(Head::decode(&bytes, 6), None);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&flipped, 5), None, "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert_eq!(Head::decode(&bytes[..end], 5), None);
        }
    }
}
