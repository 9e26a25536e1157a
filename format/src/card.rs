//! The card: what one hands to a peer, a node's public keys and those of its
//! actors, signed by the node.
//!
//! ```text
//! version 1 | time 8 | node key 32 | encryption key 32 | tls 1 + 0 or 32
//! name 1 + n | actors 2 | (actor key 32 | actor name 1 + n)… | signature 64
//! ```

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use data_encoding::BASE64;

use crate::body::MAX_NAME_BYTES;
use crate::codec::{Reader, label32, plain_text, push_short_text, within};
use crate::json::base64;
use crate::{Actor, EncryptionKey, Error, Hash, NodeKey, SigningKey, Time, Verifier, label};

/// Version of the card.
pub(crate) const VERSION: u8 = 1;

const LABEL: [u8; 32] = label32(label::CARD);

/// What the text of a card starts with.
const PREFIX: &str = "tdbcard1:";

/// What a card says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardFields {
    /// When the card was made; the newer card of a node counts.
    pub time: Time,
    /// Signs checkpoints and cards, and names the node.
    pub node_key: NodeKey,
    /// Receives CEKs.
    pub encryption_key: EncryptionKey,
    /// SHA-256 of the DER of the node's TLS certificate.
    pub tls: Option<Hash>,
    /// What the node calls itself; may be empty. A claim.
    pub name: String,
    /// The node's actors with their names, ascending by key. Names are claims.
    pub actors: Vec<(Actor, String)>,
}

/// A card whose keys are acceptable and whose signature holds. That the node
/// key is the one of the node one means is for people to compare, by its
/// fingerprint.
///
/// ```
/// use thingdb_format::{Card, CardFields, DecryptionKey, SigningKey, Time};
/// let node = SigningKey::generate(&mut rand::rng());
/// let card = Card::sign(
///     CardFields {
///         time: Time::from_micros(0)?,
///         node_key: node.node_key(),
///         encryption_key: DecryptionKey::generate(&mut rand::rng()).encryption_key(),
///         tls: None,
///         name: "workshop".into(),
///         actors: vec![(SigningKey::generate(&mut rand::rng()).actor(), "alice".into())],
///     },
///     &node,
/// )?;
/// let text = card.to_string();
/// assert!(text.starts_with("tdbcard1:"));
/// assert_eq!(text.parse::<Card>()?.name, "workshop");
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Card {
    fields: CardFields,
    signature: [u8; 64],
}

impl Card {
    /// How many actors a card may name.
    pub const MAX_ACTORS: usize = 1024;

    /// Smallest card, in bytes.
    pub const MIN_BYTES: usize = 141;

    /// Largest card, in bytes.
    pub const MAX_BYTES: usize = 165_165;

    /// Signs a card with the node key that it names.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Length`], [`Error::Text`], [`Error::NotAscending`] or
    /// [`Error::UnacceptableKey`] for what may not stand in a card,
    /// [`Error::BadSignature`] if `key` is not that of the node.
    pub fn sign(fields: CardFields, key: &SigningKey) -> Result<Self, Error> {
        check(&fields)?;
        if key.node_key() != fields.node_key {
            return Err(Error::BadSignature { what: "the card" });
        }
        let signature = key.sign(&signed(&encode(&fields)));
        Ok(Self { fields, signature })
    }

    /// Reads a card and nothing after it, and checks its signature.
    ///
    /// # Errors
    /// Any [`Error`] of malformed bytes, [`Error::UnacceptableKey`],
    /// [`Error::BadSignature`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        r.version(VERSION, "card version")?;
        let time = Time::from_micros(r.u64("time")?)?;
        let node_key = NodeKey(r.array("node key")?);
        let encryption_key = EncryptionKey(r.array("encryption key")?);
        let tls = match r.u8("tls")? {
            0 => None,
            32 => Some(Hash(r.array("tls")?)),
            _ => return Err(Error::Malformed { what: "tls", problem: "is neither empty nor 32 bytes" }),
        };
        let name = r.short_text("name")?.to_owned();
        let count = r.u16("actors")?;
        within("actors", u64::from(count), 0, Self::MAX_ACTORS as u64)?;
        let actor = |_| Ok((Actor(r.array("actor key")?), r.short_text("actor name")?.to_owned()));
        let actors = (0..count).map(actor).collect::<Result<_, Error>>()?;
        let signature = r.array("signature")?;
        r.finish("card")?;
        let fields = CardFields { time, node_key, encryption_key, tls, name, actors };
        let verifier = Verifier::new(&fields.node_key.0)?;
        verifier.verify(&signed(&encode(&fields)), &signature, "the card")?;
        check(&fields)?;
        Ok(Self { fields, signature })
    }

    /// The one spelling of the card.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = encode(&self.fields);
        out.extend_from_slice(&self.signature);
        out
    }
}

impl Deref for Card {
    type Target = CardFields;

    fn deref(&self) -> &CardFields {
        &self.fields
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE64.encode_display(&self.to_bytes()))
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Card").field(&self.fields).finish()
    }
}

impl FromStr for Card {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let problem = "does not start with `tdbcard1:`";
        let text = text.strip_prefix(PREFIX).ok_or(Error::Malformed { what: "card", problem })?;
        Self::from_bytes(&base64("card", text, Self::MAX_BYTES)?)
    }
}

