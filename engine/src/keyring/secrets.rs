//! The secrets that a keyring seals, and their bytes; `docs/keyring.md` has
//! them one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::CryptoRng;
use thingdb_format::{Actor, DecryptionKey, NodeKey, Origin, SigningKey, Time};
use zeroize::Zeroizing;

use super::codec::{Flaw, Reader, Writer, ascending};
use super::seal::Secret;
use super::tree::KeyTree;
use super::trust::{How, KnownActor, KnownOrigin, TrustStore};

/// An actor who can sign here.
#[derive(Debug)]
pub struct ActorKey {
    /// The actor's name.
    pub name: String,
    /// The actor's secret key.
    pub key: Arc<SigningKey>,
}

/// The keys that a node had before it got new ones.
#[derive(Debug)]
pub struct FormerNode {
    /// The public node key: its origin wrote entries that are here.
    pub node_key: NodeKey,
    /// Still opens what was sealed to it.
    pub decryption_key: Arc<DecryptionKey>,
}

#[derive(Debug)]
pub(super) struct Secrets {
    pub(super) node_key: Arc<SigningKey>,
    pub(super) decryption_key: Arc<DecryptionKey>,
    pub(super) index_key: Secret,
    pub(super) row_key: Secret,
    /// In the order in which they were used before, oldest first.
    pub(super) former: Vec<FormerNode>,
    /// The first one is the default.
    pub(super) actors: Vec<ActorKey>,
    pub(super) records_key: Secret,
    pub(super) key_tree: KeyTree,
    pub(super) trust: TrustStore,
    /// What other parts of the engine keep here, by name.
    pub(super) records: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl Secrets {
    pub(super) fn generate(rng: &mut impl CryptoRng) -> Self {
        Self {
            node_key: Arc::new(SigningKey::generate(rng)),
            decryption_key: Arc::new(DecryptionKey::generate(rng)),
            index_key: Secret::generate(rng),
            row_key: Secret::generate(rng),
            former: Vec::new(),
            actors: Vec::new(),
            records_key: Secret::generate(rng),
            key_tree: KeyTree::generate(rng),
            trust: TrustStore::default(),
            records: BTreeMap::new(),
        }
    }

    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::with_capacity(self.encoded_bytes());
        w.put(self.node_key.seed());
        w.put(self.decryption_key.as_bytes());
        w.put(self.index_key.as_bytes());
        w.put(self.row_key.as_bytes());
        w.count(self.former.len());
        for former in &self.former {
            w.put(former.node_key.as_bytes());
            w.put(former.decryption_key.as_bytes());
        }
        w.count(self.actors.len());
        for actor in &self.actors {
            w.name(&actor.name);
            w.put(actor.key.seed());
        }
        w.put(self.records_key.as_bytes());
        self.key_tree.write(&mut w);
        write_trust(&mut w, &self.trust);
        // A keyring without records ends here.
        if !self.records.is_empty() {
            w.count(self.records.len());
        }
        for (name, record) in &self.records {
            w.name(name);
            w.count(record.len());
            w.put(record);
        }
        w.into_bytes()
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        let named = |name: &str| 1 + name.len();
        let trusted = |name: &str, withdrawal: Withdrawal| 32 + named(name) + 8 + 1 + withdrawal.bytes();
        5 * 32
            + 4 * 4
            + self.former.len() * FORMER_BYTES
            + self.actors.iter().map(|actor| named(&actor.name) + 32).sum::<usize>()
            + self.key_tree.encoded_bytes()
            + self.trust.actors().map(|known| trusted(&known.name, Withdrawal::of(known))).sum::<usize>()
            + self.trust.origins().map(|known| trusted(&known.name, Withdrawal::of_node(known))).sum::<usize>()
            + if self.records.is_empty() { 0 } else { 4 }
            + self.records.iter().map(|(name, record)| named(name) + 4 + record.len()).sum::<usize>()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let mut r = Reader::new(bytes);
        let secrets = Self {
            node_key: Arc::new(SigningKey::from_seed(r.array("node key")?)),
            decryption_key: Arc::new(DecryptionKey::from_bytes(*r.array("decryption key")?)),
            index_key: Secret::copy_of(r.array("index key")?),
            row_key: Secret::copy_of(r.array("row key")?),
            former: read_former(&mut r)?,
            actors: read_actors(&mut r)?,
            records_key: Secret::copy_of(r.array("records key")?),
            key_tree: KeyTree::read(&mut r)?,
            trust: read_trust(&mut r)?,
            records: read_records(&mut r)?,
        };
        r.finish("secrets")?;
        Ok(secrets)
    }
}

