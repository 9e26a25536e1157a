use super::*;
use crate::stream::hash_of_line;
use crate::{Card, CardFields, DecryptionKey, SigningKey, Time};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn ids(n: u8) -> Vec<EntryId> {
    (0..n).map(|n| EntryId([n; 32])).collect()
}

fn root(ids: &[EntryId]) -> Hash {
    merkle::root(ids.iter().map(merkle::leaf))
}

fn note(seed: u8, ids: &[EntryId]) -> SignedCheckpoint {
    Checkpoint::new(key(seed).node_key().origin(), ids.len() as u64, root(ids)).sign(&key(seed)).unwrap()
}

fn card(seed: u8) -> Card {
    let fields = CardFields {
        time: Time::from_micros(0).unwrap(),
        node_key: key(seed).node_key(),
        encryption_key: DecryptionKey::from_bytes([6; 32]).encryption_key(),
        tls: None,
        name: String::new(),
        actors: vec![],
    };
    Card::sign(fields, &key(seed)).unwrap()
}

fn header(note: Option<SignedCheckpoint>) -> StreamHeader {
    StreamHeader { card: Some(card(1)), checkpoint: note }
}

fn line_of(id: &EntryId) -> Hash {
    hash_of_line(&id.0)
}

fn digest(ids: &[EntryId]) -> Hash {
    let mut digest = Digest::default();
    ids.iter().for_each(|id| digest.push(&line_of(id)));
    digest.value()
}

fn trailer(ids: &[EntryId], checkpoint: Option<SignedCheckpoint>) -> Trailer {
    Trailer { entries: ids.len() as u64, root: root(ids), digest: Some(digest(ids)), checkpoint }
}

fn feed(check: &mut StreamCheck, header: &StreamHeader, ids: &[EntryId]) {
    check.header(header).unwrap();
    ids.iter().for_each(|id| check.entry(id, &line_of(id)).unwrap());
}

fn fed(header: &StreamHeader, ids: &[EntryId]) -> StreamCheck {
    let mut check = StreamCheck::default();
    feed(&mut check, header, ids);
    check
}

fn is_damaged<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Damaged { .. })), "{result:?}");
}

/// What becomes of a stream with these entries, header and trailer.
fn ended(header: &StreamHeader, ids: &[EntryId], trailer: &Trailer) -> Result<Extent, Error> {
    fed(header, ids).trailer(trailer)
}

fn is_whole(extent: &Result<Extent, Error>) -> bool {
    matches!(extent, Ok(Extent::Whole(_)))
}

#[test]
fn a_whole_ledger_is_what_the_node_signed_and_nothing_else() {
    for n in 0..9 {
        let (all, note) = (ids(n), note(1, &ids(n)));
        let header = header(Some(note.clone()));
        assert!(is_whole(&ended(&header, &all, &trailer(&all, Some(note.clone())))), "{n}");
        // A trailer that somebody wrote anew for fewer, other or more entries.
        for drop in 0..all.len() {
            let mut thinned = all.clone();
            thinned.remove(drop);
            let extent = ended(&header, &thinned, &trailer(&thinned, Some(note.clone())));
            assert!(matches!(&extent, Ok(Extent::Part(claim)) if claim.note == note), "{n} {drop}: {extent:?}");
            let mut repeated = all.clone();
            repeated.insert(drop, all[drop]);
            is_damaged(ended(&header, &repeated, &trailer(&repeated, Some(note.clone()))));
            let mut replaced = all.clone();
            replaced[drop] = EntryId([99; 32]);
            is_damaged(ended(&header, &replaced, &trailer(&replaced, Some(note.clone()))));
        }
        if n > 1 {
            let mut swapped = all.clone();
            swapped.swap(0, 1);
            is_damaged(ended(&header, &swapped, &trailer(&swapped, Some(note.clone()))));
        }
        // Without a checkpoint nobody has signed anything.
        assert_eq!(ended(&header, &all, &trailer(&all, None)), Ok(Extent::Unsigned));
    }
}

