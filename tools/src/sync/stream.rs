//! Entries on their way: a binary stream, compressed, and taken in as far as it
//! came whole.

use std::io::{self, BufReader, Read, Write};

use thingdb::format::frame::Encoder;
use thingdb::{Db, ImportOptions, ImportSummary, Outgoing, Refusal, Sender, StreamState};

use crate::client::fault::NewerVersion;

/// The media type of a binary stream of entries.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.thingdb.stream";

/// Bytes before compression after which what is gathered is sent, so that a
/// broken line loses little: at first few, later more, since each time costs a
/// little.
const FIRST_FLUSH: usize = 2 << 10;
const LATER_FLUSH: usize = 64 << 10;

/// From here on it is later.
const LATER: u64 = 64 << 10;

/// zstd refuses frames that need more than 8 MiB of history (RFC 9659).
const WINDOW_LOG_MAX: u32 = 23;

/// Most of a stream is ciphertext, keys and hashes, which do not compress: what
/// is won is little at any level.
const LEVEL: i32 = 1;

/// Puts entries into a stream.
pub(crate) struct Packer<W: Write> {
    out: zstd::Encoder<'static, W>,
    encoder: Encoder,
    gathered: Vec<u8>,
    /// Bytes before compression that have gone.
    bytes: u64,
}

impl<W: Write> Packer<W> {
    /// Writes to `out`.
    pub(crate) fn new(out: W) -> io::Result<Self> {
        let mut out = zstd::Encoder::new(out, LEVEL)?;
        // Bits that change no entry show, too.
        out.include_checksum(true)?;
        Ok(Self { out, encoder: Encoder::default(), gathered: Vec::new(), bytes: 0 })
    }

    /// Adds an entry.
    pub(crate) fn entry(&mut self, outgoing: &Outgoing) -> io::Result<()> {
        self.encoder.entry(&outgoing.entry, &outgoing.id, &mut self.gathered).map_err(io::Error::other)?;
        let most = if self.bytes < LATER { FIRST_FLUSH } else { LATER_FLUSH };
        if self.gathered.len() >= most { self.send() } else { Ok(()) }
    }

    /// Bytes so far, before compression.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes + self.gathered.len() as u64
    }

    /// Writes the end.
    pub(crate) fn end(mut self) -> io::Result<W> {
        self.send()?;
        self.out.finish()
    }

    fn send(&mut self) -> io::Result<()> {
        self.out.write_all(&self.gathered)?;
        self.bytes += self.gathered.len() as u64;
        self.gathered.clear();
        self.out.flush()
    }
}

/// What was taken in of a stream.
pub(crate) struct Taken {
    /// What became of the entries.
    pub(crate) summary: ImportSummary,
    /// Why it ended early.
    pub(crate) broken: Option<io::Error>,
}

/// Undoes what a [`Packer`] did.
pub(crate) fn unpacked(packed: impl Read) -> io::Result<impl Read> {
    let mut unpacked = zstd::Decoder::new(packed)?;
    unpacked.window_log_max(WINDOW_LOG_MAX)?;
    Ok(unpacked)
}

/// Takes in the entries of an unpacked stream as far as they came whole: where
/// the line breaks, what came before is stored. `refused` is told of each that
/// is not accepted.
pub(crate) fn take_in(
    db: &Db,
    sender: Sender,
    prefix: &str,
    unpacked: impl Read,
    refused: &mut dyn FnMut(&Refusal),
) -> thingdb::Result<Taken> {
    let mut source = UntilBroken { source: unpacked, broken: None };
    let options = ImportOptions::new().prefix(prefix).from(sender).refused(refused);
    let summary = db.import(options, BufReader::new(&mut source))?;
    let broken = match (source.broken, &summary.stream) {
        (None, StreamState::Cut) => Some(io::ErrorKind::UnexpectedEof.into()),
        (None, StreamState::Damaged(problem)) => Some(io::Error::other(problem.clone())),
        (None, StreamState::Newer(problem)) => Some(io::Error::other(NewerVersion(problem.clone()))),
        (broken, _) => broken,
    };
    Ok(Taken { summary, broken })
}

/// A source that ends where it breaks.
struct UntilBroken<R> {
    source: R,
    broken: Option<io::Error>,
}

impl<R: Read> Read for UntilBroken<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.broken.is_some() {
            return Ok(0);
        }
        self.source.read(buffer).or_else(|problem| {
            self.broken = Some(problem);
            Ok(0)
        })
    }
}
