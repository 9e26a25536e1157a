//! Lines of entries that are here already: nothing is taken for good because
//! its id is known.

use thingdb::format::frame::Encoder;
use thingdb::format::{BatchSignature, Entry, Hash, Line, Signature, StreamHeader, Trailer, merkle, signature};
use thingdb::{Db, ExportOptions, ImportOptions, ImportSummary, TrustPolicy};
use thingdb_tests::database::{passphrase, relaxed, scratch};
use thingdb_tests::stranger::{Plan, Stranger, lines_of};

fn all<'a>() -> ImportOptions<'a> {
    ImportOptions::new().trust(TrustPolicy::All)
}

fn import(db: &Db, entries: &[Entry]) -> ImportSummary {
    db.import(all(), &lines_of(entries)[..]).unwrap()
}

/// The same as a binary stream, if it can be written.
fn frames_of(entries: &[Entry]) -> Option<Vec<u8>> {
    let (mut encoder, mut out) = (Encoder::default(), Vec::new());
    for entry in entries {
        encoder.entry(entry, &entry.id(), &mut out).ok()?;
    }
    Some(out)
}

/// Signs entries of one actor together.
fn sign_together(by: &Stranger, entries: &mut [Entry]) {
    let leaves: Vec<Hash> = entries.iter().map(|entry| merkle::leaf(&entry.id())).collect();
    let size = entries.len() as u32;
    let value = signature::sign_batch(&by.key, size, &merkle::root(leaves.clone()));
    for (index, entry) in (0..).zip(entries) {
        let path = merkle::inclusion_proof(&leaves[..], u64::from(index), u64::from(size)).unwrap();
        entry.signature = Signature::Batch(BatchSignature { value, index, size, path });
    }
}

/// The entry with a bit of its signature flipped: one of the value, then one of
/// the path.
fn flipped(entry: &Entry, bit: usize) -> Entry {
    let mut entry = entry.clone();
    let flip = |bytes: &mut [u8], bit: usize| bytes[bit / 8] ^= 1 << (bit % 8);
    match &mut entry.signature {
        Signature::Single(value) => flip(value, bit % 512),
        Signature::Batch(batch) if bit < 512 => flip(&mut batch.value, bit),
        Signature::Batch(batch) => {
            let place = (bit - 512) / 256 % batch.path.len();
            flip(&mut batch.path[place].0, bit % 256);
        }
        _ => unreachable!("there are two kinds"),
    }
    entry
}

fn node() -> (tempfile::TempDir, Db) {
    let tmp = scratch();
    let db = relaxed().actor("alice").create(tmp.path().join("db"), &passphrase()).unwrap();
    (tmp, db)
}

#[test]
fn a_known_id_with_a_bad_signature_is_refused() {
    let stranger = Stranger::default();
    let alone = stranger.history("alone", 1_000_000, 3);
    let mut whole = stranger.history("whole", 1_000_000, 8);
    sign_together(&stranger, &mut whole);
    let mut torn = stranger.history("torn", 1_000_000, 8);
    sign_together(&stranger, &mut torn);
    torn.truncate(3);
    let (_tmp, db) = node();
    for good in [&alone, &whole, &torn] {
        assert_eq!(import(&db, good).added, good.len() as u64);
        assert_eq!(import(&db, good).known, good.len() as u64);
        for bit in (0..512 + 3 * 256).step_by(37) {
            let bad: Vec<Entry> = good.iter().map(|entry| flipped(entry, bit)).collect();
            let binary = frames_of(&bad).filter(|_| bit < 512);
            for (stream, dry_run) in [(Some(lines_of(&bad)), false), (Some(lines_of(&bad)), true), (binary, false)] {
                let Some(stream) = stream else { continue };
                let summary = db.import(all().dry_run(dry_run), &stream[..]).unwrap();
                assert_eq!((summary.refused, summary.known, summary.added), (bad.len() as u64, 0, 0), "bit {bit}");
                assert!(summary.reasons.iter().all(|reason| reason.id.is_some()), "{:?}", summary.reasons);
            }
        }
        // What is here has not changed.
        assert_eq!(import(&db, good).known, good.len() as u64);
    }
    assert_eq!(db.ledger_size(), 14);
}

