//! Readers: who can open which entries, and letting more of them do so later.

use std::collections::BTreeMap;

use thingdb_format::{KekPacket, Origin, RecipientId};

use super::Db;
use crate::committer::Shared;
use crate::error::Result;
use crate::store::Located;
use crate::store::packets;
use crate::store::provenance::Provenance;
use crate::store::things::ThingQuery;

/// Entries that one commit adds envelopes to.
const SHARE_ENTRIES: usize = 1000;

/// Who can open some entries of a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reader {
    /// The peer's name, `this node`, `a passphrase`, `everybody`; nothing for a key that is
    /// not known here.
    pub name: Option<String>,
    /// How envelopes name it; nothing for a passphrase
    /// and for everybody.
    pub recipient: Option<RecipientId>,
    /// Entries of which an envelope names it.
    pub entries: u64,
    /// Of these, entries that it can open, as far as this node knows for
    /// certain: this node sealed them to it, or it is this node itself and has
    /// their keys.
    pub certain: u64,
    /// Of the others, entries that the node which wrote them sealed to it:
    /// that node brought the envelope and proved to be that node.
    pub by_origin: u64,
    /// The first of them, by seq.
    pub first_seq: u64,
    /// The last of them.
    pub last_seq: u64,
    /// The nodes that sealed them to it, as the envelopes say: for entries that
    /// are neither `certain` nor `by_origin` this is a claim.
    pub from: Vec<Origin>,
}

impl Reader {
    /// Entries of which only an envelope that anybody can have made says that
    /// it can open them.
    #[must_use]
    pub const fn claimed(&self) -> u64 {
        self.entries.saturating_sub(self.certain).saturating_sub(self.by_origin)
    }
}

/// What sharing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShareSummary {
    /// Entries that were sealed to the peers.
    pub shared: u64,
    /// Entries that this node had sealed to them before, or that everybody can read. That the envelope of
    /// another opens what it should, only its recipient can say.
    pub known: u64,
    /// Entries that this node cannot open itself.
    pub undecryptable: u64,
    /// Entries that have as many envelopes as an entry can have, all made by
    /// this node: they were not sealed to the peers.
    pub full: u64,
    /// Envelopes of others that gave way, because an entry has eight places.
    pub displaced: u64,
}

/// Readers.
impl Db {
    /// Seals existing entries of a thing, from `since` on by seq, to more
    /// peers. What is signed is not touched; what was erased is passed over, and so are
    /// erasure records, which everybody can read.
    ///
    /// # Errors
    /// [`Error::NoSuchPeer`](crate::Error::NoSuchPeer).
    pub fn share(&self, thing: &str, to: &[String], since: u64) -> Result<ShareSummary> {
        let keys = self.node.store.readers().keys(thing, Some(to))?;
        let wanted: Vec<RecipientId> = keys.iter().map(thingdb_format::EncryptionKey::recipient_id).collect();
        let mut summary = ShareSummary::default();
        let mut entries = Vec::new();
        for located in self.history_range(thing, since.max(1)..)?.located() {
            let located = located?;
            if self.node.store.is_covered(located.position)? {
                continue;
            }
            let sealed = self.sealed_here(&located)?;
            // An erasure record is for everybody anyway, and nobody asked for it.
            if self.node.store.is_erasure(located.position)? {
                continue;
            }
            if self.recipients(&located)?.iter().any(Recipient::is_everybody) {
                summary.known += 1;
                continue;
            }
            if wanted.iter().all(|id| sealed.contains(id)) {
                summary.known += 1;
                continue;
            }
            match self.node.store.cek(&located) {
                Some(cek) => entries.push(Shared { position: located.position, id: located.id, cek }),
                None => summary.undecryptable += 1,
            }
            if entries.len() >= SHARE_ENTRIES {
                self.commit_shared(std::mem::take(&mut entries), keys.clone(), &mut summary)?;
            }
        }
        self.commit_shared(entries, keys, &mut summary)?;
        self.sync()?;
        Ok(summary)
    }

