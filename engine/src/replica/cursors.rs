//! How far the exchange with another node is.

use bincode::{Decode, Encode};
use thingdb_format::Origin;

use super::refused::Refused;
use crate::encoding;
use crate::error::Result;
use crate::node::Node;
use crate::storage::Batch;
use crate::store::schema;

/// How far the exchange with another node is. Ledgers only grow, so a position
/// stays true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Cursors {
    /// Every entry of its ledger below this position was fetched, or is here.
    pub pulled: u64,
    /// Every entry of this ledger below this position was offered to it.
    pub pushed: u64,
    /// Completions of its entries up to this revision of its log were fetched.
    pub pulled_revision: u64,
    /// Completions of entries here up to this revision were offered to it.
    pub pushed_revision: u64,
    /// Size of its ledger when the exchange ended last.
    pub seen: u64,
    /// Entries of its ledger that were refused here.
    pub refused_here: Refused,
    /// Entries of this ledger that were refused there.
    pub refused_there: Refused,
    /// What [`Db::dropped_from`](crate::Db::dropped_from) said of it when its
    /// ledger was compared last.
    pub dropped_here: u64,
    /// What it said of this node then.
    pub dropped_there: u64,
    /// Receipts that came to it up to this revision were fetched.
    pub pulled_receipts: u64,
    /// Receipts that came here up to this revision were offered to it.
    pub pushed_receipts: u64,
    /// Whom this node trusted when receipts were fetched last, by
    /// [`Db::trust_digest`](crate::Db::trust_digest).
    pub receipts_trust_here: [u8; 8],
    /// Whom that node trusted when they were offered last.
    pub receipts_trust_there: [u8; 8],
}

/// How far the exchange of things whose id begins with `prefix` is.
pub(crate) fn cursors(this: &Node, node: &Origin, prefix: &str) -> Result<Cursors> {
    let row = schema::cursors(&this.store.tag_of(&node.0), &this.store.tag_of(prefix.as_bytes()));
    let sealed = this.store.storage.get(&row)?;
    // A row that does not open costs one comparison of everything.
    Ok(sealed.and_then(|sealed| this.store.rows.open_value(&row, &sealed).ok()).unwrap_or_default())
}

/// Notes how far it is.
pub(crate) fn set_cursors(this: &Node, node: &Origin, prefix: &str, cursors: &Cursors) -> Result<()> {
    let row = schema::cursors(&this.store.tag_of(&node.0), &this.store.tag_of(prefix.as_bytes()));
    let sealed = this.store.rows.seal(&row, &encoding::encode(cursors));
    let mut batch = Batch::new();
    batch.put(row, sealed);
    this.rows(batch)
}
