//! Frames on the socket, with descriptors.
//!
//! ```text
//! kind u8, descriptors u8, length u32 big-endian, payload
//! ```

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use zeroize::Zeroizing;

/// More than the arguments of a process can be.
const MAX_BYTES: usize = 32 << 20;

/// Descriptors of one frame, at most.
const MAX_DESCRIPTORS: usize = 3;

const HEADER_BYTES: usize = 6;

#[cfg(not(target_vendor = "apple"))]
const RECEIVE: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(target_vendor = "apple")]
const RECEIVE: RecvFlags = RecvFlags::empty();

/// A frame as it came. What it holds may be a secret.
pub(crate) struct Frame {
    /// What it is.
    pub(crate) kind: u8,
    /// The payload.
    pub(crate) payload: Zeroizing<Vec<u8>>,
    /// Descriptors that came with it.
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Sends a frame.
pub(crate) fn send(stream: &UnixStream, kind: u8, payload: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let count = u8::try_from(descriptors.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let [a, b, c, d] = length.to_be_bytes();
    // The descriptors go with the header, which is never cut.
    send_part(stream, &[kind, count, a, b, c, d], descriptors)?;
    let mut rest = payload;
    while !rest.is_empty() {
        let sent = send_part(stream, rest, &[])?;
        rest = rest.get(sent..).unwrap_or_default();
    }
    Ok(())
}

fn send_part(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    loop {
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            sent => return Ok(sent?),
        }
    }
}

/// Receives frames.
pub(crate) struct Receiver<'a> {
    stream: &'a UnixStream,
    descriptors: VecDeque<OwnedFd>,
}

impl<'a> Receiver<'a> {
    /// From a socket.
    pub(crate) const fn new(stream: &'a UnixStream) -> Self {
        Self { stream, descriptors: VecDeque::new() }
    }

    /// The next frame; nothing if the other side ended.
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame>> {
        let mut header = [0; HEADER_BYTES];
        if !self.fill(&mut header, true)? {
            return Ok(None);
        }
        let [kind, count, a, b, c, d] = header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > MAX_BYTES || usize::from(count) > MAX_DESCRIPTORS {
            return Err(malformed());
        }
        let mut payload = Zeroizing::new(vec![0; length]);
        self.fill(&mut payload, false)?;
        let descriptors: Vec<OwnedFd> = self.descriptors.drain(..).collect();
        if descriptors.len() != usize::from(count) {
            return Err(malformed());
        }
        Ok(Some(Frame { kind, payload, descriptors }))
    }

    /// Fills the buffer; false if the other side ended before its first byte,
    /// where it may.
    fn fill(&mut self, buffer: &mut [u8], may_end: bool) -> io::Result<bool> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.part(rest)? {
                0 if filled == 0 && may_end => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled = filled.saturating_add(read),
            }
        }
        Ok(true)
    }

    fn part(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match recvmsg(self.stream, &mut [IoSliceMut::new(buffer)], &mut control, RECEIVE) {
                Err(rustix::io::Errno::INTR) => {}
                received => break received?,
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        // They come with the header. Who sends more with each byte would have
        // us hold them all until the frame ends.
        if self.descriptors.len() > MAX_DESCRIPTORS {
            return Err(malformed());
        }
        Ok(received.bytes)
    }
}

/// What the other side says makes no sense.
pub(crate) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a malformed message on the local socket")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn frames_arrive_with_their_descriptors() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        let large = vec![7; 1 << 20];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                send(&ours, 1, b"first", &[]).unwrap();
                send(&ours, 2, &large, &[far.as_fd(), far.as_fd()]).unwrap();
                send(&ours, 3, b"", &[]).unwrap();
                ours.shutdown(std::net::Shutdown::Both).unwrap();
            });
            let mut frames = Receiver::new(&theirs);
            let first = frames.next().unwrap().unwrap();
            assert_eq!((first.kind, &first.payload[..], first.descriptors.len()), (1, &b"first"[..], 0));
            let second = frames.next().unwrap().unwrap();
            assert_eq!((second.kind, second.payload.len(), second.descriptors.len()), (2, large.len(), 2));
            std::fs::File::from(second.descriptors.into_iter().next().unwrap()).write_all(b"x").unwrap();
            assert_eq!(frames.next().unwrap().unwrap().kind, 3);
            assert!(frames.next().unwrap().is_none());
        });
        let mut byte = [0; 1];
        near.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn descriptors_do_not_pile_up() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        // A frame that claims three, and brings three with every byte.
        let sent = std::thread::spawn(move || {
            let end = ours.try_clone().unwrap();
            send_part(&ours, &[1, 3, 0, 0, 255, 255], &[end.as_fd(); 3]).unwrap();
            (0..1_000).take_while(|_| send_part(&ours, b"x", &[end.as_fd(); 3]).is_ok()).count()
        });
        let mut frames = Receiver::new(&theirs);
        assert_eq!(frames.next().err().unwrap().kind(), io::ErrorKind::InvalidData);
        assert!(frames.descriptors.len() <= 2 * MAX_DESCRIPTORS, "{}", frames.descriptors.len());
        drop(frames);
        drop(theirs);
        assert!(sent.join().unwrap() <= 1_000);
    }

    #[test]
    fn lengths_that_are_too_great_and_cut_frames_are_refused() {
        for bytes in
            [&[1, 0, 255, 255, 255, 255][..], &[1, 200, 0, 0, 0, 0], &[1, 1, 0, 0, 0, 0], &[1, 0, 0, 0, 0, 2, 9]]
        {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(bytes).unwrap();
            drop(ours);
            assert!(Receiver::new(&theirs).next().is_err(), "{bytes:?}");
        }
    }
}
