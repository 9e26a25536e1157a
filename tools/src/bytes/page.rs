//! The page that checks itself: a proof file in HTML, and the verifier beside it.
//!
//! What stands around the evidence is the same in every page. The evidence is in
//! base64, so nothing of it can be markup, and the policy of the page (CSP) lets only
//! the one script and the one style run that are written here.

use std::io::{self, BufRead, BufReader, Read, Write};

use data_encoding::BASE64;
use flate2::Compression;
use flate2::write::GzEncoder;
use thingdb::Hash;

const PAGE: &str = include_str!("../../page/page.html");
const STYLE: &str = include_str!("../../page/page.css");
const VERIFY: &str = include_str!("../../page/verify.js");
const SHOW: &str = include_str!("../../page/page.js");

/// How a page begins.
const START: &[u8] = b"<!doctype html>";

/// What stands before the evidence, and how far from the start at the most.
const BEFORE: &[u8] = b"<script id=\"evidence\" type=\"text/plain\">";
const MAX_BEFORE: u64 = 256 << 10;

/// Takes a proof file, and writes the page that holds it.
pub(crate) struct Page<W: Write> {
    evidence: GzEncoder<Base64<W>>,
    rest: String,
}

impl<W: Write> Page<W> {
    /// Writes what stands before the evidence.
    pub(crate) fn begin(mut out: W) -> io::Result<Self> {
        let script = format!("{VERIFY}\n{SHOW}");
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'",
            source(&script),
            source(STYLE),
        );
        let page = PAGE.replace("@POLICY@", &policy).replace("@STYLE@", STYLE).replace("@SCRIPT@", &script);
        let (before, rest) = page.split_once("@EVIDENCE@").expect("the page has a place for it");
        out.write_all(before.as_bytes())?;
        let base64 = Base64 { out, waiting: Vec::with_capacity(CHUNK) };
        Ok(Self { evidence: GzEncoder::new(base64, Compression::default()), rest: rest.to_owned() })
    }

    /// Writes what stands behind it.
    pub(crate) fn end(self) -> io::Result<W> {
        let mut out = self.evidence.finish()?.end()?;
        out.write_all(self.rest.as_bytes())?;
        Ok(out)
    }
}

impl<W: Write> Write for Page<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.evidence.write(bytes)
    }

    // The end writes what waits: a flush in between would only make the page larger.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a policy calls a script or a style (CSP Level 3, hash sources).
fn source(text: &str) -> String {
    format!("sha256-{}", BASE64.encode(Hash::of(text.as_bytes()).as_bytes()))
}

/// A multiple of three and of four, so that only the end is padded.
const CHUNK: usize = 3 << 12;

struct Base64<W> {
    out: W,
    waiting: Vec<u8>,
}

impl<W: Write> Base64<W> {
    fn end(mut self) -> io::Result<W> {
        self.out.write_all(BASE64.encode(&self.waiting).as_bytes())?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Base64<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.waiting.len());
        self.waiting.extend_from_slice(&bytes[..taken]);
        if self.waiting.len() == CHUNK {
            self.out.write_all(BASE64.encode(&self.waiting).as_bytes())?;
            self.waiting.clear();
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What a page holds, which is compressed; what is no page, as it is.
pub(crate) fn reader<'a>(source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut source = BufReader::with_capacity(64 << 10, source);
    if !source.fill_buf()?.starts_with(START) {
        return Ok(Box::new(source));
    }
    let mut piece = Vec::new();
    let mut head = source.by_ref().take(MAX_BEFORE);
    while !piece.ends_with(BEFORE) {
        piece.clear();
        if head.read_until(b'>', &mut piece)? == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a page that holds no evidence"));
        }
    }
    Ok(Box::new(Evidence { source, open: Vec::new(), at: 0 }))
}

/// The base64 of a page, up to the tag that ends it.
struct Evidence<R> {
    source: R,
    open: Vec<u8>,
    at: usize,
}

impl<R: BufRead> Read for Evidence<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.open.len() {
            let mut digits = Vec::with_capacity(CHUNK);
            while digits.len() < CHUNK {
                let buffer = self.source.fill_buf()?;
                let end = buffer.iter().position(|byte| *byte == b'<').unwrap_or(buffer.len());
                let taken = end.min(CHUNK - digits.len());
                if taken == 0 {
                    break;
                }
                digits.extend_from_slice(&buffer[..taken]);
                self.source.consume(taken);
            }
            self.open =
                BASE64.decode(&digits).map_err(|problem| io::Error::new(io::ErrorKind::InvalidData, problem))?;
            self.at = 0;
        }
        let taken = out.len().min(self.open.len() - self.at);
        out[..taken].copy_from_slice(&self.open[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(evidence: &[u8]) -> String {
        let mut page = Page::begin(Vec::new()).expect("it is memory");
        page.write_all(evidence).expect("it is memory");
        String::from_utf8(page.end().expect("it is memory")).expect("it is text")
    }

    #[test]
    fn the_evidence_comes_out_as_it_went_in() {
        for length in [0, 1, 2, 3, CHUNK, 100_000] {
            // What does not compress fills several chunks.
            let evidence: Vec<u8> = (0..length).map(|n| Hash::of(n.to_string().as_bytes()).as_bytes()[0]).collect();
            let page = page(&evidence);
            let mut found = Vec::new();
            let packed = reader(page.as_bytes()).expect("it is a page");
            flate2::read::GzDecoder::new(packed).read_to_end(&mut found).expect("it is gzip");
            assert!(found == evidence, "{length} bytes");
        }
    }

    #[test]
    fn the_parts_of_the_script_define_nothing_twice() {
        let names = |text: &'static str| {
            let starts = ["function ", "async function ", "class ", "const "];
            text.lines().filter_map(move |line| {
                let rest = starts.iter().find_map(|start| line.strip_prefix(start))?;
                rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
            })
        };
        let mut all: Vec<_> = names(VERIFY).chain(names(SHOW)).collect();
        assert!(all.len() > 50, "{} names", all.len());
        all.sort_unstable();
        assert!(all.windows(2).all(|two| two[0] != two[1]), "{all:?}");
    }

    #[test]
    fn what_is_written_around_it_ends_nowhere_too_early() {
        for (text, end) in
            [(VERIFY, "</script"), (SHOW, "</script"), (VERIFY, "<!--"), (SHOW, "<!--"), (STYLE, "</style")]
        {
            assert!(!text.to_lowercase().contains(end), "{end}");
        }
        let page = page(b"");
        assert!(!["@POLICY@", "@STYLE@", "@SCRIPT@", "@EVIDENCE@"].iter().any(|place| page.contains(place)));
        assert!(page.len() < 64 << 10, "{} bytes around the evidence", page.len());
    }
}
