//! Finds what a person meant: an entry by an abbreviated id, a thing by a
//! similar name.

use thingdb::{EntryId, Head};

use super::{Found, Reader};
use crate::error::{Exit, Failure, Outcome};
use crate::text::printable;
use crate::view::entry::Entry;
use crate::view::id::digits;

/// The one entry whose id starts with `text`.
pub(crate) fn entry(reader: &dyn Reader, text: &str) -> Outcome<Entry> {
    match reader.find(&digits(text)?)? {
        Found::Nothing => Err(no_entry(text)),
        Found::One(entry) => Ok(*entry),
        Found::Several(ids) => Err(ambiguous(text, &ids)),
    }
}

/// The one of `heads` whose id starts with `digits`.
pub(crate) fn head(heads: &[Head], digits: &str) -> Option<EntryId> {
    let mut found = heads.iter().map(|head| head.id).filter(|id| id.to_string().starts_with(digits));
    found.next().filter(|_| found.next().is_none())
}

fn no_entry(text: &str) -> Failure {
    Failure::not_found(format!("no entry {text}")).hint("thingdb log THING")
}

fn ambiguous(text: &str, found: &[EntryId]) -> Failure {
    let ids = found.iter().take(8).map(EntryId::to_string);
    let failure = Failure::new(Exit::Usage, "ambiguous", format!("several entries start with {text}")).causes(ids);
    failure.hint("give more digits")
}

/// The failure for a thing that is not there, with names like it.
pub(crate) fn no_thing(reader: &dyn Reader, thing: &str) -> Failure {
    let failure = Failure::not_found(format!("no thing named {}", printable(thing)));
    // That no thing has the name is the fact, whatever else goes wrong: unless not all
    // of the ledger can be looked at.
    if let Ok(Some(lost)) = reader.lost(0) {
        return lost.about(format!("no thing named {} in what is left of the ledger", printable(thing)));
    }
    let similar = reader.similar(thing).unwrap_or_default();
    if similar.is_empty() {
        return failure.hint("thingdb ls");
    }
    failure.hint(format!("similar names: {}", similar.join(", ")))
}
