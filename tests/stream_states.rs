//! What an import says of a stream as a whole: whole, a part, bare, cut,
//! damaged, newer. Nothing that nobody signed makes a stream whole.

use std::io::{self, BufReader, Read};

use thingdb::format::{Checkpoint, SigningKey, StreamHeader, Trailer, frame, line, merkle};
use thingdb::{
    Db, Draft, ExportOptions, ImportOptions, ImportSummary, KnownAs, Origin, StreamForm, StreamState, Weight,
};
use thingdb_tests::database::{assert_intact, copy_directory, fresh, passphrase, relaxed, scratch};

/// A node with a few entries, and another one that knows it.
struct Two {
    scratch: tempfile::TempDir,
    plant: Db,
    auditor: Db,
}

fn two() -> Two {
    let scratch = scratch();
    let plant = relaxed().actor("alice").create(scratch.path().join("plant"), &passphrase()).unwrap();
    let auditor = relaxed().create(scratch.path().join("auditor"), &passphrase()).unwrap();
    auditor.add_peer("plant", &plant.card().unwrap()).unwrap();
    for thing in ["part-1", "alarm-9", "part-2"] {
        plant.put(thing, "1").unwrap();
    }
    Two { scratch, plant, auditor }
}

impl Two {
    fn another(&self, name: &str) -> Db {
        let db = relaxed().create(self.scratch.path().join(name), &passphrase()).unwrap();
        db.add_peer("plant", &self.plant.card().unwrap()).unwrap();
        db
    }
}

fn export(db: &Db, options: ExportOptions<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    db.export(options, &mut out).unwrap();
    out
}

fn whole(db: &Db) -> Vec<u8> {
    export(db, ExportOptions::new())
}

