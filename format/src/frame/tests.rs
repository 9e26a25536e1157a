use super::*;
use crate::{Body, Cek, SigningKey, merkle, payload, signature};

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn header(thing: &str, seq: u64, prev: Vec<EntryId>, n: u8) -> (Header, Vec<u8>) {
    let body = Body::new("alice", "update", "application/json", &[b'1'; 20]).unwrap();
    let sealed = payload::seal(Suite::Aes256Gcm, &Cek::from_bytes([n; 32]), body).unwrap();
    let fields = Fields {
        suite: Suite::Aes256Gcm,
        thing: ThingId::new(thing).unwrap(),
        seq,
        time: Time::from_micros(1_000_000 * u64::from(n)).unwrap(),
        origin: key().node_key().origin(),
        actor: key().actor(),
        prev,
        data_hash: sealed.data_hash,
        payload_hash: sealed.payload_hash,
        payload_len: sealed.payload.len() as u32,
    };
    (Header::new(fields).unwrap(), sealed.payload)
}

fn packets(n: u8) -> Vec<KekPacket> {
    vec![
        KekPacket::X25519 { id: RecipientId([n; 8]), kek: [n; 80] },
        KekPacket::Passphrase { salt: [n; 16], kdf: KdfParams::new(64, 1, 2).unwrap(), kek: [n; 48] },
    ]
}

fn envelope(n: u8) -> Envelope {
    Envelope::new(Origin([n; 16]), [n; 48], packets(n)).unwrap()
}

fn single(thing: &str, seq: u64, prev: Vec<EntryId>, n: u8) -> Entry {
    let (header, payload) = header(thing, seq, prev, n);
    let signature = Signature::Single(signature::sign_single(&key(), &header.to_bytes()));
    Entry { header, signature, payload: Some(payload), envelopes: vec![envelope(n % 3), envelope(n)] }
}

/// A line of entries of one thing, signed together.
fn batch(thing: &str, size: u8) -> Vec<Entry> {
    let mut headers = Vec::new();
    let mut prev = vec![];
    for n in 0..size {
        let one = header(thing, u64::from(n) + 1, prev, n);
        prev = vec![one.0.id()];
        headers.push(one);
    }
    let leaves: Vec<Hash> = headers.iter().map(|(header, _)| merkle::leaf(&header.id())).collect();
    let value = signature::sign_batch(&key(), size.into(), &merkle::root(leaves.clone()));
    (0..)
        .zip(headers)
        .map(|(index, (header, payload))| {
            let path = merkle::inclusion_proof(&leaves[..], u64::from(index), size.into()).unwrap();
            let signature = Signature::Batch(BatchSignature { value, index, size: size.into(), path });
            Entry { header, signature, payload: Some(payload), envelopes: vec![] }
        })
        .collect()
}

fn some() -> Vec<Line> {
    let first = single("part-1", 1, vec![], 1);
    let second = single("part-1", 2, vec![first.id()], 2);
    let fork = single("part-1", 2, vec![first.id()], 3);
    let mut both = vec![second.id(), fork.id()];
    both.sort();
    let join = single("part-1", 3, both, 4);
    let stub = Entry { payload: None, envelopes: vec![], ..single("part-2", 7, vec![first.id()], 5) };
    let entries = [first, second, fork, join, stub].into_iter().chain(batch("part-3", 5));
    let trailer = Trailer { entries: 10, root: Hash([7; 32]), digest: None, checkpoint: None };
    std::iter::once(Line::Header(Box::default()))
        .chain(entries.map(|entry| Line::Entry(Box::new(entry))))
        .chain([Line::Trailer(Box::new(trailer))])
        .collect()
}

fn encode(lines: &[Line]) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::default(), Vec::new());
    for line in lines {
        match line {
            Line::Header(header) => encoder.header(header, &mut out),
            Line::Entry(entry) => encoder.entry(entry, &entry.id(), &mut out).unwrap(),
            Line::Trailer(trailer) => encoder.trailer(trailer, &mut out),
            Line::Blank => {}
        }
    }
    out
}

fn decode(mut bytes: &[u8]) -> Result<(Vec<Line>, usize), Error> {
    let (mut decoder, mut lines) = (Decoder::default(), Vec::new());
    while let Some((line, used)) = decoder.next(bytes)? {
        bytes = &bytes[used..];
        lines.push(line);
    }
    Ok((lines, bytes.len()))
}

