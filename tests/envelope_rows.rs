//! The rows in which KEK packets lie: whoever brings envelopes, in whatever
//! order, fills no disk with them, and no record loses the row that it needs.

use thingdb::format::{
    Cek, DecryptionKey, EncryptionKey, Entry, Envelope, Kek, KekPacket, Origin, SigningKey, envelope,
};
use thingdb::{Db, ImportOptions, Sender, TrustPolicy};
use thingdb_tests::database::{Dice, assert_intact, fresh, passphrase, relaxed, rounds, seed};
use thingdb_tests::rows::Rows;
use thingdb_tests::stranger::{Stranger, lines_of, random_id};

/// Rows of packets that one entry can leave behind: those that came while it had
/// few envelopes.
const LEFT_BEHIND: usize = 4;

fn someone() -> Origin {
    SigningKey::generate(&mut rand::rng()).node_key().origin()
}

fn packets(from: Origin) -> Vec<KekPacket> {
    let mut rng = rand::rng();
    let to = DecryptionKey::generate(&mut rng).encryption_key();
    vec![KekPacket::seal_x25519(&Kek::generate(&mut rng), from, &to, &mut rng).unwrap()]
}

/// An envelope that opens nothing.
fn junk(from: Origin, packets: &[KekPacket]) -> Envelope {
    let mut rng = rand::rng();
    let cek = envelope::seal_cek(&Kek::generate(&mut rng), &random_id(), &Cek::generate(&mut rng));
    Envelope::new(from, cek, packets.to_vec()).unwrap()
}

fn key(db: &Db) -> EncryptionKey {
    db.card().unwrap().encryption_key
}

fn import(db: &Db, sender: Sender, entries: &[Entry]) {
    let summary = db.import(ImportOptions::new().trust(TrustPolicy::All).from(sender), &lines_of(entries)[..]).unwrap();
    assert_eq!(summary.refused, 0, "{:?}", summary.reasons);
}

fn rows(scratch: &tempfile::TempDir) -> usize {
    Rows::edit(&scratch.path().join("db"), |rows| rows.all(b"K").len())
}

/// Who writes the entries: an actor whom `db` trusts, and the key of its node.
fn writer(db: &Db) -> (Stranger, SigningKey) {
    let (mut writer, node) = (Stranger::new("writer"), SigningKey::generate(&mut rand::rng()));
    writer.origin = node.node_key().origin();
    writer.readers.push(key(db));
    db.trust_actor("writer", writer.actor()).unwrap();
    (writer, node)
}

/// The same packets at two entries make a row of two, which must not go with
/// one of them; and a pair of entries must not make rows that never go.
#[test]
fn packets_that_two_entries_have_are_neither_lost_nor_left_behind_for_ever() {
    let (scratch, db) = fresh();
    let pair = writer(&db).0.history("x", 1, 2);
    import(&db, Sender::unknown(), &pair);
    for n in 0..120 {
        let from = someone();
        let packets = packets(from);
        let copies: Vec<Entry> = pair
            .iter()
            // Some at one of them only.
            .skip(usize::from(n % 7 == 0))
            .map(|entry| Entry { envelopes: vec![junk(from, &packets)], ..entry.clone() })
            .collect();
        import(&db, Sender::unknown(), &copies);
    }
    assert_intact(&db);
    db.close().unwrap();
    let rows = rows(&scratch);
    assert!(rows <= 2 * (envelope::MAX_ENVELOPES + LEFT_BEHIND), "{rows} rows of packets");
    assert_intact(&relaxed().open(scratch.path().join("db"), &passphrase()).unwrap());
}

/// Envelopes lose their places and come again, in one import and over many, at
/// several entries, by everybody, between `share` and openings.
#[test]
fn whatever_envelopes_come_and_go_their_packets_are_there_and_others_go() {
    let seed = seed("envelope_rows");
    for round in 0..rounds(2) {
        let mut dice = Dice::new(seed.wrapping_add(2 * round));
        let (scratch, db) = fresh();
        let other = scratch.path().join("other");
        let reader = relaxed().create(&other, &passphrase()).unwrap();
        db.add_peer("reader", &reader.card().unwrap()).unwrap();
        let (writer, node) = writer(&db);
        let origin = node.node_key().origin();
        let mut entries = writer.history("x", 1, 3);
        entries.extend(writer.history("y", 1, 2));
        // Of one that waits, few copies can wait.
        import(&db, Sender::unknown(), &entries);
        let senders =
            [Sender::node(origin), Sender::node(someone()), Sender::node(someone()), Sender::claiming(origin)];
        // Packets and envelopes that came before.
        let mut sets: Vec<(Origin, Vec<KekPacket>)> = Vec::new();
        let mut seen: Vec<(usize, Envelope)> = Vec::new();
        let (mut db, mut shared, mut brought) = (db, 0, 0);
        for _ in 0..120 {
            match dice.roll(20) {
                0 => {
                    let dir = db.dir().to_owned();
                    db.close().unwrap();
                    db = relaxed().open(dir, &passphrase()).unwrap();
                }
                1 => {
                    db.share("x", &["reader".into()], 1).unwrap();
                    shared += 1;
                }
                _ => {
                    let mut copies = Vec::new();
                    for _ in 0..=dice.roll(6) {
                        let at = dice.roll(entries.len() as u64) as usize;
                        let mut copy = Entry { envelopes: Vec::new(), ..entries[at].clone() };
                        for _ in 0..=dice.roll(4) {
                            let again: Vec<&Envelope> =
                                seen.iter().filter(|(of, _)| *of == at).map(|(_, envelope)| envelope).collect();
                            if !again.is_empty() && dice.roll(3) == 0 {
                                copy.envelopes.push(again[dice.roll(again.len() as u64) as usize].clone());
                                continue;
                            }
                            if sets.is_empty() || dice.roll(2) == 0 {
                                let from = if dice.roll(4) == 0 { origin } else { someone() };
                                sets.push((from, packets(from)));
                            }
                            let (from, packets) = &sets[dice.roll(sets.len() as u64) as usize];
                            copy.envelopes.push(junk(*from, packets));
                            seen.push((at, copy.envelopes.last().unwrap().clone()));
                            brought += 1;
                        }
                        copies.push(copy);
                    }
                    // What is known to be good keeps its place, so it comes rarely.
                    let sender = match dice.roll(24) as usize {
                        at if at < senders.len() => senders[at],
                        _ => Sender::unknown(),
                    };
                    import(&db, sender, &copies);
                }
            }
            let report = db.verify(thingdb::VerifyOptions::new()).unwrap();
            assert!(report.is_ok(), "seed {seed}, round {round}: {:#?}", report.problems);
        }
        db.close().unwrap();
        let most = entries.len() * (envelope::MAX_ENVELOPES + 2 * LEFT_BEHIND) + shared;
        let rows = rows(&scratch);
        println!("round {round}: {brought} envelopes came, {rows} rows of packets, {} sets", sets.len());
        assert!(rows <= most, "seed {seed}, round {round}: {rows} rows of packets, {most} at most");
    }
}
