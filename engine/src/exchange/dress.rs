//! How entries leave this node: which signature, which envelopes, what payload.

use std::sync::Arc;

use thingdb_format::{Entry, Envelope, KekPacket, RecipientId};

use super::export::ExportOptions;
use super::own_seal::{ArchiveSeal, OwnSeal};
use crate::access::peers;
use crate::error::Result;
use crate::node::Node;
use crate::store::packets;
use crate::store::{Located, Paths};

/// Dresses entries for the way: whole signature, the right envelopes, or none
/// and no payload.
#[derive(Clone)]
pub(super) struct Dress {
    /// Only what this recipient may read.
    pub(super) to: Option<RecipientId>,
    only_addressed: bool,
    own: OwnSeal,
    archive: Option<Arc<ArchiveSeal>>,
}

impl Dress {
    pub(super) fn new(node: &Node, options: &ExportOptions<'_>) -> Result<Self> {
        let peer = options.to.as_deref().map(|name| peers::named(&node.store.keyring(), name)).transpose()?;
        let archive = options.passphrase.map(|(passphrase, kdf)| ArchiveSeal::new(node, passphrase, kdf));
        Ok(Self {
            to: peer.map(|peer| peer.card.encryption_key.recipient_id()),
            only_addressed: options.only_addressed,
            own: OwnSeal::new(node),
            archive: archive.transpose()?.map(Arc::new),
        })
    }

    pub(super) fn entry(&mut self, node: &Node, located: &Located, paths: &mut Paths) -> Result<Option<Entry>> {
        let signature = node.store.signature(located, paths)?;
        let mut envelopes = node.store.envelopes(located)?;
        let mut payload = None;
        // What a record covers goes to nobody, also if a hold keeps it here.
        let is_shut = node.store.erasures.is_shut(located.position);
        if is_shut {
            envelopes.clear();
        }
        match &self.to {
            Some(_) if is_shut && self.only_addressed => return Ok(None),
            _ if is_shut => {}
            Some(to) => {
                let addressed = envelopes.iter().filter_map(|(envelope, provenance)| {
                    let packet = packet_for(envelope, to)?.clone();
                    let alone = Envelope::new(envelope.from, envelope.cek, vec![packet]);
                    Some(alone.map(|envelope| (envelope, *provenance)))
                });
                envelopes = addressed.collect::<std::result::Result<_, _>>()?;
                if !envelopes.is_empty() {
                    payload = node.store.payload(located)?;
                } else if self.only_addressed {
                    return Ok(None);
                }
            }
            None => {
                payload = node.store.payload(located)?;
                if let Some(cek) = node.store.cek(located) {
                    self.own.add(node, &mut envelopes, located.position, &located.id, &cek)?;
                    if let Some(archive) = &self.archive {
                        archive.add(&mut envelopes, &located.id, &cek)?;
                    }
                }
            }
        }
        let envelopes = envelopes.into_iter().map(|(envelope, _)| envelope).collect();
        Ok(Some(Entry { header: located.header.clone(), signature, payload, envelopes }))
    }
}

/// The packet of an envelope that `to` can open: for it, or for everybody.
pub(super) fn packet_for<'e>(envelope: &'e Envelope, to: &RecipientId) -> Option<&'e KekPacket> {
    let public = || envelope.recipients.iter().find(|packet| matches!(packet, KekPacket::Public { .. }));
    packet_to(envelope, to).or_else(public)
}

/// The packet of an envelope that is for `to`.
pub(super) fn packet_to<'e>(envelope: &'e Envelope, to: &RecipientId) -> Option<&'e KekPacket> {
    envelope.recipients.iter().find(|packet| packets::recipient(packet).as_ref() == Some(to))
}
