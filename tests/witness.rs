//! Witnesses: nodes that cosign each other's checkpoints, and what a set-back or
//! forked ledger gets from them.

use std::path::Path;

use thingdb::format::audit::Memos;
use thingdb::format::heads::SignedHeads;
use thingdb::format::note::KeyKind;
use thingdb::format::proof::{ProofCheck, examine};
use thingdb::format::{AddCheckpoint, Checkpoint, Policy, SigningKey, VerifierKey, checkpoint};
use thingdb::{
    Cosigned, Cosigning, Db, Hash, Hearsay, Observation, ProveOptions, Recomputed, SignedCheckpoint, SplitHeads,
    Weight, Witness,
};
use thingdb_tests::database::{copy_directory, options, passphrase, relaxed, scratch};

fn node(dir: &Path, name: &str) -> Db {
    relaxed().actor(name).create(dir.join(name), &passphrase()).unwrap()
}

/// `of` is known to `to` as "log", and the other way round as "witness".
fn introduce(of: &Db, to: &Db) {
    to.add_peer("log", &of.card().unwrap()).unwrap();
    of.add_peer("witness", &to.card().unwrap()).unwrap();
}

fn request(db: &Db, old: u64) -> AddCheckpoint {
    let checkpoint = db.checkpoint().unwrap();
    let proof = if old == 0 { vec![] } else { db.consistency_proof(old, checkpoint.claimed().size).unwrap() };
    AddCheckpoint { old, proof, checkpoint }
}

/// The name of the ledger of a node, as a witness is asked for it.
fn name(db: &Db) -> String {
    Hash::of(checkpoint::name(db.origin()).as_bytes()).to_string()
}

/// Has the newest checkpoint of a node cosigned, and kept by it.
fn cosigned(log: &Db, witness: &Db, old: u64) -> Cosigned {
    let request = request(log, old);
    let Cosigning::Cosigned(line) = witness.cosign(&request).unwrap() else { panic!("it was not cosigned") };
    log.keep_cosignatures(&request.checkpoint.with_signatures(&line).unwrap()).unwrap()
}

#[test]
fn a_ledger_that_grows_is_cosigned_and_the_proof_file_shows_it() {
    let tmp = scratch();
    let (log, witness) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce(&log, &witness);
    log.put("part-42", "1").unwrap();
    let first = cosigned(&log, &witness, 0);
    assert_eq!(first.by.len(), 1);
    assert_eq!(first.by[0].0, "witness");
    log.put("part-42", "2").unwrap();
    log.put("part-42", "3").unwrap();
    cosigned(&log, &witness, 1);
    log.put("part-42", "4").unwrap();

    // Of one witness the newest is kept.
    let kept = log.cosigned().unwrap();
    assert_eq!(kept.iter().map(|it| it.checkpoint.claimed().size).collect::<Vec<_>>(), [3]);
    let served = witness.cosigned_of(&name(&log)).unwrap().unwrap();
    assert_eq!(served.text(), kept[0].checkpoint.text());

    let policy = policy(&log, &[&witness]);
    let mut file = Vec::new();
    log.prove("part-42", ProveOptions::new(), &mut file).unwrap();
    let notes = proven(&file, &log);
    let judged: Vec<_> = notes.iter().map(|note| (note.claimed().size, policy.judge(note).unwrap().is_met())).collect();
    assert_eq!(judged, [(4, false), (3, true)]);

    // When the newest state is cosigned, the file says so of it.
    cosigned(&log, &witness, 3);
    let mut file = Vec::new();
    log.prove("part-42", ProveOptions::new(), &mut file).unwrap();
    let notes = proven(&file, &log);
    assert_eq!(notes.len(), 1);
    assert!(policy.judge(&notes[0]).unwrap().is_met());

    // What is kept outlives the process.
    log.close().unwrap();
    let log = options().open(tmp.path().join("alice"), &passphrase()).unwrap();
    assert_eq!(log.cosigned().unwrap()[0].checkpoint.claimed().size, 4);
}

fn policy(log: &Db, witnesses: &[&Db]) -> Policy {
    let mut text = format!("log {}\n", log.node_key().log_vkey().unwrap());
    let mut names = String::new();
    for (witness, number) in witnesses.iter().zip(1..) {
        text += &format!("witness w{number} {}\n", witness.node_key().witness_vkey().unwrap());
        names += &format!(" w{number}");
    }
    text += &format!("group all-of-them all{names}\nquorum all-of-them\n");
    Policy::parse(text.as_bytes()).unwrap()
}

