//! Witnesses (c2sp.org/tlog-witness): this node as one for the nodes that it knows,
//! and those whom it asks to cosign its own checkpoints.

use bincode::{Decode, Encode};
use thingdb_format::{AddCheckpoint, SignedCheckpoint, SigningKey, VerifierKey, checkpoint, merkle};

use super::Db;
use crate::access::actors::unix_now;
use crate::committer::Job;
use crate::error::{Error, Result};
use crate::storage::Batch;
use crate::store::{schema, stored};

/// Most own checkpoints that are kept with what others said of them: as many as a
/// proof file can show.
const MAX_KEPT: usize = thingdb_format::proof::MAX_EARLIER;

/// Most witnesses whom a node asks.
pub const MAX_WITNESSES: usize = 32;

/// A witness whom this node asks to cosign its checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// What it is called here.
    pub name: String,
    /// Its submission prefix: `add-checkpoint` comes after it.
    pub url: String,
    /// The key under which it cosigns.
    pub vkey: VerifierKey,
}

/// What a witness answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cosigning {
    /// The ledger has only grown, and is remembered as it is now: the signature
    /// line, with its line feed.
    Cosigned(String),
    /// No node is known whose ledger has this name.
    UnknownLog,
    /// The node has not signed the checkpoint.
    NotSigned,
    /// A checkpoint of another size than the request names is the last one here.
    OtherSize(u64),
    /// The proof does not lead from the last checkpoint to this one, or the node has
    /// shown two ledgers before.
    Inconsistent,
}

/// An own checkpoint, and who cosigned it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cosigned {
    /// The checkpoint with its cosignatures: none but those of `by`.
    pub checkpoint: SignedCheckpoint,
    /// The names under which witnesses and peers are known here, and the times at
    /// which they cosigned, in seconds since 1970 by their clocks.
    pub by: Vec<(String, u64)>,
}

#[derive(Encode, Decode)]
struct WitnessRow {
    name: String,
    url: String,
    vkey: String,
}

/// Witnesses.
impl Db {
    /// Cosigns the checkpoint of a node that is known here, if its ledger has only
    /// grown since the last one that was seen, and remembers it: it is durable on
    /// return. This is what an exchange with the node looks at, too, so that both
    /// know one ledger of it.
    ///
    /// A request proves nothing against the node but by two checkpoints of one size:
    /// these are kept as evidence.
    ///
    /// # Errors
    /// [`Error::is_read_only`], [`Error::is_disk_full`], [`Error::is_damaged`].
    pub fn cosign(&self, request: &AddCheckpoint) -> Result<Cosigning> {
        let note = &request.checkpoint;
        let shown = note.claimed();
        let known =
            self.store.keyring().trust().origin(&shown.origin).filter(|known| known.withdrawn.is_none()).cloned();
        let Some(known) = known.filter(|known| known.key != self.node_key()) else {
            return Ok(Cosigning::UnknownLog);
        };
        if note.verify(&known.key).is_err() {
            return Ok(Cosigning::NotSigned);
        }
        let _one_at_a_time = self.replica.lock().expect("no thread panics while it holds this");
        let remembered = self.remembered(&shown.origin)?;
        if remembered.conflict.is_some() {
            return Ok(Cosigning::Inconsistent);
        }
        let last = remembered.checkpoint;
        let size = last.as_ref().map_or(0, |last| last.claimed().size);
        if request.old != size {
            return Ok(Cosigning::OtherSize(size));
        }
        let has_grown = match &last {
            Some(last) if last.claimed().size == shown.size => {
                if last.claimed().root != shown.root {
                    self.keep_split_view(&known.key, last, note)?;
                }
                last.claimed().root == shown.root && request.proof.is_empty()
            }
            Some(last) if size > 0 => {
                let root = &last.claimed().root;
                merkle::verify_consistency(size, shown.size, &request.proof, root, &shown.root).is_ok()
            }
            _ => request.proof.is_empty(),
        };
        if !has_grown {
            return Ok(Cosigning::Inconsistent);
        }
        let line = note.cosign(self.store.keyring().node_key(), now())?;
        self.keep_remembered(&shown.origin, &note.bare()?.with_signatures(&line)?, None)?;
        Ok(Cosigning::Cosigned(line))
    }

