//! Policies (c2sp.org/tlog-policy), as arguments name them.

use thingdb::Hash;
use thingdb::format::policy::MAX_POLICY_BYTES;
use thingdb::format::{NodeKey, Policy};

use crate::cli::input;
use crate::console::Console;
use crate::error::{Failure, Outcome};

/// The policy in a file.
pub(crate) fn read(console: &Console, path: &str) -> Outcome<Policy> {
    let bytes = input::file(console, path)?;
    let refused = |problem: String| {
        Failure::usage(format!("{path} is no policy: {problem}")).hint("c2sp.org/tlog-policy says what stands in one")
    };
    if bytes.len() > MAX_POLICY_BYTES {
        return Err(refused(format!("it is larger than {MAX_POLICY_BYTES} bytes")));
    }
    Policy::parse(&input::unmarked(bytes)?).map_err(|problem| refused(problem.to_string()))
}

/// Refuses one that names no log, where nobody else says whose ledger is trusted.
pub(crate) fn refuse_without_log(policy: Option<&Policy>) -> Outcome {
    if policy.is_none_or(|policy| !policy.logs().is_empty()) {
        return Ok(());
    }
    Err(Failure::usage("the policy has no line `log`: it does not say whose ledger you trust")
        .hint("log VKEY in the policy (thingdb card --vkey, at the node), or --card @CARD"))
}

/// The fingerprints of the nodes whose ledgers a policy believes.
pub(crate) fn fingerprints(policy: &Policy) -> impl Iterator<Item = Hash> {
    policy.logs().iter().map(|log| NodeKey(*log.key()).fingerprint())
}