const FORMER_BYTES: usize = 64;
/// The shortest name takes two bytes.
const LEAST_ACTOR_BYTES: usize = 2 + 32;
const LEAST_RECORD_BYTES: usize = 2 + 4;
const LEAST_TRUSTED_BYTES: usize = 32 + 2 + 8 + 1 + 1;

/// What a claim says of the end of trust.
#[derive(Clone, Copy)]
enum Withdrawal {
    None,
    ByPerson(Time),
    /// The actor's node was removed.
    WithNode(Time, Origin),
}

impl Withdrawal {
    const fn of(known: &KnownActor) -> Self {
        match (known.withdrawn, known.ended_with) {
            (None, _) => Self::None,
            (Some(time), None) => Self::ByPerson(time),
            (Some(time), Some(node)) => Self::WithNode(time, node),
        }
    }

    fn of_node(known: &KnownOrigin) -> Self {
        known.withdrawn.map_or(Self::None, Self::ByPerson)
    }

    const fn bytes(self) -> usize {
        match self {
            Self::None => 1,
            Self::ByPerson(_) => 9,
            Self::WithNode(..) => 25,
        }
    }

    const fn parts(self) -> (Option<Time>, Option<Origin>) {
        match self {
            Self::None => (None, None),
            Self::ByPerson(time) => (Some(time), None),
            Self::WithNode(time, node) => (Some(time), Some(node)),
        }
    }

