//! x
#[doc(hidden)]
pub mod keyring;
#[doc(hidden)]
pub mod lock;
mod passphrase;
pub mod trust;

pub use keyring::{KdfChoice, KdfParams, KeyringError, RecoveryKey, RecoveryText, SlotId, SlotInfo, SlotKind};
pub use passphrase::Passphrase;
