//! The file on the disk: read within bounds, replaced as a whole.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::KeyringError;
use super::layout::MAX_FILE_BYTES;
use crate::disk::{self, Access, Foreign};

/// Where the copy of a keyring lies.
pub(super) fn copy_of(path: &Path) -> PathBuf {
    named(path, ".copy")
}

/// Moves what cannot be used out of the way, whatever it is, under a name that
/// is free: it may be all that there is of a newer keyring.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, KeyringError> {
    let free = |n: &u32| named(path, &format!(".aside-{n}"));
    let aside = (1..).map(|n| free(&n)).find(|aside| aside.symlink_metadata().is_err());
    let aside = aside.expect("there are more numbers than names in a directory");
    fs::rename(path, &aside).map_err(|source| KeyringError::Io { action: "rename", path: path.to_owned(), source })?;
    Ok(aside)
}

/// Removes what was set aside beside a keyring, but for what has no key that is to be
/// dropped from every file. Gives the names.
pub(super) fn remove_aside(path: &Path, is_clean: impl Fn(&[u8]) -> bool) -> Result<Vec<PathBuf>, KeyringError> {
    let io = |action| move |source| KeyringError::Io { action, path: path.to_owned(), source };
    let prefixes = [path.to_owned(), copy_of(path)].map(|path| named(&path, ".aside-"));
    let parent = disk::parent_of(path);
    let mut removed = Vec::new();
    for entry in fs::read_dir(parent).map_err(io("list the files beside"))? {
        let found = entry.map_err(io("list the files beside"))?.path();
        let is_aside = |prefix: &PathBuf| {
            let (name, prefix) = (found.file_name().unwrap_or_default(), prefix.file_name().unwrap_or_default());
            let number = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
            number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
        };
        if !prefixes.iter().any(is_aside) {
            continue;
        }
        let bytes = read(&found).map(|(bytes, _)| bytes);
        if !bytes.is_ok_and(|bytes| is_clean(&bytes)) {
            let gone = if found.is_dir() { fs::remove_dir_all(&found) } else { fs::remove_file(&found) };
            gone.map_err(|source| KeyringError::Io { action: "remove", path: found.clone(), source })?;
            removed.push(found);
        }
    }
    if !removed.is_empty() {
        disk::sync_directory(parent).map_err(io("sync the directory of"))?;
    }
    Ok(removed)
}

fn named(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Reads a keyring file of bounded size, and its mode where there are modes.
pub(super) fn read(path: &Path) -> Result<(Vec<u8>, Option<u32>), KeyringError> {
    let damaged = |detail: String| KeyringError::Damaged { path: path.to_owned(), detail };
    let refuse = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => KeyringError::NotFound { path: path.to_owned() },
        _ if Foreign::is_cause_of(&source) => damaged(format!("it is {source}")),
        _ => KeyringError::Io { action: "read", path: path.to_owned(), source },
    };
    let file = disk::open_file(path, Access::Read).map_err(refuse)?;
    let metadata = file.metadata().map_err(refuse)?;
    if metadata.len() > MAX_FILE_BYTES as u64 {
        return Err(damaged(format!("it has {} bytes, at most {MAX_FILE_BYTES} are allowed", metadata.len())));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a file that grew meanwhile is refused.
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
    sweep(path).and_then(|()| disk::replace_file(path, bytes, 0o600)).map_err(|source| KeyringError::Io {
        action: "replace",
        path: path.to_owned(),
        source,
    })
}

/// Removes what a crash left between the temporary file and the rename. It
/// may hold a key that is to be dropped from every file. The lock on
/// the directory says that no other process is writing one.
fn sweep(path: &Path) -> io::Result<()> {
    let Some(name) = path.file_name() else { return Ok(()) };
    let prefix = [b".", name.as_encoded_bytes(), b"."].concat();
    for entry in fs::read_dir(disk::parent_of(path))? {
        let entry = entry?;
        let found = entry.file_name();
        let found = found.as_encoded_bytes();
        if found.starts_with(&prefix) && found.ends_with(b".new") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
