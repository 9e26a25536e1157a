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
use coset::{CborSerializable, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};

use crate::{Hash, SigningKey, merkle};

/// Media type of a receipt.
pub const MEDIA_TYPE: &str = "application/cose";

/// The header parameter that names the kind of tree, and RFC9162_SHA256.
const TREE: (i64, i64) = (395, 1);

/// The header parameter of proofs, and the label of inclusion proofs.
const PROOFS: i64 = 396;
const INCLUSION: i64 = -1;

/// Signs the receipt of an entry that stands at `index` of a ledger of `size` entries,
/// by its inclusion proof (RFC 9162, section 2.1.3). `id` is hashed as the leaf.
///
/// # Errors
/// [`Error::Malformed`](crate::Error::Malformed) and others if the path does not lead
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
pub fn sign(
    key: &SigningKey,
    id: &crate::EntryId,
    index: u64,
    size: u64,
    path: &[Hash],
) -> Result<Vec<u8>, crate::Error> {
    let root = merkle::root_of_inclusion(&merkle::leaf(id), index, size, path)?;
    let hashes = path.iter().map(|hash| Value::Bytes(hash.0.to_vec())).collect();
    let proof = Value::Array(vec![size.into(), index.into(), Value::Array(hashes)]);
    let malformed = |_| crate::Error::Malformed { what: "receipt", problem: "cannot be encoded" };
    let proof = Value::Bytes(proof.to_vec().map_err(malformed)?);
    let proofs = Value::Map(vec![(INCLUSION.into(), Value::Array(vec![proof]))]);
    let protected = HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .key_id(key.node_key().origin().0.to_vec())
        .value(TREE.0, TREE.1.into())
        .build();
    CoseSign1Builder::new()
        .protected(protected)
        .unprotected(HeaderBuilder::new().value(PROOFS, proofs).build())
        .create_detached_signature(&root.0, b"", |signed| key.sign(signed).to_vec())
        .build()
        .to_tagged_vec()
        .map_err(malformed)
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
            assert!(!check(&receipt, id, &other));
            assert!(!check(&receipt, &EntryId([9; 32]), &key));
        }
        assert!(sign(&key, &ids[0], 7, 7, &[]).is_err());
    }
}
