//! What a node answers to another one that wants to bring both up to date.
//! Functions over the database; the server's routes call them.

use std::io::{self, Read, Write};
use std::ops::{ControlFlow, Range};

use data_encoding::HEXLOWER;
use thingdb::format::key_record;
use thingdb::{Db, Error, ImportOptions, Observation, Origin, ShortId, SignedCheckpoint, StreamState, short_id};

use super::hearsay;
use super::receipts as receipts_of_nodes;
use super::session;
use super::sorted::{self, Sorted};
use super::stream::{self, Packer};
use super::wire::{
    self, ChangedEntries, MAX_CHANGES, MAX_IDS, MAX_WANTED, PassedOn, Receipts, ReceiptsGiven, Received, Seen, Shown,
    State,
};

/// How this node stands: for `node`, which knows the state of `known` entries.
pub(crate) fn state(db: &Db, node: &Origin, known: u64, things: &str, is_known: bool) -> thingdb::Result<State> {
    let note = db.newest_checkpoint()?;
    let size = note.claimed().size;
    let proof = if known <= size { db.consistency_proof(known, size)? } else { Vec::new() };
    // To a client whose token was made for no peer the node is a stranger.
    let is_peer = is_known && peer_key(db, node)?.is_some();
    let remembered = db.remembered(node)?;
    let (checkpoint, conflict) = if is_peer { (remembered.checkpoint, remembered.conflict) } else { (None, None) };
    let cosigned = if is_peer { cosigned_by(db, node)? } else { 0 };
    Ok(State {
        origin: db.origin().to_string(),
        checkpoint: note.to_string(),
        proof: wire::hashes_to_text(&proof),
        revision: db.revision(),
        things: things.to_owned(),
        trust: HEXLOWER.encode(&db.trust_digest()),
        waiting: db.waiting()?.entries,
        dropped: if is_known { db.dropped_from(node)? } else { 0 },
        peer: is_peer,
        remembered: checkpoint.map(|note| note.to_string()),
        cosigned,
        contradiction: conflict.map(|conflict| conflict.evidence.found.word().to_owned()),
        passes_on: is_peer && !hearsay::seen(db, node)?.is_empty(),
        receipts: db.receipts_revision(),
    })
}

/// Holds what another node shows of its ledger against what it showed before.
/// Nothing if it is none of the peers.
pub(crate) fn observe(db: &Db, shown: &Shown) -> thingdb::Result<Option<Seen>> {
    let malformed = |what, problem| Error::Invalid(thingdb::format::Error::Malformed { what, problem });
    let node: Origin = shown.node.parse()?;
    let Some(key) = peer_key(db, &node)? else { return Ok(None) };
    let note = SignedCheckpoint::parse(&shown.checkpoint)?;
    let proof = wire::hashes_of_text(&shown.proof).ok_or_else(|| malformed("proof", "is no list of hashes"))?;
    let observed = match db.observe_checkpoint(&key, &note, shown.since, &proof)? {
        Observation::Unchanged => "unchanged",
        Observation::Outdated => "outdated",
        Observation::Contradicts(conflict) => {
            let (found, file) = (conflict.evidence.found, conflict.file.display());
            tracing::warn!(%node, found = found.word(), %file, "a peer contradicts what it showed before");
            found.word()
        }
        _ => "new",
    };
    if let Some(yours) = &shown.yours {
        db.keep_cosignatures(&SignedCheckpoint::parse(yours)?)?;
    }
    let cosigned = match observed {
        "new" | "unchanged" => db.remembered(&node)?.checkpoint.map(|note| note.to_string()),
        _ => None,
    };
    Ok(Some(Seen { observed: observed.to_owned(), cosigned }))
}

/// Takes receipts for erasures, and gives those that came here after a revision.
pub(crate) fn receipts(
    db: &Db,
    node: &Origin,
    since: u64,
    things: &str,
    came: &Receipts,
) -> thingdb::Result<ReceiptsGiven> {
    let unknown = receipts_of_nodes::take(db, &came.receipts)?.unknown;
    let given = db.receipts_since(node, since, things)?;
    let receipts = given.receipts.iter().map(ToString::to_string).collect();
    Ok(ReceiptsGiven { unknown, receipts, revision: given.revision, more: given.more })
}

/// Takes what a peer has seen of third nodes, and gives it what was seen here.
pub(crate) fn pass_on(db: &Db, from: &Origin, passed: &PassedOn) -> thingdb::Result<PassedOn> {
    // What was seen here before: what it has just said it knows.
    let seen = hearsay::seen(db, from)?;
    let found = hearsay::take(db, passed)?;
    for conflict in found.ledgers {
        let (found, file) = (conflict.evidence.found, conflict.file.display());
        let node = conflict.evidence.node.origin();
        tracing::warn!(%node, found = found.word(), %file, "a node showed others another ledger");
    }
    for conflict in found.heads {
        let (node, file) = (conflict.evidence.node.origin(), conflict.file.display());
        tracing::warn!(%node, %file, "a node told others of other heads of the same ledger");
    }
    Ok(seen)
}