fn lines_of(stream: &[u8]) -> Vec<String> {
    String::from_utf8(stream.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

fn join(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}

fn import(db: &Db, stream: &[u8]) -> ImportSummary {
    db.import(ImportOptions::new(), stream).unwrap()
}

fn planned(db: &Db, stream: &[u8]) -> ImportSummary {
    db.import(ImportOptions::new().dry_run(true), stream).unwrap()
}

/// The stream without the entries that `drop` says, its trailer written anew
/// for those that are left: what whoever carries a stream can do.
fn forged(stream: &[u8], drop: impl Fn(&str) -> bool) -> Vec<u8> {
    let lines = lines_of(stream);
    let (header, rest) = lines.split_first().unwrap();
    let (end, entries) = rest.split_last().unwrap();
    let kept: Vec<String> = entries.iter().filter(|line| !drop(line)).cloned().collect();
    let ids = kept.iter().map(|text| line::decode(text.as_bytes(), 1).unwrap().id());
    let root = merkle::root(ids.map(|id| merkle::leaf(&id)));
    let trailer =
        Trailer { entries: kept.len() as u64, root, digest: None, ..Trailer::decode(end.as_bytes(), 1).unwrap() };
    let mut out = join(&[vec![header.clone()], kept].concat());
    trailer.encode(&mut out);
    out
}

#[test]
fn a_whole_ledger_is_told_with_who_signed_it() {
    let two = two();
    for form in [StreamForm::Lines, StreamForm::Binary] {
        let stream = export(&two.plant, ExportOptions::new().form(form));
        let summary = planned(&two.auditor, &stream);
        let StreamState::Whole(ledger) = &summary.stream else { panic!("{:?}", summary.stream) };
        assert_eq!((ledger.size, ledger.node, ledger.is_here), (3, two.plant.node_key(), false));
        assert_eq!(ledger.known, KnownAs::Peer("plant".into()));
        assert_eq!(summary.card.unwrap().node_key, two.plant.node_key());
    }
    let stream = whole(&two.plant);
    // Entries that are refused came all the same.
    let (_scratch, stranger) = fresh();
    let summary = import(&stranger, &stream);
    assert_eq!((summary.added, summary.refused), (0, 3));
    assert!(matches!(&summary.stream, StreamState::Whole(ledger) if ledger.known == KnownAs::Stranger));
    assert_eq!(stranger.remembered(&two.plant.origin()).unwrap().checkpoint, None);
    // So did those that are here, with the second import.
    for _ in 0..2 {
        let summary = import(&two.auditor, &stream);
        assert!(matches!(&summary.stream, StreamState::Whole(ledger) if ledger.is_here), "{:?}", summary.stream);
    }
    let own = import(&two.plant, &stream);
    assert!(matches!(&own.stream, StreamState::Whole(ledger) if ledger.known == KnownAs::Own && ledger.is_here));
}

#[test]
fn a_trailer_that_was_written_anew_makes_nothing_whole() {
    let two = two();
    let stream = whole(&two.plant);
    for thing in ["part-1", "alarm-9", "part-2"] {
        let thinned = forged(&stream, |line| line.contains(thing));
        let summary = planned(&two.auditor, &thinned);
        assert_eq!(summary.entries, 2);
        let StreamState::Part(Some(ledger)) = &summary.stream else { panic!("{thing}: {:?}", summary.stream) };
        assert_eq!(ledger.size, 3);
    }
    let doubled = {
        let mut lines = lines_of(&stream);
        lines.insert(1, lines[1].clone());
        forged(&join(&lines), |_| false)
    };
    let reordered = {
        let mut lines = lines_of(&stream);
        lines.swap(1, 2);
        forged(&join(&lines), |_| false)
    };
    for other in [doubled, reordered] {
        let summary = planned(&two.auditor, &other);
        assert!(matches!(summary.stream, StreamState::Damaged(_)), "{:?}", summary.stream);
    }
}

#[test]
fn parts_are_parts_and_end_as_a_whole_where_the_rest_is_here() {
    let two = two();
    let first = whole(&two.plant);
    assert!(matches!(import(&two.auditor, &first).stream, StreamState::Whole(_)));
    two.plant.put("part-3", "1").unwrap();
    two.plant.put("part-1", "2").unwrap();
    let later = export(&two.plant, ExportOptions::new().since(3));
    let some = export(&two.plant, ExportOptions::new().prefix("part-3"));
    // What is planned does not make it so.
    let planned = planned(&two.auditor, &later);
    assert!(matches!(&planned.stream, StreamState::Part(Some(ledger)) if !ledger.is_here && ledger.size == 5));
    let other = two.another("other");
    assert!(matches!(&import(&other, &some).stream, StreamState::Part(Some(ledger)) if !ledger.is_here));
    assert!(matches!(&import(&other, &later).stream, StreamState::Part(Some(ledger)) if !ledger.is_here));
    let summary = import(&two.auditor, &later);
    assert!(matches!(&summary.stream, StreamState::Part(Some(ledger)) if ledger.is_here), "{:?}", summary.stream);
    // One after the other they are one.
    let both = two.another("both");
    let summary = import(&both, &[first.clone(), later].concat());
    assert!(matches!(&summary.stream, StreamState::Whole(ledger) if ledger.size == 5), "{:?}", summary.stream);
    let gap = import(&both, &[first, some].concat());
    assert!(matches!(gap.stream, StreamState::Part(Some(_))), "{:?}", gap.stream);
    // An export that ends early is the whole ledger up to there.
    let early = export(&two.plant, ExportOptions::new().until(2));
    let summary = import(&both, &early);
    assert!(matches!(&summary.stream, StreamState::Whole(ledger) if ledger.size == 2), "{:?}", summary.stream);
    assert!(summary.conflicts.is_empty());
    assert_intact(&both);
}

#[test]
fn a_whole_export_is_whole_while_others_write() {
    let two = two();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..300 {
                two.plant.put("busy", &n.to_string()).unwrap();
            }
        });
        while !writer.is_finished() {
            let summary = planned(&two.auditor, &whole(&two.plant));
            assert!(matches!(summary.stream, StreamState::Whole(_)), "{:?}", summary.stream);
        }
    });
}

