//! What an entry is about, and when it was written.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use jiff::civil::DateTime;

use crate::Error;
use crate::codec::{plain_text, within};

/// The name of a thing: 1 to 512 bytes of UTF-8 without control characters.
///
/// ```
/// use thingdb_format::ThingId;
/// assert_eq!(ThingId::new("part-42")?.as_str(), "part-42");
/// assert!(ThingId::new("").is_err());
/// assert!(ThingId::new("a\nb").is_err());
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ThingId(Box<str>);

impl ThingId {
    /// Longest id, in bytes.
    pub const MAX_BYTES: usize = 512;

    /// Checks the length and the characters of an id.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::Text`].
    pub fn new(id: &str) -> Result<Self, Error> {
        plain_text("thing", id, 1, Self::MAX_BYTES as u64)?;
        Ok(Self(id.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ThingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for ThingId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Ids are ordered, compared and hashed as their text.
impl Borrow<str> for ThingId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for ThingId {
    type Err = Error;

    fn from_str(id: &str) -> Result<Self, Error> {
        Self::new(id)
    }
}

/// Microseconds since 1970-01-01T00:00:00Z, up to the end of the year 9999.
///
/// Its text is RFC 3339 with six digits of fraction and `Z`, always 27
/// characters.
///
/// ```
/// use thingdb_format::Time;
/// let time: Time = "2026-11-22T06:01:12.000500Z".parse()?;
/// assert_eq!(time.micros(), 1_795_327_272_000_500);
/// assert_eq!(time.to_string(), "2026-11-22T06:01:12.000500Z");
/// assert!("2026-11-22T06:01:12Z".parse::<Time>().is_err());
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The last microsecond of the year 9999, the last that RFC 3339 can write.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// The earliest time that can be written: the beginning of 1970.
    pub const MIN: Self = Self(0);

    /// A time from its microseconds.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] after the year 9999.
    pub fn from_micros(micros: u64) -> Result<Self, Error> {
        within("time", micros, 0, Self::MAX.0)?;
        Ok(Self(micros))
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The 27 characters of the text.
    pub(crate) fn to_ascii(self) -> [u8; 27] {
        let micros = i64::try_from(self.0).expect("times end in the year 9999");
        let civil = EPOCH.checked_add(SignedDuration::from_micros(micros)).expect("times end in the year 9999");
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let mut put = |at: usize, digits: usize, number: i32| {
            let mut left = number.unsigned_abs();
            for digit in text.iter_mut().skip(at).take(digits).rev() {
                *digit = b'0'.saturating_add(u8::try_from(left % 10).unwrap_or(0));
                left /= 10;
            }
        };
        put(0, 4, civil.year().into());
        put(5, 2, civil.month().into());
        put(8, 2, civil.day().into());
        put(11, 2, civil.hour().into());
        put(14, 2, civil.minute().into());
        put(17, 2, civil.second().into());
        put(20, 6, civil.subsec_nanosecond() / 1000);
        text
    }

    /// One microsecond later; nothing after [`Time::MAX`].
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        if self.0 >= Self::MAX.0 {
            return None;
        }
        Some(Self(self.0.saturating_add(1)))
    }
}

/// Civil time rather than a timestamp: jiff's timestamps end a day before the
/// year 9999 does.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.to_ascii()).expect("digits are ASCII"))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Time({self})")
    }
}

impl FromStr for Time {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = Error::Malformed { what: "time", problem: "not of the form YYYY-MM-DDThh:mm:ss.ffffffZ" };
        if text.len() != 27 {
            return Err(refuse);
        }
        let civil: DateTime =
            text.strip_suffix('Z').and_then(|civil| civil.parse().ok()).ok_or_else(|| refuse.clone())?;
        let micros = u64::try_from(civil.duration_since(EPOCH).as_micros()).map_err(|_| refuse.clone())?;
        let time = Self::from_micros(micros)?;
        // Leap seconds, lower-case letters and offsets have another spelling.
        if time.to_ascii() == *text.as_bytes() { Ok(time) } else { Err(refuse) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_spelling() {
        for micros in [0, 1, 999_999, 1_795_327_272_000_500, Time::MAX.0, Time::MAX.0 - 1, Time::MAX.0 - 86_400_000_001]
        {
            let time = Time::from_micros(micros).unwrap();
            assert_eq!(time.to_string().len(), 27, "{time}");
            assert_eq!(time.to_string().parse::<Time>().unwrap(), time);
        }
        assert_eq!(Time::MAX.to_string(), "9999-12-31T23:59:59.999999Z");
        for bad in [
            "2026-11-22t06:01:12.000500Z",
            "2026-11-22T06:01:12.000500z",
            "2026-11-22 06:01:12.000500Z",
            "2026-11-22T06:01:60.000500Z",
            "2026-02-30T06:01:12.000500Z",
            "1969-12-31T23:59:59.999999Z",
            "2026-11-22T06:01:12.00+00:0",
        ] {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }

    #[test]
    fn control_characters_are_refused() {
        for bad in ["", "a\0", "\u{85}", "\u{7f}", "\t"] {
            assert!(ThingId::new(bad).is_err(), "{bad:?}");
        }
        assert!(ThingId::new(&"x".repeat(512)).is_ok());
        assert!(ThingId::new(&"x".repeat(513)).is_err());
        assert!(ThingId::new("gérät/Ω 7").is_ok());
    }
}
