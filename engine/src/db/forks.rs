//! Forks: things with several heads, resolving them, and the evidence of who wrote
//! two entries in the place of one.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use thingdb_format::{Actor, Entry, EntryId, Origin, ThingId, Time, line};

use super::Db;
use crate::entry::draft::Draft;
use crate::entry::record::{Content, Receipt, Record};
use crate::error::{Error, Result};
use crate::evidence::fork::Equivocation;
use crate::heads::Expect;
use crate::store::{Located, Paths};

/// Media type of what a resolution carries.
pub const RESOLUTION: &str = "application/vnd.thingdb.resolution+json";

/// A thing with several heads that no entry joins.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fork {
    /// The thing.
    pub thing: ThingId,
    /// Its heads, the latest first.
    pub heads: Vec<ForkHead>,
    /// Pairs of entries by which one actor at one node wrote two in the place
    /// of one.
    pub equivocations: Vec<Equivocation>,
}

/// A head of a thing that has forked, without its data: there may be many.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForkHead {
    /// Name of the entry.
    pub id: EntryId,
    /// Its place in the history.
    pub seq: u64,
    /// Its writer's clock.
    pub time: Time,
    /// The node at which it was written.
    pub origin: Origin,
    /// The key that signed it.
    pub actor: Actor,
    /// As [`Record::actor_name`].
    pub actor_name: Option<String>,
    /// Whether the trust store knows the key.
    pub is_trusted: bool,
    /// The entries before it.
    pub prev: Vec<EntryId>,
    /// What was done to the thing, if its data can be read here.
    pub action: Option<String>,
    /// Whether its data can be read here.
    pub is_readable: bool,
}

impl ForkHead {
    fn new(record: &Record) -> Self {
        Self {
            id: record.id(),
            seq: record.seq(),
            time: record.time(),
            origin: record.origin(),
            actor: record.actor(),
            actor_name: record.actor_name().map(str::to_owned),
            is_trusted: record.is_trusted(),
            action: record.action().map(str::to_owned),
            is_readable: matches!(record.content(), Content::Open(_)),
            prev: record.prev().to_vec(),
        }
    }
}

/// What a resolution says; the attachment of the joining entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Resolution {
    /// The id of the head whose data stands.
    pub kept: String,
    /// Why.
    pub reason: String,
}

/// Forks.
impl Db {
    /// The forked things, or the one named if it has forked.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn forks(&self, thing: Option<&str>) -> Result<Vec<Fork>> {
        let mut forks = Vec::new();
        if let Some(thing) = thing {
            forks.extend(self.fork(thing)?);
            return Ok(forks);
        }
        for info in self.things()? {
            let info = info?;
            if info.heads.len() > 1 {
                forks.extend(self.fork(info.thing.as_str())?);
            }
        }
        Ok(forks)
    }

    fn fork(&self, thing: &str) -> Result<Option<Fork>> {
        if self.heads(thing)?.len() < 2 {
            return Ok(None);
        }
        let heads = self.head_records(thing)?.map(|record| Ok(ForkHead::new(&record?))).collect::<Result<_>>()?;
        let equivocations = self.equivocations(thing)?;
        Ok(Some(Fork { thing: ThingId::new(thing)?, heads, equivocations }))
    }

    /// The equivocations in the history of a thing, joined or not.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn equivocations(&self, thing: &str) -> Result<Vec<Equivocation>> {
        let mut first: HashMap<(Actor, Origin, Vec<EntryId>), EntryId> = HashMap::new();
        let mut found = Vec::new();
        let mut seq = 0;
        for located in self.history(thing)?.located() {
            let located = located?;
            // Entries with the same prev have the same seq.
            if located.header.seq != seq {
                seq = located.header.seq;
                first.clear();
            }
            let header = &located.header;
            let place = (header.actor, header.origin, header.prev.clone());
            match first.get(&place) {
                Some(other) => found.push(Equivocation {
                    actor: header.actor,
                    origin: header.origin,
                    entries: [*other, located.id],
                }),
                None => {
                    first.insert(place, located.id);
                }
            }
        }
        Ok(found)
    }

    /// Joins the heads of a thing with an entry whose data is that of the head
    /// `keep`, and that says why. Where that head is an erasure record, it is the data
    /// of the latest entry that the record follows.
    ///
    /// # Errors
    /// [`Error::NotAHead`]; [`Error::is_conflict`] if a head came meanwhile
    /// and would be joined unseen.
    pub fn resolve(&self, thing: &str, keep: &EntryId, reason: &str, actor: Option<&str>) -> Result<Receipt> {
        let heads = self.heads(thing)?;
        let not_a_head = || -> Result<Error> { Ok(Error::NotAHead { thing: ThingId::new(thing)?, id: *keep }) };
        let Some(head) = heads.iter().find(|head| head.id == *keep) else { return Err(not_a_head()?) };
        let kept = self.get_seq(thing, head.seq)?.into_iter().find(|record| record.id() == *keep);
        let Some(kept) = kept else { return Err(not_a_head()?) };
        let kept = self.passed_over(kept)?;
        let Content::Open(body) = kept.content() else {
            return Err(Error::NotReadable { thing: ThingId::new(thing)?, seq: kept.seq() });
        };
        let resolution = Resolution { kept: keep.to_string(), reason: reason.to_owned() };
        let document = serde_json::to_vec(&resolution).expect("two strings are JSON");
        let mut draft = Draft::bytes(thing, body.media_type(), body.data())?
            .action("resolve")
            .attach(RESOLUTION, document)
            .expect(Expect::Heads(heads.iter().map(|head| head.id).collect()));
        if let Some(actor) = actor {
            draft = draft.actor(actor);
        }
        self.write(draft)
    }

    /// The entry for which a head stands: the latest one that it follows, if the head is
    /// an erasure record.
    fn passed_over(&self, head: Record) -> Result<Record> {
        let store = &self.node.store;
        let tag = store.tag(&head.header.thing);
        let Some(state) = store.state(&tag)?.filter(|_| head.is_erasure()) else { return Ok(head) };
        let posting = state.heads.get(&head.id).copied();
        match store.greatest(&tag, &state, posting.into_iter())? {
            Some(found) => store.record(store.located_of(&state, &found.posting)?, head.heads),
            None => Ok(head),
        }
    }

    /// Two signed headers that prove an equivocation, as two ndjson lines of
    /// stubs. Anyone checks them with [`verify_fork`](crate::verify_fork), without a database.
    ///
    /// # Errors
    /// [`Error::is_damaged`] if an entry is not here.
    pub fn prove_fork(&self, thing: &str, equivocation: &Equivocation) -> Result<String> {
        let thing = ThingId::new(thing)?;
        let tag = self.node.store.tag(&thing);
        let mut out = Vec::new();
        for id in equivocation.entries {
            let found = match self.node.store.state(&tag)? {
                Some(state) => self.node.store.find(&tag, &state, &id, None)?,
                None => None,
            };
            let located = found.ok_or_else(|| Error::damaged(format!("{thing}"), format!("{id} is not here")))?;
            line::encode(&self.stub(located)?, &mut out);
        }
        Ok(String::from_utf8(out).expect("lines are JSON"))
    }

    fn stub(&self, located: Located) -> Result<Entry> {
        let signature = self.node.store.signature(&located, &mut Paths::default())?;
        Ok(Entry { header: located.header, signature, payload: None, envelopes: Vec::new() })
    }
}
