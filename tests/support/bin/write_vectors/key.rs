//! The test keys, and one entry made of them.

use thingdb_format::{
    Actor, BatchSignature, Body, Cek, DecryptionKey, Entry, EntryId, Envelope, Fields, Hash, Header, KdfParams, Kek,
    KekPacket, Origin, Signature, SigningKey, Suite, ThingId, Time, envelope, merkle, payload, signature,
};
use thingdb_tests::vector::TestRng;

pub(crate) const TIME: u64 = 1_795_327_272_000_500;
pub(crate) const DATA: &[u8] = br#"{"temp":20}"#;

/// Test key: the node. Never use it.
pub(crate) fn node() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

/// Test key: the actor. Never use it.
pub(crate) fn actor() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

/// Test key: the recipient. Never use it.
pub(crate) fn reader() -> DecryptionKey {
    DecryptionKey::from_bytes([3; 32])
}

pub(crate) fn kek() -> Kek {
    Kek::from_bytes([4; 32])
}

pub(crate) fn cek() -> Cek {
    Cek::from_bytes([5; 32])
}

pub(crate) fn origin() -> Origin {
    node().node_key().origin()
}

/// A key of small order: the encoding of the neutral element.
pub(crate) fn small_order() -> [u8; 32] {
    let mut key = [0; 32];
    key[0] = 1;
    key
}

pub(crate) fn body() -> Body {
    Body::new("alice", "create", "application/json", DATA).expect("it is a good body")
}

/// Fields of an entry on `part-42` with the sealed test body.
pub(crate) fn fields(suite: Suite) -> (Fields, Vec<u8>) {
    let sealed = payload::seal(suite, &cek(), body()).expect("it is small");
    let fields = Fields {
        suite,
        thing: ThingId::new("part-42").expect("it is a good id"),
        seq: 1,
        time: Time::from_micros(TIME).expect("it is a good time"),
        origin: origin(),
        actor: Actor(actor().actor().0),
        prev: vec![],
        data_hash: sealed.data_hash,
        payload_hash: sealed.payload_hash,
        payload_len: u32::try_from(sealed.payload.len()).expect("it is small"),
    };
    (fields, sealed.payload)
}

pub(crate) fn entry_of(fields: Fields, payload: Option<Vec<u8>>) -> Entry {
    let header = Header::new(fields).expect("the fields go together");
    let signature = Signature::Single(signature::sign_single(&actor(), &header.to_bytes()));
    Entry { header, signature, payload, envelopes: vec![] }
}

/// The first entry of `part-42`, signed alone.
pub(crate) fn first() -> Entry {
    let (fields, payload) = fields(Suite::Aes256Gcm);
    entry_of(fields, Some(payload))
}

/// The entry after [`first`].
pub(crate) fn second() -> Entry {
    let (mut fields, payload) = fields(Suite::Aes256Gcm);
    fields.seq = 2;
    fields.time = Time::from_micros(TIME + 1_000_000).expect("it is a good time");
    fields.prev = vec![first().id()];
    entry_of(fields, Some(payload))
}

pub(crate) fn x25519_packet() -> KekPacket {
    KekPacket::seal_x25519(&kek(), origin(), &reader().encryption_key(), &mut TestRng(6)).expect("the key is good")
}

pub(crate) fn passphrase_packet() -> KekPacket {
    let kdf = KdfParams::new(64, 1, 2).expect("the parameters are within the limits");
    KekPacket::seal_passphrase(&kek(), origin(), b"correct horse", kdf, &mut TestRng(7)).expect("it is little memory")
}

pub(crate) fn public_packet() -> KekPacket {
    KekPacket::public(&kek())
}

/// The same entry with one envelope of these packets.
pub(crate) fn with_envelope(mut entry: Entry, packets: Vec<KekPacket>) -> Entry {
    let cek = envelope::seal_cek(&kek(), &entry.id(), &cek());
    entry.envelopes.push(Envelope::new(origin(), cek, packets).expect("there are few packets"));
    entry
}

/// The same entry, signed as number `index` of `size`, among ids that are
/// their number over and over.
pub(crate) fn in_batch(mut entry: Entry, index: u32, size: u32) -> Entry {
    let mut leaves: Vec<Hash> = (0..size).map(|n| merkle::leaf(&numbered_id(n))).collect();
    leaves[index as usize] = merkle::leaf(&entry.id());
    let value = signature::sign_batch(&actor(), size, &merkle::root(leaves.iter().copied()));
    let path = merkle::inclusion_proof(&leaves[..], index.into(), size.into()).expect("the index is within the size");
    entry.signature = Signature::Batch(BatchSignature { value, index, size, path });
    entry
}

/// The id of a number: its four bytes, eight times.
pub(crate) fn numbered_id(n: u32) -> EntryId {
    let mut id = [0; 32];
    for four in id.chunks_mut(4) {
        four.copy_from_slice(&n.to_be_bytes());
    }
    EntryId(id)
}
