//! How long content is kept: policies of this node, by prefix, and what is due by them.

use std::collections::HashSet;
use std::time::Duration;

use bincode::{Decode, Encode};
use thingdb_format::erasure::Erasure;
use thingdb_format::{Actor, EntryId, ThingId, Time, key_record};

use super::Db;
use super::erase::{Erased, ErasurePlan};
use crate::encoding;
use crate::error::{Error, Result};
use crate::storage::Batch;
use crate::store::schema;
use crate::store::things::ThingQuery;

/// Policies that a node keeps, at most.
pub const MAX_RETENTIONS: usize = 256;

/// The policy with the longest prefix of a thing's id says for how long the content of
/// its entries is kept.
///
/// ```
/// # use std::time::Duration;
/// # let tmp = tempfile::tempdir()?;
/// # let passphrase = thingdb::Passphrase::new("correct horse battery");
/// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(tmp.path().join("db"), &passphrase)?;
/// use thingdb::{Retention, Time};
/// const DAY: Duration = Duration::from_secs(86_400);
/// db.retain(Retention::new("visitor/", 90 * DAY, "kept for 90 days").basis("gdpr-5"))?;
/// let written = db.put("visitor/7", r#"{"name":"Ada"}"#)?;
/// let later = Time::from_micros(written.time.micros() + 91 * 86_400_000_000)?;
/// let due = db.plan_due(later)?;
/// assert_eq!((due.plans().len(), due.entries()), (1, 1));
/// assert_eq!(db.erase_due(&due)?.entries, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Retention {
    prefix: String,
    seconds: u64,
    reason: String,
    basis: Option<String>,
    actor: Option<String>,
    keeps_latest: bool,
}

impl Retention {
    /// Content of things whose ids begin so goes that long after the time in its entry,
    /// in whole seconds. The reason is signed then: it must hold nothing personal.
    #[must_use]
    pub fn new(prefix: &str, time: Duration, reason: &str) -> Self {
        Self {
            prefix: prefix.into(),
            seconds: time.as_secs(),
            reason: reason.into(),
            basis: None,
            actor: None,
            keeps_latest: false,
        }
    }

    /// A word for the rule that it rests on.
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

    /// Whether the latest entry of each thing stays, however old it is: what the thing
    /// is now, and only its past goes.
    #[must_use]
    pub const fn keep_latest(mut self, keeps: bool) -> Self {
        self.keeps_latest = keeps;
        self
    }

    /// How the ids of the things begin.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// For how long content is kept.
    #[must_use]
    pub const fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Why it goes then.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The rule that it rests on.
    #[must_use]
    pub fn basis_word(&self) -> Option<&str> {
        self.basis.as_deref()
    }

    /// Who signs; nothing for the database's first actor.
    #[must_use]
    pub fn signer(&self) -> Option<&str> {
        self.actor.as_deref()
    }

    /// Whether the latest entry of each thing stays.
    #[must_use]
    pub const fn keeps_latest(&self) -> bool {
        self.keeps_latest
    }

    /// Entries up to this time are due.
    fn until(&self, now: Time) -> Option<Time> {
        let micros = self.seconds.checked_mul(1_000_000)?;
        now.micros().checked_sub(micros).and_then(|micros| Time::from_micros(micros).ok())
    }
}

/// What is due by the policies at a time: nothing is signed or written.
#[derive(Clone, Debug, Default)]
pub struct DuePlan {
    plans: Vec<ErasurePlan>,
    held: Vec<ThingId>,
    damaged: Vec<ThingId>,
    of_others: u64,
}

impl DuePlan {
    /// What would be signed, a thing each.
    #[must_use]
    pub fn plans(&self) -> &[ErasurePlan] {
        &self.plans
    }

    /// How many entries would lose their content.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.plans.iter().map(ErasurePlan::entries).sum()
    }

    /// Things of which something is due, and on which there is a hold: they are passed
    /// over.
    #[must_use]
    pub fn held(&self) -> &[ThingId] {
        &self.held
    }

    /// Things that are damaged, so that what is due of them cannot be told: they are
    /// passed over, and [`Db::verify`] tells more.
    #[must_use]
    pub fn damaged(&self) -> &[ThingId] {
        &self.damaged
    }

    /// Entries that are as old, and that no actor of this node has signed: they are
    /// passed over.
    #[must_use]
    pub const fn of_others(&self) -> u64 {
        self.of_others
    }
}

/// Who would sign by a policy.
struct Signer {
    name: String,
    actor: Actor,
}

/// Retention.
impl Db {
    /// Sets for how long content is kept. It takes the place of the policy with the same
    /// prefix, which is given back. Nothing is erased before [`Self::erase_due`].
    ///
    /// # Errors
    /// [`Error::is_invalid_input`] for a reason or basis that an erasure record cannot
    /// hold, for no time, and for a prefix with which no id can begin;
    /// [`Error::NoSuchActor`]; [`Error::TooManyRetentions`] beyond [`MAX_RETENTIONS`].
    pub fn retain(&self, retention: Retention) -> Result<Option<Retention>> {
        Erasure::new(vec![EntryId([0; 32])], &retention.reason, retention.basis.as_deref())?;
        if !retention.prefix.is_empty() {
            ThingId::new(&retention.prefix)?;
        }
        if retention.seconds == 0 {
            return Err(Error::NoTimeToRetain);
        }
        self.signer_of(&retention)?;
        let _one_at_a_time = self.node.replica.lock().expect("no thread panics while it holds this");
        let mut all = self.retentions()?;
        let former = all.iter().position(|known| known.prefix == retention.prefix).map(|at| all.remove(at));
        if all.len() >= MAX_RETENTIONS {
            return Err(Error::TooManyRetentions { most: MAX_RETENTIONS });
        }
        all.push(retention);
        all.sort_by(|one, other| one.prefix.cmp(&other.prefix));
        self.set_retentions(&all)?;
        Ok(former)
    }

