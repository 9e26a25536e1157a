//! One ciphertext that opens under two keys to two messages: AES-GCM lets a
//! forger make it. The commitment in the header lets nobody use it.
//!
//! The forgery is real: GHASH is linear, so with one free block the tag can be
//! made the same under both keys (Dodis et al., CRYPTO 2018; Len et al., USENIX
//! Security 2021).

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use thingdb_format::{Cek, Error, Fields, Hash, Header, Origin, SigningKey, Suite, ThingId, Time, payload};

/// An element of GF(2^128) in GCM's order of bits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Field(u128);

impl Field {
    const ONE: Self = Self(1 << 127);

    fn of(block: &[u8]) -> Self {
        let mut bytes = [0; 16];
        bytes[..block.len()].copy_from_slice(block);
        Self(u128::from_be_bytes(bytes))
    }

    fn add(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }

    /// NIST SP 800-38D, algorithm 1.
    fn mul(self, other: Self) -> Self {
        let (mut product, mut v) = (0, other.0);
        for bit in (0..128).rev() {
            if self.0 >> bit & 1 == 1 {
                product ^= v;
            }
            v = if v & 1 == 1 { v >> 1 ^ 0xe1 << 120 } else { v >> 1 };
        }
        Self(product)
    }

    /// By Fermat: x^(2^128 - 2).
    fn inverse(self) -> Self {
        let (mut result, mut power) = (Self::ONE, self);
        for _ in 1..128 {
            power = power.mul(power);
            result = result.mul(power);
        }
        result
    }

    fn pow(self, n: u32) -> Self {
        (0..n).fold(Self::ONE, |product, _| product.mul(self))
    }
}

/// The key stream of AES-GCM under `key` and the zero nonce, by sealing zeros.
fn key_stream(key: &[u8; 32], len: usize) -> Vec<u8> {
    let sealed = Aes256Gcm::new(key.into()).encrypt(&Nonce::from([0; 12]), &vec![0; len][..]).unwrap();
    sealed[..len].to_vec()
}

/// E_k(0) and E_k(nonce, counter 1), from tags of messages that are known.
fn hash_key_and_mask(key: &[u8; 32]) -> (Field, Field) {
    let tag = |aad: &[u8]| {
        let sealed = Aes256Gcm::new(key.into()).encrypt(&Nonce::from([0; 12]), Payload { msg: &[], aad }).unwrap();
        Field::of(&sealed)
    };
    // Without data the tag is the mask; with one block of it, it is the mask
    // plus block·H² plus length·H.
    let mask = tag(&[]);
    let (one, two) = (Field::ONE.0.to_be_bytes(), Field(1 << 126).0.to_be_bytes());
    let difference = tag(&one).add(tag(&two));
    let square = difference.mul(Field::of(&one).add(Field::of(&two)).inverse());
    // The square root in GF(2^128) is the 127th square.
    let hash_key = (0..127).fold(square, |x, _| x.mul(x));
    (hash_key, mask)
}

/// A payload of `blocks` blocks, and its tag, that opens under both keys. Its
/// first block decrypts to `first` under `k1`.
fn forge(k1: &[u8; 32], k2: &[u8; 32], aad: &[u8], first: &[u8; 16]) -> Vec<u8> {
    const BLOCKS: usize = 3;
    let keys = [k1, k2].map(|key| (hash_key_and_mask(key), key));
    let stream = key_stream(k1, 16);
    let mut blocks = [[0_u8; 16]; BLOCKS];
    for (at, byte) in blocks[0].iter_mut().enumerate() {
        *byte = first[at] ^ stream[at];
    }
    let lengths = ((aad.len() as u128 * 8) << 64) | (BLOCKS as u128 * 128);
    let aad_blocks: Vec<Field> = aad.chunks(16).map(Field::of).collect();
    // tag = mask + Σ block·H^(place), places from the end; the length is at 1,
    // the last block, which is free, at 2.
    let constant = |((hash_key, mask), _): &((Field, Field), &[u8; 32])| {
        let mut sum = mask.add(Field(lengths).mul(*hash_key));
        let all = aad_blocks.iter().copied().chain(blocks.iter().map(|block| Field::of(block)));
        let count = u32::try_from(aad_blocks.len() + BLOCKS).unwrap();
        for (place, block) in all.enumerate() {
            sum = sum.add(block.mul(hash_key.pow(count - u32::try_from(place).unwrap() + 1)));
        }
        sum
    };
    // free·(H1² + H2²) = constant1 + constant2
    let sum = constant(&keys[0]).add(constant(&keys[1]));
    let squares = keys[0].0.0.pow(2).add(keys[1].0.0.pow(2));
    let free = sum.mul(squares.inverse());
    let tag = constant(&keys[0]).add(free.mul(keys[0].0.0.pow(2)));
    blocks[BLOCKS - 1] = free.0.to_be_bytes();
    [blocks.concat(), tag.0.to_be_bytes().to_vec()].concat()
}

fn payload_key(cek: &Cek) -> [u8; 32] {
    let mut key = [0; 32];
    hkdf::Hkdf::<sha2::Sha256>::from_prk(cek.as_bytes())
        .unwrap()
        .expand_multi_info(&[b"thingdb/1/payload", &[1]], &mut key)
        .unwrap();
    key
}

#[test]
fn a_payload_that_opens_under_two_keys_is_refused() {
    let ceks = [Cek::from_bytes([1; 32]), Cek::from_bytes([2; 32])];
    let keys = [payload_key(&ceks[0]), payload_key(&ceks[1])];
    // A body that is well formed under the first key.
    let first = b"\0\x01a\x01b\x01c for bob ";
    let forged = forge(&keys[0], &keys[1], b"thingdb/1/body", first[..16].try_into().unwrap());

    // The cipher alone is taken in: both keys open it, to different messages.
    let open = |key: &[u8; 32]| {
        let payload = Payload { msg: &forged, aad: b"thingdb/1/body" };
        Aes256Gcm::new(key.into()).decrypt(&Nonce::from([0; 12]), payload).expect("the forgery is good")
    };
    let plaintexts = [open(&keys[0]), open(&keys[1])];
    assert_ne!(plaintexts[0], plaintexts[1]);

    // The header commits to one of them, so the other is refused.
    let actor = SigningKey::from_seed(&[3; 32]).actor();
    for committed in 0..2 {
        let data_hash = payload::commitment(Suite::Aes256Gcm, &ceks[committed], &plaintexts[committed]);
        let header = Header::new(Fields {
            suite: Suite::Aes256Gcm,
            thing: ThingId::new("x").unwrap(),
            seq: 1,
            time: Time::from_micros(1).unwrap(),
            origin: Origin([4; 16]),
            actor,
            prev: vec![],
            data_hash,
            payload_hash: Hash::of(&forged),
            payload_len: u32::try_from(forged.len()).unwrap(),
        })
        .unwrap();
        payload::check(&header, &forged).unwrap();
        let other = payload::open(&header, &ceks[1 - committed], &forged).unwrap_err();
        // What begins as no encoding that is known is not looked at further.
        let is_known = plaintexts[1 - committed][0] < 4;
        let is_bad_hash = matches!(other, Error::BadHash { field: "data_hash", .. });
        assert!(if is_known { is_bad_hash } else { other.is_newer_version() }, "{other}");
        if committed == 0 {
            assert_eq!(payload::open(&header, &ceks[0], &forged).unwrap().as_bytes(), plaintexts[0]);
        }
    }
}
