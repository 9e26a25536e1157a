//! Erasing the content of entries, with a record that says so.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use thingdb_format::erasure::{self, Erasure};
use thingdb_format::{EntryId, ThingId, Time, key_record};

use super::Db;
use super::receipts::NodeReceipt;
use crate::entry::draft::Draft;
use crate::entry::record::{Receipt, Record};
use crate::error::{Error, Result};
use crate::node::Durability;
use crate::store::erasures::Outcome;

/// Which entries of a thing are to be erased, and why.
///
/// ```
/// # let tmp = tempfile::tempdir()?;
/// # let passphrase = thingdb::Passphrase::new("correct horse battery");
/// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(tmp.path().join("db"), &passphrase)?;
/// use thingdb::{Content, Erase};
/// db.put("person-7", r#"{"name":"Ada"}"#)?;
/// let plan = db.plan_erasure(&Erase::new("person-7", "asked for by the person").basis("gdpr-17"))?;
/// println!("to be signed: {}", plan.texts().next().expect("there is one"));
/// let erased = db.erase(&plan)?;
/// assert_eq!(erased.entries, 1);
/// let first = db.get_seq("person-7", 1)?.remove(0);
/// assert_eq!(first.content(), &Content::Erased { by: erased.records[0].id });
/// assert!(db.verify(Default::default())?.is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Erase {
    thing: String,
    reason: String,
    basis: Option<String>,
    actor: Option<String>,
    seqs: Option<Vec<RangeInclusive<u64>>>,
    before: Option<Time>,
}

impl Erase {
    /// All entries of a thing. The reason is signed and is there for everybody to read:
    /// it must hold nothing personal.
    #[must_use]
    pub fn new(thing: &str, reason: &str) -> Self {
        Self { thing: thing.into(), reason: reason.into(), basis: None, actor: None, seqs: None, before: None }
    }

    /// Only entries with these seqs.
    #[must_use]
    pub fn seqs(mut self, seqs: impl IntoIterator<Item = RangeInclusive<u64>>) -> Self {
        self.seqs = Some(seqs.into_iter().collect());
        self
    }

    /// Only entries with a time before this one.
    #[must_use]
    pub const fn before(mut self, time: Time) -> Self {
        self.before = Some(time);
        self
    }

    /// A word for the rule that the erasure rests on.
    #[must_use]
    pub fn basis(mut self, word: &str) -> Self {
        self.basis = Some(word.into());
        self
    }

    /// Who signs, by the name of an actor whose key is in the keyring. Without it, the
    /// database's first actor.
    #[must_use]
    pub fn actor(mut self, name: &str) -> Self {
        self.actor = Some(name.into());
        self
    }

    fn wants(&self, seq: u64, time: Time) -> bool {
        self.seqs.as_ref().is_none_or(|seqs| seqs.iter().any(|range| range.contains(&seq)))
            && self.before.is_none_or(|before| time < before)
    }
}

/// What an erasure would do: nothing is signed or written.
#[derive(Clone, Debug)]
pub struct ErasurePlan {
    thing: ThingId,
    actor: String,
    records: Vec<Erasure>,
    seqs: Vec<u64>,
}

impl ErasurePlan {
    /// About what the entries are.
    #[must_use]
    pub fn thing(&self) -> &str {
        self.thing.as_str()
    }

    /// Who would sign.
    #[must_use]
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// The seqs of the entries that would lose their content, ascending.
    #[must_use]
    pub fn seqs(&self) -> &[u64] {
        &self.seqs
    }

    /// The records that would be signed, word for word: one for up to 65,536 entries.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.records.iter().map(Erasure::to_json)
    }
}

/// What an erasure did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Erased {
    /// The erasure records.
    pub records: Vec<Receipt>,
    /// Entries whose content is gone.
    pub entries: u64,
    /// Files that were set aside beside the keyring and are removed: they may have held
    /// keys of these entries.
    pub removed: Vec<PathBuf>,
}

/// An erasure record, and what became of it here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ErasureRecord {
    /// The entry that it is.
    pub record: Record,
    /// What it says; nothing if it cannot be read.
    pub erasure: Option<Erasure>,
    /// Entries that it lists and that are erased here.
    pub erased: u64,
    /// Entries that it lists and whose content it must not take: its signer neither
    /// wrote them nor is an actor of the node that did.
    pub refused: u64,
    /// Whether it was carried out.
    pub is_done: bool,
    /// What nodes answered: this one first. One of each node, the newest.
    pub receipts: Vec<NodeReceipt>,
    /// The peers to which something of it was sealed, or sent by an exchange of everything
    /// that this node began, and who have not answered.
    pub unanswered: Vec<String>,
}

impl ErasureRecord {
    /// Whether it tried to erase what it must not.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        self.refused > 0 || self.erasure.is_none()
    }
}