/// The checkpoints of a proof file that holds, the newest first.
fn proven(file: &[u8], log: &Db) -> Vec<SignedCheckpoint> {
    let (mut check, mut memos) = (ProofCheck::new().trust(&log.card().unwrap()), Memos::default());
    for (line, number) in file.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        check.take(examine(line, number, &mut memos));
    }
    let report = check.finish();
    assert!(report.is_good(), "{report:?}");
    let header = report.header.unwrap();
    let earlier = header.earlier.into_iter().map(|earlier| earlier.checkpoint);
    let mut notes: Vec<SignedCheckpoint> = std::iter::once(header.checkpoint).chain(earlier).collect();
    notes.sort_by_key(|note| std::cmp::Reverse(note.claimed().size));
    notes
}

#[test]
fn what_a_witness_refuses() {
    let tmp = scratch();
    let (log, witness) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    log.put("x", "1").unwrap();
    assert_eq!(witness.cosign(&request(&log, 0)).unwrap(), Cosigning::UnknownLog);
    assert_eq!(log.cosign(&request(&log, 0)).unwrap(), Cosigning::UnknownLog, "nobody is his own witness");
    introduce(&log, &witness);
    assert_eq!(witness.cosigned_of(&name(&log)).unwrap(), None);

    // Somebody else's signature under the name of the log.
    let good = request(&log, 0);
    let text = good.checkpoint.to_string();
    let (body, line) = text.split_once("\n\n").unwrap();
    let mut bad = line.to_owned();
    let at = bad.len() - 10;
    let other = if bad.as_bytes()[at] == b'A' { "B" } else { "A" };
    bad.replace_range(at..=at, other);
    let bad =
        AddCheckpoint { checkpoint: SignedCheckpoint::parse(&format!("{body}\n\n{bad}")).unwrap(), ..good.clone() };
    assert_eq!(witness.cosign(&bad).unwrap(), Cosigning::NotSigned);

    // A proof where none can be.
    let proof = vec![Hash([1; 32])];
    assert_eq!(witness.cosign(&AddCheckpoint { proof, ..good.clone() }).unwrap(), Cosigning::Inconsistent);
    assert!(matches!(witness.cosign(&good).unwrap(), Cosigning::Cosigned(_)));
    // The same again, from what is known now.
    assert_eq!(witness.cosign(&good).unwrap(), Cosigning::OtherSize(1));
    assert!(matches!(witness.cosign(&request(&log, 1)).unwrap(), Cosigning::Cosigned(_)));

    log.put("x", "2").unwrap();
    log.put("x", "3").unwrap();
    let mut wrong = request(&log, 1);
    wrong.proof[0].0[0] ^= 1;
    assert_eq!(witness.cosign(&wrong).unwrap(), Cosigning::Inconsistent);
    // A bad proof was anybody's: it is held against nobody.
    assert_eq!(witness.remembered(&log.origin()).unwrap().conflict, None);
    assert!(matches!(witness.cosign(&request(&log, 1)).unwrap(), Cosigning::Cosigned(_)));
}