#[test]
fn what_was_written_comes_back() {
    let lines = some();
    let bytes = encode(&lines);
    assert_eq!(decode(&bytes).unwrap(), (lines, 0));
}

#[test]
fn every_entry_verifies_when_it_has_come() {
    for size in 2..40 {
        for entry in
            decode(&encode(&batch("x", size).into_iter().map(|e| Line::Entry(Box::new(e))).collect::<Vec<_>>()))
                .unwrap()
                .0
        {
            let Line::Entry(entry) = entry else { panic!() };
            entry.verify(&key().verifier()).unwrap();
        }
    }
}

#[test]
fn a_path_goes_once() {
    let entries = batch("x", 128);
    let mut encoder = Encoder::default();
    let mut sizes = Vec::new();
    for entry in &entries {
        let mut out = Vec::new();
        encoder.entry(entry, &entry.id(), &mut out).unwrap();
        sizes.push(out.len());
    }
    let hashes: usize = sizes.iter().map(|size| (size - sizes[1]) / 32).sum();
    // 127 right-hand hashes, and the definitions that the first one carries.
    assert!((127..=127 + 6).contains(&hashes), "{hashes}");
    // Out of order they come back, too.
    let shuffled: Vec<Line> = (0..128).map(|n| Line::Entry(Box::new(entries[n * 37 % 128].clone()))).collect();
    assert_eq!(decode(&encode(&shuffled)).unwrap().0, shuffled);
}

#[test]
fn a_path_that_cannot_be_is_not_written() {
    let mut entries = batch("x", 8);
    let mut out = Vec::new();
    let mut encoder = Encoder::default();
    encoder.entry(&entries[0], &entries[0].id(), &mut out).unwrap();
    let before = out.clone();
    let Signature::Batch(batch) = &mut entries[1].signature else { panic!() };
    batch.path[2] = Hash([9; 32]);
    assert!(encoder.entry(&entries[1], &entries[1].id(), &mut out).is_err());
    let Signature::Batch(batch) = &mut entries[1].signature else { panic!() };
    batch.path.pop();
    assert!(encoder.entry(&entries[1], &entries[1].id(), &mut out).is_err());
    assert_eq!(out, before);
    // The stream goes on.
    encoder.entry(&entries[2], &entries[2].id(), &mut out).unwrap();
    assert_eq!(decode(&out).unwrap().0.len(), 2);
}

#[test]
fn every_cut_is_a_stream_that_goes_on() {
    let bytes = encode(&some());
    let mut known = 0;
    for len in 0..bytes.len() {
        let (lines, left) = decode(&bytes[..len]).unwrap();
        assert!(lines.len() >= known);
        known = lines.len();
        assert!(left > 0 || len == 0 || !lines.is_empty());
    }
}

#[test]
fn every_bit_flipped_is_refused_or_is_another_stream() {
    // Each bit costs a whole stream.
    let lines: Vec<Line> =
        some().into_iter().filter(|line| !matches!(line, Line::Entry(entry) if entry.header.seq > 2)).collect();
    let bytes = encode(&lines);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // What decodes is what its writer would have written.
        if let Ok((read, 0)) = decode(&flipped) {
            assert_ne!(read, lines, "bit {bit}");
            assert_eq!(encode(&read), flipped, "bit {bit}");
        }
    }
}

#[test]
fn what_was_defined_long_ago_is_defined_again() {
    let entries: Vec<Line> = (0..2)
        .flat_map(|_| (0..RECENT_THINGS + 1).map(|n| Line::Entry(Box::new(single(&format!("x{n}"), 1, vec![], 1)))))
        .collect();
    let bytes = encode(&entries);
    assert_eq!(decode(&bytes).unwrap(), (entries, 0));
}

#[test]
fn newer_numbers_are_told() {
    let bytes = encode(&some());
    for (at, value) in [(4, 2), (6, 4), (7, 64)] {
        let mut newer = bytes.clone();
        newer[at] = value;
        assert!(decode(&newer).unwrap_err().is_newer_version(), "{at}");
    }
    let mut other = bytes;
    other[0] = b'x';
    assert!(!decode(&other).unwrap_err().is_newer_version());
}

#[test]
fn what_is_known_must_be_named() {
    let first = single("part-1", 1, vec![], 1);
    let once = encode(&[Line::Entry(Box::new(first))]);
    // The same entry defined again.
    let again = [&once[..], &once[MAGIC.len()..]].concat();
    assert!(decode(&again).is_err());
}
