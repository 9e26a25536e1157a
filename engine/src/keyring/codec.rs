//! Reads and writes the fields of the keyring. The reader takes and never
//! indexes, and names the field in each flaw.

use std::path::Path;

use zeroize::Zeroizing;

use super::KeyringError;

/// Why bytes are not a keyring.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Damaged(String),
    Newer {
        field: &'static str,
        found: u64,
    },
    /// Of a version that is not read any more.
    Older {
        found: u64,
    },
}

impl Flaw {
    pub(super) fn damaged(detail: impl Into<String>) -> Self {
        Self::Damaged(detail.into())
    }

    /// What is wrong with the file at `path`.
    pub(super) fn of(self, path: &Path) -> KeyringError {
        match self {
            Self::Damaged(detail) => KeyringError::Damaged { path: path.to_owned(), detail },
            Self::Newer { field, found } => KeyringError::NewerVersion { field, found },
            Self::Older { found } => KeyringError::OlderVersion { found },
        }
    }
}

pub(super) struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    pub(super) const fn left(&self) -> usize {
        self.left.len()
    }

    pub(super) fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], Flaw> {
        let Some((taken, left)) = self.left.split_at_checked(len) else {
            return Err(self.cut(len, field));
        };
        self.left = left;
        Ok(taken)
    }

    /// A reference, so that a secret is not copied on the way.
    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<&'a [u8; N], Flaw> {
        let Some((taken, left)) = self.left.split_first_chunk::<N>() else {
            return Err(self.cut(N, field));
        };
        self.left = left;
        Ok(taken)
    }

    fn cut(&self, needed: usize, field: &'static str) -> Flaw {
        Flaw::Damaged(format!("{field} needs {needed} bytes, {} are left", self.left.len()))
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, Flaw> {
        self.array::<1>(field).map(|[byte]| *byte)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, Flaw> {
        self.array(field).map(|bytes| u32::from_be_bytes(*bytes))
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, Flaw> {
        self.array(field).map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// A count of items that take at least `item_bytes` each, so that a forged
    /// count is refused before anything is allocated for it.
    pub(super) fn count(&mut self, item_bytes: usize, field: &'static str) -> Result<usize, Flaw> {
        let count = self.u32(field)?;
        let most = self.left() / item_bytes;
        match usize::try_from(count) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(Flaw::Damaged(format!("{field} is {count}, the bytes that are left hold {most}"))),
        }
    }

    /// A name after its length in one byte.
    pub(super) fn name(&mut self, field: &'static str) -> Result<&'a str, Flaw> {
        let len = self.u8(field)?;
        let bytes = self.take(usize::from(len), field)?;
        let name = std::str::from_utf8(bytes).map_err(|_| Flaw::Damaged(format!("{field} is not UTF-8")))?;
        match name_problem(name) {
            None => Ok(name),
            Some(problem) => Err(Flaw::Damaged(format!("{field} {problem}"))),
        }
    }

    pub(super) fn finish(self, what: &'static str) -> Result<(), Flaw> {
        match self.left.len() {
            0 => Ok(()),
            left => Err(Flaw::Damaged(format!("{left} bytes follow the end of the {what}"))),
        }
    }
}

/// What is wrong with the name of an actor or origin, as the rest of a
/// sentence; the rule is that of the actor name in a body.
pub(crate) fn name_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("is empty");
    }
    if name.len() > thingdb_format::MAX_NAME_BYTES {
        return Some("is longer than 128 bytes");
    }
    name.chars().any(char::is_control).then_some("holds a control character")
}

/// Fails if the keys are not strictly ascending: every list has one spelling.
pub(super) fn ascending<T: Ord>(last: Option<&T>, next: &T, field: &'static str) -> Result<(), Flaw> {
    if last.is_some_and(|last| last >= next) {
        return Err(Flaw::Damaged(format!("{field} are not in ascending order without repeats")));
    }
    Ok(())
}

/// Bytes that are wiped, in a buffer that never moves: it is made as large as
/// it will be.
pub(super) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(bytes)))
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        debug_assert!(self.0.len() + bytes.len() <= self.0.capacity(), "the length was computed too small");
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn count(&mut self, count: usize) {
        self.put(&u32::try_from(count).expect("a list in a file of 64 MiB has fewer items").to_be_bytes());
    }

    pub(super) fn name(&mut self, name: &str) {
        self.put(&[u8::try_from(name.len()).expect("names are bounded to 128 bytes when made")]);
        self.put(name.as_bytes());
    }

    pub(super) fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forged_count_is_refused_before_anything_is_allocated() {
        let refused = Reader::new(&[0xff, 0xff, 0xff, 0xff, 1, 2]).count(2, "actor count").unwrap_err();
        let detail = "actor count is 4294967295, the bytes that are left hold 1";
        assert_eq!(refused, Flaw::damaged(detail));
    }

    #[test]
    fn names_follow_the_rule_of_the_body() {
        assert_eq!(name_problem("Zoë"), None);
        assert!(name_problem("").is_some());
        assert!(name_problem("a\u{85}").is_some());
        assert!(name_problem(&"x".repeat(128)).is_none());
        assert!(name_problem(&"x".repeat(129)).is_some());
    }
}
