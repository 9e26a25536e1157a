//! A second opinion on a stream: what a reader with nothing but the entry format
//! finds in it. Knows no database, no trust and no keys to read with.

use std::collections::HashMap;

use thingdb_format::{EntryId, Hash, Line, ThingId, Verifier};

/// Checks each entry of a stream: that its id is the hash of its header, that
/// its signature holds, that its payload is the one it names, and that seq and
/// time follow from its prev, which have to stand before it in the same thing.
/// Gives the ids in their order.
///
/// # Errors
/// What does not hold, with the line.
pub fn check(stream: &[u8]) -> Result<Vec<EntryId>, String> {
    let mut ids = Vec::new();
    let mut here: HashMap<EntryId, (ThingId, u64, u64)> = HashMap::new();
    for (line, number) in stream.split_inclusive(|byte| *byte == b'\n').zip(1_u64..) {
        let entry = match Line::parse(line, number).map_err(|problem| problem.to_string())? {
            Line::Entry(entry) => *entry,
            _ => continue,
        };
        let wrong = |what: &str| Err(format!("line {number}, {}: {what}", entry.id()));
        let header = &entry.header;
        let id = EntryId(Hash::of(&[b"thingdb/1/entry\0", &header.to_bytes()[..]].concat()).0);
        if id != entry.id() {
            return wrong("its id is not the hash of its header");
        }
        if let Some(payload) = &entry.payload
            && (Hash::of(payload) != header.payload_hash || payload.len() as u64 != u64::from(header.payload_len))
        {
            return wrong("its payload is another one");
        }
        let verifier = Verifier::new(&header.actor.0).map_err(|problem| format!("line {number}: {problem}"))?;
        if let Err(problem) = entry.signature.verify(&verifier, &header.to_bytes(), &id) {
            return wrong(&problem.to_string());
        }
        let mut greatest = 0;
        for prev in &header.prev {
            let Some((thing, seq, time)) = here.get(prev) else { return wrong("a prev does not stand before it") };
            if *thing != header.thing {
                return wrong("a prev is of another thing");
            }
            if *time >= header.time.micros() {
                return wrong("a prev is not earlier");
            }
            greatest = greatest.max(*seq);
        }
        if header.seq != greatest + 1 {
            return wrong("its seq does not follow");
        }
        if here.insert(id, (header.thing.clone(), header.seq, header.time.micros())).is_some() {
            return wrong("it stands there twice");
        }
        ids.push(id);
    }
    Ok(ids)
}
