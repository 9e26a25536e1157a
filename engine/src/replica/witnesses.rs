//! Those whom this node asks to cosign its checkpoints, and what they and its peers
//! have said of them.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};
use thingdb_format::{Hash, SignedCheckpoint, VerifierKey};

use crate::encoding;
use crate::error::{Error, Result};
use crate::node::Node;
use crate::storage::Batch;
use crate::store::schema;

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
    /// SHA-256 of the certificate of its server, if it is not one that the system
    /// trusts.
    pub tls: Option<Hash>,
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
    tls: Option<[u8; 32]>,
}

/// The witnesses of a node.
pub(crate) struct Witnesses<'n>(pub(crate) &'n Node);

impl Witnesses<'_> {
    /// The witnesses whom this node asks, in the order in which they were added.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub(crate) fn all(&self) -> Result<Vec<Witness>> {
        let rows: Vec<WitnessRow> = self.setting(schema::WITNESSES)?;
        let witness = |row: WitnessRow| {
            Ok(Witness { name: row.name, url: row.url, vkey: row.vkey.parse()?, tls: row.tls.map(Hash) })
        };
        rows.into_iter().map(witness).collect()
    }

    /// Adds a witness to those whom this node asks.
    ///
    /// # Errors
    /// [`Error::WitnessKnown`] if its name or its key is one of them already,
    /// [`Error::TooManyWitnesses`] beyond [`MAX_WITNESSES`]; [`Error::Invalid`] if
    /// the key is not one of a witness; [`Error::is_read_only`],
    /// [`Error::is_disk_full`].
    pub(crate) fn add(&self, witness: Witness) -> Result<()> {
        if witness.vkey.kind() != thingdb_format::note::KeyKind::Witness {
            let problem = "is that of a log, not of a witness";
            return Err(thingdb_format::Error::Malformed { what: "verifier key", problem }.into());
        }
        let _one_at_a_time = self.0.replica.lock().expect("no thread panics while it holds this");
        let mut witnesses = self.all()?;
        let is_same = |known: &&Witness| known.name == witness.name || known.vkey.key() == witness.vkey.key();
        if let Some(known) = witnesses.iter().find(is_same) {
            return Err(Error::WitnessKnown { name: known.name.clone(), vkey: known.vkey.clone() });
        }
        if witnesses.len() >= MAX_WITNESSES {
            return Err(Error::TooManyWitnesses { most: MAX_WITNESSES });
        }
        witnesses.push(witness);
        self.set(&witnesses)
    }

    /// Asks a witness no longer. What it has cosigned counts no more.
    ///
    /// # Errors
    /// [`Error::NoSuchWitness`]; [`Error::is_read_only`], [`Error::is_disk_full`].
    pub(crate) fn remove(&self, name: &str) -> Result<Witness> {
        let _one_at_a_time = self.0.replica.lock().expect("no thread panics while it holds this");
        let mut witnesses = self.all()?;
        let place = witnesses.iter().position(|known| known.name == name);
        let removed = witnesses.remove(place.ok_or_else(|| Error::NoSuchWitness { name: name.to_owned() })?);
        self.set(&witnesses)?;
        Ok(removed)
    }

    /// Keeps what witnesses and peers say of a checkpoint of this node: the
    /// signatures of those that are known here, if they are good. Gives who they
    /// are, and what is kept now of this checkpoint.
    ///
    /// # Errors
    /// [`Error::Invalid`] if this node has not signed it; [`Error::is_read_only`],
    /// [`Error::is_disk_full`], [`Error::is_damaged`].
    pub(crate) fn keep(&self, note: &SignedCheckpoint) -> Result<Cosigned> {
        note.verify(&self.0.node_key())?;
        let keys = self.cosigners()?;
        let kept = gathered(note, None, &keys)?;
        let _one_at_a_time = self.0.replica.lock().expect("no thread panics while it holds this");
        let mut notes = self.cosigned_notes()?;
        let before = notes.clone();
        match notes.iter_mut().find(|known| known.text() == kept.text()) {
            Some(known) => *known = gathered(known, Some(&kept), &keys)?,
            None => notes.push(kept.clone()),
        }
        notes.sort_by_key(|note| note.claimed().size);
        // The newest of each witness says most; what nobody has cosigned says nothing.
        let newest_of = |(_, key): &(String, VerifierKey)| notes.iter().rposition(|note| is_cosigned(note, key));
        let places: BTreeSet<usize> = keys.iter().filter_map(newest_of).collect();
        let mut newest: Vec<SignedCheckpoint> = places.iter().filter_map(|place| notes.get(*place)).cloned().collect();
        newest.drain(..newest.len().saturating_sub(MAX_KEPT));
        if newest != before {
            let rows: Vec<String> = newest.iter().map(ToString::to_string).collect();
            self.set_setting(schema::COSIGNED, &rows)?;
        }
        let checkpoint = newest.into_iter().find(|note| note.text() == kept.text()).unwrap_or(kept);
        Ok(Cosigned { by: cosigned_by(&checkpoint, &keys), checkpoint })
    }

    /// The checkpoints of this node that others have cosigned, the oldest first: of
    /// each witness and each peer the newest, at most 16.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub(crate) fn cosigned(&self) -> Result<Vec<Cosigned>> {
        let keys = self.cosigners()?;
        let mut cosigned = Vec::new();
        for checkpoint in self.cosigned_notes()? {
            // Those of a key that the node had before say nothing of this one.
            if checkpoint.verify(&self.0.node_key()).is_ok() {
                cosigned.push(Cosigned { by: cosigned_by(&checkpoint, &keys), checkpoint });
            }
        }
        Ok(cosigned)
    }

    /// A checkpoint of this node with the cosignatures that are kept for it, as far as
    /// they can be read: it is as good without them.
    pub(crate) fn with_cosignatures(&self, note: SignedCheckpoint) -> SignedCheckpoint {
        let kept = self.cosigned_notes().unwrap_or_default().into_iter().find(|kept| kept.text() == note.text());
        kept.filter(|kept| kept.verify(&self.0.node_key()).is_ok()).unwrap_or(note)
    }

    /// Whose cosignatures are kept: the witnesses, and the nodes that are known.
    fn cosigners(&self) -> Result<Vec<(String, VerifierKey)>> {
        let mut keys: Vec<_> = self.all()?.into_iter().map(|witness| (witness.name, witness.vkey)).collect();
        let own = self.0.node_key();
        let keyring = self.0.store.keyring();
        for known in keyring.trust().origins().filter(|known| known.withdrawn.is_none() && known.key != own) {
            let vkey = known.key.witness_vkey()?;
            if !keys.iter().any(|(_, key)| *key == vkey) {
                keys.push((known.name.clone(), vkey));
            }
        }
        Ok(keys)
    }

    fn cosigned_notes(&self) -> Result<Vec<SignedCheckpoint>> {
        let notes: Vec<String> = self.setting(schema::COSIGNED)?;
        notes.iter().map(|note| Ok(SignedCheckpoint::parse(note)?)).collect()
    }

    fn set(&self, witnesses: &[Witness]) -> Result<()> {
        let row = |witness: &Witness| WitnessRow {
            name: witness.name.clone(),
            url: witness.url.clone(),
            vkey: witness.vkey.to_string(),
            tls: witness.tls.map(|hash| hash.0),
        };
        self.set_setting(schema::WITNESSES, &witnesses.iter().map(row).collect::<Vec<_>>())
    }

    fn setting<T: Decode<()> + Default>(&self, row: &[u8]) -> Result<T> {
        self.0.store.rows.read_or_default(&*self.0.store.storage, row)
    }

    fn set_setting<T: Encode>(&self, row: &[u8], value: &T) -> Result<()> {
        let mut batch = Batch::new();
        batch.put(row.to_vec(), self.0.store.rows.seal(row, &encoding::encode(value)));
        self.0.rows(batch)?;
        self.0.sync()
    }
}

/// A note with the cosignatures of these keys that are good, also those of another
/// note of the same text. A bad line of one spoils nobody else's.
fn gathered(
    note: &SignedCheckpoint,
    other: Option<&SignedCheckpoint>,
    keys: &[(String, VerifierKey)],
) -> Result<SignedCheckpoint> {
    let mut gathered = note.bare()?;
    for (_, key) in keys {
        let of = |note: &SignedCheckpoint| note.cosignature(key).ok().flatten();
        if let Some(cosignature) = of(note).or_else(|| of(other?)) {
            gathered = gathered.with_signatures(&cosignature.line)?;
        }
    }
    Ok(gathered)
}

fn is_cosigned(note: &SignedCheckpoint, key: &VerifierKey) -> bool {
    matches!(note.cosigned_by(key), Ok(Some(_)))
}

fn cosigned_by(note: &SignedCheckpoint, keys: &[(String, VerifierKey)]) -> Vec<(String, u64)> {
    let by = |(name, key): &(String, VerifierKey)| Some((name.clone(), note.cosigned_by(key).ok()??));
    keys.iter().filter_map(by).collect()
}
