//! Trust that a person withdrew stays withdrawn: it belongs to the key, and no
//! card, no gap, no other peer and no restart brings it back.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Barrier;

use thingdb::format::{Actor, Card, CardFields, DecryptionKey, SigningKey, Time};
use thingdb::{Db, Draft, Error, ImportOptions, Scope, TokenRefusal, TokenRequest, Verdict};
use thingdb_tests::database::{Dice, export, passphrase, relaxed, rounds, scratch, seed, verify};

fn node(dir: &Path, name: &str) -> Db {
    relaxed().actor(name).create(dir.join(name), &passphrase()).unwrap()
}

fn keys<const N: usize>() -> [SigningKey; N] {
    [(); N].map(|()| SigningKey::generate(&mut rand::rng()))
}

/// A card of `node` with these actors.
fn card(node: &SigningKey, time: u64, actors: &[(Actor, &str)]) -> Card {
    let mut actors: Vec<(Actor, String)> = actors.iter().map(|(key, name)| (*key, (*name).to_owned())).collect();
    actors.sort();
    let fields = CardFields {
        time: Time::from_micros(time).unwrap(),
        node_key: node.node_key(),
        encryption_key: DecryptionKey::generate(&mut rand::rng()).encryption_key(),
        tls: None,
        name: String::new(),
        actors,
    };
    Card::sign(fields, node).unwrap()
}

fn trusts(db: &Db, key: &SigningKey) -> bool {
    db.trusted_actors().iter().any(|actor| actor.key == key.actor())
}

fn reopened(db: Db) -> Db {
    let dir = db.dir().to_owned();
    db.close().unwrap();
    Db::open(dir, &passphrase()).unwrap()
}

#[test]
fn no_card_brings_back_what_a_person_withdrew() {
    let tmp = scratch();
    let db = node(tmp.path(), "a");
    let [hall, press, mallory, bob] = keys();
    let m = (mallory.actor(), "mallory");
    db.add_peer("hall", &card(&hall, 1, &[m])).unwrap();
    assert!(db.untrust_actor(&mallory.actor()).unwrap());
    assert!(!db.untrust_actor(&mallory.actor()).unwrap(), "once is enough");
    let stays = |introduction: &thingdb::Introduction| {
        assert_eq!(introduction.actors.iter().filter(|(key, _)| *key == m.0).count(), 0);
        let withdrawn = introduction.withdrawn.iter().find(|withdrawn| withdrawn.key == m.0).expect("it is told");
        assert_eq!((&*withdrawn.known, &*withdrawn.claimed), ("mallory", "mallory"));
    };
    // Another peer names it, the same one after a gap, and one that was removed.
    stays(&db.introduce("press", &card(&press, 1, &[m])).unwrap());
    stays(&db.add_peer("press", &card(&press, 1, &[m])).unwrap());
    assert_eq!(db.add_peer("hall", &card(&hall, 2, &[])).unwrap().withdrawn, []);
    stays(&db.add_peer("hall", &card(&hall, 3, &[m])).unwrap());
    db.remove_peer("hall").unwrap();
    stays(&db.add_peer("hall", &card(&hall, 4, &[m])).unwrap());
    db.remove_peer("press").unwrap();
    stays(&db.add_peer("again", &card(&press, 5, &[m])).unwrap());
    assert!(!trusts(&db, &mallory));
    let db = reopened(db);
    assert!(!trusts(&db, &mallory));
    stays(&db.add_peer("hall", &card(&hall, 6, &[m])).unwrap());

    // Another key does not get its name from a card, or who reads the one would
    // take it for the other.
    let introduction = db.add_peer("hall", &card(&hall, 7, &[m, (bob.actor(), "mallory")])).unwrap();
    assert_eq!(introduction.actors, [(bob.actor(), "hall/mallory".to_owned())]);

    // A person takes it back, and then it is as any other.
    db.trust_actor("mallory", mallory.actor()).unwrap();
    assert!(trusts(&db, &mallory));
    assert_eq!(db.add_peer("hall", &card(&hall, 8, &[m])).unwrap().withdrawn, []);
}

