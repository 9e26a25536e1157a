//! Verification.

use super::Db;
use crate::error::Result;
use crate::verify::{self, Report, VerifyOptions};

impl Db {
    /// Verifies the ledger, or one thing, on all cores.
    ///
    /// What is wrong is in the report; an error means that verification itself
    /// could not go on. Entries that are written while it runs are left out.
    ///
    /// ```
    /// # let tmp = tempfile::tempdir()?;
    /// # let passphrase = thingdb::Passphrase::new("correct horse battery");
    /// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(tmp.path().join("db"), &passphrase)?;
    /// use thingdb::VerifyOptions;
    /// db.put("part-42", r#"{"temp":20.1}"#)?;
    /// let kept_elsewhere = db.checkpoint()?.to_string();
    /// db.put("part-42", r#"{"temp":21.4}"#)?;
    ///
    /// let report = db.verify(VerifyOptions::new().checkpoint(&kept_elsewhere))?;
    /// assert!(report.is_ok(), "{:?}", report.problems);
    /// assert_eq!(report.entries, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if the checkpoint is no note or
    /// not signed by its node, [`Error::OtherNode`](crate::Error::OtherNode) if
    /// that is not known here; [`Error::Cancelled`](crate::Error::Cancelled).
    pub fn verify(&self, options: VerifyOptions<'_>) -> Result<Report> {
        verify::verify(&self.node, options)
    }
}
