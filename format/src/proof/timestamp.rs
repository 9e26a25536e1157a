//! The line of a timestamp.

use serde::de::MapAccess;

use crate::codec::within;
use crate::json::{Members, Object, base64, hex, push_base64, push_hex, read_line};
use crate::timestamp::MAX_TOKEN_BYTES;
use crate::{Error, Hash};

/// What a time-stamp authority said of a checkpoint of the file: a line behind the
/// first one. What is in the token is not looked at here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofTimestamp {
    /// The [imprint](crate::SignedCheckpoint::imprint) of the checkpoint.
    pub imprint: Hash,
    /// The token (RFC 3161), in DER.
    pub token: Vec<u8>,
}

impl ProofTimestamp {
    /// Appends the line, with its line feed.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"timestamp\":\"");
        push_base64(out, &self.token);
        out.extend_from_slice(b"\",\"imprint\":\"");
        push_hex(out, &self.imprint.0);
        out.extend_from_slice(b"\"}\n");
    }

    /// Reads the line.
    ///
    /// # Errors
    /// [`Error::Line`] with `number`.
    pub fn decode(line: &[u8], number: u64) -> Result<Self, Error> {
        read_line::<WireTimestamp>(line, number)
    }
}

struct WireTimestamp;

impl Object for WireTimestamp {
    const NAME: &'static str = "timestamp";
    const MEMBERS: &'static [&'static str] = &["timestamp", "imprint"];
    type Value = ProofTimestamp;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<ProofTimestamp, A::Error> {
        let (mut token, mut imprint) = (None, None);
        while let Some(name) = members.next()? {
            match name {
                "timestamp" => members.text(name, &mut token, |text| {
                    let token = base64(name, text, MAX_TOKEN_BYTES)?;
                    within(name, token.len() as u64, 1, MAX_TOKEN_BYTES as u64)?;
                    Ok(token)
                })?,
                _ => members.text(name, &mut imprint, |text| hex(name, text).map(Hash))?,
            }
        }
        Ok(ProofTimestamp { token: members.need("timestamp", token)?, imprint: members.need("imprint", imprint)? })
    }
}
