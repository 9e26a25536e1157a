//! A recovery key, made and written down.

use thingdb::{Db, RecoveryText};

use crate::console::secret::Keep;
use crate::error::Outcome;

/// What is said where the key goes to stdout.
pub(crate) const SHOWN_ONCE: &str =
    "This key opens the database without the passphrase. It is shown once; an older one is void.";

/// Makes a recovery key and writes it down where it is to be kept.
pub(crate) fn make(db: &Db, keep: &Keep) -> Outcome<RecoveryText> {
    let key = db.new_recovery_key()?;
    let text = key.text();
    keep.write(text.as_str()).map_err(|failure| {
        failure.cause("nobody has the new recovery key, and an older one is void").hint("thingdb recovery-key -o FILE")
    })?;
    Ok(text)
}
