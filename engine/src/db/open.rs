//! Making and opening.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thingdb_format::{NodeKey, SignedCheckpoint};

use super::options::Options;
use super::warning::Warning;
use super::{Db, begun, read_only};
use crate::access::readers;
use crate::backup;
use crate::clock::unix_now;
use crate::committer::Committer;
use crate::directory::version::{self, Version};
use crate::directory::{self, restoring, unfinished};
use crate::disk;
use crate::disk::lock::DirLock;
use crate::error::{Error, Result};
use crate::exchange::waiting::WaitingRoom;
use crate::keyring::passphrase::Passphrase;
use crate::keyring::{KdfUpgrade, Keyring, KeyringError, Opening, Unlock};
use crate::node::Node;
use crate::node::fit;
use crate::node::standing::{self, Kept, Standing};
use crate::node::tokens::Tokens;
use crate::storage::Change;
use crate::storage::open::{self, Opened, With};
use crate::store::Store;
use crate::store::recover::{Recovered, recover, repair_tree};
use crate::store::row_seal::RowSeal;
use crate::store::schema;

impl Db {
    pub(crate) fn create_with<E: From<Error>>(
        dir: &Path,
        passphrase: &Passphrase,
        options: &Options,
        prepare: impl FnOnce(&Self) -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        let db = Self::draft(dir, passphrase, options)?;
        prepare(&db)?;
        // From here on it is a database.
        db.node.store.keyring().publish(&mut rand::rng()).map_err(Error::from)?;
        Ok(db)
    }

    /// A database but for its keyring, without which a directory is none: the
    /// keyring is in memory.
    fn draft(dir: &Path, passphrase: &Passphrase, options: &Options) -> Result<Self> {
        directory::check(dir)?;
        let refuse_other =
            || if Self::exists(dir) { Err(Error::AlreadyExists { dir: dir.to_owned() }) } else { Ok(()) };
        refuse_other()?;
        // Refused before anything is made.
        passphrase.check_new()?;
        disk::create_private_directory(dir).map_err(Error::file(dir, "cannot be created"))?;
        let lock = lock(dir, options)?;
        // Whoever held the lock may have made one.
        refuse_other()?;
        unfinished::sweep(dir)?;
        version::write(dir)?;
        let (opened, told) = begun::storage(dir, || open_storage(dir, options, true, None))?;
        let keyring = draft_keyring(dir, passphrase, options)?;
        Self::assemble(dir, Some(lock), opened, keyring, told, None, options)
    }

    pub(crate) fn open_with(dir: &Path, unlock: Unlock<'_>, options: &Options) -> Result<Self> {
        if options.restoring.is_some() {
            directory::check_files(dir)?
        } else {
            directory::check(dir)?
        }
        let version = version::read(dir)?;
        if !Self::exists(dir) {
            return Err(standing::without_keyring(dir));
        }
        if options.read_only {
            return read_only::open(dir, unlock, options);
        }
        if backup::is_one(dir) {
            return Err(Error::IsBackup { dir: dir.to_owned() });
        }
        let lock = match lock(dir, options) {
            Err(problem) if problem.is_read_only_medium() => return read_only::open_there(dir, unlock, options),
            lock => lock?,
        };
        match options.restoring.is_some() {
            true => restoring::opens(dir)?,
            // A stray one: there is a store.
            false => restoring::end(dir)?,
        }
        let is_right = |keyring: &Keyring| matches!(standing::load(dir, keyring), Ok(Kept::Own(_) | Kept::Former));
        let opening = Opening { is_right: &is_right, ..Opening::default() };
        let keyring = Keyring::open_with(&dir.join(directory::KEYRING), unlock, &opening, &mut rand::rng());
        let keyring = keyring.map_err(|problem| match problem {
            KeyringError::NotFound { .. } => Error::NoDatabase { dir: dir.to_owned() },
            problem => problem.into(),
        })?;
        let opened = open_storage(dir, options, false, Some(row_of_loss(&keyring)))?;
        let db = Self::assemble(dir, Some(lock), opened, keyring, None, None, options)?;
        db.mend_version(&version);
        db.node.take_keys_again()?;
        if !db.is_writable() {
            db.node.pass_over_erased()?;
        }
        db.erase_what_is_due();
        db.end_rotation();
        Ok(db)
    }

