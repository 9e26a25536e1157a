//! Every field of an envelope, flipped on its way. Envelopes are not signed, so
//! an entry cannot be refused for them; but it must never be read as something
//! that its writer did not write, it is told that it cannot be read, and a good
//! copy that comes later makes it readable.

use std::path::Path;

use thingdb::format::{Entry, Envelope, KekPacket, Line, Recipients};
use thingdb::{
    Audience, Content, Db, Draft, ExportOptions, ImportOptions, ImportSummary, KdfParams, Passphrase, TrustPolicy,
};
use thingdb_tests::database::{assert_intact, passphrase, relaxed, scratch};
use thingdb_tests::stranger::{line_of, lines_of};

fn node(dir: &Path, name: &str) -> Db {
    relaxed().actor(name).create(dir.join(name), &passphrase()).unwrap()
}

/// What the entry with a number says.
fn data(n: usize) -> String {
    format!("what was meant for number {n}")
}

/// A writer with `count` entries, a thing each, sealed to a reader who knows it.
fn writer_and_reader(dir: &Path, count: usize) -> (Db, Db) {
    let (a, b) = (node(dir, "alice"), node(dir, "bob"));
    a.add_peer("reader", &b.card().unwrap()).unwrap();
    b.add_peer("writer", &a.card().unwrap()).unwrap();
    a.set_audience(Audience { default: vec!["reader".into()], prefixes: vec![] }).unwrap();
    let drafts: Vec<Draft> =
        (0..count).map(|n| Draft::bytes(&format!("t{n:05}"), "text/plain", data(n)).unwrap()).collect();
    drafts.chunks(1000).for_each(|some| drop(a.write_batch(some.to_vec()).unwrap()));
    (a, b)
}

/// The entries, in the order in which they were written.
fn entries(db: &Db, options: ExportOptions<'_>) -> Vec<Entry> {
    let mut out = Vec::new();
    db.export(options, &mut out).unwrap();
    let lines = out.split(|byte| *byte == b'\n').filter_map(|line| match Line::parse(line, 1).unwrap() {
        Line::Entry(entry) => Some(*entry),
        _ => None,
    });
    lines.collect()
}

/// Flips a bit of fields that are counted through, given the bits of each.
fn flip_in(mut bit: usize, bits: [usize; 4], fields: [&mut [u8]; 4]) {
    for (bits, field) in bits.into_iter().zip(fields) {
        assert_eq!(bits, field.len() * 8);
        if bit < bits {
            field[bit / 8] ^= 1 << (bit % 8);
            return;
        }
        bit -= bits;
    }
    panic!("there are not so many bits");
}

/// Whether the entry with a number can be read. If it can, it says what it should.
fn is_readable(db: &Db, n: usize) -> bool {
    let record = db.get(&format!("t{n:05}")).unwrap().unwrap_or_else(|| panic!("number {n} is not here"));
    match record.content() {
        Content::Open(_) => {
            assert_eq!(record.data(), Some(data(n).as_bytes()), "number {n} is read as something else");
            true
        }
        Content::Undecryptable => {
            assert_eq!((record.data(), record.actor_name()), (None, record.is_trusted().then_some("alice")));
            false
        }
        other => panic!("number {n}: {other:?}"),
    }
}

/// Nothing is wrong, and as many entries as said cannot be read.
fn assert_honest(db: &Db, entries: usize, undecryptable: usize) {
    let report = assert_intact(db);
    assert_eq!((report.entries, report.undecryptable, report.stubs), (entries as u64, undecryptable as u64, 0));
}

