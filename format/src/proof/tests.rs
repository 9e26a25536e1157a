use super::*;
use crate::audit::{Fault, Memos, Standing};
use crate::merkle;
use crate::stream::{Digest, hash_of_line};
use crate::{
    Body, CardFields, Checkpoint, DecryptionKey, EntryId, Envelope, Fields, Header, Kek, KekPacket, Signature,
    SigningKey, Suite, Time, envelope, payload, signature,
};

mod heads;

fn node() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn fields_of(key: &SigningKey) -> CardFields {
    CardFields {
        time: Time::from_micros(0).unwrap(),
        node_key: key.node_key(),
        encryption_key: DecryptionKey::from_bytes([6; 32]).encryption_key(),
        tls: None,
        name: "plant".into(),
        actors: vec![(key.actor(), "alice".into())],
    }
}

fn card_of(key: &SigningKey) -> Card {
    Card::sign(fields_of(key), key).unwrap()
}

fn cek(n: u64) -> Cek {
    Cek::from_bytes(Hash::of(&n.to_be_bytes()).0)
}

/// One entry of `thing`, the `n`-th that is made.
fn made(n: u64, thing: &str, seq: u64, prev: Vec<EntryId>) -> Entry {
    let body = Body::new("alice", "update", "application/json", format!("{{\"n\":{n}}}").as_bytes()).unwrap();
    let sealed = payload::seal(Suite::Aes256Gcm, &cek(n), body).unwrap();
    let header = Header::new(Fields {
        suite: Suite::Aes256Gcm,
        thing: ThingId::new(thing).unwrap(),
        seq,
        time: Time::from_micros(1000 + n).unwrap(),
        origin: node().node_key().origin(),
        actor: node().actor(),
        prev,
        data_hash: sealed.data_hash,
        payload_hash: sealed.payload_hash,
        payload_len: u32::try_from(sealed.payload.len()).unwrap(),
    })
    .unwrap();
    let signature = Signature::Single(signature::sign_single(&node(), &header.to_bytes()));
    Entry { header, signature, payload: Some(sealed.payload), envelopes: vec![] }
}

/// A ledger of `size` entries of three things in turns: every entry at place n
/// has the CEK n. With `fork`, the thing `a` has two heads in the end.
struct World {
    entries: Vec<Entry>,
    leaves: Vec<Hash>,
}

impl World {
    fn new(size: u64) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        for n in 0..size {
            let thing = ["a", "b", "c"][(n % 3) as usize];
            let prev = n.checked_sub(3).map(|before| entries[before as usize].id());
            entries.push(made(n, thing, n / 3 + 1, prev.into_iter().collect()));
        }
        Self::of(entries)
    }

    fn of(entries: Vec<Entry>) -> Self {
        let leaves = entries.iter().map(|entry| merkle::leaf(&entry.id())).collect();
        Self { entries, leaves }
    }

    fn note(&self, size: u64) -> SignedCheckpoint {
        let root = merkle::root(self.leaves[..size as usize].iter().copied());
        Checkpoint::new(node().node_key().origin(), size, root).sign(&node()).unwrap()
    }

    fn header(&self, subject: Subject) -> ProofHeader {
        let checkpoint = self.note(self.leaves.len() as u64);
        ProofHeader { subject, card: card_of(&node()), checkpoint, earlier: vec![], heads: None }
    }

    /// The file with the entries at these places, all shown.
    fn file(&self, header: &ProofHeader, places: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = ProofEncoder::new(header, &mut out);
        for place in places {
            let entry = self.entries[*place as usize].clone();
            encoder.entry(&self.leaves[..], *place, Some(cek(*place)), entry, &mut out).unwrap();
        }
        encoder.end(&self.leaves[..], &mut out).unwrap();
        out
    }

    /// That of the history of the thing `a`.
    fn history(&self) -> Vec<u8> {
        let places: Vec<u64> = (0..self.leaves.len() as u64).step_by(3).collect();
        self.file(&self.header(history("a")), &places)
    }
}

fn history(thing: &str) -> Subject {
    Subject::History { thing: ThingId::new(thing).unwrap() }
}

fn check_with(check: ProofCheck, file: &[u8]) -> (Vec<Proven>, ProofReport) {
    let (mut check, mut memos, mut proven) = (check, Memos::default(), Vec::new());
    for (line, number) in file.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        proven.extend(check.take(examine(line, number, &mut memos)));
    }
    (proven, check.finish())
}

fn check(file: &[u8]) -> (Vec<Proven>, ProofReport) {
    check_with(ProofCheck::new().trust(&card_of(&node())), file)
}

