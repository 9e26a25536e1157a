//! A file of the journal that is written anew, from what is left of the old one.

use std::os::unix::fs::FileExt;

use super::super::StorageError;
use super::file::{FRAMES_AT, FileHead, Unfinished};
use super::frame::{ALIGN, Head, Kind};
use super::io_error;

/// What is written at once.
const PIECE_BYTES: usize = 1 << 20;

pub(super) struct Rewrite<'a> {
    made: &'a Unfinished,
    seed: u32,
    /// Where what waits goes.
    at: u64,
    waiting: Vec<u8>,
    /// With regard to which commits it is written.
    level: u64,
}

impl<'a> Rewrite<'a> {
    /// Everything up to `level` is durable.
    pub(super) fn new(made: &'a Unfinished, head: &FileHead, level: u64) -> Self {
        Self { made, seed: head.seed(), at: FRAMES_AT, waiting: Vec::new(), level }
    }

    /// Writes a frame with this body, which may be another one than it had.
    pub(super) fn frame(&mut self, head: Head, body: &[u8]) -> Result<(), StorageError> {
        let body_bytes = u32::try_from(body.len()).expect("a body is below 4 GiB");
        let head = Head { durable: self.level, body_bytes, body_crc: crc32c::crc32c(body), ..head };
        self.waiting.extend(head.encode(self.seed));
        self.waiting.extend(body);
        self.waiting.resize(self.waiting.len().next_multiple_of(ALIGN as usize), 0);
        if self.waiting.len() >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes that nothing is missed from `first` to `last`, and why.
    pub(super) fn absent(&mut self, kind: Kind, first: u64, last: u64) -> Result<(), StorageError> {
        let head = Head { kind, body_bytes: 0, sequence: first, durable: 0, body_crc: 0 };
        self.frame(head, &last.to_le_bytes())
    }

    /// Writes what waits. Without it the end is missing.
    pub(super) fn flush(&mut self) -> Result<(), StorageError> {
        self.made.file().write_all_at(&self.waiting, self.at).map_err(io_error("write", self.made.temporary()))?;
        self.at += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}
