//! Proof files with entries that were erased.

use thingdb_format::erasure::{ACTION, Erasure, MEDIA_TYPE};
use thingdb_format::proof::Subject;
use thingdb_format::{
    Actor, Body, Cek, Checkpoint, Entry, EntryId, Fields, Header, Origin, Signature, SigningKey, Suite, Time, merkle,
    payload, signature,
};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{TIME, actor, cek, first, node, origin, second};
use crate::proof::{File, alice, card, thing};

/// Test keys of other writers. Never use them.
fn bob() -> SigningKey {
    SigningKey::from_seed(&[10; 32])
}

fn stranger() -> SigningKey {
    SigningKey::from_seed(&[11; 32])
}

/// A record over these entries, by the owner of a key, written at the node.
pub(crate) fn record(key: &SigningKey, seq: u64, prev: &[&Entry], entries: &[EntryId]) -> Entry {
    let erasure = Erasure::new(entries.to_vec(), "asked for by the person", None).expect("it is a record");
    entry(key, origin(), seq, prev, record_body(&erasure.to_json()))
}

fn record_body(data: &str) -> Body {
    Body::new("bob", ACTION, MEDIA_TYPE, data.as_bytes()).expect("it is a good body")
}

fn entry(key: &SigningKey, origin: Origin, seq: u64, prev: &[&Entry], body: Body) -> Entry {
    let sealed = payload::seal(Suite::Aes256Gcm, &cek(), body).expect("it is small");
    let mut prev: Vec<EntryId> = prev.iter().map(|entry| entry.id()).collect();
    prev.sort_unstable();
    let header = Header::new(Fields {
        suite: Suite::Aes256Gcm,
        thing: thing(),
        seq,
        time: Time::from_micros(TIME + seq * 1_000_000).expect("it is a good time"),
        origin,
        actor: Actor(key.actor().0),
        prev,
        data_hash: sealed.data_hash,
        payload_hash: sealed.payload_hash,
        payload_len: u32::try_from(sealed.payload.len()).expect("it is small"),
    });
    let header = header.expect("the fields go together");
    let signature = Signature::Single(signature::sign_single(key, &header.to_bytes()));
    Entry { header, signature, payload: Some(sealed.payload), envelopes: vec![] }
}

pub(crate) fn stub(mut entry: Entry) -> (Option<Cek>, Entry) {
    entry.payload = None;
    (None, entry)
}

pub(crate) fn shown(entry: Entry) -> (Option<Cek>, Entry) {
    (Some(cek()), entry)
}

/// A file of a node with two actors, with these entries at these places.
fn file(subject: Subject, entries: Vec<(u64, (Option<Cek>, Entry))>) -> String {
    file_of(subject, entries).text()
}

pub(crate) fn file_of(subject: Subject, entries: Vec<(u64, (Option<Cek>, Entry))>) -> File {
    let mut file = File::new(subject);
    let mut actors = vec![alice(), (bob().actor(), "bob".into())];
    actors.sort();
    file.header.card = card(&node(), actors);
    for (place, (_, entry)) in &entries {
        let place = usize::try_from(*place).expect("it is small");
        file.leaves[place] = merkle::leaf(&entry.id());
    }
    let (size, root) = (file.leaves.len() as u64, merkle::root(file.leaves.iter().copied()));
    file.header.checkpoint = Checkpoint::new(origin(), size, root).sign(&node()).expect("it is good");
    file.entries = entries.into_iter().map(|(place, (cek, entry))| (place, cek, entry)).collect();
    file
}

