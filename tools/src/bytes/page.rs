//! The page that checks itself: a proof file in HTML, and the verifier beside it.
//!
//! What stands around the evidence is the same in every page. The evidence is in
//! base64, so nothing of it can be markup, and the policy of the page (CSP) lets only
//! the one script and the one style run that are written here.

use std::io::{self, BufRead, BufReader, Read, Write};

use data_encoding::BASE64;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use thingdb::Hash;

const PAGE: &str = include_str!("../../page/page.html");
const STYLE: &str = include_str!("../../page/page.css");
const VERIFY: &str = include_str!("../../page/verify.js");
const WITNESS: &str = include_str!("../../page/witness.js");
const SHOW: &str = include_str!("../../page/page.js");

/// How a page begins.
const START: &[u8] = b"<!doctype html>";

/// Takes a proof file, and writes the page that holds it.
pub(crate) struct Page<W: Write> {
    evidence: GzEncoder<Base64<W>>,
    rest: String,
}

impl<W: Write> Page<W> {
    /// Writes what stands before the evidence.
    pub(crate) fn begin(mut out: W) -> io::Result<Self> {
        let (before, rest) = frame();
        out.write_all(before.as_bytes())?;
        let base64 = Base64 { out, waiting: Vec::with_capacity(CHUNK) };
        Ok(Self { evidence: GzEncoder::new(base64, Compression::default()), rest })
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

/// What stands before the evidence, and behind it.
fn frame() -> (String, String) {
    let script = format!("{VERIFY}\n{WITNESS}\n{SHOW}");
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'",
        source(&script),
        source(STYLE),
    );
    let page = PAGE.replace("@POLICY@", &policy).replace("@STYLE@", STYLE).replace("@SCRIPT@", &script);
    let (before, rest) = page.split_once("@EVIDENCE@").expect("the page has a place for it");
    (before.to_owned(), rest.to_owned())
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

/// The proof file that a page holds; what is no page, as it is.
///
/// Only a page that this program writes is read, byte for byte around the evidence: of any
/// other one nobody knows what a browser shows of it.
pub(crate) fn reader<'a>(source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut source = BufReader::with_capacity(64 << 10, source);
    let start = source.fill_buf()?.get(..START.len()).unwrap_or_default();
    if !start.eq_ignore_ascii_case(START) {
        return Ok(Box::new(source));
    }
    let (before, rest) = frame();
    expect(&mut source, &before)?;
    Ok(Box::new(GzDecoder::new(Evidence { source, rest, open: Vec::new(), at: 0, is_last: false })))
}

fn unknown() -> io::Error {
    let fact = "a page that is not as this version of thingdb writes it: what it shows can be something else";
    io::Error::new(io::ErrorKind::InvalidData, fact)
}

/// Takes these bytes and no others.
fn expect(source: &mut impl BufRead, text: &str) -> io::Result<()> {
    let mut wanted = text.as_bytes();
    while !wanted.is_empty() {
        let buffer = source.fill_buf()?;
        let taken = buffer.len().min(wanted.len());
        if taken == 0 || buffer[..taken] != wanted[..taken] {
            return Err(unknown());
        }
        wanted = &wanted[taken..];
        source.consume(taken);
    }
    Ok(())
}

/// The base64 of a page, up to what stands behind it.
struct Evidence<R> {
    source: R,
    rest: String,
    open: Vec<u8>,
    at: usize,
    is_last: bool,
}

impl<R: BufRead> Evidence<R> {
    fn fill(&mut self) -> io::Result<()> {
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
        // Only the last piece can be padded.
        self.is_last = digits.len() < CHUNK || digits.ends_with(b"=");
        self.open = BASE64.decode(&digits).map_err(|_| unknown())?;
        self.at = 0;
        if self.is_last {
            expect(&mut self.source, &self.rest)?;
            if !self.source.fill_buf()?.is_empty() {
                return Err(unknown());
            }
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Evidence<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.open.len() && !self.is_last {
            self.fill()?;
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
            reader(page.as_bytes()).expect("it is a page").read_to_end(&mut found).expect("it is whole");
            assert!(found == evidence, "{length} bytes");
        }
    }

    #[test]
    fn a_page_that_may_show_something_else_is_not_read() {
        let page = page(b"evidence");
        let (before, rest) = frame();
        let digits = &page[before.len()..page.len() - rest.len()];
        let decoy = "<script id=\"evidence\" type=\"text/plain\">";
        let others = [
            page.replacen("<!doctype html>", &format!("<!doctype html><!--{decoy}AAAA<-->"), 1),
            page.replacen("<!doctype html>", "<!DOCTYPE html>", 1),
            page.replacen("<html lang=\"en\">", &format!("<html lang='{decoy}AAAA<'>"), 1),
            page.replacen(decoy, &format!("<pre id=\"evidence\">AAAA</pre>{decoy}"), 1),
            page.replacen(digits, &format!(" {digits}"), 1),
            page.replacen(digits, &format!("{digits}<b></b>"), 1),
            page.replacen("Not checked", "It holds", 1),
            format!("{page}<p>more</p>"),
            page[..page.len() - 20].to_owned(),
            page[..before.len() + 8].to_owned(),
        ];
        for (number, other) in others.iter().enumerate() {
            assert!(*other != page, "{number}: nothing was changed");
            let mut found = Vec::new();
            let read = reader(other.as_bytes()).and_then(|mut reader| reader.read_to_end(&mut found));
            assert!(read.is_err(), "{number}");
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
        assert!(page.len() < 88 << 10, "{} bytes around the evidence", page.len());
    }
}
