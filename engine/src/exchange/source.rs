//! Streams as they are read: lines of ndjson, or the frames of a binary stream.

use std::io::{BufRead, Read};
use std::ops::{Deref, Range};
use std::sync::Arc;

use thingdb_format::frame::{self, Decoder};
use thingdb_format::{Hash, Line, Signature, line};

use super::framing::Broken;
use super::import::Room;
use crate::error::Result;

/// Lines that are handed to a worker at once, at most.
pub(super) const CHUNK_LINES: usize = 512;

/// Bytes that are handed to a worker at once, about.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// What an entry takes beside the bytes in which it came, while it is under way.
pub(super) const ENTRY_BYTES: usize = 1024;

/// A line as it came. It keeps the whole chunk in which it came.
#[derive(Clone)]
pub(super) struct RawLine {
    chunk: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl RawLine {
    /// A line within a chunk.
    pub(super) fn of(chunk: &Arc<Vec<u8>>, range: Range<usize>) -> Self {
        Self { chunk: Arc::clone(chunk), range }
    }

    /// A line that keeps nothing but itself.
    pub(super) fn alone(line: Vec<u8>) -> Self {
        let range = 0..line.len();
        Self { chunk: Arc::new(line), range }
    }
}

impl Deref for RawLine {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.chunk.get(self.range.clone()).unwrap_or_default()
    }
}

/// A part of a stream for a worker.
pub(super) struct Chunk {
    /// Bytes that were read.
    pub(super) read: u64,
    /// Bytes of memory that it takes while it is under way, about.
    pub(super) held: usize,
    /// Leave to take much: until it is done nothing else is read.
    pub(super) room: Option<Room>,
    /// The line or frame before the first one here, counted from 1.
    pub(super) before: u64,
    pub(super) items: Items,
}

/// What stands in a part of a stream.
pub(super) enum Items {
    /// Lines side by side.
    Lines {
        bytes: Vec<u8>,
        /// Where each line ends, and whether it was too long to be read.
        ends: Vec<(usize, bool)>,
    },
    /// What frames of a binary stream hold, with the hashes of their bytes, and
    /// why nothing behind them can be read.
    Frames(Vec<(Line, Hash)>, Option<Box<Broken>>),
}

/// Where the parts of a stream come from, one after the other.
pub(super) trait Source {
    /// The next part; nothing at the end.
    fn chunk(&mut self) -> Result<Option<Chunk>>;
}

/// Bytes that are read from a binary stream at once, at least and at most.
const READ_BYTES: usize = 64 << 10;
const MOST_READ_BYTES: usize = 1 << 20;

/// A line or frame of more bytes needs room.
const LARGE_BYTES: usize = CHUNK_BYTES;

/// What is reserved for one, at once: a buffer that grows leaves others behind,
/// and allocators give back at once only what is larger than 32 MiB. Pages that
/// are not written to take nothing.
const LARGE_ROOM_BYTES: usize = 33 << 20;

/// Who is asked for it.
type Ask<'a> = &'a (dyn Fn() -> Option<Room> + 'a);

/// Whether a stream is a binary one, by how it begins.
pub(super) fn is_binary(input: &mut impl BufRead) -> std::io::Result<bool> {
    let front = input.fill_buf()?;
    let len = front.len().min(frame::MAGIC.len() - 1);
    Ok(len > 0 && front.get(..len) == frame::MAGIC.get(..len))
}

/// Lines of ndjson.
pub(super) struct Lines<'a, R> {
    input: R,
    ask: Ask<'a>,
    /// Lines that were read.
    line: u64,
    /// Why it can be read no further.
    broken: Option<Broken>,
    has_ended: bool,
    /// For a large line.
    room: Option<Room>,
}

impl<'a, R: BufRead> Lines<'a, R> {
    pub(super) const fn new(input: R, ask: Ask<'a>) -> Self {
        Self { input, ask, line: 0, broken: None, has_ended: false, room: None }
    }

