//! What sled will make of its log when it opens it, found out by reading alone.
//!
//! sled begins with its newest snapshot and reads the segments that are as new
//! or newer, in the order of their LSNs, up to the first place that does not
//! read: this is the end of its log, and what lies behind is written over. It
//! cannot tell the end that a killed process left from a damaged place, and
//! loses what follows one: a segment whose header does not read is as good as
//! never written, and a message that does not read ends its segment. The walk
//! does the same, and holds it against what a killed process and a power cut
//! leave behind:
//!
//! - The header of a segment is whole or zeros.
//! - A segment that sled has used again without its header having arrived reads
//!   up to a place behind which newer messages follow.
//! - Messages that do not read are in the *tail*: where the newest header does
//!   not yet count the log as written. A power cut can take single pages of it.
//! - Every page, and every change of one, that the log leads to reads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::log::{
    Blob, Effect, HEADER_BYTES, Header, Message, SEGMENT_BYTES, check_blob, end_of_unread, has_room, message,
    next_message, read_up_to,
};
use super::pages::{Pages, Place, Snapshot};

/// How many segments are read before what they say is put together: 16 MiB.
const AT_ONCE: usize = 32;

/// The pages of the kernel, which arrive on a disk or do not.
const KERNEL_PAGE: usize = 4096;

/// sled's log and what its headers say.
pub(super) struct Log<'a> {
    pub(super) store: &'a Path,
    pub(super) file: File,
    pub(super) length: u64,
    /// By segment. The last may be cut short.
    pub(super) headers: Vec<Header>,
}

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// What sled itself reads when it opens.
    Opening,
    /// Every page, and every segment that is to be free.
    Everything,
}

/// Where the log ends and what it leads to.
#[derive(Debug)]
pub(super) struct Walked {
    /// The LSN behind the last message that counts.
    pub(super) end: i64,
    /// Which segments hold something that counts.
    pub(super) used: Vec<bool>,
}

/// What does not read although it should, as sentences without an end.
#[derive(Debug, Default)]
pub(super) struct Damage {
    found: Vec<String>,
    more: usize,
}

impl Damage {
    fn add(&mut self, what: String) {
        if self.found.len() < 3 {
            self.found.push(what);
        } else {
            self.more += 1;
        }
    }

    fn is_none(&self) -> bool {
        self.found.is_empty()
    }
}

