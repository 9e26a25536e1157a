//! Compression of streams: chosen by flag or file name on the way out, noticed
//! by the first bytes on the way in.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Reads a stream that is compressed as its headers say. One that ends before
/// its end fails with `UnexpectedEof`, one that does not unpack with
/// `InvalidData`; what the source says goes through as it is.
pub(crate) fn unpacked<'a>(compression: Compression, source: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let has_failed = Arc::default();
    let source = Packed { source, has_failed: Arc::clone(&has_failed) };
    Ok(match compression {
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(source)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(Unpacking { decoder, has_failed, broken: None })
        }
        Compression::Gzip => {
            let decoder = flate2::bufread::MultiGzDecoder::new(source);
            Box::new(Unpacking { decoder, has_failed, broken: None })
        }
        Compression::None => Box::new(source),
    })
}

/// What is to be unpacked; notes that it failed itself.
struct Packed<R> {
    source: R,
    has_failed: Arc<AtomicBool>,
}

impl<R> Packed<R> {
    fn note<T>(&self, read: io::Result<T>) -> io::Result<T> {
        if read.is_err() {
            self.has_failed.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<R: BufRead> Read for Packed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer);
        self.note(read)
    }
}

impl<R: BufRead> BufRead for Packed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // The borrow of an answer that is returned lasts too long to look at
        // the error in the same match.
        if let Err(problem) = self.source.fill_buf() {
            return self.note(Err(problem));
        }
        self.source.fill_buf()
    }

    fn consume(&mut self, used: usize) {
        self.source.consume(used);
    }
}

/// What is unpacked, with errors that say whose they are.
struct Unpacking<D> {
    decoder: D,
    has_failed: Arc<AtomicBool>,
    /// Why it unpacks no further: decoders forget it.
    broken: Option<(io::ErrorKind, String)>,
}

impl<D: Read> Read for Unpacking<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some((kind, text)) = &self.broken {
            return Err(io::Error::new(*kind, text.clone()));
        }
        self.decoder.read(buffer).map_err(|problem| {
            if self.has_failed.load(Ordering::Relaxed) || problem.kind() == io::ErrorKind::Interrupted {
                return problem;
            }
            let (kind, text) = match problem.kind() {
                kind @ io::ErrorKind::UnexpectedEof => (kind, "what is compressed ends before its end".to_owned()),
                _ => (io::ErrorKind::InvalidData, format!("it does not unpack: {problem}")),
            };
            self.broken = Some((kind, text.clone()));
            io::Error::new(kind, text)
        })
    }
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

    fn packed(compression: Compression, text: &[u8]) -> Vec<u8> {
        let mut out = Compressor::new(compression, Vec::new()).unwrap();
        out.write_all(text).unwrap();
        out.end().unwrap()
    }

    fn read(packed: &[u8]) -> (Vec<u8>, io::Result<usize>) {
        let mut read = Vec::new();
        let ended = reader(packed).and_then(|mut source| source.read_to_end(&mut read));
        (read, ended)
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_told_and_gives_no_other_text() {
        let text: Vec<u8> = (0..400_u32).flat_map(|n| format!("{{\"line\":{}}}\n", n * n).into_bytes()).collect();
        for compression in [Compression::Zstd, Compression::Gzip] {
            let packed = packed(compression, &text);
            // With fewer bytes nothing says that it is compressed.
            for len in 4..packed.len() {
                let (read, ended) = read(&packed[..len]);
                assert!(text.starts_with(&read), "{compression:?} {len}");
                assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{compression:?} {len}");
            }
            for bit in 32..packed.len() * 8 {
                let mut flipped = packed.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let (read, ended) = read(&flipped);
                match ended {
                    // Such as the time in the header of gzip.
                    Ok(_) => assert_eq!(read, text, "{compression:?} {bit}"),
                    Err(problem) => assert!(
                        matches!(problem.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof),
                        "{compression:?} {bit}: {problem:?}"
                    ),
                }
            }
        }
    }

    #[test]
    fn what_does_not_unpack_says_so_again() {
        let mut packed = packed(Compression::Gzip, &b"line\n".repeat(1000));
        let last = packed.len() - 5;
        packed[last] ^= 1;
        let mut source = reader(&packed[..]).unwrap();
        for _ in 0..3 {
            let problem = source.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(problem.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn what_the_source_says_goes_through() {
        struct Failing<'a>(&'a [u8]);
        impl Read for Failing<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if self.0.is_empty() { Err(io::ErrorKind::ConnectionReset.into()) } else { self.0.read(buffer) }
            }
        }
        for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
            let packed = packed(compression, &b"line\n".repeat(1000));
            let mut source = reader(Failing(&packed[..packed.len() / 2])).unwrap();
            let problem = source.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(problem.kind(), io::ErrorKind::ConnectionReset, "{compression:?}");
        }
    }

    #[test]
    fn names_tell_the_compression() {
        assert_eq!(Compression::of_name(Path::new("a.ndjson.zst")), Compression::Zstd);
        assert_eq!(Compression::of_name(Path::new("a.gz")), Compression::Gzip);
        assert_eq!(Compression::of_name(Path::new("a.ndjson")), Compression::None);
    }
}
