//! What was decided stays so, whatever is put back: the keys of what was erased are taken
//! out of a keyring of before, and records that were refused are decided anew once others
//! may erase.

use std::collections::HashMap;
use std::path::PathBuf;

use super::Node;
use crate::error::Result;
use crate::storage::Batch;
use crate::store::erasures::Erasures;

/// The record of the keyring that names the change which took keys away last. The store
/// has the same in a row.
pub(crate) const RECORD: &str = "keys-taken";

/// Rows in one commit.
const COMMIT_ROWS: usize = 2048;

/// Names a change of the keyring.
pub(super) fn mark() -> Vec<u8> {
    rand::random::<[u8; 16]>().to_vec()
}

impl Node {
    /// Whether the keyring may have keys of what was erased: it is one of before.
    fn is_of_before(&self) -> Result<bool> {
        let taken = self.store.keys_taken()?;
        Ok(self.store.keyring().record(RECORD).unwrap_or_default() != taken)
    }

    /// Notes in the store which change of the keyring took keys away last.
    pub(super) fn note_keys_taken(&self) -> Result<()> {
        if !self.is_of_before()? {
            return Ok(());
        }
        let mark = self.store.keyring().record(RECORD).unwrap_or_default().to_vec();
        let mut rows = Batch::new();
        Erasures::put_keys_taken(&self.store, &mark, &mut rows);
        self.rows(rows)
    }

    /// Takes the keys of all that was erased out of the keyring once more, if it is one of
    /// before. Names the files with keyrings that were removed for it.
    pub(crate) fn take_keys_again(&self) -> Result<Vec<PathBuf>> {
        if !self.is_of_before()? {
            return Ok(Vec::new());
        }
        let mut all_removed = self.erasing.lock().expect("no thread panics while it erases");
        let removed = self.forget(&self.store.erased_positions()?)?;
        all_removed.extend(removed.iter().cloned());
        if self.committer.check_open().is_ok() {
            self.note_keys_taken()?;
        }
        Ok(removed)
    }

    /// Makes records due that were refused, as far as they were, if others may erase than
    /// when they were decided.
    pub(crate) fn decide_anew(&self) -> Result<()> {
        let Some((digest, open)) = self.to_decide()? else { return Ok(()) };
        let mut rows = Batch::new();
        for (count, position) in open.iter().enumerate() {
            let readers = self.store.readers_of_erased(*position)?;
            Erasures::put_due_with(&self.store, *position, &readers, &mut rows);
            if count % COMMIT_ROWS == COMMIT_ROWS - 1 {
                self.rows(std::mem::take(&mut rows))?;
            }
        }
        Erasures::put_erasers(&self.store, &digest, &mut rows);
        self.rows(rows)?;
        self.store.erasures.note_due(&open);
        Ok(())
    }

    /// Who may erase now and the records that could erase more, if that has changed.
    fn to_decide(&self) -> Result<Option<([u8; 32], Vec<u64>)>> {
        let store = &self.store;
        let digest = store.erasers().digest(&store.keys.logs()).0;
        if !store.erasures.has_records() || store.erasers_of_before()? == digest {
            return Ok(None);
        }
        let own = self.origin();
        let mut open = Vec::new();
        for position in store.erasure_positions() {
            let position = position?;
            // A node that has a new key answers once more.
            let is_open = store.outcome_of(position)?.is_some_and(|outcome| outcome.is_open());
            if is_open || store.receipt(position, &own).is_ok_and(|receipt| receipt.is_none()) {
                open.push(position);
            }
        }
        Ok(Some((digest, open)))
    }

    /// What it would have to erase, one that is only read passes over: it is not opened, and
    /// reads as erased.
    pub(crate) fn pass_over_erased(&self) -> Result<()> {
        let store = &self.store;
        let mut due = store.erasures.due_positions();
        due.extend(self.to_decide()?.map_or_else(Vec::new, |(_, open)| open));
        let mut unwritten = HashMap::new();
        for position in due {
            match self.would_erase(position) {
                Ok((true, covered)) => store.erasures.wait_for_release(position, covered),
                Ok((false, covered)) => unwritten.extend(covered),
                Err(problem) if problem.is_damaged() => {}
                Err(problem) => return Err(problem),
            }
        }
        let mut positions = if self.is_of_before()? { store.erased_positions()? } else { Vec::new() };
        positions.extend(unwritten.keys());
        if !positions.is_empty() {
            let mut keyring = store.keyring();
            keyring.pass_over(&positions);
            store.seals.take_over(&keyring);
            drop(keyring);
            store.erasures.take_for_erased(unwritten);
        }
        Ok(())
    }
}
