//! Symmetric keys of data at rest.
//!
//! ```text
//! nonce 12 (random) ‖ ciphertext ‖ tag 16
//! ```

use std::fmt;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use hkdf::Hkdf;
use rand::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 12;
/// Bytes of the tag behind a ciphertext.
pub const TAG_BYTES: usize = 16;

/// An AES-256-GCM key with its schedule computed once.
///
/// Nonces are random, so one key may seal 2³² times (SP 800-38D, section 8.3)
/// before the chance of a repeated nonce passes 2⁻³².
pub struct SealKey(Box<Aes256Gcm>);

impl SealKey {
    /// How many bytes longer than its plaintext something sealed is.
    pub const OVERHEAD: usize = NONCE_BYTES + TAG_BYTES;

    /// The key with these bytes.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Box::new(Aes256Gcm::new(key.into())))
    }

    /// Seals `plaintext`; `aad` is needed to open it again.
    #[must_use]
    pub fn seal(&self, aad: &[u8], plaintext: &[u8], rng: &mut impl CryptoRng) -> Vec<u8> {
        let mut out = Vec::with_capacity(plaintext.len() + Self::OVERHEAD);
        self.seal_into(aad, plaintext, rng, &mut out);
        out
    }

    /// Seals `plaintext` and appends the result to `out`.
    pub fn seal_into(&self, aad: &[u8], plaintext: &[u8], rng: &mut impl CryptoRng, out: &mut Vec<u8>) {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        // Room first: a plaintext must not be left behind in a freed buffer.
        out.reserve(plaintext.len() + Self::OVERHEAD);
        out.extend_from_slice(&nonce);
        self.seal_with(&nonce, aad, plaintext, out);
    }

    /// Seals `plaintext` under a nonce that this key never had before, and appends
    /// the ciphertext and the tag to `out`.
    pub fn seal_with(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], plaintext: &[u8], out: &mut Vec<u8>) {
        out.reserve(plaintext.len() + TAG_BYTES);
        let start = out.len();
        out.extend_from_slice(plaintext);
        let tag = self
            .0
            .encrypt_inout_detached(&Nonce::from(*nonce), aad, (&mut out[start..]).into())
            .expect("a plaintext in memory is below the 64 GiB limit of the cipher");
        out.extend_from_slice(&tag);
    }

    /// What was sealed; nothing if the key or `aad` is another one or the
    /// bytes were changed.
    #[must_use]
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        self.open_with(nonce, aad, rest)
    }

    /// What was sealed under this nonce: ciphertext and tag.
    #[must_use]
    pub fn open_with(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (ciphertext, tag) = sealed.split_last_chunk::<TAG_BYTES>()?;
        let mut out = ciphertext.to_vec();
        self.0.decrypt_inout_detached(&Nonce::from(*nonce), aad, out.as_mut_slice().into(), &Tag::from(*tag)).ok()?;
        Some(out)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

/// 32 secret bytes in one place on the heap, so that moving them leaves no
/// copy behind.
pub struct Secret(Box<Zeroizing<[u8; 32]>>);

impl Secret {
    /// Fresh random bytes.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut secret = Self::zeroed();
        rng.fill_bytes(&mut secret.0[..]);
        secret
    }

    /// A copy of these bytes.
    #[must_use]
    pub fn copy_of(bytes: &[u8; 32]) -> Self {
        let mut secret = Self::zeroed();
        secret.0.copy_from_slice(bytes);
        secret
    }

    /// All zero, to be filled.
    pub(super) fn zeroed() -> Self {
        Self(Box::new(Zeroizing::new([0; 32])))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The bytes as a key of data at rest.
    #[must_use]
    pub fn seal_key(&self) -> SealKey {
        SealKey::new(&self.0)
    }

    /// HKDF-Expand to as many bytes as `out` has, at most 8160: see
    /// [`expand`](Self::expand).
    pub fn expand_into(&self, info: &[&[u8]], out: &mut [u8]) {
        Hkdf::<Sha256>::from_prk(&self.0[..])
            .expect("32 bytes are enough for a pseudorandom key")
            .expand_multi_info(info, out)
            .expect("it is asked for few bytes");
    }

    /// HKDF-Expand with SHA-256 (RFC 5869, section 2.3). The bytes are random
    /// or the output of a KDF, so there is no extract step.
    #[must_use]
    pub fn expand(&self, info: &[&[u8]]) -> Self {
        let mut out = Self::zeroed();
        self.expand_into(info, &mut out.0[..]);
        out
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_bit_and_every_cut_is_noticed() {
        let mut rng = rand::rng();
        let key = Secret::generate(&mut rng).seal_key();
        for plaintext in [&b""[..], b"x", &[7; 300]] {
            let sealed = key.seal(b"row", plaintext, &mut rng);
            assert_eq!(sealed.len(), plaintext.len() + SealKey::OVERHEAD);
            assert_eq!(key.open(b"row", &sealed).unwrap(), plaintext);
            assert!(key.open(b"other row", &sealed).is_none());
            for bit in 0..sealed.len() * 8 {
                let mut changed = sealed.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(key.open(b"row", &changed).is_none(), "bit {bit}");
            }
            for len in 0..sealed.len() {
                assert!(key.open(b"row", &sealed[..len]).is_none(), "{len} bytes");
            }
        }
    }

    #[test]
    fn sealing_twice_gives_different_bytes_and_appends() {
        let mut rng = rand::rng();
        let key = SealKey::new(&[3; 32]);
        assert_ne!(key.seal(b"", b"same", &mut rng), key.seal(b"", b"same", &mut rng));
        let mut out = b"before".to_vec();
        key.seal_into(b"", b"same", &mut rng, &mut out);
        let sealed = out.strip_prefix(b"before").unwrap();
        assert_eq!(key.open(b"", sealed).unwrap(), b"same");
    }

    #[test]
    fn layout_is_that_of_plain_aes_gcm() {
        // Test case 14 of the GCM specification: key, nonce and plaintext of zeros.
        let sealed = data_encoding::HEXLOWER
            .decode(b"000000000000000000000000cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919")
            .unwrap();
        assert_eq!(SealKey::new(&[0; 32]).open(b"", &sealed).unwrap(), [0; 16]);
    }

    #[test]
    fn secrets_print_as_a_stand_in() {
        assert_eq!(
            format!("{:?} {:?}", SealKey::new(&[0xab; 32]), Secret::copy_of(&[0xab; 32])),
            "SealKey(..) Secret(..)"
        );
    }

    /// Run in release to see the figures: the best of many short runs, which
    /// other work on the machine does not change.
    #[test]
    #[ignore = "measures, claims nothing"]
    fn speed() {
        let best_of = |what: &str, run: &mut dyn FnMut()| {
            let nanos_of = |_| {
                let start = std::time::Instant::now();
                (0..1000).for_each(|_| run());
                start.elapsed().as_nanos() / 1000
            };
            println!("{what}: {} ns", (0..2000).map(nanos_of).min().unwrap());
        };
        let mut rng = rand::rng();
        let key = Secret::generate(&mut rng).seal_key();
        let aad = b"0123456789abcdef01234567";
        let mut out = Vec::with_capacity(400);
        for len in [32, 288, 300, 304] {
            let plaintext = std::hint::black_box(vec![7; len]);
            let sealed = key.seal(aad, &plaintext, &mut rng);
            best_of(&format!("seal_into {len} B"), &mut || {
                out.clear();
                key.seal_into(aad, &plaintext, &mut rng, &mut out);
                std::hint::black_box(&out);
            });
            best_of(&format!("open {len} B"), &mut || drop(std::hint::black_box(key.open(aad, &sealed))));
        }
        best_of("new", &mut || drop(std::hint::black_box(SealKey::new(&[7; 32]))));
    }
}
