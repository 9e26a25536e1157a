//! What nodes answered to the erasures of a file.

use serde::Serialize;
use thingdb::format::erasure::receipt::{Answer, ErasureReceipt};
use thingdb::format::proof::{ProofReport, Received};

use crate::text::{counted, printable};

/// What a node answered.
#[derive(Debug, Serialize)]
pub(super) struct ReceiptJson {
    record: String,
    /// The fingerprint of the key that signed.
    node: String,
    /// The name of the node on a card that was given, or null.
    name: Option<String>,
    verdict: &'static str,
    count: u64,
    of: u64,
    reason: Option<String>,
    time: String,
}

impl ReceiptJson {
    fn new(received: &Received) -> Self {
        let said = received.receipt.said();
        let (verdict, reason) = match &said.answer {
            Answer::Erased => ("erased", None),
            Answer::Held { reason } => ("held", Some(reason.clone())),
        };
        Self {
            record: said.record.to_string(),
            node: said.node.fingerprint().to_string(),
            name: received.name.clone(),
            verdict,
            count: said.count,
            of: said.of,
            reason,
            time: said.time.to_string(),
        }
    }
}

/// The receipts of a file, in its order.
pub(super) fn receipts(report: &ProofReport) -> Vec<ReceiptJson> {
    report.receipts.iter().map(ReceiptJson::new).collect()
}

/// Who has confirmed what was erased in the file, and who keeps it: of those whose card was
/// given by name, of the others how many keys.
pub(super) fn in_words(report: &ProofReport) -> Vec<String> {
    let is_told = |one: &&Received| report.erased_by.values().any(|record| *record == one.receipt.said().record);
    let told: Vec<&Received> = report.receipts.iter().filter(is_told).collect();
    let mut lines = Vec::new();
    let is_complete = |said: &ErasureReceipt| said.is_complete();
    let is_partial = |said: &ErasureReceipt| said.answer == Answer::Erased && !said.is_complete();
    lines.extend(signed_by("that it is erased there, signed by", &told, is_complete));
    lines.extend(signed_by("that only a part is erased there, signed by", &told, is_partial));
    for one in told {
        let said = one.receipt.said();
        if let Answer::Held { reason } = &said.answer {
            let entries = counted(said.count, "entry", "entries");
            let who = one.name.as_ref().map_or_else(|| "a key that you have not named".to_owned(), |name| named(name));
            lines.push(format!("that {entries} are kept there, signed by {who}: {}", printable(reason)));
        }
    }
    lines
}

fn signed_by(fact: &str, told: &[&Received], which: impl Fn(&ErasureReceipt) -> bool) -> Option<String> {
    let some: Vec<&&Received> = told.iter().filter(|one| which(one.receipt.said())).collect();
    let mut who: Vec<String> = some.iter().filter_map(|one| one.name.as_deref().map(named)).collect();
    who.sort();
    who.dedup();
    let nameless = some.iter().filter(|one| one.name.is_none()).map(|one| one.receipt.said().node);
    let nameless = nameless.collect::<std::collections::BTreeSet<_>>().len() as u64;
    if nameless > 0 {
        who.push(counted(nameless, "key that you have not named", "keys that you have not named"));
    }
    (!who.is_empty()).then(|| format!("{fact} {}", who.join(", ")))
}

fn named(name: &str) -> String {
    printable(name).into_owned()
}
