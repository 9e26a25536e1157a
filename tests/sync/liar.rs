//! A peer's server that says something else than the peer would: what it is
//! asked goes to the real one, and what is answered can be anything.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};

use super::node::{Node, Server};

/// A question as it came.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    chunked: bool,
    length: usize,
}

/// The client's end of a connection.
pub(crate) type Line = BufReader<StreamOwned<ServerConnection, TcpStream>>;

/// Changes the body of an answer.
pub(crate) type Edit = dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync;

/// What is done with a question.
pub(crate) enum Said {
    /// What the peer says.
    Truth,
    /// What the peer says, after somebody has been at its body.
    Edited(fn(Vec<u8>) -> Vec<u8>),
    /// The same by somebody who knows more.
    EditedBy(Arc<Edit>),
    /// What the peer says, after answers that are none yet, in chunks of a byte,
    /// with trailers.
    Crumbs,
    /// These bytes, head and all, without asking for the body; then the
    /// connection ends.
    Raw(Vec<u8>),
    /// The same, once the body is read.
    Instead(Vec<u8>),
    /// Nothing: the body is read, and the connection ends.
    Silence,
    /// Nothing, as long as somebody waits for it.
    Stall,
    /// These bytes, again and again, as long as somebody reads.
    Endless(&'static [u8], &'static [u8]),
    /// As [`Said::Truth`], and the connection ends without a word of it.
    LastTruth,
    /// The peer is asked, and the connection ends before its answer.
    Lost,
    /// The connection ends, and the peer is asked when it has answered the next
    /// question.
    Late,
}

impl Said {
    pub(crate) fn lost() -> Self {
        Self::Lost
    }

    pub(crate) fn late() -> Self {
        Self::Late
    }
}

/// What was noticed.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) asked: Vec<Asked>,
    pub(crate) connections: usize,
    pub(crate) resumed: usize,
    /// Bytes that were taken of an answer without an end.
    pub(crate) taken: usize,
    /// What the peer is to be asked after the next question.
    late: Option<Vec<u8>>,
}

/// A server between a node and its peer.
pub(crate) struct Liar {
    pub(crate) url: String,
    pub(crate) fingerprint: String,
    pub(crate) notes: Arc<Mutex<Notes>>,
}

impl Liar {
    /// Before a server that speaks plain HTTP.
    pub(crate) fn new(peer: &Server, say: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = certificate.self_signed(&key).unwrap().der().clone();
        let fingerprint = Sha256::digest(&certificate).iter().map(|byte| format!("{byte:02x}")).collect();
        let config = Arc::new(config(certificate, &PrivateKeyDer::try_from(key.serialize_der()).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let notes = Arc::new(Mutex::new(Notes::default()));
        let (port, all, say) = (peer.port, Arc::clone(&notes), Arc::new(say));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (config, notes, say) = (Arc::clone(&config), Arc::clone(&all), Arc::clone(&say));
                thread::spawn(move || {
                    let server = ServerConnection::new(config).unwrap();
                    let mut line = BufReader::new(StreamOwned::new(server, client));
                    notes.lock().unwrap().connections += 1;
                    let mut is_first = true;
                    while let Some(asked) = head(&mut line) {
                        if std::mem::take(&mut is_first)
                            && line.get_ref().conn.handshake_kind() == Some(HandshakeKind::Resumed)
                        {
                            notes.lock().unwrap().resumed += 1;
                        }
                        let goes_on = answer(&mut line, &asked, say(&asked), port, &notes);
                        notes.lock().unwrap().asked.push(asked);
                        if goes_on.is_none() {
                            break;
                        }
                    }
                });
            }
        });
        Self { url, fingerprint, notes }
    }

    /// Tells a node that this is where its peer is.
    pub(crate) fn poses(&self, node: &Node, peer: &Node) {
        node.reaches(peer, &self.url, "export,import");
        node.ok(&["peer", "set", peer.name, "--url", &self.url, "--tls-fingerprint", &self.fingerprint]);
    }

    /// How often a path was asked.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.notes.lock().unwrap().asked.iter().filter(|asked| asked.target.starts_with(path)).count()
    }
}

fn config(certificate: CertificateDer<'static>, key: &PrivateKeyDer<'static>) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.clone_key())
        .unwrap()
}

fn text_line(line: &mut impl BufRead) -> Option<String> {
    let mut text = String::new();
    line.read_line(&mut text).ok().filter(|got| *got > 0)?;
    Some(text.trim_end().to_owned())
}