#[test]
fn a_checkpoint_of_another_node_or_a_forged_one_is_damage_and_the_entries_stay_good() {
    let two = two();
    let lines = lines_of(&whole(&two.plant));
    let other = SigningKey::from_seed(&[9; 32]);
    let (end, root) = (lines.last().unwrap(), Trailer::decode(lines.last().unwrap().as_bytes(), 1).unwrap().root);
    let good = Trailer::decode(end.as_bytes(), 1).unwrap();
    let note = |key: &SigningKey, origin: Origin, root| Checkpoint::new(origin, 3, root).sign(key).unwrap();
    let of_other = note(&other, other.node_key().origin(), root);
    // The signature of another root.
    let text = good.checkpoint.as_ref().unwrap().to_string();
    let cut = text.find("\n\n").unwrap();
    let forged = format!("{}{}", text[..cut].replacen("\n3\n", "\n2\n", 1), &text[cut..]);
    for bad in [of_other, forged.parse_note()] {
        let mut out = join(&lines[..lines.len() - 1]);
        Trailer { checkpoint: Some(bad.clone()), ..good.clone() }.encode(&mut out);
        let db = two.another(&format!("db-{}", bad.claimed().origin));
        let summary = import(&db, &out);
        assert!(matches!(&summary.stream, StreamState::Damaged(why) if why.contains("not signed")), "{summary:?}");
        assert_eq!((summary.added, summary.refused), (3, 0));
        let header = StreamHeader::decode(lines[0].as_bytes(), 1).unwrap();
        let mut out = Vec::new();
        StreamHeader { checkpoint: Some(bad), ..header }.encode(&mut out);
        out.extend(join(&lines[1..]));
        assert!(matches!(import(&db, &out).stream, StreamState::Damaged(_)));
        assert_eq!(db.remembered(&two.plant.origin()).unwrap().conflict, None);
    }
}

trait ParseNote {
    fn parse_note(&self) -> thingdb::SignedCheckpoint;
}

impl ParseNote for String {
    fn parse_note(&self) -> thingdb::SignedCheckpoint {
        thingdb::SignedCheckpoint::parse(self).unwrap()
    }
}

#[test]
fn a_ledger_that_was_rewritten_leaves_evidence_when_its_export_comes() {
    for more in [0, 1] {
        let two = two();
        two.plant.close().unwrap();
        copy_directory(&two.scratch.path().join("plant"), &two.scratch.path().join("copy"));
        let open = |name: &str| relaxed().open(two.scratch.path().join(name), &passphrase()).unwrap();
        let (plant, copy) = (open("plant"), open("copy"));
        plant.put("alarm-9", "\"on\"").unwrap();
        (0..=more).for_each(|n| drop(copy.put("alarm-9", &format!("\"off {n}\"")).unwrap()));
        let auditor = &two.auditor;
        assert!(matches!(import(auditor, &whole(&plant)).stream, StreamState::Whole(_)));
        let remembered = auditor.remembered(&plant.origin()).unwrap().checkpoint.unwrap();
        assert_eq!(remembered.claimed().size, 4);
        // An older export says nothing.
        assert!(import(auditor, &export(&plant, ExportOptions::new().until(2))).conflicts.is_empty());
        assert!(planned(auditor, &whole(&copy)).conflicts.is_empty());
        let summary = import(auditor, &whole(&copy));
        let [conflict] = &summary.conflicts[..] else { panic!("{summary:?}") };
        let weight = if more == 0 { Weight::Proof } else { Weight::Testimony };
        assert_eq!(conflict.evidence.check().unwrap(), weight);
        assert!(conflict.file.exists());
        assert!(auditor.remembered(&plant.origin()).unwrap().conflict.is_some());
    }
}

