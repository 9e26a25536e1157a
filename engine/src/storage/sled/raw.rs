//! The rows in sled's log, read without regard for what holds it together.
//!
//! Every message that is whole counts, wherever it lies: in segments whose header
//! does not read, behind places that do not, in what sled had already given up.
//! They are gone through in the order in which they were written, so that the
//! newest that is left of a row comes last.
//!
//! ```text
//! page     [v] next [v] [1] [1] length of the prefix
//!          [v n] its first key, the prefix first  [v n] the key behind its last
//!          [1] 0 rows, 1 pages below  [v] how many
//!          [v n] each key without the prefix  [v n] each value
//! change   [1] 0 put: [v n] key without the prefix [v n] value
//!              1 delete: [v n] key without the prefix
//! ```

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::super::StorageError;
use super::fault::io_error;
use super::groups::{self, Grouped};
use super::journal::read_journal_row;
use super::log::{
    Blob, Effect, HEADER_BYTES, Header, Message, SEGMENT_BYTES, check_blob, message, next_message, number_of,
    read_up_to, varint,
};
use crate::disk::{Access, open_file};

/// The largest blob that is read: a page that a few rows fill.
const MOST_BLOB_BYTES: u64 = 64 << 20;

/// A message that is whole.
struct Found {
    lsn: u64,
    at: u64,
}

/// Takes a row, or that one was deleted.
pub(crate) type Take<'t, E> = dyn FnMut(Vec<u8>, Option<Vec<u8>>) -> Result<(), E> + 't;

/// Gives every row that is left in the log of `store`, the newest of each key
/// last. Nothing is locked and nothing changed; no store is one without rows.
///
/// Of rows that may lie in groups nobody can say whether they were deleted or moved:
/// they count as moved.
pub(crate) fn rows<E: From<StorageError>>(
    store: &Path,
    grouped: Option<Grouped>,
    take: &mut Take<'_, E>,
) -> Result<(), E> {
    let take: &mut Take<'_, E> = &mut |key: Vec<u8>, value: Option<Vec<u8>>| {
        let Some(grouped) = grouped.filter(|grouped| grouped.takes(&key) || grouped.is_group(&key)) else {
            return take(key, value);
        };
        match value {
            Some(value) if grouped.is_group(&key) => {
                let rows = groups::rows_of(&key, &value).unwrap_or_default();
                rows.into_iter().try_for_each(|(key, value)| take(key, Some(value.to_vec())))
            }
            Some(value) => take(key, Some(value)),
            None => Ok(()),
        }
    };
    let path = store.join("db");
    let file = match open_file(&path, Access::Read) {
        Ok(file) => file,
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(problem) => return Err(io_error("open", &path)(problem).into()),
    };
    let read = || io_error("read", &path);
    let mut found = messages(&file).map_err(read())?;
    found.sort_unstable_by_key(|found| found.lsn);
    // A change may be left of a page that is whole only later.
    let mut prefixes: HashMap<u64, Vec<u8>> = HashMap::new();
    read_each(store, &file, &found, |effect, page, body| {
        if let (Effect::Replace, Some(node)) = (effect, Node::decode(body)) {
            prefixes.entry(page).or_insert_with(|| node.prefix.to_vec());
        }
        Ok::<(), E>(())
    })?;
    let mut are_whole: HashSet<u64> = HashSet::new();
    read_each(store, &file, &found, |effect, page, body| {
        match effect {
            Effect::Free => {}
            Effect::Replace => {
                if let Some(node) = Node::decode(body) {
                    for (key, value) in &node.rows {
                        give([node.prefix, key].concat(), Some(value.to_vec()), take)?;
                    }
                    prefixes.insert(page, node.prefix.to_vec());
                    are_whole.insert(page);
                }
            }
            Effect::Link => {
                let (Some((key, value)), Some(prefix)) = (change(body), prefixes.get(&page)) else { return Ok(()) };
                let is_whole = are_whole.contains(&page);
                let prefix = if is_whole { prefix } else { guessed_prefix(prefix, key) };
                if value.is_some() || is_whole {
                    give([prefix, key].concat(), value.map(<[u8]>::to_vec), take)?;
                }
            }
        }
        Ok(())
    })
}

/// With which prefix a key was written whose page is whole only later, with `later`. A
/// page gets a longer one when it is split. So a key that begins like `later` is taken
/// for one that was written without: what is left of a key behind its prefix begins so
/// by chance only.
fn guessed_prefix<'p>(later: &'p [u8], key: &[u8]) -> &'p [u8] {
    const TELLING_BYTES: usize = 4;
    let alike = later.iter().zip(key).take_while(|(one, other)| one == other).count();
    if alike >= later.len().min(TELLING_BYTES) { &[] } else { later }
}

