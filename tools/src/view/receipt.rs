//! What nodes answered to an erasure, for people and for programs.

use serde::Serialize;
use thingdb::format::erasure::receipt::Answer;
use thingdb::{ErasureRecord, NodeReceipt};

use crate::text::printable;

/// What a node answered.
#[derive(Debug, Serialize)]
pub(crate) struct ReceiptJson {
    /// The name of the node here, if it has one.
    name: Option<String>,
    origin: String,
    node_key: String,
    /// Whether it is this node.
    own: bool,
    /// `erased` or `held`.
    verdict: &'static str,
    /// Entries of which that is so.
    count: u64,
    /// Entries that it has of those that the record lists.
    of: u64,
    reason: Option<String>,
    time: String,
    /// The note, as the node signed it.
    note: String,
}

impl ReceiptJson {
    pub(crate) fn new(answer: &NodeReceipt) -> Self {
        let said = answer.said();
        let (verdict, reason) = match &said.answer {
            Answer::Erased => ("erased", None),
            Answer::Held { reason } => ("held", Some(reason.clone())),
        };
        Self {
            name: answer.name.clone(),
            origin: said.origin().to_string(),
            node_key: said.node.to_string(),
            own: answer.is_own,
            verdict,
            count: said.count,
            of: said.of,
            reason,
            time: said.time.to_string(),
            note: answer.receipt.to_string(),
        }
    }
}

/// Who of the others has erased, who holds and who has not answered, in few words.
pub(crate) fn in_words(erasure: &ErasureRecord) -> String {
    let mut words = Vec::new();
    for answer in erasure.receipts.iter().filter(|answer| !answer.is_own) {
        let said = answer.said();
        let name = answer.name.clone().unwrap_or_else(|| said.origin().to_string());
        let name = printable(&name);
        words.push(match &said.answer {
            Answer::Erased if said.is_complete() => format!("{name} erased"),
            Answer::Erased => format!("{name} erased {} of {}", said.count, said.of),
            Answer::Held { reason } => format!("{name} holds: {}", printable(reason)),
        });
    }
    words.extend(erasure.unanswered.iter().map(|name| format!("{} has not answered", printable(name))));
    words.join("; ")
}
