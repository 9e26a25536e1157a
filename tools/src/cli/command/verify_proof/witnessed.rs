//! What a policy (c2sp.org/tlog-policy) makes of the checkpoints of a proof file.

use serde::Serialize;
use thingdb::format::policy::MAX_POLICY_BYTES;
use thingdb::format::proof::ProofReport;
use thingdb::format::{NodeKey, Policy};
use thingdb::{Hash, SignedCheckpoint};

use crate::cli::input;
use crate::console::Console;
use crate::error::{Failure, Outcome};
use crate::view::when;

/// The policy in a file.
pub(super) fn read(console: &Console, path: &str) -> Outcome<Policy> {
    let bytes = input::file(console, path)?;
    let refused = |problem: String| {
        Failure::usage(format!("{path} is no policy: {problem}")).hint("c2sp.org/tlog-policy says what stands in one")
    };
    if bytes.len() > MAX_POLICY_BYTES {
        return Err(refused(format!("it is larger than {MAX_POLICY_BYTES} bytes")));
    }
    Policy::parse(&input::unmarked(bytes)?).map_err(|problem| refused(problem.to_string()))
}

/// The fingerprints of the nodes whose ledgers a policy believes.
pub(super) fn fingerprints(policy: &Policy) -> impl Iterator<Item = Hash> {
    policy.logs().iter().map(|log| NodeKey(*log.key()).fingerprint())
}

/// How much of a file the witnesses of a policy have seen.
#[derive(Serialize)]
pub(super) struct Witnessed {
    /// Size of the largest ledger that enough of them have cosigned.
    pub(super) size: Option<u64>,
    /// By when it was there, if one believes as many as the policy asks for.
    pub(super) not_later_than: Option<String>,
    /// Who has cosigned it, by the names of the policy.
    pub(super) by: Vec<String>,
    /// Entries of the file that are in it.
    pub(super) entries: u64,
    /// Entries of the file that came later.
    pub(super) beyond: u64,
}

impl Witnessed {
    /// Looks at the checkpoints of a file that holds. `places` are those of its
    /// entries. An error says which signature is not good.
    pub(super) fn new(policy: &Policy, report: &ProofReport, places: &[u64]) -> Result<Self, String> {
        let header = report.header.as_ref();
        let notes = header.into_iter().flat_map(|header| {
            let earlier = header.earlier.iter().map(|earlier| &earlier.checkpoint);
            std::iter::once(&header.checkpoint).chain(earlier)
        });
        let mut notes: Vec<&SignedCheckpoint> = notes.collect();
        notes.sort_by_key(|note| std::cmp::Reverse(note.claimed().size));
        let mut witnessed = Self { size: None, not_later_than: None, by: Vec::new(), entries: 0, beyond: 0 };
        for note in notes {
            let judgement = policy.judge(note).map_err(|problem| problem.to_string())?;
            if judgement.is_met() {
                witnessed.size = Some(note.claimed().size);
                witnessed.by = judgement.witnesses.into_iter().map(|(name, _)| name).collect();
                witnessed.not_later_than =
                    judgement.not_later_than.map(|seconds| when::of_seconds(seconds).to_string());
                break;
            }
        }
        let size = witnessed.size.unwrap_or_default();
        witnessed.entries = places.iter().filter(|place| **place < size).count() as u64;
        witnessed.beyond = (places.len() as u64).saturating_sub(witnessed.entries);
        Ok(witnessed)
    }
}