#[test]
fn a_flipped_envelope_to_a_peer_is_never_read_and_a_good_copy_completes_it() {
    /// Bits of `from`, of the CEK, of the recipient's name, and of its packet:
    /// the encapsulated key and the sealed KEK.
    const FIELDS: [usize; 4] = [16 * 8, 48 * 8, 8 * 8, 80 * 8];
    let count: usize = FIELDS.iter().sum();
    let tmp = scratch();
    let (a, b) = writer_and_reader(tmp.path(), count);
    let reader = b.card().unwrap().encryption_key.recipient_id();
    let good = entries(&a, ExportOptions::new());
    assert_eq!(good.len(), count);
    let is_to_reader = |packet: &KekPacket| matches!(packet, KekPacket::X25519 { id, .. } if *id == reader);
    let flipped = good.iter().enumerate().map(|(n, entry)| {
        let mut entry = entry.clone();
        let envelope = entry.envelopes.iter_mut().find(|envelope| envelope.recipients.iter().any(is_to_reader));
        let Envelope { from, cek, recipients } = envelope.expect("an envelope to the reader");
        let mut packets = recipients.to_vec();
        let packet = packets.iter_mut().find(|packet| is_to_reader(packet)).expect("a packet for the reader");
        let KekPacket::X25519 { id, kek } = packet else { unreachable!("it was found by its kind") };
        flip_in(n, FIELDS, [&mut from.0[..], &mut cek[..], &mut id.0[..], &mut kek[..]]);
        *recipients = Recipients::new(packets).unwrap();
        entry
    });
    let flipped: Vec<Entry> = flipped.collect();
    assert!(flipped.iter().zip(&good).all(|(flipped, good)| flipped != good && flipped.id() == good.id()));

    let summary = b.import(ImportOptions::new(), &lines_of(&flipped)[..]).unwrap();
    assert_eq!((summary.added, summary.refused, summary.pending), (count as u64, 0, 0), "{:?}", summary.reasons);
    assert!((0..count).all(|n| !is_readable(&b, n)));
    assert_honest(&b, count, count);
    // What was flipped comes once more, and is passed on: nothing gets better or
    // worse by it.
    assert_eq!(b.import(ImportOptions::new(), &lines_of(&flipped)[..]).unwrap().added, 0);
    let c = node(tmp.path(), "carol");
    let passed_on = lines_of(&entries(&b, ExportOptions::new()));
    let all = || ImportOptions::new().trust(TrustPolicy::All);
    assert_eq!(c.import(all(), &passed_on[..]).unwrap().added, count as u64);
    assert_honest(&b, count, count);

    let summary = b.import(ImportOptions::new(), &lines_of(&good)[..]).unwrap();
    assert_eq!((summary.completed, summary.refused), (count as u64, 0), "{:?}", summary.reasons);
    assert!((0..count).all(|n| is_readable(&b, n)));
    assert_honest(&b, count, 0);
    // Once it can be read, a flipped copy takes nothing away.
    let summary = b.import(ImportOptions::new(), &lines_of(&flipped)[..]).unwrap();
    assert_eq!((summary.added, summary.refused), (0, 0));
    assert!((0..count).all(|n| is_readable(&b, n)));
}

#[test]
fn a_flipped_archive_is_never_read_and_a_good_copy_completes_it() {
    /// Bits of `from`, of the CEK, of the salt, and of the sealed KEK.
    const FIELDS: [usize; 4] = [16 * 8, 48 * 8, 16 * 8, 48 * 8];
    let parameters = [(9, 1, 1), (16, 1, 1), (8, 2, 1), (16, 1, 2), (136, 1, 1), (8, 3, 1)];
    let bits: usize = FIELDS.iter().sum();
    let count = bits + parameters.len();
    let tmp = scratch();
    let (a, _) = writer_and_reader(tmp.path(), count);
    let archive = Passphrase::new("for the archive only");
    let good = entries(&a, ExportOptions::new().passphrase(&archive, KdfParams::new(8, 1, 1).unwrap()));
    let flipped = good.iter().enumerate().map(|(n, entry)| {
        let mut entry = entry.clone();
        let is_archive = |envelope: &&mut Envelope| matches!(envelope.recipients[..], [KekPacket::Passphrase { .. }]);
        let envelope = entry.envelopes.iter_mut().find(is_archive).expect("an envelope to the passphrase");
        let Envelope { from, cek, recipients } = envelope;
        let [KekPacket::Passphrase { salt, kdf, kek }] = &recipients[..] else { unreachable!("it was found so") };
        let (mut salt, mut kdf, mut kek) = (*salt, *kdf, *kek);
        match n.checked_sub(bits).map(|n| parameters[n]) {
            Some((memory, passes, lanes)) => kdf = KdfParams::new(memory, passes, lanes).unwrap(),
            None => flip_in(n, FIELDS, [&mut from.0[..], &mut cek[..], &mut salt[..], &mut kek[..]]),
        }
        *recipients = Recipients::new(vec![KekPacket::Passphrase { salt, kdf, kek }]).unwrap();
        entry
    });
    let flipped: Vec<Entry> = flipped.collect();
    assert!(flipped.iter().zip(&good).all(|(flipped, good)| flipped != good && flipped.id() == good.id()));

    let c = node(tmp.path(), "carol");
    c.trust_actor("alice", a.own_actors()[0].key).unwrap();
    let import = |lines: &[u8]| -> ImportSummary {
        let options = ImportOptions::new().trust(TrustPolicy::All).passphrase(&archive);
        let summary = c.import(options, lines).unwrap();
        assert_eq!((summary.refused, summary.pending), (0, 0), "{:?}", summary.reasons);
        summary
    };
    // No import tries more than sixteen packets.
    let added: u64 = flipped.chunks(16).map(|some| import(&lines_of(some)).added).sum();
    assert_eq!(added, count as u64);
    assert!((0..count).all(|n| !is_readable(&c, n)));
    assert_honest(&c, count, count);
    assert_eq!(import(&lines_of(&good)).completed, count as u64);
    assert!((0..count).all(|n| is_readable(&c, n)));
    assert_honest(&c, count, 0);
    // A packet that asks for more than a reader grants is refused with its line.
    let text = String::from_utf8(line_of(&good[0])).unwrap();
    for (from, to) in [("\"m\":8,", "\"m\":1048577,"), ("\"t\":1,", "\"t\":65,"), ("\"p\":1,", "\"p\":0,")] {
        let altered = text.replacen(from, to, 1);
        assert_ne!(altered, text, "{from}");
        let options = ImportOptions::new().trust(TrustPolicy::All).passphrase(&archive);
        let summary = c.import(options, altered.as_bytes()).unwrap();
        assert!(summary.refused == 1 && summary.reasons[0].reason.contains("allowed are"), "{summary:?}");
    }
}

