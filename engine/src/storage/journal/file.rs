//! A file of the journal: its name, its header, and where its frames begin.
//!
//! ```text
//! 0     [64]  header
//! 64          zeros
//! 4096  [64]  the header again
//! 4160        frames
//! ```
//!
//! ```text
//! [8]  "thingjnl"                                          header, 64 bytes
//! [4]  version 1
//! [4]  generation
//! [16] id of the database
//! [8]  salt, random for each file
//! [8]  first sequence, also its name, in 20 digits
//! [8]  first sequence of the file before, 0 if there was none
//! [4]  zeros
//! [4]  CRC-32C of the 60 bytes before
//! ```
//!
//! A *generation* begins where the journal goes on from what the store has, because
//! commits were lost: it gives sequences to commits that had others before.
//!
//! Integers are little-endian. A file appears under its name with its header in
//! it: it is made under another name. So one without a header is damaged.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::super::StorageError;
use super::{KEEP, first, io_error};
use crate::disk::{Access, of_temporary, open_file, sync_directory};

const MAGIC: &[u8; 8] = b"thingjnl";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const COPY_AT: u64 = 4096;

/// Where the first frame begins.
pub(super) const FRAMES_AT: u64 = COPY_AT + HEADER_BYTES as u64;

/// What the header of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHead {
    pub(super) generation: u32,
    pub(super) database: [u8; 16],
    pub(super) salt: [u8; 8],
    pub(super) first: u64,
    /// The first sequence of the file before; 0 if there was none.
    pub(super) previous: u64,
}

impl FileHead {
    /// What the checksums of the headers of frames begin with.
    pub(super) fn seed(&self) -> u32 {
        crc32c::crc32c(&self.salt)
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.generation.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.database);
        bytes[32..40].copy_from_slice(&self.salt);
        bytes[40..48].copy_from_slice(&self.first.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.previous.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(&VERSION.to_le_bytes())?;
        let (generation, rest) = rest.split_first_chunk()?;
        let (database, rest) = rest.split_first_chunk()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (first, rest) = rest.split_first_chunk()?;
        let (previous, rest) = rest.split_first_chunk()?;
        let (crc, _) = rest.strip_prefix(&[0; 4])?.split_first_chunk()?;
        (crc32c::crc32c(&bytes[..60]) == u32::from_le_bytes(*crc)).then_some(Self {
            generation: u32::from_le_bytes(*generation),
            database: *database,
            salt: *salt,
            first: u64::from_le_bytes(*first),
            previous: u64::from_le_bytes(*previous),
        })
    }

    /// Reads the header, or its copy; `None` if neither is whole.
    pub(crate) fn read(file: &File) -> io::Result<Option<Self>> {
        for at in [0, COPY_AT] {
            let mut bytes = [0; HEADER_BYTES];
            match file.read_exact_at(&mut bytes, at) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                Err(error) => return Err(error),
            }
            if let Some(head) = Self::decode(&bytes) {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    /// Writes the header and its copy.
    pub(super) fn write(&self, file: &File) -> io::Result<()> {
        let mut bytes = vec![0; usize::try_from(FRAMES_AT).expect("a few KiB")];
        let copy = bytes.len() - HEADER_BYTES;
        bytes[..HEADER_BYTES].copy_from_slice(&self.encode());
        bytes[copy..].copy_from_slice(&self.encode());
        file.write_all_at(&bytes, 0)
    }
}

pub(super) fn file_name(first: u64) -> String {
    format!("{first:020}")
}

/// The first sequence in the name of a journal file.
pub(crate) fn first_of_name(name: &str) -> Option<u64> {
    (name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.parse().ok()).flatten()
}

/// The first sequences of the files in the directory of a journal, growing.
pub(super) fn list(dir: &Path) -> Result<Vec<u64>, StorageError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
        let name = entry.map_err(io_error("list", dir))?.file_name();
        found.extend(name.to_str().and_then(first_of_name));
    }
    found.sort_unstable();
    Ok(found)
}

