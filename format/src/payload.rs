//! The payload: a body, sealed under the entry's own key, and the commitment
//! that ties the two together.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{Body, Cek, Error, Hash, Header, Suite, body, fields, label};

/// Every key seals one plaintext, so the nonce is a constant.
const NONCE: [u8; 12] = [0; 12];

/// A sealed body with the two hashes that go into the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Ciphertext and tag.
    pub payload: Vec<u8>,
    /// Keyed commitment to the body.
    pub data_hash: Hash,
    /// SHA-256 of the payload.
    pub payload_hash: Hash,
}

/// Seals `body` under `cek`, which must be fresh.
///
/// # Errors
/// [`Error::OutOfRange`] if the payload would be larger than 16 MiB; [`Error::Field`] if
/// single fields are to be shown of data that cannot be taken apart so.
///
/// ```
/// use thingdb_format::{Body, Cek, Suite, payload};
/// let body = Body::new("alice", "create", "text/plain", b"hello")?;
/// let sealed = payload::seal(Suite::Aes256Gcm, &Cek::from_bytes([7; 32]), body)?;
/// assert_eq!(sealed.payload.len(), 1 + 6 + 7 + 11 + 5 + 16);
/// # Ok::<(), thingdb_format::Error>(())
/// ```
pub fn seal(suite: Suite, cek: &Cek, body: Body) -> Result<Sealed, Error> {
    let plain_len = body.as_bytes().len() as u64;
    let most = u64::from(crate::header::MAX_PAYLOAD_BYTES);
    crate::codec::within("payload_len", plain_len.saturating_add(16), 0, most)?;
    let data_hash = match body.has_provable_fields() {
        false => commitment(suite, cek, body.as_bytes()),
        true => fields::commitment(suite, cek, &body)?,
    };
    let mut bytes = body.into_bytes();
    aead_seal(suite, &derive(cek, label::PAYLOAD, suite), label::BODY.as_bytes(), &mut bytes);
    // What is in the buffer now is ciphertext; it need not be wiped.
    let payload = std::mem::take(&mut *bytes);
    let payload_hash = Hash::of(&payload);
    Ok(Sealed { payload, data_hash, payload_hash })
}

/// Opens the payload of an entry and checks it against the commitment in the
/// header.
///
/// # Errors
/// [`Error::NotOpened`] if the key is another one or the payload was changed,
/// [`Error::BadHash`] if it opens to something else than was committed to, and
/// what [`Body::from_bytes`] says of the plaintext.
pub fn open(header: &Header, cek: &Cek, payload: &[u8]) -> Result<Body, Error> {
    let mut bytes = Zeroizing::new(payload.to_vec());
    let key = derive(cek, label::PAYLOAD, header.suite);
    aead_open(header.suite, &key, label::BODY.as_bytes(), &mut bytes).ok_or(Error::NotOpened { what: "payload" })?;
    body::check_encoding(&bytes)?;
    if body::has_provable_fields(&bytes) {
        let body = Body::from_bytes(std::mem::take(&mut *bytes))?;
        let computed = fields::commitment(header.suite, cek, &body)?;
        return committed(header, computed).map(|()| body);
    }
    committed(header, commitment(header.suite, cek, &bytes))?;
    Body::from_bytes(std::mem::take(&mut *bytes))
}

/// Compares what the header commits to.
fn committed(header: &Header, computed: Hash) -> Result<(), Error> {
    if !bool::from(computed.0.ct_eq(&header.data_hash.0)) {
        return Err(Error::BadHash {
            field: "data_hash",
            found: header.data_hash.to_string(),
            computed: computed.to_string(),
        });
    }
    Ok(())
}

/// Checks a payload against the length and hash in the header. No key needed.
///
/// # Errors
/// [`Error::OutOfRange`] or [`Error::BadHash`].
pub fn check(header: &Header, payload: &[u8]) -> Result<(), Error> {
    let len = u64::from(header.payload_len);
    crate::codec::within("payload", payload.len() as u64, len, len)?;
    let computed = Hash::of(payload);
    if computed != header.payload_hash {
        return Err(Error::BadHash {
            field: "payload_hash",
            found: header.payload_hash.to_string(),
            computed: computed.to_string(),
        });
    }
    Ok(())
}

/// The commitment to a body without [fields]: binds the data and the key,
/// hides both.
#[must_use]
pub fn commitment(suite: Suite, cek: &Cek, body: &[u8]) -> Hash {
    commit(&commitment_key(suite, cek), body)
}

/// The key of the commitment. With it a guess of a body can be confirmed, unless the body
/// has fields: so it is given to nobody for others.
pub(crate) fn commitment_key(suite: Suite, cek: &Cek) -> Zeroizing<[u8; 32]> {
    derive(cek, label::COMMITMENT, suite)
}

/// HMAC-SHA-256.
pub(crate) fn commit(key: &[u8; 32], bytes: &[u8]) -> Hash {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(bytes);
    Hash(mac.finalize().into_bytes().into())
}

/// `Expand(cek, label ‖ suite)`.
fn derive(cek: &Cek, label: &str, suite: Suite) -> Zeroizing<[u8; 32]> {
    expand(cek.as_bytes(), &[label.as_bytes(), &[suite.number()]])
}

/// HKDF-Expand with SHA-256 to 32 bytes (RFC 5869, section 2.3). `key` is
/// uniformly random, so there is no extract step.
pub(crate) fn expand(key: &[u8; 32], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::from_prk(key)
        .expect("32 bytes are enough for a pseudorandom key")
        .expand_multi_info(info, &mut *out)
        .expect("32 bytes are within the limit of HKDF");
    out
}

/// Seals in place and appends the tag. `key` must never seal anything else.
pub(crate) fn aead_seal(suite: Suite, key: &[u8; 32], aad: &[u8], bytes: &mut Vec<u8>) {
    match suite {
        Suite::Aes256Gcm => Aes256Gcm::new(key.into()).encrypt_in_place(&NONCE.into(), aad, bytes),
        Suite::ChaCha20Poly1305 => ChaCha20Poly1305::new(key.into()).encrypt_in_place(&NONCE.into(), aad, bytes),
    }
    .expect("sizes are bounded far below the limits of the ciphers");
}

/// Opens in place and drops the tag; nothing if the tag does not hold.
pub(crate) fn aead_open(suite: Suite, key: &[u8; 32], aad: &[u8], bytes: &mut Vec<u8>) -> Option<()> {
    match suite {
        Suite::Aes256Gcm => Aes256Gcm::new(key.into()).decrypt_in_place(&NONCE.into(), aad, bytes),
        Suite::ChaCha20Poly1305 => ChaCha20Poly1305::new(key.into()).decrypt_in_place(&NONCE.into(), aad, bytes),
    }
    .ok()
}
