//! What a node has signed of its ledger, as files of several hands show it: whoever was
//! told two different things holds the evidence.

use std::collections::{BTreeMap, BTreeSet};

use thingdb_format::heads::SignedHeads;
use thingdb_format::proof::{Earlier, ProofHeader};
use thingdb_format::{NodeKey, SignedCheckpoint, Time, merkle};

use super::checkpoints::{Contradiction, Evidence};
use super::heads::SplitHeads;
use crate::error::Result;

/// Checkpoints and heads notes of one node, all of them signed by it, in the order in
/// which they came.
///
/// ```
/// # use thingdb::format::{Checkpoint, Hash, SigningKey};
/// # use thingdb::{Compared, Statements, Time};
/// # let key = SigningKey::from_seed(&[1; 32]);
/// # let note = |root| Checkpoint::new(key.node_key().origin(), 7, Hash([root; 32])).sign(&key);
/// let mut said = Statements::new(key.node_key());
/// said.checkpoint(note(1)?)?;
/// said.checkpoint(note(2)?)?;
/// // Two ledgers of one size: a file that convicts the node, for everybody.
/// let Compared::SplitView(evidence) = said.compare(Time::from_micros(1_000_000)?) else { panic!() };
/// assert!(evidence.check().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Statements {
    node: NodeKey,
    checkpoints: Vec<SignedCheckpoint>,
    heads: Vec<SignedHeads>,
    /// Pairs of sizes between which a proof shows that the ledger only grew.
    grown: Vec<(u64, u64)>,
}

/// What came of comparing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compared {
    /// Two ledgers of one size.
    SplitView(Evidence),
    /// Two things said of the heads of one ledger.
    SplitHeads(SplitHeads),
    /// A checkpoint and a heads note of one size name two ledgers: the node contradicts
    /// itself, and no evidence file has that form.
    Contradiction {
        /// The size.
        size: u64,
    },
    /// All are states of one ledger that only grew.
    OneLedger,
    /// Nothing contradicts, and between some sizes no proof shows that the ledger only
    /// grew: the sizes below and above that.
    Unknown {
        /// The size before the one to which no proof leads.
        size: u64,
        /// The smallest one to which none leads.
        next: u64,
    },
}

impl Statements {
    /// Nothing yet, of the node with this key.
    #[must_use]
    pub const fn new(node: NodeKey) -> Self {
        Self { node, checkpoints: Vec::new(), heads: Vec::new(), grown: Vec::new() }
    }

    /// Takes a checkpoint.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if the node did not sign it.
    pub fn checkpoint(&mut self, note: SignedCheckpoint) -> Result<()> {
        note.verify(&self.node)?;
        self.checkpoints.push(note);
        Ok(())
    }

    /// Takes a heads note.
    ///
    /// # Errors
    /// As there.
    pub fn heads(&mut self, note: SignedHeads) -> Result<()> {
        note.verify(&self.node)?;
        self.heads.push(note);
        Ok(())
    }

    /// Takes what the first line of a proof file shows. The rest of such a file is the
    /// entries' business: what was signed convicts, whether the file holds or not.
    ///
    /// # Errors
    /// As there.
    pub fn proof_header(&mut self, header: ProofHeader) -> Result<()> {
        let now = header.checkpoint.claimed().clone();
        for Earlier { checkpoint, proof } in header.earlier {
            let before = checkpoint.claimed();
            if merkle::verify_consistency(before.size, now.size, &proof, &before.root, &now.root).is_ok() {
                self.grown.push((before.size, now.size));
            }
            self.checkpoint(checkpoint)?;
        }
        self.checkpoint(header.checkpoint)?;
        header.heads.map_or(Ok(()), |heads| self.heads(heads.note))
    }

