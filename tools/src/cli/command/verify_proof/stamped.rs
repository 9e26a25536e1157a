//! What time-stamp authorities say of the checkpoints of a proof file.

use serde::Serialize;
use thingdb::format::proof::ProofReport;

use crate::text::{counted, grouped, printable};
use crate::timestamp::roots::Roots;
use crate::timestamp::token::Token;
use crate::view::stamp::Stamp;

/// A timestamp of a file.
#[derive(Serialize)]
pub(super) struct Timestamp {
    /// Entries in the ledger of its checkpoint.
    pub(super) size: u64,
    #[serde(flatten)]
    pub(super) told: Stamp,
}

/// The timestamps of a file, in its order.
pub(super) fn timestamps(report: &ProofReport, roots: Option<&Roots>) -> Vec<Timestamp> {
    let stamps = report.timestamps.iter().map(|stamped| {
        let token = Token::of(&stamped.timestamp.token, &stamped.timestamp.imprint);
        Timestamp { size: stamped.size, told: Stamp::new(token.as_ref(), roots) }
    });
    stamps.collect()
}

/// How much of a file authorities that are trusted have stamped.
#[derive(Serialize)]
pub(super) struct Timestamped {
    /// Size of the largest ledger that one of them has stamped.
    pub(super) size: Option<u64>,
    /// By when it was there.
    pub(super) not_later_than: Option<String>,
    /// Who says so.
    pub(super) authority: Option<String>,
    /// Entries of the file that are in it.
    pub(super) entries: u64,
    /// Entries of the file that came later.
    pub(super) beyond: u64,
}

impl Timestamped {
    /// Whether one of them has stamped some ledger of the file.
    pub(super) const fn is_met(&self) -> bool {
        self.size.is_some()
    }

    /// What nobody has looked at.
    pub(super) fn not_told(&self) -> Option<String> {
        let fact = "whether a certificate of the authority was revoked: no list of such is read; ask the authority";
        self.is_met().then(|| fact.to_owned())
    }

    /// `places` are those of the entries of the file.
    pub(super) fn new(timestamps: &[Timestamp], places: &[u64]) -> Self {
        let trusted = timestamps.iter().filter(|stamp| stamp.told.trusted == Some(true));
        // Of the same ledger the earliest.
        let most = trusted.max_by_key(|stamp| (stamp.size, std::cmp::Reverse(&stamp.told.not_later_than)));
        let size = most.map_or(0, |stamp| stamp.size);
        let entries = places.iter().filter(|place| **place < size).count() as u64;
        Self {
            size: most.map(|stamp| stamp.size),
            not_later_than: most.and_then(|stamp| stamp.told.not_later_than.clone()),
            authority: most.and_then(|stamp| stamp.told.authority.clone()),
            entries,
            beyond: (places.len() as u64).saturating_sub(entries),
        }
    }
}

/// What authorities say, in lines.
pub(super) fn in_words(timestamped: Option<&Timestamped>, timestamps: &[Timestamp]) -> Vec<String> {
    let mut lines = Vec::new();
    for Timestamp { size, told: stamp } in timestamps {
        let ledger = format!("the ledger of {}", grouped(*size));
        let time = stamp.not_later_than.as_deref().unwrap_or_default();
        let authority = printable(stamp.authority.as_deref().unwrap_or_default());
        lines.push(match (&stamp.problem, stamp.trusted) {
            (Some(problem), _) => format!("a timestamp of {ledger} does NOT hold: {}", printable(problem)),
            (None, Some(_)) => format!("{ledger} was there by {time}, says {authority}"),
            (None, None) => format!(
                "a timestamp of {ledger}, {time}, that claims to be of {authority}: not checked, --tsa-root PEM checks it"
            ),
        });
    }
    if let Some(stamped) = timestamped.filter(|stamped| stamped.size.is_some() && stamped.beyond > 0) {
        lines.push(format!("{} came after the newest timestamp", counted(stamped.beyond, "entry", "entries")));
    } else if timestamped.is_some_and(|stamped| stamped.size.is_none()) {
        lines.push("NO checkpoint of the file is timestamped by an authority that you trust".to_owned());
    }
    lines
}
