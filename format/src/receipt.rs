//! The proof that one entry stands in a ledger, as a COSE receipt (RFC 9942): a
//! COSE_Sign1 (RFC 9052) of the ledger's root, which does not stand in it.
//!
//! ```text
//! 18([ << {1: -8, 4: origin, 395: 1} >>,              EdDSA, RFC9162_SHA256
//!      {396: {-1: [ << [size, index, [hash, …]] >> ]}},
//!      nil, signature ])
//! ```
//!
//! The data of the leaf are the 32 bytes of the entry id. What is signed is a CBOR
//! array that begins with `Signature1`: nothing else that a node key signs does.

use coset::cbor::value::Value;
use coset::{CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};

use crate::codec::within;
use crate::{EntryId, Error, Hash, NodeKey, SigningKey, Verifier, merkle};

/// Media type of a receipt.
pub const MEDIA_TYPE: &str = "application/cose";

/// Most bytes of a receipt: 64 hashes, a signature and what stands around them.
pub const MAX_BYTES: usize = 4096;

const WHAT: &str = "receipt";

/// The header parameter that names the kind of tree, and RFC9162_SHA256.
const TREE: (i64, i64) = (395, 1);

/// The header parameter of proofs, and the label of inclusion proofs.
const PROOFS: i64 = 396;
const INCLUSION: i64 = -1;

/// Signs the receipt of an entry that stands at `index` of a ledger of `size` entries,
/// by its inclusion proof (RFC 9162, section 2.1.3). `id` is hashed as the leaf.
///
/// # Errors
/// [`Error::Malformed`] and others if the path does not lead
/// anywhere.
///
/// ```
/// use thingdb_format::{EntryId, SigningKey, receipt};
/// let key = SigningKey::from_seed(&[1; 32]);
/// let receipt = receipt::sign(&key, &EntryId([7; 32]), 0, 1, &[])?;
/// // Tag 18 of CBOR: a COSE_Sign1.
/// assert_eq!(receipt[0], 0xd2);
/// # Ok::<(), thingdb_format::Error>(())
/// ```
pub fn sign(key: &SigningKey, id: &EntryId, index: u64, size: u64, path: &[Hash]) -> Result<Vec<u8>, Error> {
    let root = merkle::root_of_inclusion(&merkle::leaf(id), index, size, path)?;
    let receipt = unsigned(&key.node_key(), index, size, path)?;
    let receipt = receipt.create_detached_signature(&root.0, b"", |signed| key.sign(signed).to_vec());
    receipt.build().to_tagged_vec().map_err(|_| NOT_ENCODED)
}

/// Checks that a receipt is of this entry, in a ledger of the node with this key. Only
/// the bytes that [`sign`] makes are taken: receipts of others can be spelled otherwise.
///
/// What is signed is the root, and not the size: a path can lead from the same place of
/// two sizes to one root. So a receipt does not say how many entries there were.
///
/// # Errors
/// [`Error::Malformed`], [`Error::OutOfRange`], [`Error::BadProof`] if the path leads
/// nowhere, [`Error::BadSignature`] if it is of another entry, another place or another
/// node, [`Error::UnacceptableKey`].
///
/// ```
/// use thingdb_format::{EntryId, SigningKey, receipt};
/// let (key, id) = (SigningKey::from_seed(&[1; 32]), EntryId([7; 32]));
/// let bytes = receipt::sign(&key, &id, 0, 1, &[])?;
/// receipt::verify(&bytes, &id, &key.node_key())?;
/// assert!(receipt::verify(&bytes, &EntryId([8; 32]), &key.node_key()).is_err());
/// # Ok::<(), thingdb_format::Error>(())
/// ```
pub fn verify(receipt: &[u8], id: &EntryId, key: &NodeKey) -> Result<(), Error> {
    within(WHAT, receipt.len() as u64, 1, MAX_BYTES as u64)?;
    let read = CoseSign1::from_tagged_slice(receipt).map_err(|_| malformed("is no COSE_Sign1"))?;
    let proof = read.unprotected.rest.iter().find_map(|(_, proofs)| proof_in(proofs));
    let (index, size, path) = proof.ok_or_else(|| malformed("has no inclusion proof"))?;
    let root = merkle::root_of_inclusion(&merkle::leaf(id), index, size, &path)?;
    let signature = read.signature.clone();
    let again = unsigned(key, index, size, &path)?.signature(signature).build().to_tagged_vec();
    if again.map_err(|_| NOT_ENCODED)? != receipt {
        return Err(malformed("has another kind of tree, of signature, or of node than it should"));
    }
    let verifier = Verifier::new(&key.0)?;
    read.verify_detached_signature(&root.0, b"", |signature, signed| {
        let signature = signature.try_into().map_err(|_| Error::BadSignature { what: "the receipt" })?;
        verifier.verify(signed, signature, "the receipt")
    })
}