    /// The same for all things whose id begins with `prefix`.
    ///
    /// # Errors
    /// As [`Db::share`].
    pub fn share_prefix(&self, prefix: &str, to: &[String], since: u64) -> Result<ShareSummary> {
        let mut sum = ShareSummary::default();
        for info in self.things_from(&ThingQuery::new().prefix(prefix))? {
            let one = self.share(info?.thing.as_str(), to, since)?;
            sum.shared += one.shared;
            sum.known += one.known;
            sum.undecryptable += one.undecryptable;
            sum.full += one.full;
            sum.displaced += one.displaced;
        }
        Ok(sum)
    }

    fn commit_shared(
        &self,
        entries: Vec<Shared>,
        keys: Vec<thingdb_format::EncryptionKey>,
        summary: &mut ShareSummary,
    ) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let all = entries.len() as u64;
        let sealed = self.node.share(entries, keys)?;
        summary.shared += sealed.entries;
        summary.full += all - sealed.entries;
        summary.displaced += sealed.displaced;
        Ok(())
    }

    /// Who can open which entries of a thing: what this node knows, and what
    /// envelopes say of which it does not know who made them.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn readers(&self, thing: &str) -> Result<Vec<Reader>> {
        let peers = self.peers()?;
        let mut found: BTreeMap<Whom, Reader> = BTreeMap::new();
        let own = self.node.store.keyring().decryption_key().encryption_key().recipient_id();
        let origin = self.origin();
        for located in self.history(thing)?.located() {
            let located = located?;
            let seq = located.header.seq;
            let mut recipients = self.recipients(&located)?;
            if located.stored.masked_cek.is_some() {
                recipients.retain(|recipient| recipient.whom != Whom::Key(own));
                recipients.push(Recipient { whom: Whom::Key(own), from: origin, provenance: Provenance::HERE });
            }
            for Recipient { whom, from, provenance } in recipients {
                let reader = found.entry(whom).or_insert_with(|| Reader {
                    name: match whom {
                        Whom::Passphrase => Some("a passphrase".to_owned()),
                        Whom::Everybody => Some("everybody".to_owned()),
                        Whom::Key(id) if id == own => Some("this node".to_owned()),
                        Whom::Key(id) => peers
                            .iter()
                            .find(|peer| peer.card.encryption_key.recipient_id() == id)
                            .map(|peer| peer.name.clone()),
                    },
                    recipient: if let Whom::Key(id) = whom { Some(id) } else { None },
                    entries: 0,
                    certain: 0,
                    by_origin: 0,
                    first_seq: seq,
                    last_seq: seq,
                    from: Vec::new(),
                });
                reader.entries += 1;
                if provenance.is(Provenance::HERE) {
                    reader.certain += 1;
                } else if provenance.is(Provenance::ORIGIN) {
                    reader.by_origin += 1;
                }
                reader.first_seq = reader.first_seq.min(seq);
                reader.last_seq = reader.last_seq.max(seq);
                if !reader.from.contains(&from) {
                    reader.from.push(from);
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// The recipients to whom this node sealed an entry.
    fn sealed_here(&self, located: &Located) -> Result<Vec<RecipientId>> {
        let envelopes = self.node.store.envelopes(located)?;
        let here = envelopes.iter().filter(|(_, provenance)| provenance.is(Provenance::HERE));
        Ok(here.flat_map(|(envelope, _)| &envelope.recipients).filter_map(packets::recipient).collect())
    }

    /// The recipients of an entry, each once, with the best that is known of an
    /// envelope to it.
    fn recipients(&self, located: &Located) -> Result<Vec<Recipient>> {
        let mut recipients: Vec<Recipient> = Vec::new();
        for (envelope, provenance) in self.node.store.envelopes(located)? {
            for packet in &envelope.recipients {
                let whom = match (packet, packets::recipient(packet)) {
                    (_, Some(id)) => Whom::Key(id),
                    (KekPacket::Public { .. }, None) => Whom::Everybody,
                    (_, None) => Whom::Passphrase,
                };
                if recipients.iter().all(|known| known.whom != whom) {
                    recipients.push(Recipient { whom, from: envelope.from, provenance });
                }
            }
        }
        Ok(recipients)
    }
}

/// Who can open an envelope.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Whom {
    Passphrase,
    Everybody,
    Key(RecipientId),
}

/// Whom an envelope is for.
struct Recipient {
    whom: Whom,
    from: Origin,
    provenance: Provenance,
}

impl Recipient {
    fn is_everybody(&self) -> bool {
        self.whom == Whom::Everybody
    }
}
