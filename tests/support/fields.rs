//! Trees of fields and payloads as somebody makes them who keeps to no rule: written from
//! the document, so that what the code makes is held against something.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use hmac::{Hmac, Mac};
use thingdb_format::fields::{FieldName, ShownField, ShownFields};
use thingdb_format::{Cek, Hash, merkle};

/// A leaf as it is written here: its kind, and what the kind says it holds.
pub type Leaf = (u8, Vec<u8>);

/// `Expand(cek, info)`.
fn expand(cek: &Cek, info: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let key = hkdf::Hkdf::<sha2::Sha256>::from_prk(cek.as_bytes()).expect("it has 32 bytes");
    key.expand(info, &mut out).expect("it is short");
    out
}

/// A value at a pointer.
#[must_use]
pub fn value(pointer: &str, value: &[u8]) -> Leaf {
    let len = u16::try_from(pointer.len()).expect("it is short");
    (4, [&len.to_be_bytes(), pointer.as_bytes(), value].concat())
}

/// The tree over any leaves, for an entry of suite 1.
#[derive(Debug)]
pub struct Tree {
    salts: Vec<[u8; 32]>,
    leaves: Vec<Hash>,
    key: [u8; 32],
}

impl Tree {
    /// Over these leaves, the first at index 0.
    #[must_use]
    pub fn new(cek: &Cek, leaves: &[Leaf]) -> Self {
        let salt = |index: u32| expand(cek, &[b"thingdb/1/field-salt", &[1][..], &index.to_be_bytes()].concat());
        let salts: Vec<_> = (0..u32::try_from(leaves.len()).expect("they are few")).map(salt).collect();
        let hash = |((kind, content), salt): (&Leaf, &[u8; 32])| {
            Hash::of(&[&b"\0thingdb/1/field\0"[..], salt, &[*kind], content].concat())
        };
        let leaves = leaves.iter().zip(&salts).map(hash).collect();
        Self { salts, leaves, key: expand(cek, b"thingdb/1/commitment\x01") }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.leaves.len()).expect("they are few")
    }

    /// What the header of such an entry commits to.
    #[must_use]
    pub fn data_hash(&self) -> Hash {
        let root = merkle::root(self.leaves.iter().copied());
        let mut mac = <Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(&self.key).expect("any length will do");
        mac.update(&[&[2][..], &self.count().to_be_bytes(), &root.0].concat());
        Hash(mac.finalize().into_bytes().into())
    }

    /// The leaf at `index`, called `name` and with this value, whatever it is.
    #[must_use]
    pub fn field(&self, index: u32, name: &str, value: &[u8]) -> ShownField {
        let at = index as usize;
        ShownField {
            index,
            name: name.parse::<FieldName>().expect("it is a name"),
            value: value.to_vec(),
            salt: self.salts[at],
            path: merkle::inclusion_proof(&self.leaves[..], index.into(), self.count().into()).expect("it is there"),
        }
    }

    /// These fields.
    #[must_use]
    pub fn shown(&self, fields: Vec<ShownField>) -> ShownFields {
        ShownFields { key: self.key, count: self.count(), fields }
    }
}

/// A payload of suite 1 over any bytes.
#[must_use]
pub fn payload(cek: &Cek, body: &[u8]) -> Vec<u8> {
    let key = expand(cek, b"thingdb/1/payload\x01");
    let mut bytes = body.to_vec();
    Aes256Gcm::new(&key.into())
        .encrypt_in_place(&Nonce::from([0; 12]), b"thingdb/1/body", &mut bytes)
        .expect("it is small");
    bytes
}