fn head(line: &mut impl BufRead) -> Option<Asked> {
    let first = text_line(line)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let text = text_line(line)?;
        let Some((name, value)) = text.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let value = |name| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let chunked = value("transfer-encoding") == Some("chunked");
    let length = value("content-length").map_or(0, |length| length.parse().unwrap());
    Some(Asked { method, target, headers, chunked, length })
}

fn body(line: &mut impl BufRead, asked: &Asked) -> Option<Vec<u8>> {
    if !asked.chunked {
        let mut body = vec![0; asked.length];
        line.read_exact(&mut body).ok()?;
        return Some(body);
    }
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&text_line(line)?, 16).ok()?;
        let start = body.len();
        body.resize(start + size, 0);
        line.read_exact(&mut body[start..]).ok()?;
        text_line(line)?;
        if size == 0 {
            return Some(body);
        }
    }
}

/// Nothing if the connection ends.
fn answer(line: &mut Line, asked: &Asked, said: Said, port: u16, notes: &Mutex<Notes>) -> Option<()> {
    match said {
        Said::Raw(bytes) => {
            line.get_mut().write_all(&bytes).ok()?;
            line.get_mut().flush().ok()?;
            None
        }
        Said::Instead(bytes) => {
            body(line, asked)?;
            line.get_mut().write_all(&bytes).ok()?;
            line.get_mut().flush().ok()?;
            None
        }
        Said::Silence => {
            body(line, asked)?;
            None
        }
        Said::Stall => {
            body(line, asked)?;
            line.get_mut().sock.read_to_end(&mut Vec::new()).ok()?;
            None
        }
        Said::Endless(first, again) => {
            body(line, asked)?;
            line.get_mut().write_all(first).ok()?;
            loop {
                line.get_mut().write_all(again).ok()?;
                notes.lock().unwrap().taken += again.len();
            }
        }
        Said::Truth => {
            let late = notes.lock().unwrap().late.take();
            let Some(late) = late else { return true_answer(line, asked, port, whole) };
            true_answer(line, asked, port, move |head, body| {
                ask(port, &late);
                whole(head, body)
            })
        }
        Said::LastTruth => true_answer(line, asked, port, whole).and(None),
        Said::Lost => {
            let body = body(line, asked)?;
            ask(port, &request(asked, &body));
            None
        }
        Said::Late => {
            let body = body(line, asked)?;
            notes.lock().unwrap().late = Some(request(asked, &body));
            None
        }
        Said::Edited(edit) => true_answer(line, asked, port, |head, body| whole(head, edit(body))),
        Said::EditedBy(edit) => true_answer(line, asked, port, |head, body| whole(head, edit(body))),
        Said::Crumbs => true_answer(line, asked, port, crumbs),
    }
}

fn whole(head: &str, body: Vec<u8>) -> Vec<u8> {
    [format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat()
}

fn crumbs(head: &str, body: Vec<u8>) -> Vec<u8> {
    let before = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n";
    let mut bytes = format!("{before}{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for byte in body {
        bytes.extend_from_slice(&[b"1;x=y\r\n", &[byte][..], b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"0\r\nx: y\r\nz: \r\n\r\n");
    bytes
}

/// HTTP/1.0: the answer ends with the connection.
fn request(asked: &Asked, body: &[u8]) -> Vec<u8> {
    let mut request = format!("{} {} HTTP/1.0\r\ncontent-length: {}\r\n", asked.method, asked.target, body.len());
    for (name, value) in &asked.headers {
        if !["content-length", "transfer-encoding", "connection"].contains(&name.as_str()) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    [request.as_bytes(), b"\r\n", body].concat()
}

/// What the peer answers, head and all.
fn ask(port: u16, request: &[u8]) -> Vec<u8> {
    let mut peer = TcpStream::connect(("127.0.0.1", port)).unwrap();
    peer.write_all(request).unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    answer
}

fn true_answer(line: &mut Line, asked: &Asked, port: u16, form: impl FnOnce(&str, Vec<u8>) -> Vec<u8>) -> Option<()> {
    let body = body(line, asked)?;
    let answer = ask(port, &request(asked, &body));
    let mut peer = &answer[..];
    let status = text_line(&mut peer)?.split_once(' ')?.1.to_owned();
    let mut headers = String::new();
    while let Some(text) = text_line(&mut peer).filter(|text| !text.is_empty()) {
        if !text.starts_with("content-length") && !text.starts_with("connection") {
            headers.push_str(&format!("{text}\r\n"));
        }
    }
    line.get_mut().write_all(&form(&format!("HTTP/1.1 {status}\r\n{headers}"), peer.to_vec())).ok()?;
    line.get_mut().flush().ok()
}