impl From<String> for Damage {
    fn from(what: String) -> Self {
        Self { found: vec![what], more: 0 }
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.found.join("; "))?;
        match self.more {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl<'a> Log<'a> {
    pub(super) fn read(store: &'a Path, file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let mut headers = Vec::new();
        let mut at = 0;
        while at + HEADER_BYTES as u64 <= length {
            let mut bytes = [0; HEADER_BYTES];
            read_up_to(&file, &mut bytes, at)?;
            headers.push(Header::read(&bytes));
            at += SEGMENT_BYTES;
        }
        Ok(Self { store, file, length, headers })
    }

    /// Walks through the log. `unused` are the segments that sled had given up
    /// when it was opened last, if that is known.
    pub(super) fn walk(
        &self,
        snapshot: Snapshot,
        depth: Depth,
        unused: Option<&BTreeSet<usize>>,
    ) -> io::Result<Result<Walked, Damage>> {
        let mut damage = Damage::default();
        for (index, _) in self.headers.iter().enumerate().filter(|(_, header)| **header == Header::Bad) {
            damage.add(format!("the header of the segment at byte {} of 'db' does not read", place_of(index)));
        }
        let from = floor(snapshot.lsn.unwrap_or(0));
        let (order, tail) = self.order(from, &mut damage);
        if !damage.is_none() {
            return Ok(Err(damage));
        }
        let tail = match self.find_end(&order, tail, &snapshot)? {
            Ok(tail) => tail,
            Err(problem) => return Ok(Err(problem)),
        };
        let known = snapshot.lsn.unwrap_or(0);
        let replayed = match self.replay(&order, &tail, snapshot)? {
            Ok(replayed) => replayed,
            Err(problem) => return Ok(Err(problem)),
        };
        if let Some(page) = replayed.pages.missing() {
            damage.add(format!("nothing in the log says where page {page} is"));
        }
        let mut used = vec![false; self.headers.len()];
        for at in replayed.pages.places().map(|(_, place)| place.at) {
            match used.get_mut((at / SEGMENT_BYTES) as usize) {
                Some(used) => *used = true,
                None => damage.add(format!("'db' ends at byte {}, and byte {at} belongs to a page", self.length)),
            }
        }
        // sled may have had no time to write to it.
        if let Some(used) = replayed.active.and_then(|at| used.get_mut((at / SEGMENT_BYTES) as usize)) {
            *used = true;
        }
        if damage.is_none() && depth == Depth::Everything {
            self.check_pages(&replayed.pages, known, &mut damage)?;
            self.check_unused(&order, &tail, from, unused, &mut damage)?;
        }
        Ok(if damage.is_none() { Ok(Walked { end: replayed.end, used }) } else { Err(damage) })
    }

    /// The end of the log, if it has one that is understood.
    pub(super) fn end(&self, snapshot: &Snapshot) -> io::Result<Option<i64>> {
        let mut damage = Damage::default();
        let (order, tail) = self.order(floor(snapshot.lsn.unwrap_or(0)), &mut damage);
        let found = self.find_end(&order, tail, snapshot)?;
        Ok(found.ok().filter(|_| damage.is_none()).map(|tail| tail.end))
    }

    /// The segments from the LSN `from` on, and where the tail begins.
    fn order(&self, from: i64, damage: &mut Damage) -> (BTreeMap<i64, usize>, Tail) {
        let mut order = BTreeMap::new();
        let mut stable = from;
        for (index, header) in self.headers.iter().enumerate() {
            let Header::Used { lsn, stable: at_least } = *header else { continue };
            if lsn < from {
                continue;
            }
            stable = stable.max(at_least);
            if let Some(other) = order.insert(lsn, index) {
                let (one, two) = (place_of(other), place_of(index));
                damage.add(format!("the segments at bytes {one} and {two} of 'db' have the same number"));
            }
        }
        (order, Tail { start: floor(stable), end: 0 })
    }

    /// The end of the log: the first place from the start of the tail on that
    /// does not read.
    fn find_end(
        &self,
        order: &BTreeMap<i64, usize>,
        mut tail: Tail,
        snapshot: &Snapshot,
    ) -> io::Result<Result<Tail, Damage>> {
        let mut buffer = vec![0; SEGMENT_BYTES as usize];
        let mut expected = tail.start;
        for (&lsn, &index) in order.range(tail.start..) {
            if lsn != expected {
                break;
            }
            let segment = self.segment(&mut buffer, index)?;
            let parsed = self.parse(segment, lsn, index)?;
            tail.end = parsed.end(lsn);
            match parsed.stop {
                Stop::Full => expected = lsn + SEGMENT_BYTES as i64,
                Stop::Blob { .. } => break,
                Stop::Unread { at } => {
                    if is_written_around(segment, at, number(lsn)) {
                        return Ok(Err(unread(index, at).into()));
                    }
                    break;
                }
            }
        }
        // Only a segment that was never begun may be missing.
        if expected == tail.start && !order.contains_key(&tail.start) {
            let is_next = snapshot.active.is_none() && snapshot.lsn.unwrap_or(0) == tail.start;
            if !is_next || (snapshot.lsn.is_none() && !order.is_empty()) {
                return Ok(Err(format!(
                    "the segment of LSN {} is missing, which had been written to when the newest was begun",
                    tail.start
                )
                .into()));
            }
            tail.end = tail.start;
        }
        Ok(Ok(tail))
    }

    /// What sled reads from its snapshot up to the end.
    fn replay(
        &self,
        order: &BTreeMap<i64, usize>,
        tail: &Tail,
        snapshot: Snapshot,
    ) -> io::Result<Result<Replayed, Damage>> {
        let known = snapshot.lsn.unwrap_or(0);
        let mut replayed =
            Replayed { pages: snapshot.pages, end: known, active: snapshot.active, dangling: HashMap::new() };
        // As many as sled can have made.
        let most_pages = usize::try_from(tail.end.max(known) / 8).unwrap_or(usize::MAX).saturating_add(1024);
        let segments: Vec<_> = order.range(..tail.end).map(|(lsn, index)| (*lsn, *index)).collect();
        for some in segments.chunks(AT_ONCE) {
            let parsed = self.in_parallel(some, |buffer, (lsn, index)| {
                let segment = self.segment(buffer, index)?;
                let parsed = self.parse(segment, lsn, index)?;
                let is_reused = match parsed.stop {
                    Stop::Unread { at } if parsed.end(lsn) < tail.end => {
                        let newest = number(tail.start);
                        next_message(segment, at, |found| found >= newest && found > number(lsn)).is_some()
                    }
                    _ => false,
                };
                Ok((parsed, is_reused))
            })?;
            for ((parsed, is_reused), (lsn, index)) in parsed.into_iter().zip(some) {
                match replayed.take(&parsed, *lsn, *index, tail, known, most_pages) {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(Ok(())) => return Ok(replayed.finish(known, tail)),
                    ControlFlow::Break(Err(problem)) => return Ok(Err(problem)),
                }
                if parsed.end(*lsn) >= tail.end {
                    continue;
                }
                match parsed.stop {
                    Stop::Full => {}
                    Stop::Unread { .. } if is_reused => {}
                    Stop::Unread { at } => return Ok(Err(unread(*index, at).into())),
                    Stop::Blob { id } => return Ok(Err(format!("the blob {id} does not read").into())),
                }
            }
        }
        Ok(replayed.finish(known, tail))
    }

    /// Reads every page that only the snapshot leads to: the others were read.
    fn check_pages(&self, pages: &Pages, known: i64, damage: &mut Damage) -> io::Result<()> {
        let mut places: Vec<_> = pages.places().filter(|(_, place)| place.lsn < known).collect();
        places.sort_unstable_by_key(|(_, place)| place.at);
        let by_segment: Vec<_> =
            places.chunk_by(|(_, one), (_, two)| one.at / SEGMENT_BYTES == two.at / SEGMENT_BYTES).collect();
        for some in by_segment.chunks(AT_ONCE) {
            let found = self.in_parallel(some, |buffer, places| {
                let index = (places[0].1.at / SEGMENT_BYTES) as usize;
                let segment = self.segment(buffer, index)?;
                let mut found = Vec::new();
                for (page, place) in places {
                    if let Some(id) = place.blob {
                        if check_blob(self.store, id, None)? != Blob::Whole {
                            found.push(format!("page {page} does not read: blob {id}"));
                        }
                        continue;
                    }
                    let at = (place.at % SEGMENT_BYTES) as usize;
                    let is_there = has_room(at)
                        && matches!(
                            message(segment, at, number(place.lsn)),
                            Some((Message::Page { page: found, .. }, _)) if found == *page as u64
                        );
                    if !is_there {
                        found.push(format!("page {page} does not read: byte {} of 'db'", place.at));
                    }
                }
                Ok(found)
            })?;
            found.into_iter().flatten().for_each(|what| damage.add(what));
        }
        Ok(())
    }

    /// Looks at the segments without a header: they are to be free.
    fn check_unused(
        &self,
        order: &BTreeMap<i64, usize>,
        tail: &Tail,
        from: i64,
        unused: Option<&BTreeSet<usize>>,
        damage: &mut Damage,
    ) -> io::Result<()> {
        let newest = order.keys().next_back().map_or(0, |lsn| number(*lsn));
        let without: Vec<_> = (0..self.headers.len()).filter(|index| self.headers[*index] == Header::Unused).collect();
        // Segments of the tail that sled had not yet begun to write.
        let expected = number(tail.start)..=newest;
        let may_be_missing =
            expected.filter(|number| !order.contains_key(&(*number as i64 * SEGMENT_BYTES as i64))).count();
        let mut zeroed = Vec::new();
        for some in without.chunks(AT_ONCE) {
            let found = self.in_parallel(some, |buffer, index| {
                let segment = self.segment(buffer, index)?;
                if segment.iter().all(|byte| *byte == 0) {
                    return Ok(None);
                }
                // sled can have been killed while it cleared it, which it does
                // before anything newer than its snapshot is written.
                let is_known = |found: u64| found >= number(from) && found <= newest;
                Ok(Some(next_message(segment, HEADER_BYTES, is_known)))
            })?;
            for (found, index) in found.into_iter().zip(some) {
                match found {
                    Some(None) => {}
                    Some(Some(_)) => {
                        damage.add(format!("the segment at byte {} of 'db' has lost its header", place_of(*index)));
                    }
                    None if unused.is_some_and(|unused| !unused.contains(index)) => zeroed.push(*index),
                    None => {}
                }
            }
        }
        // What the file was lengthened by last may not have been written.
        zeroed.retain(|index| index + 1 < self.headers.len());
        if zeroed.len() > may_be_missing {
            for index in zeroed {
                damage.add(format!("the segment at byte {} of 'db' is empty, and was in use", place_of(index)));
            }
        }
        Ok(())
    }

    fn segment<'b>(&self, buffer: &'b mut [u8], index: usize) -> io::Result<&'b [u8]> {
        read_up_to(&self.file, buffer, place_of(index))
    }

