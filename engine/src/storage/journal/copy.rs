//! Bringing a copy of a journal up to the journal: only what is new is copied.
//!
//! The copy has at all times a prefix of the commits. A file that it has in full
//! stays as it is, whatever the journal has made of it since; one that grows is
//! appended to, frame by frame; another one is put in its place as a whole. One
//! that is damaged is copied anew; what it was is kept beside it if the journal is
//! damaged there, too.
//!
//! *Compacted files* go without what later commits have replaced, and without
//! deletions of what files before them held. So beside a copy that has commits
//! already none is put alone: all that is new, and files of the copy that the journal
//! has compacted, are made in a directory beside, to which what stays is linked; then
//! the two directories are exchanged. Before and after that the copy is whole.

use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::super::StorageError;
use super::file::{FRAMES_AT, FileHead, Unfinished, file_name, list, sweep};
use super::frame::{Head, Kind};
use super::mend::keep_damaged;
use super::reader::{Reader, head_of, heads, missing};
use super::walk::{Step, Walk};
use super::{Dropped, Hole, first, io_error};
use crate::disk::{self, Access, open_file};

/// What is copied at once.
const PIECE_BYTES: usize = 1 << 20;

/// Where a copy is made that takes the place of another one.
pub(crate) const NEXT: &str = "journal.next";

/// How far before the end of a copy it is held against the journal.
const OVERLAP_BYTES: u64 = 1 << 20;

/// What is to be copied: found before anything is written.
pub(crate) struct Plan {
    to: PathBuf,
    steps: Vec<Copying>,
    /// The sequence behind the last commit that is copied.
    next: u64,
    holes: Vec<Hole>,
    database: [u8; 16],
    /// The copy is made beside, and takes the place of the one that is there.
    is_exchanged: bool,
}

/// Which files of the copy are read through, though they look complete.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Doubt<'a> {
    /// Those with one of these commits.
    Some(&'a [RangeInclusive<u64>]),
    All,
}

impl Doubt<'_> {
    fn is_of(self, first: u64, limit: u64) -> bool {
        match self {
            Self::Some(commits) => commits.iter().any(|some| *some.start() < limit && *some.end() >= first),
            Self::All => true,
        }
    }
}

/// What copying came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) bytes: u64,
    /// The sequence behind the last commit of the copy.
    pub(crate) next: u64,
    /// Commits that the copy lacks because the journal does.
    pub(crate) holes: Vec<Hole>,
    /// Files of the copy that were damaged and are copied anew.
    pub(crate) mended: Vec<PathBuf>,
}

enum Copying {
    /// The whole file up to `end`, in the place of one that is damaged, or of none.
    Whole { from: File, head: FileHead, end: u64, damaged: Option<Damaged> },
    /// From `start` to `end`, to a file that is there.
    Append { from: File, first: u64, start: u64, end: u64 },
}

/// A damaged file of the copy.
struct Damaged {
    path: PathBuf,
    /// It may have what the journal has not.
    is_kept: bool,
}

/// A file that was walked through.
struct Walked {
    end: u64,
    next: u64,
    holes: Vec<Hole>,
    /// See [`Journal::level`](super::Journal::level).
    level: u64,
    /// Commits were given up where it was mended.
    has_given_up: bool,
}

impl Walked {
    /// It was written anew, and nothing was lost.
    fn is_compacted(&self) -> bool {
        self.level > 0 && !self.has_given_up && self.holes.is_empty()
    }
}

/// A file of the journal.
struct Source {
    first: u64,
    path: PathBuf,
    file: File,
    head: Option<FileHead>,
    file_bytes: u64,
}

fn walk(path: &Path, file: &File, head: &FileHead, limit: Option<u64>, until: u64) -> Result<Walked, StorageError> {
    let read = |error| io_error("read", path)(error);
    let mut walk = Walk::new(file.try_clone().map_err(read)?, head, limit);
    let mut found = Walked { end: FRAMES_AT, next: head.first, holes: Vec::new(), level: 0, has_given_up: false };
    while let Some(step) = walk.step().map_err(read)? {
        if let Step::Frame { head, .. } | Step::Absent { head, .. } = &step {
            found.level = found.level.max(head.level());
            found.has_given_up |= head.kind == Kind::GivenUp;
        }
        match step {
            Step::Frame { head, .. } | Step::Absent { head, .. } if head.sequence > until => return Ok(found),
            Step::Frame { .. } | Step::Absent { .. } => {}
            Step::Hole { at, bytes, sequences } => {
                if !sequences.is_empty() && *sequences.start() <= until {
                    found.holes.push(Hole { file: path.to_owned(), offset: at, bytes, sequences });
                }
            }
        }
        (found.end, found.next) = (walk.at(), walk.expected());
    }
    // A closing frame, or one that gives commits up.
    (found.end, found.next) = (walk.at(), walk.expected());
    Ok(found)
}

