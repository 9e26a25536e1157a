//! Streams as they are read: lines of ndjson, or the frames of a binary stream.

use std::io::{BufRead, Read};
use std::sync::Arc;

use thingdb_format::frame::{self, Decoder};
use thingdb_format::{Hash, Line, Signature, line};

use super::check::{Broken, CHUNK_BYTES, CHUNK_LINES, Chunk, ENTRY_BYTES, Items, Source};
use super::import::{Room, StreamState};
use super::refusal::Cause;
use crate::error::{Error, Result};

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

fn read(source: std::io::Error) -> Error {
    Error::Stream { action: "read", source: Arc::new(source) }
}

/// Whether a stream is a binary one, by how it begins.
pub(super) fn is_binary(input: &mut impl BufRead) -> Result<bool> {
    let front = input.fill_buf().map_err(read)?;
    let len = front.len().min(frame::MAGIC.len() - 1);
    Ok(len > 0 && front.get(..len) == frame::MAGIC.get(..len))
}

/// Lines of ndjson.
pub(super) struct Lines<'a, R> {
    input: R,
    ask: Ask<'a>,
    /// Lines that were read.
    line: u64,
    /// There was no room for the next one.
    ended: bool,
}

impl<'a, R: BufRead> Lines<'a, R> {
    pub(super) const fn new(input: R, ask: Ask<'a>) -> Self {
        Self { input, ask, line: 0, ended: false }
    }

    /// Reads on with the line at the end of `bytes`, up to this many bytes of
    /// it. Gives how many came.
    fn read(&mut self, most: usize, bytes: &mut Vec<u8>) -> Result<usize> {
        self.input.by_ref().take(most as u64).read_until(b'\n', bytes).map_err(read)
    }
}

impl<R: BufRead> Source for Lines<'_, R> {
    fn chunk(&mut self) -> Result<Option<Chunk>> {
        let before = self.line;
        let (mut bytes, mut ends, mut taken, mut room) = (Vec::new(), Vec::new(), 0, None);
        while ends.len() < CHUNK_LINES && bytes.len() < CHUNK_BYTES && !self.ended {
            const MOST: usize = line::MAX_LINE_BYTES + 2;
            let start = bytes.len();
            let mut got = self.read(LARGE_BYTES, &mut bytes)?;
            if got == 0 {
                break;
            }
            if got == LARGE_BYTES && bytes.last() != Some(&b'\n') {
                room = (self.ask)();
                if room.is_none() {
                    bytes.truncate(start);
                    self.ended = true;
                    break;
                }
                bytes.reserve_exact(LARGE_ROOM_BYTES);
                got += self.read(MOST - LARGE_BYTES, &mut bytes)?;
            }
            let too_long = got == MOST && bytes.last() != Some(&b'\n');
            if too_long {
                // What is left of it is passed over without being kept.
                bytes.truncate(start + 1024);
                got += self.input.skip_until(b'\n').map_err(read)?;
                bytes.shrink_to_fit();
            }
            self.line += 1;
            taken += got as u64;
            ends.push((bytes.len(), too_long));
        }
        let is_end = ends.is_empty();
        // As they came, and taken apart.
        let held = bytes.len().saturating_mul(2).saturating_add(ends.len().saturating_mul(ENTRY_BYTES));
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
    ended: bool,
}

impl<'a, R: BufRead> Frames<'a, R> {
    pub(super) fn new(input: R, ask: Ask<'a>) -> Self {
        let decoder = Decoder::default();
        Self { input, ask, room: None, decoder, buffer: Vec::new(), at: 0, frames: 0, ended: false }
    }

    /// The next frame, with the bytes that it has; nothing at the end, or why
    /// nothing more can be read.
    fn next(&mut self) -> Result<std::result::Result<(Line, usize), Option<Broken>>> {
        while !self.ended {
            match self.decoder.next(self.buffer.get(self.at..).unwrap_or_default()) {
                Ok(Some((line, used))) => {
                    self.at += used;
                    self.frames += 1;
                    if used > READ_BYTES {
                        self.forget();
                    }
                    return Ok(Ok((line, used)));
                }
                Ok(None) => {}
                // What follows names what was in it.
                Err(problem) => {
                    self.ended = true;
                    let line = self.frames + 1;
                    let state = StreamState::Damaged(format!("frame {line}: {problem}"));
                    let refusal = Some(Cause::format(&problem).refusal(line, None, None));
                    return Ok(Err(Some(Broken { state, refusal })));
                }
            }
            self.forget();
            let mut is_cut = false;
            if self.buffer.len() > LARGE_BYTES && self.room.is_none() {
                self.room = (self.ask)();
                is_cut = self.room.is_none();
                self.buffer.reserve_exact(LARGE_ROOM_BYTES);
            }
            let more = self.buffer.len().clamp(READ_BYTES, MOST_READ_BYTES) as u64;
            if is_cut || self.input.by_ref().take(more).read_to_end(&mut self.buffer).map_err(read)? == 0 {
                self.ended = true;
                let cut = Broken { state: StreamState::Cut, refusal: None };
                return Ok(Err((!self.buffer.is_empty()).then_some(cut)));
            }
        }
        Ok(Err(None))
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
            match self.next()? {
                Ok((line, used)) => {
                    read += used as u64;
                    held += size(&line, used);
                    frames.push(line);
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