    /// The messages of a segment, up to the first that does not read.
    fn parse(&self, segment: &[u8], lsn: i64, index: usize) -> io::Result<Parsed> {
        let mut parsed = Parsed { found: Vec::new(), next: HEADER_BYTES, stop: Stop::Full };
        while has_room(parsed.next) {
            let at = parsed.next;
            let Some((message, next)) = message(segment, at, number(lsn)) else {
                parsed.stop = Stop::Unread { at };
                break;
            };
            match message {
                Message::Canceled => {}
                Message::Cap => break,
                Message::Batch { last } => parsed.found.push((at, Found::Batch { last })),
                Message::Page { effect, kind, page, blob, body } => {
                    let mut place = Place { lsn: lsn + at as i64, at: place_of(index) + at as u64, blob: None };
                    if blob {
                        let id = i64::from_le_bytes(body.try_into().expect("the name of a blob has eight bytes"));
                        place.blob = Some(id);
                        match check_blob(self.store, id, Some(kind))? {
                            Blob::Whole => {}
                            Blob::Missing => {
                                parsed.found.push((at, Found::Dangling { page, id }));
                                parsed.next = next;
                                continue;
                            }
                            Blob::Bad => {
                                parsed.stop = Stop::Blob { id };
                                break;
                            }
                        }
                    }
                    parsed.found.push((at, Found::Page { effect, page, place }));
                }
            }
            parsed.next = next;
        }
        Ok(parsed)
    }

