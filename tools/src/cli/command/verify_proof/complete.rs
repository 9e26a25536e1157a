//! What a proof file shows beyond its own entries: that there are no others, and on
//! whose word.

use serde::Serialize;
use thingdb::format::Policy;
use thingdb::format::header::MAX_SEQ;
use thingdb::format::proof::{ProofCheck, ProofReport, Subject};

use crate::text::{counted, grouped, printable};

/// The member `complete` of the verdict's JSON.
#[derive(Serialize)]
pub(super) struct Complete {
    /// How many entries the thing has; none if there is no such thing.
    entries: u64,
    /// How many of them no other one follows.
    heads: u64,
    /// Who else, of those that the reader named, has recomputed that.
    recomputed_by: Vec<String>,
}

impl Complete {
    pub(super) fn of(report: &ProofReport) -> Option<Self> {
        let found = report.complete.as_ref()?;
        Some(Self { entries: found.count, heads: found.heads, recomputed_by: found.recomputed_by.clone() })
    }
}

/// The nodes that a policy names may have recomputed the heads.
pub(super) fn recomputers(check: ProofCheck, policy: Option<&Policy>) -> ProofCheck {
    let Some(policy) = policy else { return check };
    let logs = policy.logs().iter().map(|log| (log.name().to_owned(), log));
    policy.witnesses().chain(logs).fold(check, |check, (name, vkey)| check.recomputer(&name, vkey.clone()))
}

/// What holds up to the size of the ledger, in lines.
pub(super) fn in_words(report: &ProofReport) -> Vec<String> {
    let (Some(found), Some(header)) = (&report.complete, &report.header) else { return Vec::new() };
    let size = grouped(header.checkpoint.claimed().size);
    let what = match (&header.subject, found.count) {
        (Subject::Absent { .. }, _) => format!("as of ledger size {size} there is no such thing"),
        (Subject::History { .. }, 1) => format!("complete up to ledger size {size}: this is the only entry of it"),
        (Subject::History { .. }, count) => {
            format!("complete up to ledger size {size}: these are all {} entries of it", grouped(count))
        }
        (_, count) => format!("as of ledger size {size} it has {}", counted(count, "entry", "entries")),
    };
    let whose = match &found.recomputed_by[..] {
        [] => "so says the node, to everybody alike".to_owned(),
        by => format!("so says the node, and it was recomputed by {}", printable(&by.join(", "))),
    };
    vec![what, whose]
}

/// What cannot be told of other entries, in whole sentences.
pub(super) fn not_told(report: &ProofReport) -> Vec<String> {
    let Some(header) = &report.header else { return Vec::new() };
    let size = grouped(header.checkpoint.claimed().size);
    let mut said = Vec::new();
    match &header.subject {
        Subject::History { .. } if header.heads.is_none() => said.push(format!(
            "whether the ledger of {size} has a newer entry of this thing that none of these follows: the file has \
             no heads note"
        )),
        Subject::Range { from, to, .. } => {
            said.push(match (*from, *to) {
                (1, MAX_SEQ) => "what came after the last seq here".to_owned(),
                (1, to) => format!("what stands after seq {to}"),
                (from, MAX_SEQ) => format!("what stands before seq {from}, and what came after the last seq here"),
                (from, to) => format!("what stands before seq {from} and after {to}"),
            });
            said.push("whether there are other entries with these seqs, where the thing has forked".to_owned());
        }
        Subject::Entries { .. } => {
            said.push("what else there is of this thing: the file has some entries only".to_owned());
        }
        Subject::History { .. } | Subject::Absent { .. } => {}
    }
    let is_alone = report.complete.as_ref().is_some_and(|complete| complete.recomputed_by.is_empty());
    if is_alone {
        said.push(
            "whether the node left something out of what it says of all things: whoever has the whole ledger sees \
             that (`thingdb verify`, and its peers)"
                .to_owned(),
        );
    }
    said
}
