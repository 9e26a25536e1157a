//! A ledger as static files (c2sp.org/tlog-tiles): hashes of its tree, 256 a file, and
//! its entries, of which only the ids are there.
//!
//! ```text
//! checkpoint                       the signed note
//! tile/<level>/<index>[.p/<width>]    256 hashes, or <width> at the right edge
//! tile/entries/<index>[.p/<width>]    as many ids, each behind 00 20
//! ```
//!
//! A file of 256 never changes. One of fewer stays as it is; a longer one has another
//! name.

use crate::merkle::{self, Frontier};
use crate::{EntryId, Hash};

/// Hashes, or entries, of a whole tile.
pub const WIDTH: usize = 256;

/// Bytes of an entry in a bundle: its length, and the id.
pub const ENTRY_BYTES: usize = 34;

/// Bytes of a tile of 256 hashes, and of a bundle of 256 entries.
const TILE_BYTES: u64 = (WIDTH * 32) as u64;
const BUNDLE_BYTES: u64 = (WIDTH * ENTRY_BYTES) as u64;

/// What stands before each id: 32 as a big-endian u16.
const LENGTH: [u8; 2] = [0, 32];

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Where it lies, below the directory of the ledger.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Makes the files of a ledger from its ids, in their order.
///
/// ```
/// use thingdb_format::{EntryId, tiles::Tiles};
/// let mut tiles = Tiles::default();
/// let mut files = Vec::new();
/// for n in 0..300_u16 {
///     let mut id = [0; 32];
///     id[..2].copy_from_slice(&n.to_be_bytes());
///     tiles.push(&EntryId(id), &mut files);
/// }
/// files.extend(tiles.partial());
/// let paths: Vec<&str> = files.iter().map(|tile| tile.path.as_str()).collect();
/// let whole = ["tile/entries/000", "tile/0/000"];
/// let partial = ["tile/entries/001.p/44", "tile/0/001.p/44", "tile/1/000.p/1"];
/// assert_eq!(paths, [&whole[..], &partial].concat());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Tiles {
    tree: Frontier,
    ids: Vec<EntryId>,
    /// Of each level the hashes that fill no tile yet, and how many tiles there are.
    levels: Vec<(Vec<Hash>, u64)>,
}

impl Tiles {
    /// Goes on from a ledger of this size and root, whose files are there: `read` gives
    /// those at its right edge, and of each level, and of the entries, the last one that is
    /// whole. Nothing if one is not there, or they do not lead to the root. What stands left
    /// of them is not looked at; [`whole_files`] names it.
    pub fn resume(size: u64, root: &Hash, mut read: impl FnMut(&str) -> Option<Vec<u8>>) -> Option<Self> {
        let width = WIDTH as u64;
        let mut levels = Vec::new();
        let mut left = size;
        for level in 0_u8.. {
            if left == 0 {
                break;
            }
            let (tiles, count) = (left.checked_div(width)?, usize::try_from(left.checked_rem(width)?).ok()?);
            let mut hashes = Vec::new();
            if count > 0 {
                let bytes = read(&path(&level.to_string(), tiles, count))?;
                let (found, rest) = bytes.as_chunks::<32>();
                if found.len() != count || !rest.is_empty() {
                    return None;
                }
                hashes = found.iter().copied().map(Hash).collect();
            }
            levels.push((hashes, tiles));
            left = tiles;
        }
        let (mut tree, mut height) = (merkle::Frontier::default(), u32::try_from(levels.len()).ok()?.saturating_mul(8));
        for (hashes, _) in levels.iter().rev() {
            height = height.saturating_sub(8);
            hashes.iter().for_each(|hash| tree.push_subtree(height, *hash));
        }
        let known = levels.first().map_or(&[][..], |(hashes, _)| hashes);
        let ids = match bundle_path(size.checked_div(width)?, size) {
            Some(path) => ids(&read(&path)?)?,
            None => Vec::new(),
        };
        let is_same = ids.iter().map(merkle::leaf).eq(known.iter().copied());
        let leads = is_same && tree.size() == size && tree.root() == *root && last_whole_are_good(&levels, read);
        leads.then_some(Self { tree, ids, levels })
    }

    /// Entries so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The root over the entries so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// Takes the next entry, and gives the files that are whole now.
    pub fn push(&mut self, id: &EntryId, out: &mut Vec<Tile>) {
        self.tree.push(merkle::leaf(id));
        self.ids.push(*id);
        if self.ids.len() == WIDTH {
            let index = self.levels.first().map_or(0, |(_, tiles)| *tiles);
            out.push(bundle(index, &self.ids));
            self.ids.clear();
        }
        let mut hash = merkle::leaf(id);
        for level in 0_u8.. {
            let place = usize::from(level);
            if self.levels.len() == place {
                self.levels.push((Vec::new(), 0));
            }
            let Some((hashes, tiles)) = self.levels.get_mut(place) else { return };
            hashes.push(hash);
            if hashes.len() < WIDTH {
                return;
            }
            out.push(tile(level, *tiles, hashes));
            hash = merkle::root(hashes.drain(..));
            *tiles = tiles.saturating_add(1);
        }
    }