#[test]
fn two_ledgers_in_one_stream_are_evidence() {
    let two = two();
    two.plant.close().unwrap();
    copy_directory(&two.scratch.path().join("plant"), &two.scratch.path().join("copy"));
    let open = |name: &str| relaxed().open(two.scratch.path().join(name), &passphrase()).unwrap();
    let (plant, copy) = (open("plant"), open("copy"));
    plant.put("x", "1").unwrap();
    copy.put("x", "2").unwrap();
    let (one, other) = (lines_of(&whole(&plant)), lines_of(&whole(&copy)));
    let mixed = join(&[&other[..1], &one[1..]].concat());
    let summary = import(&two.auditor, &mixed);
    assert!(matches!(summary.stream, StreamState::Damaged(_)), "{:?}", summary.stream);
    assert_eq!(summary.conflicts[0].evidence.check().unwrap(), Weight::Proof);
    assert_eq!(summary.added, 4);
}

#[test]
fn exports_that_grow_are_followed() {
    let two = two();
    for n in 0..3_u64 {
        import(&two.auditor, &whole(&two.plant));
        let remembered = two.auditor.remembered(&two.plant.origin()).unwrap();
        assert_eq!((remembered.checkpoint.unwrap().claimed().size, remembered.conflict), (3 + n, None));
        two.plant.put("part-1", "2").unwrap();
    }
}

#[test]
fn a_header_or_trailer_that_is_refused_damages_the_stream_and_no_entry() {
    let two = two();
    let lines = lines_of(&whole(&two.plant));
    let last = lines.len() - 1;
    for (at, from, to) in [
        (0, "tdbcard1:AQ", "tdbcard1:AA"),
        (0, "{\"thingdb\":1", "{\"thingdb\":1,\"x\":1"),
        (last, "\"entries\":3", "\"entries\":-3"),
    ] {
        let mut changed = lines.clone();
        changed[at] = changed[at].replacen(from, to, 1);
        assert_ne!(changed[at], lines[at]);
        let summary = planned(&two.auditor, &join(&changed));
        let is_newer = from.starts_with("tdbcard");
        match &summary.stream {
            StreamState::Damaged(why) if !is_newer => assert!(why.contains("refused"), "{why}"),
            StreamState::Newer(_) if is_newer => {}
            other => panic!("{other:?}"),
        }
        assert_eq!((summary.added, summary.refused, summary.entries), (3, 1, 3), "{summary:?}");
        assert_eq!(summary.reasons[0].line, at as u64 + 1);
    }
}

#[test]
fn newer_versions_are_told_wherever_they_stand() {
    let two = two();
    let lines = lines_of(&whole(&two.plant));
    let last = lines.len() - 1;
    for (at, from, to) in [
        (0, "\"thingdb\":1", "\"new\":2,\"thingdb\":2"),
        (1, "\"v\":1", "\"v\":2"),
        (1, "\"suite\":1", "\"suite\":9"),
        (last, "\"thingdb_end\":1", "\"thingdb_end\":2"),
    ] {
        let mut changed = lines.clone();
        changed[at] = changed[at].replacen(from, to, 1);
        assert_ne!(changed[at], lines[at], "{from}");
        for stream in [join(&changed), join(&changed[..last])] {
            let summary = planned(&two.auditor, &stream);
            let is_there = at < last || stream.len() > join(&changed[..last]).len();
            assert_eq!(matches!(summary.stream, StreamState::Newer(_)), is_there, "{at} {:?}", summary.stream);
        }
    }
    let frames = export(&two.plant, ExportOptions::new().form(StreamForm::Binary));
    let mut version = frames.clone();
    version[4] = 2;
    let mut kind = frames[..frames.len() - 1].to_vec();
    kind[frame::MAGIC.len() + 2] = 77;
    for newer in [version, kind] {
        let summary = planned(&two.auditor, &newer);
        assert!(matches!(summary.stream, StreamState::Newer(_)), "{:?}", summary.stream);
    }
}