/// A receipt but for its signature.
fn unsigned(key: &NodeKey, index: u64, size: u64, path: &[Hash]) -> Result<CoseSign1Builder, Error> {
    let hashes = path.iter().map(|hash| Value::Bytes(hash.0.to_vec())).collect();
    let proof = Value::Array(vec![size.into(), index.into(), Value::Array(hashes)]);
    let proof = Value::Bytes(proof.to_vec().map_err(|_| NOT_ENCODED)?);
    let proofs = Value::Map(vec![(INCLUSION.into(), Value::Array(vec![proof]))]);
    let protected = HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .key_id(key.origin().0.to_vec())
        .value(TREE.0, TREE.1.into())
        .build();
    Ok(CoseSign1Builder::new().protected(protected).unprotected(HeaderBuilder::new().value(PROOFS, proofs).build()))
}

/// Index, size and path of the one inclusion proof.
fn proof_in(proofs: &Value) -> Option<(u64, u64, Vec<Hash>)> {
    let [(_, Value::Array(proofs))] = &**proofs.as_map()? else { return None };
    let [proof] = &**proofs else { return None };
    let proof = Value::from_slice(proof.as_bytes()?).ok()?;
    let [size, index, Value::Array(hashes)] = &**proof.as_array()? else { return None };
    let number = |value: &Value| u64::try_from(value.as_integer()?).ok();
    let hash = |value: &Value| Some(Hash(<[u8; 32]>::try_from(&**value.as_bytes()?).ok()?));
    Some((number(index)?, number(size)?, hashes.iter().map(hash).collect::<Option<_>>()?))
}

const NOT_ENCODED: Error = malformed("cannot be encoded");

const fn malformed(problem: &'static str) -> Error {
    Error::Malformed { what: WHAT, problem }
}

#[cfg(test)]
mod tests {
    use coset::{CoseSign1, Label};

    use super::*;
    use crate::{EntryId, Verifier};

    /// As a stranger reads it, by RFC 9942.
    fn check(receipt: &[u8], id: &EntryId, key: &SigningKey) -> bool {
        let read = CoseSign1::from_tagged_slice(receipt).unwrap();
        assert!(read.payload.is_none());
        assert_eq!(read.protected.header.rest, [(Label::Int(395), Value::from(1))]);
        let Value::Map(proofs) = &read.unprotected.rest[0].1 else { panic!("no proofs") };
        let Value::Array(proofs) = &proofs[0].1 else { panic!("no list") };
        let proof = Value::from_slice(proofs[0].as_bytes().unwrap()).unwrap();
        let [size, index, path] = &proof.as_array().unwrap()[..] else { panic!("no proof") };
        let number = |value: &Value| u64::try_from(value.as_integer().unwrap()).unwrap();
        let hash = |value: &Value| Hash(value.as_bytes().unwrap()[..].try_into().unwrap());
        let path: Vec<Hash> = path.as_array().unwrap().iter().map(hash).collect();
        let root = merkle::root_of_inclusion(&merkle::leaf(id), number(index), number(size), &path).unwrap();
        let verifier = Verifier::new(&key.node_key().0).unwrap();
        let verify = |value: &[u8], signed: &[u8]| verifier.verify(signed, value.try_into().unwrap(), "it");
        read.verify_detached_signature(&root.0, b"", verify).is_ok()
    }

    #[test]
    fn a_receipt_is_of_one_entry_one_root_and_one_key() {
        let (key, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let ids: Vec<EntryId> = (0..7).map(|n| EntryId([n; 32])).collect();
        let leaves: Vec<Hash> = ids.iter().map(merkle::leaf).collect();
        for (index, id) in ids.iter().enumerate() {
            let path = merkle::inclusion_proof(&leaves[..], index as u64, 7).unwrap();
            let receipt = sign(&key, id, index as u64, 7, &path).unwrap();
            assert!(check(&receipt, id, &key));
            verify(&receipt, id, &key.node_key()).unwrap();
            assert!(verify(&receipt, id, &other.node_key()).is_err());
            assert!(verify(&receipt, &EntryId([9; 32]), &key.node_key()).is_err());
            assert!(!check(&receipt, id, &other));
            assert!(!check(&receipt, &EntryId([9; 32]), &key));
        }
        assert!(sign(&key, &ids[0], 7, 7, &[]).is_err());
    }

    #[test]
    fn a_changed_receipt_is_none() {
        let key = SigningKey::from_seed(&[1; 32]);
        let ids: Vec<EntryId> = (0..7).map(|n| EntryId([n; 32])).collect();
        let leaves: Vec<Hash> = ids.iter().map(merkle::leaf).collect();
        let path = merkle::inclusion_proof(&leaves[..], 3, 7).unwrap();
        let receipt = sign(&key, &ids[3], 3, 7, &path).unwrap();
        // Before the hashes: an array of three, the size, the index, an array of three.
        let size = receipt.windows(4).position(|bytes| bytes == [0x83, 7, 3, 0x83]).unwrap() + 1;
        for place in (0..receipt.len()).filter(|place| *place != size) {
            for bit in 0..8 {
                let mut changed = receipt.clone();
                changed[place] ^= 1 << bit;
                assert!(verify(&changed, &ids[3], &key.node_key()).is_err(), "{place} {bit}");
            }
            assert!(verify(&receipt[..place], &ids[3], &key.node_key()).is_err(), "{place}");
        }
        assert!(verify(&[&receipt[..], &[0]].concat(), &ids[3], &key.node_key()).is_err());
    }
}