#[test]
fn a_known_id_with_another_good_signature_is_known() {
    let stranger = Stranger::default();
    let mut entries = stranger.history("x", 1_000_000, 5);
    let (_tmp, db) = node();
    assert_eq!(import(&db, &entries).added, 5);
    sign_together(&stranger, &mut entries);
    assert_eq!(import(&db, &entries).known, 5);
    let (_tmp, db) = node();
    assert_eq!(import(&db, &entries).added, 5);
    for entry in &mut entries {
        entry.signature = Signature::Single(signature::sign_single(&stranger.key, &entry.header.to_bytes()));
    }
    assert_eq!(import(&db, &entries).known, 5);
    // A signature of another batch, with one line of ours in it.
    let mut others = vec![stranger.entry(&Plan::first("y", 1_000_000, "1")), entries[2].clone()];
    sign_together(&stranger, &mut others);
    assert_eq!(import(&db, &others[1..]).known, 1);
}

/// A line that was refused came all the same: the trailer counts it.
#[test]
fn a_refused_known_line_counts_for_the_trailer() {
    let stranger = Stranger::default();
    let good = stranger.history("x", 1_000_000, 4);
    let (_tmp, db) = node();
    assert_eq!(import(&db, &good).added, 4);
    let mut bad = good.clone();
    bad[1] = flipped(&bad[1], 100);
    let root = merkle::root(good.iter().map(|entry| merkle::leaf(&entry.id())));
    let mut stream = Vec::new();
    StreamHeader::default().encode(&mut stream);
    stream.extend(lines_of(&bad));
    Trailer { entries: 4, root, digest: None, checkpoint: None }.encode(&mut stream);
    let summary = db.import(all(), &stream[..]).unwrap();
    assert_eq!((summary.refused, summary.known, summary.stream.is_complete()), (1, 3, true));
    assert_eq!(summary.reasons[0].line, 3);
}

#[test]
fn an_own_export_that_comes_back_is_known() {
    let (_tmp, db) = node();
    for n in 0..40 {
        db.put("x", &n.to_string()).unwrap();
    }
    let mut stream = Vec::new();
    db.export(ExportOptions::new(), &mut stream).unwrap();
    let summary = db.import(ImportOptions::new(), &stream[..]).unwrap();
    assert_eq!((summary.known, summary.refused), (40, 0));
    let entries: Vec<Entry> = stream
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(|line| match Line::parse(line, 1).unwrap() {
            Line::Entry(entry) => Some(*entry),
            _ => None,
        })
        .collect();
    let bad: Vec<Entry> = entries.iter().map(|entry| flipped(entry, 3)).collect();
    assert_eq!(import(&db, &bad).refused, 40);
}

/// Nothing behind a frame that is refused can be read; the reason says which it
/// was.
#[test]
fn a_refused_frame_names_its_reason() {
    let stranger = Stranger::default();
    let good = stranger.history("x", 1_000_000, 3);
    let mut stream = frames_of(&good[..2]).unwrap();
    // A frame of one byte: a kind that does not exist here.
    stream.extend([1, 9]);
    let (_tmp, db) = node();
    let mut told = Vec::new();
    let mut tell = |refusal: &thingdb::Refusal| told.push(refusal.clone());
    let options = all().refused(&mut tell);
    let summary = db.import(options, &stream[..]).unwrap();
    assert_eq!((summary.added, summary.refused), (2, 0));
    let [reason] = &summary.reasons[..] else { panic!("{:?}", summary.reasons) };
    assert_eq!((reason.line, reason.column, reason.id), (3, None, None));
    assert!(reason.reason.contains("frame kind"), "{reason:?}");
    assert_eq!(told, summary.reasons);
}