/// Trust that only ended because its node went is another thing: it comes back
/// with that node, and with no other.
#[test]
fn what_ended_with_a_peer_comes_back_with_that_peer_only() {
    let tmp = scratch();
    let db = node(tmp.path(), "a");
    let [hall, press, zoe] = keys();
    let z = (zoe.actor(), "zoe");
    db.add_peer("hall", &card(&hall, 1, &[z])).unwrap();
    let gone = db.remove_peer("hall").unwrap();
    assert_eq!((gone.withdrawn, gone.kept), (vec![(z.0, "zoe".to_owned())], vec![]));
    let db = reopened(db);
    assert_eq!(db.add_peer("press", &card(&press, 1, &[z])).unwrap().withdrawn.len(), 1);
    assert!(!trusts(&db, &zoe));
    let back = db.add_peer("hall", &card(&hall, 2, &[z])).unwrap();
    assert_eq!((back.was_withdrawn.map(|(name, _)| name).as_deref(), back.withdrawn), (Some("hall"), vec![]));
    assert!(trusts(&db, &zoe));
    // Withdrawn from the key itself while its node was away: that is for good.
    db.remove_peer("press").unwrap();
    db.remove_peer("hall").unwrap();
    assert!(db.untrust_actor(&zoe.actor()).unwrap());
    assert_eq!(db.add_peer("hall", &card(&hall, 3, &[z])).unwrap().withdrawn.len(), 1);
    assert!(!trusts(&db, &zoe));
}

/// Also the actors whom only its former cards listed: they stayed trusted because
/// of it, and go with it.
#[test]
fn with_a_peer_go_the_actors_of_all_its_cards() {
    let tmp = scratch();
    let db = node(tmp.path(), "a");
    let [hall, press, zoe, yan, kim, own] = keys();
    let [z, y, k] = [(zoe.actor(), "zoe"), (yan.actor(), "yan"), (kim.actor(), "kim")];
    db.add_peer("hall", &card(&hall, 1, &[z, y, (own.actor(), "by hand")])).unwrap();
    db.add_peer("hall", &card(&hall, 2, &[k])).unwrap();
    db.trust_actor("by hand", own.actor()).unwrap();
    db.add_peer("press", &card(&press, 1, &[y])).unwrap();
    let db = reopened(db);
    db.add_peer("hall", &card(&hall, 3, &[])).unwrap();
    assert_eq!(db.peer("hall").unwrap().former.len(), 3);
    let gone = db.remove_peer("hall").unwrap();
    let mut names: Vec<String> = gone.withdrawn.into_iter().map(|(_, name)| name).collect();
    names.sort();
    assert_eq!(names, ["kim", "zoe"]);
    assert_eq!((trusts(&db, &zoe), trusts(&db, &kim)), (false, false));
    // Another peer lists the one, a person gave the other's key.
    assert_eq!((trusts(&db, &yan), trusts(&db, &own)), (true, true));
    db.add_peer("hall", &card(&hall, 4, &[z])).unwrap();
    assert_eq!((trusts(&db, &zoe), trusts(&db, &kim)), (true, false));
}

/// Ends trust in the midst of a stream, which its sender holds open.
struct Meanwhile<'a> {
    rest: &'a [u8],
    act: Option<Box<dyn FnOnce() + 'a>>,
    /// Where it happens.
    left: usize,
}

impl Read for Meanwhile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.rest.len() <= self.left
            && let Some(act) = self.act.take()
        {
            act();
        }
        let most = buffer.len().min(64).min(self.rest.len().saturating_sub(self.left).max(1));
        self.rest.read(&mut buffer[..most])
    }
}

