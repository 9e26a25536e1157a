//! Writing: drafts are sealed in the caller's thread and committed together
//! with those of others.

use thingdb_format::SignedCheckpoint;

use super::Db;
use crate::entry::draft::Draft;
use crate::entry::record::Receipt;
use crate::error::Result;
use crate::heads::Expect;
use crate::node::Durability;

/// Writing.
impl Db {
    /// Writes JSON data about a thing, signed by the default actor.
    ///
    /// # Errors
    /// [`Error::is_invalid_input`](crate::Error::is_invalid_input),
    /// [`Error::is_disk_full`](crate::Error::is_disk_full),
    /// [`Error::is_read_only`](crate::Error::is_read_only); nothing was written
    /// then.
    pub fn put(&self, thing: &str, json: &str) -> Result<Receipt> {
        self.write(Draft::json(thing, json)?)
    }

    /// Writes JSON data only if the thing is as expected.
    ///
    /// ```
    /// # let tmp = tempfile::tempdir()?;
    /// # let passphrase = thingdb::Passphrase::new("correct horse battery");
    /// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(tmp.path().join("db"), &passphrase)?;
    /// use thingdb::Expect;
    /// let first = db.put_if("part-42", Expect::Absent, "1")?;
    /// db.put_if("part-42", Expect::Head(first.id), "2")?;
    /// assert!(db.put_if("part-42", Expect::Head(first.id), "3").unwrap_err().is_conflict());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::is_conflict`](crate::Error::is_conflict), and as [`Db::put`].
    pub fn put_if(&self, thing: &str, expect: Expect, json: &str) -> Result<Receipt> {
        self.write(Draft::json(thing, json)?.expect(expect))
    }

    /// Writes a draft.
    ///
    /// # Errors
    /// [`Error::NoSuchActor`](crate::Error::NoSuchActor),
    /// [`Error::ActorWithdrawn`](crate::Error::ActorWithdrawn), and as
    /// [`Db::put_if`].
    pub fn write(&self, draft: Draft) -> Result<Receipt> {
        self.write_with(draft, self.options.durability)
    }

    /// Writes a draft with another durability than the database's.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub fn write_with(&self, draft: Draft, durability: Durability) -> Result<Receipt> {
        let mut receipts = self.write_batch_with(vec![draft], durability)?;
        Ok(receipts.pop().expect("one draft gives one receipt"))
    }

    /// Writes drafts in their order, all or none. Those of one actor share a
    /// signature.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub fn write_batch(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>> {
        self.write_batch_with(drafts, self.options.durability)
    }

    /// The same with another durability than the database's.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub fn write_batch_with(&self, drafts: Vec<Draft>, durability: Durability) -> Result<Vec<Receipt>> {
        self.node.write(drafts, durability)
    }

    /// Waits until everything that was written so far survives a power cut.
    ///
    /// # Errors
    /// [`Error::is_read_only`](crate::Error::is_read_only) if a sync failed.
    pub fn sync(&self) -> Result<()> {
        self.node.sync()
    }

    /// Removes from the journal what was replaced or deleted, as it is done in the
    /// background when half of a file is: on return no file of it has any of that,
    /// as far as it can be read. Writing and reading go on meanwhile. The store is
    /// written anew when the database is closed, which takes time in proportion to it:
    /// until then it has what was deleted. Tells how many bytes the files of the journal
    /// are smaller by.
    ///
    /// Backups that were made before have it still, and so has what was set aside.
    ///
    /// # Errors
    /// [`Error::is_disk_full`](crate::Error::is_disk_full): a file is written anew beside the old one.
    /// [`Error::is_read_only`](crate::Error::is_read_only) if nothing can be written.
    pub fn compact(&self) -> Result<u64> {
        self.node.committer.check_open()?;
        Ok(self.node.store.storage.compact()?)
    }

    /// Does what closing does and stays open: everything is durable, and the
    /// node's own checkpoint names all of it. Cheap if nothing was written.
    ///
    /// ```
    /// # let tmp = tempfile::tempdir()?;
    /// # let passphrase = thingdb::Passphrase::new("correct horse battery");
    /// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(tmp.path().join("db"), &passphrase)?;
    /// db.put("part-42", r#"{"temp":20.1}"#)?;
    /// db.settle_all()?;
    /// let named = db.last_checkpoint()?.map(|note| note.claimed().size);
    /// assert_eq!(named, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::is_read_only`](crate::Error::is_read_only) if a sync failed.
    pub fn settle_all(&self) -> Result<()> {
        self.node.settle_all()
    }

    /// Signs the state of the ledger (C2SP signed note). The note is kept
    /// beside the database; keep it elsewhere too, and
    /// [`VerifyOptions::checkpoint`](crate::VerifyOptions::checkpoint) shows
    /// whether anything was cut or changed since.
    ///
    /// # Errors
    /// [`Error::RolledBack`](crate::Error::RolledBack) if the ledger contradicts
    /// the last checkpoint.
    pub fn checkpoint(&self) -> Result<SignedCheckpoint> {
        self.node.checkpoint()
    }

    /// The last checkpoint that is kept beside the database; of one that was opened
    /// to read only that of the opening.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged) if it does not verify.
    pub fn last_checkpoint(&self) -> Result<Option<SignedCheckpoint>> {
        self.node.last_checkpoint()
    }
}