    /// The last checkpoint that this node cosigned of the ledger with this name, with
    /// the cosignature.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn cosigned_of(&self, name: &str) -> Result<Option<SignedCheckpoint>> {
        let known = self
            .store
            .keyring()
            .trust()
            .origins()
            .map(|known| known.key.origin())
            .find(|origin| checkpoint::name(*origin) == name);
        let Some(origin) = known else { return Ok(None) };
        let own = self.node_key().witness_vkey()?;
        let note = self.remembered(&origin)?.checkpoint;
        Ok(note.filter(|note| matches!(note.cosigned_by(&own), Ok(Some(_)))))
    }

    /// The witnesses whom this node asks, in the order in which they were added.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn witnesses(&self) -> Result<Vec<Witness>> {
        let rows: Vec<WitnessRow> = self.settings_row(schema::WITNESSES)?;
        let witness = |row: WitnessRow| Ok(Witness { name: row.name, url: row.url, vkey: row.vkey.parse()? });
        rows.into_iter().map(witness).collect()
    }

    /// Adds a witness to those whom this node asks.
    ///
    /// # Errors
    /// [`Error::WitnessKnown`] if its name or its key is one of them already,
    /// [`Error::TooManyWitnesses`] beyond [`MAX_WITNESSES`]; [`Error::Invalid`] if
    /// the key is not one of a witness; [`Error::is_read_only`],
    /// [`Error::is_disk_full`].
    pub fn add_witness(&self, witness: Witness) -> Result<()> {
        if witness.vkey.kind() != thingdb_format::note::KeyKind::Witness {
            let problem = "is that of a log, not of a witness";
            return Err(thingdb_format::Error::Malformed { what: "verifier key", problem }.into());
        }
        let _one_at_a_time = self.replica.lock().expect("no thread panics while it holds this");
        let mut witnesses = self.witnesses()?;
        let is_same = |known: &&Witness| known.name == witness.name || known.vkey.key() == witness.vkey.key();
        if let Some(known) = witnesses.iter().find(is_same) {
            return Err(Error::WitnessKnown { name: known.name.clone(), vkey: known.vkey.clone() });
        }
        if witnesses.len() >= MAX_WITNESSES {
            return Err(Error::TooManyWitnesses);
        }
        witnesses.push(witness);
        self.set_witnesses(&witnesses)
    }

    /// Asks a witness no longer. What it has cosigned stays.
    ///
    /// # Errors
    /// [`Error::NoSuchWitness`]; [`Error::is_read_only`], [`Error::is_disk_full`].
    pub fn remove_witness(&self, name: &str) -> Result<Witness> {
        let _one_at_a_time = self.replica.lock().expect("no thread panics while it holds this");
        let mut witnesses = self.witnesses()?;
        let place = witnesses.iter().position(|known| known.name == name);
        let removed = witnesses.remove(place.ok_or_else(|| Error::NoSuchWitness { name: name.to_owned() })?);
        self.set_witnesses(&witnesses)?;
        Ok(removed)
    }

    /// Keeps what witnesses and peers say of a checkpoint of this node: the
    /// signatures of those that are known here, if they are good. Gives who they
    /// are, and what is kept now of this checkpoint.
    ///
    /// # Errors
    /// [`Error::Invalid`] if this node has not signed it; [`Error::is_read_only`],
    /// [`Error::is_disk_full`], [`Error::is_damaged`].
    pub fn keep_cosignatures(&self, note: &SignedCheckpoint) -> Result<Cosigned> {
        note.verify(&self.node_key())?;
        let keys = self.cosigners()?;
        let (mut kept, mut by) = (note.bare()?, Vec::new());
        for (name, key) in &keys {
            // A bad line of one spoils nobody else's.
            if let Ok(Some(cosignature)) = note.cosignature(key) {
                kept = kept.with_signatures(&cosignature.line)?;
                by.push((name.clone(), cosignature.seconds));
            }
        }
        let _one_at_a_time = self.replica.lock().expect("no thread panics while it holds this");
        let mut notes = self.cosigned_notes()?;
        let before = notes.clone();
        match notes.iter_mut().find(|known| known.text() == kept.text()) {
            Some(known) => *known = merged(known, &kept, &keys)?,
            None if by.is_empty() => {}
            None => notes.push(kept.clone()),
        }
        notes.sort_by_key(|note| note.claimed().size);
        // The newest of each witness says most.
        let is_newest_of = |note: &SignedCheckpoint, key: &VerifierKey| {
            let newest = notes.iter().rev().find(|note| is_cosigned(note, key));
            newest.is_some_and(|newest| newest.text() == note.text())
        };
        let mut newest: Vec<SignedCheckpoint> =
            notes.iter().filter(|note| keys.iter().any(|(_, key)| is_newest_of(note, key))).cloned().collect();
        newest.drain(..newest.len().saturating_sub(MAX_KEPT));
        if newest != before {
            let rows: Vec<String> = newest.iter().map(ToString::to_string).collect();
            self.set_settings_row(schema::COSIGNED, &rows)?;
        }
        let checkpoint = newest.into_iter().find(|note| note.text() == kept.text()).unwrap_or(kept);
        Ok(Cosigned { by: cosigned_by(&checkpoint, &keys), checkpoint })
    }

    /// The checkpoints of this node that others have cosigned, the oldest first: of
    /// each witness and each peer the newest, at most 16.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn cosigned(&self) -> Result<Vec<Cosigned>> {
        let keys = self.cosigners()?;
        let mut cosigned = Vec::new();
        for checkpoint in self.cosigned_notes()? {
            // Those of a key that the node had before say nothing of this one.
            if checkpoint.verify(&self.node_key()).is_ok() {
                cosigned.push(Cosigned { by: cosigned_by(&checkpoint, &keys), checkpoint });
            }
        }
        Ok(cosigned)
    }

    /// Whose cosignatures are kept: the witnesses, and the nodes that are known.
    fn cosigners(&self) -> Result<Vec<(String, VerifierKey)>> {
        let mut keys: Vec<_> = self.witnesses()?.into_iter().map(|witness| (witness.name, witness.vkey)).collect();
        let own = self.node_key();
        let keyring = self.store.keyring();
        for known in keyring.trust().origins().filter(|known| known.withdrawn.is_none() && known.key != own) {
            let vkey = known.key.witness_vkey()?;
            if !keys.iter().any(|(_, key)| *key == vkey) {
                keys.push((known.name.clone(), vkey));
            }
        }
        Ok(keys)
    }

    fn cosigned_notes(&self) -> Result<Vec<SignedCheckpoint>> {
        let notes: Vec<String> = self.settings_row(schema::COSIGNED)?;
        notes.iter().map(|note| Ok(SignedCheckpoint::parse(note)?)).collect()
    }

    fn set_witnesses(&self, witnesses: &[Witness]) -> Result<()> {
        let row = |witness: &Witness| WitnessRow {
            name: witness.name.clone(),
            url: witness.url.clone(),
            vkey: witness.vkey.to_string(),
        };
        self.set_settings_row(schema::WITNESSES, &witnesses.iter().map(row).collect::<Vec<_>>())
    }

    fn settings_row<T: Decode<()> + Default>(&self, row: &[u8]) -> Result<T> {
        let sealed = self.store.storage.get(row)?;
        sealed.map_or_else(|| Ok(T::default()), |sealed| self.store.rows.open_value(row, &sealed))
    }

    fn set_settings_row<T: Encode>(&self, row: &[u8], value: &T) -> Result<()> {
        let mut batch = Batch::new();
        batch.put(row.to_vec(), self.store.rows.seal(row, &stored::encode(value)));
        self.committer.submit(&self.store, Job::Rows(batch))?;
        self.sync()
    }
}

