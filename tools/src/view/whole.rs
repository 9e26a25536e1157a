//! What a stream is as a whole: in words, and as members of JSON.

use serde::Serialize;
use thingdb::{Conflict, ImportSummary, KnownAs, StreamLedger, StreamState};
use utoipa::ToSchema;

use crate::error::{Exit, Failure};
use crate::text::{counted, printable};

/// The word for a state.
pub(crate) const fn word(state: &StreamState) -> &'static str {
    match state {
        StreamState::Whole(_) => "whole",
        StreamState::Part(_) => "part",
        StreamState::Cut => "cut",
        StreamState::Damaged(_) => "damaged",
        StreamState::Newer(_) => "newer",
        _ => "bare",
    }
}

/// The ledger of which a stream is the whole or a part, as its node signed it.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = StreamLedger)]
pub(crate) struct LedgerJson {
    /// The node.
    origin: String,
    /// SHA-256 of its key.
    fingerprint: String,
    /// `own`, `peer`, or `no` if nothing is known of it here.
    known: &'static str,
    /// The name of the peer.
    name: Option<String>,
    /// Entries in it.
    size: u64,
    /// Root of its Merkle tree, in hex.
    root: String,
    /// Whether the first entries of the ledger here are this ledger.
    here: bool,
}

impl LedgerJson {
    /// What `ledger` says.
    pub(crate) fn new(ledger: &StreamLedger) -> Self {
        let (known, name) = match &ledger.known {
            KnownAs::Own => ("own", None),
            KnownAs::Peer(name) => ("peer", Some(name.clone())),
            _ => ("no", None),
        };
        Self {
            origin: ledger.node.origin().to_string(),
            fingerprint: ledger.node.fingerprint().to_string(),
            known,
            name,
            size: ledger.size,
            root: ledger.root.to_string(),
            here: ledger.is_here,
        }
    }
}

/// A checkpoint in a stream that contradicts what its node signed before.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = StreamContradiction)]
pub(crate) struct ContradictionJson {
    /// The node.
    origin: String,
    /// `rolled-back` or `split-view`.
    found: &'static str,
}

impl ContradictionJson {
    /// What `conflict` says.
    pub(crate) fn new(conflict: &Conflict) -> Self {
        let evidence = &conflict.evidence;
        Self { origin: evidence.node.origin().to_string(), found: evidence.found.word() }
    }
}

/// What a stream of which everything came is, for people.
pub(crate) fn sentence(imported: &ImportSummary) -> Option<String> {
    let came = counted(imported.entries, "entry", "entries");
    match &imported.stream {
        StreamState::Bare if imported.entries == 0 => None,
        StreamState::Bare => Some("the stream is bare: nobody has signed that nothing is missing".to_owned()),
        StreamState::Whole(ledger) => {
            Some(format!("the stream is the whole ledger up to {}, signed by {}", ledger.size, who(ledger)))
        }
        StreamState::Part(None) => {
            Some(format!("the stream is a part: {came}, and no known node has signed of what ledger"))
        }
        StreamState::Part(Some(ledger)) => {
            let size = counted(ledger.size, "entry", "entries");
            let mut text = format!("the stream is a part: {came} of a ledger of {size}, signed by {}", who(ledger));
            if ledger.is_here {
                text.push_str("; that whole ledger is here now");
            }
            Some(text)
        }
        _ => None,
    }
}

/// The node of a ledger, for people.
pub(crate) fn who(ledger: &StreamLedger) -> String {
    match &ledger.known {
        KnownAs::Own => "this node".to_owned(),
        KnownAs::Peer(name) => printable(name).into_owned(),
        _ => format!("the node {} (not known here)", ledger.node.origin()),
    }
}

/// What two checkpoints that contradict each other are to a person.
pub(crate) fn contradiction(conflict: &Conflict, name: &str) -> Failure {
    let name = printable(name);
    let (before, after) = (conflict.evidence.remembered.claimed(), conflict.evidence.shown.claimed());
    let found = conflict.evidence.found;
    let fact = format!("{found}: {name} showed a ledger that did not grow out of the one that it showed before");
    let file = conflict.file.display();
    Failure::new(Exit::NotVerified, found.word(), fact)
        .cause(format!("before: {} entries, root {}", before.size, before.root))
        .cause(format!("then:   {} entries, root {}", after.size, after.root))
        .cause(format!("both as it signed them: {file}"))
        .hint(format!("thingdb verify-evidence {file}; ask its people what happened"))
        .hint(format!("thingdb peer forget-checkpoint {name}, to begin anew with what it shows now"))
}
