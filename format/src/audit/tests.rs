use super::*;
use crate::{
    Body, CardFields, Cek, Checkpoint, DecryptionKey, Fields, Signature, SigningKey, Suite, line, merkle, payload,
    signature,
};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn card() -> Card {
    let fields = CardFields {
        time: Time::from_micros(0).unwrap(),
        node_key: key(1).node_key(),
        encryption_key: DecryptionKey::from_bytes([6; 32]).encryption_key(),
        tls: None,
        name: String::new(),
        actors: vec![(key(2).actor(), "alice".into())],
    };
    Card::sign(fields, &key(1)).unwrap()
}

fn entry(thing: &str, prev: &[&Entry], seq: u64, time: u64) -> Entry {
    let body = Body::new("alice", "create", "application/json", b"{}").unwrap();
    let sealed = payload::seal(Suite::Aes256Gcm, &Cek::from_bytes([7; 32]), body).unwrap();
    let mut prev: Vec<EntryId> = prev.iter().map(|entry| entry.id()).collect();
    prev.sort_unstable_by_key(|id| id.0);
    let header = Header::new(Fields {
        suite: Suite::Aes256Gcm,
        thing: ThingId::new(thing).unwrap(),
        seq,
        time: Time::from_micros(time).unwrap(),
        origin: key(1).node_key().origin(),
        actor: key(2).actor(),
        prev,
        data_hash: sealed.data_hash,
        payload_hash: sealed.payload_hash,
        payload_len: u32::try_from(sealed.payload.len()).unwrap(),
    })
    .unwrap();
    let signature = Signature::Single(signature::sign_single(&key(2), &header.to_bytes()));
    Entry { header, signature, payload: Some(sealed.payload), envelopes: vec![] }
}

/// Two things, one of them with a fork that is joined.
fn ledger() -> Vec<Entry> {
    let a = entry("a", &[], 1, 10);
    let b = entry("a", &[&a], 2, 20);
    let c = entry("a", &[&a], 2, 21);
    let d = entry("a", &[&b, &c], 3, 30);
    let e = entry("b", &[], 1, 5);
    vec![a, b, c, d, e]
}

fn root(entries: &[Entry]) -> Hash {
    merkle::root(entries.iter().map(|entry| merkle::leaf(&entry.id())))
}

fn note(entries: &[Entry]) -> SignedCheckpoint {
    let origin = key(1).node_key().origin();
    Checkpoint::new(origin, entries.len() as u64, root(entries)).sign(&key(1)).unwrap()
}

fn stream(entries: &[Entry], note: SignedCheckpoint) -> Vec<u8> {
    let mut out = Vec::new();
    StreamHeader { card: Some(card()), checkpoint: None }.encode(&mut out);
    let mut digest = crate::stream::Digest::default();
    for entry in entries {
        let start = out.len();
        line::encode(entry, &mut out);
        digest.push(&hash_of_line(&out[start..]));
    }
    let digest = Some(digest.value());
    Trailer { entries: entries.len() as u64, root: root(entries), digest, checkpoint: Some(note) }.encode(&mut out);
    out
}

fn bare(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    entries.iter().for_each(|entry| line::encode(entry, &mut out));
    out
}

fn audited(mut audit: Audit, stream: &[u8]) -> Report {
    let mut memos = Memos::default();
    for (line, number) in stream.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        audit.take(examine(line, number, &mut memos));
    }
    audit.finish()
}

fn faults(report: &Report) -> Vec<Fault> {
    report.problems.iter().map(|problem| problem.fault).collect()
}

#[test]
fn a_whole_ledger_with_a_kept_checkpoint_is_whole() {
    let all = ledger();
    for kept in 0..=all.len() {
        let audit = Audit::new().trust(&card()).kept(note(&all[..kept]));
        let report = audited(audit, &stream(&all, note(&all)));
        assert!(report.is_whole(), "{report:?}");
        assert_eq!((report.entries, report.things, report.actors, report.forked, report.strangers), (5, 2, 1, 0, 0));
    }
    let report = audited(Audit::new(), &stream(&all, note(&all)));
    assert!(report.is_whole() && report.strangers == 5);
}

#[test]
fn a_kept_checkpoint_shows_another_or_a_smaller_ledger() {
    let all = ledger();
    let mut other = all.clone();
    other[0] = entry("z", &[], 1, 1);
    let trusting = || Audit::new().trust(&card());
    let report = audited(trusting().kept(note(&other[..2])), &stream(&all, note(&all)));
    assert_eq!((report.kept, &faults(&report)[..]), (Some(Standing::Contradicted), &[Fault::RolledBack][..]));
    let report = audited(trusting().kept(note(&all)), &stream(&all[..3], note(&all[..3])));
    assert_eq!((report.kept, &faults(&report)[..]), (Some(Standing::Smaller), &[Fault::Truncated][..]));
    // Of a part only a ledger of one size can be compared.
    let part = stream(&all[1..3], note(&all));
    let report = audited(trusting().kept(note(&all[..2])), &part);
    assert_eq!((report.kept, report.stream.clone(), report.is_whole()), (Some(Standing::Unknown), Whole::Part, false));
    let report = audited(trusting().kept(note(&other)), &part);
    assert_eq!(report.kept, Some(Standing::Contradicted));
    // Entries that nobody framed can be held against it, too.
    let report = audited(trusting().kept(note(&all[..4])), &bare(&all));
    assert_eq!((report.kept, report.stream), (Some(Standing::Holds), Whole::Bare));
    // One that somebody else signed says nothing.
    let foreign = Checkpoint::new(key(9).node_key().origin(), 5, root(&all)).sign(&key(9)).unwrap();
    let report = audited(trusting().kept(foreign), &stream(&all, note(&all)));
    assert_eq!((report.kept, &faults(&report)[..]), (Some(Standing::Unknown), &[Fault::OtherNode][..]));
}