    /// The files at the right edge, as they are at this size.
    #[must_use]
    pub fn partial(&self) -> Vec<Tile> {
        let mut out = Vec::new();
        if !self.ids.is_empty() {
            let index = self.levels.first().map_or(0, |(_, tiles)| *tiles);
            out.push(bundle(index, &self.ids));
        }
        for (level, (hashes, tiles)) in (0_u8..).zip(&self.levels) {
            if !hashes.is_empty() {
                out.push(tile(level, *tiles, hashes));
            }
        }
        out
    }
}

/// Whether the last whole tile of each level is what the level above says, and the last
/// whole bundle what its tile says.
fn last_whole_are_good(levels: &[(Vec<Hash>, u64)], mut read: impl FnMut(&str) -> Option<Vec<u8>>) -> bool {
    // The hash over the last whole tile of the level below: the last of those that fill no
    // tile, or of the last tile that is full of them.
    let mut above: Option<Hash> = None;
    let mut leaves = Vec::new();
    for (level, (hashes, tiles)) in levels.iter().enumerate().rev() {
        let mut last = None;
        if let Some(index) = tiles.checked_sub(1) {
            let Some(bytes) = read(&path(&level.to_string(), index, WIDTH)) else { return false };
            let (found, rest) = bytes.as_chunks::<32>();
            leaves = found.iter().copied().map(Hash).collect();
            if leaves.len() != WIDTH || !rest.is_empty() || Some(merkle::root(leaves.iter().copied())) != above {
                return false;
            }
            last = leaves.last().copied();
        }
        above = hashes.last().copied().or(last);
    }
    let Some(index) = levels.first().and_then(|(_, tiles)| tiles.checked_sub(1)) else { return true };
    let ids = read(&path("entries", index, WIDTH)).and_then(|bytes| ids(&bytes));
    ids.is_some_and(|ids| ids.iter().map(merkle::leaf).eq(leaves))
}

/// The files of a ledger of `size` entries that never change, with the bytes that each has:
/// the tiles of 256 hashes and the bundles of 256 entries.
pub fn whole_files(size: u64) -> impl Iterator<Item = (String, u64)> {
    let whole = |count: u64| count.checked_div(WIDTH as u64).filter(|count| *count > 0);
    let levels = std::iter::successors(whole(size), move |count| whole(*count)).zip(0_u8..);
    let tiles = levels.flat_map(|(count, level)| {
        let name = level.to_string();
        (0..count).map(move |index| (path(&name, index, WIDTH), TILE_BYTES))
    });
    let bundles = (0..whole(size).unwrap_or(0)).map(|index| (path("entries", index, WIDTH), BUNDLE_BYTES));
    tiles.chain(bundles)
}

/// Where the entries from `index × 256` on lie in a ledger of `size`; nothing if it has
/// no such.
#[must_use]
pub fn bundle_path(index: u64, size: u64) -> Option<String> {
    let width = WIDTH as u64;
    let left = size.checked_sub(index.checked_mul(width)?)?;
    let count = usize::try_from(left.min(width)).ok()?;
    (count > 0).then(|| path("entries", index, count))
}

/// The ids in a bundle.
#[must_use]
pub fn ids(bundle: &[u8]) -> Option<Vec<EntryId>> {
    let (entries, rest) = bundle.as_chunks::<ENTRY_BYTES>();
    let id = |entry: &[u8; ENTRY_BYTES]| Some(EntryId(entry.strip_prefix(&LENGTH)?.try_into().ok()?));
    if rest.is_empty() && (1..=WIDTH).contains(&entries.len()) { entries.iter().map(id).collect() } else { None }
}

fn bundle(index: u64, ids: &[EntryId]) -> Tile {
    let bytes = ids.iter().flat_map(|id| LENGTH.into_iter().chain(id.0)).collect();
    Tile { path: path("entries", index, ids.len()), bytes }
}

fn tile(level: u8, index: u64, hashes: &[Hash]) -> Tile {
    let bytes = hashes.iter().flat_map(|hash| hash.0).collect();
    Tile { path: path(&level.to_string(), index, hashes.len()), bytes }
}

