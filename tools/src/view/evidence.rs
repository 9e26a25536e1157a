//! What evidence shows, in words and in JSON.

use serde::Serialize;
use thingdb::{Evidence, NodeKey, SplitHeads, Time, Weight};

/// The verdicts over what convicts a node.
pub(crate) const PROVEN: &str = "proven: the node signed two ledgers of one size";
pub(crate) const HEADS_PROVEN: &str = "split heads: proven: the node signed two heads notes of one size";

/// What evidence shows: the members of its JSON.
#[derive(Serialize)]
pub(crate) struct Checked {
    ok: bool,
    found: &'static str,
    proven: bool,
    node: String,
    origin: String,
    seen: String,
    checkpoints: [Signed; 2],
}

#[derive(Serialize)]
struct Signed {
    size: u64,
    root: String,
    /// Of a heads note: the root of the map of heads.
    #[serde(skip_serializing_if = "Option::is_none")]
    map: Option<String>,
}

impl Checked {
    /// Of two checkpoints.
    pub(crate) fn of(evidence: &Evidence, weight: Weight) -> Self {
        let signed = [&evidence.remembered, &evidence.shown].map(|note| {
            let claimed = note.claimed();
            Signed { size: claimed.size, root: claimed.root.to_string(), map: None }
        });
        Self::new(&evidence.node, evidence.seen, evidence.found.word(), weight == Weight::Proof, signed)
    }

    /// Of two heads notes.
    pub(crate) fn of_heads(evidence: &SplitHeads) -> Self {
        let signed = [&evidence.remembered, &evidence.shown].map(|note| {
            let claimed = note.claimed();
            Signed { size: claimed.size, root: claimed.ledger.to_string(), map: Some(claimed.map.to_string()) }
        });
        Self::new(&evidence.node, evidence.seen, SplitHeads::WORD, true, signed)
    }

    fn new(node: &NodeKey, seen: Time, found: &'static str, proven: bool, checkpoints: [Signed; 2]) -> Self {
        let (origin, seen) = (node.origin().to_string(), seen.to_string());
        Self { ok: true, found, proven, node: node.to_string(), origin, seen, checkpoints }
    }
}

impl Checked {
    /// The same for people, in lines.
    pub(crate) fn lines(&self, verdict: &str) -> [String; 4] {
        let [before, then] = &self.checkpoints;
        let heads = |note: &Signed| note.map.as_ref().map(|map| format!(", heads {map}")).unwrap_or_default();
        [
            verdict.to_owned(),
            format!("  node    {}", self.node),
            format!("  before  {} entries, root {}{}", before.size, before.root, heads(before)),
            format!("  then    {} entries, root {}{}, at {}", then.size, then.root, heads(then), self.seen),
        ]
    }
}
