//! Opens the envelopes of entries that come: what they say to be for this node
//! gives its CEK or is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use thingdb_format::erasure::Erasure;
use thingdb_format::{Cek, DecryptionKey, Envelope, Hash, Kek, KekPacket, RecipientId, Verified, envelope, payload};

use crate::committer::{Opened, Packed};
use crate::keyring::passphrase::Passphrase;
use crate::prototype;
use crate::store::packets;
use crate::store::provenance::Hand;
use crate::store::{Located, Store};

/// Opened KEKs that are kept.
const MAX_KEKS: usize = 1024;

/// Packets of one envelope that name this node and are tried.
const MAX_NAMED_PACKETS: usize = 4;

/// Passphrase packets that are tried: each costs memory and time that whoever
/// wrote the stream chose.
const MAX_PASSPHRASE_PACKETS: usize = 16;

/// Opens envelopes, in any thread.
pub(super) struct Opener<'a> {
    store: &'a Store,
    /// This node's keys, former ones too, and how envelopes name them.
    keys: Vec<(RecipientId, Arc<DecryptionKey>)>,
    passphrase: Option<&'a Passphrase>,
    /// KEKs that were opened, by the hash of their packet.
    keks: Mutex<HashMap<Hash, Option<Arc<Kek>>>>,
    /// The same for those under a passphrase, which have a bound of their own.
    archive_keks: Mutex<HashMap<Hash, Option<Arc<Kek>>>>,
}

impl<'a> Opener<'a> {
    /// With these keys, and a passphrase if archives are to be opened.
    pub(super) fn new(
        store: &'a Store,
        keys: impl Iterator<Item = Arc<DecryptionKey>>,
        passphrase: Option<&'a Passphrase>,
    ) -> Self {
        let keys = keys.map(|key| (key.encryption_key().recipient_id(), key)).collect();
        Self { store, keys, passphrase, keks: Mutex::default(), archive_keks: Mutex::default() }
    }

    /// Whether a packet may be for this node.
    pub(super) fn may_open(&self, packet: &KekPacket) -> bool {
        self.is_own(packet)
            || matches!(packet, KekPacket::Public { .. })
            || (self.passphrase.is_some() && matches!(packet, KekPacket::Passphrase { .. }))
    }

    /// The CEK, if an envelope is addressed to this node, and the envelopes
    /// that are kept. One that is addressed to us and does not open the entry
    /// is dropped. It says nothing of the entry: envelopes are not signed, and
    /// whoever carries an entry can add one. If it were held against the entry,
    /// its whole history could be kept from us.
    ///
    /// The payload may be here and the envelope comes, or the other way round.
    pub(super) fn open(&self, entry: &Verified, envelopes: &[Envelope], hand: &Hand, here: Option<&Located>) -> Opened {
        let here = here.filter(|here| here.stored.masked_cek.is_none());
        let held = here.filter(|_| entry.payload.is_none()).and_then(|here| self.store.payload(here).ok().flatten());
        let packed = |envelope, opened| Packed::new(envelope, opened, &entry.header.origin, hand);
        let mut found = Opened { envelopes: Vec::with_capacity(envelopes.len()), ..Opened::default() };
        let Some(payload) = entry.payload.as_ref().or(held.as_ref()) else {
            found.envelopes.extend(envelopes.iter().map(|envelope| packed(envelope, false)));
            return found;
        };
        for envelope in envelopes {
            match self.cek(entry, envelope, payload) {
                Some(Some((cek, erases))) => {
                    found.erases |= erases;
                    found.cek = Some(cek);
                }
                Some(None) => {
                    found.empty += 1;
                    continue;
                }
                None => {
                    found.envelopes.push(packed(envelope, false));
                    continue;
                }
            }
            // From here on the record has the CEK. What serves nobody else is
            // not kept, or each import of an own export would add another
            // envelope.
            if envelope.recipients.iter().any(|packet| !self.is_own(packet)) {
                found.envelopes.push(packed(envelope, true));
            }
        }
        if let (None, None, Some(here)) = (&found.cek, &held, here) {
            let stored = self.store.envelopes(here).unwrap_or_default();
            let opened = stored.iter().find_map(|(envelope, _)| self.cek(entry, envelope, payload)?);
            if let Some((cek, erases)) = opened {
                (found.cek, found.erases) = (Some(cek), erases);
            }
        }
        found
    }