/// Reads messages, and gives what they do with which page.
fn read_each<E: From<StorageError>>(
    store: &Path,
    file: &File,
    found: &[Found],
    mut act: impl FnMut(Effect, u64, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let log = store.join("db");
    let mut buffer = vec![0; SEGMENT_BYTES as usize];
    let mut segment: (u64, &[u8]) = (u64::MAX, &[]);
    for Found { lsn, at } in found {
        let place = at / SEGMENT_BYTES * SEGMENT_BYTES;
        if segment.0 != place {
            segment = (place, read_up_to(file, &mut buffer, place).map_err(io_error("read", &log))?);
        }
        let found = message(segment.1, (at - place) as usize, lsn / SEGMENT_BYTES);
        let Some((Message::Page { effect, kind, page, blob, body }, _)) = found else {
            continue;
        };
        if !blob {
            act(effect, page, body)?;
            continue;
        }
        let id = i64::from_le_bytes(body.try_into().expect("the name of a blob has eight bytes"));
        if let Some(body) = blob_body(store, id, kind).map_err(io_error("read", &store.join("blobs")))? {
            act(effect, page, &body)?;
        }
    }
    Ok(())
}

/// Passes a row on. The row of the empty key is a commit on its way to its rows.
fn give<E>(key: Vec<u8>, value: Option<Vec<u8>>, take: &mut Take<'_, E>) -> Result<(), E> {
    if !key.is_empty() {
        return take(key, value);
    }
    for (key, value) in value.and_then(|value| read_journal_row(&value)).unwrap_or_default() {
        take(key, value)?;
    }
    Ok(())
}

/// All messages about pages that are whole.
fn messages(file: &File) -> io::Result<Vec<Found>> {
    let length = file.metadata()?.len();
    let mut found = Vec::new();
    let mut buffer = vec![0; SEGMENT_BYTES as usize];
    for at in (0..length).step_by(SEGMENT_BYTES as usize) {
        let segment = read_up_to(file, &mut buffer, at)?;
        let mut number = match segment.first_chunk().map(Header::read) {
            Some(Header::Used { lsn, .. }) => lsn as u64 / SEGMENT_BYTES,
            _ => 0,
        };
        let mut next = HEADER_BYTES;
        while next < segment.len() {
            if let Some((whole, behind)) = message(segment, next, number) {
                if matches!(whole, Message::Page { .. }) {
                    found.push(Found { lsn: number * SEGMENT_BYTES + next as u64, at: at + next as u64 });
                }
                next = behind;
            } else if let Some(place) = next_message(segment, next, |_| true) {
                number = number_of(segment, place).expect("there is a message");
                next = place;
            } else {
                break;
            }
        }
    }
    Ok(found)
}

/// What a blob holds, if it is whole.
fn blob_body(store: &Path, id: i64, kind: u8) -> io::Result<Option<Vec<u8>>> {
    if check_blob(store, id, Some(kind))? != Blob::Whole {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = open_file(&store.join("blobs").join(id.to_string()), Access::Read)?;
    file.take(MOST_BLOB_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(bytes.split_off(bytes.len().min(5))))
}

/// A page that holds rows.
struct Node<'a> {
    prefix: &'a [u8],
    rows: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Node<'a> {
    /// `None` if it is none, or one above others.
    fn decode(mut bytes: &'a [u8]) -> Option<Self> {
        varint(&mut bytes)?;
        varint(&mut bytes)?;
        let [_, prefix] = *bytes.split_off(..2)?.first_chunk::<2>()?;
        let first = text(&mut bytes)?;
        text(&mut bytes)?;
        let prefix = first.get(..usize::from(prefix))?;
        if *bytes.split_off_first()? != 0 {
            return None;
        }
        let count = usize::try_from(varint(&mut bytes)?).ok().filter(|count| *count <= bytes.len())?;
        let keys: Vec<_> = (0..count).map(|_| text(&mut bytes)).collect::<Option<_>>()?;
        let rows = keys.into_iter().map(|key| Some((key, text(&mut bytes)?))).collect::<Option<_>>()?;
        bytes.is_empty().then_some(Self { prefix, rows })
    }
}

/// A row that a change puts, or deletes; others are about pages.
fn change(mut bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let kind = *bytes.split_off_first()?;
    let key = text(&mut bytes)?;
    match kind {
        0 => Some((key, Some(text(&mut bytes)?))),
        1 => Some((key, None)),
        _ => None,
    }
}

/// Bytes behind their length.
fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    bytes.split_off(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_begins_as_its_page_does_later_is_whole() {
        let whole = *b"L\0\0\0\0\0\0\0\x7e";
        assert_eq!(guessed_prefix(b"L\0\0\0\0\0\0\0", &whole), b"");
        // It went to the other page when this one was split.
        assert_eq!(guessed_prefix(b"L\0\0\0\0\0\0\0", b"L\0\0\0\0\0\0\x01\x05"), b"");
        assert_eq!(guessed_prefix(b"L\0\0\0\0\0\0\0", b"\x7e"), b"L\0\0\0\0\0\0\0");
        assert_eq!(guessed_prefix(b"L\0\0\0\0\0\0\0", b"L"), b"L\0\0\0\0\0\0\0");
        assert_eq!(guessed_prefix(b"", b"L"), b"");
    }
}
