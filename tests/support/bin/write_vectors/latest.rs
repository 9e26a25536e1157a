//! Which entry of a thing is the latest.

use thingdb_format::erasure::{ACTION, Erasure, MEDIA_TYPE};
use thingdb_format::{Body, Entry, EntryId, Fields, Suite, Time, line, payload};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{TIME, cek, entry_of, fields, public_packet, with_envelope};

/// An entry that follows others, so many seconds after the first.
fn after(prev: &[&Entry], seconds: u64) -> Entry {
    entry_of(place(prev, seconds), None)
}

fn place(prev: &[&Entry], seconds: u64) -> Fields {
    let mut fields = fields(Suite::Aes256Gcm).0;
    fields.seq = prev.iter().map(|entry| entry.header.seq).max().unwrap_or(0) + 1;
    fields.time = Time::from_micros(TIME + seconds * 1_000_000).expect("it is a good time");
    let mut ids: Vec<EntryId> = prev.iter().map(|entry| entry.id()).collect();
    ids.sort_unstable();
    fields.prev = ids;
    fields
}

pub(crate) fn latest(w: &mut Writer) {
    let case = |comment: &str, entries: &[&Entry], latest: &Entry, heads: &[&Entry]| {
        let mut input = Vec::new();
        entries.iter().for_each(|entry| line::encode(entry, &mut input));
        let mut ids: Vec<String> = heads.iter().map(|entry| entry.id().to_string()).collect();
        ids.sort_unstable();
        let vector = Vector::new("ok", comment).with("latest", latest.id()).with("heads", ids.join(" "));
        vector.text(&String::from_utf8(input).expect("lines are UTF-8"))
    };
    let root = after(&[], 0);
    let (short, long) = (after(&[&root], 50), after(&[&root], 10));
    let longer = after(&[&long], 20);
    let all = [&root, &short, &long, &longer];
    w.add("latest", "time-before-seq", &case("the longer branch is older", &all, &short, &[&short, &longer]));
    let mixed = [&longer, &long, &short, &root];
    w.add("latest", "any-order", &case("the same entries in another order", &mixed, &short, &[&short, &longer]));
    let then = case("of what counts until then, a branch has not begun", &all, &longer, &[&longer]);
    w.add("latest", "as-of", &then.with("at", Time::from_micros(TIME + 30_000_000).expect("it is a good time")));
    let before = case("the root alone", &all, &root, &[&root]);
    w.add("latest", "as-of-the-root", &before.with("at", root.header.time));
    let level = after(&[&root], 20);
    let all = [&root, &long, &longer, &level];
    w.add("latest", "seq-after-time", &case("two of one time: the greater seq", &all, &longer, &[&longer, &level]));
    let mut twin = fields(Suite::ChaCha20Poly1305).0;
    (twin.seq, twin.time, twin.prev) = (2, level.header.time, level.header.prev.clone());
    let twin = entry_of(twin, None);
    let greater = if twin.id() > level.id() { &twin } else { &level };
    let all = [&root, &level, &twin];
    w.add("latest", "id-after-seq", &case("two of one time and seq: the greater id", &all, greater, &[&level, &twin]));
    let joined = after(&[&short, &longer], 60);
    let all = [&root, &short, &long, &longer, &joined];
    w.add("latest", "joined", &case("an entry that follows both heads", &all, &joined, &[&joined]));
    let forked = after(&[&long], 70);
    let all = [&root, &short, &long, &longer, &joined, &forked];
    let late = case("a branch that comes late, from an entry in the middle", &all, &forked, &[&forked, &joined]);
    w.add("latest", "late-branch", &late);
    records(w, &case, [&root, &short, &long, &longer]);
}

/// A comment, the entries, the latest of them and their heads, as a vector.
type Case<'a> = dyn Fn(&str, &[&Entry], &Entry, &[&Entry]) -> Vector + 'a;

/// Erasure records are passed over, as far as they can be read.
fn records(w: &mut Writer, case: &Case<'_>, [root, short, long, longer]: [&Entry; 4]) {
    let record = |prev: &[&Entry], seconds| {
        let erasure = Erasure::new(vec![root.id()], "asked for by the person", None).expect("it is a record");
        open_to_all(prev, seconds, ACTION, MEDIA_TYPE, &erasure.to_json())
    };
    let of_long = record(&[longer], 60);
    let all = [root, long, longer, &of_long];
    w.add("latest", "record", &case("a record is passed over, and is the head", &all, longer, &[&of_long]));
    let again = record(&[&of_long], 70);
    let all = [root, long, longer, &of_long, &again];
    w.add("latest", "records", &case("two records, one after the other", &all, longer, &[&again]));
    let then = case("as of a time: the first record was the head", &all, longer, &[&of_long]);
    w.add("latest", "records-as-of", &then.with("at", of_long.header.time));
    let all = [root, short, long, longer, &of_long];
    let forked = case("a record on the older branch does not make it the latest", &all, short, &[short, &of_long]);
    w.add("latest", "record-of-a-branch", &forked);
    let joining = record(&[short, longer], 60);
    let all = [root, short, long, longer, &joining];
    let joined = case("a record that follows both heads: the greatest of these", &all, short, &[&joining]);
    w.add("latest", "record-joins", &joined);
    let next = after(&[&of_long], 80);
    let all = [root, long, longer, &of_long, &next];
    w.add("latest", "record-followed", &case("an entry after a record", &all, &next, &[&next]));
    let alone = record(&[], 5);
    let more = record(&[&alone], 6);
    w.add("latest", "records-alone", &case("nothing but records: the greatest", &[&alone, &more], &more, &[&more]));
    let mut sealed = of_long.clone();
    sealed.envelopes.clear();
    let all = [root, long, longer, &sealed];
    w.add("latest", "record-sealed", &case("a reader cannot see that it is a record", &all, &sealed, &[&sealed]));
    let empty = open_to_all(&[longer], 60, ACTION, MEDIA_TYPE, "{}");
    let all = [root, long, longer, &empty];
    w.add("latest", "record-invalid", &case("a record that erases nothing is one", &all, longer, &[&empty]));
    for (name, comment, action, media_type) in [
        ("erase-of-a-user", "the action of a record, another media type", ACTION, "application/json"),
        ("record-updated", "the media type of a record, another action", "update", MEDIA_TYPE),
    ] {
        let none = open_to_all(&[longer], 60, action, media_type, "{}");
        w.add("latest", name, &case(comment, &[root, long, longer, &none], &none, &[&none]));
    }
}

/// An entry that everybody can read.
fn open_to_all(prev: &[&Entry], seconds: u64, action: &str, media_type: &str, data: &str) -> Entry {
    let body = Body::new("alice", action, media_type, data.as_bytes()).expect("it is a good body");
    let sealed = payload::seal(Suite::Aes256Gcm, &cek(), body).expect("it is small");
    let mut fields = place(prev, seconds);
    (fields.data_hash, fields.payload_hash) = (sealed.data_hash, sealed.payload_hash);
    fields.payload_len = u32::try_from(sealed.payload.len()).expect("it is small");
    with_envelope(entry_of(fields, Some(sealed.payload)), vec![public_packet()])
}
