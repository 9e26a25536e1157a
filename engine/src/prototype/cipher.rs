//! How the prototype sealed: AES-256-GCM without associated data, in base64.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use data_encoding::BASE64;
use zeroize::Zeroizing;

const TAG_BYTES: usize = 16;

/// Opens AES-256-GCM without associated data.
pub(super) fn open(key: &[u8; 32], nonce: &[u8; 12], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG_BYTES>()?;
    let mut out = Zeroizing::new(ciphertext.to_vec());
    let cipher = Aes256Gcm::new(key.into());
    cipher
        .decrypt_inout_detached(&Nonce::from(*nonce), &[], out.as_mut_slice().into(), &Tag::from(*tag))
        .ok()
        .map(|()| out)
}

/// What base64 stands for.
pub(super) fn bytes(what: &str, text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text.as_bytes()).map_err(|_| format!("its {what} is not base64"))
}

/// The same, of a length that is known.
pub(super) fn fixed<const N: usize>(what: &str, text: &str) -> Result<[u8; N], String> {
    bytes(what, text)?.try_into().map_err(|_| format!("its {what} is not {N} bytes"))
}
