//! That one entry stands in this node's ledger, for tools of others.

use thingdb_format::{EntryId, Hash, SignedCheckpoint, TlogProof, merkle, receipt};

use crate::error::{Error, Result};
use crate::node::Node;
use crate::replica::witnesses::Witnesses;

/// The proof of an entry as c2sp.org/tlog-proof has it: in the newest state that
/// others have cosigned, if one has the entry; else in the newest.
pub(crate) fn tlog_proof(node: &Node, id: &EntryId) -> Result<Option<TlogProof>> {
    let Some(index) = position(node, id)? else { return Ok(None) };
    let mut cosigned = Witnesses(node).cosigned()?.into_iter().map(|cosigned| cosigned.checkpoint);
    let cosigned = cosigned.rfind(|note| note.claimed().size > index);
    let checkpoint = cosigned.map_or_else(|| node.checkpoint(), Ok)?;
    let path = path(node, index, &checkpoint)?;
    Ok(Some(TlogProof { index, path, checkpoint }))
}

/// The receipt of an entry in the newest state of the ledger (RFC 9942).
pub(crate) fn receipt(node: &Node, id: &EntryId) -> Result<Option<Vec<u8>>> {
    let Some(index) = position(node, id)? else { return Ok(None) };
    let checkpoint = node.checkpoint()?;
    let path = path(node, index, &checkpoint)?;
    let keyring = node.store.keyring();
    Ok(Some(receipt::sign(keyring.node_key(), id, index, checkpoint.claimed().size, &path)?))
}

fn position(node: &Node, id: &EntryId) -> Result<Option<u64>> {
    let mut found = None;
    node.store.scan_ids(|position, candidate| {
        if candidate == id.0 {
            found = Some(position);
        }
        found.is_none()
    })?;
    Ok(found)
}

/// The way from the entry at `index` to the root that was signed.
fn path(node: &Node, index: u64, checkpoint: &SignedCheckpoint) -> Result<Vec<Hash>> {
    let claimed = checkpoint.claimed();
    node.store.with_tree(|tree| {
        // Over another ledger nothing is proven.
        if claimed.size > tree.size() || tree.root_at(claimed.size)? != claimed.root {
            let detail = format!("the checkpoint of {} entries is of another ledger than this", claimed.size);
            return Err(Error::RolledBack { detail });
        }
        merkle::inclusion_proof(tree, index, claimed.size)
    })
}
