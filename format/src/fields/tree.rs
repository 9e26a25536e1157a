//! The Merkle tree over the fields of a body, for whoever has its CEK.

use hkdf::Hkdf;
use sha2::{Digest, Sha256};

use super::{FieldName, MAX_SHOWN, Name, ShownField, ShownFields, each};
use crate::codec::within;
use crate::{Body, Cek, Error, Hash, Suite, label, merkle, payload};

/// What the header commits to, of a body with fields.
///
/// # Errors
/// Those of [`each`].
pub(crate) fn commitment(suite: Suite, cek: &Cek, body: &Body) -> Result<Hash, Error> {
    let tree = Tree::new(suite, cek, body)?;
    Ok(committed(&payload::commitment_key(suite, cek), tree.count(), &tree.root()))
}

/// `HMAC(key, 0x02 ‖ u32 count ‖ root)`.
pub(super) fn committed(key: &[u8; 32], count: u32, root: &Hash) -> Hash {
    let mut bytes = vec![2];
    bytes.extend_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(&root.0);
    payload::commit(key, &bytes)
}

/// Shows some fields of a body to somebody who does not get its CEK: those that are asked
/// for, and all values that are in what is asked for. Nothing if there is none of them, or
/// if the body was not made so that fields of it can be shown.
///
/// ```
/// use thingdb_format::fields::{FieldName, show};
/// use thingdb_format::{Body, Cek, Suite, payload};
/// # use thingdb_format::{Fields, Header, SigningKey, ThingId, Time};
/// let body = Body::new("alice", "create", "application/json", br#"{"temp":20.10,"by":"bob"}"#)?.with_provable_fields();
/// let cek = Cek::generate(&mut rand::rng());
/// let shown = show(Suite::Aes256Gcm, &cek, &body, &["/temp".parse()?])?.expect("it has one");
/// let sealed = payload::seal(Suite::Aes256Gcm, &cek, body)?;
/// # let key = SigningKey::generate(&mut rand::rng());
/// # let header = Header::new(Fields { suite: Suite::Aes256Gcm, thing: ThingId::new("part-42")?, seq: 1,
/// #     time: Time::from_micros(0)?, origin: key.node_key().origin(), actor: key.actor(), prev: vec![],
/// #     data_hash: sealed.data_hash, payload_hash: sealed.payload_hash, payload_len: sealed.payload.len() as u32 })?;
/// // Whoever has the header and what is shown:
/// shown.verify(&header)?;
/// assert_eq!((shown.fields[0].name.as_str(), &shown.fields[0].value[..]), ("/temp", &b"20.10"[..]));
/// assert_eq!(shown.hidden(), 4); // /by, actor name, action, media type
/// # Ok::<(), thingdb_format::Error>(())
/// ```
///
/// # Errors
/// Those of [`each`]; [`Error::OutOfRange`] if there are more than [`MAX_SHOWN`].
pub fn show(suite: Suite, cek: &Cek, body: &Body, wanted: &[FieldName]) -> Result<Option<ShownFields>, Error> {
    if !body.has_provable_fields() {
        return Ok(None);
    }
    let (salts, tree) = (Salts::new(suite, cek), Tree::new(suite, cek, body)?);
    let (mut fields, mut index) = (Vec::new(), 0_u32);
    each(body, |name, value| {
        index = index.saturating_add(1);
        if wanted.iter().any(|wanted| wanted.covers(name)) {
            within("the number of fields that are shown", fields.len().saturating_add(1) as u64, 1, MAX_SHOWN as u64)?;
            let (name, value) = (FieldName::from(name), value.to_vec());
            fields.push(ShownField { index, name, value, salt: *salts.of(index), path: tree.path(index) });
        }
        Ok(())
    })?;
    let key = *payload::commitment_key(suite, cek);
    Ok((!fields.is_empty()).then(|| ShownFields { key, count: tree.count(), fields }))
}

/// The leaf of a field.
pub(super) fn leaf(salt: &[u8; 32], name: &Name<'_>, content: &[u8]) -> Hash {
    let (kind, pointer) = match name {
        Name::Actor => (1, None),
        Name::Action => (2, None),
        Name::MediaType => (3, None),
        Name::Pointer(pointer) => (4, Some(*pointer)),
    };
    leaf_of(salt, kind, pointer, content)
}

fn leaf_of(salt: &[u8; 32], kind: u8, pointer: Option<&str>, content: &[u8]) -> Hash {
    let mut hash = Sha256::new_with_prefix([0]);
    hash.update(label::FIELD.as_bytes());
    hash.update([0]);
    hash.update(salt);
    hash.update([kind]);
    if let Some(pointer) = pointer {
        let len = u16::try_from(pointer.len()).unwrap_or(u16::MAX);
        hash.update(len.to_be_bytes());
        hash.update(pointer.as_bytes());
    }
    hash.update(content);
    Hash(hash.finalize().into())
}

/// The salts of the fields.
struct Salts {
    cek: Hkdf<Sha256>,
    suite: u8,
}

impl Salts {
    fn new(suite: Suite, cek: &Cek) -> Self {
        let cek = Hkdf::from_prk(cek.as_bytes()).expect("32 bytes are enough for a pseudorandom key");
        Self { cek, suite: suite.number() }
    }

    fn of(&self, index: u32) -> zeroize::Zeroizing<[u8; 32]> {
        let mut salt = zeroize::Zeroizing::new([0; 32]);
        let info = [label::FIELD_SALT.as_bytes(), &[self.suite], &index.to_be_bytes()];
        self.cek.expand_multi_info(&info, &mut *salt).expect("32 bytes are within the limit of HKDF");
        salt
    }
}

/// All nodes of the tree: the leaves first, the root last.
struct Tree {
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    fn new(suite: Suite, cek: &Cek, body: &Body) -> Result<Self, Error> {
        let salts = Salts::new(suite, cek);
        let mut leaves = vec![leaf_of(&salts.of(0), 0, None, body.as_bytes())];
        each(body, |name, content| {
            let index = u32::try_from(leaves.len()).unwrap_or(u32::MAX);
            leaves.push(leaf(&salts.of(index), name, content));
            Ok(())
        })?;
        let mut levels = vec![leaves];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let up = level.chunks(2).map(|pair| match pair {
                [left, right] => merkle::node(left, right),
                // The last of an odd number stands for itself one level up.
                alone => alone.first().copied().unwrap_or(Hash([0; 32])),
            });
            let up = up.collect();
            levels.push(up);
        }
        Ok(Self { levels })
    }

    fn count(&self) -> u32 {
        self.levels.first().map_or(0, |leaves| u32::try_from(leaves.len()).unwrap_or(u32::MAX))
    }

    fn root(&self) -> Hash {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or(Hash([0; 32]))
    }

    /// The inclusion path of a leaf.
    fn path(&self, index: u32) -> Vec<Hash> {
        let mut at = usize::try_from(index).unwrap_or(usize::MAX);
        let mut path = Vec::with_capacity(self.levels.len());
        for level in &self.levels {
            path.extend(level.get(at ^ 1).filter(|_| level.len() > 1));
            at >>= 1;
        }
        path
    }
}
