//! Changes on their way to their rows, and the journal that makes several of
//! them one.

use super::super::Change;
use super::trees::Trees;

pub(super) fn apply_one(rows: &sled::Tree, (key, value): &Change) -> Result<(), sled::Error> {
    match value {
        Some(value) => rows.insert(key, value.as_slice()).map(drop),
        None => rows.remove(key).map(drop),
    }
}

/// Each value is let go of when sled has its copy: together they can be as large
/// as a payload.
pub(super) fn apply_many(rows: &sled::Tree, changes: Vec<Change>) -> Result<(), sled::Error> {
    let mut batch = sled::Batch::default();
    for (key, value) in changes {
        match value {
            Some(value) => batch.insert(key, value),
            None => batch.remove(key),
        }
    }
    rows.apply_batch(batch)
}

/// The changes of a commit in one row, each as
///
/// ```text
/// [1]  1 puts, 0 deletes
/// [4]  length of the key, little-endian      [n] key
/// [4]  length of the value (not in a delete) [n] value
/// ```
pub(super) fn journal_row(changes: &[Change]) -> Vec<u8> {
    let mut row = Vec::new();
    let field = |bytes: &[u8], row: &mut Vec<u8>| {
        let length = u32::try_from(bytes.len()).expect("the journal takes small batches only");
        row.extend(length.to_le_bytes());
        row.extend(bytes);
    };
    for (key, value) in changes {
        row.push(u8::from(value.is_some()));
        field(key, &mut row);
        if let Some(value) = value {
            field(value, &mut row);
        }
    }
    row
}

/// The changes in a journal row, or `None` if it is none.
pub(super) fn read_journal_row(mut row: &[u8]) -> Option<Vec<Change>> {
    fn field(row: &mut &[u8]) -> Option<Vec<u8>> {
        let (length, rest) = row.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (bytes, rest) = rest.split_at_checked(length)?;
        *row = rest;
        Some(bytes.to_vec())
    }
    let mut changes = Vec::new();
    while let Some((kind, rest)) = row.split_first() {
        row = rest;
        let key = field(&mut row)?;
        let value = match kind {
            0 => None,
            1 => Some(field(&mut row)?),
            _ => return None,
        };
        changes.push((key, value));
    }
    Some(changes)
}

/// Repeats the commit in the journal, which a crash may have left half done.
pub(super) fn repeat_journal(trees: &Trees) -> Result<(), sled::Error> {
    let Some(row) = trees.journal.get(b"")? else {
        return Ok(());
    };
    let changes = read_journal_row(&row)
        .ok_or_else(|| sled::Error::ReportableBug(format!("the journal row of {} bytes is malformed", row.len())))?;
    for change in &changes {
        apply_one(&trees.rows, change)?;
    }
    trees.journal.remove(b"").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes() -> Vec<Change> {
        vec![(b"lamp".to_vec(), Some(b"on".to_vec())), (b"gone".to_vec(), None), (Vec::new(), Some(Vec::new()))]
    }

    #[test]
    fn a_journal_row_reads_back() {
        let row = journal_row(&changes());
        assert_eq!(read_journal_row(&row), Some(changes()));
        assert_eq!(read_journal_row(b""), Some(Vec::new()));
    }

    #[test]
    fn a_malformed_journal_row_is_none() {
        let row = journal_row(&changes());
        for end in 0..row.len() {
            // A cut between two changes leaves fewer changes, no other cut does.
            if let Some(read) = read_journal_row(&row[..end]) {
                assert!(read.len() < 3 && changes().starts_with(&read));
            }
        }
        assert_eq!(read_journal_row(&[2, 0, 0, 0, 0]), None);
        assert_eq!(read_journal_row(&[0, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