/// The rules between the fields. Keys come last: they cost the most.
fn check(fields: &CardFields) -> Result<(), Error> {
    plain_text("name", &fields.name, 0, MAX_NAME_BYTES as u64)?;
    within("actors", fields.actors.len() as u64, 0, Card::MAX_ACTORS as u64)?;
    if !fields.actors.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(Error::NotAscending { field: "actors" });
    }
    for (_, name) in &fields.actors {
        plain_text("actor name", name, 1, MAX_NAME_BYTES as u64)?;
    }
    Verifier::new(&fields.node_key.0)?;
    fields.encryption_key.check()?;
    for (actor, _) in &fields.actors {
        Verifier::new(&actor.0)?;
    }
    Ok(())
}

/// All but the signature. Lengths fit: names were bounded to 255 bytes and the
/// actors to 65535 by whoever made the fields.
fn encode(fields: &CardFields) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.push(VERSION);
    out.extend_from_slice(&fields.time.micros().to_be_bytes());
    out.extend_from_slice(&fields.node_key.0);
    out.extend_from_slice(&fields.encryption_key.0);
    match &fields.tls {
        None => out.push(0),
        Some(hash) => {
            out.push(32);
            out.extend_from_slice(&hash.0);
        }
    }
    push_short_text(&mut out, &fields.name);
    let count = u16::try_from(fields.actors.len()).expect("a card names at most 1024 actors");
    out.extend_from_slice(&count.to_be_bytes());
    for (actor, name) in &fields.actors {
        out.extend_from_slice(&actor.0);
        push_short_text(&mut out, name);
    }
    out
}

fn signed(encoded: &[u8]) -> Vec<u8> {
    [&LABEL[..], encoded].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DecryptionKey;

    fn node() -> SigningKey {
        SigningKey::from_seed(&[1; 32])
    }

    fn fields() -> CardFields {
        let mut actors: Vec<_> =
            (2..5).map(|seed| (SigningKey::from_seed(&[seed; 32]).actor(), format!("actor {seed}"))).collect();
        actors.sort();
        CardFields {
            time: Time::from_micros(1_795_327_272_000_500).unwrap(),
            node_key: node().node_key(),
            encryption_key: DecryptionKey::from_bytes([6; 32]).encryption_key(),
            tls: Some(Hash([7; 32])),
            name: "wörkshop".into(),
            actors,
        }
    }

    #[test]
    fn a_card_comes_back_from_bytes_and_text() {
        for tls in [None, Some(Hash([7; 32]))] {
            let card = Card::sign(CardFields { tls, ..fields() }, &node()).unwrap();
            assert_eq!(Card::from_bytes(&card.to_bytes()).unwrap(), card);
            assert_eq!(card.to_string().parse::<Card>().unwrap(), card);
        }
    }

    #[test]
    fn every_bit_flipped_and_every_truncation_is_refused() {
        let bytes = Card::sign(fields(), &node()).unwrap().to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Card::from_bytes(&flipped).is_err(), "{bit}");
        }
        for len in 0..bytes.len() {
            assert!(Card::from_bytes(&bytes[..len]).is_err(), "{len}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(matches!(Card::from_bytes(&longer), Err(Error::Trailing { .. })));
    }

    #[test]
    fn what_may_not_stand_in_a_card_is_refused() {
        let refused = |fields| Card::sign(fields, &node()).unwrap_err();
        assert!(matches!(refused(CardFields { name: "a\n".into(), ..fields() }), Error::Text { .. }));
        assert!(matches!(refused(CardFields { name: "a".repeat(129), ..fields() }), Error::Length { .. }));
        let mut bad = fields();
        bad.actors.reverse();
        assert!(matches!(refused(bad), Error::NotAscending { .. }));
        let mut bad = fields();
        bad.actors[1] = bad.actors[0].clone();
        assert!(matches!(refused(bad), Error::NotAscending { .. }));
        let mut bad = fields();
        bad.actors[0].1.clear();
        assert!(matches!(refused(bad), Error::Length { .. }));
        let mut bad = fields();
        bad.actors = vec![(Actor([0; 32]), "nobody".into())];
        assert!(matches!(refused(bad), Error::UnacceptableKey { .. }));
        let bad = CardFields { encryption_key: EncryptionKey([0; 32]), ..fields() };
        assert!(matches!(refused(bad), Error::UnacceptableKey { .. }));
        let other = Card::sign(fields(), &SigningKey::from_seed(&[9; 32])).unwrap_err();
        assert!(matches!(other, Error::BadSignature { .. }));
    }

    #[test]
    fn text_has_one_spelling() {
        let text = Card::sign(fields(), &node()).unwrap().to_string();
        for bad in [
            "",
            "tdbcard1:",
            "tdbcard2:AAAA",
            &text[1..],
            &format!("{text}\n"),
            &format!("{text}="),
            &text.to_uppercase(),
        ] {
            assert!(bad.parse::<Card>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_those_of_the_document() {
        let least = CardFields { tls: None, name: String::new(), actors: vec![], ..fields() };
        assert_eq!(Card::sign(least, &node()).unwrap().to_bytes().len(), Card::MIN_BYTES);
        // Keys that are not acceptable, but that is for `check`, not for sizes.
        let actors = (0..1024_u16)
            .map(|n| {
                let mut key = [0; 32];
                key[..2].copy_from_slice(&n.to_be_bytes());
                (Actor(key), "x".repeat(128))
            })
            .collect();
        let most = CardFields { name: "x".repeat(128), actors, ..fields() };
        assert_eq!(encode(&most).len() + 64, Card::MAX_BYTES);
    }
}
