//! Compression of streams: chosen by flag or file name on the way out, noticed
//! by the first bytes on the way in.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use clap::ValueEnum;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// zstd refuses frames that need more than 8 MiB of history (RFC 9659).
const WINDOW_LOG_MAX: u32 = 23;

/// How a stream is compressed. Ciphertext does not compress: what is won is the
/// third that base64 costs, at any level, so the fastest is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    /// Zstandard.
    Zstd,
    /// gzip.
    Gzip,
    /// As it is.
    None,
}

impl Compression {
    /// What the name of a file asks for.
    pub(crate) fn of_name(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("zst") => Self::Zstd,
            Some("gz") => Self::Gzip,
            _ => Self::None,
        }
    }

    /// What the first bytes of a stream, at least four if there are so many,
    /// say.
    pub(crate) fn of_start(start: &[u8]) -> Self {
        match start {
            start if start.starts_with(&ZSTD_MAGIC) => Self::Zstd,
            start if start.starts_with(&GZIP_MAGIC) => Self::Gzip,
            _ => Self::None,
        }
    }
}

/// A writer that compresses. It must be ended or broken off.
pub(crate) enum Compressor<W: Write> {
    /// Zstandard.
    Zstd(Box<zstd::Encoder<'static, W>>),
    /// gzip.
    Gzip(Box<flate2::write::GzEncoder<Valve<W>>>),
    /// As it is.
    None(W),
}

impl<W: Write> Compressor<W> {
    /// Compresses what goes to `out`.
    pub(crate) fn new(compression: Compression, out: W) -> io::Result<Self> {
        Ok(match compression {
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(out, 1)?;
                encoder.include_checksum(true)?;
                Self::Zstd(Box::new(encoder))
            }
            Compression::Gzip => {
                let out = Valve { out, is_shut: false };
                Self::Gzip(Box::new(flate2::write::GzEncoder::new(out, flate2::Compression::fast())))
            }
            Compression::None => Self::None(out),
        })
    }

    /// Writes the end.
    pub(crate) fn end(self) -> io::Result<W> {
        match self {
            Self::Zstd(encoder) => encoder.finish(),
            Self::Gzip(encoder) => Ok(encoder.finish()?.out),
            Self::None(out) => Ok(out),
        }
    }

    /// Hands on what there is and leaves the end out, so that nobody takes it
    /// for a whole one.
    pub(crate) fn break_off(mut self) -> io::Result<()> {
        let flushed = self.flush();
        if let Self::Gzip(encoder) = &mut self {
            encoder.get_mut().is_shut = true;
        }
        flushed
    }
}

/// What gzip writes to: once it is shut nothing passes, since an encoder that
/// goes away writes an end by itself.
pub(crate) struct Valve<W> {
    out: W,
    is_shut: bool,
}

impl<W: Write> Write for Valve<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_shut { Ok(bytes.len()) } else { self.out.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_shut { Ok(()) } else { self.out.flush() }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Zstd(out) => out.write(bytes),
            Self::Gzip(out) => out.write(bytes),
            Self::None(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Zstd(out) => out.flush(),
            Self::Gzip(out) => out.flush(),
            Self::None(out) => out.flush(),
        }
    }
}

/// Reads a stream that is compressed as its headers say.
pub(crate) fn unpacked<'a>(compression: Compression, source: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(source)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        Compression::None => Box::new(source),
    })
}

/// Reads a stream, compressed or not. What it unpacks to is read line by line
/// and never held as a whole, so a bomb costs time and no memory.
pub(crate) fn reader<'a>(source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut source = BufReader::with_capacity(64 << 10, source);
    let mut start = Vec::new();
    source.by_ref().take(ZSTD_MAGIC.len() as u64).read_to_end(&mut start)?;
    let whole = io::Cursor::new(start.clone()).chain(source);
    unpacked(Compression::of_start(&start), whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_comes_back() {
        for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
            let text = b"{\"thingdb\":1}\n".repeat(1000);
            let mut out = Compressor::new(compression, Vec::new()).unwrap();
            out.write_all(&text).unwrap();
            let packed = out.end().unwrap();
            assert!(compression == Compression::None || packed.len() < text.len());
            let mut read = Vec::new();
            reader(&packed[..]).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, text);
        }
        let mut nothing = Vec::new();
        reader(&b""[..]).unwrap().read_to_end(&mut nothing).unwrap();
        assert!(nothing.is_empty());
    }

    #[test]
    fn what_was_broken_off_has_no_end() {
        for compression in [Compression::Zstd, Compression::Gzip] {
            let text = b"{\"thingdb\":1}\n".repeat(1000);
            let mut packed = Vec::new();
            let mut out = Compressor::new(compression, &mut packed).unwrap();
            out.write_all(&text).unwrap();
            out.break_off().unwrap();
            let mut read = Vec::new();
            let problem = reader(&packed[..]).unwrap().read_to_end(&mut read).unwrap_err();
            assert_eq!((problem.kind(), &read), (io::ErrorKind::UnexpectedEof, &text), "{compression:?}");
        }
    }

    #[test]
    fn names_tell_the_compression() {
        assert_eq!(Compression::of_name(Path::new("a.ndjson.zst")), Compression::Zstd);
        assert_eq!(Compression::of_name(Path::new("a.gz")), Compression::Gzip);
        assert_eq!(Compression::of_name(Path::new("a.ndjson")), Compression::None);
    }
}
