//! An entry as a reader sees it: opened as far as this node can.

use thingdb_format::erasure::Erasure;
use thingdb_format::{Actor, Attachment, Body, EntryId, Header, Origin, Signature, ThingId, Time};

/// One entry of a thing's history.
///
/// ```
/// # let tmp = tempfile::tempdir()?;
/// # let dir = tmp.path().join("things");
/// # let passphrase = thingdb::Passphrase::new(b"correct horse battery".to_vec());
/// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(&dir, &passphrase)?;
/// db.put("part-42", r#"{"temp":20.1}"#)?;
/// let record = db.get("part-42")?.expect("it was just put");
/// assert_eq!(record.seq(), 1);
/// assert_eq!(record.data(), Some(&br#"{"temp":20.1}"#[..]));
/// assert_eq!(record.actor_name(), Some("owner"));
/// assert!(record.is_trusted());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Record {
    pub(crate) header: Header,
    pub(crate) id: EntryId,
    pub(crate) position: u64,
    pub(crate) signed: Signed,
    pub(crate) recipients: usize,
    pub(crate) content: Content,
    pub(crate) trusted_name: Option<String>,
    pub(crate) withdrawn_name: Option<String>,
    /// Whether what the key signed here is not believed, as its log says.
    pub(crate) is_revoked: bool,
    pub(crate) revoked_name: Option<String>,
    pub(crate) is_origin_withdrawn: bool,
    pub(crate) heads: usize,
    /// The name by which the trust store knows who signed the original.
    pub(crate) original_name: Option<String>,
}

/// How an entry is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// Kind 1: alone.
    Single,
    /// Kind 2: together with others.
    Batch {
        /// Place in the batch, from 0.
        index: u32,
        /// Entries in the batch; 0 if what says it is damaged.
        size: u32,
    },
}

impl From<&Signature> for Signed {
    fn from(signature: &Signature) -> Self {
        match signature {
            Signature::Batch(batch) => Self::Batch { index: batch.index, size: batch.size },
            _ => Self::Single,
        }
    }
}

/// What this node can see of an entry's content.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// The body, opened and checked against the entry's commitment.
    Open(Body),
    /// The payload is not here.
    Stub,
    /// The payload is here, the key to it is not.
    Undecryptable,
    /// The content was erased: nobody can open it here any more.
    Erased {
        /// The erasure record, an entry of the same thing.
        by: EntryId,
    },
    /// What opened the content is gone, and no erasure says why.
    Lost,
}

impl Record {
    /// What the entry is about.
    #[must_use]
    pub fn thing(&self) -> &str {
        self.header.thing.as_str()
    }

    /// Place in the history, from 1.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.header.seq
    }

    /// Name of the entry.
    #[must_use]
    pub const fn id(&self) -> EntryId {
        self.id
    }

    /// The writer's clock.
    #[must_use]
    pub fn time(&self) -> Time {
        self.header.time
    }

    /// The node at which it was written.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.header.origin
    }

    /// The key that signed it.
    #[must_use]
    pub fn actor(&self) -> Actor {
        self.header.actor
    }

    /// The entries before it.
    #[must_use]
    pub fn prev(&self) -> &[EntryId] {
        &self.header.prev
    }

    /// The signed part.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Place in this node's ledger, from 0.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// How it is signed. That the signature holds is for
    /// [`Db::verify`](crate::Db::verify) to say.
    #[must_use]
    pub const fn signed(&self) -> Signed {
        self.signed
    }

    /// How many recipients its envelopes name.
    #[must_use]
    pub const fn recipients(&self) -> usize {
        self.recipients
    }

    /// How many heads its thing had when the entry was read: entries that no
    /// other follows. More than one is a fork, and then the latest is one of
    /// several; [`Db::heads`](crate::Db::heads) tells which there are. What was
    /// read [as of a time](crate::Db::get_at) says how many there were then.
    #[must_use]
    pub const fn heads(&self) -> usize {
        self.heads
    }

    /// The content, as far as this node can see it.
    #[must_use]
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// The name under which the trust store knows the key, or knew it before
    /// trust was withdrawn; for a key that it does not know, the name that the
    /// entry claims.
    #[must_use]
    pub fn actor_name(&self) -> Option<&str> {
        let known = self.trusted_name.as_deref().or(self.withdrawn_name.as_deref());
        let known = known.or(self.revoked_name.as_deref());
        known.or_else(|| self.body().map(Body::actor_name))
    }

    /// Whether trust in the key that signed was withdrawn.
    #[must_use]
    pub const fn is_withdrawn(&self) -> bool {
        self.withdrawn_name.is_some()
    }

    /// Whether it was signed by a revoked key: the actor's [key log](crate::KeyLogView) says that
    /// what stands at this place is not to be believed.
    #[must_use]
    pub const fn is_revoked(&self) -> bool {
        self.is_revoked
    }

    /// Whether trust in the node that wrote it was withdrawn.
    #[must_use]
    pub const fn is_origin_withdrawn(&self) -> bool {
        self.is_origin_withdrawn
    }

    /// The name that the entry claims for its actor, if the content is open.
    #[must_use]
    pub fn claimed_name(&self) -> Option<&str> {
        self.body().map(Body::actor_name)
    }

    /// Whether the trust store knows the key that signed.
    #[must_use]
    pub const fn is_trusted(&self) -> bool {
        self.trusted_name.is_some()
    }

    /// What was done to the thing, if the content is open.
    #[must_use]
    pub fn action(&self) -> Option<&str> {
        self.body().map(Body::action)
    }

    /// Media type of the data, if the content is open.
    #[must_use]
    pub fn media_type(&self) -> Option<&str> {
        self.body().map(Body::media_type)
    }

    /// The data, if the content is open.
    #[must_use]
    pub fn data(&self) -> Option<&[u8]> {
        self.body().map(Body::data)
    }

    /// The document that goes with the data, if there is one and the content is
    /// open.
    #[must_use]
    pub fn attachment(&self) -> Option<Attachment<'_>> {
        self.body().and_then(Body::attachment)
    }

    /// Whether it is an erasure record: what it says of other entries counts, and it is
    /// never the [latest](crate::Db::get) entry of a thing that has others. Nothing that
    /// this node cannot open is one.
    #[must_use]
    pub fn is_erasure(&self) -> bool {
        self.body().is_some_and(Erasure::is_in)
    }

    /// The erasure record that it is; nothing if it is none, or one that is not as
    /// records are and so erases nothing.
    #[must_use]
    pub fn erasure(&self) -> Option<Erasure> {
        Erasure::of(self.body()?)?.ok()
    }

    pub(crate) const fn body(&self) -> Option<&Body> {
        match &self.content {
            Content::Open(body) => Some(body),
            _ => None,
        }
    }
}

/// What a writer gets back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What was written about.
    pub thing: ThingId,
    /// Place in the thing's history, from 1.
    pub seq: u64,
    /// Name of the entry.
    pub id: EntryId,
    /// Time that stands in the entry.
    pub time: Time,
    /// Place in the ledger, from 0.
    pub position: u64,
    /// The key that signed.
    pub actor: Actor,
}
