//! Verification.

use super::Db;
use crate::directory::journal_state::journal_state;
use crate::error::Result;
use crate::storage::journaled::Keep;
use crate::verify::{self, Problem, Report, Verdict, VerifyOptions};

impl Db {
    /// Verifies the ledger, or one thing, on all cores; with the ledger, that its
    /// second copy, the journal, reads.
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
        let is_of_all = options.is_of_all();
        let mut report = verify::verify(&self.node, options)?;
        // Read from the journal, it is the only copy.
        let has_journal = is_of_all && !self.options.in_memory && !self.options.read_only;
        if has_journal {
            let journal = journal_state(self.dir())?;
            // Recent commits are no second copy; what the store does not have yet, and
            // what backups have not fetched, is in them all the same.
            report.copy = (Keep::of(self.dir())? == Keep::All).then_some(journal.commits);
            for detail in journal.damage {
                report.add(Problem::of_ledger(Verdict::BadCopy, detail));
            }
        }
        if is_of_all && let Some(lost) = self.lost_end()? {
            let detail = format!(
                "the ledger had {} entries when it was salvaged, and those from position {} on were not found; \
                 new-node-key accepts that",
                lost.end, lost.start
            );
            report.add(Problem::of_ledger(Verdict::Truncated, detail));
        }
        Ok(report)
    }
}
