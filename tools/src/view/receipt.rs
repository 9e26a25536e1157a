//! What nodes answered to an erasure, for people and for programs.

use serde::{Deserialize, Serialize};
use thingdb::NodeReceipt;
use thingdb::format::erasure::receipt::Answer;
use utoipa::ToSchema;

use crate::text::printable;

const ERASED: &str = "erased";
const HELD: &str = "held";

/// What a node answered.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ErasureReceipt)]
pub(crate) struct ReceiptJson {
    /// The name of the node here, if it has one.
    name: Option<String>,
    origin: String,
    node_key: String,
    /// Whether it is this node.
    own: bool,
    /// `erased` or `held`.
    verdict: String,
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
            Answer::Erased => (ERASED, None),
            Answer::Held { reason } => (HELD, Some(reason.clone())),
        };
        Self {
            name: answer.name.clone(),
            origin: said.origin().to_string(),
            node_key: said.node.to_string(),
            own: answer.is_own,
            verdict: verdict.to_owned(),
            count: said.count,
            of: said.of,
            reason,
            time: said.time.to_string(),
            note: answer.receipt.to_string(),
        }
    }

    /// Whether it is an answer that could be.
    pub(crate) fn is_one(&self) -> bool {
        let is_known = match self.verdict.as_str() {
            ERASED => self.reason.is_none(),
            HELD => self.reason.is_some(),
            _ => false,
        };
        is_known && self.count <= self.of
    }
}

/// Who of the others has erased, who holds and who has not answered, in few words.
pub(crate) fn in_words(receipts: &[ReceiptJson], unanswered: &[String]) -> String {
    let mut words = Vec::new();
    for answer in receipts.iter().filter(|answer| !answer.own) {
        let name = printable(answer.name.as_deref().unwrap_or(&answer.origin));
        words.push(match &answer.reason {
            Some(reason) => format!("{name} holds: {}", printable(reason)),
            None if answer.count == answer.of => format!("{name} erased"),
            None => format!("{name} erased {} of {}", answer.count, answer.of),
        });
    }
    words.extend(unanswered.iter().map(|name| format!("{} has not answered", printable(name))));
    words.join("; ")
}
