//! Proof files.

use std::io::Write;

use thingdb_format::proof::ProofReader;
use thingdb_format::{EntryId, TlogProof};

use super::Db;
use crate::error::Result;
use crate::exchange::inclusion;
use crate::exchange::prove::{self, ProveOptions, ProveSummary};

impl Db {
    /// Writes a proof file: entries of a thing with their places in this node's
    /// ledger, as it signs it now, and the keys to what is shown. Whoever checks
    /// it needs no database and no key: see
    /// [`ProofCheck`](thingdb_format::proof::ProofCheck).
    ///
    /// # Errors
    /// [`Error::NothingToProve`](crate::Error::NothingToProve);
    /// [`Error::NotAbsent`](crate::Error::NotAbsent);
    /// [`Error::TooManyToProve`](crate::Error::TooManyToProve) above 262144
    /// entries; [`Error::RolledBack`](crate::Error::RolledBack) if the ledger
    /// contradicts a kept checkpoint; [`Error::Stream`](crate::Error::Stream) if
    /// `out` fails, [`Error::is_damaged`](crate::Error::is_damaged),
    /// [`Error::Cancelled`](crate::Error::Cancelled): the file is cut then.
    ///
    /// ```
    /// # use thingdb::{Options, Passphrase, ProveOptions, format::{audit::Memos, proof::{ProofCheck, examine}}};
    /// # let tmp = tempfile::tempdir()?;
    /// # let passphrase = Passphrase::new(b"correct horse battery".to_vec());
    /// # let db = Options::new().kdf(thingdb::KdfChoice::weakest()).create(tmp.path().join("things"), &passphrase)?;
    /// db.put("part-42", r#"{"length": 12}"#)?;
    /// let mut file = Vec::new();
    /// db.prove("part-42", ProveOptions::new(), &mut file)?;
    ///
    /// // Elsewhere, years later:
    /// let (mut check, mut memos) = (ProofCheck::new().trust(&db.card()?), Memos::default());
    /// for (line, number) in file.split_inclusive(|byte| *byte == b'\n').zip(1..) {
    ///     check.take(examine(line, number, &mut memos));
    /// }
    /// let report = check.finish();
    /// assert!(report.is_good());
    /// // Nothing newer was left out.
    /// assert_eq!(report.complete.map(|complete| complete.count), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prove(&self, thing: &str, options: ProveOptions<'_>, out: impl Write) -> Result<ProveSummary> {
        prove::prove(&self.node, thing, options, out)
    }

    /// The proof that an entry stands in this node's ledger, for clients of
    /// transparency logs (c2sp.org/tlog-proof@v1): in the newest state that others have
    /// cosigned, if one has the entry. `None` if it is not here.
    ///
    /// # Errors
    /// [`Error::RolledBack`](crate::Error::RolledBack),
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn tlog_proof(&self, id: &EntryId) -> Result<Option<TlogProof>> {
        inclusion::tlog_proof(&self.node, id)
    }

    /// The same as a COSE receipt (RFC 9942), in the newest state.
    ///
    /// # Errors
    /// As there.
    pub fn receipt(&self, id: &EntryId) -> Result<Option<Vec<u8>>> {
        inclusion::receipt(&self.node, id)
    }

    /// What opens the content of proof files that were made for this node's card.
    #[must_use]
    pub fn proof_reader(&self) -> ProofReader {
        ProofReader::new(self.node.store.keyring().decryption_key().duplicate())
    }
}
