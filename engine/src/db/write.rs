//! Writing: drafts are sealed in the caller's thread and committed together
//! with those of others.

use std::sync::Arc;

use thingdb_format::{Attachment, Body, Cek, Checkpoint, SignedCheckpoint, SigningKey, payload};

use super::Db;
use super::options::Durability;
use crate::access::actors;
use crate::committer::{Done, Job, NewEntry};
use crate::entry::draft::{Draft, Expect};
use crate::entry::record::Receipt;
use crate::error::{Error, Result};
use crate::node::standing;
use crate::prototype::ORIGINAL;
use crate::storage::Ticket;

/// Entries after which the own checkpoint is renewed while writing.
const CHECKPOINT_ENTRIES: u64 = 16_384;

/// Writing.
impl Db {
    /// Writes JSON data about a thing, signed by the default actor.
    ///
    /// # Errors
    /// [`Error::is_invalid_input`], [`Error::is_disk_full`],
    /// [`Error::is_read_only`]; nothing was written then.
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
    /// [`Error::is_conflict`], and as [`Db::put`].
    pub fn put_if(&self, thing: &str, expect: Expect, json: &str) -> Result<Receipt> {
        self.write(Draft::json(thing, json)?.expect(expect))
    }

    /// Writes a draft.
    ///
    /// # Errors
    /// [`Error::NoSuchActor`], [`Error::ActorWithdrawn`], and as [`Db::put_if`].
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
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let has_originals = drafts.iter().any(|draft| matches!(&draft.attachment, Some((kind, _)) if kind == ORIGINAL));
        let entries = self.seal(drafts)?;
        let _at_work = has_originals.then(|| self.originals_come(self.store.size())).transpose()?;
        let (done, ticket) = self.committer.submit(&self.store, Job::Write(entries))?;
        self.settle(ticket, durability)?;
        match done {
            Done::Written(receipts) => Ok(receipts),
            _ => unreachable!("a write is answered as a write"),
        }
    }

    /// Waits until everything that was written so far survives a power cut.
    ///
    /// # Errors
    /// [`Error::is_read_only`] if a sync failed.
    pub fn sync(&self) -> Result<()> {
        self.store.sync()
    }

    /// Removes from the journal what was replaced or deleted, as it is done in the
    /// background when half of a file is: on return no file of it has any of that,
    /// as far as it can be read. Writing and reading go on meanwhile.
    ///
    /// Backups that were made before have it still, and so have the store, until it
    /// needs the room, and what was set aside.
    ///
    /// # Errors
    /// [`Error::is_disk_full`]: a file is written anew beside the old one.
    /// [`Error::is_read_only`] if nothing can be written.
    pub fn compact(&self) -> Result<()> {
        self.committer.check_open()?;
        Ok(self.store.storage.compact()?)
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
    /// [`Error::is_read_only`] if a sync failed.
    pub fn settle_all(&self) -> Result<()> {
        if self.committer.check_open().is_err() {
            return Ok(());
        }
        self.sync()?;
        // Whoever waited here while another signed finds nothing left to do.
        let mut checkpointed = self.checkpointed.lock().expect("no thread panics while it signs");
        if self.store.size() > *checkpointed {
            *checkpointed = self.sign_checkpoint()?.claimed().size;
        }
        Ok(())
    }

    /// Seals drafts in the caller's thread.
    fn seal(&self, drafts: Vec<Draft>) -> Result<Vec<NewEntry>> {
        let mut rng = rand::rng();
        let mut signers = Signers::default();
        let mut created = std::collections::HashSet::new();
        let readers = self.store.readers();
        drafts
            .into_iter()
            .map(|draft| {
                let tag = self.store.tag(&draft.thing);
                let (name, signer) = signers.find(self, draft.actor.as_deref())?;
                let action = match &draft.action {
                    Some(action) => action,
                    None if !created.insert(tag) || self.store.state(&tag)?.is_some() => "update",
                    None => "create",
                };
                let attachment = draft.attachment.as_ref().map(|(media_type, bytes)| Attachment { media_type, bytes });
                let body = Body::with_attachment(&name, action, &draft.media_type, &draft.data, attachment)?;
                let to = readers.keys(draft.thing.as_str(), draft.to.as_deref())?;
                let cek = Cek::generate(&mut rng);
                let sealed = payload::seal(self.options.suite, &cek, body)?;
                let expect = draft.expect;
                Ok(NewEntry {
                    thing: draft.thing,
                    tag,
                    signer,
                    expect,
                    suite: self.options.suite,
                    cek,
                    sealed,
                    to,
                    keep_cek: !readers.write_only,
                })
            })
            .collect()
    }

    /// Waits for a commit as the caller wants, and renews the own checkpoint
    /// when it is due.
    pub(crate) fn settle(&self, ticket: Option<Ticket>, durability: Durability) -> Result<()> {
        if let (Some(ticket), Durability::Durable) = (ticket, durability) {
            self.store.storage.wait(ticket)?;
        }
        // The entries are in: that their checkpoint could not be written must
        // not make them look refused. It is tried again at the next write, and
        // closing tells.
        let _ = self.renew_checkpoint(CHECKPOINT_ENTRIES);
        Ok(())
    }

    /// Signs the ledger's state if it has grown by `entries` since it was
    /// signed last.
    pub(crate) fn renew_checkpoint(&self, entries: u64) -> Result<()> {
        let due = |checkpointed: u64| self.store.size() >= checkpointed.saturating_add(entries);
        // Whoever holds the lock is at it.
        let Ok(mut checkpointed) = self.checkpointed.try_lock() else { return Ok(()) };
        if due(*checkpointed) {
            *checkpointed = self.sign_checkpoint()?.claimed().size;
        }
        Ok(())
    }

    /// Syncs, so that a checkpoint never names what a power cut can undo.
    fn sign_checkpoint(&self) -> Result<SignedCheckpoint> {
        let tree = self.store.tree();
        self.store.sync()?;
        let key = Arc::clone(self.store.keyring().node_key());
        standing::sign(self.dir(), &key, tree.size(), tree.root())
    }

    /// Signs the state of the ledger (C2SP signed note). The note is kept
    /// beside the database; keep it elsewhere too, and
    /// [`VerifyOptions::checkpoint`](crate::VerifyOptions::checkpoint) shows
    /// whether anything was cut or changed since.
    ///
    /// # Errors
    /// [`Error::RolledBack`] if the ledger contradicts the last checkpoint.
    pub fn checkpoint(&self) -> Result<SignedCheckpoint> {
        self.committer.check_open()?;
        let mut checkpointed = self.checkpointed.lock().expect("no thread panics while it signs");
        let note = self.sign_checkpoint()?;
        *checkpointed = note.claimed().size;
        Ok(note)
    }

    /// A checkpoint of the first `until` entries, or of all if they are fewer.
    /// What is kept beside the database is that of all.
    ///
    /// # Errors
    /// As [`Db::checkpoint`].
    pub(crate) fn checkpoint_at(&self, until: u64) -> Result<SignedCheckpoint> {
        let note = self.checkpoint()?;
        if note.claimed().size <= until {
            return Ok(note);
        }
        let root = self.store.with_tree(|tree| tree.root_at(until))?;
        Ok(Checkpoint::new(self.origin(), until, root).sign(self.store.keyring().node_key())?)
    }

    /// The last checkpoint that is kept beside the database; of one that was opened
    /// to read only that of the opening.
    ///
    /// # Errors
    /// [`Error::is_damaged`] if it does not verify.
    pub fn last_checkpoint(&self) -> Result<Option<SignedCheckpoint>> {
        match &self.read_with {
            Some(kept) => Ok(kept.clone()),
            None => Ok(standing::load(self.dir(), &self.store.keyring())?.own()),
        }
    }
}

/// The actors of a batch, each looked up once.
#[derive(Default)]
struct Signers(Vec<(Option<String>, String, Arc<SigningKey>)>);

impl Signers {
    fn find(&mut self, db: &Db, name: Option<&str>) -> Result<(String, Arc<SigningKey>)> {
        if let Some((_, name, key)) = self.0.iter().find(|(asked, ..)| asked.as_deref() == name) {
            return Ok((name.clone(), Arc::clone(key)));
        }
        let keyring = db.store.keyring();
        let actor = match name {
            Some(name) => keyring.actor(name).map_err(|_| Error::NoSuchActor { name: name.to_owned() })?,
            None => keyring.default_actor()?,
        };
        actors::check_trusted(&keyring, actor)?;
        let found = (actor.name.clone(), Arc::clone(&actor.key));
        self.0.push((name.map(str::to_owned), found.0.clone(), Arc::clone(&found.1)));
        Ok(found)
    }
}