    /// Looks for what cannot be true together. `seen` is the time at which the second of two
    /// was shown, for the evidence.
    #[must_use]
    pub fn compare(&self, seen: Time) -> Compared {
        let mut known = BTreeMap::<u64, &SignedCheckpoint>::new();
        for shown in &self.checkpoints {
            let claimed = shown.claimed();
            let remembered = *known.entry(claimed.size).or_insert(shown);
            if remembered.claimed().root != claimed.root {
                let (remembered, shown) = (remembered.clone(), shown.clone());
                let found = Contradiction::SplitView;
                let proof = Vec::new();
                return Compared::SplitView(Evidence { node: self.node, found, seen, remembered, shown, proof });
            }
        }
        let mut notes = BTreeMap::<u64, &SignedHeads>::new();
        for shown in &self.heads {
            let remembered = *notes.entry(shown.claimed().size).or_insert(shown);
            if remembered.claimed().contradicts(shown.claimed()) {
                let (remembered, shown) = (remembered.clone(), shown.clone());
                return Compared::SplitHeads(SplitHeads { node: self.node, seen, remembered, shown });
            }
        }
        let contradicts = |(size, note): (&u64, &&SignedHeads)| {
            let known = known.get(size)?;
            (known.claimed().root != note.claimed().ledger).then_some(*size)
        };
        if let Some(size) = notes.iter().find_map(contradicts) {
            return Compared::Contradiction { size };
        }
        // Every ledger grew out of the empty one.
        let sizes: BTreeSet<u64> = known.keys().chain(notes.keys()).copied().filter(|size| *size > 0).collect();
        self.linked(sizes.into_iter())
    }

    /// Whether proofs lead from each size to all others. One that leads over a size says
    /// nothing of it: another one has to begin or end there.
    fn linked(&self, sizes: impl Iterator<Item = u64>) -> Compared {
        let sizes: Vec<u64> = sizes.collect();
        // The part that each size belongs to, by its smallest one. There are few proofs.
        let mut part: BTreeMap<u64, u64> = sizes.iter().map(|size| (*size, *size)).collect();
        for (one, other) in &self.grown {
            let (Some(one), Some(other)) = (part.get(one).copied(), part.get(other).copied()) else { continue };
            let (low, high) = (one.min(other), one.max(other));
            part.values_mut().filter(|root| **root == high).for_each(|root| *root = low);
        }
        let first = sizes.first().copied().unwrap_or(0);
        match sizes.iter().position(|size| part.get(size) != Some(&first)) {
            Some(at) => Compared::Unknown { size: sizes[at - 1], next: sizes[at] },
            None => Compared::OneLedger,
        }
    }
}

#[cfg(test)]
mod tests {
    use thingdb_format::heads::HeadsNote;
    use thingdb_format::{Card, CardFields, Checkpoint, DecryptionKey, Hash, SigningKey, ThingId, proof::Subject};

    use super::*;
    use crate::evidence::checkpoints::Weight;

    fn key() -> SigningKey {
        SigningKey::from_seed(&[1; 32])
    }

    fn leaves(count: u8, last: u8) -> Vec<Hash> {
        (1..count).chain([last]).map(|n| merkle::leaf_hash(&[n])).collect()
    }

    fn note(leaves: &[Hash], size: usize) -> SignedCheckpoint {
        let root = merkle::root(leaves[..size].iter().copied());
        Checkpoint::new(key().node_key().origin(), size as u64, root).sign(&key()).unwrap()
    }

    fn heads(size: u64, map: u8, ledger: u8) -> SignedHeads {
        let (map, ledger) = (Hash([map; 32]), Hash([ledger; 32]));
        HeadsNote { origin: key().node_key().origin(), size, map, ledger }.sign(&key()).unwrap()
    }

    fn seen() -> Time {
        Time::from_micros(1_000_000).unwrap()
    }

    fn compared(notes: &[&SignedCheckpoint]) -> Compared {
        let mut said = Statements::new(key().node_key());
        notes.iter().for_each(|note| said.checkpoint((*note).clone()).unwrap());
        said.compare(seen())
    }

    fn header(leaves: &[Hash], size: usize, earlier: &[usize]) -> ProofHeader {
        let card = CardFields {
            time: seen(),
            node_key: key().node_key(),
            encryption_key: DecryptionKey::from_bytes([3; 32]).encryption_key(),
            tls: None,
            name: "plant".to_owned(),
            actors: Vec::new(),
        };
        let before = |before: &usize| Earlier {
            checkpoint: note(leaves, *before),
            proof: merkle::consistency_proof(leaves, *before as u64, size as u64).unwrap(),
        };
        ProofHeader {
            subject: Subject::History { thing: ThingId::new("part-42").unwrap() },
            card: Card::sign(card, &key()).unwrap(),
            checkpoint: note(leaves, size),
            earlier: earlier.iter().map(before).collect(),
            heads: None,
        }
    }

