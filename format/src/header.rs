//! The header: the part of an entry that is signed, and that names it.
//!
//! ```text
//!  0  version 1   suite 1   thing 2 + n   seq 8   time 8   origin 16
//!     actor 32    prev 1 + 32·n   data_hash 32   payload_hash 32   payload_len 4
//! ```
//!
//! Integers are big-endian. There is exactly one spelling of a header.

use std::ops::Deref;

use sha2::{Digest, Sha256};

use crate::codec::{Reader, utf8, within};
use crate::{Actor, EntryId, Error, Hash, Origin, ThingId, Time, label};

/// Version of the entry format.
pub const VERSION: u8 = 1;

/// How many entries `prev` may name.
pub const MAX_PREV: usize = 32;

/// Greatest seq: the greatest integer that every JSON reader keeps exact.
pub const MAX_SEQ: u64 = 9_007_199_254_740_991;

/// Smallest payload, in bytes: the smallest body and the tag.
pub const MIN_PAYLOAD_BYTES: u32 = 23;

/// Largest payload, in bytes (16 MiB).
pub const MAX_PAYLOAD_BYTES: u32 = 16_777_216;

/// Smallest header, in bytes.
pub const MIN_HEADER_BYTES: usize = 138;

/// Largest header, in bytes.
pub const MAX_HEADER_BYTES: usize = 1673;

/// The cipher that seals a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suite {
    /// 1: AES-256-GCM (NIST SP 800-38D).
    #[default]
    Aes256Gcm,
    /// 2: ChaCha20-Poly1305 (RFC 8439).
    ChaCha20Poly1305,
}

impl Suite {
    /// The number that stands in the header.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::ChaCha20Poly1305 => 2,
        }
    }

    /// The suite with this number.
    ///
    /// # Errors
    /// [`Error::NewerVersion`] for any number but 1 and 2.
    pub fn from_number(number: u64) -> Result<Self, Error> {
        match number {
            1 => Ok(Self::Aes256Gcm),
            2 => Ok(Self::ChaCha20Poly1305),
            found => Err(Error::NewerVersion { field: "suite", found }),
        }
    }
}

/// The fields of a header, before anyone has checked how they go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// The cipher of the payload.
    pub suite: Suite,
    /// What the entry is about.
    pub thing: ThingId,
    /// 1 for the first entry of a thing, else 1 + the greatest seq of prev.
    pub seq: u64,
    /// The writer's clock, later than that of every prev.
    pub time: Time,
    /// The node at which the entry was written.
    pub origin: Origin,
    /// Who signed it.
    pub actor: Actor,
    /// The heads of the thing that the writer knew, ascending.
    pub prev: Vec<EntryId>,
    /// Keyed commitment to the body.
    pub data_hash: Hash,
    /// SHA-256 of the payload.
    pub payload_hash: Hash,
    /// Bytes of the payload.
    pub payload_len: u32,
}

/// A well-formed header. Its fields can be read and not changed.
///
/// ```
/// use thingdb_format::{Actor, Fields, Hash, Header, Origin, Suite, ThingId, Time};
/// let header = Header::new(Fields {
///     suite: Suite::Aes256Gcm,
///     thing: ThingId::new("part-42")?,
///     seq: 1,
///     time: Time::from_micros(0)?,
///     origin: Origin([1; 16]),
///     actor: Actor([2; 32]),
///     prev: vec![],
///     data_hash: Hash([3; 32]),
///     payload_hash: Hash([4; 32]),
///     payload_len: 61,
/// })?;
/// assert_eq!(Header::from_bytes(&header.to_bytes())?, header);
/// assert_eq!(header.seq, 1);
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header(Fields);

impl Header {
    /// Checks the fields against each other and against their limits.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::NotAscending`], [`Error::SeqWithoutPrev`].
    pub fn new(fields: Fields) -> Result<Self, Error> {
        within("seq", fields.seq, 1, MAX_SEQ)?;
        within("prev", fields.prev.len() as u64, 0, MAX_PREV as u64)?;
        within(
            "payload_len",
            u64::from(fields.payload_len),
            u64::from(MIN_PAYLOAD_BYTES),
            u64::from(MAX_PAYLOAD_BYTES),
        )?;
        if !fields.prev.is_sorted_by(|a, b| a < b) {
            return Err(Error::NotAscending { field: "prev" });
        }
        if (fields.seq == 1) != fields.prev.is_empty() {
            return Err(Error::SeqWithoutPrev { seq: fields.seq, prev: fields.prev.len() });
        }
        Ok(Self(fields))
    }