#[test]
fn a_stream_that_is_open_when_trust_ends_brings_nothing_more() {
    for withdraws_actor in [false, true] {
        let tmp = scratch();
        let (a, b) = (node(tmp.path(), "a"), node(tmp.path(), "b"));
        a.add_peer("b", &b.card().unwrap()).unwrap();
        let key = b.own_actors()[0].key;
        // The actor stays trusted when its node goes.
        a.trust_actor("b", key).unwrap();
        // More than is read ahead.
        for n in 0..40 {
            b.write(Draft::json(&format!("x{n}"), format!("\"{}\"", "y".repeat(200_000))).unwrap()).unwrap();
        }
        let stream = export(&b);
        let act = || match withdraws_actor {
            true => assert!(a.untrust_actor(&key).unwrap()),
            false => drop(a.remove_peer("b").unwrap()),
        };
        let input = Meanwhile { rest: &stream, act: Some(Box::new(act)), left: 1_000_000 };
        let summary = a.import(ImportOptions::new(), BufReader::with_capacity(64, input)).unwrap();
        // Those that came behind it: each has more than 270,000 bytes.
        assert!(summary.refused >= 3 && summary.added > 0, "{withdraws_actor}: {summary:?}");
        assert_eq!(summary.added + summary.refused, 40);
    }
}

/// Many changes in random order, against the rule said in the simplest way.
#[test]
fn whatever_cards_come_a_withdrawn_key_is_not_trusted() {
    let seed = seed("withdrawals");
    for round in 0..rounds(4) {
        let mut dice = Dice::new(seed.wrapping_add(round));
        let tmp = scratch();
        let mut db = node(tmp.path(), "a");
        let nodes: [SigningKey; 3] = keys();
        let actors: [SigningKey; 5] = keys();
        let names = ["n0", "n1", "n2"];
        let (mut withdrawn, mut listed) = (BTreeSet::new(), BTreeMap::new());
        for step in 1..60 {
            let (n, a) = (dice.roll(3) as usize, dice.roll(5) as usize);
            match dice.roll(10) {
                0..=4 => {
                    let on_card: Vec<usize> = (0..5).filter(|_| dice.roll(2) == 0).collect();
                    let some: Vec<(Actor, String)> =
                        on_card.iter().map(|at| (actors[*at].actor(), format!("a{at}"))).collect();
                    let some: Vec<(Actor, &str)> = some.iter().map(|(key, name)| (*key, name.as_str())).collect();
                    db.add_peer(names[n], &card(&nodes[n], step, &some)).unwrap();
                    listed.insert(n, on_card);
                }
                5..=6 => {
                    if db.untrust_actor(&actors[a].actor()).unwrap() {
                        withdrawn.insert(a);
                    }
                }
                7 => {
                    db.trust_actor(&format!("by hand {a}"), actors[a].actor()).unwrap();
                    withdrawn.remove(&a);
                }
                8 => {
                    if db.remove_peer(names[n]).is_ok() {
                        listed.remove(&n);
                    }
                }
                _ => db = reopened(db),
            }
            for (at, key) in actors.iter().enumerate() {
                assert!(
                    !(withdrawn.contains(&at) && trusts(&db, key)),
                    "seed {seed}, round {round}, step {step}: {at}"
                );
            }
        }
        let known: BTreeSet<Actor> = db.trusted_actors().into_iter().map(|actor| actor.key).collect();
        println!("round {round}: {} withdrawn, {} trusted, {} peers", withdrawn.len(), known.len(), listed.len());
    }
}

#[test]
fn an_actor_of_this_node_that_is_not_trusted_signs_nothing() {
    let tmp = scratch();
    let db = node(tmp.path(), "owner");
    db.new_actor("second").unwrap();
    db.put("x", "1").unwrap();
    let own = db.own_actors();
    assert!(db.untrust_actor(&own[0].key).unwrap());
    for draft in [Draft::json("x", "2").unwrap(), Draft::json("x", "2").unwrap().actor("owner")] {
        assert!(matches!(db.write(draft), Err(Error::ActorWithdrawn { name, .. }) if name == "owner"));
    }
    assert!(matches!(db.set_default_actor("owner"), Err(Error::ActorWithdrawn { .. })));
    assert_eq!(db.ledger_size(), 1);
    let on_card: Vec<String> = db.card().unwrap().actors.clone().into_iter().map(|(_, name)| name).collect();
    assert_eq!(on_card, ["second"]);
    let report = verify(&db);
    assert_eq!(report.problems.iter().map(|problem| problem.verdict).collect::<Vec<_>>(), [Verdict::WithdrawnActor]);
    let record = db.get("x").unwrap().unwrap();
    assert_eq!((record.actor_name(), record.is_trusted(), record.is_withdrawn()), (Some("owner"), false, true));

    db.set_default_actor("second").unwrap();
    assert_eq!(db.put("x", "2").unwrap().actor, own[1].key);
    let db = reopened(db);
    assert!(db.write(Draft::json("x", "3").unwrap().actor("owner")).is_err());
    // Another name does not make it another's.
    db.trust_actor("somebody", own[0].key).unwrap();
    db.write(Draft::json("x", "3").unwrap().actor("owner")).unwrap();
    assert_eq!(db.get("x").unwrap().unwrap().actor_name(), Some("owner"));
    assert!(verify(&db).is_ok());
}

