use super::*;
use crate::{EntryId, Hash, Origin, SigningKey, ThingId};

/// Two things whose keys begin with the same 41 bits: found by trying names.
const NEAR: [&str; 2] = ["near-110692", "near-2434077"];

fn thing(name: &str) -> ThingId {
    ThingId::new(name).unwrap()
}

fn node() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

/// Things by name, with how many entries they have: one head each.
struct World(Vec<(Hash, ThingId, u64)>);

impl World {
    fn new(names: impl IntoIterator<Item = String>) -> Self {
        let mut things: Vec<_> =
            names.into_iter().zip(1..).map(|(name, n)| (key(&thing(&name)), thing(&name), n)).collect();
        things.sort_unstable();
        Self(things)
    }

    fn head(count: u64) -> Vec<EntryId> {
        vec![EntryId(Hash::of(&count.to_be_bytes()).0)]
    }

    fn leaves(&self) -> Vec<(Hash, Hash)> {
        self.0.iter().map(|(key, thing, n)| (*key, leaf(key, &value(thing, *n, &Self::head(*n))))).collect()
    }

    fn note(&self) -> SignedHeads {
        let map = subtree(&self.leaves(), 0);
        let ledger = if self.0.is_empty() { Hash::of(b"") } else { Hash([2; 32]) };
        let size = if self.0.is_empty() { 0 } else { 7 };
        HeadsNote { origin: node().node_key().origin(), size, map, ledger }.sign(&node()).unwrap()
    }

    fn proof(&self, name: &str) -> HeadsProof {
        let wanted = key(&thing(name));
        let (path, found) = way(&self.leaves(), &wanted, 0);
        let place = match found.map(|at| &self.0[at]) {
            Some((key, _, n)) if *key == wanted => Place::Thing { count: *n, heads: Self::head(*n) },
            Some((key, thing, n)) => Place::Other(Other { key: *key, value: value(thing, *n, &Self::head(*n)) }),
            None => Place::Empty,
        };
        HeadsProof { note: self.note(), place, path }
    }
}

fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("thing-{n}"))
}

#[test]
fn what_is_there_and_what_is_not_shows_in_maps_of_any_size() {
    for count in [0, 1, 2, 3, 7, 60] {
        let world = World::new(names(count));
        for (_, thing, n) in &world.0 {
            let proof = world.proof(thing.as_str());
            assert_eq!(proof.place, Place::Thing { count: *n, heads: World::head(*n) });
            proof.verify(thing).unwrap();
            assert!(proof.path.len() <= 24, "{}", proof.path.len());
        }
        for n in 0..50 {
            let name = format!("other-{n}");
            let proof = world.proof(&name);
            assert_eq!(proof.place, Place::Empty);
            proof.verify(&thing(&name)).unwrap();
        }
    }
}

#[test]
fn a_thing_that_is_there_cannot_be_shown_to_be_absent_nor_with_other_heads() {
    let world = World::new(names(40));
    let of = thing("thing-3");
    let good = world.proof("thing-3");
    let Place::Thing { count, heads } = &good.place else { panic!("it is there") };
    let others = [
        Place::Empty,
        Place::Thing { count: count + 1, heads: heads.clone() },
        Place::Thing { count: *count, heads: vec![] },
        Place::Thing { count: *count, heads: [&heads[..], &World::head(99)].concat() },
        Place::Other(Other { key: key(&of), value: value(&of, *count, heads) }),
        Place::Other(Other { key: world.0[0].0, value: Hash([3; 32]) }),
    ];
    for place in others {
        for cut in 0..=good.path.len() {
            let path = good.path[..cut].to_vec();
            assert!(
                HeadsProof { note: good.note.clone(), place: place.clone(), path }.verify(&of).is_err(),
                "{place:?}"
            );
        }
    }
    // The proof of another thing, absent or not.
    for name in ["thing-4", "other-1"] {
        assert!(world.proof(name).verify(&of).is_err());
        assert!(good.verify(&thing(name)).is_err());
    }
    for at in 0..good.path.len() {
        for edit in [|s: &mut Sibling| s.hash.0[0] ^= 1, |s: &mut Sibling| s.depth += 1] {
            let mut bad = good.clone();
            edit(&mut bad.path[at]);
            assert!(bad.verify(&of).is_err());
        }
    }
}

