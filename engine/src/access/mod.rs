//! Who signs, who reads and who asks, as the keyring records it.

pub(crate) mod actors;
pub(crate) mod address;
pub(crate) mod audience;
pub(crate) mod card;
pub(crate) mod erasers;
pub(crate) mod introduction;
pub(crate) mod kept_tokens;
pub(crate) mod key_logs;
pub(crate) mod peers;
pub(crate) mod readers;
pub(crate) mod tls;
pub(crate) mod token_text;
pub(crate) mod tokens;
