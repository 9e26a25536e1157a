//! A walk over the frames of one file, past what is damaged.
//!
//! A frame counts if it is whole and has the sequence that follows. Where none
//! is, the next one is looked for. What lies between is a *hole* if it was
//! durable: in a file that another one follows everything was, in the last one
//! that which a later frame says so of. What was not durable is the torn tail: it
//! and all behind it never were, for a crash leaves a prefix of the commits.
//!
//! A writer may be at work on the file. What it has not finished looks like a
//! torn tail; so before anything is called a hole its place is read again.

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;

use super::file::{FRAMES_AT, FileHead};
use super::frame::{ALIGN, HEAD_BYTES, Head, Kind};

/// How much is read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// What a walk comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A frame with changes, which begins at `at`.
    Frame { at: u64, head: Head },
    /// A frame that says of which sequences nothing is missed: from its own to the
    /// last.
    Absent { head: Head, last: u64 },
    /// Bytes that are no frames, in the place of these sequences. There may be
    /// no bytes, or no sequences.
    Hole { at: u64, bytes: u64, sequences: RangeInclusive<u64> },
}

pub(super) struct Walk {
    window: Window,
    seed: u32,
    at: u64,
    expected: u64,
    /// The first sequence behind this file; `None` if nothing follows it.
    limit: Option<u64>,
    ended: bool,
}

impl Walk {
    /// Begins with the first frame. `limit` is the first sequence of the file
    /// that follows, if one does.
    pub(super) fn new(file: File, head: &FileHead, limit: Option<u64>) -> Self {
        Self { window: Window::new(file), seed: head.seed(), at: FRAMES_AT, expected: head.first, limit, ended: false }
    }

    /// The file, once more.
    pub(super) fn file(&self) -> io::Result<File> {
        self.window.file.try_clone()
    }

    /// Where the frames end, as far as the walk has come.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The sequence that follows.
    pub(super) fn expected(&self) -> u64 {
        self.expected
    }

    /// The body of the frame that was returned last.
    pub(super) fn body(&mut self, at: u64, head: &Head) -> io::Result<&[u8]> {
        let bytes = self.window.get(at + HEAD_BYTES as u64, head.body_bytes as usize)?;
        bytes.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub(super) fn step(&mut self) -> io::Result<Option<Step>> {
        while !self.ended {
            let (at, expected) = (self.at, self.expected);
            if let Some(head) = self.following()? {
                match self.take(at, head)? {
                    Some(step) => return Ok(Some(step)),
                    None => continue,
                }
            }
            let found = self.find(at)?;
            // A writer may have finished meanwhile what was not whole.
            self.window.forget();
            if self.following()?.is_some() {
                continue;
            }
            let Some((next, head)) = found else {
                self.ended = true;
                return self.rest();
            };
            let mut last = head.sequence - 1;
            if self.limit.is_none() && last >= expected {
                let durable = self.durable_from(next)?;
                if durable < expected {
                    self.ended = true;
                    return Ok(None);
                }
                if durable < last {
                    self.ended = true;
                    last = durable;
                }
            }
            let bytes = if self.ended { 0 } else { next - at };
            self.at += bytes;
            self.expected = last + 1;
            return Ok(Some(Step::Hole { at, bytes, sequences: expected..=last }));
        }
        Ok(None)
    }

    /// How many bytes from the end of the frames on are not zeros.
    pub(super) fn rest_bytes(&mut self) -> io::Result<u64> {
        let (mut at, mut end) = (self.at, self.at);
        loop {
            let bytes = self.window.get_up_to(at, WINDOW_BYTES)?;
            if bytes.is_empty() {
                return Ok(end - self.at);
            }
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                end = at + last as u64 + 1;
            }
            at += bytes.len() as u64;
        }
    }

    /// What remains behind the last frame of a file that another one follows.
    fn rest(&mut self) -> io::Result<Option<Step>> {
        let Some(limit) = self.limit else { return Ok(None) };
        let bytes = self.rest_bytes()?;
        let (at, expected) = (self.at, self.expected);
        self.expected = limit;
        Ok((bytes > 0 || expected < limit).then(|| Step::Hole { at, bytes, sequences: expected..=limit - 1 }))
    }

    /// Goes behind a frame that follows. Returns what it is, but for an end.
    fn take(&mut self, at: u64, head: Head) -> io::Result<Option<Step>> {
        let (next, step) = match head.kind {
            Kind::Changes => (head.sequence + 1, Some(Step::Frame { at, head })),
            Kind::End => (head.sequence, None),
            Kind::GivenUp | Kind::Replaced => {
                let last = self.last_absent(at, &head)?;
                (last + 1, Some(Step::Absent { head, last }))
            }
        };
        self.at += head.frame_bytes();
        self.expected = next;
        Ok(step)
    }

