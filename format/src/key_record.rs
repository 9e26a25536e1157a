//! Key records: what an actor's key log says of its keys, a record a step.
//!
//! The record is the data of an ordinary entry of the reserved thing
//! `thingdb:actor/<first key>`, and public: everybody who holds the log can decide from
//! its bytes alone which keys are the actor's.
//!
//! ```
//! use thingdb_format::key_record::{self, KeyRecord};
//! use thingdb_format::SigningKey;
//! let (first, next) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
//! let promise = key_record::promise(&next.actor());
//! let record = KeyRecord::introduced("alice", first.actor(), Some(promise))?;
//! assert_eq!(KeyRecord::from_json(record.to_json().as_bytes())?, record);
//! assert_eq!(key_record::first_key(&key_record::thing(&first.actor())), Some(first.actor()));
//! # Ok::<(), thingdb_format::Error>(())
//! ```

use sha2::{Digest, Sha256};

use serde::de::MapAccess;

use crate::body::MAX_NAME_BYTES;
use crate::checkpoint::MAX_SIZE;
use crate::codec::{label32, plain_text, within};
use crate::erasure::MAX_REASON_BYTES;
use crate::json::{self, List, Members, Object, Seed, base64_array, hex, push_base64, push_string};
use crate::{
    Actor, Body, Envelope, Error, Hash, Header, KekPacket, Origin, SigningKey, ThingId, Verifier, envelope, label,
    payload,
};

/// The media type of a key record.
pub const MEDIA_TYPE: &str = "application/vnd.thingdb.key+json";

/// The action of a key record.
pub const ACTION: &str = "key";

/// How the ids of things begin that are kept for what the format itself says.
pub const RESERVED: &str = "thingdb:";

/// How the id of a key log begins; the actor's first key in hex follows.
pub const THINGS: &str = "thingdb:actor/";

/// States of ledgers that one revocation names, at most.
pub const MAX_AS_OF: usize = 256;

const VERSION: u64 = 1;

/// Public packets of an envelope that are tried.
const MAX_PACKETS: usize = 4;

const SUCCESSOR_LABEL: [u8; 32] = label32(label::SIGN_SUCCESSOR);

/// The thing that holds the key log of the actor with this first key.
#[must_use]
pub fn thing(first: &Actor) -> ThingId {
    ThingId::new(&format!("{THINGS}{first}")).expect("it is short and has no control character")
}

/// The first key of the actor whose key log a thing is; nothing if it is none.
#[must_use]
pub fn first_key(thing: &ThingId) -> Option<Actor> {
    thing.as_str().strip_prefix(THINGS)?.parse().ok()
}

/// Whether a thing is within a prefix of things that one exchanges: it begins so, or it is
/// a key log, without which nobody can say whose signatures hold.
#[must_use]
pub fn is_within(thing: &ThingId, prefix: &str) -> bool {
    thing.as_str().starts_with(prefix) || first_key(thing).is_some()
}

/// What is said in advance of the key that signs the next record: its hash.
#[must_use]
pub fn promise(next: &Actor) -> Hash {
    let mut hash = Sha256::new_with_prefix(label::NEXT_KEY);
    hash.update([0]);
    hash.update(next.0);
    Hash(hash.finalize().into())
}

/// What the new key of an actor signs: that it is to follow in this log, by this record.
fn successor_message(first: &Actor, signer: &Actor) -> [u8; 96] {
    let mut message = [0; 96];
    let (label, keys) = message.split_at_mut(32);
    label.copy_from_slice(&SUCCESSOR_LABEL);
    let (one, two) = keys.split_at_mut(32);
    one.copy_from_slice(&first.0);
    two.copy_from_slice(&signer.0);
    message
}

/// A ledger as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerState {
    /// The node whose ledger it is.
    pub origin: Origin,
    /// Its entries.
    pub size: u64,
    /// The root of the Merkle tree over them.
    pub root: Hash,
}

