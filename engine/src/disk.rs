//! Files that survive a power cut: which system calls, in which order.
//!
//! A file is durable when three things have reached the disk: its bytes
//! (`fsync` of the file), its name (`fsync` of the directory that holds it) and
//! the name of that directory (`fsync` of the parent). Everything in the engine
//! that writes a small file of its own goes through this module; the sequence
//! is written next to each function and is what its tests rely on.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Puts `bytes` at `path`, wholly or not at all, readable as `mode` says.
///
/// 1. `open(directory/.name.pid.n.new, O_CREAT | O_EXCL | O_WRONLY, 0600)`
/// 2. `write` until all is written
/// 3. `fchmod(mode)`, because the umask may have taken bits away
/// 4. `fsync(file)`
/// 5. `rename(temporary, path)`
/// 6. `fsync(directory)`
///
/// After a power cut `path` holds the old bytes or the new ones. The secret in
/// a key file is at no moment readable by others: the temporary is born 0600.
/// An error before step 5 removes the temporary and leaves `path` as it was;
/// an error of step 6 leaves the new bytes in place, not known to be durable.
pub fn replace_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (temporary, mut file) = create_temporary(path)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first error is the one to report; a temporary that cannot be
        // removed is untidy, nothing more.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_directory(parent_of(path))
}

/// Makes the names in a directory durable: `open(path, O_RDONLY)`, `fsync`.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Creates a directory that only its owner may enter, and makes its name
/// durable; one that is already there is left as it is.
///
/// 1. `mkdir(path, 0700)`
/// 2. `fsync(path)`
/// 3. `fsync(parent)`
///
/// The parent has to exist. The two syncs are repeated when the directory is
/// already there, since whoever made it may have died before them.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) => return Err(error),
    }
    sync_directory(path)?;
    sync_directory(parent_of(path))
}

/// The directory that holds the name `path`; `.` for a bare name.
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

fn create_temporary(path: &Path) -> io::Result<(PathBuf, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("'{}' does not name a file", path.display())));
    };
    loop {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.{n}.new", process::id()));
        let temporary = parent_of(path).join(temporary);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            // What an earlier process with our id left behind.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn names_in(path: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_created_and_replaced_with_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        replace_file(&path, b"one", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(mode_of(&path), 0o600);
        replace_file(&path, b"two, longer", 0o644).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two, longer");
        assert_eq!(mode_of(&path), 0o644);
        assert_eq!(names_in(directory.path()), ["key"]);
    }

    #[test]
    fn a_replacement_that_fails_leaves_the_old_file_and_no_temporary() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(replace_file(&path, b"bytes", 0o600).is_err());
        assert!(path.is_dir());
        assert_eq!(names_in(directory.path()), ["taken"]);
    }

    #[test]
    fn a_path_without_a_name_is_refused() {
        let error = replace_file(Path::new("/"), b"bytes", 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_temporary_that_is_in_the_way_is_stepped_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        for n in 0..64 {
            let left = format!(".key.{}.{n}.new", process::id());
            fs::write(directory.path().join(left), b"left behind").unwrap();
        }
        replace_file(&path, b"one", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn a_private_directory_is_private_and_may_already_exist() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        create_private_directory(&path).unwrap();
        assert_eq!(mode_of(&path), 0o700);
        create_private_directory(&path).unwrap();
        let file = directory.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(create_private_directory(&file).is_err());
        assert!(create_private_directory(&directory.path().join("no/parent")).is_err());
    }

    #[test]
    fn the_parent_of_a_bare_name_is_the_current_directory() {
        assert_eq!(parent_of(Path::new("thing.db")), Path::new("."));
        assert_eq!(parent_of(Path::new("a/b")), Path::new("a"));
        assert_eq!(parent_of(Path::new("/a")), Path::new("/"));
        assert_eq!(parent_of(Path::new("/")), Path::new("/"));
    }
}
