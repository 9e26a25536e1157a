//! Reads and writes fixed layouts. The reader takes and never indexes, bounds
//! a length before it uses it, and names the field in each error.

use crate::Error;

/// Takes fields from the front of a byte string.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    pub(crate) fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], Error> {
        let Some((taken, left)) = self.left.split_at_checked(len) else {
            return Err(Error::Truncated { field, needed: len, left: self.left.len() });
        };
        self.left = left;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        let Some((taken, left)) = self.left.split_first_chunk::<N>() else {
            return Err(Error::Truncated { field, needed: N, left: self.left.len() });
        };
        self.left = left;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, Error> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, Error> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, Error> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, Error> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// A number in groups of seven bits, the lowest first, as few as hold it.
    pub(crate) fn varint(&mut self, field: &'static str) -> Result<u64, Error> {
        let mut value = 0_u64;
        for group in 0..10_u32 {
            let byte = self.u8(field)?;
            let bits = u64::from(byte & 0x7f);
            let shift = group.saturating_mul(7);
            let shifted = bits.checked_shl(shift).filter(|shifted| shifted.checked_shr(shift) == Some(bits));
            value |= shifted.ok_or(Error::Malformed { what: field, problem: "is a number beyond 64 bits" })?;
            if byte & 0x80 == 0 {
                if byte == 0 && group > 0 {
                    return Err(Error::Malformed { what: field, problem: "is a number with a needless byte" });
                }
                return Ok(value);
            }
        }
        Err(Error::Malformed { what: field, problem: "is a number beyond 64 bits" })
    }

    /// The same for a number that may be negative: 0, -1, 1, -2, 2, …
    pub(crate) fn signed_varint(&mut self, field: &'static str) -> Result<i64, Error> {
        let folded = self.varint(field)?;
        let half = (folded >> 1).cast_signed();
        Ok(if folded & 1 == 0 { half } else { !half })
    }

    /// A number with one allowed value; anything else is a newer version's.
    pub(crate) fn version(&mut self, known: u8, field: &'static str) -> Result<(), Error> {
        match self.u8(field)? {
            found if found == known => Ok(()),
            found => Err(Error::NewerVersion { field, found: u64::from(found) }),
        }
    }

    /// Text after a `u8` length.
    pub(crate) fn short_text(&mut self, field: &'static str) -> Result<&'a str, Error> {
        let len = self.u8(field)?;
        utf8(self.take(usize::from(len), field)?, field)
    }

    /// How many bytes are left.
    pub(crate) const fn left(&self) -> usize {
        self.left.len()
    }

    /// Everything that is left.
    pub(crate) const fn rest(&mut self) -> &'a [u8] {
        let rest = self.left;
        self.left = &[];
        rest
    }

    /// The whole input was read.
    pub(crate) const fn finish(self, what: &'static str) -> Result<(), Error> {
        match self.left.len() {
            0 => Ok(()),
            left => Err(Error::Trailing { what, left }),
        }
    }
}

pub(crate) fn utf8<'a>(bytes: &'a [u8], field: &'static str) -> Result<&'a str, Error> {
    std::str::from_utf8(bytes).map_err(|_| Error::Text { field, problem: "is not UTF-8" })
}

/// Refuses a length or number outside `least..=most`.
pub(crate) const fn within(field: &'static str, found: u64, least: u64, most: u64) -> Result<(), Error> {
    if found < least || found > most {
        return Err(Error::OutOfRange { field, found, least, most });
    }
    Ok(())
}

/// Refuses text of the wrong length.
pub(crate) const fn text_length(field: &'static str, text: &str, least: u64, most: u64) -> Result<(), Error> {
    let found = text.len() as u64;
    if found < least || found > most {
        return Err(Error::Length { field, found, least, most });
    }
    Ok(())
}

/// Refuses text of the wrong length or with control characters.
pub(crate) fn plain_text(field: &'static str, text: &str, least: u64, most: u64) -> Result<(), Error> {
    text_length(field, text, least, most)?;
    if text.chars().any(char::is_control) {
        return Err(Error::Text { field, problem: "holds a control character" });
    }
    Ok(())
}

/// A decimal number in its one spelling, of at most `most`.
pub(crate) fn decimal(field: &'static str, text: &str, most: u64) -> Result<u64, Error> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::Malformed { what: field, problem: "is not a decimal number" });
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(Error::Malformed { what: field, problem: "has a leading zero" });
    }
    // More digits than a u64 has are more than the limit.
    let number = text.parse().unwrap_or(u64::MAX);
    within(field, number, 0, most)?;
    Ok(number)
}

/// Appends text after its `u8` length, which the caller has bounded.
pub(crate) fn push_short_text(out: &mut Vec<u8>, text: &str) {
    let len = u8::try_from(text.len()).expect("short texts are bounded to 255 bytes when made");
    out.push(len);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a number in groups of seven bits, the lowest first.
pub(crate) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(0x80 | (value & 0x7f) as u8);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The same for a number that may be negative.
pub(crate) fn push_signed_varint(out: &mut Vec<u8>, value: i64) {
    let doubled = value.cast_unsigned() << 1;
    push_varint(out, if value < 0 { !doubled } else { doubled });
}

/// `label`, then zero bytes up to 32 bytes: the context that keeps signatures
/// of one kind from being taken for those of another.
pub(crate) const fn label32(label: &str) -> [u8; 32] {
    let mut out = [0; 32];
    let (head, _) = out.split_at_mut(label.len());
    head.copy_from_slice(label.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            push_varint(&mut out, value);
            let mut r = Reader::new(&out);
            assert_eq!(r.varint("n").unwrap(), value);
            r.finish("n").unwrap();
        }
        for value in [0, -1, 1, -2, 2, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            push_signed_varint(&mut out, value);
            assert_eq!(Reader::new(&out).signed_varint("n").unwrap(), value);
        }
        let wrong: [&[u8]; 4] =
            [&[0x80, 0], &[0x80], &[0xff; 10], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]];
        for bytes in wrong {
            assert!(Reader::new(bytes).varint("n").is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn reader_names_the_field_that_is_cut() {
        let mut r = Reader::new(&[0, 1, 2]);
        assert_eq!(r.u16("seq").unwrap(), 1);
        assert_eq!(r.u32("time").unwrap_err(), Error::Truncated { field: "time", needed: 4, left: 1 });
        assert_eq!(r.finish("header").unwrap_err(), Error::Trailing { what: "header", left: 1 });
    }
}
