//! What two nodes need to bring each other up to date: the log of completions,
//! checkpoints of others, proofs that a ledger has only grown, and what is
//! where.

use std::ops::ControlFlow;
use std::path::Path;

use thingdb::format::{Checkpoint, SigningKey, line, merkle};
use thingdb::{
    Contradiction, Cursors, Db, Evidence, ExportOptions, Hash, ImportOptions, NodeKey, Observation, Sender,
    SignedCheckpoint, Standing, StreamForm, StreamState, Weight, short_id,
};
use thingdb_tests::database::{assert_intact, copy_directory, fresh, options, passphrase, relaxed, scratch};

fn node(dir: &Path, name: &str) -> Db {
    relaxed().actor(name).create(dir.join(name), &passphrase()).unwrap()
}

fn introduce(a: (&Db, &str), b: (&Db, &str)) {
    a.0.add_peer(b.1, &b.0.card().unwrap()).unwrap();
    b.0.add_peer(a.1, &a.0.card().unwrap()).unwrap();
}

/// The entries at these positions, as lines.
fn lines(db: &Db, positions: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    let ranges = positions.iter().map(|at| *at..at + 1);
    db.outgoing(ranges, |outgoing| {
        assert_eq!(outgoing.entry.id(), outgoing.id);
        line::encode(&outgoing.entry, &mut out);
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    out
}

fn changed(db: &Db, since: u64, not_from: &Db) -> Vec<u64> {
    db.changes(since, "", Some(not_from.origin()), usize::MAX).unwrap().positions
}

#[test]
fn what_is_shared_later_is_in_the_log_of_changes() {
    let tmp = scratch();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    for n in 0..5 {
        a.put("x", &n.to_string()).unwrap();
    }
    assert_eq!(a.revision(), 0);
    let mut stream = Vec::new();
    a.export(ExportOptions::new(), &mut stream).unwrap();
    b.import(ImportOptions::new().from(Sender::claiming(a.origin())), &stream[..]).unwrap();
    assert_eq!(b.revision(), 0, "new entries are no changes");

    let to_bob = ["hall-2".to_owned()];
    assert_eq!(a.share("x", &to_bob, 4).unwrap().shared, 2);
    assert_eq!(a.revision(), 2);
    assert_eq!(changed(&a, 0, &b), [3, 4]);
    // Each entry has one row, that of its newest revision.
    a.add_peer("third", &node(tmp.path(), "third").card().unwrap()).unwrap();
    assert_eq!(a.share("x", &["third".to_owned()], 5).unwrap().shared, 1);
    assert_eq!(changed(&a, 0, &b), [3, 4]);
    assert_eq!(changed(&a, 2, &b), [4]);
    let some = a.changes(0, "", None, 1).unwrap();
    assert!(some.more);
    assert_eq!((some.positions, some.revision), (vec![3], 1));

    // What a node completed here is not offered to it again, only to others.
    let summary = b.import(ImportOptions::new().from(Sender::claiming(a.origin())), &lines(&a, &[3, 4])[..]).unwrap();
    assert_eq!((summary.completed, summary.added), (2, 0));
    assert_eq!(changed(&b, 0, &a), [0_u64; 0]);
    assert_eq!(b.changes(0, "", None, 10).unwrap().positions, [3, 4]);
    // Unless something else was added to it meanwhile.
    assert_eq!(b.share("x", &["hall-1".to_owned()], 5).unwrap().shared, 1);
    assert_eq!(changed(&b, 0, &a), [4]);
    let again = b.import(ImportOptions::new().from(Sender::claiming(a.origin())), &lines(&a, &[3, 4])[..]).unwrap();
    assert_eq!((again.known, again.completed), (2, 0));
    assert_eq!(changed(&b, 0, &a), [4], "what changes nothing is no change");

    // The log survives.
    a.close().unwrap();
    let a = options().open(tmp.path().join("alice"), &passphrase()).unwrap();
    assert_eq!(a.revision(), 3);
    assert_eq!(changed(&a, 0, &b), [3, 4]);
    assert_intact(&a);
    assert_intact(&b);
}

#[test]
fn a_completion_and_its_change_are_one_commit() {
    let (tmp, a) = fresh();
    let peer = node(tmp.path(), "bob");
    a.add_peer("bob", &peer.card().unwrap()).unwrap();
    for n in 0..300 {
        a.put("x", &n.to_string()).unwrap();
    }
    a.share("x", &["bob".to_owned()], 1).unwrap();
    // As a killed process leaves it.
    copy_directory(a.dir(), &tmp.path().join("copy"));
    let copy = options().open(tmp.path().join("copy"), &passphrase()).unwrap();
    let shared =
        copy.readers("x").unwrap().iter().find(|one| one.name.as_deref() == Some("bob")).map(|one| one.entries);
    assert_eq!(shared.unwrap_or(0), copy.changes(0, "", None, 1000).unwrap().positions.len() as u64);
    assert_eq!(shared, Some(300));
}

#[test]
fn what_is_here_is_found_by_half_an_id_and_by_prefix() {
    let (_tmp, db) = fresh();
    for n in 0..400 {
        db.put(["a/x", "a/y", "b/x"][n % 3], &n.to_string()).unwrap();
    }
    let ids = db.ids(0..1000).unwrap();
    assert_eq!(ids.len(), 400);
    assert_eq!(db.ids(398..400).unwrap(), ids[398..]);
    let mut asked: Vec<_> = ids.iter().map(short_id).rev().step_by(7).collect();
    asked.push([9; 16]);
    let mut expected = vec![true; asked.len() - 1];
    expected.push(false);
    assert_eq!(db.have(&asked, "").unwrap(), expected);
    assert!(!db.have(&[short_id(&ids[2])], "a/").unwrap()[0], "of another thing");
    assert!(db.have(&[short_id(&ids[2])], "b/").unwrap()[0]);
    assert_eq!(db.locate(&asked).unwrap().len(), asked.len() - 1);
    assert_eq!(db.locate(&[short_id(&ids[7]), short_id(&ids[3]), [0; 16]]).unwrap(), [3, 7]);
    let of_a: Vec<u64> = (100..200).filter(|n| n % 3 < 2).collect();
    assert_eq!(db.positions("a/", 100..200).unwrap(), of_a);
    assert_eq!(db.positions("", 0..1000).unwrap().len(), 400);
}

#[test]
fn outgoing_entries_stop_when_they_are_told_to() {
    let (_tmp, db) = fresh();
    for n in 0..50 {
        db.put("x", &n.to_string()).unwrap();
    }
    let mut seen = Vec::new();
    db.outgoing([3..5, 40..1000], |outgoing| {
        seen.push(outgoing.position);
        Ok(if outgoing.position == 42 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
    .unwrap();
    assert_eq!(seen, [3, 4, 40, 41, 42]);
    // They are what an export gives: this node reads them again.
    let copy = fresh();
    let mut all = Vec::new();
    db.outgoing(std::iter::once(0..50), |outgoing| {
        line::encode(&outgoing.entry, &mut all);
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    let summary = copy.1.import(ImportOptions::new().trust(thingdb::TrustPolicy::All), &all[..]).unwrap();
    assert_eq!(summary.added, 50);
    let mut stream = Vec::new();
    db.export(ExportOptions::new(), &mut stream).unwrap();
    let text = String::from_utf8(stream).unwrap();
    let between: Vec<&str> = text.lines().skip(1).take(50).collect();
    assert_eq!(between.join("\n") + "\n", String::from_utf8(all).unwrap());
}

/// A node of which the test holds the key.
struct Stranger {
    key: SigningKey,
    leaves: Vec<Hash>,
}

impl Stranger {
    fn new(entries: u8) -> Self {
        let leaves = (0..entries).map(|n| merkle::leaf_hash(&[n])).collect();
        Self { key: SigningKey::from_seed(&[5; 32]), leaves }
    }

    fn node(&self) -> NodeKey {
        self.key.node_key()
    }

    fn note(&self, size: usize) -> SignedCheckpoint {
        let root = merkle::root(self.leaves[..size].iter().copied());
        Checkpoint::new(self.node().origin(), size as u64, root).sign(&self.key).unwrap()
    }

    fn proof(&self, from: u64, to: u64) -> Vec<Hash> {
        merkle::consistency_proof(&self.leaves[..], from, to).unwrap()
    }
}

#[test]
fn a_ledger_that_grows_is_followed() {
    let (tmp, db) = fresh();
    let peer = Stranger::new(100);
    let origin = peer.node().origin();
    assert_eq!(db.remembered(&origin).unwrap(), thingdb::Remembered::default());
    assert_eq!(db.observe_checkpoint(&peer.node(), &peer.note(10), 0, &[]).unwrap(), Observation::New);
    assert_eq!(db.observe_checkpoint(&peer.node(), &peer.note(10), 10, &[]).unwrap(), Observation::Unchanged);
    let grown = db.observe_checkpoint(&peer.node(), &peer.note(77), 10, &peer.proof(10, 77)).unwrap();
    assert_eq!(grown, Observation::New);
    // An answer that was overtaken by another is no contradiction.
    let late = db.observe_checkpoint(&peer.node(), &peer.note(50), 10, &peer.proof(10, 50)).unwrap();
    assert_eq!(late, Observation::Outdated);
    // Nor is what another node signed.
    let other = SigningKey::from_seed(&[6; 32]);
    assert!(db.observe_checkpoint(&other.node_key(), &peer.note(77), 77, &[]).is_err());
    // It survives a kill.
    copy_directory(db.dir(), &tmp.path().join("copy"));
    let copy = options().open(tmp.path().join("copy"), &passphrase()).unwrap();
    assert_eq!(copy.remembered(&origin).unwrap().checkpoint.unwrap().bare().unwrap(), peer.note(77));
    assert!(!db.dir().join("evidence").exists());
}

#[test]
fn a_ledger_that_shrinks_or_differs_leaves_evidence() {
    let peer = Stranger::new(100);
    let origin = peer.node().origin();
    let mut other = Stranger::new(100);
    other.leaves[3] = merkle::leaf_hash(b"another entry");
    let cases = [
        (peer.note(40), vec![], Contradiction::RolledBack, Weight::Testimony),
        (other.note(40), vec![], Contradiction::RolledBack, Weight::Testimony),
        (other.note(50), vec![], Contradiction::SplitView, Weight::Proof),
        (other.note(60), other.proof(50, 60), Contradiction::SplitView, Weight::Testimony),
        (peer.note(60), vec![], Contradiction::SplitView, Weight::Testimony),
    ];
    for (shown, proof, found, weight) in cases {
        let (_tmp, db) = fresh();
        assert_eq!(db.observe_checkpoint(&peer.node(), &peer.note(50), 0, &[]).unwrap(), Observation::New);
        db.set_cursors(&origin, "", &Cursors { pulled: 50, ..Cursors::default() }).unwrap();
        let Observation::Contradicts(conflict) = db.observe_checkpoint(&peer.node(), &shown, 50, &proof).unwrap()
        else {
            panic!("{found} was not noticed");
        };
        assert_eq!(conflict.evidence.found, found);
        let remembered = conflict.evidence.remembered.bare().unwrap();
        assert_eq!((&remembered, &conflict.evidence.shown), (&peer.note(50), &shown));
        // Anyone can check the file.
        let evidence: Evidence = std::fs::read_to_string(&conflict.file).unwrap().parse().unwrap();
        assert_eq!(evidence, conflict.evidence);
        assert_eq!(evidence.check().unwrap(), weight);
        // It stays, whatever is shown next, across a restart, until somebody
        // has looked at it.
        let again = db.observe_checkpoint(&peer.node(), &peer.note(70), 50, &peer.proof(50, 70)).unwrap();
        assert_eq!(again, Observation::Contradicts(conflict.clone()));
        let dir = db.dir().to_owned();
        db.close().unwrap();
        let db = options().open(&dir, &passphrase()).unwrap();
        assert_eq!(db.remembered(&origin).unwrap().conflict.as_ref(), Some(&*conflict));
        assert_eq!(db.cursors(&origin, "").unwrap().pulled, 50);
        db.forget_checkpoint(&origin).unwrap();
        assert_eq!(db.cursors(&origin, "").unwrap(), Cursors::default());
        assert_eq!(db.observe_checkpoint(&peer.node(), &shown, 0, &[]).unwrap(), Observation::New);
        assert!(conflict.file.exists(), "evidence is never thrown away");
    }
}

#[test]
fn a_node_proves_its_growth_and_learns_of_its_own_rollback() {
    let (tmp, a) = fresh();
    let b = node(tmp.path(), "bob");
    let mut since = 0;
    for _ in 0..5 {
        for n in 0..90 {
            a.put("x", &n.to_string()).unwrap();
        }
        let note = a.newest_checkpoint().unwrap();
        assert_eq!(a.newest_checkpoint().unwrap(), note);
        let proof = a.consistency_proof(since, note.claimed().size).unwrap();
        assert_eq!(b.observe_checkpoint(&a.node_key(), &note, since, &proof).unwrap(), Observation::New);
        since = note.claimed().size;
        if since == 180 {
            copy_directory(a.dir(), &tmp.path().join("old"));
        }
    }
    let kept = b.remembered(&a.origin()).unwrap().checkpoint.unwrap();
    assert!(a.standing(&kept).unwrap().is_consistent());
    assert!(a.consistency_proof(since, since + 1).unwrap().is_empty());
    assert!(a.standing(&b.newest_checkpoint().unwrap()).is_err(), "a checkpoint of another node");

    // The whole directory is set back, its own checkpoint too.
    let old = options().open(tmp.path().join("old"), &passphrase()).unwrap();
    // It was copied while it was open, which is told.
    assert!(old.warnings().iter().all(|warning| matches!(warning, thingdb::Warning::Repaired(_))));
    assert_eq!(old.standing(&kept).unwrap(), Standing::Truncated { expected: 450, found: 180 });
    let shown = old.newest_checkpoint().unwrap();
    let seen = b.observe_checkpoint(&a.node_key(), &shown, since, &[]).unwrap();
    assert!(matches!(seen, Observation::Contradicts(conflict) if conflict.evidence.found == Contradiction::RolledBack));
}

#[test]
fn cursors_are_kept_apart_by_node_and_prefix() {
    let (_tmp, db) = fresh();
    let (one, two) = (Stranger::new(1).node().origin(), SigningKey::from_seed(&[6; 32]).node_key().origin());
    let at = |pulled| Cursors { pulled, ..Cursors::default() };
    db.set_cursors(&one, "", &at(1)).unwrap();
    db.set_cursors(&one, "a/", &at(2)).unwrap();
    db.set_cursors(&two, "", &at(3)).unwrap();
    db.set_cursors(&one, "", &at(4)).unwrap();
    let found = [(&one, ""), (&one, "a/"), (&two, ""), (&two, "a/")]
        .map(|(node, prefix)| db.cursors(node, prefix).unwrap().pulled);
    assert_eq!(found, [4, 2, 3, 0]);
    db.forget_checkpoint(&one).unwrap();
    let found = [(&one, ""), (&one, "a/"), (&two, "")].map(|(node, prefix)| db.cursors(node, prefix).unwrap().pulled);
    assert_eq!(found, [0, 0, 3]);
}

#[test]
fn a_binary_stream_brings_what_lines_bring() {
    let tmp = scratch();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    a.put("x", "1").unwrap();
    let drafts = |n: usize| thingdb::Draft::json(["x", "y", "z"][n % 3], n.to_string()).unwrap();
    a.write_batch((0..900).map(drafts).collect()).unwrap();
    a.put("y", &format!("\"{}\"", "large".repeat(5000))).unwrap();
    a.share("y", &["hall-2".to_owned()], 1).unwrap();
    let export = |form| {
        let mut out = Vec::new();
        a.export(ExportOptions::new().form(form), &mut out).unwrap();
        out
    };
    let (lines, frames) = (export(StreamForm::Lines), export(StreamForm::Binary));
    assert!(frames.len() * 2 < lines.len(), "{} of {}", frames.len(), lines.len());
    let summary = b.import(ImportOptions::new(), &frames[..]).unwrap();
    assert_eq!((summary.added, summary.entries, summary.refused), (902, 902, 0), "{:?}", summary.reasons);
    assert!(summary.stream.is_complete(), "{:?}", summary.stream);
    assert_intact(&b);
    // Both say the same: lines bring nothing that frames did not.
    let again = b.import(ImportOptions::new(), &lines[..]).unwrap();
    assert_eq!((again.known, again.completed, again.added), (902, 0, 0));
    // Cut or changed it is told, and what came before is kept.
    let c = node(tmp.path(), "carol");
    c.add_peer("hall-1", &a.card().unwrap()).unwrap();
    let half = c.import(ImportOptions::new(), &frames[..frames.len() / 2]).unwrap();
    assert_eq!(half.stream, StreamState::Cut);
    assert!(half.added > 0 && half.added < 902);
    let mut changed = frames.clone();
    let at = frames.len() * 3 / 4;
    changed[at] ^= 0x80;
    let rest = c.import(ImportOptions::new(), &changed[..]).unwrap();
    assert!(rest.refused > 0 || matches!(rest.stream, StreamState::Damaged(_) | StreamState::Cut), "{rest:?}");
    assert!(rest.added + rest.known >= half.added);
    let whole = c.import(ImportOptions::new(), &frames[..]).unwrap();
    assert_eq!((whole.refused, c.ledger_size()), (0, 902));
    assert_intact(&c);
}

#[test]
fn what_was_testimony_becomes_a_proof() {
    let (tmp, a) = fresh();
    let peer = node(tmp.path(), "bob");
    a.add_peer("bob", &peer.card().unwrap()).unwrap();
    let key = peer.node_key();
    let twin = tmp.path().join("twin");
    peer.put("x", "1").unwrap();
    let (old, bob) = (peer.checkpoint().unwrap(), peer.origin());
    peer.close().unwrap();
    copy_directory(&tmp.path().join("bob"), &twin);
    let peer = options().open(tmp.path().join("bob"), &passphrase()).unwrap();
    peer.put("x", "2").unwrap();
    let new = peer.checkpoint().unwrap();
    assert_eq!(a.observe_checkpoint(&key, &new, 0, &[]).unwrap(), Observation::New);
    let found = |note: &SignedCheckpoint| match a.observe_checkpoint(&key, note, 2, &[]).unwrap() {
        Observation::Contradicts(conflict) => {
            (conflict.evidence.found, conflict.evidence.check().unwrap(), conflict.file)
        }
        other => panic!("{other:?}"),
    };
    let (word, weight, first) = found(&old);
    assert_eq!((word, weight), (Contradiction::RolledBack, Weight::Testimony));
    let twin = options().open(&twin, &passphrase()).unwrap();
    twin.put("x", "3").unwrap();
    let (word, weight, second) = found(&twin.checkpoint().unwrap());
    assert_eq!((word, weight), (Contradiction::SplitView, Weight::Proof));
    // Whatever comes after that, it stays a proof, and both files stay.
    for note in [&old, &new] {
        assert_eq!(found(note), (Contradiction::SplitView, Weight::Proof, second.clone()));
    }
    assert_eq!(a.remembered(&bob).unwrap().checkpoint.unwrap().bare().unwrap(), new);
    assert!(first != second && first.exists() && second.exists());

    // The twin is shown what became of the ledger, and writes nothing more.
    assert!(!twin.heed(&new).unwrap().is_consistent());
    assert!(twin.put("x", "4").unwrap_err().is_read_only());
    twin.close().unwrap();
    let twin = options().open(tmp.path().join("twin"), &passphrase()).unwrap();
    assert!(twin.put("x", "4").unwrap_err().is_read_only());
    assert!(peer.heed(&old).unwrap().is_consistent());
    peer.put("x", "3").unwrap();
}