#[test]
fn a_checkpoint_of_another_node_or_with_a_forged_signature_is_damage() {
    let (all, good) = (ids(3), note(1, &ids(3)));
    let text = good.to_string();
    let at = text.rfind(' ').unwrap() + 12;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    let forged = SignedCheckpoint::parse(&format!("{}{other}{}", &text[..at], &text[at + 1..])).unwrap();
    let wrong_root = text.replacen(text.lines().nth(2).unwrap(), note(1, &ids(2)).as_str().lines().nth(2).unwrap(), 1);
    let wrong_root = SignedCheckpoint::parse(&wrong_root).unwrap();
    for bad in [forged, wrong_root, note(2, &all)] {
        is_damaged(ended(&header(Some(good.clone())), &all, &trailer(&all, Some(bad.clone()))));
        is_damaged(StreamCheck::default().header(&header(Some(bad.clone()))));
        // A node that is known answers for its own without a card.
        let without = StreamHeader { card: None, checkpoint: None };
        let mut check = StreamCheck::default().knowing([key(1).node_key()]);
        feed(&mut check, &without, &all);
        let extent = check.trailer(&trailer(&all, Some(bad)));
        assert!(!is_whole(&extent), "{extent:?}");
    }
}

#[test]
fn without_a_card_only_known_nodes_are_believed() {
    let (all, note) = (ids(3), note(1, &ids(3)));
    let header = StreamHeader { card: None, checkpoint: Some(note.clone()) };
    assert_eq!(ended(&header, &all, &trailer(&all, Some(note.clone()))), Ok(Extent::Unsigned));
    let mut check = StreamCheck::default().knowing([key(2).node_key(), key(1).node_key()]);
    feed(&mut check, &header, &all);
    assert!(is_whole(&check.trailer(&trailer(&all, Some(note)))));
}

#[test]
fn two_ledgers_in_one_stream_contradict_each_other() {
    let all = ids(5);
    let other: Vec<EntryId> = (50..53).map(|n| EntryId([n; 32])).collect();
    let extent = ended(&header(Some(note(1, &other))), &all, &trailer(&all, Some(note(1, &all)))).unwrap();
    assert!(matches!(extent, Extent::Whole(claim) if claim.contradicted == Some(note(1, &other))));
    // It grew: nothing to say.
    let extent = ended(&header(Some(note(1, &all[..2]))), &all, &trailer(&all, Some(note(1, &all)))).unwrap();
    assert!(matches!(extent, Extent::Whole(claim) if claim.contradicted.is_none()));
    // Of a part only what has one size can be compared.
    let extent =
        ended(&header(Some(note(1, &other))), &all[..1], &trailer(&all[..1], Some(note(1, &all[..3])))).unwrap();
    assert!(matches!(extent, Extent::Part(claim) if claim.contradicted == Some(note(1, &other))));
    is_damaged(ended(&header(Some(note(1, &all))), &all[..1], &trailer(&all[..1], Some(note(1, &all[..3])))));
}

#[test]
fn streams_that_follow_each_other_are_one() {
    let all = ids(9);
    let stream = |check: &mut StreamCheck, part: &[EntryId], upto: usize| {
        feed(check, &header(None), part);
        check.trailer(&trailer(part, Some(note(1, &all[..upto])))).unwrap()
    };
    let mut check = StreamCheck::default();
    check.watch(note(1, &all[..6]).claimed());
    assert!(matches!(stream(&mut check, &all[..4], 4), Extent::Whole(_)));
    assert!(!check.began_with(note(1, &all[..6]).claimed()));
    let extent = stream(&mut check, &all[4..7], 7);
    assert!(matches!(&extent, Extent::Whole(claim) if claim.root_at(6) == Some(root(&all[..6]))));
    assert!(check.began_with(note(1, &all[..6]).claimed()));
    // What was there already takes nothing away.
    assert!(matches!(stream(&mut check, &all[2..3], 7), Extent::Part(_)));
    assert!(matches!(stream(&mut check, &all[7..], 9), Extent::Whole(_)));
    let whole = check.clone().finish().unwrap();
    assert!(matches!(whole, Outcome::Complete { streams: 4, extent: Extent::Whole(_) }));
    // A gap is one.
    let mut gap = StreamCheck::default();
    stream(&mut gap, &all[..4], 4);
    assert!(matches!(stream(&mut gap, &all[5..7], 7), Extent::Part(_)));
    assert!(matches!(gap.finish().unwrap(), Outcome::Complete { streams: 2, extent: Extent::Part(_) }));
    // Another node has another ledger.
    check.header(&StreamHeader { card: Some(card(2)), checkpoint: None }).unwrap();
    check.trailer(&trailer(&[], Some(note(2, &[])))).unwrap();
    assert!(matches!(check.finish().unwrap(), Outcome::Complete { streams: 5, extent: Extent::Unsigned }));
}