    fn write(self, w: &mut Writer) {
        let (kind, (time, node)) = (
            match self {
                Self::None => 0,
                Self::ByPerson(_) => 1,
                Self::WithNode(..) => 2,
            },
            self.parts(),
        );
        w.put(&[kind]);
        if let Some(time) = time {
            w.put(&time.micros().to_be_bytes());
        }
        if let Some(node) = node {
            w.put(&node.0);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Flaw> {
        Ok(match r.u8("withdrawn")? {
            0 => Self::None,
            1 => Self::ByPerson(read_time(r, "withdrawn")?),
            2 => Self::WithNode(read_time(r, "withdrawn")?, Origin(*r.array("the node with which trust ended")?)),
            found => return Err(Flaw::Damaged(format!("withdrawn is {found}, allowed are 0 to 2"))),
        })
    }
}

fn read_former(r: &mut Reader<'_>) -> Result<Vec<FormerNode>, Flaw> {
    let count = r.count(FORMER_BYTES, "former node count")?;
    let mut former = Vec::with_capacity(count);
    for _ in 0..count {
        let node_key = NodeKey(*r.array("former node key")?);
        let decryption_key = Arc::new(DecryptionKey::from_bytes(*r.array("former decryption key")?));
        former.push(FormerNode { node_key, decryption_key });
    }
    Ok(former)
}

fn read_actors(r: &mut Reader<'_>) -> Result<Vec<ActorKey>, Flaw> {
    let count = r.count(LEAST_ACTOR_BYTES, "actor count")?;
    let mut actors: Vec<ActorKey> = Vec::with_capacity(count.min(MAX_ACTORS));
    for _ in 0..count {
        let name = r.name("actor name")?.to_owned();
        let key = Arc::new(SigningKey::from_seed(r.array("actor key")?));
        if actors.len() == MAX_ACTORS || actors.iter().any(|actor| actor.name == name) {
            return Err(Flaw::Damaged(format!("actor '{name}' is there twice or one too many")));
        }
        actors.push(ActorKey { name, key });
    }
    Ok(actors)
}

/// As many as fit on a card.
pub(super) const MAX_ACTORS: usize = 1024;

fn read_records(r: &mut Reader<'_>) -> Result<BTreeMap<String, Zeroizing<Vec<u8>>>, Flaw> {
    let mut records = BTreeMap::new();
    if r.left() == 0 {
        return Ok(records);
    }
    let count = r.count(LEAST_RECORD_BYTES, "record count")?;
    if count == 0 {
        return Err(Flaw::damaged("no records are counted"));
    }
    for _ in 0..count {
        let name = r.name("record name")?.to_owned();
        ascending(records.last_key_value().map(|(last, _)| last), &name, "records")?;
        let len = r.count(1, "record length")?;
        records.insert(name, Zeroizing::new(r.take(len, "record")?.to_vec()));
    }
    Ok(records)
}

fn write_trust(w: &mut Writer, trust: &TrustStore) {
    w.count(trust.actors().len());
    for known in trust.actors() {
        w.put(known.key.as_bytes());
        write_claim(w, &known.name, known.since, known.how, Withdrawal::of(known));
    }
    w.count(trust.origins().len());
    for known in trust.origins() {
        w.put(known.key.as_bytes());
        write_claim(w, &known.name, known.since, known.how, Withdrawal::of_node(known));
    }
}

fn write_claim(w: &mut Writer, name: &str, since: Time, how: How, withdrawal: Withdrawal) {
    w.name(name);
    w.put(&since.micros().to_be_bytes());
    w.put(&[how_number(how)]);
    withdrawal.write(w);
}

fn read_trust(r: &mut Reader<'_>) -> Result<TrustStore, Flaw> {
    let mut trust = TrustStore::default();
    let mut last = None;
    for _ in 0..r.count(LEAST_TRUSTED_BYTES, "known actor count")? {
        let key = Actor(*r.array("known actor")?);
        ascending(last.as_ref(), &key, "known actors")?;
        let (name, since, how, withdrawal) = read_claim(r)?;
        let (withdrawn, ended_with) = withdrawal.parts();
        trust.put_actor(KnownActor { key, name, since, how, withdrawn, ended_with });
        last = Some(key);
    }
    let mut last = None;
    for _ in 0..r.count(LEAST_TRUSTED_BYTES, "known origin count")? {
        let key = NodeKey(*r.array("known origin")?);
        let origin = key.origin();
        ascending(last.as_ref(), &origin, "known origins")?;
        let (name, since, how, withdrawal) = read_claim(r)?;
        let (withdrawn, None) = withdrawal.parts() else {
            return Err(Flaw::damaged("trust in a node did not end with another node"));
        };
        trust.put_origin(KnownOrigin { key, name, since, how, withdrawn });
        last = Some(origin);
    }
    Ok(trust)
}

fn read_claim(r: &mut Reader<'_>) -> Result<(String, Time, How, Withdrawal), Flaw> {
    let name = r.name("known name")?.to_owned();
    let since = read_time(r, "since")?;
    let how = match r.u8("how")? {
        1 => How::Own,
        2 => How::ByHand,
        3 => How::Card,
        found => return Err(Flaw::Newer { field: "how", found: u64::from(found) }),
    };
    Ok((name, since, how, Withdrawal::read(r)?))
}

const fn how_number(how: How) -> u8 {
    match how {
        How::Own => 1,
        How::ByHand => 2,
        How::Card => 3,
    }
}

fn read_time(r: &mut Reader<'_>, field: &'static str) -> Result<Time, Flaw> {
    Time::from_micros(r.u64(field)?).map_err(|_| Flaw::Damaged(format!("{field} is after the year 9999")))
}
