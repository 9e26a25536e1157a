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

mod steps;
#[cfg(test)]
mod tests;
mod there;

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::super::StorageError;
use super::file::{FileHead, file_name, sweep};
use super::reader::{Reader, heads, missing};
use super::{Dropped, Hole, first, io_error};
use crate::disk;
use steps::{Copying, Damaged, copy_to, exchange, link_files, remove_all};
use there::{Copy, copied_up_to, walk};

/// What is copied at once.
const PIECE_BYTES: usize = 1 << 20;

/// Where a copy is made that takes the place of another one.
pub(crate) const NEXT: &str = "journal.next";

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

/// A file of the journal.
struct Source {
    first: u64,
    path: PathBuf,
    file: File,
    head: Option<FileHead>,
    file_bytes: u64,
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