    /// Reads a header and nothing after it.
    ///
    /// # Errors
    /// Any [`Error`] of malformed bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        r.version(VERSION, "version")?;
        let suite = Suite::from_number(u64::from(r.u8("suite")?))?;
        let thing_len = r.u16("thing")?;
        within("thing", u64::from(thing_len), 1, ThingId::MAX_BYTES as u64)?;
        let thing = ThingId::new(utf8(r.take(usize::from(thing_len), "thing")?, "thing")?)?;
        let seq = r.u64("seq")?;
        let time = Time::from_micros(r.u64("time")?)?;
        let origin = Origin(r.array("origin")?);
        let actor = Actor(r.array("actor")?);
        let prev_count = r.u8("prev")?;
        within("prev", u64::from(prev_count), 0, MAX_PREV as u64)?;
        let prev = (0..prev_count).map(|_| r.array("prev").map(EntryId)).collect::<Result<_, _>>()?;
        let data_hash = Hash(r.array("data_hash")?);
        let payload_hash = Hash(r.array("payload_hash")?);
        let payload_len = r.u32("payload_len")?;
        r.finish("header")?;
        Self::new(Fields { suite, thing, seq, time, origin, actor, prev, data_hash, payload_hash, payload_len })
    }

    /// The one spelling of the header: what is hashed and signed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let thing = self.thing.as_str().as_bytes();
        let mut out = Vec::with_capacity(MAX_HEADER_BYTES.min(256));
        out.push(VERSION);
        out.push(self.suite.number());
        let thing_len = u16::try_from(thing.len()).expect("thing ids have at most 512 bytes");
        out.extend_from_slice(&thing_len.to_be_bytes());
        out.extend_from_slice(thing);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.time.micros().to_be_bytes());
        out.extend_from_slice(&self.origin.0);
        out.extend_from_slice(&self.actor.0);
        out.push(u8::try_from(self.prev.len()).expect("prev has at most 32 entries"));
        for prev in &self.prev {
            out.extend_from_slice(&prev.0);
        }
        out.extend_from_slice(&self.data_hash.0);
        out.extend_from_slice(&self.payload_hash.0);
        out.extend_from_slice(&self.payload_len.to_be_bytes());
        out
    }

    /// The entry id: the name of the entry, over all of the header.
    #[must_use]
    pub fn id(&self) -> EntryId {
        id_of(&self.to_bytes())
    }
}

/// The entry id of a header's bytes.
#[must_use]
pub fn id_of(header: &[u8]) -> EntryId {
    let mut hash = Sha256::new();
    hash.update(label::ENTRY);
    hash.update([0]);
    hash.update(header);
    EntryId(hash.finalize().into())
}

impl Deref for Header {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(prev: &[u8], seq: u64) -> Fields {
        Fields {
            suite: Suite::ChaCha20Poly1305,
            thing: ThingId::new("part-42").unwrap(),
            seq,
            time: Time::from_micros(1_795_327_272_000_500).unwrap(),
            origin: Origin([1; 16]),
            actor: Actor([2; 32]),
            prev: prev.iter().map(|b| EntryId([*b; 32])).collect(),
            data_hash: Hash([3; 32]),
            payload_hash: Hash([4; 32]),
            payload_len: 61,
        }
    }

    #[test]
    fn what_decodes_encodes_back() {
        for (prev, seq) in [(&[][..], 1), (&[9], 2), (&[1, 2, 200], MAX_SEQ)] {
            let header = Header::new(sample(prev, seq)).unwrap();
            assert_eq!(Header::from_bytes(&header.to_bytes()).unwrap(), header);
        }
    }

    #[test]
    fn every_truncation_and_extension_is_refused() {
        let bytes = Header::new(sample(&[1, 2], 2)).unwrap().to_bytes();
        for len in 0..bytes.len() {
            assert!(Header::from_bytes(&bytes[..len]).is_err(), "{len}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(matches!(Header::from_bytes(&longer), Err(Error::Trailing { .. })));
    }

    #[test]
    fn every_bit_flipped_is_refused_or_another_entry() {
        let header = Header::new(sample(&[1, 2], 2)).unwrap();
        let bytes = header.to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = Header::from_bytes(&flipped) {
                assert_ne!(other.id(), header.id());
                assert_eq!(other.to_bytes(), flipped);
            }
        }
    }

    #[test]
    fn rules_between_fields_hold() {
        assert!(matches!(Header::new(sample(&[], 2)), Err(Error::SeqWithoutPrev { .. })));
        assert!(matches!(Header::new(sample(&[1], 1)), Err(Error::SeqWithoutPrev { .. })));
        assert!(matches!(Header::new(sample(&[2, 1], 2)), Err(Error::NotAscending { .. })));
        assert!(matches!(Header::new(sample(&[1, 1], 2)), Err(Error::NotAscending { .. })));
        assert!(Header::new(sample(&[], 0)).is_err());
        assert!(Header::new(sample(&[1], MAX_SEQ + 1)).is_err());
        let many: Vec<u8> = (0..33).collect();
        assert!(Header::new(sample(&many, 2)).is_err());
    }

    #[test]
    fn sizes_are_those_of_the_document() {
        let mut fields = sample(&[], 1);
        fields.thing = ThingId::new("x").unwrap();
        assert_eq!(Header::new(fields).unwrap().to_bytes().len(), MIN_HEADER_BYTES);
        let most: Vec<u8> = (0..32).collect();
        let mut fields = sample(&most, 2);
        fields.thing = ThingId::new(&"x".repeat(512)).unwrap();
        assert_eq!(Header::new(fields).unwrap().to_bytes().len(), MAX_HEADER_BYTES);
    }
}
