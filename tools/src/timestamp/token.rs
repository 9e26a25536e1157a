//! A token: what an authority says of an imprint, and when.

use cms::content_info::ContentInfo;
use der::asn1::Any;
use der::{Decode, Encode, Tag, Tagged};
use jiff::civil::DateTime;
use jiff::tz::Offset;
use thingdb::{Hash, Time};

use super::request::positive;
use super::roots::Roots;
use super::signer::Signer;
use super::structures::{Accuracy, SHA256, SIGNED_DATA, SignedData, TST_INFO, TstInfo};

/// What an authority said. Its signature is good; whose it is, is told by
/// [`Token::trusted_by`].
pub(crate) struct Token {
    /// What is stamped: a SHA-256.
    pub(crate) imprint: Hash,
    /// The time that it names.
    pub(crate) time: Time,
    /// The latest time that it can mean: with the accuracy that it claims.
    pub(crate) not_later_than: Time,
    /// The subject of the certificate of its signer.
    pub(crate) authority: String,
    nonce: Option<Vec<u8>>,
    signer: Vec<u8>,
    certificates: Vec<Vec<u8>>,
}

impl Token {
    /// Reads a token in DER, and checks its signature by the certificate that it
    /// brings.
    ///
    /// # Errors
    /// What does not hold.
    pub(crate) fn read(token: &[u8]) -> Result<Self, String> {
        let unread = |what: &str, problem: der::Error| format!("no {what}: {problem}");
        let outer = ContentInfo::from_der(token).map_err(|problem| unread("token", problem))?;
        if outer.content_type != SIGNED_DATA {
            return Err("no token: it is not signed".to_owned());
        }
        let signed = bytes(&outer.content)?;
        let signed = SignedData::from_der(&signed).map_err(|problem| unread("SignedData", problem))?;
        if signed.content.econtent_type != TST_INFO {
            return Err("no token: what is signed is no TSTInfo".to_owned());
        }
        let content = signed.content.econtent.as_ref().filter(|content| content.tag() == Tag::OctetString);
        let content = content.ok_or("no token: it has no content")?.value();
        let info = TstInfo::from_der(content).map_err(|problem| unread("TSTInfo", problem))?;
        let certificates =
            signed.certificates.iter().flat_map(|all| &all.0).filter(|it| it.tag() == Tag::Sequence).map(bytes);
        let certificates = certificates.collect::<Result<Vec<_>, _>>()?;
        let (Some(signer), 1) = (signed.signers.get(0), signed.signers.len()) else {
            return Err("it has not exactly one signer".to_owned());
        };
        let signer = Signer::check(signer, content, &certificates)?;
        if info.version != 1 || info.extensions.iter().flatten().any(|extension| extension.critical) {
            return Err("it says what this program does not understand".to_owned());
        }
        let imprint = info.message_imprint.hashed_message.as_bytes().try_into();
        let (SHA256, Ok(imprint)) = (info.message_imprint.hash_algorithm.oid, imprint) else {
            return Err("it is of something else than a SHA-256".to_owned());
        };
        let micros = micros_of(&info.gen_time).ok_or("a time that is none")?;
        let time = |micros| Time::from_micros(micros).map_err(|problem| problem.to_string());
        let spread = info.accuracy.as_ref().map_or(0, spread);
        Ok(Self {
            imprint: Hash(imprint),
            time: time(micros)?,
            not_later_than: time(micros.saturating_add(spread))?,
            authority: signer.name,
            nonce: info.nonce.map(|nonce| nonce.as_bytes().to_vec()),
            signer: signer.certificate,
            certificates,
        })
    }

    /// The same for a token that has to be of this imprint.
    ///
    /// # Errors
    /// What does not hold.
    pub(crate) fn of(token: &[u8], imprint: &Hash) -> Result<Self, String> {
        let token = Self::read(token)?;
        if token.imprint == *imprint { Ok(token) } else { Err("its token is of something else".to_owned()) }
    }

    /// Whether it is the answer to a request with this nonce.
    pub(crate) fn answers(&self, nonce: u64) -> bool {
        self.nonce.as_deref() == Some(positive(nonce).as_bytes())
    }

    /// Whether its signer leads to one of these roots, at its time.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn trusted_by(&self, roots: &Roots) -> Result<(), String> {
        let others: Vec<_> = self.certificates.iter().filter(|other| **other != self.signer).cloned().collect();
        roots.lead_to(&self.signer, &others, self.time.micros() / 1_000_000)
    }
}

fn bytes(value: &Any) -> Result<Vec<u8>, String> {
    value.to_der().map_err(|problem| problem.to_string())
}

/// The microseconds by which a time may be wrong.
fn spread(accuracy: &Accuracy) -> u64 {
    let millis =
        u64::from(accuracy.seconds.unwrap_or_default()) * 1000 + u64::from(accuracy.millis.unwrap_or_default());
    millis * 1000 + u64::from(accuracy.micros.unwrap_or_default())
}

/// The microseconds since 1970 of a GeneralizedTime in DER, with or without a
/// fraction, which is rounded up.
fn micros_of(time: &Any) -> Option<u64> {
    if time.tag() != Tag::GeneralizedTime {
        return None;
    }
    let text = std::str::from_utf8(time.value()).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !is_digits(whole) {
        return None;
    }
    let part = |from: usize, to: usize| whole.get(from..to)?.parse::<i8>().ok();
    let year: i16 = whole.get(..4)?.parse().ok()?;
    let (month, day, hour) = (part(4, 6)?, part(6, 8)?, part(8, 10)?);
    let time = DateTime::new(year, month, day, hour, part(10, 12)?, part(12, 14)?, 0).ok()?;
    let seconds = Offset::UTC.to_timestamp(time).ok()?.as_second();
    let mut micros = u64::try_from(seconds).ok()?.checked_mul(1_000_000)?;
    if let Some(fraction) = fraction {
        // DER has no needless zeros.
        if !is_digits(fraction) || fraction.ends_with('0') {
            return None;
        }
        let kept: String = fraction.chars().chain("000000".chars()).take(6).collect();
        micros += kept.parse::<u64>().ok()? + u64::from(fraction.len() > 6);
    }
    Some(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Option<u64> {
        micros_of(&Any::new(Tag::GeneralizedTime, text.as_bytes()).unwrap())
    }

    #[test]
    fn a_time_may_have_a_fraction() {
        for (text, micros) in [
            ("19700101000000Z", 0),
            ("20090213233130Z", 1_234_567_890_000_000),
            ("20090213233130.5Z", 1_234_567_890_500_000),
            ("20090213233130.0000001Z", 1_234_567_890_000_001),
            ("99991230000000.999999Z", 253_402_128_000_999_999),
        ] {
            assert_eq!(time(text), Some(micros), "{text}");
        }
        for text in [
            "",
            "Z",
            "200902132331Z",
            "20090213233130",
            "20090213233130.Z",
            "20090213233130.50Z",
            "20090213233130+0000",
            "20091313233130Z",
            "20090230233130Z",
            "+0090213233130Z",
            "19600101000000Z",
            "2009021323313\u{661}Z",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
