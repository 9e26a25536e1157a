//! Entries out, in ledger order, as ndjson.

use std::io::Write;
use std::sync::Arc;

use thingdb_format::merkle::{self, Frontier};
use thingdb_format::{EncryptionKey, Entry, Envelope, Kek, KekPacket, Origin, StreamHeader, Trailer, envelope, line};

use crate::db::Db;
use crate::error::{Error, Result};
use crate::progress::{self, Progress};
use crate::schema;
use crate::storage::Direction;
use crate::store::{Located, Paths};
use crate::stored::Block;

/// Entries that share a KEK in an export.
const KEK_ENTRIES: u64 = 10_000;

/// Lines are gathered up to this size before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// What to export, and how.
///
/// ```
/// use thingdb::ExportOptions;
/// let options = ExportOptions::new().since(1000).prefix("plant-3/");
/// # let _ = options;
/// ```
#[derive(Default)]
pub struct ExportOptions<'a> {
    since: u64,
    prefix: String,
    progress: progress::Report<'a>,
}

impl<'a> ExportOptions<'a> {
    /// Everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only entries from this ledger position on: what
    /// [`ExportSummary::next_position`] said the last time.
    #[must_use]
    pub const fn since(mut self, position: u64) -> Self {
        self.since = position;
        self
    }

    /// Only things whose id begins with `prefix`.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Is told of progress now and then.
    #[must_use]
    pub fn progress(mut self, report: &'a mut dyn FnMut(Progress)) -> Self {
        self.progress = Some(report);
        self
    }
}

impl std::fmt::Debug for ExportOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExportOptions")
            .field("since", &self.since)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// What was exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportSummary {
    /// Entries that were written.
    pub entries: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// From where the next export goes on.
    pub next_position: u64,
}

impl Db {
    /// Writes entries as a stream of ndjson lines with a header and a trailer.
    /// Each entry can be opened by this node; whoever else gets the stream
    /// verifies everything and reads nothing, unless an entry has envelopes
    /// for them.
    ///
    /// # Errors
    /// [`Error::Stream`] if `out` fails, [`Error::is_damaged`] if an entry
    /// does not open; the stream ends without a trailer then.
    pub fn export(&self, mut options: ExportOptions<'_>, out: impl Write) -> Result<ExportSummary> {
        let size = self.store.size();
        // A ledger that was cut has no checkpoint to give.
        let checkpoint = match self.checkpoint() {
            Ok(note) => Some(note),
            Err(Error::RolledBack { .. }) => None,
            Err(problem) => return Err(problem),
        };
        let mut stream = Out { out, buffer: Vec::with_capacity(BUFFER_BYTES + 4096), bytes: 0 };
        StreamHeader { card: Some(self.card()?), checkpoint: checkpoint.clone() }.encode(&mut stream.buffer);
        let mut ids = Frontier::default();
        let mut seal = SelfSeal::new(self);
        let mut paths = Paths::default();
        let since = options.since.min(size);
        let range = match since {
            since if since < size => schema::blocks_between(self.store.block_of(since)?.0, size),
            _ => schema::blocks_between(0, 0),
        };
        for row in self.store.storage.scan(&range, Direction::Forward) {
            let (key, bytes) = row?;
            let first =
                schema::first_of_block(&key).ok_or_else(|| Error::damaged("the ledger", "a block has no key"))?;
            let block = Block::from_bytes(first, &bytes)?;
            for (position, slot) in (first..).zip(0..=u8::MAX).take(block.len()).filter(|(at, _)| *at >= since) {
                let located = self.store.located_in(&block, first, slot)?;
                if !located.header.thing.as_str().starts_with(&options.prefix) {
                    continue;
                }
                let id = located.id;
                let entry = self.to_entry(located, &mut paths, &mut seal)?;
                line::encode_with_id(&entry, &id, &mut stream.buffer);
                ids.push(merkle::leaf(&id));
                if stream.buffer.len() >= BUFFER_BYTES {
                    stream.flush()?;
                    progress::tell(&mut options.progress, position - since + 1, size - since, stream.bytes);
                }
            }
        }
        Trailer { entries: ids.size(), root: ids.root(), checkpoint }.encode(&mut stream.buffer);
        stream.flush()?;
        stream.out.flush().map_err(written)?;
        progress::tell(&mut options.progress, size - since, size - since, stream.bytes);
        Ok(ExportSummary { entries: ids.size(), bytes: stream.bytes, next_position: size })
    }

    /// The entry as it travels: with its whole signature, and an envelope to
    /// this node if it has the key.
    fn to_entry(&self, located: Located, paths: &mut Paths, seal: &mut SelfSeal) -> Result<Entry> {
        let signature = self.store.signature(&located, paths)?;
        let payload = self.store.payload(&located)?;
        let mut envelopes = self.store.envelopes(&located)?;
        if let Some(cek) = located.stored.cek()
            && envelopes.len() < envelope::MAX_ENVELOPES
            && !seal.is_among(&envelopes)
        {
            envelopes.push(seal.envelope(&located.id, &cek)?);
        }
        Ok(Entry { header: located.header, signature, payload, envelopes })
    }
}

struct Out<W> {
    out: W,
    buffer: Vec<u8>,
    bytes: u64,
}

impl<W: Write> Out<W> {
    fn flush(&mut self) -> Result<()> {
        self.out.write_all(&self.buffer).map_err(written)?;
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

fn written(source: std::io::Error) -> Error {
    Error::Stream { action: "written", source: Arc::new(source) }
}

/// Seals CEKs to this node itself, so that it can read what it exported.
struct SelfSeal {
    origin: Origin,
    to: EncryptionKey,
    kek: Option<(Kek, KekPacket)>,
    used: u64,
}

impl SelfSeal {
    fn new(db: &Db) -> Self {
        let keyring = db.store.keyring();
        let to = keyring.decryption_key().encryption_key();
        Self { origin: keyring.node_key().node_key().origin(), to, kek: None, used: 0 }
    }

    fn is_among(&self, envelopes: &[Envelope]) -> bool {
        let own = self.to.recipient_id();
        let packets = envelopes.iter().flat_map(|envelope| &envelope.recipients);
        packets.into_iter().any(|packet| matches!(packet, KekPacket::X25519 { id, .. } if *id == own))
    }

    fn envelope(&mut self, id: &thingdb_format::EntryId, cek: &thingdb_format::Cek) -> Result<Envelope> {
        if self.used.is_multiple_of(KEK_ENTRIES) {
            let mut rng = rand::rng();
            let kek = Kek::generate(&mut rng);
            let packet = KekPacket::seal_x25519(&kek, self.origin, &self.to, &mut rng)?;
            self.kek = Some((kek, packet));
        }
        self.used += 1;
        let (kek, packet) = self.kek.as_ref().expect("it was made for the first entry");
        Ok(Envelope::new(self.origin, envelope::seal_cek(kek, id, cek), vec![packet.clone()])?)
    }
}