impl Plan {
    /// Looks what the journal in `from` has up to the commit `until`, and `to` has
    /// not. What it has is made durable in `from` first, so that the copy never
    /// has more than that.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if they are of different databases, or the copy
    /// has commits that the journal has not or has others in the place of.
    /// [`StorageError::Io`] with [`io::ErrorKind::Unsupported`] if the journal was
    /// compacted with regard to commits behind `until`.
    pub(crate) fn new(from: &Path, to: &Path, until: u64, doubt: Doubt<'_>) -> Result<Self, StorageError> {
        let kept = first::first_kept(from)?;
        let files = heads(from)?;
        let Some(database) = files.iter().find_map(|listed| listed.head).map(|head| head.database) else {
            if files.is_empty() {
                return Err(io_error("open the journal in", from)(io::ErrorKind::NotFound.into()));
            }
            return Err(corrupt(from, "no file of the journal has a header that is whole".to_owned()));
        };
        let there = copied_up_to(to, database)?;
        if there + 1 < kept.max(1) {
            let text = format!("it begins with commit {kept}, and the copy would have to begin with {}", there + 1);
            return Err(io_error("copy the journal in", from)(Dropped(text).into()));
        }
        let (to, holes) = (to.to_owned(), Vec::new());
        let mut plan = Self { to, steps: Vec::new(), next: 1, holes, database, is_exchanged: false };
        for hole in missing(from, kept)? {
            // What the copy has, it has from before.
            let limit = hole.sequences.end().saturating_add(1);
            let copy = Copy::open(&plan.to, *hole.sequences.start())?;
            if !copy.map(|copy| copy.is_complete(None, 0, limit, true)).transpose()?.unwrap_or(false) {
                plan.holes.push(hole);
            }
        }
        let mut level = 0;
        let mut older = Vec::new();
        for (at, listed) in files.iter().enumerate() {
            // The first file also says of which database the journal is.
            if at > 0 && listed.first > until {
                break;
            }
            let limit = files.get(at + 1).map(|next| next.first);
            let path = from.join(file_name(listed.first));
            let (first, head, file_bytes) = (listed.first, listed.head, listed.file_bytes);
            let source = Source { first, path, file: listed.open()?, head, file_bytes };
            if limit.is_none() {
                source.file.sync_data().map_err(io_error("sync", &source.path))?;
            }
            let copy = Copy::open(&plan.to, first)?;
            if let (Some(copy), Some(limit)) = (&copy, limit)
                && limit <= until.saturating_add(1)
                && copy.is_complete(head.as_ref(), file_bytes, limit, doubt.is_of(first, limit))?
            {
                plan.next = limit;
                if copy.head != head {
                    older.push((source, limit));
                }
                continue;
            }
            level = level.max(plan.add(&source, copy, limit, until)?);
        }
        if there >= plan.next && until == u64::MAX {
            return Err(corrupt(&plan.to, has_more(there, plan.next - 1)));
        }
        if level > 0 && there > 0 {
            plan.is_exchanged = true;
            for (source, limit) in older {
                level = level.max(plan.replace(&source, limit)?);
            }
        }
        plan.check_level(from, until, level)
    }

    /// Whether the commits are copied that compacted files need.
    fn check_level(mut self, from: &Path, until: u64, level: u64) -> Result<Self, StorageError> {
        if level >= self.next && until < u64::MAX {
            let text = format!("it was compacted up to commit {level}, and is no more as it was at commit {until}");
            return Err(io_error("copy the journal in", from)(io::Error::new(io::ErrorKind::Unsupported, text)));
        }
        if level >= self.next {
            let file = from.join(file_name(self.next));
            self.holes.push(Hole { file, offset: 0, bytes: 0, sequences: self.next..=level });
        }
        Ok(self)
    }

