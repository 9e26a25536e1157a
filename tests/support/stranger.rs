//! A node and an actor that are no database: they write what they like.

use rand::Rng;
use thingdb::format::{
    Actor, Body, Cek, EncryptionKey, Entry, EntryId, Envelope, Fields, Header, Kek, KekPacket, Origin, Signature,
    SigningKey, Suite, ThingId, Time, envelope, erasure, line, payload, signature,
};

/// Someone with keys of their own.
pub struct Stranger {
    /// The node under which they write.
    pub origin: Origin,
    /// Signs their entries.
    pub key: SigningKey,
    /// The name that they claim.
    pub name: String,
    /// Whom they seal entries to.
    pub readers: Vec<EncryptionKey>,
}

/// What is to be written. Nothing of it has to make sense.
#[derive(Clone, Debug)]
pub struct Plan {
    /// About what.
    pub thing: String,
    /// Place in the history.
    pub seq: u64,
    /// Microseconds since 1970.
    pub time: u64,
    /// What it follows.
    pub prev: Vec<EntryId>,
    /// The data.
    pub data: String,
}

impl Plan {
    /// The first entry of a thing.
    #[must_use]
    pub fn first(thing: &str, time: u64, data: &str) -> Self {
        Self { thing: thing.into(), seq: 1, time, prev: Vec::new(), data: data.into() }
    }

    /// An entry that follows another.
    #[must_use]
    pub fn after(entry: &Entry, data: &str) -> Self {
        let header = &entry.header;
        Self {
            thing: header.thing.as_str().into(),
            seq: header.seq + 1,
            time: header.time.micros() + 1,
            prev: vec![entry.id()],
            data: data.into(),
        }
    }
}

impl Default for Stranger {
    fn default() -> Self {
        Self::new("mallory")
    }
}

impl Stranger {
    /// Fresh keys, and a name to claim.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut rng = rand::rng();
        Self {
            origin: SigningKey::generate(&mut rng).node_key().origin(),
            key: SigningKey::generate(&mut rng),
            name: name.into(),
            readers: Vec::new(),
        }
    }

    /// Their public key.
    #[must_use]
    pub fn actor(&self) -> Actor {
        self.key.actor()
    }

    /// Seals and signs what is planned.
    ///
    /// # Panics
    /// If the format cannot hold it.
    #[must_use]
    pub fn entry(&self, plan: &Plan) -> Entry {
        self.sealed(plan, "update", "application/json").0
    }

    /// The same as an erasure record, which everybody can read; its data is what is
    /// planned.
    ///
    /// # Panics
    /// If the format cannot hold it.
    #[must_use]
    pub fn record(&self, plan: &Plan) -> Entry {
        let (mut entry, cek) = self.sealed(plan, erasure::ACTION, erasure::MEDIA_TYPE);
        let kek = Kek::generate(&mut rand::rng());
        let cek = envelope::seal_cek(&kek, &entry.id(), &cek);
        entry.envelopes = vec![Envelope::new(self.origin, cek, vec![KekPacket::public(&kek)]).expect("an envelope")];
        entry
    }

    fn sealed(&self, plan: &Plan, action: &str, media_type: &str) -> (Entry, Cek) {
        let mut rng = rand::rng();
        let cek = Cek::generate(&mut rng);
        let body = Body::new(&self.name, action, media_type, plan.data.as_bytes()).expect("a body");
        let sealed = payload::seal(Suite::Aes256Gcm, &cek, body).expect("a payload");
        let header = Header::new(Fields {
            suite: Suite::Aes256Gcm,
            thing: ThingId::new(&plan.thing).expect("a thing"),
            seq: plan.seq,
            time: Time::from_micros(plan.time).expect("a time"),
            origin: self.origin,
            actor: self.actor(),
            prev: plan.prev.clone(),
            data_hash: sealed.data_hash,
            payload_hash: sealed.payload_hash,
            payload_len: u32::try_from(sealed.payload.len()).expect("at most 16 MiB"),
        })
        .expect("a header");
        let signature = Signature::Single(signature::sign_single(&self.key, &header.to_bytes()));
        let envelopes = self.envelopes(&header.id(), &cek);
        (Entry { header, signature, payload: Some(sealed.payload), envelopes }, cek)
    }

    /// One envelope to all readers.
    ///
    /// # Panics
    /// If a reader's key is not acceptable.
    #[must_use]
    pub fn envelopes(&self, id: &EntryId, cek: &Cek) -> Vec<Envelope> {
        if self.readers.is_empty() {
            return Vec::new();
        }
        let mut rng = rand::rng();
        let kek = Kek::generate(&mut rng);
        let packets = self
            .readers
            .iter()
            .map(|reader| KekPacket::seal_x25519(&kek, self.origin, reader, &mut rng).expect("a packet"))
            .collect();
        vec![Envelope::new(self.origin, envelope::seal_cek(&kek, id, cek), packets).expect("an envelope")]
    }

    /// A history of `count` entries, each after the one before.
    #[must_use]
    pub fn history(&self, thing: &str, time: u64, count: u64) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for n in 0..count {
            let plan = match entries.last() {
                Some(last) => Plan::after(last, &n.to_string()),
                None => Plan::first(thing, time, "0"),
            };
            entries.push(self.entry(&plan));
        }
        entries
    }
}

/// An entry as a line, with its line end.
#[must_use]
pub fn line_of(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::new();
    line::encode(entry, &mut out);
    if out.last() != Some(&b'\n') {
        out.push(b'\n');
    }
    out
}

/// Entries as bare lines.
#[must_use]
pub fn lines_of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<u8> {
    entries.into_iter().flat_map(line_of).collect()
}

/// The id of nothing.
#[must_use]
pub fn random_id() -> EntryId {
    let mut id = [0; 32];
    rand::rng().fill_bytes(&mut id);
    EntryId(id)
}
