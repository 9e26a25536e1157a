//! One request and its answer at a time, HTTP/1.1 (RFC 9112).

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};

use zeroize::Zeroizing;

use super::fault::{Fault, Outcome};
use super::link::Link;

/// Largest head of an answer.
const MAX_HEAD_BYTES: usize = 32 << 10;

/// Most headers of an answer.
const MAX_HEADERS: usize = 64;

/// Most answers before the answer proper (RFC 9110, section 15.2).
const MAX_INTERIM: usize = 8;

/// What is gathered before a piece of a streamed body is sent: about what fits
/// a TLS record.
const PIECE_BYTES: usize = 15 << 10;

/// What is asked.
pub(crate) struct Request<'a, 'b> {
    /// The method.
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    /// The headers, by their names in small letters.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// A whole line of a header that nobody else may see.
    pub(crate) secret: &'a str,
    /// What goes with it.
    pub(crate) body: Body<'b>,
}

/// What goes with a request.
pub(crate) enum Body<'a> {
    /// Nothing.
    None,
    /// Bytes that are here.
    Bytes(&'a [u8]),
    /// Bytes that are made on the way.
    Stream(&'a mut dyn FnMut(&mut dyn Write) -> io::Result<()>),
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The status.
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The value of a header, by its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A connection that is used for one request after the other.
pub(crate) struct Connection {
    link: BufReader<Link>,
    /// It must not be used again.
    spent: bool,
}

impl Connection {
    pub(crate) fn new(link: Link) -> Self {
        Self { link: BufReader::with_capacity(16 << 10, link), spent: false }
    }

    /// Whether it can be used again.
    pub(crate) const fn is_reusable(&self) -> bool {
        !self.spent
    }

    /// Sends a request and reads the head of the answer. The body has to be
    /// read before the next request.
    pub(crate) fn ask(&mut self, request: Request<'_, '_>) -> Outcome<(Head, Answer<'_>)> {
        // Until the answer is read to its end nothing else can be asked.
        self.spent = true;
        let sent = self.send(request);
        let head = match (sent, self.head()) {
            // A server that refuses a body may answer before it was sent.
            (_, Ok(head)) => head,
            (Err(problem), Err(_)) | (Ok(()), Err(problem)) => return Err(Fault::of_line(&problem)),
        };
        let framing = framing(&head)?;
        let closes = head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok((head, Answer { connection: self, framing, closes }))
    }

    fn send(&mut self, request: Request<'_, '_>) -> io::Result<()> {
        // Large enough that it is not copied while it grows: it is wiped where
        // it lies.
        let mut head = Zeroizing::new(String::with_capacity(2048 + request.target.len()));
        head.push_str(&format!("{} {} HTTP/1.1\r\n{}\r\n", request.method, request.target, request.secret));
        for (name, value) in request.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match &request.body {
            Body::None => {}
            Body::Bytes(bytes) => head.push_str(&format!("content-length: {}\r\n", bytes.len())),
            Body::Stream(_) => head.push_str("transfer-encoding: chunked\r\n"),
        }
        head.push_str("\r\n");
        let link = self.link.get_mut();
        match request.body {
            Body::None => link.write_all(head.as_bytes())?,
            // Together in one record.
            Body::Bytes(bytes) => link.write_all(&Zeroizing::new([head.as_bytes(), bytes].concat()))?,
            Body::Stream(make) => {
                let mut pieces = Pieces { link, gathered: Vec::new(), head: Some(head) };
                make(&mut pieces)?;
                pieces.end()?;
            }
        }
        self.link.get_mut().flush()
    }

    fn head(&mut self) -> io::Result<Head> {
        for _ in 0..MAX_INTERIM {
            let bytes = self.head_bytes()?;
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut parsed = httparse::Response::new(&mut headers);
            let whole = parsed.parse(&bytes).map_err(io::Error::other)?.is_complete();
            let Some(status) = parsed.code.filter(|_| whole) else {
                return Err(io::Error::other("the head of the answer is not whole"));
            };
            // What comes before the answer proper.
            if status < 200 {
                continue;
            }
            let headers = parsed.headers.iter().map(|header| {
                (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).trim().to_owned())
            });
            return Ok(Head { status, headers: headers.collect() });
        }
        Err(io::Error::other("interim answers without an end"))
    }

    fn head_bytes(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let most = MAX_HEAD_BYTES.saturating_sub(bytes.len()) as u64;
            if self.link.by_ref().take(most).read_until(b'\n', &mut bytes)? == 0 {
                return Err(if most == 0 { io::Error::other("the head of the answer is too long") } else { cut() });
            }
        }
        Ok(bytes)
    }
}