#[test]
fn the_tokens_of_a_peer_end_with_it() {
    let tmp = scratch();
    let (a, b, c) = (node(tmp.path(), "a"), node(tmp.path(), "b"), node(tmp.path(), "c"));
    a.add_peer("b", &b.card().unwrap()).unwrap();
    a.add_peer("c", &c.card().unwrap()).unwrap();
    let token = |name: &str, peer: Option<&str>| {
        let request = TokenRequest::new(name).scope(Scope::Import);
        let request = match peer {
            Some(peer) => request.peer(peer),
            None => request,
        };
        a.new_token(&request).unwrap().1
    };
    let (first, second) = (token("b-1", Some("b")), token("b-2", Some("b")));
    let (others, nobodys) = (token("c", Some("c")), token("any", None));
    let mut ended: Vec<String> = a.remove_peer("b").unwrap().tokens.into_iter().map(|token| token.name).collect();
    ended.sort();
    assert_eq!(ended, ["b-1", "b-2"]);
    let check = |db: &Db| {
        for text in [&first, &second] {
            assert_eq!(db.check_token(text.as_str()).unwrap_err(), TokenRefusal::Unknown);
        }
        for text in [&others, &nobodys] {
            assert!(db.check_token(text.as_str()).is_ok());
        }
    };
    check(&a);
    check(&reopened(a));
}

/// What a node wrote before trust in it was withdrawn stays, and says so.
#[test]
fn entries_of_a_node_that_is_trusted_no_more_stay_and_say_so() {
    let tmp = scratch();
    let (a, b) = (node(tmp.path(), "a"), node(tmp.path(), "b"));
    a.add_peer("b", &b.card().unwrap()).unwrap();
    b.put("x", "1").unwrap();
    a.import(ImportOptions::new(), &export(&b)[..]).unwrap();
    assert!(!a.get("x").unwrap().unwrap().is_origin_withdrawn());
    a.remove_peer("b").unwrap();
    let record = a.get("x").unwrap().unwrap();
    assert!(record.is_origin_withdrawn() && record.is_withdrawn());
    b.put("x", "2").unwrap();
    assert_eq!(a.import(ImportOptions::new(), &export(&b)[..]).unwrap().added, 0);
}

/// Of two who add a peer of one name, one does: the check and the change are
/// one.
#[test]
fn one_name_goes_to_one_node_whoever_adds_it_at_once() {
    let tmp = scratch();
    let db = node(tmp.path(), "a");
    let nodes: [SigningKey; 6] = keys();
    for round in 0..8 {
        let name = format!("hall-{round}");
        let barrier = Barrier::new(nodes.len());
        let added: Vec<bool> = std::thread::scope(|scope| {
            let adding: Vec<_> = nodes
                .iter()
                .map(|_| {
                    scope.spawn(|| {
                        // A node of its own, so that only the name is contended.
                        let [node] = keys();
                        let card = card(&node, 1, &[]);
                        barrier.wait();
                        db.add_peer(&name, &card).is_ok()
                    })
                })
                .collect();
            adding.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(added.iter().filter(|added| **added).count(), 1, "{added:?}");
        let trusted = db.known_origins().into_iter().filter(|known| known.name == name && known.withdrawn.is_none());
        assert_eq!(trusted.count(), 1);
    }
    assert_eq!(db.peers().unwrap().len(), 8);
}