/// A file that is being made, under another name until [`Unfinished::finish`].
pub(super) struct Unfinished {
    temporary: PathBuf,
    path: PathBuf,
    file: Option<File>,
}

impl Unfinished {
    pub(super) fn create(dir: &Path, head: &FileHead) -> Result<Self, StorageError> {
        let name = file_name(head.first);
        let (temporary, path) = (dir.join(format!(".{name}.new")), dir.join(name));
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &temporary)(error));
            }
            _ => {}
        }
        let file = open_file(&temporary, Access::Create).map_err(io_error("create", &temporary))?;
        let made = Self { temporary, path, file: Some(file) };
        head.write(made.file()).map_err(io_error("write", &made.temporary))?;
        Ok(made)
    }

    pub(super) fn file(&self) -> &File {
        self.file.as_ref().expect("it is taken by `finish` only")
    }

    /// Where it is until it is finished.
    pub(super) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Makes it durable and gives it its name, whatever lies there.
    pub(super) fn finish(mut self) -> Result<File, StorageError> {
        self.file().sync_all().map_err(io_error("sync", &self.temporary))?;
        fs::rename(&self.temporary, &self.path).map_err(io_error("rename", &self.temporary))?;
        let file = self.file.take().expect("it is taken here only");
        let dir = crate::disk::parent_of(&self.path);
        sync_directory(dir).map_err(io_error("sync", dir))?;
        Ok(file)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.file.is_some() {
            // What is left is swept by the next opening.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Whether a name is that of a file in the directory of a journal that was not
/// finished.
pub(crate) fn is_unfinished(name: &str) -> bool {
    if let Some(of) = of_temporary(name) {
        return of == first::FILE || of == KEEP;
    }
    let inner = name.strip_prefix('.').and_then(|name| name.strip_suffix(".new"));
    inner.and_then(first_of_name).is_some()
}

/// Removes what was being made when an earlier process ended.
pub(super) fn sweep(dir: &Path) -> Result<(), StorageError> {
    for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
        let entry = entry.map_err(io_error("list", dir))?;
        if entry.file_name().to_str().is_some_and(is_unfinished) {
            fs::remove_file(entry.path()).map_err(io_error("remove", &entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_two_headers_is_enough() {
        let directory = tempfile::tempdir().unwrap();
        let head = FileHead { generation: 5, database: [7; 16], salt: [9; 8], first: 12, previous: 3 };
        let path = directory.path().join("file");
        let file = File::create_new(&path).unwrap();
        let file_read = File::open(&path).unwrap();
        head.write(&file).unwrap();
        assert_eq!(FileHead::read(&file_read).unwrap(), Some(head));
        for bit in 0..HEADER_BYTES as u64 * 8 {
            for at in [0, COPY_AT] {
                head.write(&file).unwrap();
                let at = at + bit / 8;
                let mut byte = [0];
                file_read.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ (1 << (bit % 8))], at).unwrap();
                assert_eq!(FileHead::read(&file_read).unwrap(), Some(head));
            }
            let mut flipped = head.encode();
            flipped[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
            assert_eq!(FileHead::decode(&flipped), None, "bit {bit}");
        }
        file.set_len(0).unwrap();
        assert_eq!(FileHead::read(&file_read).unwrap(), None);
    }

    #[test]
    fn names_are_twenty_digits() {
        assert_eq!(first_of_name(&file_name(1)), Some(1));
        assert_eq!(first_of_name(&file_name(u64::MAX)), Some(u64::MAX));
        for name in ["1", "000000000000000000010", "-0000000000000000001", "99999999999999999999", "first"] {
            assert_eq!(first_of_name(name), None, "{name}");
        }
        for name in [".00000000000000000001.new", ".first.12.0.new", ".keep.12.3.new"] {
            assert!(is_unfinished(name), "{name}");
        }
        assert!(!is_unfinished(".1.new") && !is_unfinished("00000000000000000001"));
    }
}