/// The key with which an actor goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Successor {
    /// The key that signs entries from now on.
    pub key: Actor,
    /// Its signature that it does.
    proof: [u8; 64],
    /// The hash of the key that will sign the next record; nothing if there is to be
    /// none.
    pub next: Option<Hash>,
}

impl Successor {
    /// The key goes on in the log that begins with `first`, by a record that `signer`,
    /// the promised key, signs.
    #[must_use]
    pub fn new(key: &SigningKey, first: &Actor, signer: &Actor, next: Option<Hash>) -> Self {
        Self { key: key.actor(), proof: key.sign(&successor_message(first, signer)), next }
    }
}

/// What a revocation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The key that is revoked.
    pub key: Actor,
    /// What it signed is good where it stands in one of these; strictly ascending.
    as_of: Vec<LedgerState>,
    reason: String,
    /// With which key the actor goes on; nothing if it ends.
    pub successor: Option<Successor>,
}

impl Revoked {
    /// The states of ledgers in which entries of the key are good.
    #[must_use]
    pub fn as_of(&self) -> &[LedgerState] {
        &self.as_of
    }

    /// Why it was revoked.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// One step of a key log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyRecord {
    /// The first one, signed by the key itself.
    Introduced {
        /// What the actor calls itself. A claim.
        name: String,
        /// The actor's first key.
        key: Actor,
        /// The hash of the key that will sign the next record; nothing if there is to
        /// be none.
        next: Option<Hash>,
    },
    /// Another key takes the place of the one before; signed by the promised key.
    Rotated(Successor),
    /// A key is not to be believed any more but where its entries are shown to stand;
    /// signed by the promised key.
    Revoked(Revoked),
}

impl KeyRecord {
    /// An actor shows itself.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::Text`] for the name.
    pub fn introduced(name: &str, key: Actor, next: Option<Hash>) -> Result<Self, Error> {
        Self::Introduced { name: name.to_owned(), key, next }.checked()
    }

    /// What the key signed is good in these states of ledgers, in whatever order they are
    /// given, and nowhere else.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] without states, with too many or too large ones;
    /// [`Error::Length`] or [`Error::Text`] for the reason.
    pub fn revoked(
        key: Actor,
        mut as_of: Vec<LedgerState>,
        reason: &str,
        successor: Option<Successor>,
    ) -> Result<Self, Error> {
        as_of.sort_unstable();
        as_of.dedup();
        Self::Revoked(Revoked { key, as_of, reason: reason.to_owned(), successor }).checked()
    }

    /// The record that an entry of a key log holds. Everything in such a thing has to be
    /// one.
    ///
    /// # Errors
    /// [`Error::Malformed`] for another thing, body or signer; as [`Self::from_json`];
    /// [`Error::UnacceptableKey`], [`Error::BadSignature`] for the new key.
    pub fn of(header: &Header, body: &Body) -> Result<Self, Error> {
        let refuse = |problem| Error::Malformed { what: "key log", problem };
        let first = first_key(&header.thing).ok_or_else(|| refuse("it is another thing"))?;
        if body.action() != ACTION || body.media_type() != MEDIA_TYPE || body.attachment().is_some() {
            return Err(refuse("the entry is no key record"));
        }
        let record = Self::from_json(body.data())?;
        match &record {
            Self::Introduced { key, .. } if *key != first || header.actor != first => {
                return Err(refuse("another key than the first one introduces itself"));
            }
            Self::Introduced { .. } if header.seq != 1 => return Err(refuse("an introduction follows another entry")),
            Self::Introduced { .. } => {}
            _ if header.seq == 1 => return Err(refuse("a log begins without an introduction")),
            _ => {}
        }
        if let Some(successor) = record.successor() {
            let message = successor_message(&first, &header.actor);
            Verifier::new(&successor.key.0)?.verify(&message, &successor.proof, "the new key")?;
        }
        Ok(record)
    }

