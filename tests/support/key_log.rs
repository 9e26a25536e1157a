//! The records of a key log, as a reader without any key takes them from lines.

use thingdb_format::key_log::LoggedRecord;
use thingdb_format::key_record::KeyRecord;
use thingdb_format::{Entry, Error, KekPacket, Verifier, envelope, line, payload};

/// The records of the entries in lines.
///
/// # Errors
/// As the format refuses a line, its signature or its record; [`Error::Malformed`] for one
/// that nobody can read.
pub fn logged(lines: &[u8]) -> Result<Vec<LoggedRecord>, Error> {
    lines.split_inclusive(|byte| *byte == b'\n').zip(1..).map(|(line, number)| one(line::decode(line, number)?)).collect()
}

fn one(entry: Entry) -> Result<LoggedRecord, Error> {
    let unread = Error::Malformed { what: "key log", problem: "nobody can read the record" };
    let entry = entry.clone().verify(&Verifier::new(&entry.header.actor.0)?)?;
    let id = entry.id();
    let opened = entry.envelopes.iter().find_map(|envelope| {
        let kek = envelope.recipients.iter().find_map(KekPacket::open_public)?;
        let cek = envelope::open_cek(&kek, &id, &envelope.cek).ok()?;
        payload::open(&entry.header, &cek, entry.payload.as_deref()?).ok()
    });
    let record = KeyRecord::of(&entry.header, &opened.ok_or(unread)?)?;
    Ok(LoggedRecord { id, signer: entry.header.actor, prev: entry.header.prev.clone(), record })
}
