//! The heads note in a proof file: what an operator with all keys may try.

use super::*;
use crate::heads::{self, HeadsNote, HeadsProof, Place, SignedHeads};

impl World {
    /// The heads of the three things after `size` entries: count and head of each.
    fn heads_at(&self, size: u64) -> Vec<(ThingId, u64, Vec<EntryId>)> {
        let mut things: Vec<(ThingId, u64, Vec<EntryId>)> = Vec::new();
        for entry in &self.entries[..size as usize] {
            let header = &entry.header;
            let known = things.iter().position(|(thing, ..)| *thing == header.thing);
            let known = known.unwrap_or_else(|| {
                things.push((header.thing.clone(), 0, vec![]));
                things.len() - 1
            });
            let (_, count, heads) = &mut things[known];
            *count += 1;
            heads.retain(|head| !header.prev.contains(head));
            heads.push(entry.id());
            heads.sort_unstable();
        }
        things
    }

    fn map_of(things: &[(ThingId, u64, Vec<EntryId>)]) -> Vec<(Hash, Hash)> {
        let leaf = |(thing, count, heads): &(ThingId, u64, Vec<EntryId>)| {
            let key = heads::key(thing);
            (key, heads::leaf(&key, &heads::value(thing, *count, heads)))
        };
        let mut leaves: Vec<_> = things.iter().map(leaf).collect();
        leaves.sort_unstable();
        leaves
    }

    fn heads_note(&self, things: &[(ThingId, u64, Vec<EntryId>)], size: u64) -> SignedHeads {
        let map = heads::subtree(&Self::map_of(things), 0);
        HeadsNote::of(self.note(size).claimed(), map).sign(&node()).unwrap()
    }

    /// What a map of these things says of one, which need not be among them.
    fn proof_in(&self, things: &[(ThingId, u64, Vec<EntryId>)], of: &str) -> HeadsProof {
        let of = ThingId::new(of).unwrap();
        let (path, _) = heads::way(&Self::map_of(things), &heads::key(&of), 0);
        let known = things.iter().find(|(thing, ..)| *thing == of);
        let place =
            known.map_or(Place::Empty, |(_, count, heads)| Place::Thing { count: *count, heads: heads.clone() });
        HeadsProof { note: self.heads_note(things, self.leaves.len() as u64), place, path }
    }

    fn proof_of(&self, of: &str) -> HeadsProof {
        self.proof_in(&self.heads_at(self.leaves.len() as u64), of)
    }

    fn header_with(&self, subject: Subject, heads: HeadsProof) -> ProofHeader {
        ProofHeader { heads: Some(heads), ..self.header(subject) }
    }
}

fn absent(thing: &str) -> Subject {
    Subject::Absent { thing: ThingId::new(thing).unwrap() }
}

#[test]
fn a_history_is_complete_up_to_the_size_of_the_ledger() {
    let world = World::new(11);
    let file = world.file(&world.header_with(history("a"), world.proof_of("a")), &[0, 3, 6, 9]);
    let (_, report) = check(&file);
    assert!(report.is_good(), "{report:?}");
    let complete = report.complete.unwrap();
    assert_eq!((complete.count, complete.heads, complete.recomputed_by), (4, 1, vec![]));
    // Without the note it is whole as well, and nobody knows of newer entries.
    let (_, report) = check(&world.history());
    assert_eq!((report.is_good(), report.complete), (true, None));
}

#[test]
fn the_newest_entry_cannot_be_hidden() {
    let world = World::new(11);
    let file = world.file(&world.header_with(history("a"), world.proof_of("a")), &[0, 3, 6]);
    assert_eq!(faults(&file), [Fault::OtherHeads]);
    // Nor with the note of the smaller ledger, in which it was not there yet.
    let older = HeadsProof { note: world.heads_note(&world.heads_at(9), 9), ..world.proof_in(&world.heads_at(9), "a") };
    assert_eq!(faults(&world.file(&world.header_with(history("a"), older), &[0, 3, 6])), [Fault::OtherHeads]);
}

#[test]
fn a_branch_of_a_fork_cannot_be_hidden() {
    let mut world = World::new(9);
    let forked = made(20, "a", 3, vec![world.entries[3].id()]);
    world.entries.push(forked);
    let world = World::of(world.entries);
    let header = world.header_with(history("a"), world.proof_of("a"));
    let file = |places: &[u64]| {
        let mut out = Vec::new();
        let mut encoder = ProofEncoder::new(&header, &mut out);
        for place in places {
            encoder.entry(&world.leaves[..], *place, None, world.entries[*place as usize].clone(), &mut out).unwrap();
        }
        encoder.end(&world.leaves[..], &mut out).unwrap();
        out
    };
    let (_, report) = check(&file(&[0, 3, 6, 9]));
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.complete.map(|complete| (complete.count, complete.heads)), Some((4, 2)));
    assert_eq!(faults(&file(&[0, 3, 6])), [Fault::OtherHeads]);
    assert_eq!(faults(&file(&[0, 3, 9])), [Fault::OtherHeads]);
}