    /// The record in an entry of a key log, opened as everybody can: by a public packet.
    ///
    /// # Errors
    /// [`Error::Malformed`] if nobody can read it; as [`Self::of`].
    pub fn open(header: &Header, payload: Option<&[u8]>, envelopes: &[Envelope]) -> Result<Self, Error> {
        let id = crate::header::id_of(&header.to_bytes());
        let open = |envelope: &Envelope| {
            let mut keks = envelope.recipients.iter().filter_map(KekPacket::open_public).take(MAX_PACKETS);
            keks.find_map(|kek| {
                let cek = envelope::open_cek(&kek, &id, &envelope.cek).ok()?;
                payload::open(header, &cek, payload?).ok()
            })
        };
        let body = envelopes.iter().find_map(open);
        let unread = Error::Malformed { what: "key log", problem: "its payload or a public packet is not there" };
        Self::of(header, &body.ok_or(unread)?)
    }

    /// With which key the actor goes on, if the record says so.
    #[must_use]
    pub const fn successor(&self) -> Option<&Successor> {
        match self {
            Self::Introduced { .. } => None,
            Self::Rotated(successor) => Some(successor),
            Self::Revoked(revoked) => revoked.successor.as_ref(),
        }
    }

    /// The hash of the key that may sign the next record.
    #[must_use]
    pub fn next(&self) -> Option<Hash> {
        match self {
            Self::Introduced { next, .. } => *next,
            record => record.successor()?.next,
        }
    }

    /// Whether `signer` is the key that this record promises for the next one.
    #[must_use]
    pub fn promises(&self, signer: &Actor) -> bool {
        self.next() == Some(promise(signer))
    }

    /// The word for the kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Introduced { .. } => "introduced",
            Self::Rotated(_) => "rotated",
            Self::Revoked(_) => "revoked",
        }
    }

    /// Reads the data of a record.
    ///
    /// # Errors
    /// [`Error::Line`] with the column and what is wrong there; what
    /// [`Self::introduced`] and [`Self::revoked`] refuse; [`Error::NotAscending`].
    pub fn from_json(data: &[u8]) -> Result<Self, Error> {
        json::read_record::<WireRecord>(data)?.checked()
    }

    /// The data of the record.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = format!("{{\"v\":{VERSION},\"kind\":\"{}\"", self.kind()).into_bytes();
        match self {
            Self::Introduced { name, key, .. } => {
                out.extend_from_slice(b",\"name\":");
                push_string(&mut out, name);
                out.extend_from_slice(format!(",\"key\":\"{key}\"").as_bytes());
            }
            Self::Rotated(_) => {}
            Self::Revoked(Revoked { key, as_of, reason, .. }) => {
                out.extend_from_slice(format!(",\"revoked\":\"{key}\",\"as_of\":[").as_bytes());
                for (place, LedgerState { origin, size, root }) in as_of.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    let state = format!("{comma}{{\"origin\":\"{origin}\",\"size\":{size},\"root\":\"{root}\"}}");
                    out.extend_from_slice(state.as_bytes());
                }
                out.extend_from_slice(b"],\"reason\":");
                push_string(&mut out, reason);
            }
        }
        if let Some(Successor { key, proof, .. }) = self.successor() {
            out.extend_from_slice(format!(",\"key\":\"{key}\",\"proof\":\"").as_bytes());
            push_base64(&mut out, proof);
            out.push(b'"');
        }
        if let Some(next) = self.next() {
            out.extend_from_slice(format!(",\"next\":\"{next}\"").as_bytes());
        }
        out.push(b'}');
        String::from_utf8(out).expect("what is pushed is UTF-8")
    }

    fn checked(self) -> Result<Self, Error> {
        match &self {
            Self::Introduced { name, .. } => plain_text("name", name, 1, MAX_NAME_BYTES as u64)?,
            Self::Rotated(_) => {}
            Self::Revoked(Revoked { as_of, reason, .. }) => {
                within("as_of", as_of.len() as u64, 1, MAX_AS_OF as u64)?;
                as_of.iter().try_for_each(|state| within("size", state.size, 0, MAX_SIZE))?;
                if !as_of.is_sorted_by(|one, next| one < next) {
                    return Err(Error::NotAscending { field: "as_of" });
                }
                plain_text("reason", reason, 1, MAX_REASON_BYTES as u64)?;
            }
        }
        Ok(self)
    }
}

