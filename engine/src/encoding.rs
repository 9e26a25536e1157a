//! How values are laid out before they are sealed: bincode, with integers of a
//! fixed width, a limit, and the whole input consumed. Nothing that is signed or
//! hashed depends on it.

use bincode::{Decode, Encode};

/// No stored value is larger than a payload and its envelopes.
const LIMIT: usize = 32 << 20;

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_big_endian().with_fixed_int_encoding().with_limit::<LIMIT>()
}

/// Encodes a value to be sealed.
pub(crate) fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, config()).expect("stored values are bounded when made")
}

/// Decodes a whole value.
pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, &'static str> {
    whole(bytes, bincode::decode_from_slice(bytes, config()))
}

fn whole<T>(bytes: &[u8], decoded: Result<(T, usize), bincode::error::DecodeError>) -> Result<T, &'static str> {
    match decoded {
        Ok((value, read)) if read == bytes.len() => Ok(value),
        Ok(_) => Err("bytes follow its end"),
        Err(_) => Err("its layout is not that of this version"),
    }
}