    /// Takes over the new key of an actor whose record is in already.
    fn end_rotation(&self) {
        if !self.is_writable() {
            return;
        }
        if let Err(problem) = self.node.take_over_aside() {
            let fact = format!("an actor has a new key that cannot be taken over: {problem}");
            self.warn(Warning::Damaged(fact));
        }
    }

    /// Carries out what an erasure that was broken off has left, and what is allowed since
    /// it was refused.
    pub(super) fn erase_what_is_due(&self) {
        if !self.is_writable() {
            return;
        }
        if let Err(problem) = self.node.decide_anew().and_then(|()| self.node.finish_erasures()) {
            let fact = format!("an erasure is due and cannot be carried out: {problem}; the next opening tries again");
            self.warn(Warning::Damaged(fact));
        }
    }

    /// Writes the file `VERSION` anew if it was lost. That everything else opens
    /// says that it is of this version.
    fn mend_version(&self, found: &Version) {
        let fact = match found {
            Version::Known => return,
            Version::Missing => "VERSION is missing".to_owned(),
            Version::Damaged(detail) => format!("VERSION is damaged ({detail})"),
        };
        let done = if self.is_writable() { Some(version::write(self.dir())) } else { None };
        self.warn(Warning::Repaired(match done {
            Some(Ok(())) => format!("{fact}, and was made anew"),
            Some(Err(problem)) => format!("{fact}, and cannot be made anew: {problem}"),
            None => format!("{fact}, and is made anew once the database can be written to"),
        }));
    }

    /// `kept` is the own checkpoint, if it was read before.
    pub(crate) fn assemble(
        dir: &Path,
        lock: Option<Arc<DirLock>>,
        opened: Opened,
        keyring: Keyring,
        told: Option<Warning>,
        kept: Option<Result<Kept>>,
        options: &Options,
    ) -> Result<Self> {
        let mut warnings: Vec<Warning> = told.into_iter().collect();
        warnings.extend(keyring.mode_warning().map(Warning::KeyringMode));
        warnings.extend(keyring.mending().map(|mending| Warning::Keyring(mending.to_string())));
        warnings.extend(directory::mode_warning(dir).map(Warning::DirectoryMode));
        if let KdfUpgrade::Failed { cause } = keyring.kdf_upgrade() {
            warnings.push(Warning::KdfUpgrade(format!("the passphrase could not be stretched more: {cause}")));
        }
        let node_key = keyring.node_key().node_key();
        let states_bytes = usize::try_from(options.cache_bytes).unwrap_or(usize::MAX);
        let store = Store::new(dir.to_owned(), opened.storage, keyring, states_bytes)?;
        fit::check(&store)?;
        let mut recovered = recover(&store, options.rebuild)?;
        let is_read_only = kept.is_some();
        if store.keys.is_damaged || options.rebuild {
            match store.mend_keys(!is_read_only && recovered.read_only.is_none()) {
                Ok(0) => {}
                Ok(count) => recovered.repaired.push(format!("{count} rows of key records were made anew")),
                Err(problem) if problem.is_damaged() => {
                    let fact = format!("what actors say of their keys cannot be read: {problem}");
                    warnings.push(Warning::Damaged(fact));
                }
                Err(problem) => return Err(problem),
            }
        }
        let kept = kept.unwrap_or_else(|| standing::load(dir, &store.keyring()));
        // A node that does not know what it signed must not go on; it is not lost, though.
        if kept.as_ref().is_err_and(Error::is_passing) {
            return Err(kept.err().expect("it is an error"));
        }
        let kept_is_good = kept.is_ok();
        let read_with = match &kept {
            Ok(Kept::Own(note)) => Some(note.clone()),
            _ => None,
        };
        let standing = match &kept {
            Ok(Kept::Own(note)) => Some((compare(&store, &node_key, note, &mut recovered)?, note.claimed().size)),
            _ => None,
        };
        let committer = Committer::new(node_key.origin(), options.clock, options.future_tolerance_ms);
        warnings.extend(opened.notices.into_iter().map(Warning::Repaired));
        warnings.extend(recovered.repaired.into_iter().map(Warning::Repaired));
        if let Some(problem) = recovered.read_only {
            warnings.push(Warning::Damaged(format!("{problem}; reading goes on, writing is refused")));
            committer.close(problem);
        }
        let mut checkpointed = 0;
        match standing {
            Some((Standing::Consistent, size)) => checkpointed = size,
            // What cannot be read cannot be compared.
            Some((Standing::Different { .. }, _)) if committer.check_open().is_err() => {}
            Some((found, _)) => {
                committer.close(Error::RolledBack { detail: found.to_string() });
                warnings.push(Warning::Standing(found));
            }
            None => warnings.extend(without_checkpoint(kept)),
        }
        let node = Node {
            tokens: Tokens::load(&store)?,
            store,
            committer,
            suite: options.suite,
            fields_provable: options.fields_provable,
            threads: options.threads,
            checkpointed: Mutex::new(checkpointed),
            heads: Mutex::default(),
            erasing: Mutex::default(),
            steps: Mutex::default(),
            replica: Mutex::default(),
            // One that is damaged is told of each time.
            read_with: (is_read_only && kept_is_good).then_some(read_with),
        };
        Ok(Self {
            node,
            options: options.clone(),
            waiting: WaitingRoom::default(),
            warnings: Mutex::new(warnings),
            closed: false,
            _lock: lock,
        })
    }
}