    /// Reads a line behind `bytes`: how many bytes it took, and whether it was
    /// too long. Nothing at the end, also at one that is none.
    fn next(&mut self, bytes: &mut Vec<u8>) -> Option<(u64, bool)> {
        const MOST: usize = line::MAX_LINE_BYTES + 2;
        let start = bytes.len();
        let mut read = self.input.by_ref().take(LARGE_BYTES as u64).read_until(b'\n', bytes).map(drop);
        if read.is_ok() && bytes.len() - start == LARGE_BYTES && bytes.last() != Some(&b'\n') {
            // Who has room asks for no other: it could be the last.
            self.room = self.room.take().or_else(self.ask);
            if self.room.is_none() {
                bytes.truncate(start);
                self.broken = Some(Broken::cut());
                self.has_ended = true;
                return None;
            }
            bytes.reserve_exact(LARGE_ROOM_BYTES);
            read = self.input.by_ref().take((MOST - LARGE_BYTES) as u64).read_until(b'\n', bytes).map(drop);
        }
        let mut got = (bytes.len() - start) as u64;
        let too_long = got == MOST as u64 && bytes.last() != Some(&b'\n');
        let read = read.and_then(|()| {
            if too_long {
                // What is left of it is passed over without being kept.
                bytes.truncate(start + 1024);
                bytes.shrink_to_fit();
                // That takes as long as the sender likes.
                self.room = None;
                got += self.input.skip_until(b'\n')? as u64;
            }
            Ok(())
        });
        if let Err(problem) = read {
            // A line that was torn is none.
            if bytes.last() != Some(&b'}') {
                bytes.truncate(start);
                got = 0;
            }
            self.broken = Some(Broken::source(&problem));
            self.has_ended = true;
        }
        (got > 0).then_some((got, too_long))
    }
}

impl<R: BufRead> Source for Lines<'_, R> {
    fn chunk(&mut self) -> Result<Option<Chunk>> {
        let before = self.line;
        let (mut bytes, mut ends, mut taken) = (Vec::new(), Vec::new(), 0);
        while ends.len() < CHUNK_LINES && bytes.len() < CHUNK_BYTES && !self.has_ended {
            let Some((got, too_long)) = self.next(&mut bytes) else { break };
            self.line += 1;
            taken += got;
            ends.push((bytes.len(), too_long));
        }
        let is_end = ends.is_empty();
        if is_end && let Some(broken) = self.broken.take() {
            return Ok(Some(Chunk {
                read: 0,
                held: 0,
                room: None,
                before,
                items: Items::Frames(Vec::new(), Some(Box::new(broken))),
            }));
        }
        // As they came, and taken apart.
        let held = bytes.len().saturating_mul(2).saturating_add(ends.len().saturating_mul(ENTRY_BYTES));
        let room = self.room.take();
        Ok((!is_end).then_some(Chunk { read: taken, held, room, before, items: Items::Lines { bytes, ends } }))
    }
}

/// Frames of a binary stream. They name what came before, so they are taken
/// apart one after the other, and only checked side by side.
pub(super) struct Frames<'a, R> {
    input: R,
    ask: Ask<'a>,
    /// For the frame that is being read.
    room: Option<Room>,
    decoder: Decoder,
    /// What was read and is not taken apart yet, from `at` on.
    buffer: Vec<u8>,
    at: usize,
    frames: u64,
    /// Why nothing more can be read.
    broken: Option<Broken>,
    ended: bool,
}

impl<'a, R: BufRead> Frames<'a, R> {
    pub(super) fn new(input: R, ask: Ask<'a>) -> Self {
        let decoder = Decoder::default();
        Self { input, ask, room: None, decoder, buffer: Vec::new(), at: 0, frames: 0, broken: None, ended: false }
    }

