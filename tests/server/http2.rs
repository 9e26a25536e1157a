//! HTTP/2, frame by frame: what clients with manners would not send.

use std::io::{self, Read, Write};
use std::sync::Arc;

use super::client::{Client, Connection};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A connection that speaks HTTP/2.
pub(crate) struct Http2(pub(crate) Connection);

/// A frame as it came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Http2 {
    /// Connects, with settings: numbers and values.
    pub(crate) fn connect(client: &Client, settings: &[(u16, u32)]) -> Self {
        let mut config = (*client.config).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let client = Client { address: client.address, config: Arc::new(config) };
        let mut connection = client.connect().unwrap();
        assert_eq!(connection.conn.alpn_protocol(), Some(&b"h2"[..]));
        connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let mut http2 = Self(connection);
        let settings: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        http2.send(SETTINGS, 0, 0, &settings).unwrap();
        http2
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.0.write_all(&frame(kind, flags, stream, payload))?;
        self.0.flush()
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head)?;
        let [a, b, c, kind, _, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload)?;
        Ok(Frame { kind, stream: u32::from_be_bytes(stream), payload })
    }

    /// The frames until there are no more.
    pub(crate) fn rest(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.next().ok()).collect()
    }

    /// The frames of a stream until its end or that of the connection.
    pub(crate) fn until(&mut self, mut is_last: impl FnMut(&Frame) -> bool) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Ok(frame) = self.next() {
            let ends = is_last(&frame);
            frames.push(frame);
            if ends {
                break;
            }
        }
        frames
    }
}

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// Headers, spelt out, none longer than 126 bytes.
pub(crate) fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        assert!(text.len() < 127);
        [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// The headers of a request with a token.
pub(crate) fn request(method: &str, path: &str, token: &str) -> Vec<u8> {
    headers(&[
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
        ("authorization", &format!("Bearer {token}")),
        ("content-type", "application/json"),
    ])
}
