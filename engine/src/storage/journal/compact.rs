//! Compaction: files are written anew without what was replaced or deleted since.
//!
//! *What is dead.* A value is dead if a later change of its key can be read in the
//! journal; the store is not asked, since it may have lost something. A deletion is
//! dead if a later change of its key can be read, or if no file before it has a
//! value of that key any more. Where something cannot be read, nothing is taken for
//! dead because of it: a file with a hole stays as it is, and so does each deletion
//! behind one.
//!
//! *What is written.* Frames keep their sequences and what is alive in them; where
//! nothing is, a frame says so for the sequences in its place. So each sequence is
//! accounted for, and a hole looks different. Each frame of the new file says with
//! regard to which commits it was written, the file's *level*: whoever reads the
//! file needs the commits up to there. Without them he would have neither the old
//! value of a row nor the new one.
//!
//! *Up to where.* Only commits count that are durable, here and in the store. So a
//! power cut takes nothing in whose favour something was left out, and a store whose
//! mark is below the level of the journal is an old one: it may have rows of which
//! nothing tells any more that they were deleted, and is built anew.
//!
//! *One after the other.* A file is made beside, synced and renamed over the old one,
//! the oldest first: a deletion goes after the values that it deletes. Whatever ends
//! that leaves files of before and files of after, and each mixture in that order
//! reads the same. Who reads has the files of one moment open (`reader.rs`), so that
//! none of them lacks a deletion of what another one still had.
//!
//! *The price.* What is looked at together has so many keys as memory is allowed
//! for; the journal is read once for them from there to its end.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use rand::RngExt;
use sha2::{Digest, Sha256};

use super::super::StorageError;
use super::append::free_bytes;
use super::file::{FileHead, Unfinished, file_name, list};
use super::frame::{self, Head, Kind, Place};
use super::reader::head_of;
use super::rewrite::Rewrite;
use super::walk::{Step, Walk};
use super::{Journal, io_error, lock};
use crate::disk::{Access, open_file};

/// Keys that are looked at together, unless one file has more: about 64 bytes of
/// memory each.
const MOST_KEYS: usize = 1 << 18;

/// Which files are compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those of which less than half is alive.
    Half,
    /// Those that have anything dead.
    All,
}

/// What a compaction came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// Files that were written anew.
    pub files: u64,
    /// Bytes that they are smaller by.
    pub freed_bytes: u64,
}

impl Journal {
    /// Writes files anew without what commits up to `until` have replaced or
    /// deleted, but for the file that is written to and files with commits behind
    /// `until`. With [`Which::All`] none of them has a dead value afterwards, as far
    /// as it can be read. May run beside commits. Ends early where `is_over` says so.
    ///
    /// # Errors
    /// [`StorageError::DiskFull`] if there is no room for a file beside the old one,
    /// and [`StorageError::Io`]: what was done until then is done, and the rest is
    /// as it was.
    pub fn compact(&self, until: u64, which: Which, is_over: &dyn Fn() -> bool) -> Result<Compacted, StorageError> {
        let _alone = lock(&self.compacting);
        self.check_not_stopped()?;
        let written = lock(&self.tail).head.first;
        let until = until.min(self.durable());
        let files = list(&self.dir)?;
        let limits = files.iter().zip(files.iter().skip(1));
        let files: Vec<Part> = limits
            .map(|(first, limit)| Part::new(*first, *limit))
            .take_while(|part| part.limit <= written && part.limit - 1 <= until)
            .collect();
        let mut done = Compacted::default();
        let mut at = 0;
        while at < files.len() && !is_over() {
            let mut group = Group { journal: self, until, which, is_over, files: Vec::new(), newest: HashMap::new() };
            for part in &files[at..] {
                if !group.files.is_empty() && group.newest.len() >= MOST_KEYS {
                    break;
                }
                group.add(*part)?;
            }
            let added = group.files.len();
            group.compact(&files[..at + added], &mut done)?;
            at += added;
        }
        Ok(done)
    }