/// The same in the text of the line, where most of what comes out is no line at
/// all: refused, or stored and told to be unreadable, or read as it was meant.
#[test]
fn every_byte_of_the_envelopes_of_a_line_flipped() {
    const MASKS: [u8; 4] = [1, 2, 0x20, 0x80];
    /// Where the envelopes of a line begin: they are its last member.
    fn envelopes_of(line: &[u8]) -> usize {
        line.windows(13).position(|some| some == b",\"envelopes\":").expect("there are envelopes")
    }
    let tmp = scratch();
    for name in ["probe", "nodes"] {
        std::fs::create_dir(tmp.path().join(name)).unwrap();
    }
    let (probe, _) = writer_and_reader(&tmp.path().join("probe"), 1);
    let line = line_of(&entries(&probe, ExportOptions::new())[0]);
    let count = (line.len() - envelopes_of(&line) - 1) * MASKS.len();

    let (a, b) = writer_and_reader(&tmp.path().join("nodes"), count);
    let good: Vec<Vec<u8>> = entries(&a, ExportOptions::new()).iter().map(line_of).collect();
    let flipped = good.iter().enumerate().flat_map(|(n, line)| {
        let mut line = line.clone();
        let at = envelopes_of(&line) + n / MASKS.len();
        line[at] ^= MASKS[n % MASKS.len()];
        // Two lines, neither of them whole, would be counted twice.
        if line[at] == b'\n' {
            line[at] = b'?';
        }
        line
    });
    let flipped: Vec<u8> = flipped.collect();
    let summary = b.import(ImportOptions::new(), &flipped[..]).unwrap();
    assert_eq!((summary.added + summary.refused, summary.pending), (count as u64, 0), "{:?}", summary.reasons);
    let is_here = |n: usize| b.get(&format!("t{n:05}")).unwrap().is_some();
    let here: Vec<bool> = (0..count).map(is_here).collect();
    assert_eq!(here.iter().filter(|here| **here).count() as u64, summary.added);
    let unreadable = (0..count).filter(|n| here[*n] && !is_readable(&b, *n)).count();
    println!("{count} flips: {} refused, {} stored, {unreadable} of them unreadable", summary.refused, summary.added);
    assert!(summary.refused > summary.added && unreadable > 100, "the flips hit what they should");
    assert_honest(&b, summary.added as usize, unreadable);

    let refused = summary.refused;
    let summary = b.import(ImportOptions::new(), &good.concat()[..]).unwrap();
    assert_eq!((summary.added, summary.refused), (refused, 0), "{:?}", summary.reasons);
    assert!(summary.completed >= unreadable as u64, "{summary:?}");
    assert!((0..count).all(|n| is_readable(&b, n)));
    assert_honest(&b, count, 0);
}
