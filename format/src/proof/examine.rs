//! A line of a proof file, looked at by itself.

use std::sync::{Mutex, PoisonError};

use super::wire::Kind;
use super::{ProofEnd, ProofEntry, ProofHeader, ProofTimestamp, receipt};
use crate::audit::Memos;
use crate::erasure::receipt::SignedErasureReceipt;
use crate::stream::hash_of_line;
use crate::{
    Body, DecryptionKey, EntryId, Envelope, Error, Hash, Header, Kek, KekPacket, Origin, RecipientId, envelope, payload,
};

/// What a proof file has of the content of an entry.
#[derive(Debug)]
pub enum Content {
    /// It is here, and opened with the key that stands beside it.
    Shown(Body),
    /// It is here, sealed to the [reader](ProofReader), and was opened.
    Opened(Body),
    /// The payload is here and whole, and no key to it.
    Sealed,
    /// Only the header is here. The content exists elsewhere, or was erased: the
    /// [report](super::ProofReport::erased_by) says so, if a record in the file does.
    Withheld,
}

impl Content {
    /// The word for it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Shown(_) => "shown",
            Self::Opened(_) => "opened",
            Self::Sealed => "sealed",
            Self::Withheld => "withheld",
        }
    }

    /// The body, if it could be read.
    #[must_use]
    pub const fn body(&self) -> Option<&Body> {
        match self {
            Self::Shown(body) | Self::Opened(body) => Some(body),
            Self::Sealed | Self::Withheld => None,
        }
    }
}

/// Opens what is sealed to the owner of a key.
pub struct ProofReader {
    key: DecryptionKey,
    id: RecipientId,
    /// All entries of a file are sealed under one KEK.
    last: Mutex<Option<(KekPacket, Origin, Kek)>>,
}

impl ProofReader {
    /// With the secret half of the key that the card has which the file was
    /// made for.
    #[must_use]
    pub fn new(key: DecryptionKey) -> Self {
        let id = key.encryption_key().recipient_id();
        Self { key, id, last: Mutex::default() }
    }

    /// The body, if an envelope is for this reader and gives it.
    fn open(&self, entry: &EntryId, header: &Header, payload: &[u8], envelopes: &[Envelope]) -> Option<Body> {
        let packets = envelopes.iter().flat_map(|envelope| {
            // Anybody can write our id: the first four are tried, as elsewhere.
            let is_ours = |packet: &&KekPacket| matches!(packet, KekPacket::X25519 { id, .. } if *id == self.id);
            envelope.recipients.iter().filter(is_ours).take(4).map(move |packet| (envelope, packet))
        });
        packets.into_iter().find_map(|(envelope, packet)| {
            let kek = self.kek(packet, envelope.from)?;
            let cek = envelope::open_cek(&kek, entry, &envelope.cek).ok()?;
            payload::open(header, &cek, payload).ok()
        })
    }

    fn kek(&self, packet: &KekPacket, from: Origin) -> Option<Kek> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, by, kek)) = &*last
            && known == packet
            && *by == from
        {
            return Some(kek.duplicate());
        }
        let kek = packet.open_x25519(from, &self.key).ok()?;
        *last = Some((packet.clone(), from, kek.duplicate()));
        Some(kek)
    }
}

impl std::fmt::Debug for ProofReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProofReader").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A line, looked at by itself, in any thread. [`ProofCheck`](super::ProofCheck)
/// takes it.
#[derive(Debug)]
pub struct ProofLine {
    pub(super) number: u64,
    pub(super) hash: Hash,
    pub(super) what: What,
}

impl ProofLine {
    /// Whether it is one that could be read and stands before the entries.
    #[must_use]
    pub const fn is_preface(&self) -> bool {
        matches!(self.what, What::Header(_) | What::Timestamp(_))
    }
}

#[derive(Debug)]
pub(super) enum What {
    Blank,
    Header(Box<ProofHeader>),
    Timestamp(ProofTimestamp),
    Receipt(Box<SignedErasureReceipt>),
    Entry(Box<Examined>),
    End(ProofEnd),
    Unread { is_entry: bool, has_line_end: bool, problem: Error },
}

/// An entry whose line could be read.
#[derive(Debug)]
pub(super) struct Examined {
    pub(super) place: u64,
    pub(super) gap: Vec<Hash>,
    pub(super) id: EntryId,
    pub(super) header: Header,
    pub(super) content: Content,
    pub(super) envelopes: Vec<Envelope>,
    /// Why the entry is not good.
    pub(super) problem: Option<Error>,
}

/// Looks at a line, with or without its line end; `number` is its place in the
/// file, from 1. The signature of an entry is verified, its payload opened if
/// the key is there.
#[must_use]
pub fn examine(line: &[u8], number: u64, memos: &mut Memos) -> ProofLine {
    examine_as(line, number, memos, None)
}

/// The same for one to whom content may be sealed.
#[must_use]
pub fn examine_as(line: &[u8], number: u64, memos: &mut Memos, reader: Option<&ProofReader>) -> ProofLine {
    let kind = Kind::of(line);
    let what = match kind {
        Kind::Blank => Ok(What::Blank),
        Kind::Header => ProofHeader::decode(line, number).map(|header| What::Header(Box::new(header))),
        Kind::Entry => {
            let examine = |entry| What::Entry(Box::new(examine_entry(entry, number, memos, reader)));
            ProofEntry::decode(line, number).map(examine)
        }
        Kind::Timestamp => ProofTimestamp::decode(line, number).map(What::Timestamp),
        Kind::Receipt => receipt::decode(line, number).map(|receipt| What::Receipt(Box::new(receipt))),
        Kind::End => ProofEnd::decode(line, number).map(What::End),
    };
    let what = what.unwrap_or_else(|problem| What::Unread {
        is_entry: kind == Kind::Entry,
        has_line_end: line.ends_with(b"\n"),
        problem,
    });
    ProofLine { number, hash: hash_of_line(line), what }
}

fn examine_entry(line: ProofEntry, number: u64, memos: &mut Memos, reader: Option<&ProofReader>) -> Examined {
    let ProofEntry { place, gap, cek, mut entry } = line;
    let (id, header) = (entry.id(), entry.header.clone());
    // What is signed is the header.
    let payload = entry.payload.take();
    let envelopes = std::mem::take(&mut entry.envelopes);
    let mut problem = memos.verify(entry).err();
    let content = match (payload, cek) {
        (None, _) => Content::Withheld,
        (Some(bytes), None) => reader
            .and_then(|reader| reader.open(&id, &header, &bytes, &envelopes))
            .map_or(Content::Sealed, Content::Opened),
        (Some(bytes), Some(cek)) => match payload::open(&header, &cek, &bytes) {
            Ok(body) => Content::Shown(body),
            Err(found) => {
                problem.get_or_insert(found);
                Content::Sealed
            }
        },
    };
    let problem = problem.map(|problem| Error::Line { line: number, column: 1, problem: Box::new(problem) });
    Examined { place, gap, id, header, content, envelopes, problem }
}