#[test]
fn a_part_says_how_many_there_are_and_hides_no_head_behind_another() {
    let world = World::new(11);
    let of_a = || ThingId::new("a").unwrap();
    for subject in [Subject::Range { thing: of_a(), from: 2, to: 3 }, Subject::Entries { thing: of_a() }] {
        let (_, report) = check(&world.file(&world.header_with(subject, world.proof_of("a")), &[3, 6]));
        assert!(report.is_good(), "{report:?}");
        assert_eq!(report.complete.map(|complete| complete.count), Some(4));
    }
    let mut lie = world.proof_of("a");
    lie.place = Place::Thing { count: 4, heads: vec![world.entries[3].id()] };
    let file = world.file(&world.header_with(Subject::Entries { thing: of_a() }, lie), &[3, 6]);
    assert_eq!(faults(&file), [Fault::OtherHeads]);
    // A map that the node has signed, and that its own entries refute.
    let things = [(of_a(), 4, vec![world.entries[3].id()])];
    let lie = world.proof_in(&things, "a");
    let file = world.file(&world.header_with(Subject::Entries { thing: of_a() }, lie), &[3, 6]);
    assert_eq!(faults(&file), [Fault::OtherHeads]);
    let lie = world.proof_in(&[(of_a(), 1, vec![world.entries[9].id()])], "a");
    let file = world.file(&world.header_with(Subject::Entries { thing: of_a() }, lie), &[3, 6]);
    assert_eq!(faults(&file), [Fault::OtherHeads]);
}

#[test]
fn a_thing_that_is_not_there_is_shown_and_one_that_is_cannot() {
    let world = World::new(11);
    let (_, report) = check(&world.file(&world.header_with(absent("z"), world.proof_of("z")), &[]));
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.complete.map(|complete| complete.count), Some(0));
    let refused = |subject: Subject, proof: Option<HeadsProof>, places: &[u64]| {
        let header = ProofHeader { heads: proof, ..world.header(subject) };
        faults(&world.file(&header, places))
    };
    assert_eq!(refused(absent("a"), Some(world.proof_of("a")), &[]), [Fault::OtherHeads]);
    assert_eq!(refused(absent("a"), Some(world.proof_of("z")), &[]), [Fault::OtherHeads]);
    assert_eq!(
        refused(absent("a"), Some(HeadsProof { place: Place::Empty, ..world.proof_of("a") }), &[]),
        [Fault::OtherHeads]
    );
    assert_eq!(refused(history("a"), Some(world.proof_of("z")), &[0, 3, 6, 9]), [Fault::OtherHeads]);
    assert_eq!(refused(history("b"), Some(world.proof_of("a")), &[1, 4, 7, 10]), [Fault::OtherHeads]);
    assert_eq!(refused(absent("z"), None, &[]), [Fault::Unreadable]);
    assert_eq!(refused(history("a"), None, &[]), [Fault::Unreadable]);
    // An operator who signs a map without the thing, and shows it to others with it.
    let mut things = world.heads_at(11);
    things.retain(|(thing, ..)| thing.as_str() != "a");
    let lie = world.proof_in(&things, "a");
    assert!(lie.note.claimed().contradicts(world.proof_of("a").note.claimed()));
    assert_eq!(refused(absent("a"), Some(lie), &[0]), [Fault::BadLink]);
}

#[test]
fn a_note_of_another_node_or_of_another_ledger_says_nothing() {
    let world = World::new(11);
    let stranger = SigningKey::from_seed(&[2; 32]);
    let good = world.proof_of("a");
    let refused = |note: SignedHeads| {
        let header = world.header_with(history("a"), HeadsProof { note, ..good.clone() });
        faults(&world.file(&header, &[0, 3, 6, 9]))
    };
    let claimed = good.note.claimed().clone();
    let other = HeadsNote { origin: stranger.node_key().origin(), ..claimed };
    assert_eq!(refused(other.sign(&stranger).unwrap()), [Fault::BadSignature]);
    for note in [HeadsNote { size: 10, ..claimed }, HeadsNote { ledger: Hash([9; 32]), ..claimed }] {
        assert_eq!(refused(note.sign(&node()).unwrap()), [Fault::OtherHeads]);
    }
    // The line of a node that the reader knows, and that is not good.
    let note = good.note.with_signatures(&world.heads_note(&world.heads_at(9), 9).signature(&stranger).unwrap());
    let header = world.header_with(history("a"), HeadsProof { note: note.unwrap(), ..good.clone() });
    let file = world.file(&header, &[0, 3, 6, 9]);
    assert!(check(&file).1.is_good());
    let knowing = ProofCheck::new().trust(&card_of(&node())).trust(&card_of(&stranger));
    assert!(!check_with(knowing, &file).1.is_good());
}

#[test]
fn those_who_have_recomputed_it_are_named() {
    let world = World::new(11);
    let peer = SigningKey::from_seed(&[2; 32]);
    let good = world.proof_of("a");
    let note = good.note.with_signatures(&good.note.signature(&peer).unwrap()).unwrap();
    let file = world.file(&world.header_with(history("a"), HeadsProof { note, ..good }), &[0, 3, 6, 9]);
    let recomputed_by = |check: ProofCheck| check_with(check, &file).1.complete.unwrap().recomputed_by;
    let trusting = || ProofCheck::new().trust(&card_of(&node()));
    assert_eq!(recomputed_by(trusting()), Vec::<String>::new());
    let named = trusting().recomputer("neighbour", peer.node_key().witness_vkey().unwrap());
    assert_eq!(recomputed_by(named), ["neighbour"]);
    assert_eq!(recomputed_by(trusting().trust(&card_of(&peer))), ["plant"]);
    // Of the node itself it says nothing more.
    let itself = trusting().recomputer("itself", node().node_key().witness_vkey().unwrap());
    assert_eq!(recomputed_by(itself), Vec::<String>::new());
}