    #[test]
    fn two_ledgers_of_one_size_convict_and_the_first_one_was_there_first() {
        let (one, other) = (leaves(7, 7), leaves(7, 8));
        let Compared::SplitView(evidence) = compared(&[&note(&one, 5), &note(&one, 7), &note(&other, 7)]) else {
            panic!("nothing was found")
        };
        assert_eq!(evidence.check().unwrap(), Weight::Proof);
        assert_eq!((evidence.remembered, evidence.shown), (note(&one, 7), note(&other, 7)));
        // What another node signed is no statement of this one.
        let stranger = SigningKey::from_seed(&[2; 32]);
        let foreign = Checkpoint::new(stranger.node_key().origin(), 7, Hash([9; 32])).sign(&stranger).unwrap();
        assert!(Statements::new(key().node_key()).checkpoint(foreign).is_err());
    }

    #[test]
    fn two_heads_notes_of_one_size_convict() {
        let mut said = Statements::new(key().node_key());
        for note in [heads(7, 1, 1), heads(8, 2, 2), heads(7, 3, 1)] {
            said.heads(note).unwrap();
        }
        let Compared::SplitHeads(evidence) = said.compare(seen()) else { panic!("nothing was found") };
        evidence.check().unwrap();
        assert_eq!((evidence.remembered, evidence.shown), (heads(7, 1, 1), heads(7, 3, 1)));
    }

    #[test]
    fn a_heads_note_is_a_statement_of_the_ledger() {
        let all = leaves(9, 9);
        let said = |heads: SignedHeads| {
            let mut said = Statements::new(key().node_key());
            said.checkpoint(note(&all, 7)).unwrap();
            said.heads(heads).unwrap();
            said.compare(seen())
        };
        assert_eq!(said(heads(7, 1, 9)), Compared::Contradiction { size: 7 });
        assert_eq!(said(heads(8, 1, 9)), Compared::Unknown { size: 7, next: 8 });
        let root = merkle::root(all[..7].iter().copied());
        let same = HeadsNote { origin: key().node_key().origin(), size: 7, map: Hash([1; 32]), ledger: root };
        assert_eq!(said(same.sign(&key()).unwrap()), Compared::OneLedger);
    }

    #[test]
    fn only_proofs_say_that_a_ledger_grew() {
        let all = leaves(9, 9);
        let (five, seven) = (note(&all, 5), note(&all, 7));
        assert_eq!(compared(&[&seven, &seven]), Compared::OneLedger);
        assert_eq!(compared(&[&seven, &five]), Compared::Unknown { size: 5, next: 7 });
        let said = |earlier: &[usize]| {
            let mut said = Statements::new(key().node_key());
            said.checkpoint(five.clone()).unwrap();
            said.checkpoint(seven.clone()).unwrap();
            said.proof_header(header(&all, 9, earlier)).unwrap();
            said.compare(seen())
        };
        assert_eq!(said(&[5, 7]), Compared::OneLedger);
        assert_eq!(said(&[5]), Compared::Unknown { size: 5, next: 7 });
        assert_eq!(said(&[]), Compared::Unknown { size: 5, next: 7 });
    }

    #[test]
    fn a_proof_that_does_not_hold_is_none() {
        let (one, other) = (leaves(7, 7), leaves(9, 9));
        let mut said = Statements::new(key().node_key());
        let mut forged = header(&other, 9, &[5]);
        // The kept one is of a ledger that this one did not grow out of.
        forged.earlier[0].checkpoint = note(&leaves(5, 8), 5);
        said.proof_header(forged).unwrap();
        said.checkpoint(note(&one, 7)).unwrap();
        assert_eq!(said.compare(seen()), Compared::Unknown { size: 5, next: 7 });
    }
}