    /// Plans to copy what is new of a file. Returns its level.
    fn add(
        &mut self,
        source: &Source,
        copy: Option<Copy>,
        limit: Option<u64>,
        until: u64,
    ) -> Result<u64, StorageError> {
        let Source { first, path, file, head, file_bytes } = source;
        let Some(head) = head else {
            let last = limit.map_or_else(|| super::reader::bound(*first, *file_bytes), |limit| limit - 1);
            self.holes.push(Hole { file: path.clone(), offset: 0, bytes: *file_bytes, sequences: *first..=last });
            self.next = last + 1;
            return Ok(0);
        };
        if head.database != self.database {
            return Err(corrupt(path, "it is of another database than the files before it".to_owned()));
        }
        let walked = walk(path, file, head, limit, until)?;
        self.next = walked.next;
        let to = &self.to;
        let from = || file.try_clone().map_err(io_error("open", path));
        let is_whole = walked.holes.is_empty();
        let mut lacking = None;
        let whole = |damaged: Option<Damaged>| {
            Ok(Some(Copying::Whole { from: from()?, head: *head, end: walked.end, damaged }))
        };
        let step = match copy {
            None => whole(None)?,
            Some(copy) if copy.head != Some(*head) && walked.is_compacted() => whole(None)?,
            Some(copy) if copy.head != Some(*head) => {
                // One without a header has nothing that could be read.
                let is_kept = copy.head.is_some() && (!is_whole || copy.head.map(|had| had.salt) != Some(head.salt));
                whole(Some(Damaged { path: copy.path, is_kept }))?
            }
            Some(copy) => {
                let has = copy.walked(limit)?;
                if has.next > walked.next && limit.is_none() && until == u64::MAX {
                    return Err(corrupt(to, has_more(has.next - 1, walked.next - 1)));
                }
                let end = has.end.min(walked.end);
                if !has.holes.is_empty() {
                    let (lacks, would_lack) = (lost(&has.holes), lost(&walked.holes));
                    match lacks > would_lack {
                        true => whole(Some(Damaged { path: copy.path, is_kept: !is_whole }))?,
                        false => {
                            lacking = Some(has.holes);
                            None
                        }
                    }
                } else if copy.agrees(file, end).map_err(io_error("read", &copy.path))? {
                    let (start, end) = (has.end, walked.end);
                    let is_behind = start < end || copy.file_bytes < end;
                    let step = || Ok(Copying::Append { from: from()?, first: *first, start, end });
                    is_behind.then(step).transpose()?
                } else if copy.has_the_same(file, head, path, limit)? {
                    // What fills up frames differs.
                    whole(Some(Damaged { path: copy.path, is_kept: false }))?
                } else {
                    let text = format!("its file {} has other commits than that of the database", file_name(*first));
                    return Err(corrupt(to, text));
                }
            }
        };
        self.holes.extend(lacking.unwrap_or(walked.holes));
        self.steps.extend(step);
        Ok(walked.level)
    }

    /// Plans to copy a file that the copy has as it was before it was compacted.
    /// Returns its level; one that was only damaged since stays as it is.
    fn replace(&mut self, source: &Source, limit: u64) -> Result<u64, StorageError> {
        let Some(head) = &source.head else { return Ok(0) };
        let walked = walk(&source.path, &source.file, head, Some(limit), u64::MAX)?;
        if !walked.is_compacted() {
            return Ok(0);
        }
        let from = source.file.try_clone().map_err(io_error("open", &source.path))?;
        self.steps.push(Copying::Whole { from, head: *head, end: walked.end, damaged: None });
        Ok(walked.level)
    }

    /// The database of which both are.
    pub(crate) fn database(&self) -> [u8; 16] {
        self.database
    }

    /// Copies, and returns when it is durable.
    pub(crate) fn run(self) -> Result<Copied, StorageError> {
        disk::create_private_directory(&self.to).map_err(io_error("create", &self.to))?;
        sweep(&self.to)?;
        let beside = disk::parent_of(&self.to).join(NEXT);
        remove_all(&beside)?;
        let (bytes, mended) = if self.is_exchanged {
            link_files(&self.to, &beside)?;
            let copied = copy_to(&beside, self.steps)?;
            exchange(&beside, &self.to)?;
            // It is what the copy was before.
            remove_all(&beside)?;
            copied
        } else {
            copy_to(&self.to, self.steps)?
        };
        Ok(Copied { bytes, next: self.next, holes: self.holes, mended })
    }
}