fn cut() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the connection ended")
}

enum Framing {
    Length(u64),
    /// Bytes that are left of the chunk at hand, or nothing before the first.
    Chunked(Option<u64>),
    End,
}

fn framing(head: &Head) -> Outcome<Framing> {
    if head.status == 204 || head.status == 304 {
        return Ok(Framing::End);
    }
    if let Some(coding) = head.header("transfer-encoding") {
        let is_chunked = coding.eq_ignore_ascii_case("chunked");
        return if is_chunked { Ok(Framing::Chunked(None)) } else { Err(Fault::answer("an unknown transfer coding")) };
    }
    let length = head.header("content-length").map(str::parse).transpose().map_err(Fault::answer)?;
    // An answer that ends with the connection could be cut unnoticed.
    length.map(Framing::Length).ok_or_else(|| Fault::answer("an answer without a length"))
}

/// The body of an answer.
pub(crate) struct Answer<'c> {
    connection: &'c mut Connection,
    framing: Framing,
    closes: bool,
}

impl Answer<'_> {
    /// Reads all of it, no more than `most` bytes.
    pub(crate) fn bytes(mut self, most: usize) -> Outcome<Vec<u8>> {
        let mut bytes = Vec::new();
        self.by_ref().take(most as u64 + 1).read_to_end(&mut bytes).map_err(|problem| Fault::of_line(&problem))?;
        if bytes.len() > most {
            return Err(Fault::answer(format!("an answer of more than {most} bytes")));
        }
        Ok(bytes)
    }

    fn next_chunk(&mut self, first: bool) -> io::Result<u64> {
        let link = &mut self.connection.link;
        if !first {
            line(link)?;
        }
        let size = line(link)?;
        let digits = size.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(io::Error::other)?;
        if size == 0 {
            // Trailers mean nothing here.
            let mut trailers = 0;
            while !line(link)?.is_empty() {
                trailers += 1;
                if trailers > MAX_HEADERS {
                    return Err(io::Error::other("trailers without an end"));
                }
            }
        }
        Ok(size)
    }

    fn ends(&mut self) {
        self.framing = Framing::End;
        self.connection.spent = self.closes;
    }
}

/// A short line of the framing.
fn line(link: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    link.take(1024).read_until(b'\n', &mut bytes)?;
    match bytes.strip_suffix(b"\r\n") {
        Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
        None if bytes.len() < 1024 => Err(cut()),
        None => Err(io::Error::other("a line of the answer is too long")),
    }
}

impl Read for Answer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let left = match self.framing {
            Framing::End => 0,
            Framing::Length(left) => left,
            Framing::Chunked(Some(left)) if left > 0 => left,
            Framing::Chunked(before) => {
                let size = self.next_chunk(before.is_none())?;
                self.framing = Framing::Chunked(Some(size));
                size
            }
        };
        if left == 0 {
            self.ends();
            return Ok(0);
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.connection.link.read(&mut buffer[..most])?;
        if got == 0 {
            return Err(cut());
        }
        let left = left - got as u64;
        self.framing = match self.framing {
            Framing::Length(_) => Framing::Length(left),
            _ => Framing::Chunked(Some(left)),
        };
        Ok(got)
    }
}

/// A body in chunks.
struct Pieces<'l> {
    link: &'l mut Link,
    gathered: Vec<u8>,
    /// It goes before the first piece.
    head: Option<Zeroizing<String>>,
}

impl Pieces<'_> {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(head) = self.head.take() {
            self.link.write_all(head.as_bytes())?;
        }
        if !bytes.is_empty() {
            let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
            self.link.write_all(&chunk)?;
        }
        Ok(())
    }

    fn end(mut self) -> io::Result<()> {
        self.flush()?;
        self.link.write_all(b"0\r\n\r\n")
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.gathered);
        self.send(&bytes)?;
        self.link.flush()
    }
}