/// What is wrong with a file, which must be something.
fn faults(file: &[u8]) -> Vec<Fault> {
    let (_, report) = check(file);
    assert!(!report.is_good());
    report.problems.iter().map(|problem| problem.fault).collect()
}

/// The last line of a file made anew, as whoever writes it can.
fn framed_anew(lines: &[Vec<u8>]) -> Vec<u8> {
    let (last, before) = lines.split_last().unwrap();
    let mut end = ProofEnd::decode(last, 1).unwrap();
    let mut digest = Digest::default();
    before.iter().for_each(|line| digest.push(&hash_of_line(line)));
    end.digest = digest.value();
    end.entries = before.len() as u64 - 1;
    let mut out = before.concat();
    end.encode(&mut out);
    out
}

fn lines(file: &[u8]) -> Vec<Vec<u8>> {
    file.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn a_history_is_shown_whole_from_every_size_of_ledger() {
    for size in (1..=40).chain([64, 65, 127, 128, 200]) {
        let (proven, report) = check(&World::new(size).history());
        assert!(report.is_good(), "{size}: {report:?}");
        assert_eq!((report.entries, report.anchor), (size.div_ceil(3), Some(Anchor::Trusted)));
        assert_eq!(report.heads.len(), 1);
        for (n, found) in proven.iter().enumerate() {
            let Content::Shown(body) = &found.content else { panic!("{size}: it is not shown") };
            assert_eq!(body.data(), format!("{{\"n\":{}}}", n * 3).as_bytes());
            assert_eq!((found.place, found.name.as_deref()), (n as u64 * 3, Some("alice")));
        }
    }
}

#[test]
fn any_places_of_any_ledger_lead_to_its_root() {
    let world = World::new(23);
    let subject = Subject::Entries { thing: ThingId::new("a").unwrap() };
    let of_a: Vec<u64> = (0..23).step_by(3).collect();
    for mask in 1_u32..1 << of_a.len() {
        let places: Vec<u64> =
            of_a.iter().enumerate().filter(|(n, _)| mask >> n & 1 == 1).map(|(_, place)| *place).collect();
        let (proven, report) = check(&world.file(&world.header(subject.clone()), &places));
        assert!(report.is_good(), "{places:?}: {report:?}");
        assert_eq!(proven.iter().map(|found| found.place).collect::<Vec<_>>(), places);
    }
}

#[test]
fn gaps_have_the_fewest_hashes_and_cover_all() {
    for start in 0..70_u64 {
        for end in start..70 {
            let mut at = start;
            for (from, height) in gap_subtrees(start, end) {
                assert_eq!(from, at);
                assert!(from.is_multiple_of(1 << height));
                at += 1 << height;
            }
            assert_eq!(at, end);
        }
    }
    assert_eq!(gap_subtrees(0, crate::checkpoint::MAX_SIZE).count(), 53);
    assert!(gap_subtrees(1, crate::checkpoint::MAX_SIZE).count() <= 128);
    assert_eq!(gap_subtrees(5, 2).count(), 0);
}

#[test]
fn what_is_withheld_or_sealed_is_told_apart() {
    let world = World::new(9);
    let mut out = Vec::new();
    let mut encoder = ProofEncoder::new(&world.header(history("a")), &mut out);
    for (place, key, payload) in [(0, true, true), (3, false, true), (6, false, false)] {
        let mut entry = world.entries[place as usize].clone();
        entry.payload = entry.payload.filter(|_| payload);
        encoder.entry(&world.leaves[..], place, key.then(|| cek(place)), entry, &mut out).unwrap();
    }
    encoder.end(&world.leaves[..], &mut out).unwrap();
    let (proven, report) = check(&out);
    assert!(report.is_good());
    assert_eq!((report.shown, report.sealed, report.withheld), (1, 1, 1));
    assert_eq!(proven.iter().map(|found| found.content.as_str()).collect::<Vec<_>>(), ["shown", "sealed", "withheld"]);
}

#[test]
fn what_is_sealed_to_a_reader_opens_for_it_alone() {
    let world = World::new(9);
    let (key, other) = (DecryptionKey::from_bytes([6; 32]), DecryptionKey::from_bytes([7; 32]));
    let (from, kek) = (node().node_key().origin(), Kek::from_bytes([4; 32]));
    let packet = KekPacket::seal_x25519(&kek, from, &key.encryption_key(), &mut rand::rng()).unwrap();
    let mut out = Vec::new();
    let mut encoder = ProofEncoder::new(&world.header(history("a")), &mut out);
    for place in [0, 3, 6] {
        let mut entry = world.entries[place as usize].clone();
        // The last one has an envelope that does not open it.
        let sealed = envelope::seal_cek(&kek, &entry.id(), &cek(if place == 6 { 99 } else { place }));
        entry.envelopes.push(Envelope::new(from, sealed, vec![packet.clone()]).unwrap());
        encoder.entry(&world.leaves[..], place, None, entry, &mut out).unwrap();
    }
    encoder.end(&world.leaves[..], &mut out).unwrap();
    for (key, words) in [(key, ["opened", "opened", "sealed"]), (other, ["sealed"; 3])] {
        let (reader, mut check, mut memos) = (ProofReader::new(key), ProofCheck::new(), Memos::default());
        let mut found = Vec::new();
        for (line, number) in lines(&out).iter().zip(1..) {
            found.extend(check.take(examine_as(line, number, &mut memos, Some(&reader))));
        }
        assert!(check.finish().is_good());
        assert_eq!(found.iter().map(|found| found.content.as_str()).collect::<Vec<_>>(), words);
    }
    assert!(check(&out).1.is_good());
}

#[test]
fn a_range_begins_and_ends_where_it_says() {
    let world = World::new(30);
    let thing = ThingId::new("a").unwrap();
    let range = world.header(Subject::Range { thing, from: 3, to: 6 });
    let (_, report) = check(&world.file(&range, &[6, 9, 12, 15]));
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.outside, 1);
    assert_eq!(faults(&world.file(&range, &[6, 12, 15])), [Fault::MissingPrev]);
    assert_eq!(faults(&world.file(&range, &[6, 9, 12, 15, 18])), [Fault::BadLink]);
    assert_eq!(faults(&world.file(&range, &[6, 9, 10, 12, 15])), [Fault::BadLink]);
}

