//! What an authority is asked, and its answer taken apart.

use der::asn1::{Int, OctetString};
use der::{Decode, Encode};
use thingdb::Hash;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::structures::{MessageImprint, PkiStatus, SHA256, TimeStampReq, TimeStampResp};

/// The media types of a request and of an answer.
pub(crate) const QUERY: &str = "application/timestamp-query";
pub(crate) const REPLY: &str = "application/timestamp-reply";

/// A request for a timestamp, in DER. The token has to bring the certificate of its
/// signer.
pub(crate) fn encode(imprint: &Hash, nonce: u64) -> Vec<u8> {
    let request = TimeStampReq {
        version: 1,
        message_imprint: MessageImprint {
            hash_algorithm: AlgorithmIdentifierOwned { oid: SHA256, parameters: None },
            hashed_message: OctetString::new(imprint.0).expect("it is short"),
        },
        nonce: positive(nonce),
        cert_req: true,
    };
    request.to_der().expect("it is short")
}

/// A number as DER has it: without zeros before it, and not negative.
pub(super) fn positive(number: u64) -> Int {
    let bytes = [&[0][..], &number.to_be_bytes()].concat();
    let is_needless = |pair: &[u8]| pair[0] == 0 && pair[1] < 0x80;
    let zeros = bytes.windows(2).take_while(|pair| is_needless(pair)).count();
    Int::new(&bytes[zeros..]).expect("it is short")
}

/// The token of an answer, in DER.
///
/// # Errors
/// Why there is none, in words that the authority may have chosen.
pub(crate) fn token(answer: &[u8]) -> Result<Vec<u8>, String> {
    let response =
        TimeStampResp::from_der(answer).map_err(|problem| format!("an answer that is no TimeStampResp: {problem}"))?;
    if !matches!(response.status.status, PkiStatus::Granted | PkiStatus::GrantedWithMods) {
        let text = response.status.text.unwrap_or_default().join("; ");
        let text = if text.is_empty() { String::new() } else { format!(": {text}") };
        return Err(format!("it grants no timestamp{text}"));
    }
    let token = response.token.ok_or("an answer without a token")?;
    token.to_der().map_err(|problem| problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_a_positive_number_in_its_shortest_form() {
        for (number, der) in [
            (0, &[2, 1, 0][..]),
            (0x7f, &[2, 1, 0x7f]),
            (0x80, &[2, 2, 0, 0x80]),
            (u64::MAX, &[2, 9, 0, 255, 255, 255, 255, 255, 255, 255, 255]),
        ] {
            assert_eq!(positive(number).to_der().unwrap(), der);
        }
    }

    #[test]
    fn what_is_no_answer_gives_no_token() {
        for bad in [&b""[..], b"garbage", &[0x30, 0x80, 0, 0], &[0x30, 3, 2, 1, 0]] {
            assert!(token(bad).is_err(), "{bad:?}");
        }
        let refused = [0x30, 16, 0x30, 14, 2, 1, 2, 0x30, 9, 0x0c, 7, b't', b'o', b'o', b' ', 0x1b, b'[', b'm'];
        let told = token(&refused).unwrap_err();
        assert!(told.starts_with("it grants no timestamp: too"), "{told}");
    }
}