/// Three digits a folder, all but the last behind an x.
fn path(level: &str, index: u64, width: usize) -> String {
    let mut name = format!("{:03}", index.checked_rem(1000).unwrap_or_default());
    let mut rest = index.checked_div(1000).unwrap_or_default();
    while rest > 0 {
        name = format!("x{:03}/{name}", rest.checked_rem(1000).unwrap_or_default());
        rest = rest.checked_div(1000).unwrap_or_default();
    }
    let partial = if width < WIDTH { format!(".p/{width}") } else { String::new() };
    format!("tile/{level}/{name}{partial}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> EntryId {
        EntryId(Hash::of(&n.to_be_bytes()).0)
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(path("1", 1_234_067, 256), "tile/1/x001/x234/067");
        assert_eq!(path("entries", 5, 7), "tile/entries/005.p/7");
        assert_eq!(bundle_path(0, 0), None);
        assert_eq!(bundle_path(1, 256), None);
        assert_eq!(bundle_path(u64::MAX, u64::MAX), None);
        assert_eq!(bundle_path(273, 70_000).unwrap(), "tile/entries/273.p/112");
    }

    #[test]
    fn a_ledger_of_70000_has_the_files_of_the_example() {
        let (mut tiles, mut files) = (Tiles::default(), Vec::new());
        (0..70_000).for_each(|n| tiles.push(&id(n), &mut files));
        let whole = |level: &str| files.iter().filter(|tile| tile.path.starts_with(level)).count();
        assert_eq!((whole("tile/0/"), whole("tile/1/"), whole("tile/2/"), whole("tile/entries/")), (273, 1, 0, 273));
        let partial: Vec<String> = tiles.partial().into_iter().map(|tile| tile.path).collect();
        let wanted = ["tile/entries/273.p/112", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"];
        assert_eq!(partial, wanted);
        assert_eq!(tiles.root(), merkle::root((0..70_000).map(|n| merkle::leaf(&id(n)))));
        for file in files.iter().filter(|tile| tile.path.starts_with("tile/entries/")).take(2) {
            assert_eq!(ids(&file.bytes).unwrap().len(), 256);
        }
    }

    #[test]
    fn it_goes_on_from_the_files_at_the_right_edge_alone() {
        let made = |from: Tiles, to: u64| {
            let (mut tiles, mut files) = (from, Vec::new());
            (tiles.size()..to).for_each(|n| tiles.push(&id(n), &mut files));
            files.extend(tiles.partial());
            (tiles, files)
        };
        for (size, end) in [(0, 3), (1, 300), (255, 256), (256, 257), (300, 66_000), (65_536, 65_537), (65_795, 65_800)]
        {
            let (whole, files) = made(Tiles::default(), size);
            let (_, later) = made(whole.clone(), end);
            // Of each level, and of the entries, the last whole one, and what is at the edge.
            let mut edge: Vec<Tile> = whole.partial();
            for level in ["entries", "0", "1", "2"] {
                let is_whole = |file: &&Tile| {
                    file.path.strip_prefix(&format!("tile/{level}/")).is_some_and(|index| !index.contains(".p/"))
                };
                edge.extend(files.iter().rfind(is_whole).cloned());
            }
            let read = |path: &str| edge.iter().find(|file| file.path == path).map(|file| file.bytes.clone());
            let again = Tiles::resume(size, &whole.root(), read).unwrap();
            assert_eq!((again.size(), again.root()), (size, whole.root()));
            assert_eq!(made(again, end).1, later, "{size}");
            assert!(files.len() >= edge.len());
            // Another root, a file that is not there, one of another content, a shorter one.
            assert!(Tiles::resume(size, &Hash([1; 32]), read).is_none());
            for gone in &edge {
                let without = |path: &str| if path == gone.path { None } else { read(path) };
                assert!(Tiles::resume(size, &whole.root(), without).is_none(), "{}", gone.path);
                let turned = |bytes: &mut Vec<u8>| bytes[5] ^= 1;
                let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1);
                for change in [&turned as &dyn Fn(&mut Vec<u8>), &cut] {
                    let changed = |path: &str| {
                        let mut bytes = read(path)?;
                        if path == gone.path {
                            change(&mut bytes);
                        }
                        Some(bytes)
                    };
                    assert!(Tiles::resume(size, &whole.root(), changed).is_none(), "{}", gone.path);
                }
            }
            // What is named as whole is just what was made so.
            let mut named: Vec<_> = whole_files(size).collect();
            let is_whole = |file: &&Tile| !file.path.contains(".p/");
            let mut there: Vec<_> =
                files.iter().filter(is_whole).map(|file| (file.path.clone(), file.bytes.len() as u64)).collect();
            named.sort();
            there.sort();
            assert_eq!(named, there, "{size}");
        }
        assert!(Tiles::resume(u64::MAX, &Hash([1; 32]), |_| None).is_none());
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        let good = bundle(0, &[id(1), id(2)]).bytes;
        assert_eq!(ids(&good).unwrap(), [id(1), id(2)]);
        for len in 0..good.len() {
            assert_eq!(ids(&good[..len]).map(|ids| ids.len()), (len == ENTRY_BYTES).then_some(1), "{len}");
        }
        assert_eq!(ids(&[0; ENTRY_BYTES]), None);
        assert_eq!(ids(&good[..ENTRY_BYTES].repeat(257)), None);
    }
}