#[test]
fn an_entry_before_its_prev_shows() {
    let first = made(5, "a", 1, vec![]);
    let second = made(1, "a", 2, vec![first.id()]);
    let world = World::of(vec![second, first]);
    let thing = ThingId::new("a").unwrap();
    for subject in [Subject::Entries { thing: thing.clone() }, Subject::Range { thing, from: 2, to: 9 }] {
        let mut out = Vec::new();
        let mut encoder = ProofEncoder::new(&world.header(subject), &mut out);
        for place in [0, 1] {
            let entry = world.entries[place as usize].clone();
            encoder.entry(&world.leaves[..], place, None, entry, &mut out).unwrap();
        }
        encoder.end(&world.leaves[..], &mut out).unwrap();
        assert!(faults(&out).contains(&Fault::BadLink));
    }
}

#[test]
fn names_come_from_the_card_that_the_reader_has() {
    let world = World::new(3);
    let mut header = world.header(history("a"));
    let fields = CardFields { actors: vec![(node().actor(), "mallory".into())], ..fields_of(&node()) };
    header.card = Card::sign(fields, &node()).unwrap();
    let file = world.file(&header, &[0]);
    let name = |check| check_with(check, &file).0[0].name.clone();
    assert_eq!(name(ProofCheck::new().trust(&card_of(&node()))).as_deref(), Some("alice"));
    assert_eq!(name(ProofCheck::new()).as_deref(), Some("mallory"));
    let nobody = Card::sign(CardFields { actors: vec![], ..fields_of(&node()) }, &node()).unwrap();
    assert_eq!(name(ProofCheck::new().trust(&nobody)), None);
    let trusting = ProofCheck::new().trust_fingerprint(node().node_key().fingerprint());
    assert_eq!(check_with(trusting, &file).1.anchor, Some(Anchor::Trusted));
    let other = ProofCheck::new().trust_fingerprint(Hash([1; 32]));
    assert_eq!(check_with(other, &file).1.problems[0].fault, Fault::OtherNode);
}

#[test]
fn a_fork_has_two_heads() {
    let first = made(0, "a", 1, vec![]);
    let id = first.id();
    let world = World::of(vec![first, made(1, "a", 2, vec![id]), made(2, "a", 2, vec![id])]);
    let (_, report) = check(&world.file(&world.header(history("a")), &[0, 1, 2]));
    assert!(report.is_good());
    assert_eq!(report.heads, [world.entries[1].id(), world.entries[2].id()]);
}

#[test]
fn an_entry_that_is_left_out_shows() {
    let world = World::new(30);
    let header = world.header(history("a"));
    let places: Vec<u64> = (0..30).step_by(3).collect();
    for left_out in 0..places.len() - 1 {
        let mut some = places.clone();
        some.remove(left_out);
        let found = faults(&world.file(&header, &some));
        assert_eq!(found, [Fault::MissingPrev], "{left_out}");
    }
    // That a newer head is left out, links cannot show.
    assert!(check(&world.file(&header, &places[..9])).1.is_good());
}