#[test]
fn a_stream_that_begins_with_a_kept_checkpoint_says_so_whatever_its_end() {
    let (all, kept) = (ids(7), note(1, &ids(5)));
    for (first, found) in [(0, true), (1, false)] {
        let mut bare = StreamCheck::default();
        bare.watch(kept.claimed());
        all[first..].iter().for_each(|id| bare.entry(id, &line_of(id)).unwrap());
        assert_eq!(bare.began_with(kept.claimed()), found);
        let mut cut = StreamCheck::default();
        cut.watch(kept.claimed());
        feed(&mut cut, &header(None), &all[first..]);
        assert_eq!(cut.began_with(kept.claimed()), found);
        assert!(cut.finish().is_err());
    }
}

#[test]
fn every_changed_byte_of_a_line_shows_in_the_digest() {
    let all = ids(3);
    for n in 0..all.len() {
        let mut check = StreamCheck::default();
        check.header(&header(None)).unwrap();
        let mut rewritten = StreamCheck::default().rewritten(true);
        rewritten.header(&header(None)).unwrap();
        for (at, id) in all.iter().enumerate() {
            let line = if at == n { hash_of_line(b"other") } else { line_of(id) };
            check.entry(id, &line).unwrap();
            rewritten.entry(id, &line).unwrap();
        }
        is_damaged(check.trailer(&trailer(&all, None)));
        rewritten.trailer(&trailer(&all, None)).unwrap();
    }
    // A line that cannot be read is missing from the count, and has its bytes.
    let mut check = fed(&header(None), &all);
    check.unreadable(&hash_of_line(b"{"));
    is_damaged(check.trailer(&trailer(&all, None)));
}

#[test]
fn a_matching_trailer_completes_a_stream() {
    for n in [0, 1, 2, 7] {
        let mut check = fed(&header(None), &ids(n));
        check.trailer(&Trailer { digest: None, ..trailer(&ids(n), None) }).unwrap();
        assert_eq!(check.finish().unwrap(), Outcome::Complete { streams: 1, extent: Extent::Unsigned });
    }
    assert_eq!(StreamCheck::default().finish().unwrap(), Outcome::Bare);
}

#[test]
fn a_missing_trailer_is_a_cut() {
    assert_eq!(fed(&header(None), &ids(3)).finish(), Err(Error::Cut { entries: 3 }));
    let mut check = fed(&header(None), &ids(3));
    assert_eq!(check.header(&header(None)), Err(Error::Cut { entries: 3 }));
    check.trailer(&trailer(&[], None)).unwrap();
}

#[test]
fn what_does_not_match_is_damage() {
    is_damaged(fed(&header(None), &ids(3)).trailer(&trailer(&ids(2), None)));
    let mut swapped = ids(3);
    swapped.swap(0, 1);
    is_damaged(fed(&header(None), &swapped).trailer(&trailer(&ids(3), None)));
    is_damaged(StreamCheck::default().trailer(&trailer(&[], None)));
    let mut check = StreamCheck::default();
    check.entry(&EntryId([0; 32]), &Hash([0; 32])).unwrap();
    is_damaged(check.header(&header(None)));
    let mut check = fed(&header(None), &[]);
    check.trailer(&trailer(&[], None)).unwrap();
    is_damaged(check.entry(&EntryId([0; 32]), &Hash([0; 32])));
    is_damaged(check.trailer(&trailer(&[], None)));
}
