//! What a policy (c2sp.org/tlog-policy) makes of checkpoints.

use serde::Serialize;
use thingdb::SignedCheckpoint;
use thingdb::format::Policy;

use crate::error::{Exit, Failure, Outcome};
use crate::text::{counted, grouped, printable};
use crate::view::when;

/// How much of a ledger, or of a file, the witnesses of a policy have seen.
#[derive(Serialize)]
pub(crate) struct Witnessed {
    /// Size of the largest ledger that enough of them have cosigned.
    pub(crate) size: Option<u64>,
    /// By when it was there, if one believes as many as the policy asks for.
    not_later_than: Option<String>,
    /// Who has cosigned it, by the names of the policy.
    by: Vec<String>,
    /// Entries that are in it.
    entries: u64,
    /// Entries that came later.
    beyond: u64,
}

impl Witnessed {
    /// Looks at checkpoints of one ledger that hold. `below` tells how many of all
    /// `entries` are in a ledger of a size. An error says which signature is not good.
    pub(crate) fn new<'n>(
        policy: &Policy,
        notes: impl Iterator<Item = &'n SignedCheckpoint>,
        entries: u64,
        below: impl Fn(u64) -> u64,
    ) -> Outcome<Self> {
        let mut notes: Vec<&SignedCheckpoint> = notes.collect();
        notes.sort_by_key(|note| std::cmp::Reverse(note.claimed().size));
        let mut witnessed = Self { size: None, not_later_than: None, by: Vec::new(), entries: 0, beyond: entries };
        for note in notes {
            let judgement = policy
                .judge(note)
                .map_err(|problem| Failure::new(Exit::NotVerified, "not-verified", problem.to_string()))?;
            if judgement.is_met() {
                let size = note.claimed().size;
                witnessed.size = Some(size);
                witnessed.by = judgement.witnesses.into_iter().map(|(name, _)| name).collect();
                witnessed.not_later_than =
                    judgement.not_later_than.map(|seconds| when::of_seconds(seconds).to_string());
                witnessed.entries = below(size).min(entries);
                witnessed.beyond = entries.saturating_sub(witnessed.entries);
                break;
            }
        }
        Ok(witnessed)
    }

    /// Whether enough of them have cosigned some state of it.
    pub(crate) const fn is_met(&self) -> bool {
        self.size.is_some()
    }

    /// The same in lines.
    pub(crate) fn in_words(&self) -> Vec<String> {
        let Some(size) = self.size else {
            return vec!["the witnesses of the policy have NOT cosigned any state of it that is shown here".to_owned()];
        };
        let mut lines = Vec::new();
        let entries = counted(self.entries, "entry", "entries");
        let by = if self.by.is_empty() { String::new() } else { format!(" by {}", printable(&self.by.join(", "))) };
        match &self.not_later_than {
            Some(time) => {
                let ledger = grouped(size);
                lines.push(format!("{entries} in the ledger of {ledger}, cosigned{by}: it was there by {time}"))
            }
            None => lines.push(format!("{entries} in the ledger of {}; the policy asks for no witness", grouped(size))),
        }
        if self.beyond > 0 {
            let entries = counted(self.beyond, "entry", "entries");
            lines.push(format!("{entries} came later: no witness of the policy has seen them"));
        }
        lines
    }

    /// Fails if the policy is not met, or not by everything. `what` was looked at.
    pub(crate) fn conclude(&self, what: &str, hint: &str) -> Outcome {
        if self.size.is_none() {
            let fact = format!("the policy is not met: no checkpoint of {what} is of its logs and cosigned by enough");
            return Err(Failure::new(Exit::NotVerified, "not-witnessed", fact).hint(hint));
        }
        if self.beyond > 0 {
            let entries = counted(self.beyond, "entry", "entries");
            let fact = format!("what {what} claims holds; {entries} came after what the witnesses have seen");
            return Err(Failure::new(Exit::Partly, "not-witnessed", fact).hint(hint));
        }
        Ok(())
    }
}