#[test]
fn lines_that_are_exchanged_or_moved_show() {
    let file = World::new(30).history();
    let all = lines(&file);
    for n in 2..all.len() - 1 {
        let mut swapped = all.clone();
        swapped.swap(n - 1, n);
        assert!(!faults(&framed_anew(&swapped)).is_empty());
        let mut without = all.clone();
        without.remove(n);
        assert!(!faults(&framed_anew(&without)).is_empty());
        let mut twice = all.clone();
        twice.insert(n, all[n].clone());
        assert!(!faults(&framed_anew(&twice)).is_empty());
    }
}

#[test]
fn another_place_another_size_and_another_ledger_show() {
    let world = World::new(30);
    let file = world.history();
    let all = lines(&file);
    for (n, line) in all.iter().enumerate().skip(1).take(all.len() - 2) {
        let mut entry = ProofEntry::decode(line, 1).unwrap();
        entry.place += 1;
        let mut moved = all.clone();
        moved[n].clear();
        entry.encode(&mut moved[n]);
        assert!(faults(&framed_anew(&moved)).contains(&Fault::NotInLedger), "{n}");
    }
    for size in [1, 27, 28, 29] {
        let mut header = world.header(history("a"));
        header.checkpoint = world.note(size);
        let mut anew = all.clone();
        anew[0].clear();
        header.encode(&mut anew[0]);
        assert!(faults(&framed_anew(&anew)).contains(&Fault::NotInLedger), "{size}");
    }
    // The ledger of another node, with the same entries.
    let stranger = SigningKey::from_seed(&[2; 32]);
    let mut header = world.header(history("a"));
    let root = merkle::root(world.leaves.iter().copied());
    header.checkpoint = Checkpoint::new(stranger.node_key().origin(), 30, root).sign(&stranger).unwrap();
    let mut anew = all;
    anew[0].clear();
    header.encode(&mut anew[0]);
    assert_eq!(faults(&framed_anew(&anew)).len(), 1);
    header.card = card_of(&stranger);
    anew[0].clear();
    header.encode(&mut anew[0]);
    assert_eq!(faults(&framed_anew(&anew)), [Fault::OtherNode]);
    assert_eq!(check_with(ProofCheck::new(), &framed_anew(&anew)).1.anchor, Some(Anchor::None));
}

#[test]
fn another_key_to_the_content_shows() {
    let all = lines(&World::new(9).history());
    let mut entry = ProofEntry::decode(&all[1], 1).unwrap();
    entry.cek = Some(cek(77));
    let mut other = all;
    other[1].clear();
    entry.encode(&mut other[1]);
    assert_eq!(faults(&framed_anew(&other)).len(), 1);
    // A key without the payload is refused, with the line.
    entry.entry.payload = None;
    other[1].clear();
    entry.encode(&mut other[1]);
    assert!(faults(&framed_anew(&other)).contains(&Fault::Unreadable));
}

#[test]
fn a_signature_of_another_entry_shows() {
    let all = lines(&World::new(9).history());
    let mut entry = ProofEntry::decode(&all[1], 1).unwrap();
    entry.entry.signature = ProofEntry::decode(&all[2], 1).unwrap().entry.signature;
    let mut other = all;
    other[1].clear();
    entry.encode(&mut other[1]);
    assert_eq!(faults(&framed_anew(&other)), [Fault::BadSignature]);
}

#[test]
fn a_kept_checkpoint_is_compared() {
    let world = World::new(30);
    let kept = |note: SignedCheckpoint, header: &ProofHeader| {
        let file = world.file(header, &[0]);
        check_with(ProofCheck::new().kept(note), &file).1
    };
    let mut header = world.header(Subject::Entries { thing: ThingId::new("a").unwrap() });
    assert_eq!(kept(world.note(30), &header).kept, Some(Standing::Holds));
    assert_eq!(kept(world.note(12), &header).kept, Some(Standing::Unknown));
    header.earlier = [12, 17]
        .map(|size| Earlier {
            checkpoint: world.note(size),
            proof: merkle::consistency_proof(&world.leaves[..], size, 30).unwrap(),
        })
        .to_vec();
    let report = kept(world.note(12), &header);
    assert!(report.is_good() && report.kept == Some(Standing::Holds));
    // The same size with another root, and a proof that leads elsewhere.
    let other = Checkpoint::new(node().node_key().origin(), 12, Hash([7; 32])).sign(&node()).unwrap();
    let report = kept(other.clone(), &header);
    assert!(!report.is_good() && report.kept == Some(Standing::Contradicted));
    header.earlier[0].checkpoint = other;
    let report = kept(world.note(12), &header);
    assert!(!report.is_good() && report.kept == Some(Standing::Unknown));
    let two = Checkpoint::new(node().node_key().origin(), 30, Hash([7; 32])).sign(&node()).unwrap();
    assert_eq!(kept(two, &header).kept, Some(Standing::Contradicted));
    let stranger = SigningKey::from_seed(&[2; 32]);
    let root = merkle::root(world.leaves.iter().copied());
    let note = Checkpoint::new(stranger.node_key().origin(), 30, root).sign(&stranger).unwrap();
    assert!(kept(note, &header).problems.iter().any(|problem| problem.fault == Fault::OtherNode));
}