/// Makes the files of a copy in `to`. Returns the bytes that were written, and which
/// files were damaged.
fn copy_to(to: &Path, steps: Vec<Copying>) -> Result<(u64, Vec<PathBuf>), StorageError> {
    let (mut bytes, mut mended) = (0, Vec::new());
    for step in steps {
        match step {
            Copying::Whole { from, head, end, damaged } => {
                let made = Unfinished::create(to, &head)?;
                copy_bytes(&from, made.file(), FRAMES_AT, end).map_err(io_error("write", made.temporary()))?;
                if damaged.as_ref().is_some_and(|damaged| damaged.is_kept) {
                    keep_damaged(&to.join(file_name(head.first)))?;
                }
                made.finish()?;
                mended.extend(damaged.map(|damaged| damaged.path));
                bytes += end;
            }
            Copying::Append { from, first, start, end } => {
                let path = to.join(file_name(first));
                let file = open_file(&path, Access::Write).map_err(io_error("open", &path))?;
                // What was begun and not finished, so that zeros take its place.
                file.set_len(start).map_err(io_error("cut", &path))?;
                copy_bytes(&from, &file, start, end).map_err(io_error("write", &path))?;
                file.sync_all().map_err(io_error("sync", &path))?;
                bytes += end.saturating_sub(start);
            }
        }
    }
    Ok((bytes, mended))
}

/// Makes the directory `to` with the files of `from`: the same ones, where the file
/// system can link them.
fn link_files(from: &Path, to: &Path) -> Result<(), StorageError> {
    disk::create_private_directory(to).map_err(io_error("create", to))?;
    for entry in fs::read_dir(from).map_err(io_error("list", from))? {
        let entry = entry.map_err(io_error("list", from))?;
        let (old, new) = (entry.path(), to.join(entry.file_name()));
        if fs::hard_link(&old, &new).is_err() {
            fs::copy(&old, &new).map_err(io_error("copy", &old))?;
            open_file(&new, Access::Write).and_then(|file| file.sync_all()).map_err(io_error("sync", &new))?;
        }
    }
    disk::sync_directory(to).map_err(io_error("sync", to))
}

/// Gives each of two directories the name of the other, at once where the file
/// system can.
fn exchange(new: &Path, old: &Path) -> Result<(), StorageError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            let aside = old.with_extension("aside-1");
            remove_all(&aside)?;
            fs::rename(old, &aside).map_err(io_error("rename", old))?;
            fs::rename(new, old).map_err(io_error("rename", new))?;
            remove_all(&aside)?;
        }
        Err(error) => return Err(io_error("exchange", new)(error.into())),
    }
    let parent = disk::parent_of(old);
    disk::sync_directory(parent).map_err(io_error("sync", parent))
}

fn remove_all(dir: &Path) -> Result<(), StorageError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", dir)(error)),
        _ => Ok(()),
    }
}

fn corrupt(path: &Path, detail: String) -> StorageError {
    StorageError::Corrupt { path: path.to_owned(), detail }
}

/// The commits in holes.
fn lost(holes: &[Hole]) -> u64 {
    holes.iter().map(|hole| hole.sequences.end().saturating_sub(*hole.sequences.start()).saturating_add(1)).sum()
}