/// Erasing.
impl Db {
    /// What an erasure would sign and take. Entries that are erased already are left
    /// out, and so are erasure records.
    ///
    /// # Errors
    /// [`Error::OnHold`]; [`Error::NothingToErase`]; [`Error::MayNotErase`] if one of the entries was
    /// written by somebody else at another node; [`Error::NoSuchActor`];
    /// [`Error::is_invalid_input`] for a reason or basis that a record cannot hold.
    pub fn plan_erasure(&self, erase: &Erase) -> Result<ErasurePlan> {
        let store = &self.node.store;
        let thing = ThingId::new(&erase.thing)?;
        if thing.as_str().starts_with(key_record::RESERVED) {
            return Err(Error::ReservedThing { thing });
        }
        self.check_hold(&thing)?;
        let (name, actor) = {
            let keyring = store.keyring();
            let actor = match &erase.actor {
                Some(name) => keyring.actor(name).map_err(|_| Error::NoSuchActor { name: name.clone() })?,
                None => keyring.default_actor()?,
            };
            (actor.name.clone(), actor.key.actor())
        };
        let (erasers, logs) = (store.erasers(), store.keys.logs());
        let (mut ids, mut seqs): (Vec<EntryId>, Vec<u64>) = (Vec::new(), Vec::new());
        for located in self.history(thing.as_str())?.located() {
            let located = located?;
            let header = &located.header;
            let is_wanted = erase.wants(header.seq, header.time);
            if !is_wanted || store.erased_by(located.position)?.is_some() || store.is_erasure(located.position)? {
                continue;
            }
            if !erasers.may_sign(&logs, &actor, header) {
                return Err(Error::MayNotErase { name, thing, seq: header.seq, by: header.actor });
            }
            ids.push(located.id);
            seqs.push(header.seq);
        }
        if ids.is_empty() {
            return Err(Error::NothingToErase { thing });
        }
        let record = |ids: &[EntryId]| Erasure::new(ids.to_vec(), &erase.reason, erase.basis.as_deref());
        let records = ids.chunks(erasure::MAX_ENTRIES).map(record).collect::<std::result::Result<_, _>>()?;
        seqs.dedup();
        Ok(ErasurePlan { thing, actor: name, records, seqs })
    }

    /// Signs the records of a plan and takes the content away: when this returns, no
    /// file of the database, with whatever passphrase, opens it. What others have
    /// copied is theirs: other nodes erase it when the record reaches them.
    ///
    /// If it is broken off, or fails after the record was written, the entries are
    /// erased at the next opening, or with the next erasure.
    ///
    /// # Errors
    /// [`Error::is_disk_full`], [`Error::is_read_only`]; [`Error::Keyring`] if one of
    /// the files of the keyring cannot be replaced.
    pub fn erase(&self, plan: &ErasurePlan) -> Result<Erased> {
        self.check_hold(&plan.thing)?;
        let draft = |record: &Erasure| Ok(Draft::erasure(plan.thing(), record)?.actor(&plan.actor));
        let drafts = plan.records.iter().map(draft).collect::<Result<Vec<_>>>()?;
        let records = self.node.write(drafts, Durability::Durable)?;
        let removed = self.node.finish_erasures()?;
        let mut entries = 0;
        for record in &records {
            entries += self.node.store.outcome_of(record.position)?.map_or(0, |outcome| outcome.erased);
        }
        Ok(Erased { records, entries, removed })
    }

    /// The erasure records of the ledger, in its order; of one thing if it is named.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn erasures(&self, thing: Option<&str>) -> Result<impl Iterator<Item = Result<ErasureRecord>>> {
        let thing = thing.map(ThingId::new).transpose()?;
        let store = &self.node.store;
        let mut due = store.erasures.due_positions();
        due.extend(store.erasures.on_hold());
        due.sort_unstable();
        let mut undecided = Vec::new();
        for position in due {
            // One that is decided anew has its row already.
            if store.outcome_of(position)?.is_none() {
                undecided.push(position);
            }
        }
        let positions = store.erasure_positions().chain(undecided.into_iter().map(Ok));
        Ok(positions.filter_map(move |position| self.erasure_at(position, thing.as_ref()).transpose()))
    }

    fn erasure_at(&self, position: Result<u64>, thing: Option<&ThingId>) -> Result<Option<ErasureRecord>> {
        let store = &self.node.store;
        let located = store.located_at(position?)?;
        if thing.is_some_and(|thing| *thing != located.header.thing) {
            return Ok(None);
        }
        let outcome = store.outcome_of(located.position)?;
        let erasure = store.readable_erasure(&located)?;
        let (is_done, outcome) = (outcome.is_some(), outcome.unwrap_or_default());
        let receipts = self.answers(located.position)?;
        let unanswered = self.unanswered(&outcome, &receipts)?;
        let record = self.record(located)?;
        let Outcome { erased, refused, .. } = outcome;
        Ok(Some(ErasureRecord { record, erasure, erased, refused, is_done, receipts, unanswered }))
    }
}