#[test]
fn links_are_checked_in_any_order() {
    let all = ledger();
    let mut backwards = all.clone();
    backwards.reverse();
    let report = audited(Audit::new(), &bare(&backwards));
    assert_eq!((report.problems_total, report.forked, report.things), (0, 0, 2), "{:?}", report.problems);
    // A head that nothing joins.
    assert_eq!(audited(Audit::new(), &bare(&all[..3])).forked, 1);
    let report = audited(Audit::new(), &bare(&all[1..]));
    assert_eq!(faults(&report), [Fault::MissingPrev; 2]);
    assert_eq!((report.failures, report.forked), (0, 0));
    let a = &all[0];
    for bad in [entry("a", &[a], 3, 20), entry("a", &[a], 2, 10), entry("b", &[a], 2, 20)] {
        for order in [[a.clone(), bad.clone()], [bad.clone(), a.clone()]] {
            assert_eq!(faults(&audited(Audit::new(), &bare(&order))), [Fault::BadLink]);
        }
    }
    let report = audited(Audit::new(), &bare(&[&all[..], &all[..2]].concat()));
    assert_eq!((report.repeated, report.entries, report.problems_total), (2, 7, 0));
}

#[test]
fn every_cut_and_every_flipped_bit_shows() {
    let one = &ledger()[4..];
    let good = stream(one, note(one));
    let trusting = || Audit::new().trust(&card());
    assert!(audited(trusting(), &good).is_whole());
    for len in 0..good.len() - 1 {
        let report = audited(trusting(), &good[..len]);
        let is_cut = report.stream == Whole::Cut;
        assert!(is_cut || len < b"{\"thingdb\":".len(), "{len}: {:?}", report.stream);
        assert!(!report.is_whole());
    }
    for bit in 0..good.len() * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let report = audited(trusting(), &flipped);
        assert!(report.stream != Whole::Whole || report.failures > 0, "bit {bit}: {report:?}");
    }
}

#[test]
fn what_somebody_else_made_is_told() {
    let all = ledger();
    let other = Card::sign(CardFields { node_key: key(9).node_key(), ..(*card()).clone() }, &key(9)).unwrap();
    let report = audited(Audit::new().trust(&other), &stream(&all, note(&all)));
    assert_eq!(faults(&report), [Fault::OtherNode]);
    assert_eq!(report.strangers, 5);
    let mut forged = all.clone();
    forged[1].signature = Signature::Single([0; 64]);
    let report = audited(Audit::new().trust(&card()), &stream(&forged, note(&forged)));
    assert_eq!(faults(&report), [Fault::BadSignature, Fault::MissingPrev]);
    let thinned = [&all[..4]].concat();
    let report = audited(Audit::new().trust(&card()), &stream(&thinned, note(&all)));
    assert_eq!((report.stream, report.problems_total), (Whole::Part, 0));
}

/// Entries of a ledger from a place on, as `export --since` writes them.
fn since(entries: &[Entry], from: usize) -> Vec<u8> {
    stream(&entries[from..], note(entries))
}

#[test]
fn streams_that_are_checked_together_are_what_the_newest_checkpoint_says() {
    let all = ledger();
    let (whole, older, rest) = (since(&all, 0), since(&all[..3], 0), since(&all, 3));
    let trusting = || Audit::new().trust(&card());
    let cases: [(&[&[u8]], Whole); 6] = [
        (&[&older, &rest], Whole::Whole),
        (&[&whole, &older], Whole::Whole),
        (&[&older, &whole], Whole::Whole),
        (&[&whole, &rest, &older], Whole::Whole),
        (&[&rest, &older], Whole::Part),
        (&[&rest], Whole::Part),
    ];
    for (streams, is) in cases {
        let report = audited(trusting(), &streams.concat());
        assert_eq!((&report.stream, report.failures), (&is, 0), "{} streams: {:?}", streams.len(), report.problems);
        assert_eq!(report.checkpoint.map(|(_, note)| note.claimed().size), Some(5));
    }
}

#[test]
fn two_ledgers_that_one_node_signed_show_in_whatever_order_they_come() {
    let all = ledger();
    let mut other = all[..4].to_vec();
    other[3] = entry("z", &[], 1, 1);
    let (whole, forked, fork) = (since(&all, 0), since(&other, 0), since(&other, 3));
    let same_size = since(&[&other[..], &[entry("y", &[], 1, 1)]].concat(), 4);
    let older = since(&all[..3], 0);
    let thinned = stream(&all[1..3], note(&other));
    let trusting = || Audit::new().trust(&card());
    let cases: [&[&[u8]]; 9] = [
        &[&whole, &forked],
        &[&forked, &whole],
        &[&whole, &fork],
        &[&fork, &whole],
        &[&older, &fork, &whole],
        &[&older, &since(&all, 3), &fork],
        &[&thinned, &whole],
        &[&whole, &thinned],
        &[&same_size, &since(&all, 3)],
    ];
    for (number, streams) in cases.iter().enumerate() {
        let report = audited(trusting(), &streams.concat());
        assert_eq!(faults(&report).iter().filter(|fault| **fault == Fault::RolledBack).count(), 1, "case {number}");
        assert!(!report.is_whole(), "case {number}");
    }
}