    /// Goes on in a new file, so that all commits so far can be compacted.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn begin_file(&self) -> Result<(), StorageError> {
        let mut tail = lock(&self.tail);
        self.check_not_stopped()?;
        if tail.at == super::FRAMES_AT { Ok(()) } else { self.rotate(&mut tail, 0) }
    }

    /// The last commit with regard to which a file was compacted; 0 if none was.
    pub fn level(&self) -> u64 {
        self.level.load(Ordering::Acquire)
    }
}

/// A file that another one follows.
#[derive(Clone, Copy)]
struct Part {
    first: u64,
    /// The first sequence behind it.
    limit: u64,
    /// Something in it does not read.
    is_damaged: bool,
    has_dead: bool,
    /// It is written anew.
    is_chosen: bool,
}

impl Part {
    fn new(first: u64, limit: u64) -> Self {
        Self { first, limit, is_damaged: false, has_dead: false, is_chosen: false }
    }
}

/// The newest change of a key.
struct Newest {
    sequence: u64,
    /// Its place in its commit.
    index: usize,
    /// Of the file in the group that has it; there is none if it is behind them.
    part: Option<usize>,
    is_put: bool,
    /// A file before has a value, which stays there.
    is_needed: bool,
}

/// Files that are looked at together.
struct Group<'a> {
    journal: &'a Journal,
    until: u64,
    which: Which,
    is_over: &'a dyn Fn() -> bool,
    files: Vec<Part>,
    /// Of all keys in them, by hash.
    newest: HashMap<[u8; 16], Newest>,
}

fn hash(key: &[u8]) -> [u8; 16] {
    let hash: [u8; 32] = Sha256::digest(key).into();
    *hash.first_chunk().expect("16 is less than 32")
}

/// What lies in a file.
enum Found<'a> {
    Changes { head: Head, body: &'a [u8], places: Vec<Place> },
    Absent { head: Head, last: u64 },
    Hole,
}

