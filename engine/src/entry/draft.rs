//! What is to be written: a draft becomes an entry when the engine has sealed
//! it, given it its place and signed it.

use std::fmt;
use std::sync::Arc;

use thingdb_format::erasure::{self, Erasure};
use thingdb_format::key_record::{self, KeyRecord};
use thingdb_format::{Actor, SigningKey, ThingId};

use super::json;
use crate::error::Result;
use crate::heads::Expect;

/// The media type of JSON (RFC 8259).
pub const JSON: &str = "application/json";

/// Bytes of data that an entry for everybody has, at most: it is for notices, and every
/// node that gets the entry keeps it.
pub const MAX_PUBLIC_BYTES: usize = 64 << 10;

/// Something to write about a thing.
///
/// ```
/// use thingdb::Draft;
/// let draft = Draft::json("part-42", r#"{"temp":20.1}"#)?.action("inspect");
/// assert_eq!(draft.thing(), "part-42");
/// assert!(Draft::json("part-42", "{").is_err());
/// # Ok::<(), thingdb::Error>(())
/// ```
#[derive(Clone)]
pub struct Draft {
    pub(crate) thing: ThingId,
    pub(crate) media_type: String,
    pub(crate) data: Vec<u8>,
    pub(crate) action: Option<String>,
    pub(crate) actor: Option<String>,
    pub(crate) expect: Option<Expect>,
    pub(crate) to: Option<Vec<String>>,
    pub(crate) attachment: Option<(String, Vec<u8>)>,
    /// Whether single fields can be shown; as the database was opened, if nothing is said.
    pub(crate) fields_provable: Option<bool>,
    /// Everybody who holds the entry can read it.
    pub(crate) is_public: bool,
    /// It is an erasure record.
    pub(crate) erases: bool,
    /// It is a key record: what it says, the name and the key that signs it.
    pub(crate) key: Option<(KeyRecord, String, Arc<SigningKey>)>,
}

impl Draft {
    /// JSON data, kept as the text it is.
    ///
    /// # Errors
    /// [`Error::Json`](crate::Error::Json) with line and column if it is not
    /// JSON or repeats a member; [`Error::Invalid`](crate::Error::Invalid) for
    /// the thing's id.
    pub fn json(thing: &str, text: impl Into<Vec<u8>>) -> Result<Self> {
        let data = text.into();
        json::check(&data)?;
        Self::bytes(thing, JSON, data)
    }

    /// Data of any media type (RFC 6838), up to about 16 MiB. An id or size
    /// that is not allowed is refused here or when the draft is written.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid).
    pub fn bytes(thing: &str, media_type: &str, data: impl Into<Vec<u8>>) -> Result<Self> {
        Ok(Self {
            thing: ThingId::new(thing)?,
            media_type: media_type.into(),
            data: data.into(),
            action: None,
            actor: None,
            expect: None,
            to: None,
            attachment: None,
            fields_provable: None,
            is_public: false,
            erases: false,
            key: None,
        })
    }

    /// An erasure record.
    pub(crate) fn erasure(thing: &str, record: &Erasure) -> Result<Self> {
        let draft = Self::bytes(thing, erasure::MEDIA_TYPE, record.to_json())?;
        Ok(Self { is_public: true, erases: true, fields_provable: Some(false), ..draft.action(erasure::ACTION) })
    }

    /// A key record, in the log that begins with `first`.
    pub(crate) fn key_record(first: &Actor, record: KeyRecord, name: &str, signer: Arc<SigningKey>) -> Result<Self> {
        let thing = key_record::thing(first);
        let draft = Self::bytes(thing.as_str(), key_record::MEDIA_TYPE, record.to_json())?;
        Ok(Self { is_public: true, key: Some((record, name.to_owned(), signer)), ..draft.action(key_record::ACTION) })
    }

    /// What is done to the thing: `create`, `update`, `retire`, or a word of
    /// your own. Without it, `create` for the first entry and `update` after.
    #[must_use]
    pub fn action(mut self, action: &str) -> Self {
        self.action = Some(action.into());
        self
    }

    /// Who signs, by the name of an actor whose key is in the keyring.
    /// Without it, the database's first actor.
    #[must_use]
    pub fn actor(mut self, name: &str) -> Self {
        self.actor = Some(name.into());
        self
    }

    /// Writes only if the thing is as expected.
    #[must_use]
    pub fn expect(mut self, expect: Expect) -> Self {
        self.expect = Some(expect);
        self
    }

    /// Seals the entry to these peers instead of the audience that is set for
    /// the thing, and to this node.
    #[must_use]
    pub fn to<I: IntoIterator<Item: Into<String>>>(mut self, peers: I) -> Self {
        self.to = Some(peers.into_iter().map(Into::into).collect());
        self
    }

    /// Lets everybody who holds the entry read it, whoever that is: a relay without keys,
    /// a stranger with an export. That cannot be taken back. At most
    /// [`MAX_PUBLIC_BYTES`] of data.
    ///
    /// ```
    /// # let tmp = tempfile::tempdir()?;
    /// # let passphrase = thingdb::Passphrase::new("correct horse battery");
    /// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(tmp.path().join("db"), &passphrase)?;
    /// use thingdb::Draft;
    /// db.write(Draft::json("notice-1", r#"{"open":"9 to 5"}"#)?.public())?;
    /// assert_eq!(db.readers("notice-1")?[0].name.as_deref(), Some("everybody"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn public(mut self) -> Self {
        self.is_public = true;
        self
    }

    /// Adds a document that goes with the data and is not data.
    #[must_use]
    pub fn attach(mut self, media_type: &str, document: impl Into<Vec<u8>>) -> Self {
        self.attachment = Some((media_type.into(), document.into()));
        self
    }

    /// Whether single fields of the entry can be shown later, the rest hidden: see
    /// [`ProveOptions::fields`](crate::ProveOptions::fields). It costs hashes for each value
    /// of JSON data, when the entry is written and whenever it is read. Without it, as
    /// [`Options::fields_provable`](crate::Options::fields_provable) says.
    ///
    /// JSON of which fields are shown has at most 65532 values, no deeper than 128, with
    /// pointers of at most 1024 bytes; other data is refused when it is written.
    ///
    /// ```
    /// # use thingdb::{Draft, Options, Passphrase, ProveOptions};
    /// # let tmp = tempfile::tempdir()?;
    /// # let passphrase = Passphrase::new(b"correct horse battery".to_vec());
    /// # let db = Options::new().kdf(thingdb::KdfChoice::weakest()).create(tmp.path().join("things"), &passphrase)?;
    /// db.write(Draft::json("part-42", r#"{"temp":20.10,"by":"bob"}"#)?.fields_provable(true))?;
    /// let mut file = Vec::new();
    /// let summary = db.prove("part-42", ProveOptions::new().fields(["/temp".parse()?]), &mut file)?;
    /// assert_eq!(summary.partly_shown, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn fields_provable(mut self, provable: bool) -> Self {
        self.fields_provable = Some(provable);
        self
    }

    /// The thing's id.
    #[must_use]
    pub fn thing(&self) -> &str {
        self.thing.as_str()
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is printed ends up in logs; the data must not.
        write!(f, "Draft({}, {}, {} bytes)", self.thing, self.media_type, self.data.len())
    }
}
