//! Entries out, in ledger order, as ndjson or as a binary stream.

use std::collections::HashSet;
use std::io::Write;
use std::ops::{ControlFlow, Range};

use thingdb_format::frame::Encoder;
use thingdb_format::merkle::{self, Frontier};
use thingdb_format::stream::Digest;
use thingdb_format::{Entry, EntryId, Hash, Header, KdfParams, RecipientId, StreamHeader, Trailer, key_record};

use super::dress::{Dress, packet_for, packet_to};
use super::dressing::{self, Dressing, Found, Ready};
use crate::access::card;
use crate::error::{Error, Result};
use crate::keyring::passphrase::Passphrase;
use crate::node::Node;
use crate::progress::{self, Progress};
use crate::replica::witnesses::Witnesses;
use crate::store::holes::{self, Hole, Holes};
use crate::store::schema::Tag;
use crate::store::{Paths, Store};

/// Lines are gathered up to this size before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// How a stream of entries is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamForm {
    /// Lines of ndjson: self-contained, for people and every tool.
    #[default]
    Lines,
    /// The binary stream: about a third of the bytes.
    Binary,
}

/// What to export, and how.
///
/// ```
/// use thingdb::ExportOptions;
/// let options = ExportOptions::new().since(1000).prefix("plant-3/");
/// # let _ = options;
/// ```
#[derive(Default)]
pub struct ExportOptions<'a> {
    pub(super) since: u64,
    pub(super) until: Option<u64>,
    pub(super) bare: bool,
    pub(super) past_holes: bool,
    pub(super) prefix: String,
    pub(super) to: Option<String>,
    pub(super) only_addressed: bool,
    pub(super) form: StreamForm,
    pub(super) passphrase: Option<(&'a Passphrase, KdfParams)>,
    pub(super) progress: progress::Report<'a>,
    pub(super) is_wanted: progress::Wanted<'a>,
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

    /// Only entries before this ledger position.
    #[must_use]
    pub const fn until(mut self, position: u64) -> Self {
        self.until = Some(position);
        self
    }

    /// Only the entries' lines, without header and trailer: a part of a stream
    /// that somebody else frames. No checkpoint is signed for it.
    #[must_use]
    pub const fn bare(mut self, bare: bool) -> Self {
        self.bare = bare;
        self
    }

    /// Goes on behind entries that cannot be read: [`ExportSummary::holes`] names
    /// them. One of which only the payload or the envelopes are lost goes out as a
    /// stub. The stream is seen to be a part: its trailer counts fewer entries than
    /// its checkpoint. Without this such an entry ends it.
    #[must_use]
    pub const fn past_holes(mut self, past_holes: bool) -> Self {
        self.past_holes = past_holes;
        self
    }

    /// Only things whose id begins with `prefix`.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Only what this peer may read, and the rest of those things' histories
    /// as stubs, so that every link verifies. Envelopes of others are left out.
    #[must_use]
    pub fn to(mut self, peer: &str) -> Self {
        self.to = Some(peer.into());
        self
    }

    /// With [`ExportOptions::to`]: leaves the stubs out.
    #[must_use]
    pub const fn only_addressed(mut self, only: bool) -> Self {
        self.only_addressed = only;
        self
    }

    /// How it is written.
    #[must_use]
    pub const fn form(mut self, form: StreamForm) -> Self {
        self.form = form;
        self
    }

    /// Also seals every entry that this node can read to a passphrase: an
    /// archive that opens without any node's key.
    #[must_use]
    pub const fn passphrase(mut self, passphrase: &'a Passphrase, kdf: KdfParams) -> Self {
        self.passphrase = Some((passphrase, kdf));
        self
    }

    /// Is told of progress now and then.
    #[must_use]
    pub fn progress(mut self, report: &'a mut dyn FnMut(Progress)) -> Self {
        self.progress = Some(report);
        self
    }

    /// Asks now and then whether the stream is still wanted; if not, ends with
    /// [`Error::Cancelled`]. An export of little out of much writes seldom, and
    /// would not notice otherwise that nobody listens.
    #[must_use]
    pub fn while_wanted(mut self, is_wanted: &'a dyn Fn() -> bool) -> Self {
        self.is_wanted = Some(is_wanted);
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
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportSummary {
    /// Entries that were written.
    pub entries: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// From where the next export goes on.
    pub next_position: u64,
    /// Entries that could not be read: they are not in the stream, or as stubs.
    pub lost: u64,
    /// Where they are: the first thousand places.
    pub holes: Vec<Hole>,
}

/// Writes entries as a stream with a header and a trailer.
pub(crate) fn export(node: &Node, mut options: ExportOptions<'_>, out: impl Write) -> Result<ExportSummary> {
    check_position(&node.store, options.since)?;
    let until = options.until.unwrap_or(u64::MAX);
    // A ledger that was cut, or that cannot be written to, has no new
    // checkpoint to give; it can still be read.
    let checkpoint = if options.bare { None } else { node.checkpoint_at(until).ok() };
    // With what others have said of it.
    let checkpoint = checkpoint.map(|note| Witnesses(node).with_cosignatures(note));
    // What is written meanwhile is for the next export: this one ends where
    // its checkpoint does, so that it can be seen to be whole.
    let size = checkpoint.as_ref().map_or_else(|| node.store.size(), |note| note.claimed().size).min(until);
    let mut stream = Out { out, buffer: Vec::with_capacity(BUFFER_BYTES + 4096), bytes: 0 };
    let mut form = Form::new(options.form);
    if !options.bare {
        form.header(
            &StreamHeader {
                card: Some(card::card(&node.store.keyring(), &node.store.keys.logs())?),
                checkpoint: checkpoint.clone(),
            },
            &mut stream.buffer,
        );
    }
    let (mut ids, mut digest) = (Frontier::default(), Digest::default());
    let dress = Dress::new(node, &options)?;
    let since = options.since.min(size);
    let wanted = match &dress.to {
        Some(to) => Some(addressed(&node.store, to, since, size, options.is_wanted)?),
        None => None,
    };
    let as_lines = matches!(form, Form::Lines);
    let dressing = Dressing { node, dress, past_holes: options.past_holes, as_lines };
    let mut holes = Holes::default();
    let is_left_out = |header: &Header| {
        !key_record::is_within(&header.thing, &options.prefix)
            || wanted.as_ref().is_some_and(|wanted| {
                // Everybody may read a key log, and nobody can do without.
                key_record::first_key(&header.thing).is_none() && !wanted.contains(&node.store.tag(&header.thing))
            })
    };
    let read = |give: &mut dyn FnMut(Found) -> Result<()>| {
        let walked = holes::each_record(&node.store, since, size, |found| {
            progress::go_on(options.is_wanted)?;
            if !found.as_ref().is_ok_and(|located| is_left_out(&located.header)) {
                give(found)?;
            }
            Ok(ControlFlow::Continue(()))
        });
        walked.map(drop)
    };
    // Each frame names what came before it: they are made one after the other, which is
    // most of the work.
    let threads = if as_lines { node.threads } else { 0 };
    dressing::on_threads(&dressing, threads, read, |dressed| {
        let is_full = stream.take(dressed.lines)?;
        for ready in dressed.ready {
            let (id, hash) = match ready {
                Ready::Line(id, hash) => (id, hash),
                Ready::Entry(id, entry) => (id, form.entry(&entry, &id, &mut stream.buffer)?),
                Ready::Hole(hole) => {
                    holes.add(hole);
                    continue;
                }
            };
            digest.push(&hash);
            ids.push(merkle::leaf(&id));
        }
        if is_full || stream.buffer.len() >= BUFFER_BYTES {
            stream.flush()?;
            progress::tell(&mut options.progress, dressed.end - since, size - since, stream.bytes);
        }
        Ok(())
    })?;
    if !options.bare {
        let (entries, root, digest) = (ids.size(), ids.root(), Some(digest.value()));
        form.trailer(&Trailer { entries, root, digest, checkpoint }, &mut stream.buffer);
    }
    stream.flush()?;
    stream.out.flush().map_err(Error::written)?;
    progress::tell(&mut options.progress, size - since, size - since, stream.bytes);
    let lost = holes.entries();
    Ok(ExportSummary {
        entries: ids.size(),
        bytes: stream.bytes,
        next_position: size,
        lost,
        holes: holes.named(&node.store),
    })
}

/// Refuses a position behind the ledger's end.
pub(crate) fn check_position(store: &Store, position: u64) -> Result<()> {
    let size = store.size();
    if position > size { Err(Error::BeyondLedger { position, size }) } else { Ok(()) }
}

/// Gives the entries at these ledger positions as they leave this node.
pub(crate) fn outgoing(
    node: &Node,
    positions: impl IntoIterator<Item = Range<u64>>,
    mut act: impl FnMut(Outgoing) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let size = node.store.size();
    let mut dress = Dress::new(node, &ExportOptions::new())?;
    let mut paths = Paths::default();
    for range in positions {
        let (start, end) = (range.start, range.end.min(size));
        let flow = holes::each_readable(&node.store, start, end, |located| {
            let (position, id) = (located.position, located.id);
            match dress.entry(node, &located, &mut paths)? {
                Some(entry) => act(Outgoing { position, id, entry }),
                None => Ok(ControlFlow::Continue(())),
            }
        })?;
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}

/// The things of which `to` may read an entry from `since` on, or could until it was
/// erased.
fn addressed(
    store: &Store,
    to: &RecipientId,
    since: u64,
    size: u64,
    is_wanted: progress::Wanted<'_>,
) -> Result<HashSet<Tag>> {
    let mut tags = HashSet::new();
    // What was sealed to it and was erased since is told by the record.
    for position in store.erasure_positions() {
        let position = position?;
        let is_in = (since..size).contains(&position);
        if is_in && store.outcome_of(position)?.is_some_and(|outcome| outcome.readers.contains(&to.0)) {
            tags.insert(store.tag(&store.located_at(position)?.header.thing));
        }
    }
    let _ = holes::each_record(store, since, size, |found| {
        progress::go_on(is_wanted)?;
        // One that cannot be read is told when the entries go out.
        let Ok(located) = found else { return Ok(ControlFlow::Continue(())) };
        let tag = store.tag(&located.header.thing);
        if !tags.contains(&tag) {
            let envelopes = match store.envelopes(&located) {
                Err(problem) if holes::is_of_a_place(&problem) => return Ok(ControlFlow::Continue(())),
                envelopes => envelopes?,
            };
            if envelopes.iter().any(|(envelope, _)| packet_to(envelope, to).is_some()) {
                tags.insert(tag);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(tags)
}

/// An entry on its way out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outgoing {
    /// Where it is in the ledger.
    pub position: u64,
    /// Its id.
    pub id: EntryId,
    /// The entry.
    pub entry: Entry,
}

impl Outgoing {
    /// Whether an envelope goes with it that this recipient can open.
    #[must_use]
    pub fn is_sealed_to(&self, recipient: &RecipientId) -> bool {
        self.entry.envelopes.iter().any(|envelope| packet_for(envelope, recipient).is_some())
    }
}

/// Writes what a stream holds.
enum Form {
    Lines,
    Binary(Box<Encoder>),
}

impl Form {
    fn new(form: StreamForm) -> Self {
        match form {
            StreamForm::Lines => Self::Lines,
            StreamForm::Binary => Self::Binary(Box::default()),
        }
    }

    fn header(&mut self, header: &StreamHeader, out: &mut Vec<u8>) {
        match self {
            Self::Lines => header.encode(out),
            Self::Binary(encoder) => encoder.header(header, out),
        }
    }

    /// Appends an entry and gives the hash of its line or frame.
    fn entry(&mut self, entry: &Entry, id: &EntryId, out: &mut Vec<u8>) -> Result<Hash> {
        let start = out.len();
        match self {
            Self::Lines => Ok(dressing::put_line(entry, id, out)),
            Self::Binary(encoder) => {
                encoder.entry(entry, id, out)?;
                Ok(Hash::of(out.get(start..).unwrap_or_default()))
            }
        }
    }

    fn trailer(&mut self, trailer: &Trailer, out: &mut Vec<u8>) {
        match self {
            Self::Lines => trailer.encode(out),
            Self::Binary(encoder) => encoder.trailer(trailer, out),
        }
    }
}

struct Out<W> {
    out: W,
    buffer: Vec<u8>,
    bytes: u64,
}

impl<W: Write> Out<W> {
    /// Takes lines: in place of what was gathered, if that was written. Says whether it
    /// is time to write.
    fn take(&mut self, lines: Vec<u8>) -> Result<bool> {
        if lines.is_empty() {
            return Ok(false);
        }
        self.flush()?;
        self.buffer = lines;
        Ok(true)
    }

    fn flush(&mut self) -> Result<()> {
        self.out.write_all(&self.buffer).map_err(Error::written)?;
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