impl Group<'_> {
    /// Goes through a file, as far as `take` wants it.
    fn visit(
        &self,
        first: u64,
        limit: Option<u64>,
        mut take: impl FnMut(Found<'_>) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        let path = self.journal.dir.join(file_name(first));
        let read = |error| io_error("read", &path)(error);
        let file = open_file(&path, Access::Read).map_err(io_error("open", &path))?;
        let Some(head) = head_of(&file, first).map_err(read)?.0 else { return take(Found::Hole).map(drop) };
        let mut walk = Walk::new(file, &head, limit);
        while let Some(step) = walk.step().map_err(read)? {
            let goes_on = match step {
                Step::Absent { head, last } => take(Found::Absent { head, last })?,
                Step::Hole { .. } => take(Found::Hole)?,
                Step::Frame { at, head } => {
                    let body = walk.body(at, &head).map_err(read)?;
                    match frame::places(body) {
                        Some(places) => take(Found::Changes { head, body, places })?,
                        None => take(Found::Hole)?,
                    }
                }
            };
            if !goes_on || (self.is_over)() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes the keys of a file in.
    fn add(&mut self, mut part: Part) -> Result<(), StorageError> {
        let number = self.files.len();
        let mut newest = std::mem::take(&mut self.newest);
        self.visit(part.first, Some(part.limit), |found| {
            match found {
                Found::Hole => part.is_damaged = true,
                Found::Absent { .. } => {}
                Found::Changes { head, body, places } => {
                    for (index, (key, value)) in places.into_iter().enumerate() {
                        let (sequence, is_put) = (head.sequence, value.is_some());
                        let change = Newest { sequence, index, part: Some(number), is_put, is_needed: false };
                        newest.insert(hash(&body[key]), change);
                    }
                }
            }
            Ok(true)
        })?;
        self.newest = newest;
        self.files.push(part);
        Ok(())
    }

    /// Compacts those that are worth it. `files` are all up to the last of them.
    fn compact(&mut self, files: &[Part], done: &mut Compacted) -> Result<(), StorageError> {
        self.look_behind()?;
        for number in 0..self.files.len() {
            self.weigh(number)?;
        }
        if (self.is_over)() || !(0..self.files.len()).any(|number| self.is_candidate(number)) {
            return Ok(());
        }
        self.look_before(files)?;
        for number in 0..self.files.len() {
            if (self.is_over)() {
                return Ok(());
            }
            if self.files[number].is_chosen || self.has_needless_deletion(number) {
                let freed = self.rewrite(number)?;
                done.files += u64::from(freed > 0);
                done.freed_bytes += freed;
            }
        }
        Ok(())
    }

    /// Which keys are changed behind the group.
    fn look_behind(&mut self) -> Result<(), StorageError> {
        let behind = self.files.last().map_or(0, |part| part.limit);
        let files = list(&self.journal.dir)?;
        let mut newest = std::mem::take(&mut self.newest);
        for (at, first) in files.iter().enumerate().filter(|(_, first)| **first >= behind) {
            self.visit(*first, files.get(at + 1).copied(), |found| {
                let Found::Changes { head, body, places } = found else { return Ok(true) };
                if head.sequence > self.until {
                    return Ok(false);
                }
                for (index, (key, value)) in places.into_iter().enumerate() {
                    if let Some(known) = newest.get_mut(&hash(&body[key])) {
                        let (sequence, is_put) = (head.sequence, value.is_some());
                        *known = Newest { sequence, index, part: None, is_put, is_needed: false };
                    }
                }
                Ok(true)
            })?;
        }
        self.newest = newest;
        Ok(())
    }

    /// How much of a file is alive.
    fn weigh(&mut self, number: usize) -> Result<(), StorageError> {
        let mut part = self.files[number];
        if part.is_damaged {
            return Ok(());
        }
        let (mut alive, mut all) = (0, 0);
        self.visit(part.first, Some(part.limit), |found| {
            let Found::Changes { head, body, places } = found else { return Ok(true) };
            let count = places.len();
            let kept: Vec<_> = self.alive(&head, body, places).collect();
            part.has_dead |= kept.len() < count;
            let bytes: usize = kept.iter().map(|(_, bytes)| bytes.len()).sum();
            alive += if bytes > 0 { frame::frame_bytes(bytes as u64) } else { 0 };
            all += head.frame_bytes();
            Ok(true)
        })?;
        part.is_chosen = match self.which {
            Which::All => part.has_dead,
            Which::Half => alive * 2 < all,
        };
        self.files[number] = part;
        Ok(())
    }

    /// Whether it is written anew, or may be for the sake of deletions.
    fn is_candidate(&self, number: usize) -> bool {
        let part = &self.files[number];
        part.is_chosen || (self.which == Which::All && !part.is_damaged)
    }

    /// Which deletions have something to delete: a value that stays where it is, or
    /// what cannot be read.
    fn look_before(&mut self, files: &[Part]) -> Result<(), StorageError> {
        let is_deletion = |newest: &Newest| !newest.is_put && newest.part.is_some();
        if !self.newest.values().any(is_deletion) {
            return Ok(());
        }
        // What was dropped may be in a copy that was made before.
        let mut damaged_from = (self.journal.first() > 1).then_some(0);
        let mut newest = std::mem::take(&mut self.newest);
        let begin = files.len() - self.files.len();
        for (at, part) in files.iter().enumerate() {
            if at >= begin && self.files[at - begin].is_chosen {
                continue;
            }
            self.visit(part.first, Some(part.limit), |found| {
                match found {
                    Found::Hole => damaged_from = damaged_from.or(Some(part.first)),
                    Found::Absent { .. } => {}
                    Found::Changes { head, body, places } => {
                        for (key, value) in places {
                            if value.is_some()
                                && let Some(newest) = newest.get_mut(&hash(&body[key]))
                            {
                                newest.is_needed |= newest.sequence > head.sequence;
                            }
                        }
                    }
                }
                Ok(true)
            })?;
        }
        if let Some(from) = damaged_from {
            newest.values_mut().for_each(|newest| newest.is_needed |= newest.sequence >= from);
        }
        self.newest = newest;
        Ok(())
    }

    fn has_needless_deletion(&self, number: usize) -> bool {
        let is_one = |newest: &Newest| newest.part == Some(number) && !newest.is_put && !newest.is_needed;
        self.is_candidate(number) && self.newest.values().any(is_one)
    }

    /// The changes of a commit that are alive, each with its bytes.
    fn alive<'b>(
        &self,
        head: &Head,
        body: &'b [u8],
        places: Vec<Place>,
    ) -> impl Iterator<Item = (bool, &'b [u8])> + use<'b, '_> {
        let sequence = head.sequence;
        places.into_iter().enumerate().filter_map(move |(index, (key, value))| {
            let newest = self.newest.get(&hash(&body[key.clone()]))?;
            let is_newest = newest.sequence == sequence && newest.index == index;
            let end = value.as_ref().map_or(key.end, |value| value.end);
            // The kind and the length of the key are before it.
            is_newest.then_some((value.is_some() || newest.is_needed, &body[key.start - 5..end]))
        })
    }

    /// Returns how many bytes it is smaller by.
    fn rewrite(&self, number: usize) -> Result<u64, StorageError> {
        let part = self.files[number];
        let path = self.journal.dir.join(file_name(part.first));
        let (old, old_bytes) = {
            let file = open_file(&path, Access::Read).map_err(io_error("open", &path))?;
            head_of(&file, part.first).map_err(io_error("read", &path))?
        };
        let Some(old) = old else { return Ok(0) };
        self.check_room(&path, old_bytes)?;
        let head = FileHead { salt: rand::rng().random(), ..old };
        let made = Unfinished::create(&self.journal.dir, &head)?;
        let mut out = Rewrite::new(&made, &head, self.until);
        let mut replaced: Option<(u64, u64)> = None;
        let mut is_damaged = false;
        self.visit(part.first, Some(part.limit), |found| {
            let mut gone = |first, last| replaced = Some((replaced.map_or(first, |(first, _)| first), last));
            match found {
                Found::Hole => is_damaged = true,
                Found::Absent { head, last } if head.kind == Kind::Replaced => gone(head.sequence, last),
                Found::Absent { head, last } => {
                    end_run(&mut out, &mut replaced)?;
                    out.absent(head.kind, head.sequence, last)?;
                }
                Found::Changes { head, body, places } => {
                    let kept = self.alive(&head, body, places).filter(|(stays, _)| *stays);
                    let kept: Vec<u8> = kept.flat_map(|(_, bytes)| bytes).copied().collect();
                    if kept.is_empty() {
                        gone(head.sequence, head.sequence);
                    } else {
                        end_run(&mut out, &mut replaced)?;
                        out.frame(head, &kept)?;
                    }
                }
            }
            Ok(!is_damaged)
        })?;
        if is_damaged || (self.is_over)() {
            return Ok(0);
        }
        end_run(&mut out, &mut replaced)?;
        out.flush()?;
        // From here on an older store counts as one.
        self.journal.level.fetch_max(self.until, Ordering::AcqRel);
        let file = made.finish()?;
        let bytes = file.metadata().map_err(io_error("measure", &path))?.len();
        Ok(old_bytes.saturating_sub(bytes))
    }

    fn check_room(&self, path: &Path, bytes: u64) -> Result<(), StorageError> {
        let free = free_bytes(path).map_err(io_error("look up the free space of", path))?;
        let floor = self.journal.options.free_floor_bytes.saturating_add(bytes);
        if free >= floor { Ok(()) } else { Err(StorageError::DiskFull { free, floor, path: path.to_owned() }) }
    }
}

/// Writes of which sequences nothing is left.
fn end_run(out: &mut Rewrite<'_>, replaced: &mut Option<(u64, u64)>) -> Result<(), StorageError> {
    replaced.take().map_or(Ok(()), |(first, last)| out.absent(Kind::Replaced, first, last))
}

#[cfg(test)]
mod tests;
