//! A golden vector: one case of one subject, in one file.
//!
//! ```text
//! expect: ok
//! input: text
//! comment: why this case is there
//! name: value
//!
//! the input, as hex (`input: hex`) or to the end of the file as it is
//! ```

use data_encoding::HEXLOWER;
use thingdb_format::Error;

/// What a file under `tests/vectors` holds.
#[derive(Debug)]
pub struct Vector {
    values: Vec<(String, String)>,
    /// What is to be decoded.
    pub input: Vec<u8>,
}

impl Vector {
    /// A case that is made now.
    #[must_use]
    pub fn new(expect: &str, comment: &str) -> Self {
        assert!(!comment.contains('\n'), "a comment is one line");
        Self { values: vec![], input: vec![] }.with("expect", expect).with("comment", comment)
    }

    /// Adds a value. It is one line.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        let value = value.to_string();
        assert!(!value.contains('\n'), "{name} is one line");
        self.values.push((name.to_owned(), value));
        self
    }

    /// Adds bytes as hex.
    #[must_use]
    pub fn with_hex(self, name: &str, bytes: &[u8]) -> Self {
        self.with(name, HEXLOWER.encode(bytes))
    }

    /// Sets an input that is written as hex.
    #[must_use]
    pub fn hex(mut self, input: &[u8]) -> Self {
        self.input = input.to_vec();
        self.with("input", "hex")
    }

    /// Sets an input that is written as it is.
    #[must_use]
    pub fn text(mut self, input: &str) -> Self {
        self.input = input.as_bytes().to_vec();
        self.with("input", "text")
    }

    /// The value of this name.
    ///
    /// # Panics
    /// If there is none: then the test or the vector is wrong.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("the vector has no `{name}`"))
    }

    /// The value of this name, if there is one.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A value that is hex.
    ///
    /// # Panics
    /// If there is none, or if it is not hex.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        HEXLOWER.decode(self.value(name).as_bytes()).unwrap_or_else(|e| panic!("`{name}` is not hex: {e}"))
    }

    /// A value that is hex of `N` bytes.
    ///
    /// # Panics
    /// If there is none, or if it is something else.
    #[must_use]
    pub fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().unwrap_or_else(|_| panic!("`{name}` is not {N} bytes"))
    }

    /// A value that is a number.
    ///
    /// # Panics
    /// If there is none, or if it is something else.
    #[must_use]
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> T {
        self.value(name).parse().unwrap_or_else(|_| panic!("`{name}` is not a number in range"))
    }

    /// Reads a file.
    ///
    /// # Panics
    /// If it is not in the form above.
    #[must_use]
    pub fn parse(file: &[u8]) -> Self {
        let head = file.windows(2).position(|two| two == b"\n\n").expect("an empty line ends the values");
        let (values, input) = (&file[..head], &file[head + 2..]);
        let values: Vec<_> = std::str::from_utf8(values)
            .expect("values are UTF-8")
            .lines()
            .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("not `name: value`: {line}")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut vector = Self { values, input: input.to_vec() };
        if vector.value("input") == "hex" {
            let hex: Vec<u8> = input.iter().copied().filter(|byte| *byte != b'\n').collect();
            vector.input = HEXLOWER.decode(&hex).expect("the input is hex");
        }
        vector
    }

    /// The text of the file.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in &self.values {
            out.extend_from_slice(format!("{name}: {value}\n").as_bytes());
        }
        out.push(b'\n');
        if self.value("input") == "text" {
            out.extend_from_slice(&self.input);
        } else {
            for line in HEXLOWER.encode(&self.input).as_bytes().chunks(96) {
                out.extend_from_slice(line);
                out.push(b'\n');
            }
        }
        out
    }
}

/// How vectors call a refusal: the kind of error, without its values.
#[must_use]
pub fn refusal(error: &Error) -> &'static str {
    match error {
        Error::Truncated { .. } => "truncated",
        Error::Trailing { .. } => "trailing",
        Error::NewerVersion { .. } => "newer-version",
        Error::OutOfRange { .. } | Error::Length { .. } => "out-of-range",
        Error::Text { .. } => "text",
        Error::NotAscending { .. } => "not-ascending",
        Error::SeqWithoutPrev { .. } => "seq-without-prev",
        Error::UnacceptableKey { .. } => "unacceptable-key",
        Error::BadSignature { .. } => "bad-signature",
        Error::BadProof { .. } => "bad-proof",
        Error::BadHash { .. } => "bad-hash",
        Error::NotOpened { .. } => "not-opened",
        Error::Line { problem, .. } => refusal(problem),
        Error::Malformed { .. } => "malformed",
        Error::Json { .. } => "json",
        Error::Field { .. } => "field",
        Error::Cut { .. } => "cut",
        Error::Damaged { .. } => "damaged",
        _ => "other",
    }
}

/// Randomness that is one byte over and over: for vectors, and nothing else.
#[derive(Debug)]
pub struct TestRng(pub u8);

impl rand_core::TryRng for TestRng {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(u32::from_ne_bytes([self.0; 4]))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from_ne_bytes([self.0; 8]))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.fill(self.0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for TestRng {}