/// Name, comment, states, what is told of by which record, heads, the file.
type Case = (&'static str, &'static str, &'static str, Vec<EntryId>, Vec<EntryId>, String);

pub(crate) fn erased(w: &mut Writer) {
    for (name, comment, states, by, heads, text) in by_a_record().into_iter().chain(by_none()) {
        let join = |ids: &[EntryId]| ids.iter().map(EntryId::to_string).collect::<Vec<_>>().join(" ");
        let count = states.split(' ').count();
        let vector = Vector::new("ok", comment).with("entries", count).with("states", states);
        let vector = vector.with("heads", join(&heads));
        let vector = if by.is_empty() { vector } else { vector.with("erased_by", join(&by)) };
        w.add("proof", &format!("good-erased-{name}"), &vector.text(&text));
    }
}

fn history() -> Subject {
    Subject::History { thing: thing() }
}

fn some() -> Subject {
    Subject::Entries { thing: thing() }
}

fn by_a_record() -> Vec<Case> {
    let (one, two) = (first(), second());
    let both = [one.id(), two.id()];
    let own = record(&actor(), 3, &[&two], &both);
    let of_bob = record(&bob(), 3, &[&two], &both[..1]);
    let refused = record(&stranger(), 3, &[&two], &both);
    let after = record(&bob(), 4, &[&refused], &both[1..]);
    let other_first = record(&stranger(), 1, &[], &both);
    let ahead = record(&bob(), 2, &[&other_first], &both);
    vec![
        (
            "by-writer",
            "two entries, by the key that signed them",
            "erased erased shown",
            vec![own.id(); 2],
            vec![own.id()],
            { file(history(), vec![(5, stub(one.clone())), (9, stub(two.clone())), (11, shown(own))]) },
        ),
        (
            "by-actor",
            "by another actor of the card; an entry that is not listed",
            "erased withheld shown",
            { vec![of_bob.id()] },
            vec![of_bob.id()],
            { file(history(), vec![(5, stub(one.clone())), (9, stub(two.clone())), (11, shown(of_bob))]) },
        ),
        (
            "by-second",
            "a record of a stranger first",
            "withheld erased shown shown",
            vec![after.id()],
            vec![after.id()],
            {
                let stubs = [(5, stub(one.clone())), (9, stub(two))];
                file(history(), stubs.into_iter().chain([(10, shown(refused)), (11, shown(after))]).collect())
            },
        ),
        (
            "ahead",
            "records that stand before the entries; that of a stranger covers nothing",
            "shown shown erased",
            { vec![ahead.id()] },
            vec![ahead.id(), one.id()],
            { file(some(), vec![(2, shown(other_first)), (3, shown(ahead)), (5, stub(one))]) },
        ),
    ]
}

fn by_none() -> Vec<Case> {
    let (one, two) = (first(), second());
    let both = [one.id(), two.id()];
    let case = |name, comment, states, record: Entry, is_shown: bool| -> Case {
        let (id, line) = (record.id(), if is_shown { shown(record) } else { stub(record) });
        let entries = vec![(5, stub(one.clone())), (9, stub(two.clone())), (11, line)];
        (name, comment, states, vec![], vec![id], file(history(), entries))
    };
    let own = record(&actor(), 3, &[&two], &both);
    let list = format!("{{\"v\":1,\"erased\":[\"{}\"],\"reason\":\"\"}}", one.id());
    let no_record = entry(&actor(), origin(), 3, &[&two], record_body(&list));
    let action = Body::new("bob", "update", MEDIA_TYPE, own_text(&both).as_bytes()).expect("it is a good body");
    let other_action = entry(&actor(), origin(), 3, &[&two], action);
    let elsewhere = entry(&stranger(), stranger().node_key().origin(), 1, &[], crate::key::body());
    let of_elsewhere = record(&bob(), 2, &[&elsewhere], &[elsewhere.id()]);
    vec![
        case(
            "by-stranger",
            "a record of somebody who must not",
            "withheld withheld shown",
            record(&stranger(), 3, &[&two], &both),
            true,
        ),
        case("record-withheld", "the record is withheld itself", "withheld withheld withheld", own.clone(), false),
        case("no-record", "a record without a reason is none", "withheld withheld shown", no_record, true),
        case("other-action", "a record with another action is none", "withheld withheld shown", other_action, true),
        (
            "elsewhere",
            "an actor of the card, and an entry of another node",
            "withheld shown",
            vec![],
            { vec![of_elsewhere.id()] },
            file(history(), vec![(5, stub(elsewhere)), (9, shown(of_elsewhere))]),
        ),
        (
            "still-shown",
            "content that is in the file is not erased there",
            "shown sealed shown",
            vec![],
            vec![own.id()],
            {
                let sealed = (None, two.clone());
                file(history(), vec![(5, shown(one.clone())), (9, sealed), (11, shown(own))])
            },
        ),
    ]
}

fn own_text(entries: &[EntryId]) -> String {
    Erasure::new(entries.to_vec(), "asked for by the person", None).expect("it is a record").to_json()
}