    /// The CEK that an envelope gives this node: nothing if it is not addressed
    /// to it, `Some(None)` if it is and opens nothing. With it, whether the entry is an
    /// erasure record.
    fn cek(&self, entry: &Verified, envelope: &Envelope, payload: &[u8]) -> Option<Option<(Cek, bool)>> {
        let mut is_addressed = false;
        let opened = self.keks(envelope).find_map(|kek| {
            is_addressed = true;
            let cek = envelope::open_cek(&*kek?, &entry.id(), &envelope.cek).ok()?;
            Some((payload::open(&entry.header, &cek, payload).ok()?, cek))
        });
        let Some((body, cek)) = opened else { return is_addressed.then_some(None) };
        if body.attachment().is_some_and(|attachment| attachment.media_type == prototype::ORIGINAL) {
            self.store.originals.note_arrival();
        }
        Some(Some((cek, Erasure::of(&body).is_some())))
    }

    /// Whether a packet names a key of this node.
    pub(super) fn is_own(&self, packet: &KekPacket) -> bool {
        matches!(packet, KekPacket::X25519 { id, .. }
            if self.keys.iter().any(|(own, _)| own == id))
    }

    /// The KEKs that an envelope has for this node: none if it is not addressed
    /// to it, nothing for one that does not open. Several packets can bear one
    /// name: it is short, and anybody can write it.
    fn keks<'e>(&'e self, envelope: &'e Envelope) -> impl Iterator<Item = Option<Arc<Kek>>> + 'e {
        let own = |packet: &'e KekPacket| match packet {
            KekPacket::X25519 { id, .. } => Some((packet, self.keys.iter().find(|(own, _)| own == id)?)),
            _ => None,
        };
        // Who only writes opens nothing but what everybody may read.
        let opens = !self.store.readers().write_only;
        let public = envelope.recipients.iter().filter_map(KekPacket::open_public).take(MAX_NAMED_PACKETS);
        let named = envelope.recipients.iter().filter_map(own).take(if opens { MAX_NAMED_PACKETS } else { 0 });
        let named = named.map(|(packet, (_, key))| self.kek(envelope, packet, key));
        let archived = self.passphrase.filter(|_| opens).into_iter().flat_map(move |passphrase| {
            let packets = envelope.recipients.iter();
            let packets = packets.filter(|packet| matches!(packet, KekPacket::Passphrase { .. }));
            packets.filter_map(move |packet| self.archive_kek(envelope, packet, passphrase)).map(Some)
        });
        public.map(|kek| Some(Arc::new(kek))).chain(named).chain(archived)
    }

    /// The KEK in a packet that names a key of this node.
    fn kek(&self, envelope: &Envelope, packet: &KekPacket, key: &DecryptionKey) -> Option<Arc<Kek>> {
        let name = Hash::of(&[&envelope.from.0[..], &packets::encode(std::slice::from_ref(packet))].concat());
        if let Some(known) = lock(&self.keks).get(&name) {
            return known.clone();
        }
        let opened = packet.open_x25519(envelope.from, key).ok().map(Arc::new);
        let mut keks = lock(&self.keks);
        if keks.len() >= MAX_KEKS {
            keks.clear();
        }
        keks.insert(name, opened.clone());
        opened
    }

    /// The KEK in a packet that is sealed to the passphrase. One that does not
    /// open may be meant for another passphrase.
    fn archive_kek(&self, envelope: &Envelope, packet: &KekPacket, passphrase: &Passphrase) -> Option<Arc<Kek>> {
        // All of the packet: a copy with other parameters must not answer for it.
        let name = Hash::of(&[&envelope.from.0[..], &packets::encode(std::slice::from_ref(packet))].concat());
        // Held while it is stretched: other workers want the same one.
        let mut keks = lock(&self.archive_keks);
        if let Some(known) = keks.get(&name) {
            return known.clone();
        }
        if keks.len() >= MAX_PASSPHRASE_PACKETS {
            return None;
        }
        let opened = packet.open_passphrase(envelope.from, passphrase.as_bytes()).ok().map(Arc::new);
        keks.insert(name, opened.clone());
        opened
    }
}

fn lock<T>(keks: &Mutex<T>) -> MutexGuard<'_, T> {
    keks.lock().expect("no thread panics while it holds the keys")
}
