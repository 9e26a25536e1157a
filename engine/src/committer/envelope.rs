//! Envelopes on their way into records: the KEKs that are in use, and the rows
//! of their packets.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use thingdb_format::{Cek, EncryptionKey, EntryId, Envelope, Kek, KekPacket, Origin, Recipients, envelope};

use super::Committer;
use crate::error::Result;
use crate::storage::Batch;
use crate::store::Store;
use crate::store::packets;
use crate::store::provenance::{self, Hand, Provenance};
use crate::store::schema;
use crate::store::stored::StoredEnvelope;

/// Entries that share a KEK, at most.
const KEK_ENTRIES: u64 = 10_000;

/// How long entries share a KEK, at most.
const KEK_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A KEK that is in use for one set of recipients.
pub(super) struct SharedKek {
    kek: Kek,
    packets: Recipients,
    used: u64,
    since: Instant,
}

impl SharedKek {
    fn new(from: Origin, to: &[EncryptionKey]) -> Result<Self> {
        let mut rng = rand::rng();
        let kek = Kek::generate(&mut rng);
        let packets = to
            .iter()
            .map(|key| KekPacket::seal_x25519(&kek, from, key, &mut rng))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(Self { kek, packets: Recipients::new(packets)?, used: 0, since: Instant::now() })
    }

    fn is_spent(&self) -> bool {
        self.used >= KEK_ENTRIES || self.since.elapsed() >= KEK_TIME
    }
}

/// Seals a CEK to a set of recipients, under the KEK that is in use for it.
pub(super) fn seal_to(
    committer: &Committer,
    store: &Store,
    batch: &mut Batch,
    to: &[EncryptionKey],
    id: &EntryId,
    cek: &Cek,
) -> Result<StoredEnvelope> {
    let mut keks = committer.keks.lock().expect("no thread panics while it holds the keys");
    if keks.get(to).is_none_or(SharedKek::is_spent) {
        keks.insert(to.to_vec(), SharedKek::new(committer.origin, to)?);
    }
    let shared = keks.get_mut(to).expect("it was put there if it was not");
    shared.used += 1;
    let cek = envelope::seal_cek(&shared.kek, id, cek);
    let packets = place_packets(committer, store, batch, &shared.packets)?;
    Ok(StoredEnvelope::made_here(committer.origin, cek, packets))
}

/// Seals a CEK so that everybody can open it, under a KEK of its own.
pub(super) fn seal_public(
    committer: &Committer,
    store: &Store,
    batch: &mut Batch,
    id: &EntryId,
    cek: &Cek,
) -> Result<StoredEnvelope> {
    let kek = Kek::generate(&mut rand::rng());
    let packets = Recipients::new(vec![KekPacket::public(&kek)])?;
    let packets = place_packets(committer, store, batch, &packets)?;
    Ok(StoredEnvelope::made_here(committer.origin, envelope::seal_cek(&kek, id, cek), packets))
}

/// Packets of an envelope that may have a row of their own: about a kilobyte.
const PRIVATE_PACKETS: usize = 12;

/// Puts a row of KEK packets into the batch, unless it is known to be there.
/// The row's name.
fn place_packets(committer: &Committer, store: &Store, batch: &mut Batch, packets: &Recipients) -> Result<[u8; 16]> {
    let name = packets::row_name(packets);
    let mut stored = committer.stored_packets.lock().expect("no thread panics while it holds this");
    if !stored.contains(&name) {
        let row = schema::kek(&name);
        if store.storage.get(&row)?.is_none() {
            put_packets(store, batch, row, packets);
        }
        if stored.len() > 10_000 {
            stored.clear();
        }
        stored.insert(name);
    }
    Ok(name)
}

fn put_packets(store: &Store, batch: &mut Batch, row: Vec<u8>, packets: &Recipients) {
    let sealed = store.rows.seal(&row, &packets::encode(packets));
    batch.put(row, sealed);
}