/// A keyring in memory, and the checkpoint of an empty ledger.
fn draft_keyring(dir: &Path, passphrase: &Passphrase, options: &Options) -> Result<Keyring> {
    let mut rng = rand::rng();
    let mut keyring = Keyring::draft(&dir.join(directory::KEYRING), passphrase, options.kdf, &mut rng)?;
    keyring.add_actor(&options.actor, unix_now(), &mut rng)?;
    if options.write_only {
        readers::set_write_only(&mut keyring)?;
    }
    standing::sign(dir, keyring.node_key(), 0, thingdb_format::merkle::root([]))?;
    Ok(keyring)
}

/// How the ledger stands against the own checkpoint. Rows of the tree that do
/// not open are made anew.
fn compare(store: &Store, node: &NodeKey, note: &SignedCheckpoint, recovered: &mut Recovered) -> Result<Standing> {
    match standing::compare(store, node.origin(), note.claimed()) {
        Err(problem) if problem.is_damaged() => {
            repair_tree(store, recovered)?;
            standing::compare(store, node.origin(), note.claimed())
        }
        found => found,
    }
}

/// What is to be said if there is no own checkpoint to compare with.
fn without_checkpoint(kept: Result<Kept>) -> Option<Warning> {
    let text = match kept {
        Ok(Kept::Own(_)) => return None,
        // A new database gets its first one when it is made.
        Ok(Kept::Nothing) => "the node's own last checkpoint is gone".to_owned(),
        Ok(Kept::Former) => "the last checkpoint is of a key that the node had before: a change of its keys was \
                             broken off, or an old file was put back"
            .to_owned(),
        Err(problem) => problem.to_string(),
    };
    Some(Warning::Checkpoint(text))
}

/// The lock of a directory; a restore has it already.
pub(super) fn lock(dir: &Path, options: &Options) -> Result<Arc<DirLock>> {
    if let Some(held) = &options.restoring {
        return Ok(Arc::clone(held));
    }
    DirLock::acquire_within(dir, Duration::from_millis(options.lock_timeout_ms))
        .map(Arc::new)
        .map_err(|problem| Error::of_lock(dir, problem))
}

/// The row that says that commits may be lost.
fn row_of_loss(keyring: &Keyring) -> Change {
    let rows = RowSeal::new(keyring.row_key().seal_key());
    (schema::COMMITS_LOST.to_vec(), Some(rows.seal(schema::COMMITS_LOST, &[])))
}

/// Opens the storage of a directory.
pub(super) fn open_storage(dir: &Path, options: &Options, create: bool, row_of_loss: Option<Change>) -> Result<Opened> {
    let with = With {
        cache_bytes: options.cache_bytes,
        free_floor_bytes: options.free_floor_bytes,
        reserve_bytes: options.reserve_bytes,
        replay_hook: options.rebuilding.clone().map(|report| report.hook()),
        sync_hook: options.fail_sync_at.map(open::failing_sync),
        is_derived: schema::is_derived,
        is_permanent: schema::is_permanent,
        is_of_entries: schema::is_of_entries,
        grouped: schema::GROUPED,
        row_of_loss,
        keep: options.journal,
        fetched: crate::backup::fetched,
        heal: options.heal,
        create,
        in_memory: options.in_memory,
    };
    Ok(open::open(dir, with)?)
}
