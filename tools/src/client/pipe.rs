//! A body that one thread writes while another one sends it.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// What is gathered before it is sent: with its framing no more than fits a TLS
/// record.
const PIECE_BYTES: usize = 15 << 10;

/// The two ends of a body. Whoever is faster waits.
pub(super) fn pipe() -> (Inlet, Outlet) {
    let (pieces, taken) = sync_channel(1);
    (Inlet { pieces, gathered: Vec::new() }, Outlet { pieces: taken, piece: Vec::new(), at: 0, has_ended: false })
}

/// Where a body is written. What is flushed is sent at once.
pub(super) struct Inlet {
    /// The end is a piece without bytes: a body that stops without it is cut.
    pieces: SyncSender<Vec<u8>>,
    gathered: Vec<u8>,
}

impl Inlet {
    /// Ends the body.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.flush()?;
        self.send(Vec::new())
    }

    fn send(&self, piece: Vec<u8>) -> io::Result<()> {
        self.pieces.send(piece).map_err(|_| io::Error::new(ErrorKind::BrokenPipe, "nobody sends it any more"))
    }
}

impl Write for Inlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.gathered);
        self.send(piece)
    }
}

/// Where a body is read, piece by piece as they were flushed.
pub(super) struct Outlet {
    pieces: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    has_ended: bool,
}

impl Read for Outlet {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.has_ended {
            let cut = |_| io::Error::other("what was to be sent could not be made");
            (self.piece, self.at) = (self.pieces.recv().map_err(cut)?, 0);
            self.has_ended = self.piece.is_empty();
        }
        let got = self.piece.get(self.at..).unwrap_or_default().read(buffer)?;
        self.at += got;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_only_where_it_was_ended() {
        let (mut inlet, mut outlet) = pipe();
        let writer = std::thread::spawn(move || {
            inlet.write_all(b"one").unwrap();
            inlet.flush().unwrap();
            inlet.write_all(b"two").unwrap();
            inlet.end().unwrap();
        });
        let mut piece = [0; 16];
        assert_eq!(outlet.read(&mut piece).unwrap(), 3, "what was flushed does not wait for more");
        let mut rest = String::new();
        outlet.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "two");
        writer.join().unwrap();

        let (mut inlet, mut outlet) = pipe();
        inlet.write_all(b"half").unwrap();
        inlet.flush().unwrap();
        drop(inlet);
        assert!(outlet.read_to_end(&mut Vec::new()).is_err());

        let (mut inlet, outlet) = pipe();
        drop(outlet);
        inlet.write_all(b"more").unwrap();
        assert_eq!(inlet.flush().unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
