//! Where sled's pages are in its log: what a snapshot of it says, and what the
//! log behind it changes.
//!
//! ```text
//! snap.LSN   [8] LSN of what is not in it any more, LE, raised by one; 0 for none
//!            [v] place of the segment that was being written, raised by one; 0 for none
//!            for each page, by its number:
//!              [1] 0: given up; n: a replacement and n - 1 changes; for each of them
//!                  [8] LSN  [1] 0 in the log, 1 in a blob  [v] place in `db`
//!                  [8] name of the blob (in a blob only)  [v] size (not if given up)
//!            [8] length of what precedes  [4] its CRC-32
//! ```

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;

use super::files::names_in;
use super::log::{Effect, varint};
use crate::disk::{Access, open_file};

/// What begins the name of a snapshot.
pub(super) const SNAPSHOT: &str = "snap.";

/// The end of the name of a snapshot that is not finished.
pub(super) const UNFINISHED: &str = ".generating";

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) lsn: i64,
    /// The offset in `db`.
    pub(super) at: u64,
    /// The name of the blob that it refers to.
    pub(super) blob: Option<i64>,
}

/// Where a page is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Nothing is known of it.
    Missing,
    Free(Place),
    Present {
        base: Place,
        changes: Vec<Place>,
    },
}

/// All pages, by their numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pages(pub(super) Vec<Page>);

impl Pages {
    /// What sled makes of a message.
    pub(super) fn apply(&mut self, effect: Effect, page: usize, place: Place) {
        let is_new = page >= self.0.len();
        if is_new {
            self.0.resize(page + 1, Page::Missing);
        }
        match effect {
            Effect::Replace => self.0[page] = Page::Present { base: place, changes: Vec::new() },
            Effect::Free => self.0[page] = Page::Free(place),
            Effect::Link => match &mut self.0[page] {
                Page::Present { base, changes } if changes.last().unwrap_or(base).lsn < place.lsn => {
                    changes.push(place);
                }
                // Its replacement stands further on in the log.
                _ if is_new => drop(self.0.pop()),
                _ => {}
            },
        }
    }

    /// The first page of which nothing is known.
    pub(super) fn missing(&self) -> Option<usize> {
        self.0.iter().position(|page| *page == Page::Missing)
    }

    /// Every place that is referred to, with the number of its page.
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, Place)> {
        self.0.iter().enumerate().flat_map(|(number, page)| {
            let (first, more) = match page {
                Page::Missing => (None, &[][..]),
                Page::Free(place) => (Some(*place), &[][..]),
                Page::Present { base, changes } => (Some(*base), &changes[..]),
            };
            first.into_iter().chain(more.iter().copied()).map(move |place| (number, place))
        })
    }
}

/// What sled keeps so that it need not read the whole log.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// What has a smaller LSN is in the pages.
    pub(super) lsn: Option<i64>,
    /// The place of the segment that was being written.
    pub(super) active: Option<u64>,
    pub(super) pages: Pages,
}

impl Snapshot {
    /// The snapshot in a file's bytes.
    pub(super) fn decode(file: &[u8]) -> Option<Self> {
        let (rest, crc) = file.split_last_chunk::<4>()?;
        let (bytes, length) = rest.split_last_chunk::<8>()?;
        if bytes.is_empty()
            || crc32fast::hash(bytes) != u32::from_le_bytes(*crc)
            || u64::from_le_bytes(*length) != bytes.len() as u64
        {
            return None;
        }
        let mut rest = bytes;
        let lsn = match lsn(&mut rest)? {
            0 => None,
            raised if raised > 0 => Some(raised - 1),
            _ => return None,
        };
        let active = varint(&mut rest)?.checked_sub(1);
        let mut pages = Vec::new();
        while let Some(count) = rest.split_off_first() {
            pages.push(match count {
                0 => Page::Free(place(&mut rest)?),
                count => {
                    let base = present(&mut rest)?;
                    let changes = (1..*count).map(|_| present(&mut rest)).collect::<Option<_>>()?;
                    Page::Present { base, changes }
                }
            });
        }
        Some(Self { lsn, active, pages: Pages(pages) })
    }
}

fn lsn(bytes: &mut &[u8]) -> Option<i64> {
    let (lsn, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(i64::from_le_bytes(*lsn))
}

fn place(bytes: &mut &[u8]) -> Option<Place> {
    let lsn = lsn(bytes)?;
    let kind = *bytes.split_off_first()?;
    let at = varint(bytes)?;
    let blob = match kind {
        0 => None,
        1 => Some(self::lsn(bytes)?),
        _ => return None,
    };
    Some(Place { lsn, at, blob })
}

fn present(bytes: &mut &[u8]) -> Option<Place> {
    let place = place(bytes)?;
    varint(bytes)?;
    Some(place)
}

/// The snapshot that sled would read.
#[derive(Debug)]
pub(super) enum Newest {
    /// There is none.
    None,
    /// It is not readable: without it sled reads the whole log.
    Unreadable,
    Read(Snapshot),
}

/// Reads the newest snapshot that was finished.
pub(super) fn newest_snapshot(store: &Path) -> io::Result<Newest> {
    let Some(name) = snapshot_names(store)?.into_iter().filter(|name| !is_unfinished(name)).max() else {
        return Ok(Newest::None);
    };
    let mut bytes = Vec::new();
    open_file(&store.join(name), Access::Read)?.read_to_end(&mut bytes)?;
    Ok(Snapshot::decode(&bytes).map_or(Newest::Unreadable, Newest::Read))
}

/// The names of what sled takes for snapshots.
pub(super) fn snapshot_names(store: &Path) -> io::Result<Vec<OsString>> {
    let names = names_in(store)?;
    Ok(names.into_iter().filter(|name| name.as_encoded_bytes().starts_with(SNAPSHOT.as_bytes())).collect())
}

/// Whether sled was killed while it wrote a snapshot of this name.
pub(super) fn is_unfinished(name: &OsString) -> bool {
    name.as_encoded_bytes().ends_with(UNFINISHED.as_bytes())
}