    /// The last sequence of which a frame says that it is not missed.
    fn last_absent(&mut self, at: u64, head: &Head) -> io::Result<u64> {
        let body = self.window.get(at + HEAD_BYTES as u64, head.body_bytes as usize)?;
        let last = body.and_then(|body| body.try_into().ok()).map(u64::from_le_bytes);
        Ok(last.filter(|last| *last >= head.sequence && *last < u64::MAX).unwrap_or(head.sequence))
    }

    /// The frame at which the walk stands, if it has the sequence that follows.
    fn following(&mut self) -> io::Result<Option<Head>> {
        Ok(self.frame_at(self.at)?.filter(|head| head.sequence == self.expected))
    }

    /// The frame that begins there, if one does and could be of this file.
    fn frame_at(&mut self, at: u64) -> io::Result<Option<Head>> {
        let head = self.window.get(at, HEAD_BYTES)?.and_then(|bytes| Head::decode(bytes, self.seed));
        let Some(head) = head else { return Ok(None) };
        let limit = self.limit.unwrap_or(u64::MAX);
        if head.sequence > limit || (head.sequence == limit && head.kind != Kind::End) {
            return Ok(None);
        }
        let body = self.window.get(at + HEAD_BYTES as u64, head.body_bytes as usize)?;
        Ok(body.is_some_and(|body| crc32c::crc32c(body) == head.body_crc).then_some(head))
    }

    /// The next frame at or behind `at` whose sequence does not go back.
    fn find(&mut self, mut at: u64) -> io::Result<Option<(u64, Head)>> {
        loop {
            let bytes = self.window.some(at)?;
            if bytes.len() < HEAD_BYTES {
                return Ok(None);
            }
            let Some(mark) = bytes.chunks(ALIGN as usize).position(Head::has_mark) else {
                // Half a chunk at the end is looked at again.
                at += bytes.len() as u64 / ALIGN * ALIGN;
                continue;
            };
            at += mark as u64 * ALIGN;
            match self.frame_at(at)? {
                Some(head) if head.sequence >= self.expected => return Ok(Some((at, head))),
                Some(head) => at += head.frame_bytes(),
                None => at += ALIGN,
            }
        }
    }

    /// The newest sequence that a frame at or behind `at` says to be durable.
    fn durable_from(&mut self, mut at: u64) -> io::Result<u64> {
        let mut durable = 0;
        while let Some((found, head)) = self.find(at)? {
            durable = durable.max(head.durable);
            at = found + head.frame_bytes();
        }
        Ok(durable)
    }
}

/// A part of a file in memory.
struct Window {
    file: File,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn new(file: File) -> Self {
        Self { file, start: 0, bytes: Vec::new() }
    }

    /// Nothing that was read is taken for what is there.
    fn forget(&mut self) {
        self.bytes.clear();
    }

    /// So many bytes, unless the file ends before.
    fn get(&mut self, at: u64, length: usize) -> io::Result<Option<&[u8]>> {
        let bytes = self.get_up_to(at, length)?;
        Ok((bytes.len() == length).then_some(bytes))
    }

    /// The bytes from there on that are in memory, at least a header if the file
    /// has one.
    fn some(&mut self, at: u64) -> io::Result<&[u8]> {
        let end = self.start + self.bytes.len() as u64;
        let length = if at >= self.start && at + HEAD_BYTES as u64 <= end { end - at } else { WINDOW_BYTES as u64 };
        self.get_up_to(at, usize::try_from(length).expect("it is in memory"))
    }

    /// So many bytes, or those up to the end of the file.
    fn get_up_to(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        let has = |window: &Self| {
            let from = usize::try_from(at.checked_sub(window.start)?).ok()?;
            (window.bytes.len() >= from.checked_add(length)?).then_some(from)
        };
        let from = match has(self) {
            Some(from) => from,
            None => {
                self.fill(at, length)?;
                0
            }
        };
        let end = (from + length).min(self.bytes.len());
        Ok(&self.bytes[from..end])
    }

    fn fill(&mut self, at: u64, length: usize) -> io::Result<()> {
        // A length may be larger than the file: it is not believed.
        let left = self.file.metadata()?.len().saturating_sub(at);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(length.max(WINDOW_BYTES));
        if self.bytes.capacity() > 4 * WINDOW_BYTES && wanted <= WINDOW_BYTES {
            self.bytes = Vec::new();
        }
        self.start = at;
        self.bytes.clear();
        self.bytes.resize(wanted, 0);
        let mut read = 0;
        while read < wanted {
            match self.file.read_at(&mut self.bytes[read..], at + read as u64) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.bytes.clear();
                    return Err(error);
                }
            }
        }
        self.bytes.truncate(read);
        Ok(())
    }
}
