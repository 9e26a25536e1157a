use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use thingdb_format::{Actor, Fields, Hash, Origin, Suite, ThingId, Time, header};

use super::super::provenance::{Bringer, Provenance};
use super::super::stored::{BatchHead, StoredEnvelope, StoredPayload, StoredRecord, StoredSignature};
use super::*;

fn key() -> Arc<SealKey> {
    Arc::new(SealKey::new(&[1; 32]))
}

/// Records of every shape that there is, some of which follow each other.
fn records(rng: &mut StdRng, count: usize) -> Vec<Placed> {
    let things = ["x".to_owned(), "part-42".to_owned(), "ding/ä".to_owned(), "l".repeat(512)];
    let mut placed: Vec<Placed> = Vec::new();
    for _ in 0..count {
        let payload = match rng.random_range(0..4) {
            0 => StoredPayload::Absent,
            1 => StoredPayload::Parts,
            _ => StoredPayload::Inline(random_bytes(rng, 23, 400)),
        };
        let (payload_len, payload_hash) = match &payload {
            StoredPayload::Inline(bytes) => (bytes.len() as u32, Hash::of(bytes)),
            _ => (rng.random_range(header::MIN_PAYLOAD_BYTES..=header::MAX_PAYLOAD_BYTES), Hash(rng.random())),
        };
        let mut prev: Vec<EntryId> = (0..rng.random_range(0..4)).map(|_| EntryId(rng.random())).collect();
        prev.extend(placed.iter().rev().take(rng.random_range(0..3)).map(|before| before.id));
        prev.sort_unstable();
        let seq = if prev.is_empty() { 1 } else { rng.random_range(2..=header::MAX_SEQ) };
        let suite = if rng.random() { Suite::Aes256Gcm } else { Suite::ChaCha20Poly1305 };
        let header = Header::new(Fields {
            suite,
            thing: ThingId::new(&things[rng.random_range(0..things.len())]).unwrap(),
            seq,
            time: Time::from_micros(rng.random_range(0..=Time::MAX.micros())).unwrap(),
            origin: Origin([rng.random_range(0..3); 16]),
            actor: Actor([rng.random_range(0..3); 32]),
            prev,
            data_hash: Hash(rng.random()),
            payload_hash,
            payload_len,
        })
        .unwrap();
        let stored = StoredRecord {
            header: header.to_bytes(),
            signature: signature(rng),
            masked_cek: rng.random_bool(0.8).then(|| rng.random()),
            payload,
            masked_envelopes: (0..rng.random_range(0..3)).map(|_| envelope(rng)).collect(),
        };
        placed.push(Placed { id: header.id(), header, stored });
    }
    placed
}

fn random_bytes(rng: &mut StdRng, least: usize, most: usize) -> Vec<u8> {
    (0..rng.random_range(least..=most)).map(|_| rng.random()).collect()
}

fn signature(rng: &mut StdRng) -> StoredSignature {
    match rng.random_range(0..3) {
        0 => StoredSignature::Single([7; 64]),
        1 => StoredSignature::Local(BatchHead { first: rng.random_range(0..1000), size: 2, value: [8; 64] }),
        _ => {
            let path = (0..rng.random_range(0..4)).map(|_| rng.random()).collect();
            StoredSignature::Batch { value: [9; 64], index: rng.random(), size: rng.random(), path }
        }
    }
}

fn envelope(rng: &mut StdRng) -> StoredEnvelope {
    StoredEnvelope {
        from: [rng.random_range(0..4); 16],
        cek: [rng.random(); 48],
        packets: [rng.random_range(0..3); 16],
        is_private: rng.random(),
        provenance: Provenance::from_bits(rng.random_range(0..8)),
        brought_by: (0..rng.random_range(0..5)).map(|_| Bringer(rng.random())).collect(),
    }
}

/// The rows, by first position.
fn rows(first: u64, records: &[Placed]) -> Vec<(u64, Vec<u8>)> {
    let mut rows = Vec::new();
    pack(first, records.iter().map(Placed::laid), |block| rows.push((block.first(), block.seal(&key()))));
    rows
}

#[test]
fn what_was_packed_reads_as_it_was_in_any_order() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..40 {
        let count = rng.random_range(1..60);
        let records = records(&mut rng, count);
        let first = rng.random_range(0..1 << 40);
        let mut next = first;
        for (at, row) in rows(first, &records) {
            assert_eq!(at, next, "a block begins where the one before ends");
            let block = Block::from_bytes(at, &row).unwrap();
            assert!(block.len() == 1 || row.len() <= BLOCK_BYTES + 100, "{} bytes", row.len());
            next += block.len() as u64;
            let expected = &records[(at - first) as usize..];
            let mut open = block.clone().open(key()).unwrap();
            for slot in (0..u8::MAX).take(block.len()) {
                assert!(open.record(slot).unwrap() == expected[usize::from(slot)], "slot {slot} in order");
                let alone = block.clone().open(key()).unwrap().record(slot).unwrap();
                assert!(alone == expected[usize::from(slot)], "slot {slot} by itself");
                assert_eq!(alone.header.to_bytes(), alone.stored.header);
                assert_eq!(header::id_of(&alone.stored.header), alone.id);
            }
            let behind = u8::try_from(block.len()).unwrap();
            assert!(open.record(behind).is_err());
        }
        assert_eq!(next - first, records.len() as u64);
    }
}