/// Names that somebody has tried until their keys begin alike.
#[test]
fn a_neighbour_stands_in_the_place_of_what_is_absent_only_if_the_keys_begin_alike() {
    let [first, second] = NEAR.map(thing);
    let common = (0..256).take_while(|depth| bit(&key(&first), *depth) == bit(&key(&second), *depth)).count();
    assert!(common >= LEAF_DEPTH, "{common}");
    let one = World::new(names(20).chain([NEAR[0].to_owned()]));
    let absent = one.proof(NEAR[1]);
    assert!(matches!(absent.place, Place::Other(_)));
    absent.verify(&second).unwrap();
    assert!(absent.verify(&first).is_err());
    let both = World::new(names(20).chain(NEAR.map(str::to_owned)));
    for name in NEAR {
        let proof = both.proof(name);
        assert_eq!(proof.path.last().map(|last| usize::from(last.depth)), Some(common));
        proof.verify(&thing(name)).unwrap();
    }
}

#[test]
fn a_path_has_one_spelling() {
    let path = World::new(names(40)).proof("thing-3").path;
    let bytes = path_bytes(&path);
    assert_eq!(read_path(&bytes).unwrap(), path);
    assert!(read_path(&[]).is_err());
    assert!(read_path(&bytes[1..]).is_err());
    assert!(read_path(&[&bytes[..33], &bytes[..33]].concat()).is_err());
    assert!(read_path(&[0; 33]).is_err());
    let longest: Vec<Sibling> = (0..=255).map(|depth| Sibling { depth, hash: Hash([1; 32]) }).collect();
    assert_eq!(read_path(&path_bytes(&longest)).unwrap(), longest);
    assert!(read_path(&[&path_bytes(&longest)[..], &[255; 33]].concat()).is_err());
}

#[test]
fn every_bit_of_a_note_counts() {
    let note = World::new(names(3)).note();
    let verifies = |text: &[u8]| {
        std::str::from_utf8(text)
            .ok()
            .and_then(|text| SignedHeads::parse(text).ok())
            .is_some_and(|note| note.verify(&node().node_key()).is_ok())
    };
    let bytes = note.as_str().as_bytes();
    assert!(verifies(bytes));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!verifies(&flipped), "{bit}");
    }
    assert!((0..bytes.len()).all(|len| !verifies(&bytes[..len])));
}

#[test]
fn other_nodes_sign_what_they_have_recomputed() {
    let (peer, note) = (SigningKey::from_seed(&[2; 32]), World::new(names(3)).note());
    let signed = note.with_signatures(&note.signature(&peer).unwrap()).unwrap();
    assert!(signed.verify(&node().node_key()).is_ok());
    for vkey in [peer.node_key().log_vkey().unwrap(), peer.node_key().witness_vkey().unwrap()] {
        assert!(signed.is_recomputed_by(&vkey).unwrap());
        assert!(!note.is_recomputed_by(&vkey).unwrap());
    }
    // The node itself is no other one.
    assert!(!signed.is_recomputed_by(&node().node_key().log_vkey().unwrap()).unwrap());
    // The signature of another note.
    let other = World::new(names(4)).note();
    assert!(other.claimed().contradicts(note.claimed()));
    let moved = other.with_signatures(&note.signature(&peer).unwrap()).unwrap();
    assert!(moved.is_signed_by(&peer.node_key()).is_err());
    // A note says nothing of the ledger as a checkpoint does.
    assert!(crate::SignedCheckpoint::parse(note.as_str()).is_err());
    assert!(SignedHeads::parse(&note.as_str().replace("thingdb.heads", "thingdb.node")).is_err());
}

#[test]
fn notes_of_nothing_and_of_something_are_told_apart() {
    let (nothing, something) = (Hash::of(b""), Hash([7; 32]));
    let origin = node().node_key().origin();
    let sign = |size, map, ledger| HeadsNote { origin, size, map, ledger }.sign(&node());
    assert!(sign(0, empty(), nothing).is_ok());
    assert!(sign(0, something, nothing).is_err());
    assert!(sign(1, empty(), something).is_err());
    assert!(sign(1, something, nothing).is_err());
    assert!(sign(crate::checkpoint::MAX_SIZE + 1, something, something).is_err());
    let strange = HeadsNote { origin: Origin([9; 16]), size: 1, map: something, ledger: something };
    assert!(strange.sign(&node()).is_err());
}
