//! Receipts for erasures that nodes pass on to each other.

use thingdb::format::erasure::receipt::SignedErasureReceipt;
use thingdb::{Db, MAX_RECEIPTS, ReceiptsTaken};

/// Takes what came. What is no receipt, or not signed by the node that it names, is passed
/// over: whoever brings it can have made it up.
pub(crate) fn take(db: &Db, texts: &[String]) -> thingdb::Result<ReceiptsTaken> {
    let receipts = texts.iter().take(MAX_RECEIPTS).filter_map(|text| SignedErasureReceipt::parse(text).ok());
    db.take_receipts(&receipts.collect::<Vec<_>>())
}
