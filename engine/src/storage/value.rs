//! The bytes of a row, for those who only read them.

use std::fmt;

/// The value of a row. It is what it was when it was read, whatever becomes of the row;
/// it may share its memory with the storage.
#[derive(Clone)]
pub struct Value(Bytes);

#[derive(Clone)]
enum Bytes {
    Own(Vec<u8>),
    Sled(sled::IVec),
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Own(bytes) => bytes,
            Bytes::Sled(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Bytes::Own(bytes))
    }
}

impl From<sled::IVec> for Value {
    fn from(bytes: sled::IVec) -> Self {
        Self(Bytes::Sled(bytes))
    }
}

impl From<Value> for Vec<u8> {
    fn from(value: Value) -> Self {
        match value.0 {
            Bytes::Own(bytes) => bytes,
            Bytes::Sled(bytes) => bytes.to_vec(),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Value").field(&self.as_ref()).finish()
    }
}
