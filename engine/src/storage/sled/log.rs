//! The bytes of sled's log, read without sled.
//!
//! ```text
//! db        segments of 512 KiB, each at a multiple of that
//! segment   [4] CRC-32 of what follows, inverted
//!           [8] LSN of its first byte, LE, xor 2^63 - 1
//!           [8] LSN up to which everything had been written then, likewise
//!           messages, up to one of kind 2 or the last 32 bytes
//! message   [4] CRC-32 of body and rest of the header, inverted
//!           [1] kind
//!           [v] length of the body  [v] LSN of the segment / 512 KiB  [v] page
//!           [n] body
//! blobs/N   [4] CRC-32 of what follows  [1] kind  [n] what would be the body
//! ```
//!
//! `v` is a number of one to nine bytes. A segment that is used again gets a
//! new LSN and is written over from its start, so that what follows the newest
//! messages may be those of an earlier use: their segment number tells.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::disk::{Access, open_file};

/// The size of a segment.
pub(super) const SEGMENT_BYTES: u64 = 512 << 10;

/// The size of a segment's header.
pub(super) const HEADER_BYTES: usize = 20;

/// No message begins in so many bytes at the end of a segment.
const RED_ZONE: usize = 32;

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Its LSN, and the LSN up to which the log had been written before it.
    Used { lsn: i64, stable: i64 },
    /// Zeros: it was never written, or sled has given it up.
    Unused,
    /// Neither.
    Bad,
}

impl Header {
    pub(super) fn read(bytes: &[u8; HEADER_BYTES]) -> Self {
        if bytes == &[0; HEADER_BYTES] {
            return Self::Unused;
        }
        let number = |at: usize| {
            let bytes = bytes[at..at + 8].try_into().expect("eight bytes");
            i64::from_le_bytes(bytes) ^ i64::MAX
        };
        let stored = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
        let (lsn, stable) = (number(4), number(12));
        let in_order = (0..i64::MAX >> 1).contains(&lsn) && (-1..=lsn).contains(&stable);
        if crc32fast::hash(&bytes[4..]) == !stored && in_order && lsn % SEGMENT_BYTES as i64 == 0 {
            Self::Used { lsn, stable }
        } else {
            Self::Bad
        }
    }
}

/// What a message does to its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The body is all of it.
    Replace,
    /// The body changes it.
    Link,
    /// It is given up.
    Free,
}

/// What lies at a place in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// A page or a change of one; `blob` says that the body is the name of a
    /// file that holds it.
    Page { effect: Effect, kind: u8, page: u64, blob: bool, body: &'a [u8] },
    /// Something that was given up before it was whole.
    Canceled,
    /// What follows, up to this LSN, counts as a whole or not at all.
    Batch { last: i64 },
    /// Nothing follows in this segment.
    Cap,
}

/// The message at `at` in the bytes of a segment with this number, and where the
/// next one begins. `None` if there is none that is whole.
pub(super) fn message(segment: &[u8], at: usize, number: u64) -> Option<(Message<'_>, usize)> {
    let bytes = segment.get(at..)?;
    let (stored, mut rest) = bytes.split_first_chunk::<4>()?;
    let kind = *rest.split_off_first()?;
    if !(1..=11).contains(&kind) {
        return None;
    }
    let length = usize::try_from(varint(&mut rest)?).ok()?;
    if varint(&mut rest)? != number {
        return None;
    }
    let page = varint(&mut rest)?;
    let body = rest.get(..length)?;
    let head = bytes.len() - rest.len();
    let mut crc = crc32fast::Hasher::new();
    crc.update(body);
    crc.update(&bytes[4..head]);
    if crc.finalize() != !u32::from_le_bytes(*stored) {
        return None;
    }
    let lsn_of = |body: &[u8]| body.try_into().ok().map(i64::from_le_bytes);
    let message = match kind {
        1 => Message::Canceled,
        2 => Message::Cap,
        3 => Message::Batch { last: lsn_of(body)? },
        _ => {
            let blob = matches!(kind, 7 | 9 | 11);
            if blob {
                lsn_of(body)?;
            }
            let effect = match kind {
                4 => Effect::Free,
                10 | 11 => Effect::Link,
                _ => Effect::Replace,
            };
            Message::Page { effect, kind, page, blob, body }
        }
    };
    Some((message, at + head + length))
}

