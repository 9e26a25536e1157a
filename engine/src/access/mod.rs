//! Who signs, who reads and who asks, as the keyring records it.

pub(crate) mod actors;
pub(crate) mod address;
pub(crate) mod peers;
pub(crate) mod tls;
pub(crate) mod tokens;