/// The note as it is remembered of another node: with what this one says of it.
pub(crate) fn cosigned_here(note: &SignedCheckpoint, key: &SigningKey) -> SignedCheckpoint {
    let line = note.cosign(key, now());
    let bare = note.bare();
    match (bare, line) {
        (Ok(bare), Ok(line)) => bare.with_signatures(&line).unwrap_or_else(|_| note.clone()),
        // A clock that is before 1970: it is remembered all the same.
        _ => note.clone(),
    }
}

/// One note of two of the same text.
fn merged(
    known: &SignedCheckpoint,
    other: &SignedCheckpoint,
    keys: &[(String, VerifierKey)],
) -> Result<SignedCheckpoint> {
    let mut note = known.bare()?;
    for (_, key) in keys {
        let of = |note: &SignedCheckpoint| note.cosignature(key).ok().flatten();
        if let Some(cosignature) = of(known).or_else(|| of(other)) {
            note = note.with_signatures(&cosignature.line)?;
        }
    }
    Ok(note)
}

fn is_cosigned(note: &SignedCheckpoint, key: &VerifierKey) -> bool {
    matches!(note.cosigned_by(key), Ok(Some(_)))
}

fn cosigned_by(note: &SignedCheckpoint, keys: &[(String, VerifierKey)]) -> Vec<(String, u64)> {
    let by = |(name, key): &(String, VerifierKey)| Some((name.clone(), note.cosigned_by(key).ok()??));
    keys.iter().filter_map(by).collect()
}

/// Seconds since 1970.
fn now() -> u64 {
    unix_now().micros() / 1_000_000
}
