//! Seals for the way out: to this node itself, so that it can read what it
//! exported, and to the passphrase of an archive.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bincode::{Decode, Encode};
use thingdb_format::{Cek, EncryptionKey, EntryId, Envelope, KdfParams, Kek, KekPacket, Origin, RecipientId, envelope};
use zeroize::Zeroizing;

use crate::encoding;
use crate::error::Result;
use crate::keyring::passphrase::Passphrase;
use crate::node::Node;
use crate::storage::Batch;
use crate::store::packets;
use crate::store::provenance::Provenance;
use crate::store::schema;

/// Positions that share a KEK.
const KEK_POSITIONS: u64 = 65_536;

/// Seals CEKs to this node. The KEK of a range of positions is made once and kept, so that
/// every export gives an entry the same envelope: who imports it again has
/// nothing to add.
#[derive(Clone)]
pub(super) struct OwnSeal {
    origin: Origin,
    to: EncryptionKey,
    own: RecipientId,
    /// The KEK of the range that was asked for last.
    kek: Option<(u64, Arc<OwnKek>)>,
    /// Those of all ranges so far, shared by all clones: where none can be kept, they
    /// still use the same.
    keks: Arc<Mutex<HashMap<u64, Arc<OwnKek>>>>,
}

struct OwnKek {
    kek: Kek,
    packet: KekPacket,
}

#[derive(Encode, Decode)]
struct OwnKekRow {
    kek: [u8; 32],
    packet: Vec<u8>,
}

impl OwnSeal {
    pub(super) fn new(node: &Node) -> Self {
        let keyring = node.store.keyring();
        let to = keyring.decryption_key().encryption_key();
        let origin = keyring.node_key().node_key().origin();
        Self { origin, to, own: to.recipient_id(), kek: None, keks: Arc::default() }
    }

    /// Adds an envelope to this node, unless there is one that opens. That one
    /// names it is not enough.
    pub(super) fn add(
        &mut self,
        node: &Node,
        envelopes: &mut Vec<(Envelope, Provenance)>,
        position: u64,
        id: &EntryId,
        cek: &Cek,
    ) -> Result<()> {
        let own = Some(self.own);
        let opened = envelopes.iter().filter(|(_, provenance)| provenance.is(Provenance::OPENED));
        if opened.flat_map(|(envelope, _)| &envelope.recipients).any(|packet| packets::recipient(packet) == own) {
            return Ok(());
        }
        let range = position / KEK_POSITIONS;
        if self.kek.as_ref().is_none_or(|(known, ..)| *known != range) {
            self.kek = Some((range, self.kek_of(node, range)?));
        }
        if let Some((_, own)) = &self.kek {
            let sealed = envelope::seal_cek(&own.kek, id, cek);
            let own = Envelope::new(self.origin, sealed, vec![own.packet.clone()])?;
            put_first(envelopes, own);
        }
        Ok(())
    }

    fn kek_of(&self, node: &Node, range: u64) -> Result<Arc<OwnKek>> {
        let mut keks = self.keks.lock().expect("no thread panics while it holds the KEKs");
        if let Some(kek) = keks.get(&range) {
            return Ok(Arc::clone(kek));
        }
        let kek = Arc::new(match self.load(node, range)? {
            Some(kept) => kept,
            None => self.make(node, range)?,
        });
        keks.insert(range, Arc::clone(&kek));
        Ok(kek)
    }

    fn load(&self, node: &Node, range: u64) -> Result<Option<OwnKek>> {
        let key = schema::own_kek(range);
        let Some(sealed) = node.store.storage.get(&key)? else { return Ok(None) };
        // One that does not open is made anew: no entry needs it to be read.
        let Ok(row) = node.store.rows.open_value::<OwnKekRow>(&key, &sealed) else { return Ok(None) };
        let packet = packets::decode(&row.packet)?.first().cloned();
        // After a change of the node's keys it is another's.
        let packet = packet.filter(|packet| packets::recipient(packet) == Some(self.own));
        Ok(packet.map(|packet| OwnKek { kek: Kek::from_bytes(row.kek), packet }))
    }

    fn make(&self, node: &Node, range: u64) -> Result<OwnKek> {
        let mut rng = rand::rng();
        let kek = Kek::generate(&mut rng);
        let packet = KekPacket::seal_x25519(&kek, self.origin, &self.to, &mut rng)?;
        let row = OwnKekRow { kek: *kek.as_bytes(), packet: packets::encode(std::slice::from_ref(&packet)) };
        let key = schema::own_kek(range);
        let sealed = node.store.rows.seal(&key, &Zeroizing::new(encoding::encode(&row)));
        let mut batch = Batch::new();
        batch.put(key, sealed);
        // Where nothing can be written (a full disk, a failed sync, a ledger
        // that was cut) the next export makes another one.
        let _ = node.rows(batch);
        Ok(OwnKek { kek, packet })
    }
}

/// Seals CEKs to a passphrase. Stretching it is dear, so an archive has one
/// KEK.
pub(super) struct ArchiveSeal {
    origin: Origin,
    kek: Kek,
    packet: KekPacket,
}

impl ArchiveSeal {
    pub(super) fn new(node: &Node, passphrase: &Passphrase, kdf: KdfParams) -> Result<Self> {
        let mut rng = rand::rng();
        let origin = node.origin();
        let kek = Kek::generate(&mut rng);
        let packet = KekPacket::seal_passphrase(&kek, origin, passphrase.as_bytes(), kdf, &mut rng)?;
        Ok(Self { origin, kek, packet })
    }

    pub(super) fn add(&self, envelopes: &mut Vec<(Envelope, Provenance)>, id: &EntryId, cek: &Cek) -> Result<()> {
        let sealed = envelope::seal_cek(&self.kek, id, cek);
        put_first(envelopes, Envelope::new(self.origin, sealed, vec![self.packet.clone()])?);
        Ok(())
    }
}

/// Puts an envelope that this node made before the others. If there is no room,
/// the last one gives way, of which least is known: an entry that its exporter
/// cannot open again, or an archive that lacks it, would be worse.
fn put_first(envelopes: &mut Vec<(Envelope, Provenance)>, own: Envelope) {
    envelopes.truncate(envelope::MAX_ENVELOPES - 1);
    envelopes.insert(0, (own, Provenance::HERE));
}
