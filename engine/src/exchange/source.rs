//! Streams as they are read: lines of ndjson, or the frames of a binary stream.

use std::io::{BufRead, Read};
use std::sync::Arc;

use thingdb_format::frame::{self, Decoder};
use thingdb_format::line;

use super::check::{CHUNK_BYTES, CHUNK_LINES, Chunk, Item, Source};
use super::import::StreamState;
use crate::error::{Error, Result};

/// Bytes that are read from a binary stream at once, at least.
const READ_BYTES: usize = 64 << 10;

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
pub(super) struct Lines<R> {
    input: R,
    /// Lines that were read.
    line: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) const fn new(input: R) -> Self {
        Self { input, line: 0 }
    }
}

impl<R: BufRead> Source for Lines<R> {
    fn chunk(&mut self, number: u64) -> Result<Option<Chunk>> {
        let mut items = Vec::new();
        let mut bytes = 0;
        while items.len() < CHUNK_LINES && bytes < CHUNK_BYTES {
            let mut raw = Vec::new();
            let most = line::MAX_LINE_BYTES as u64 + 2;
            let mut got = self.input.by_ref().take(most).read_until(b'\n', &mut raw).map_err(read)?;
            if got == 0 {
                break;
            }
            let too_long = got as u64 == most && raw.last() != Some(&b'\n');
            if too_long {
                // What is left of it is passed over without being kept.
                raw.truncate(1024);
                got += self.input.skip_until(b'\n').map_err(read)?;
            }
            self.line += 1;
            bytes += got;
            items.push(Item::Line(self.line, raw, too_long));
        }
        Ok((!items.is_empty()).then_some(Chunk { number, bytes: bytes as u64, items }))
    }
}

/// Frames of a binary stream. They name what came before, so they are taken
/// apart one after the other, and only checked side by side.
pub(super) struct Frames<R> {
    input: R,
    decoder: Decoder,
    /// What was read and is not taken apart yet, from `at` on.
    buffer: Vec<u8>,
    at: usize,
    frames: u64,
    ended: bool,
}

impl<R: BufRead> Frames<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, decoder: Decoder::default(), buffer: Vec::new(), at: 0, frames: 0, ended: false }
    }

    /// The next frame; nothing at the end.
    fn next(&mut self) -> Result<Option<Item>> {
        while !self.ended {
            match self.decoder.next(self.buffer.get(self.at..).unwrap_or_default()) {
                Ok(Some((line, used))) => {
                    self.at += used;
                    self.frames += 1;
                    return Ok(Some(Item::Frame(self.frames, line)));
                }
                Ok(None) => {}
                // What follows names what was in it.
                Err(problem) => {
                    self.ended = true;
                    return Ok(Some(Item::Broken(StreamState::Damaged(format!(
                        "frame {}: {problem}",
                        self.frames + 1
                    )))));
                }
            }
            self.buffer.drain(..std::mem::take(&mut self.at));
            let more = READ_BYTES.max(self.buffer.len()) as u64;
            if self.input.by_ref().take(more).read_to_end(&mut self.buffer).map_err(read)? == 0 {
                self.ended = true;
                if !self.buffer.is_empty() {
                    return Ok(Some(Item::Broken(StreamState::Cut)));
                }
            }
        }
        Ok(None)
    }
}

impl<R: BufRead> Source for Frames<R> {
    fn chunk(&mut self, number: u64) -> Result<Option<Chunk>> {
        let mut items = Vec::new();
        let mut bytes = 0;
        while items.len() < CHUNK_LINES && bytes < CHUNK_BYTES {
            let before = self.at;
            let Some(item) = self.next()? else { break };
            bytes += self.at.saturating_sub(before);
            items.push(item);
        }
        Ok((!items.is_empty()).then_some(Chunk { number, bytes: bytes as u64, items }))
    }
}