    /// Does the same for each of `items` on all processors, each with a buffer of
    /// a segment's size; the results are in their order.
    fn in_parallel<T: Copy + Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(&mut [u8], T) -> io::Result<R> + Sync,
    ) -> io::Result<Vec<R>> {
        let next = AtomicUsize::new(0);
        let one_thread = || -> io::Result<Vec<(usize, R)>> {
            let mut buffer = vec![0; SEGMENT_BYTES as usize];
            let mut done = Vec::new();
            while let Some((at, item)) = {
                let at = next.fetch_add(1, Ordering::Relaxed);
                items.get(at).map(|item| (at, item))
            } {
                done.push((at, work(&mut buffer, *item)?));
            }
            Ok(done)
        };
        let threads = thread::available_parallelism().map_or(1, usize::from).min(8).min(items.len());
        let mut done = if threads < 2 {
            one_thread()?
        } else {
            thread::scope(|scope| {
                // As many as there are: this one does the rest.
                let begin = |_| thread::Builder::new().spawn_scoped(scope, one_thread);
                let others: Vec<_> = (1..threads).map_while(|number| begin(number).ok()).collect();
                let mut done = one_thread();
                for other in others {
                    let others = other.join().expect("reading does not panic");
                    done = done.and_then(|mut done| {
                        done.extend(others?);
                        Ok(done)
                    });
                }
                done
            })?
        };
        done.sort_unstable_by_key(|(at, _)| *at);
        Ok(done.into_iter().map(|(_, result)| result).collect())
    }
}

/// Where a log stops counting as written, and where it ends.
struct Tail {
    /// The LSN of the segment up to which the newest header counts.
    start: i64,
    /// The LSN behind the last message before the first that does not read.
    end: i64,
}