    /// The next frame, with the bytes that it has and their hash; nothing at
    /// the end, or why nothing more can be read.
    fn next(&mut self) -> std::result::Result<(Line, usize, Hash), Option<Box<Broken>>> {
        while !self.ended {
            match self.decoder.next(self.buffer.get(self.at..).unwrap_or_default()) {
                Ok(Some((line, used))) => {
                    let bytes = self.buffer.get(self.at..self.at + used).unwrap_or_default();
                    let hash = Hash::of(bytes);
                    self.at += used;
                    self.frames += 1;
                    if used > READ_BYTES {
                        self.forget();
                    }
                    return Ok((line, used, hash));
                }
                Ok(None) => {}
                // What follows names what was in it.
                Err(problem) => {
                    self.ended = true;
                    return Err(Some(Box::new(Broken::frame(self.frames + 1, &problem))));
                }
            }
            self.forget();
            if self.buffer.len() > LARGE_BYTES && self.room.is_none() {
                self.room = (self.ask)();
                if self.room.is_none() {
                    self.broken = Some(Broken::cut());
                }
                self.buffer.reserve_exact(LARGE_ROOM_BYTES);
            }
            let more = self.buffer.len().clamp(READ_BYTES, MOST_READ_BYTES) as u64;
            if let Some(broken) = self.broken.take() {
                self.ended = true;
                return Err(Some(Box::new(broken)));
            }
            match self.input.by_ref().take(more).read_to_end(&mut self.buffer) {
                // What came before the failure is looked at first.
                Err(problem) => self.broken = Some(Broken::source(&problem)),
                Ok(0) => {
                    self.ended = true;
                    return Err((!self.buffer.is_empty()).then(|| Box::new(Broken::cut())));
                }
                Ok(_) => {}
            }
        }
        Err(None)
    }

    /// Lets go of what was taken apart, and of the room that a large frame took.
    fn forget(&mut self) {
        self.buffer.drain(..std::mem::take(&mut self.at));
        self.buffer.shrink_to(2 * READ_BYTES);
    }
}

impl<R: BufRead> Source for Frames<'_, R> {
    fn chunk(&mut self) -> Result<Option<Chunk>> {
        let before = self.frames;
        let (mut frames, mut read, mut held, mut broken) = (Vec::new(), 0, 0, None);
        while frames.len() < CHUNK_LINES && held < CHUNK_BYTES {
            match self.next() {
                Ok((line, used, hash)) => {
                    read += used as u64;
                    held += size(&line, used);
                    frames.push((line, hash));
                }
                Err(why) => {
                    broken = why;
                    break;
                }
            }
        }
        let is_end = frames.is_empty() && broken.is_none();
        let room = self.room.take();
        Ok((!is_end).then_some(Chunk { read, held, room, before, items: Items::Frames(frames, broken) }))
    }
}

/// About how many bytes an item takes in memory that has as many in its frame.
/// What it names and did not define is shared with others.
fn size(line: &Line, frame: usize) -> usize {
    /// From, CEK, and where the packets are; twice, as it came and as it is kept.
    const ENVELOPE_BYTES: usize = 200;
    let named = match line {
        Line::Entry(entry) => {
            let path = match &entry.signature {
                Signature::Batch(batch) => batch.path.len() * size_of::<Hash>(),
                _ => 0,
            };
            entry.header.thing.as_str().len() + path + entry.envelopes.len() * ENVELOPE_BYTES
        }
        _ => 0,
    };
    // Packets take up to half as much more than in their frame.
    frame + frame / 2 + named + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// The one room that there is, given back when it is dropped.
    struct Only(Arc<AtomicBool>);

    impl Drop for Only {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Relaxed);
        }
    }

    /// Who asks for a second one would wait for itself.
    #[test]
    fn a_stream_asks_for_no_room_while_it_has_one() {
        let is_taken = Arc::new(AtomicBool::new(false));
        let ask = || -> Option<Room> {
            let was_free = !is_taken.swap(true, Ordering::Relaxed);
            was_free.then(|| Box::new(Only(Arc::clone(&is_taken))) as Room)
        };
        let (too_long, large) = (line::MAX_LINE_BYTES + 10, 2 * LARGE_BYTES);
        let lengths = [too_long, too_long, large, 10, large, large, too_long, 10];
        let stream: Vec<u8> =
            lengths.into_iter().flat_map(|length| [&vec![b'x'; length][..], b"\n"].concat()).collect();
        let mut lines = Lines::new(&stream[..], &ask);
        let mut seen = Vec::new();
        while let Some(chunk) = lines.chunk().unwrap() {
            let Items::Lines { ends, .. } = chunk.items else { panic!("no room after {} lines", seen.len()) };
            seen.extend(ends.into_iter().map(|(_, too_long)| too_long));
        }
        assert_eq!(seen, lengths.map(|length| length == too_long));
        assert!(!is_taken.load(Ordering::Relaxed));
    }
}
