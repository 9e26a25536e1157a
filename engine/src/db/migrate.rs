//! The way in from the Python prototype.

use std::path::Path;

use super::Db;
use crate::error::Result;
use crate::keyring::passphrase::Passphrase;
use crate::migrate::report::MigrateReport;
use crate::migrate::{self, MigrateOptions};

impl Db {
    /// Brings in the directory of a Python prototype, which `old` opens.
    ///
    /// Each of its entries becomes one of ours, signed by the default actor,
    /// with the same data, and with the whole original beside it, so that
    /// [`Db::verify`] checks the original's signature, hash and chain too. What
    /// cannot be opened or does not verify is left out and listed. The
    /// directory is only read.
    ///
    /// # Errors
    /// [`Error::NoPrototype`](crate::Error::NoPrototype);
    /// [`Error::is_wrong_passphrase`](crate::Error::is_wrong_passphrase) if `old`
    /// opens nothing; as [`Db::write`]. What was migrated until then stays.
    pub fn migrate(
        &self,
        dir: impl AsRef<Path>,
        old: &Passphrase,
        options: MigrateOptions<'_>,
    ) -> Result<MigrateReport> {
        migrate::migrate(&self.node, self.options.durability, dir.as_ref(), old, options)
    }
}
