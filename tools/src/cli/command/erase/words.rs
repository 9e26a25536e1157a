//! What is told of an erasure, of one thing or of what is due.

use std::path::PathBuf;

use thingdb::{Db, ErasureRecord};

use crate::cli::context::Context;
use crate::error::Failure;
use crate::text::{printable, quoted};

/// Says which keyrings of before are gone.
pub(super) fn tell_removed(context: &Context, removed: &[PathBuf]) {
    for path in removed {
        let path = path.display().to_string();
        let fact = format!("{} was removed: it may have held keys of these entries", printable(&path));
        context.console.warning("keyring-removed", fact).say();
    }
}

/// What is to be told if an erasure does not end: whether it is signed.
pub(super) fn broken_off(db: &Db, thing: Option<&str>, problem: thingdb::Error) -> Failure {
    let is_due = |record: thingdb::Result<ErasureRecord>| record.is_ok_and(|record| !record.is_done);
    let is_signed = db.erasures(thing).is_ok_and(|mut records| records.any(is_due));
    let failure = Failure::from(problem);
    if !is_signed {
        return failure;
    }
    let hint =
        thing.map_or_else(|| "thingdb erasures".to_owned(), |thing| format!("thingdb erasures {}", quoted(thing)));
    failure.cause("the record is signed and stored: the content goes with the next command that may write").hint(hint)
}

/// Seqs in few words: `1-4, 7`.
pub(super) fn ranges(seqs: &[u64]) -> String {
    const MOST: usize = 8;
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for seq in seqs {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*seq) => *last = *seq,
            _ => ranges.push((*seq, *seq)),
        }
    }
    let word = |(first, last): &(u64, u64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let words: Vec<String> = ranges.iter().take(MOST).map(word).collect();
    let more = if ranges.len() > MOST { ", …" } else { "" };
    format!("{}{more}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seqs_are_told_in_few_words() {
        assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), "1-3, 7, 9-10");
        assert_eq!(ranges(&(1..40).step_by(2).collect::<Vec<_>>()), "1, 3, 5, 7, 9, 11, 13, 15, …");
    }
}
