//! Entries on their way: compressed, and taken in as far as they came whole.

use std::io::{self, BufRead, BufReader, Read, Write};

use thingdb::format::line;
use thingdb::{Db, ImportOptions, ImportSummary, Origin, Outgoing};

/// The media type of a stream of entries.
pub(crate) const MEDIA_TYPE: &str = "application/x-ndjson";

/// Bytes before compression after which what is gathered is sent, so that a
/// broken line loses little.
const FLUSH_BYTES: usize = 4 << 10;

/// zstd refuses frames that need more than 8 MiB of history (RFC 9659).
const WINDOW_LOG_MAX: u32 = 23;

/// Ciphertext does not compress: what is won is in the rest, at any level.
const LEVEL: i32 = 3;

/// Puts entries into a stream.
pub(crate) struct Packer<W: Write> {
    out: zstd::Encoder<'static, W>,
    gathered: Vec<u8>,
    /// Bytes before compression.
    bytes: u64,
}

impl<W: Write> Packer<W> {
    /// Writes to `out`.
    pub(crate) fn new(out: W) -> io::Result<Self> {
        Ok(Self { out: zstd::Encoder::new(out, LEVEL)?, gathered: Vec::new(), bytes: 0 })
    }

    /// Adds an entry.
    pub(crate) fn entry(&mut self, outgoing: &Outgoing) -> io::Result<()> {
        line::encode_with_id(&outgoing.entry, &outgoing.id, &mut self.gathered);
        if self.gathered.len() >= FLUSH_BYTES { self.send() } else { Ok(()) }
    }

    /// Bytes so far, before compression.
    pub(crate) fn bytes(&self) -> u64 {
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
    /// Entries that came whole.
    pub(crate) entries: u64,
    /// Why it ended early.
    pub(crate) broken: Option<io::Error>,
}

/// Takes in the entries of a stream as far as they came whole: where the line
/// breaks, what came before is stored.
pub(crate) fn take_in(db: &Db, from: Option<Origin>, prefix: &str, packed: impl Read) -> thingdb::Result<Taken> {
    let read = |source: io::Error| thingdb::Error::Stream { action: "read", source: source.into() };
    let mut unpacked = zstd::Decoder::new(packed).map_err(read)?;
    unpacked.window_log_max(WINDOW_LOG_MAX).map_err(read)?;
    let mut lines = WholeLines { source: BufReader::new(unpacked), line: Vec::new(), at: 0, count: 0, broken: None };
    let mut options = ImportOptions::new();
    if let Some(from) = from {
        options = options.from(from);
    }
    let _ = prefix;
    let summary = db.import(options, &mut lines)?;
    Ok(Taken { summary, entries: lines.count, broken: lines.broken })
}

/// Lines for as long as they come whole.
struct WholeLines<R> {
    source: R,
    line: Vec<u8>,
    at: usize,
    count: u64,
    broken: Option<io::Error>,
}

impl<R: BufRead> BufRead for WholeLines<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.line.len() && self.broken.is_none() {
            self.line.clear();
            self.at = 0;
            let most = line::MAX_LINE_BYTES as u64 + 2;
            match self.source.by_ref().take(most).read_until(b'\n', &mut self.line) {
                Ok(0) => {}
                Ok(_) if self.line.ends_with(b"\n") => self.count += 1,
                // One that is too long is the import's to refuse.
                Ok(got) if got as u64 == most => {}
                Ok(_) => self.breaks(io::ErrorKind::UnexpectedEof.into()),
                Err(problem) => self.breaks(problem),
            }
        }
        Ok(self.line.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, used: usize) {
        self.at += used;
    }
}

impl<R> WholeLines<R> {
    fn breaks(&mut self, problem: io::Error) {
        self.line.clear();
        self.at = 0;
        self.broken = Some(problem);
    }
}

impl<R: BufRead> Read for WholeLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.fill_buf()?.read(buffer)?;
        self.consume(got);
        Ok(got)
    }
}