/// A history in one block: a record refers to the one before it if that spells
/// out its own prev.
#[test]
fn a_prev_in_the_same_block_takes_a_byte_every_other_time() {
    let mut rng = StdRng::seed_from_u64(3);
    let mut history: Vec<Placed> = Vec::new();
    for seq in 1..=9 {
        let mut placed = records(&mut rng, 1).remove(0);
        let header = Header::new(Fields {
            seq,
            prev: history.last().map(|before| before.id).into_iter().collect(),
            payload_len: 23,
            payload_hash: Hash([1; 32]),
            ..Fields::clone(&placed.header)
        })
        .unwrap();
        placed.stored.payload = StoredPayload::Absent;
        placed.stored.header = header.to_bytes();
        placed.id = header.id();
        placed.header = header;
        history.push(placed);
    }
    let mut block = BlockBuilder::new(0);
    let mut sizes = Vec::new();
    for placed in &history {
        let mut laid = placed.laid();
        (laid.signature, laid.envelopes, laid.cek) = (&StoredSignature::Single([7; 64]), &[], None);
        let before = block.records.len();
        assert!(block.push(&laid));
        sizes.push(block.records.len() - before);
    }
    let refers: Vec<bool> = block.ids.iter().map(|(_, refers)| *refers).collect();
    assert_eq!(refers, [false, true, false, true, false, true, false, true, false]);
    assert!(sizes[2] - sizes[1] >= 30, "{sizes:?}");
    let row = block.seal(&key());
    for slot in 0..9 {
        let read = Block::from_bytes(0, &row).unwrap().open(key()).unwrap().record(slot).unwrap();
        assert_eq!(read.id, history[usize::from(slot)].id);
    }
}

#[test]
fn no_part_opens_in_another_place_and_no_changed_bit_is_taken() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut records = records(&mut rng, 8);
    for record in &mut records {
        record.stored.masked_envelopes.clear();
    }
    for count in [1, 3] {
        let rows = rows(7, &records[..count]);
        let [(_, row)] = &rows[..] else { panic!("one block, not {}", rows.len()) };
        let opens = |first: u64, bytes: &[u8]| {
            let Ok(mut block) = Block::from_bytes(first, bytes).and_then(|block| block.open(key())) else { return 0 };
            (0..u8::MAX).take(block.len()).filter(|slot| block.record(*slot).is_ok()).count()
        };
        assert_eq!(opens(7, row), count);
        assert_eq!(opens(8, row), 0, "it was moved");
        assert_eq!(opens(u64::MAX, row), 0);
        for end in 0..row.len() {
            assert!(opens(7, &row[..end]) < count, "cut at {end}");
        }
        for bit in 0..row.len() * 8 {
            let mut changed = row.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(opens(7, &changed) < count, "bit {bit}");
        }
    }
    // Parts of another version of the same block do not open beside these.
    let three = &records[..3];
    let (one, other) = (&rows(7, three)[0].1, &rows(7, three)[0].1);
    assert_ne!(one, other, "every version has its nonce");
    let head = 1 + NONCE_BYTES;
    let mixed = [&other[..head], &one[head..]].concat();
    assert!(Block::from_bytes(7, &mixed).unwrap().open(key()).is_err());
    let mixed = [&one[..one.len() - 40], &other[other.len() - 40..]].concat();
    let mut block = Block::from_bytes(7, &mixed).unwrap().open(key()).unwrap();
    assert!(block.record(2).is_err() && block.record(0).is_ok());
}

/// What a hostile head or record says is refused and costs nothing.
#[test]
fn references_to_nowhere_are_refused() {
    let mut rng = StdRng::seed_from_u64(6);
    let placed = records(&mut rng, 1).remove(0);
    let mut names = Names::default();
    let mut record = Vec::new();
    let mut laid = placed.laid();
    laid.envelopes = &[];
    names.put_record(&laid, |_| None, &mut record);
    let mut head = Vec::new();
    names.put(0, &mut head);
    let good = Head::read(0, head).unwrap();
    assert!(Read::new(&good, &record).is_ok());
    for place in 1..4 {
        let mut other = record.clone();
        other[place] = 9;
        assert!(Read::new(&good, &other).is_err(), "name {place}");
    }
    for end in 0..record.len() {
        assert!(Read::new(&good, &record[..end]).is_err(), "cut at {end}");
    }
    // Counts that nothing follows, and integers without an end.
    for bytes in [&[0xff; 12][..], &[0x7f], &[0, 0, 0x7f], &[1, 0, 1], &[0, 0, 0, 0, 0, 0x7f], &[]] {
        assert!(Head::read(0, bytes.to_vec()).is_err(), "{bytes:?}");
    }
}

#[test]
fn the_fuzz_target_takes_what_was_written() {
    let mut rng = StdRng::seed_from_u64(7);
    let records = records(&mut rng, 5);
    let mut names = Names::default();
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for placed in &records {
        let mut part = Vec::new();
        names.put_record(&placed.laid(), |_| None, &mut part);
        parts.push(part);
    }
    let mut head = Vec::new();
    names.put(40, &mut head);
    parts.insert(0, head);
    let bytes: Vec<u8> =
        parts.iter().flat_map(|part| [&(part.len() as u16).to_be_bytes()[..], part].concat()).collect();
    fuzz_stored(&bytes);
    for end in 0..bytes.len() {
        fuzz_stored(&bytes[..end]);
    }
    fuzz_stored(&rows(40, &records)[0].1);
}
