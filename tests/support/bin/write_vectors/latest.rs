//! Which entry of a thing is the latest.

use thingdb_format::{Entry, EntryId, Suite, Time, line};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{TIME, entry_of, fields};

/// An entry that follows others, so many seconds after the first.
fn after(prev: &[&Entry], seconds: u64) -> Entry {
    let mut fields = fields(Suite::Aes256Gcm).0;
    fields.seq = prev.iter().map(|entry| entry.header.seq).max().unwrap_or(0) + 1;
    fields.time = Time::from_micros(TIME + seconds * 1_000_000).expect("it is a good time");
    let mut ids: Vec<EntryId> = prev.iter().map(|entry| entry.id()).collect();
    ids.sort_unstable();
    fields.prev = ids;
    entry_of(fields, None)
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
}