/// The place of an entry, its id, the word for its content, and its body.
type Meaning = (u64, EntryId, &'static str, Vec<u8>);

/// What a file says, if it is good.
fn meaning(file: &[u8]) -> Option<Vec<Meaning>> {
    let (proven, report) = check(file);
    report.is_good().then(|| {
        proven
            .into_iter()
            .map(|found| {
                let word = found.content.as_str();
                let body = if let Content::Shown(body) = found.content { body.as_bytes().to_vec() } else { vec![] };
                (found.place, found.id, word, body)
            })
            .collect()
    })
}

#[test]
fn no_changed_byte_and_no_cut_shows_something_else() {
    let file = World::new(4).history();
    let good = meaning(&file).unwrap();
    for (at, flip) in (0..file.len()).zip([1, 0x20, 2, 0x80].into_iter().cycle()) {
        let mut other = file.clone();
        other[at] ^= flip;
        if let Some(found) = meaning(&other) {
            assert_eq!(found, good, "byte {at}");
        }
    }
    for end in (0..file.len() - 1).step_by(3) {
        assert_eq!(meaning(&file[..end]), None, "cut at {end}");
    }
    // The line feed of the last line is the only byte that need not be there.
    assert!(meaning(&file[..file.len() - 1]).is_some());
}

#[test]
fn a_newer_version_is_told_as_such() {
    let all = lines(&World::new(3).history());
    let text = String::from_utf8(all[0].clone()).unwrap();
    for newer in [
        text.replace("\"thingdb_proof\":1", "\"thingdb_proof\":2"),
        text.replace("{\"thingdb_proof\":1", "{\"unheard\":[1],\"thingdb_proof\":2"),
    ] {
        let file = [newer.into_bytes(), all[1..].concat()].concat();
        assert!(faults(&file).contains(&Fault::Newer));
    }
}

#[test]
fn numbers_that_are_out_of_all_bounds_are_refused() {
    let all = lines(&World::new(3).history());
    let edit = |line: usize, from: &str, to: &str| {
        let mut other = all.clone();
        let text = String::from_utf8(other[line].clone()).unwrap();
        assert!(text.contains(from), "{text}");
        other[line] = text.replace(from, to).into_bytes();
        other.concat()
    };
    for file in [
        edit(1, "\"place\":0", "\"place\":9223372036854775807"),
        edit(1, "\"place\":0", "\"place\":-1"),
        edit(2, "\"entries\":1", "\"entries\":9007199254740991"),
        edit(2, "\"entries\":1", "\"entries\":0"),
        edit(0, "\"kind\":\"history\"", "\"kind\":\"whole\""),
        edit(0, "\"kind\":\"history\"", "\"kind\":\"range\",\"from\":2,\"to\":1"),
        edit(0, "\"kind\":\"history\"", "\"kind\":\"history\",\"from\":2"),
        [&all[1][..], &all[2]].concat(),
        [&all.concat()[..], &all[1]].concat(),
        Vec::new(),
        b"\n\n".to_vec(),
        b"{}".to_vec(),
    ] {
        assert!(!faults(&file).is_empty());
    }
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_is_not_good() {
    for (is_cut, fault) in [(false, Fault::Unreadable), (true, Fault::Truncated)] {
        let (mut check, mut memos) = (ProofCheck::new(), Memos::default());
        for (line, number) in lines(&World::new(3).history()).iter().zip(1..) {
            check.take(examine(line, number, &mut memos));
        }
        check.broken(is_cut, "the checksum is another one");
        let report = check.finish();
        assert!(report.is_complete && !report.is_good());
        assert_eq!(report.problems[0].fault, fault);
    }
}