/// The kinds by their words.
#[derive(Clone, Copy)]
enum Kind {
    Introduced,
    Rotated,
    Revoked,
}

struct WireRecord;

impl Object for WireRecord {
    const NAME: &'static str = "key record";
    const MEMBERS: &'static [&'static str] =
        &["v", "kind", "name", "revoked", "as_of", "reason", "key", "proof", "next"];
    type Value = KeyRecord;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<KeyRecord, A::Error> {
        let faults = members.faults;
        let (mut v, mut kind, mut name_of, mut revoked, mut as_of) = (None, None, None, None, None);
        let (mut reason, mut key, mut proof, mut next) = (None, None, None, None);
        while let Some(name) = members.next()? {
            match name {
                "v" => members.number(name, &mut v, |found| match found {
                    VERSION => Ok(()),
                    found => Err(Error::NewerVersion { field: "v", found }),
                })?,
                "kind" => members.text(name, &mut kind, |text| match text {
                    "introduced" => Ok(Kind::Introduced),
                    "rotated" => Ok(Kind::Rotated),
                    "revoked" => Ok(Kind::Revoked),
                    _ => Err(Error::Malformed { what: "kind", problem: "is not introduced, rotated or revoked" }),
                })?,
                "name" => members.text(name, &mut name_of, |text| Ok(text.to_owned()))?,
                "revoked" => members.text(name, &mut revoked, |text| hex(name, text).map(Actor))?,
                "as_of" => {
                    let item = || Seed::<WireState>::new(faults);
                    members.value(name, &mut as_of, List { name, faults, most: MAX_AS_OF, item })?;
                }
                "reason" => members.text(name, &mut reason, |text| Ok(text.to_owned()))?,
                "key" => members.text(name, &mut key, |text| hex(name, text).map(Actor))?,
                "proof" => members.text(name, &mut proof, |text| base64_array(name, text))?,
                _ => members.text(name, &mut next, |text| hex(name, text).map(Hash))?,
            }
        }
        members.need("v", v)?;
        let kind = members.need("kind", kind)?;
        if !matches!(kind, Kind::Introduced) {
            members.refuse("name", &name_of)?;
        }
        if !matches!(kind, Kind::Revoked) {
            members.refuse("revoked", &revoked)?;
            members.refuse("as_of", &as_of)?;
            members.refuse("reason", &reason)?;
        }
        match kind {
            Kind::Introduced => {
                members.refuse("proof", &proof)?;
                let name = members.need("name", name_of)?;
                Ok(KeyRecord::Introduced { name, key: members.need("key", key)?, next })
            }
            Kind::Rotated => {
                let (key, proof) = (members.need("key", key)?, members.need("proof", proof)?);
                Ok(KeyRecord::Rotated(Successor { key, proof, next }))
            }
            Kind::Revoked => {
                let successor = match key {
                    Some(key) => Some(Successor { key, proof: members.need("proof", proof)?, next }),
                    None => {
                        members.refuse("proof", &proof)?;
                        members.refuse("next", &next)?;
                        None
                    }
                };
                let (key, as_of) = (members.need("revoked", revoked)?, members.need("as_of", as_of)?);
                Ok(KeyRecord::Revoked(Revoked { key, as_of, reason: members.need("reason", reason)?, successor }))
            }
        }
    }
}

struct WireState;

