//! Bytes of records: integers of variable length (LEB128: seven bits a byte, the
//! lowest first, the eighth says that more follow), and who takes them apart.

/// Why bytes are no record.
pub(super) type Flaw = &'static str;

const ENDS_EARLY: Flaw = "it ends too early";

pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small integers of either sign as small ones without.
pub(super) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Takes bytes from the front.
pub(super) struct Taker<'a> {
    left: &'a [u8],
}

impl<'a> Taker<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    pub(super) const fn left(&self) -> usize {
        self.left.len()
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Flaw> {
        let (taken, left) = self.left.split_at_checked(len).ok_or(ENDS_EARLY)?;
        self.left = left;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let (taken, left) = self.left.split_first_chunk().ok_or(ENDS_EARLY)?;
        self.left = left;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Flaw> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// An integer in its shortest spelling.
    pub(super) fn varint(&mut self) -> Result<u64, Flaw> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
                return Err("an integer is too large or too long");
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("an integer is too long")
    }

    /// How many items of at least `item_bytes` follow.
    pub(super) fn count(&mut self, item_bytes: usize) -> Result<usize, Flaw> {
        let count = self.varint()?;
        usize::try_from(count).ok().filter(|count| *count <= self.left() / item_bytes).ok_or(ENDS_EARLY)
    }

    /// Bytes behind their length.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Flaw> {
        let len = self.count(1)?;
        self.take(len)
    }

    pub(super) const fn finish(&self) -> Result<(), Flaw> {
        if self.left.is_empty() { Ok(()) } else { Err("bytes follow its end") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_spelling() {
        let shifted = (0..64).map(|bits| 1_u64 << bits);
        for value in shifted.flat_map(|value| [value - 1, value, value + 1]).chain([u64::MAX, u64::MAX - 1]) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            let mut taker = Taker::new(&bytes);
            assert_eq!(taker.varint(), Ok(value));
            taker.finish().unwrap();
            for end in 0..bytes.len() {
                assert!(Taker::new(&bytes[..end]).varint().is_err());
            }
            // A longer spelling of it.
            *bytes.last_mut().unwrap() |= 0x80;
            bytes.push(0);
            assert!(Taker::new(&bytes).varint().is_err(), "{value}");
        }
        let too_large = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert!(Taker::new(&too_large).varint().is_err());
        assert!(Taker::new(&[0x80; 11]).varint().is_err());
    }

    #[test]
    fn signs_come_back() {
        for value in [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
    }

    #[test]
    fn counts_are_bounded_by_what_follows() {
        assert!(Taker::new(&[3, 0, 0]).count(1).is_err());
        assert_eq!(Taker::new(&[2, 0, 0]).count(1), Ok(2));
        assert!(Taker::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).count(1).is_err());
    }
}