/// Whether a message may begin at `at`.
pub(super) fn has_room(at: usize) -> bool {
    at + RED_ZONE <= SEGMENT_BYTES as usize
}

/// Where the message at `at`, which is not whole, would end, if it has a header of
/// the segment with this number.
pub(super) fn end_of_unread(segment: &[u8], at: usize, number: u64) -> Option<usize> {
    let bytes = segment.get(at..)?;
    let mut rest = bytes.get(5..).filter(|_| (1..=11).contains(&bytes[4]))?;
    let length = usize::try_from(varint(&mut rest)?).ok()?;
    if varint(&mut rest)? != number {
        return None;
    }
    varint(&mut rest)?;
    (at + bytes.len() - rest.len()).checked_add(length)
}

/// The number of the segment that the message at `at` is of, if it has a header.
pub(super) fn number_of(segment: &[u8], at: usize) -> Option<u64> {
    let mut rest = segment.get(at + 5..)?;
    varint(&mut rest)?;
    varint(&mut rest)
}

/// The next whole message of the segment numbers that `of` takes, at `from` or
/// behind it; its place.
pub(super) fn next_message(segment: &[u8], from: usize, of: impl Fn(u64) -> bool) -> Option<usize> {
    (from..segment.len()).find(|at| {
        let Some(mut rest) = segment.get(at + 5..).filter(|_| (1..=11).contains(&segment[at + 4])) else {
            return false;
        };
        let number = varint(&mut rest).and_then(|_| varint(&mut rest));
        number.is_some_and(|number| of(number) && message(segment, *at, number).is_some())
    })
}

/// A number as sled writes it; takes it off the front.
pub(super) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let first = u64::from(*bytes.split_off_first()?);
    match first {
        0..=240 => Some(first),
        241..=248 => Some(240 + 256 * (first - 241) + u64::from(*bytes.split_off_first()?)),
        249 => {
            let more = bytes.split_off(..2)?;
            Some(2288 + 256 * u64::from(more[0]) + u64::from(more[1]))
        }
        _ => {
            let more = bytes.split_off(..usize::try_from(first - 247).expect("at most eight"))?;
            let mut number = [0; 8];
            number[..more.len()].copy_from_slice(more);
            Some(u64::from_le_bytes(number))
        }
    }
}

/// Reads the bytes from `at` on, as many as there are up to the size of
/// `buffer`.
pub(super) fn read_up_to<'a>(file: &File, buffer: &'a mut [u8], at: u64) -> io::Result<&'a [u8]> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(&buffer[..filled])
}

/// How a blob was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blob {
    /// Whole, and of the kind that the log says.
    Whole,
    /// Not there.
    Missing,
    /// Cut, or not what was written.
    Bad,
}

/// Looks whether the blob `id` is whole, reading it piece by piece, and of the
/// kind that the message says that refers to it.
pub(super) fn check_blob(store: &Path, id: i64, kind: Option<u8>) -> io::Result<Blob> {
    let mut file = match open_file(&store.join("blobs").join(id.to_string()), Access::Read) {
        Ok(file) => file,
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Blob::Missing),
        Err(problem) => return Err(problem),
    };
    let mut head = [0; 5];
    match file.read_exact(&mut head) {
        Ok(()) => {}
        Err(problem) if problem.kind() == io::ErrorKind::UnexpectedEof => return Ok(Blob::Bad),
        Err(problem) => return Err(problem),
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[4..]);
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => crc.update(&piece[..read]),
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
            Err(problem) => return Err(problem),
        }
    }
    let stored = u32::from_le_bytes(head[..4].try_into().expect("four bytes"));
    Ok(if crc.finalize() == stored && kind.is_none_or(|kind| kind == head[4]) { Blob::Whole } else { Blob::Bad })
}