impl Object for WireState {
    const NAME: &'static str = "state of a ledger";
    const MEMBERS: &'static [&'static str] = &["origin", "size", "root"];
    type Value = LedgerState;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<LedgerState, A::Error> {
        let (mut origin, mut size, mut root) = (None, None, None);
        while let Some(name) = members.next()? {
            match name {
                "origin" => members.text(name, &mut origin, |text| hex(name, text).map(Origin))?,
                "size" => {
                    members.number(name, &mut size, |found| within("size", found, 0, MAX_SIZE).map(|()| found))?
                }
                _ => members.text(name, &mut root, |text| hex(name, text).map(Hash))?,
            }
        }
        Ok(LedgerState {
            origin: members.need("origin", origin)?,
            size: members.need("size", size)?,
            root: members.need("root", root)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fields, Suite, Time};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn header(thing: &ThingId, signer: &SigningKey, seq: u64) -> Header {
        let prev = if seq == 1 { vec![] } else { vec![crate::EntryId([9; 32])] };
        Header::new(Fields {
            suite: Suite::Aes256Gcm,
            thing: thing.clone(),
            seq,
            time: Time::MIN,
            origin: Origin([0; 16]),
            actor: signer.actor(),
            prev,
            data_hash: Hash([0; 32]),
            payload_hash: Hash([0; 32]),
            payload_len: 100,
        })
        .unwrap()
    }

    fn body(record: &KeyRecord) -> Body {
        Body::new("alice", ACTION, MEDIA_TYPE, record.to_json().as_bytes()).unwrap()
    }

    #[test]
    fn a_record_counts_in_its_own_log_and_by_its_own_signer_only() {
        let (first, next, new) = (key(1), key(2), key(3));
        let log = thing(&first.actor());
        let introduced = KeyRecord::introduced("alice", first.actor(), Some(promise(&next.actor()))).unwrap();
        assert!(introduced.promises(&next.actor()) && !introduced.promises(&new.actor()));
        assert_eq!(KeyRecord::of(&header(&log, &first, 1), &body(&introduced)).unwrap(), introduced);
        let other = thing(&next.actor());
        for wrong in [
            header(&log, &next, 1),
            header(&log, &first, 2),
            header(&other, &first, 1),
            header(&other, &next, 1),
            header(&ThingId::new("part-42").unwrap(), &first, 1),
        ] {
            assert!(KeyRecord::of(&wrong, &body(&introduced)).is_err(), "{wrong:?}");
        }
        let rotated = KeyRecord::Rotated(Successor::new(&new, &first.actor(), &next.actor(), None));
        assert_eq!(KeyRecord::of(&header(&log, &next, 2), &body(&rotated)).unwrap(), rotated);
        for wrong in [header(&log, &next, 1), header(&log, &new, 2), header(&other, &next, 2)] {
            assert!(KeyRecord::of(&wrong, &body(&rotated)).is_err(), "{wrong:?}");
        }
        let data = rotated.to_json();
        let as_update = Body::new("alice", "update", MEDIA_TYPE, data.as_bytes()).unwrap();
        assert!(KeyRecord::of(&header(&log, &next, 2), &as_update).is_err());
    }

    #[test]
    fn what_is_not_allowed_is_refused_when_it_is_made_and_when_it_is_read() {
        let state = |n: u8| LedgerState { origin: Origin([n; 16]), size: 7, root: Hash([n; 32]) };
        let revoked = |as_of, reason: &str| KeyRecord::revoked(key(1).actor(), as_of, reason, None);
        let made = revoked(vec![state(2), state(1), state(2)], "stolen").unwrap();
        let KeyRecord::Revoked(inner) = &made else { unreachable!("it is one") };
        assert_eq!(inner.as_of(), [state(1), state(2)]);
        assert_eq!(KeyRecord::from_json(made.to_json().as_bytes()).unwrap(), made);
        assert!(revoked(vec![], "stolen").is_err());
        assert!(revoked(vec![state(1)], "").is_err());
        assert!(revoked(vec![state(1)], "two\nlines").is_err());
        let many = |count: u64| (0..count).map(|size| LedgerState { size, ..state(1) }).collect::<Vec<_>>();
        assert!(revoked(many(256), "stolen").is_ok() && revoked(many(257), "stolen").is_err());
        for name in ["", "a\u{7}", &"x".repeat(129)] {
            assert!(KeyRecord::introduced(name, key(1).actor(), None).is_err(), "{name:?}");
        }
    }
}