/// A ledger that was copied and goes on in two places: the witness cosigns one.
#[test]
fn a_forked_ledger_is_cosigned_once() {
    let tmp = scratch();
    let (log, witness) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce(&log, &witness);
    log.put("x", "1").unwrap();
    cosigned(&log, &witness, 0);
    log.close().unwrap();
    copy_directory(&tmp.path().join("alice"), &tmp.path().join("copy"));
    let [one, two] = ["alice", "copy"].map(|name| options().open(tmp.path().join(name), &passphrase()).unwrap());
    one.put("x", r#""here""#).unwrap();
    two.put("x", r#""there""#).unwrap();
    cosigned(&one, &witness, 1);
    assert_eq!(witness.cosign(&request(&two, 1)).unwrap(), Cosigning::OtherSize(2));
    // Two roots of one size are the proof, and stay one.
    let mut forked = request(&two, 0);
    forked.old = 2;
    assert_eq!(witness.cosign(&forked).unwrap(), Cosigning::Inconsistent);
    let conflict = witness.remembered(&one.origin()).unwrap().conflict.expect("it is kept");
    assert!(conflict.file.exists());
    assert_eq!(conflict.evidence.check().unwrap(), thingdb::Weight::Proof);
    one.put("x", "3").unwrap();
    assert_eq!(witness.cosign(&request(&one, 2)).unwrap(), Cosigning::Inconsistent);
}

/// An exchange and a request look at one memory: what one has seen, the other knows.
#[test]
fn an_exchange_cosigns_too() {
    let tmp = scratch();
    let (log, witness) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce(&log, &witness);
    log.put("x", "1").unwrap();
    let note = log.checkpoint().unwrap();
    assert_eq!(witness.observe_checkpoint(&log.node_key(), &note, 0, &[]).unwrap(), Observation::New);
    let own = witness.node_key().witness_vkey().unwrap();
    let remembered = witness.remembered(&log.origin()).unwrap().checkpoint.unwrap();
    assert!(remembered.cosigned_by(&own).unwrap().is_some());
    assert_eq!(log.keep_cosignatures(&remembered).unwrap().by[0].0, "witness");
    assert_eq!(witness.cosign(&request(&log, 0)).unwrap(), Cosigning::OtherSize(1));
}

#[test]
fn what_strangers_say_is_not_kept() {
    let tmp = scratch();
    let log = node(tmp.path(), "alice");
    log.put("x", "1").unwrap();
    let note = log.checkpoint().unwrap();
    let strangers: String = (1..60).map(|seed| note.cosign(&key(seed), 5).unwrap()).collect();
    let kept = log.keep_cosignatures(&note.with_signatures(&strangers).unwrap()).unwrap();
    assert_eq!((kept.by.len(), kept.checkpoint), (0, note.clone()));
    assert!(log.cosigned().unwrap().is_empty());

    // One of them is asked now; a bad line of another spoils nothing.
    log.add_witness(witness(7)).unwrap();
    log.add_witness(witness(8)).unwrap();
    let other = Checkpoint::new(log.origin(), 2, Hash([2; 32]));
    assert!(other.sign(&key(1)).is_err());
    let lines = note.cosign(&key(7), 5).unwrap() + &resigned(&note, 8);
    let kept = log.keep_cosignatures(&note.with_signatures(&lines).unwrap()).unwrap();
    assert_eq!(kept.by, [("w7".to_owned(), 5)]);
    // Not a checkpoint of this node.
    let stranger = Checkpoint::new(key(9).node_key().origin(), 1, Hash([2; 32])).sign(&key(9)).unwrap();
    assert!(log.keep_cosignatures(&stranger).unwrap_err().is_invalid_input());
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn witness(seed: u8) -> Witness {
    let vkey = key(seed).node_key().witness_vkey().unwrap();
    Witness { name: format!("w{seed}"), url: "https://witness.example/".into(), vkey, tls: None }
}

/// A line of a witness whose signature is not good.
fn resigned(note: &SignedCheckpoint, seed: u8) -> String {
    let mut line = note.cosign(&key(seed), 5).unwrap();
    let at = line.len() - 20;
    let other = if line.as_bytes()[at] == b'A' { "B" } else { "A" };
    line.replace_range(at..=at, other);
    line
}

#[test]
fn each_witness_is_asked_once() {
    let tmp = scratch();
    let log = node(tmp.path(), "alice");
    assert!(log.witnesses().unwrap().is_empty());
    log.add_witness(witness(7)).unwrap();
    let twice = Witness { name: "other".into(), ..witness(7) };
    assert!(log.add_witness(twice).unwrap_err().is_invalid_input());
    let named = Witness { name: "w7".into(), ..witness(8) };
    assert!(log.add_witness(named).unwrap_err().is_invalid_input());
    let of_a_log = VerifierKey::new("w8", KeyKind::Log, key(8).node_key().0).unwrap();
    assert!(log.add_witness(Witness { vkey: of_a_log, ..witness(8) }).unwrap_err().is_invalid_input());
    log.add_witness(witness(8)).unwrap();
    log.close().unwrap();
    let log = options().open(tmp.path().join("alice"), &passphrase()).unwrap();
    assert_eq!(log.witnesses().unwrap(), [witness(7), witness(8)]);
    assert_eq!(log.remove_witness("w7").unwrap(), witness(7));
    assert!(log.remove_witness("w7").unwrap_err().is_not_found());
    assert_eq!(log.witnesses().unwrap(), [witness(8)]);
}

/// `node` went on in two copies: one showed itself to `a`, the other one to `b`, at
/// these sizes.
fn two_faces(tmp: &Path, sizes: [u64; 2]) -> ([Db; 2], [Db; 2]) {
    let node = node(tmp, "split");
    node.put("part-42", "1").unwrap();
    let card = node.card().unwrap();
    node.close().unwrap();
    copy_directory(&tmp.join("split"), &tmp.join("copy"));
    let faces = ["split", "copy"].map(|name| options().open(tmp.join(name), &passphrase()).unwrap());
    let watchers = ["alice", "bob"].map(|name| self::node(tmp, name));
    for ((face, watcher), size) in faces.iter().zip(&watchers).zip(sizes) {
        for n in 1..size {
            face.put("part-42", &format!("\"{} {n}\"", watcher.origin())).unwrap();
        }
        watcher.add_peer("split", &card).unwrap();
        let seen = watcher.observe_checkpoint(&card.node_key, &face.checkpoint().unwrap(), 0, &[]).unwrap();
        assert_eq!(seen, Observation::New);
    }
    (faces, watchers)
}

/// What `from` passes on to `to`.
fn passed_on(from: &Db, to: &Db) -> Vec<Hearsay> {
    from.to_pass_on(&to.origin()).unwrap().iter().map(|note| to.hear(note).unwrap()).collect()
}

#[test]
fn two_faces_of_one_size_are_a_proof_where_two_meet() {
    let tmp = scratch();
    let (faces, [a, b]) = two_faces(tmp.path(), [2, 2]);
    let heard = passed_on(&a, &b);
    let [Hearsay::Contradicts(conflict)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(conflict.evidence.check().unwrap(), Weight::Proof);
    assert!(conflict.file.exists());
    // Said once.
    assert_eq!(passed_on(&a, &b), [Hearsay::Nothing]);
    // Whoever hears of it next has the proof, too.
    let heard = passed_on(&b, &a);
    assert!(heard.iter().any(|it| matches!(it, Hearsay::Contradicts(_))), "{heard:?}");
    let node = faces[0].origin();
    assert!([&a, &b].iter().all(|db| db.remembered(&node).unwrap().conflict.is_some()));
    a.forget_checkpoint(&node).unwrap();
    assert_eq!(a.heard(&node).unwrap(), None);
}

/// What a node says of the heads of all things in one ledger it says once.
#[test]
fn two_heads_notes_of_one_size_convict_whoever_signed_them() {
    let tmp = scratch();
    let ([one, other], [watcher, _]) = two_faces(tmp.path(), [2, 2]);
    let (key, origin) = (one.node_key(), one.origin());
    let notes = [&one, &other].map(|face| face.heads_note().unwrap().1);
    // Its ledger is not here, and nobody can say whether it is true: it is remembered.
    for _ in 0..2 {
        assert_eq!(watcher.recompute_heads(&notes[0]).unwrap(), Recomputed::OtherLedger);
    }
    assert_eq!(watcher.heads_conflict(&key).unwrap(), None);
    // Nobody else can say it in its name.
    let forged = notes[1].as_str().replacen("ledger ", "ledger Q", 1).replacen("=\n\n", "\n\n", 1);
    assert!(
        SignedHeads::parse(&forged).map_or(Ok(Recomputed::NotSigned), |note| watcher.recompute_heads(&note)).unwrap()
            == Recomputed::NotSigned
    );
    let Recomputed::Contradicts(conflict) = watcher.recompute_heads(&notes[1]).unwrap() else { panic!("unnoticed") };
    let text = std::fs::read_to_string(&conflict.file).unwrap();
    let evidence: SplitHeads = text.parse().unwrap();
    assert_eq!(evidence, conflict.evidence);
    evidence.check().unwrap();
    assert!(text.parse::<thingdb::Evidence>().is_err());
    // It stays, whatever comes next, across a restart, until somebody has looked at it.
    one.put("part-43", "1").unwrap();
    let grown = one.heads_note().unwrap().1;
    assert_eq!(watcher.recompute_heads(&grown).unwrap(), Recomputed::Contradicts(conflict.clone()));
    let dir = watcher.dir().to_owned();
    watcher.close().unwrap();
    let watcher = options().open(&dir, &passphrase()).unwrap();
    assert_eq!(watcher.heads_conflict(&key).unwrap().as_ref(), Some(&*conflict));
    watcher.forget_checkpoint(&origin).unwrap();
    assert_eq!(watcher.heads_conflict(&key).unwrap(), None);
    assert_eq!(watcher.recompute_heads(&grown).unwrap(), Recomputed::OtherLedger);
    // An older one says nothing any more, and a ledger that grows is no contradiction.
    assert_eq!(watcher.recompute_heads(&notes[0]).unwrap(), Recomputed::OtherLedger);
    assert_eq!(watcher.heads_conflict(&key).unwrap(), None);
    assert!(conflict.file.exists(), "evidence is never thrown away");
}

/// Nobody need be shown both: two who were told two things tell each other.
#[test]
fn heads_notes_of_third_nodes_are_passed_on() {
    let tmp = scratch();
    let ([one, other], [a, b]) = two_faces(tmp.path(), [2, 2]);
    let (key, origin) = (one.node_key(), one.origin());
    let notes = [&one, &other].map(|face| face.heads_note().unwrap().1);
    for (watcher, note) in [&a, &b].into_iter().zip(&notes) {
        assert_eq!(watcher.recompute_heads(note).unwrap(), Recomputed::OtherLedger);
    }
    let passed = |from: &Db, to: &Db| -> Vec<_> {
        let notes = from.heads_to_pass_on(&to.origin()).unwrap();
        notes.iter().filter_map(|note| to.hear_heads(note).unwrap()).collect()
    };
    // Not to the node itself.
    assert_eq!(a.heads_to_pass_on(&origin).unwrap(), []);
    assert_eq!(a.heads_to_pass_on(&b.origin()).unwrap().len(), 1);
    let found = passed(&a, &b);
    let [conflict] = &found[..] else { panic!("{found:?}") };
    conflict.evidence.check().unwrap();
    assert!(conflict.file.exists());
    assert_eq!(b.heads_conflict(&key).unwrap().as_ref(), Some(conflict));
    // Said once, and whoever hears of it next has both.
    assert_eq!(passed(&a, &b), []);
    assert_eq!(b.heads_to_pass_on(&a.origin()).unwrap().len(), 2);
    assert_eq!(passed(&b, &a).len(), 1);
    assert_eq!(passed(&b, &a), []);
    // Of a node that nobody knows, or not signed by it: nothing.
    let stranger = node(tmp.path(), "stranger");
    stranger.put("x", "1").unwrap();
    assert_eq!(a.hear_heads(&stranger.heads_note().unwrap().1).unwrap(), None);
    assert_eq!(a.heads_conflict(&stranger.node_key()).unwrap(), None);
    assert_eq!(one.hear_heads(&notes[1]).unwrap(), None, "of itself a node hears nothing");
}

#[test]
fn two_faces_of_two_sizes_have_to_answer_for_each_other() {
    for sizes in [[2, 4], [4, 2]] {
        let tmp = scratch();
        let ([_, face], [a, b]) = two_faces(tmp.path(), sizes);
        assert_eq!(passed_on(&a, &b), [Hearsay::Kept]);
        let heard = b.heard(&face.origin()).unwrap().unwrap();
        let note = face.checkpoint().unwrap();
        let proof = face.consistency_proof(heard.claimed().size, note.claimed().size).unwrap();
        let seen = b.settle_heard(&face.node_key(), &note, &proof).unwrap();
        let Observation::Contradicts(conflict) = seen else { panic!("{sizes:?}: {seen:?}") };
        conflict.evidence.check().unwrap();
        assert!(b.remembered(&face.origin()).unwrap().conflict.is_some());
    }
}

#[test]
fn one_face_that_grows_answers_for_itself_and_nobody_else_is_heard() {
    let tmp = scratch();
    let (log, a, b) = (node(tmp.path(), "log"), node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    let card = log.card().unwrap();
    for (watcher, data) in [(&b, "1"), (&a, "2")] {
        log.put("part-42", data).unwrap();
        watcher.add_peer("log", &card).unwrap();
        watcher.observe_checkpoint(&card.node_key, &log.checkpoint().unwrap(), 0, &[]).unwrap();
    }
    // The one that stands nearer to the node hears of an older state, and the other way round.
    for (from, to) in [(&b, &a), (&a, &b)] {
        assert_eq!(passed_on(from, to), [Hearsay::Kept]);
        let heard = to.heard(&log.origin()).unwrap().unwrap();
        let note = log.checkpoint().unwrap();
        let known = to.remembered(&log.origin()).unwrap().checkpoint.unwrap().claimed().size;
        let proof = log.consistency_proof(known, 2).unwrap();
        to.observe_checkpoint(&card.node_key, &note, known, &proof).unwrap();
        let proof = log.consistency_proof(heard.claimed().size, 2).unwrap();
        assert_eq!(to.settle_heard(&card.node_key, &note, &proof).unwrap(), Observation::New);
        assert_eq!(to.heard(&log.origin()).unwrap(), None);
    }
    // Another key under the name of the node, a node that nobody knows, and the node itself.
    let note = log.checkpoint().unwrap();
    let forged = SigningKey::from_seed(&[7; 32]);
    let other = Checkpoint::new(forged.node_key().origin(), 9, Hash([1; 32])).sign(&forged).unwrap();
    let text = other.as_str().replace(&forged.node_key().origin().to_string(), &log.origin().to_string());
    for bad in [other, SignedCheckpoint::parse(&text).unwrap()] {
        assert_eq!(a.hear(&bad).unwrap(), Hearsay::Nothing);
    }
    assert_eq!(log.hear(&note).unwrap(), Hearsay::Nothing);
    assert_eq!(a.to_pass_on(&log.origin()).unwrap(), []);
    assert_eq!(a.remembered(&log.origin()).unwrap().conflict, None);
}
