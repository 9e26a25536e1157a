//! What can be wrong with bytes that claim to be in the ThingDB format.

/// Why some bytes are refused, grouped by who is to blame: the bytes are not
/// in the format, a newer program wrote them, or they are well formed and a
/// seal, hash or signature does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input ends inside a field.
    #[error("{field} needs {needed} bytes, {left} are left")]
    Truncated {
        /// The field that was being read.
        field: &'static str,
        /// Bytes that the field needs.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// The input goes on after its last field.
    #[error("{left} bytes follow the end of the {what}")]
    Trailing {
        /// What was read.
        what: &'static str,
        /// Bytes that are left over.
        left: usize,
    },
    /// A version, suite, kind or encoding number that this version does not know.
    #[error("{field} {found} was written by a newer version")]
    NewerVersion {
        /// The field that holds the number.
        field: &'static str,
        /// The number.
        found: u64,
    },
    /// Text is too short or too long.
    #[error("{field} has {found} bytes, allowed are {least} to {most}")]
    Length {
        /// The field.
        field: &'static str,
        /// The length found, in bytes.
        found: u64,
        /// The least that is allowed.
        least: u64,
        /// The most that is allowed.
        most: u64,
    },
    /// A number or a length is outside its limits.
    #[error("{field} is {found}, allowed are {least} to {most}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// The value or length found.
        found: u64,
        /// The least that is allowed.
        least: u64,
        /// The most that is allowed.
        most: u64,
    },
    /// Text that is not UTF-8 or holds characters that are not allowed.
    #[error("{field} {problem}")]
    Text {
        /// The field.
        field: &'static str,
        /// What is wrong with it, as the rest of a sentence.
        problem: &'static str,
    },
    /// A list that must be strictly ascending is not.
    #[error("{field} is not in ascending order without repeats")]
    NotAscending {
        /// The list.
        field: &'static str,
    },
    /// `seq` 1 and an empty `prev` go together.
    #[error("seq {seq} with {prev} prev: only seq 1 has none")]
    SeqWithoutPrev {
        /// The seq found.
        seq: u64,
        /// How many entries prev names.
        prev: usize,
    },
    /// A public key that is not canonical, of small order, or outside the
    /// prime-order subgroup.
    #[error("the key {key} {problem}")]
    UnacceptableKey {
        /// The key, in hex.
        key: String,
        /// What is wrong with it, as the rest of a sentence.
        problem: &'static str,
    },
    /// The signature does not match the signed bytes.
    #[error("the signature of {what} does not match the signed bytes")]
    BadSignature {
        /// What was signed.
        what: &'static str,
    },
    /// A Merkle proof has the wrong length or leads to another root.
    #[error("the {what} proof {problem}")]
    BadProof {
        /// `inclusion` or `consistency`.
        what: &'static str,
        /// What is wrong with it, as the rest of a sentence.
        problem: &'static str,
    },
    /// A hash is not the hash of what it names.
    #[error("{field} is {found}, but the bytes give {computed}")]
    BadHash {
        /// The field that holds the hash.
        field: &'static str,
        /// The hash that was claimed, in hex.
        found: String,
        /// The hash of the bytes, in hex.
        computed: String,
    },
    /// A seal does not open: the key is another one, or the bytes were changed.
    #[error("the {what} does not open with this key")]
    NotOpened {
        /// What was sealed.
        what: &'static str,
    },
    /// A line of a stream is refused.
    #[error("line {line}, column {column}: {problem}")]
    Line {
        /// Line in the stream, from 1.
        line: u64,
        /// Column in the line, in bytes, from 1.
        column: usize,
        /// What is wrong there.
        problem: Box<Self>,
    },
    /// Text that is not JSON, or not the JSON that is expected.
    #[error("{problem}")]
    Json {
        /// What is wrong with it: names the member and the fact.
        problem: String,
    },
    /// Data whose fields are to be shown one by one is not JSON, or not of the kind that has
    /// one meaning.
    #[error("the data at {pointer:?} {problem}")]
    Field {
        /// The JSON pointer of what is wrong, cut if it is long.
        pointer: String,
        /// What is wrong with it, as the rest of a sentence.
        problem: &'static str,
    },
    /// A stream that had a header ends, or another header comes, before its
    /// trailer.
    #[error("the stream is cut: {entries} entries and no trailer")]
    Cut {
        /// Entries read since the header; they stay good.
        entries: u64,
    },
    /// The lines of a stream are not those that its trailer counts.
    #[error("the stream is damaged: {problem}")]
    Damaged {
        /// What does not match.
        problem: String,
    },
    /// A key cannot be stretched: the system gives no memory.
    #[error("no memory: Argon2id asks for {memory_kib} KiB")]
    NoMemory {
        /// What was asked for, within the limits of the format.
        memory_kib: u32,
    },
    /// Text that is not in the form that the format prescribes.
    #[error("{what}: {problem}")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Error {
    /// Whether a newer version of the program may be able to read the bytes.
    #[must_use]
    pub fn is_newer_version(&self) -> bool {
        match self {
            Self::Line { problem, .. } => problem.is_newer_version(),
            other => matches!(other, Self::NewerVersion { .. }),
        }
    }

    /// Whether the bytes are well formed and yet do not verify: a signature,
    /// hash, proof or seal does not hold.
    #[must_use]
    pub fn is_forgery(&self) -> bool {
        match self {
            Self::Line { problem, .. } => problem.is_forgery(),
            other => other.is_bad_seal(),
        }
    }

    const fn is_bad_seal(&self) -> bool {
        matches!(
            self,
            Self::BadSignature { .. }
                | Self::BadProof { .. }
                | Self::BadHash { .. }
                | Self::NotOpened { .. }
                | Self::UnacceptableKey { .. }
        )
    }
}
