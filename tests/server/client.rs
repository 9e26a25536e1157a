//! A small HTTPS client that pins a certificate and sends what it is told to,
//! byte for byte: what clients with manners would not send, too.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What connects, and to whom.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) config: Arc<ClientConfig>,
}

/// An open connection.
pub(crate) type Connection = StreamOwned<ClientConnection, TcpStream>;

/// What was answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Believes in one certificate, by its SHA-256.
#[derive(Debug)]
struct Pin {
    sha256: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if hex(&Sha256::digest(certificate)) == self.sha256 {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General("another certificate than the pinned one".into()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How a client speaks TLS.
pub(crate) fn config(
    sha256: &str,
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pin = Pin { sha256: sha256.to_owned(), provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pin));
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
    })
}

impl Client {
    /// A client of the server at `address` whose certificate has this SHA-256.
    pub(crate) fn new(address: SocketAddr, sha256: &str) -> Self {
        Self { address, config: config(sha256, None) }
    }

    /// Connects.
    pub(crate) fn connect(&self) -> io::Result<Connection> {
        let socket = TcpStream::connect(self.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        socket.set_write_timeout(Some(Duration::from_secs(60)))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        let mut connection = StreamOwned::new(tls, socket);
        connection.flush()?;
        while connection.conn.is_handshaking() {
            connection.conn.complete_io(&mut connection.sock)?;
        }
        Ok(connection)
    }

    /// Sends a request and reads the answer.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Reply> {
        let mut connection = self.connect()?;
        connection.write_all(&head(method, path, headers, Some(body.len())))?;
        // The server may answer before it has read everything.
        let sent = connection.write_all(body).and_then(|()| connection.flush());
        let reply = Reply::read(&mut BufReader::new(&mut connection), method == "HEAD");
        if reply.is_err() {
            sent?;
        }
        reply
    }
}

/// The head of a request.
pub(crate) fn head(method: &str, path: &str, headers: &[(&str, &str)], length: Option<usize>) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    match length {
        Some(0) if method == "GET" => {}
        Some(length) => text += &format!("content-length: {length}\r\n"),
        None => text += "transfer-encoding: chunked\r\n",
    }
    text += "\r\n";
    text.into_bytes()
}

/// One piece of a chunked body.
pub(crate) fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

impl Reply {
    /// Reads one answer.
    pub(crate) fn read(source: &mut impl BufRead, has_no_body: bool) -> io::Result<Self> {
        let (status, headers) = read_head(source)?;
        let mut reply = Self { status, headers, body: Vec::new() };
        if has_no_body || matches!(status, 204 | 304) {
            return Ok(reply);
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            while let Some(piece) = read_chunk(source)? {
                reply.body.extend_from_slice(&piece);
            }
        } else if let Some(length) = reply.header("content-length") {
            reply.body = vec![0; length.parse().map_err(io::Error::other)?];
            source.read_exact(&mut reply.body)?;
        } else {
            source.read_to_end(&mut reply.body)?;
        }
        Ok(reply)
    }

    /// A header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|problem| panic!("{problem}: {} {}", self.status, self.text()))
    }

    /// The lines of the body as JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// It must have this status.
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.headers, self.text());
        self
    }

    /// It must be a problem with this word.
    pub(crate) fn problem(self, status: u16, code: &str) -> Self {
        let reply = self.is(status);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{}", reply.text());
        let problem = reply.json();
        assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()), "{problem}");
        assert_eq!(problem["request_id"].as_str(), reply.header("x-request-id"), "{problem}");
        reply
    }
}

/// Status and headers, names in small letters.
pub(crate) fn read_head(source: &mut impl BufRead) -> io::Result<(u16, Vec<(String, String)>)> {
    let mut line = String::new();
    source.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, format!("no answer: {line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        source.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { return Ok((status, headers)) };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// The next piece of a chunked body; nothing at its end.
pub(crate) fn read_chunk(source: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = String::new();
    source.read_line(&mut line)?;
    let length = usize::from_str_radix(line.trim(), 16)
        .map_err(|_| io::Error::new(io::ErrorKind::UnexpectedEof, format!("the body broke off: {line:?}")))?;
    let mut piece = vec![0; length + 2];
    source.read_exact(&mut piece)?;
    piece.truncate(length);
    Ok((length > 0).then_some(piece))
}
