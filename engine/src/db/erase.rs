//! Erasing the content of entries, with a record that says so.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use thingdb_format::erasure::{self, Erasure};
use thingdb_format::{Actor, EntryId, ThingId, Time, key_record};

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

/// Things of which the records are written in one commit.
const PLANS_AT_ONCE: usize = 1024;

/// What an erasure would do: nothing is signed or written.
#[derive(Clone, Debug)]
pub struct ErasurePlan {
    thing: ThingId,
    actor: String,
    records: Vec<Erasure>,
    seqs: Vec<u64>,
}

impl ErasurePlan {
    /// Records over these entries, of which there is one at least.
    pub(super) fn new(
        thing: ThingId,
        actor: String,
        ids: &[EntryId],
        mut seqs: Vec<u64>,
        reason: &str,
        basis: Option<&str>,
    ) -> Result<Self> {
        let record = |ids: &[EntryId]| Erasure::new(ids.to_vec(), reason, basis);
        let records = ids.chunks(erasure::MAX_ENTRIES).map(record).collect::<std::result::Result<_, _>>()?;
        seqs.dedup();
        Ok(Self { thing, actor, records, seqs })
    }

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

    /// Why: it is signed.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.records.first().map_or("", Erasure::reason)
    }

    /// The rule that it rests on.
    #[must_use]
    pub fn basis(&self) -> Option<&str> {
        self.records.first().and_then(Erasure::basis)
    }

    /// The seqs of the entries that would lose their content, ascending.
    #[must_use]
    pub fn seqs(&self) -> &[u64] {
        &self.seqs
    }

    /// How many entries would lose their content: several of one seq if the thing has
    /// forked there.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.records.iter().map(|record| record.entries().len() as u64).sum()
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
        let (name, actor) = self.eraser(erase.actor.as_deref())?;
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
        ErasurePlan::new(thing, name, &ids, seqs, &erase.reason, erase.basis.as_deref())
    }

    /// The actor of this node who would sign, by its name or the first one.
    pub(super) fn eraser(&self, name: Option<&str>) -> Result<(String, Actor)> {
        let keyring = self.node.store.keyring();
        let actor = match name {
            Some(name) => keyring.actor(name).map_err(|_| Error::NoSuchActor { name: name.to_owned() })?,
            None => keyring.default_actor()?,
        };
        Ok((actor.name.clone(), actor.key.actor()))
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
        self.erase_all(std::slice::from_ref(plan))
    }

    /// The same for several things, with one change of the keyring.
    pub(super) fn erase_all(&self, plans: &[ErasurePlan]) -> Result<Erased> {
        let of_plan = |plan: &ErasurePlan| {
            self.check_hold(&plan.thing)?;
            let draft = |record: &Erasure| Ok(Draft::erasure(plan.thing(), record)?.actor(&plan.actor));
            plan.records.iter().map(draft).collect::<Result<Vec<_>>>()
        };
        let mut records = Vec::new();
        for some in plans.chunks(PLANS_AT_ONCE) {
            let mut drafts = Vec::new();
            for plan in some {
                drafts.extend(of_plan(plan)?);
            }
            records.extend(self.node.write(drafts, Durability::Durable)?);
        }
        let removed = self.node.finish_erasures()?.removed;
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
    pub fn erasures<'d>(
        &'d self,
        thing: Option<&str>,
    ) -> Result<impl Iterator<Item = Result<ErasureRecord>> + use<'d>> {
        let thing = thing.map(ThingId::new).transpose()?;
        let positions = self.erasure_positions(0)?;
        Ok(positions.filter_map(move |position| self.erasure_at(position, thing.as_ref()).transpose()))
    }

    /// The same of all things, from a position of the ledger on.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn erasures_from(&self, position: u64) -> Result<impl Iterator<Item = Result<ErasureRecord>>> {
        let positions = self.erasure_positions(position)?;
        Ok(positions.filter_map(move |position| self.erasure_at(position, None).transpose()))
    }

    /// Where records are, ascending: those that are due, or wait for a hold to end, among
    /// those that were carried out.
    fn erasure_positions(&self, from: u64) -> Result<impl Iterator<Item = Result<u64>>> {
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
        let mut due = undecided.into_iter().filter(move |position| *position >= from).peekable();
        let done = store.erasure_positions();
        let mut done =
            done.filter(move |position| position.as_ref().map_or(true, |position| *position >= from)).peekable();
        Ok(std::iter::from_fn(move || {
            let Some(Ok(next)) = done.peek() else { return done.next().or_else(|| due.next().map(Ok)) };
            let next = *next;
            // One that was carried out meanwhile is told once.
            while due.next_if_eq(&next).is_some() {}
            due.next_if(|position| *position < next).map(Ok).or_else(|| done.next())
        }))
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