/// An envelope on its way into a record. Its packets get their row when the
/// record takes it: whoever sends copies of an entry with ever new envelopes
/// must not fill the disk with their packets.
///
/// An envelope that a record has can lose its place, and nobody knows who else
/// uses the row of its packets. So such rows are shared only as long as the
/// record has few envelopes, whatever becomes of these: a record leaves four
/// rows behind at most. From then on, envelopes that others can take the place
/// of have a row of their own, which goes with them. It has to be small: packets
/// that a stream names once would be written once more for each entry. What
/// anybody brought and is not small finds no place.
#[derive(Clone)]
pub(crate) struct Packed {
    stored: StoredEnvelope,
    /// Nothing if they have their row.
    packets: Option<Recipients>,
}

impl Packed {
    /// One that came for an entry of `origin`. `opened` says that it opens the
    /// entry.
    pub(crate) fn new(envelope: &Envelope, opened: bool, origin: &Origin, hand: &Hand) -> Self {
        let opened = if opened { Provenance::OPENED } else { Provenance::ANYBODY };
        let provenance = hand.provenance(origin, &envelope.from).and(opened);
        let stored = StoredEnvelope::brought(envelope, provenance, hand.bringer());
        Self { stored, packets: Some(envelope.recipients.clone()) }
    }

    /// One that this node made, its packets in their row.
    pub(super) const fn made_here(stored: StoredEnvelope) -> Self {
        Self { stored, packets: None }
    }
}

/// What became of envelopes that came for a record.
#[derive(Clone, Copy, Default)]
pub(super) struct Joined {
    /// Whether what the record has is another thing now, if only in what is
    /// known of it.
    pub(super) is_changed: bool,
    /// How many of them it has now and had not.
    pub(super) added: u64,
    /// How many found no place, or lost theirs.
    pub(super) dropped: u64,
}

/// Gives envelopes to the record at `position`, as far as they have a place
/// there.
pub(super) fn join(
    coming: Vec<Packed>,
    hand: Option<&Hand>,
    (position, envelopes): (u64, &mut Vec<StoredEnvelope>),
    committer: &Committer,
    store: &Store,
    batch: &mut Batch,
) -> Result<Joined> {
    if coming.is_empty() {
        return Ok(Joined::default());
    }
    let (stored, packets): (Vec<_>, Vec<_>) = coming.into_iter().map(|packed| (packed.stored, packed.packets)).unzip();
    let mut merged = provenance::merge(envelopes, &stored, hand);
    let new = merged.kept.split_off(merged.kept.len().saturating_sub(merged.added));
    for (before, mut envelope) in (envelopes.len()..).zip(new) {
        let same = stored.iter().position(|stored| stored.packets == envelope.packets);
        if let Some(packets) = same.and_then(|at| packets.get(at)?.as_ref()) {
            let is_there = merged.kept.iter().any(|kept| !kept.is_private && kept.packets == envelope.packets);
            let gives_way = before >= provenance::CROWDED && envelope.provenance <= Provenance::OPENED && !is_there;
            let is_small = packets.len() <= PRIVATE_PACKETS;
            if gives_way && !is_small && envelope.provenance == Provenance::ANYBODY {
                merged.added = merged.added.saturating_sub(1);
                merged.dropped += 1;
                continue;
            }
            envelope.is_private = gives_way && is_small;
            if envelope.is_private {
                put_packets(store, batch, envelope.row(position), packets);
            } else {
                place_packets(committer, store, batch, packets)?;
            }
        }
        merged.kept.push(envelope);
    }
    // Nothing fails from here on, so a row goes only together with its envelope.
    let rows = |envelopes: &[StoredEnvelope]| -> HashSet<Vec<u8>> {
        envelopes.iter().filter(|envelope| envelope.is_private).map(|envelope| envelope.row(position)).collect()
    };
    for row in rows(envelopes).difference(&rows(&merged.kept)) {
        batch.delete(row.clone());
    }
    let joined =
        Joined { is_changed: merged.kept != *envelopes, added: merged.added as u64, dropped: merged.dropped as u64 };
    *envelopes = merged.kept;
    Ok(joined)
}