/// The database of a journal, and its generation; nothing if there is none that
/// says it.
pub(crate) fn generation(dir: &Path) -> Result<Option<([u8; 16], u32)>, StorageError> {
    match Reader::new(dir, u64::MAX) {
        Ok(reader) => Ok(reader.database().map(|database| (database, reader.generation()))),
        Err(StorageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

fn has_more(copy: u64, journal: u64) -> String {
    format!("it has commits up to {copy}, and the database has them up to {journal}: the database was set back")
}

/// The last commit that a copy has; 0 for none. Refuses one of another database.
fn copied_up_to(to: &Path, database: [u8; 16]) -> Result<u64, StorageError> {
    let files = match list(to) {
        Err(StorageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(0),
        files => files?,
    };
    for first in files.iter().rev() {
        let Some(copy) = Copy::open(to, *first)? else { continue };
        match copy.head {
            Some(head) if head.database != database => {
                return Err(corrupt(to, "it is of another database".to_owned()));
            }
            Some(_) => return Ok(copy.walked(None)?.next - 1),
            // It is copied anew.
            None => {}
        }
    }
    Ok(0)
}

/// A file of the copy.
struct Copy {
    path: PathBuf,
    file: File,
    head: Option<FileHead>,
    file_bytes: u64,
}

impl Copy {
    fn open(to: &Path, first: u64) -> Result<Option<Self>, StorageError> {
        let path = to.join(file_name(first));
        let file = match open_file(&path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        let (head, file_bytes) = head_of(&file, first).map_err(io_error("read", &path))?;
        Ok(Some(Self { path, file, head, file_bytes }))
    }

    /// Whether it has all commits before `limit`. One that is as long as the file
    /// that it is a copy of has, without being looked through, unless it `is_doubted`.
    fn is_complete(
        &self,
        of: Option<&FileHead>,
        of_bytes: u64,
        limit: u64,
        is_doubted: bool,
    ) -> Result<bool, StorageError> {
        let Some(head) = &self.head else { return Ok(false) };
        if of == Some(head) && self.file_bytes == of_bytes && !is_doubted {
            return Ok(true);
        }
        let found = walk(&self.path, &self.file, head, Some(limit), u64::MAX)?;
        Ok(found.holes.is_empty())
    }

    /// Its frames, up to its torn tail if no file follows it.
    fn walked(&self, limit: Option<u64>) -> Result<Walked, StorageError> {
        match &self.head {
            Some(head) => walk(&self.path, &self.file, head, limit, u64::MAX),
            None => Ok(Walked { end: FRAMES_AT, next: 1, holes: Vec::new(), level: 0, has_given_up: false }),
        }
    }

    /// Whether another file of this header has the same commits, as far as both go.
    fn has_the_same(
        &self,
        other: &File,
        head: &FileHead,
        path: &Path,
        limit: Option<u64>,
    ) -> Result<bool, StorageError> {
        let mut heads = [Vec::new(), Vec::new()];
        for (found, (file, path)) in heads.iter_mut().zip([(&self.file, &*self.path), (other, path)]) {
            let read = |error| io_error("read", path)(error);
            let mut walk = Walk::new(file.try_clone().map_err(read)?, head, limit);
            while let Some(step) = walk.step().map_err(read)? {
                if let Step::Frame { head: Head { sequence, body_bytes, body_crc, .. }, .. } = step {
                    found.push((sequence, body_bytes, body_crc));
                }
            }
        }
        let [here, there] = heads;
        Ok(here.iter().zip(&there).all(|(one, two)| one == two))
    }

    /// Whether it is the same as another file before `end`, as far as it is looked.
    fn agrees(&self, other: &File, end: u64) -> io::Result<bool> {
        // What fills up the last frame may be cut.
        let end = end.min(self.file_bytes).min(other.metadata()?.len());
        let mut at = end.saturating_sub(OVERLAP_BYTES).max(FRAMES_AT);
        let (mut one, mut two) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
        while at < end {
            let n = usize::try_from(end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            self.file.read_exact_at(&mut one[..n], at)?;
            other.read_exact_at(&mut two[..n], at)?;
            if one[..n] != two[..n] {
                return Ok(false);
            }
            at += n as u64;
        }
        Ok(true)
    }
}

fn copy_bytes(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    let mut at = start;
    to.set_len(end)?;
    // What fills up the last frame may be cut.
    let end = end.min(from.metadata()?.len());
    let mut piece = vec![0; PIECE_BYTES];
    while at < end {
        let n = usize::try_from(end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        from.read_exact_at(&mut piece[..n], at)?;
        to.write_all_at(&piece[..n], at)?;
        at += n as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::super::Change;
    use super::super::{Journal, JournalOptions, Piece, read};
    use super::*;

    fn options() -> JournalOptions {
        JournalOptions { file_bytes: 16 << 10, ..JournalOptions::default() }
    }

    fn put(n: u64) -> Vec<Change> {
        vec![(n.to_be_bytes().to_vec(), Some(vec![n as u8; 40 + (n % 7) as usize]))]
    }

    fn sequences(dir: &Path) -> Vec<u64> {
        let pieces = read(dir, 1).unwrap().map(|piece| match piece.unwrap() {
            Piece::Frame { sequence, changes } => {
                assert_eq!(changes, put(sequence));
                sequence
            }
            Piece::Hole(hole) => panic!("{hole:?}"),
        });
        pieces.collect()
    }

    fn copy(from: &Path, to: &Path) -> Result<Copied, StorageError> {
        Plan::new(from, to, u64::MAX, Doubt::Some(&[]))?.run()
    }

    #[test]
    fn a_copy_grows_with_the_journal_and_copies_only_what_is_new() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let mut journal = Journal::create(&from, [1; 16], options()).unwrap();
        let mut written = 0;
        for round in 0..40_u64 {
            for _ in 0..round * 7 % 60 {
                written += 1;
                journal.append(&put(written)).unwrap();
            }
            if round % 9 == 4 {
                journal.close().unwrap();
            }
            let copied = copy(&from, &to).unwrap();
            assert_eq!((copied.next, &copied.holes), (written + 1, &Vec::new()));
            assert_eq!(sequences(&to), (1..=written).collect::<Vec<_>>());
            assert_eq!(copy(&from, &to).unwrap().bytes, 0);
            if round % 9 == 4 {
                journal = Journal::open(&from, options()).unwrap().0;
            }
        }
        assert!(list(&to).unwrap().len() > 3);
        // An end that was begun and not finished is written over.
        let last = to.join(file_name(*list(&to).unwrap().last().unwrap()));
        for cut in [1, 20, 33, 90] {
            let bytes = fs::read(&last).unwrap();
            fs::write(&last, &bytes[..bytes.len() - cut]).unwrap();
            copy(&from, &to).unwrap();
            assert!(fs::read(&last).unwrap() == bytes, "cut by {cut}");
        }
        // A file of the journal that was mended since, or is damaged: the copy has
        // what it had.
        let first = from.join(file_name(1));
        let bytes = fs::read(&first).unwrap();
        fs::write(&first, &bytes[..bytes.len() / 2]).unwrap();
        let copied = copy(&from, &to).unwrap();
        assert_eq!((copied.bytes, copied.holes), (0, Vec::new()));
        assert_eq!(sequences(&to), (1..=written).collect::<Vec<_>>());
        // A damaged file of the copy is copied anew.
        fs::write(&first, &bytes).unwrap();
        fs::write(to.join(file_name(1)), &bytes[..bytes.len() / 2]).unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(sequences(&to), (1..=written).collect::<Vec<_>>());
        // One that is as long as it was is read if that is asked for, or if it is
        // known to lack something.
        let damaged = to.join(file_name(1));
        for doubt in [Doubt::All, Doubt::Some(&[2..=2])] {
            let mut flipped = bytes.clone();
            flipped[bytes.len() / 2] ^= 1;
            fs::write(&damaged, &flipped).unwrap();
            assert_eq!(copy(&from, &to).unwrap().mended, Vec::<PathBuf>::new());
            let copied = Plan::new(&from, &to, u64::MAX, doubt).unwrap().run().unwrap();
            assert_eq!((copied.mended, copied.holes), (vec![damaged.clone()], Vec::new()), "{doubt:?}");
            assert!(fs::read(&damaged).unwrap() == bytes);
        }
    }

    #[test]
    fn a_part_can_be_copied() {
        let directory = tempfile::tempdir().unwrap();
        let from = directory.path().join("from");
        let journal = Journal::create(&from, [1; 16], options()).unwrap();
        (1..=400).for_each(|n| assert_eq!(journal.append(&put(n)).unwrap(), n));
        for until in [0, 1, 2, 100, 150, 399, 400, 500] {
            let to = directory.path().join(format!("to-{until}"));
            let copied = Plan::new(&from, &to, until, Doubt::Some(&[])).unwrap().run().unwrap();
            assert_eq!(copied.next, until.min(400) + 1);
            assert_eq!(sequences(&to), (1..=until.min(400)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_copy_of_another_journal_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let one = Journal::create(&at("one"), [1; 16], options()).unwrap();
        let other = Journal::create(&at("other"), [2; 16], options()).unwrap();
        one.append(&put(1)).unwrap();
        other.append(&put(1)).unwrap();
        copy(&at("one"), &at("to")).unwrap();
        let error = copy(&at("other"), &at("to")).unwrap_err();
        assert!(error.to_string().contains("another database"), "{error}");
        // Set back: the copy has what the journal has no more.
        let last = fs::read(at("one").join(file_name(1))).unwrap();
        one.append(&put(2)).unwrap();
        copy(&at("one"), &at("to")).unwrap();
        fs::write(at("one").join(file_name(1)), last).unwrap();
        let error = copy(&at("one"), &at("to")).unwrap_err();
        assert!(error.to_string().contains("set back"), "{error}");
        assert_eq!(sequences(&at("to")), [1, 2]);
        // It went on otherwise.
        let (one, _) = Journal::open(&at("one"), options()).unwrap();
        one.append(&[(b"other".to_vec(), None)]).unwrap();
        one.append(&[(b"other".to_vec(), None)]).unwrap();
        let error = copy(&at("one"), &at("to")).unwrap_err();
        assert!(error.to_string().contains("other commits"), "{error}");
        assert_eq!(sequences(&at("to")), [1, 2]);
    }
}