/// The size of the last checkpoint here that a peer has cosigned; 0 if none.
fn cosigned_by(db: &Db, node: &Origin) -> thingdb::Result<u64> {
    let Some(key) = peer_key(db, node)? else { return Ok(0) };
    let key = key.witness_vkey()?;
    let of = |cosigned: &thingdb::Cosigned| matches!(cosigned.checkpoint.cosigned_by(&key), Ok(Some(_)));
    let newest = db.cosigned()?.into_iter().rev().find(of);
    Ok(newest.map_or(0, |cosigned| cosigned.checkpoint.claimed().size))
}

fn peer_key(db: &Db, node: &Origin) -> thingdb::Result<Option<thingdb::NodeKey>> {
    Ok(db.peers()?.into_iter().find(|peer| peer.origin() == *node).map(|peer| peer.card.node_key))
}

/// The short ids of the entries at these positions; with a prefix each after
/// its position.
pub(crate) fn ids(db: &Db, prefix: &str, range: Range<u64>) -> thingdb::Result<Vec<u8>> {
    if prefix.is_empty() {
        let end = range.end.min(range.start.saturating_add(MAX_IDS as u64));
        return Ok(db.ids(range.start..end)?.iter().flat_map(short_id).collect());
    }
    let mut bytes = Vec::new();
    for position in db.positions(prefix, range)?.into_iter().take(MAX_IDS) {
        let ids = db.ids(position..position + 1)?;
        bytes.extend_from_slice(&position.to_be_bytes());
        ids.iter().for_each(|id| bytes.extend_from_slice(&short_id(id)));
    }
    Ok(bytes)
}

/// Which entries are here, a bit each. Nothing if that was not asked for in the
/// right form.
pub(crate) fn have(db: &Db, sorted: Option<&Sorted>, prefix: &str, asked: &[u8]) -> thingdb::Result<Option<Vec<u8>>> {
    let Some(ids) = wire::ids_of_bytes(asked).filter(|ids| ids.len() <= MAX_IDS) else { return Ok(None) };
    let found = sorted::positions(db, sorted, &ids)?;
    let is_here = |id: &ShortId| match found.get(id) {
        Some(position) => Ok(prefix.is_empty() || db.is_of(*position, prefix)?),
        None => Ok(false),
    };
    let bits: Vec<bool> = ids.iter().map(is_here).collect::<thingdb::Result<_>>()?;
    Ok(Some(wire::bits_to_bytes(&bits)))
}

/// First halves of the ids of entries for which others wait here.
pub(crate) fn wanted(db: &Db, prefix: &str) -> thingdb::Result<Vec<u8>> {
    Ok(session::wanted(db, prefix)?.iter().take(MAX_WANTED).flat_map(short_id).collect())
}

/// The entries that were completed after a revision, not by `node` alone.
pub(crate) fn changes(db: &Db, prefix: &str, node: &Origin, since: u64) -> thingdb::Result<ChangedEntries> {
    let changes = db.changes(since, prefix, Some(*node), MAX_CHANGES)?;
    Ok(ChangedEntries { positions: changes.positions, revision: changes.revision, more: changes.more })
}

/// Writes the entries at these positions, of things that begin with `prefix`.
pub(crate) fn entries(db: &Db, prefix: &str, ranges: Vec<Range<u64>>, out: impl Write) -> thingdb::Result<()> {
    let written = |source: io::Error| Error::Stream { action: "written", source: source.into() };
    let mut packer = Packer::new(out).map_err(written)?;
    db.outgoing(ranges, |outgoing| {
        if key_record::is_within(&outgoing.entry.header.thing, prefix) {
            packer.entry(&outgoing).map_err(written)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    packer.end().and_then(|mut out| out.flush()).map_err(written)
}

/// Takes entries in, as far as they come whole. Says, too, what a newer version
/// wrote of them.
pub(crate) fn receive(
    db: &Db,
    options: ImportOptions<'_>,
    unpacked: impl Read,
) -> thingdb::Result<(Received, Option<String>)> {
    let taken = stream::take_in(db, options, unpacked)?;
    let newer = match &taken.summary.stream {
        StreamState::Newer(problem) => Some(problem.clone()),
        _ => None,
    };
    let entries = taken.summary.entries;
    Ok((Received { tally: taken.summary.into(), entries, size: db.ledger_size() }, newer))
}
