//! The file on the disk: read within bounds, replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::KeyringError;
use super::layout::MAX_FILE_BYTES;

/// Reads a keyring file of bounded size, and its mode where there are modes.
pub(super) fn read(path: &Path) -> Result<(Vec<u8>, Option<u32>), KeyringError> {
    let refuse = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => KeyringError::NotFound { path: path.to_owned() },
        _ => KeyringError::Io { action: "read", path: path.to_owned(), source },
    };
    let damaged = |detail: String| KeyringError::Damaged { path: path.to_owned(), detail };
    // Before it is opened: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(refuse)?;
    if !metadata.is_file() {
        return Err(damaged("it is not a regular file".into()));
    }
    if metadata.len() > MAX_FILE_BYTES as u64 {
        return Err(damaged(format!("it has {} bytes, at most {MAX_FILE_BYTES} are allowed", metadata.len())));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a file that grew meanwhile is refused.
    let file = File::open(path).map_err(refuse)?;
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(refuse)?;
    Ok((bytes, mode(&metadata)))
}

#[cfg(unix)]
fn mode(metadata: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    Some(metadata.mode() & 0o777)
}

#[cfg(not(unix))]
fn mode(_metadata: &fs::Metadata) -> Option<u32> {
    None
}

/// Replaces the keyring, durably: when this returns, the new bytes survive a
/// power cut; when it fails, the file has the old bytes or the new ones.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), KeyringError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(KeyringError::Full { what: "bytes", most: MAX_FILE_BYTES });
    }
    replace_file(path, bytes, 0o600).map_err(|source| KeyringError::Io {
        action: "replace",
        path: path.to_owned(),
        source,
    })
}

// PRIVATE COPY of `disk::replace_file`, until that module is here: swap the
// call above and delete from here to the tests.

/// Where the new bytes stand until they are renamed.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

/// Writes `bytes` to a new file beside `path`, syncs it, renames it over
/// `path` and syncs the directory.
fn replace_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let tmp = temporary(path);
    // A crash may have left one; the lock on the directory says it is ours.
    match fs::remove_file(&tmp) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write_new(&tmp, bytes, mode).and_then(|()| fs::rename(&tmp, path));
    if written.is_err() {
        // Best effort: what is reported is why the write did not succeed.
        let _ = fs::remove_file(&tmp);
    }
    written?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(parent)?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