    /// The policies, by their prefixes.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn retentions(&self) -> Result<Vec<Retention>> {
        let store = &self.node.store;
        store.rows.read_or_default(&*store.storage, schema::RETENTIONS)
    }

    /// Ends the policy with this prefix, which is given back. What was erased stays so.
    ///
    /// # Errors
    /// [`Error::NoSuchRetention`].
    pub fn remove_retention(&self, prefix: &str) -> Result<Retention> {
        let _one_at_a_time = self.node.replica.lock().expect("no thread panics while it holds this");
        let mut all = self.retentions()?;
        let at = all.iter().position(|known| known.prefix == prefix);
        let removed = all.remove(at.ok_or_else(|| Error::NoSuchRetention { prefix: prefix.to_owned() })?);
        self.set_retentions(&all)?;
        Ok(removed)
    }

    /// What is due at `now` by the policies: entries with a time that is so long ago,
    /// which an actor of this node has signed. Takes time in proportion to the entries of
    /// the things that have a policy.
    ///
    /// # Errors
    /// [`Error::NoSuchActor`] if the actor of a policy is none of this node any more;
    /// [`Error::is_damaged`] if the things cannot be listed.
    pub fn plan_due(&self, now: Time) -> Result<DuePlan> {
        let policies = self.retentions()?;
        let mut plan = DuePlan::default();
        for policy in &policies {
            let Some(until) = policy.until(now) else { continue };
            let signer = self.signer_of(policy)?;
            for info in self.things_from(&ThingQuery::new().prefix(&policy.prefix))? {
                let thing = info?.thing;
                let is_longest = policies.iter().all(|other| {
                    other.prefix.len() <= policy.prefix.len() || !thing.as_str().starts_with(&other.prefix)
                });
                if !is_longest {
                    continue;
                }
                match self.add_due(policy, &signer, &thing, until, &mut plan) {
                    // One must not keep what is due of the others.
                    Err(problem) if problem.is_damaged() => plan.damaged.push(thing),
                    added => added?,
                }
            }
        }
        Ok(plan)
    }

    /// Signs what is due and takes the content away, a record each thing; see
    /// [`Self::erase`].
    ///
    /// # Errors
    /// As [`Self::erase`].
    pub fn erase_due(&self, due: &DuePlan) -> Result<Erased> {
        self.erase_all(&due.plans)
    }

    fn add_due(
        &self,
        policy: &Retention,
        signer: &Signer,
        thing: &ThingId,
        until: Time,
        plan: &mut DuePlan,
    ) -> Result<()> {
        if thing.as_str().starts_with(key_record::RESERVED) {
            return Ok(());
        }
        let store = &self.node.store;
        let (erasers, logs) = (store.erasers(), store.keys.logs());
        let mut own: HashSet<Actor> = store.keyring().actors().iter().map(|actor| actor.key.actor()).collect();
        // What a key signed whose place one of these took is their own, too.
        let former: Vec<Actor> = own.iter().flat_map(|key| logs.before(key)).copied().collect();
        own.extend(former);
        let tag = store.tag(thing);
        let latest = match store.state(&tag)?.filter(|_| policy.keeps_latest) {
            Some(state) => store.latest(&tag, &state)?.map(|latest| latest.posting.position),
            None => None,
        };
        let (mut ids, mut seqs) = (Vec::new(), Vec::new());
        for located in self.history(thing.as_str())?.located() {
            let located = located?;
            let (header, position) = (&located.header, located.position);
            let is_over = header.time > until || Some(position) == latest;
            if is_over || store.erased_by(position)?.is_some() || store.is_erasure(position)? {
                continue;
            }
            if !own.contains(&header.actor) || !erasers.may_sign(&logs, &signer.actor, header) {
                plan.of_others += 1;
                continue;
            }
            ids.push(located.id);
            seqs.push(header.seq);
        }
        if ids.is_empty() {
            return Ok(());
        }
        if store.hold_of(&tag).is_some() {
            plan.held.push(thing.clone());
            return Ok(());
        }
        let name = signer.name.clone();
        plan.plans.push(ErasurePlan::new(thing.clone(), name, &ids, seqs, &policy.reason, policy.basis.as_deref())?);
        Ok(())
    }

    fn signer_of(&self, policy: &Retention) -> Result<Signer> {
        let (name, actor) = self.eraser(policy.actor.as_deref())?;
        Ok(Signer { name, actor })
    }

    fn set_retentions(&self, all: &[Retention]) -> Result<()> {
        let store = &self.node.store;
        let mut rows = Batch::new();
        let row = schema::RETENTIONS;
        rows.put(row.to_vec(), store.rows.seal(row, &encoding::encode(&all)));
        self.node.rows(rows)?;
        self.node.sync()
    }
}