/// What a segment holds.
struct Parsed {
    /// By the place in the segment.
    found: Vec<(usize, Found)>,
    /// The place of what was not read any more.
    next: usize,
    stop: Stop,
}

impl Parsed {
    fn end(&self, lsn: i64) -> i64 {
        lsn + self.next as i64
    }
}

enum Found {
    Page {
        effect: Effect,
        page: u64,
        place: Place,
    },
    Batch {
        last: i64,
    },
    /// A page or change whose blob is not there: there is a newer one.
    Dangling {
        page: u64,
        id: i64,
    },
}

/// Why no more was read of a segment.
enum Stop {
    /// It is full.
    Full,
    /// What is there is no message of it.
    Unread { at: usize },
    /// A blob is not what was written.
    Blob { id: i64 },
}

/// The pages as far as the log was replayed.
struct Replayed {
    pages: Pages,
    end: i64,
    active: Option<u64>,
    /// Blobs that are not there, by page.
    dangling: HashMap<u64, i64>,
}

impl Replayed {
    /// Takes what a segment says; ends where sled does.
    fn take(
        &mut self,
        parsed: &Parsed,
        lsn: i64,
        index: usize,
        tail: &Tail,
        known: i64,
        most_pages: usize,
    ) -> ControlFlow<Result<(), Damage>> {
        self.active = Some(place_of(index));
        for (at, found) in &parsed.found {
            let here = lsn + *at as i64;
            if here >= tail.end {
                self.end = here;
                return ControlFlow::Break(Ok(()));
            }
            match found {
                Found::Batch { last } if *last >= tail.end => {
                    self.end = here;
                    return ControlFlow::Break(Ok(()));
                }
                _ if here < known => {}
                Found::Batch { .. } => {}
                Found::Dangling { page, id } => drop(self.dangling.insert(*page, *id)),
                Found::Page { effect, page, place } => {
                    if *effect != Effect::Link {
                        self.dangling.remove(page);
                    }
                    match usize::try_from(*page) {
                        Ok(page) if page < most_pages => self.pages.apply(*effect, page, *place),
                        _ => {
                            let what = format!("byte {} of 'db' is about page {page}, which cannot be", place.at);
                            return ControlFlow::Break(Err(what.into()));
                        }
                    }
                }
            }
        }
        self.end = parsed.end(lsn);
        ControlFlow::Continue(())
    }

    fn finish(mut self, known: i64, tail: &Tail) -> Result<Self, Damage> {
        // A batch that was cut counts as not written, and never was.
        let written = known.max(tail.start);
        if self.end < written {
            let end = self.end;
            return Err(format!("the log ends at LSN {end}, and had been written up to {written}").into());
        }
        let progress = (self.end % SEGMENT_BYTES as i64) as usize;
        if progress == 0 || !has_room(progress + 1) {
            self.active = None;
        }
        if let Some((page, id)) = self.dangling.iter().next() {
            return Err(format!("page {page} does not read: blob {id} is missing").into());
        }
        Ok(self)
    }
}

/// Whether the message at `at` had been written whole: its header is there, and so
/// is what was written after it in the same page of the kernel. Other things may
/// be there because two buffers of sled's arrive in any order.
fn is_written_around(segment: &[u8], at: usize, number: u64) -> bool {
    let page_end = (at / KERNEL_PAGE + 1) * KERNEL_PAGE;
    end_of_unread(segment, at, number)
        .is_some_and(|next| next < page_end && message(&segment[..page_end.min(segment.len())], next, number).is_some())
}

fn unread(index: usize, at: usize) -> String {
    format!("byte {} of 'db' does not read, and newer bytes lie behind it", place_of(index) + at as u64)
}

fn place_of(segment: usize) -> u64 {
    segment as u64 * SEGMENT_BYTES
}

/// The LSN of the segment that holds `lsn`.
fn floor(lsn: i64) -> i64 {
    lsn.max(0) / SEGMENT_BYTES as i64 * SEGMENT_BYTES as i64
}

/// The number of the segment that holds `lsn`, as its messages have it.
fn number(lsn: i64) -> u64 {
    lsn.max(0) as u64 / SEGMENT_BYTES
}
