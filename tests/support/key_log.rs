//! The records of a key log, as a reader without any key takes them from lines.

use thingdb_format::key_log::LoggedRecord;
use thingdb_format::key_record::KeyRecord;
use thingdb_format::{Entry, Error, Verifier, line};

/// The records of the entries in lines.
///
/// # Errors
/// As the format refuses a line, its signature or its record; [`Error::Malformed`] for one
/// that nobody can read.
pub fn logged(lines: &[u8]) -> Result<Vec<LoggedRecord>, Error> {
    lines
        .split_inclusive(|byte| *byte == b'\n')
        .zip(1..)
        .map(|(line, number)| one(line::decode(line, number)?))
        .collect()
}

fn one(entry: Entry) -> Result<LoggedRecord, Error> {
    let entry = entry.clone().verify(&Verifier::new(&entry.header.actor.0)?)?;
    let record = KeyRecord::open(&entry.header, entry.payload.as_deref(), &entry.envelopes)?;
    Ok(LoggedRecord { id: entry.id(), signer: entry.header.actor, prev: entry.header.prev.clone(), record })
}