#[test]
fn a_torn_last_line_is_the_cut_and_no_bad_line() {
    let two = two();
    let stream = whole(&two.plant);
    let lines = lines_of(&stream);
    let until = |n: usize| join(&lines[..n]).len();
    for len in 1..stream.len() {
        let summary = planned(&two.auditor, &stream[..len]);
        let entries = (2..=4).filter(|n| until(*n) - 1 <= len).count() as u64;
        if len == stream.len() - 1 {
            // Only the last line feed is missing.
            assert!(matches!(summary.stream, StreamState::Whole(_)), "{:?}", summary.stream);
        } else if len < b"{\"thingdb\":".len() {
            assert_eq!((summary.refused, &summary.stream), (1, &StreamState::Bare), "{len}");
        } else {
            assert_eq!((summary.refused, &summary.stream), (0, &StreamState::Cut), "{len}: {:?}", summary.reasons);
        }
        assert_eq!(summary.entries, entries, "{len}");
    }
    let frames = export(&two.plant, ExportOptions::new().form(StreamForm::Binary));
    for len in 0..frames.len() {
        let summary = planned(&two.auditor, &frames[..len]);
        let expected = if len == 0 { StreamState::Bare } else { StreamState::Cut };
        assert!(summary.stream == expected || len < 5, "{len}: {:?}", summary.stream);
    }
}

#[test]
fn every_flipped_bit_shows() {
    let two = two();
    two.plant.write_batch((0..3).map(|n| Draft::json("batch", n.to_string()).unwrap()).collect()).unwrap();
    let ids = |stream: &[u8]| {
        let summary = planned(&two.auditor, stream);
        let good = match summary.stream {
            StreamState::Whole(ledger) => Some(ledger.root),
            _ => None,
        };
        (good, summary.refused)
    };
    for form in [StreamForm::Lines, StreamForm::Binary] {
        let stream = export(&two.plant, ExportOptions::new().form(form));
        let (root, _) = ids(&stream);
        assert!(root.is_some());
        // One bit of each byte, another one from byte to byte.
        for at in 0..stream.len() {
            let mut flipped = stream.clone();
            flipped[at] ^= 1 << (at % 8);
            let (found, refused) = ids(&flipped);
            assert!(found.is_none(), "{form:?} byte {at}: whole, {refused} refused");
        }
    }
}

/// Gives some bytes, then fails.
struct Failing<'a>(&'a [u8], io::ErrorKind);

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(self.1.into());
        }
        self.0.read(buffer)
    }
}

#[test]
fn what_came_before_a_source_fails_is_stored() {
    let two = two();
    for (n, kind) in [io::ErrorKind::UnexpectedEof, io::ErrorKind::InvalidData, io::ErrorKind::ConnectionReset]
        .into_iter()
        .enumerate()
    {
        for (form, name) in [(StreamForm::Lines, "lines"), (StreamForm::Binary, "frames")] {
            let stream = export(&two.plant, ExportOptions::new().form(form));
            let db = two.another(&format!("{name}-{n}"));
            // Within the last entry.
            let len = stream.len() * 3 / 5;
            let source = BufReader::with_capacity(100, Failing(&stream[..len], kind));
            let summary = db.import(ImportOptions::new(), source).unwrap();
            assert!(summary.added > 0 && summary.added < 3 && summary.refused == 0, "{summary:?}");
            assert_eq!(summary.added, db.ledger_size());
            match &summary.stream {
                StreamState::Damaged(_) => assert_eq!(kind, io::ErrorKind::InvalidData),
                state => assert_eq!((state, summary.broken.is_some()), (&StreamState::Cut, true), "{kind:?} {name}"),
            }
        }
    }
}

#[test]
fn lines_out_of_an_array_may_be_set_in_other_words() {
    let two = two();
    let spaced: Vec<String> = lines_of(&whole(&two.plant)).iter().map(|line| line.replace("\",\"", "\", \"")).collect();
    let spaced = join(&spaced);
    assert!(matches!(planned(&two.auditor, &spaced).stream, StreamState::Damaged(_)));
    let summary = two.auditor.import(ImportOptions::new().rewritten(true), &spaced[..]).unwrap();
    assert!(matches!(summary.stream, StreamState::Whole(_)), "{:?}", summary.stream);
}
