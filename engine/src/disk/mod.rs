//! Files that survive a power cut: which system calls, in which order.
//!
//! A file is durable when three things have reached the disk: its bytes
//! (`fsync` of the file), its name (`fsync` of the directory that holds it) and
//! the name of that directory (`fsync` of the parent). Everything in the engine
//! that writes a small file of its own goes through this module; the sequence
//! is written next to each function and is what its tests rely on.

pub mod lock;

use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::OFlags;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read what is there.
    Read,
    /// To read and to write what is there.
    Write,
    /// As [`Access::Write`]; one that is not there is made, with mode 0600.
    Create,
}

/// Something that lies where a file should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A symbolic link, wherever it leads.
    Link,
    /// A directory.
    Directory,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A device.
    Device,
    /// A file with this many names: who writes to it writes to it under all of
    /// them.
    Shared(u64),
    /// A file, where there should be none.
    File,
}

impl Foreign {
    /// What it is, if it is no file, or one that must not be written.
    pub(crate) fn of(found: &Metadata, is_written: bool) -> Option<Self> {
        match Self::kind_of(found) {
            Self::File if is_written && found.nlink() > 1 => Some(Self::Shared(found.nlink())),
            Self::File => None,
            other => Some(other),
        }
    }

    pub(crate) fn kind_of(found: &Metadata) -> Self {
        let kind = found.file_type();
        match () {
            () if kind.is_file() => Self::File,
            () if kind.is_symlink() => Self::Link,
            () if kind.is_dir() => Self::Directory,
            () if kind.is_fifo() => Self::Pipe,
            () if kind.is_socket() => Self::Socket,
            () => Self::Device,
        }
    }

    /// Whether an opening was refused because of what lies there.
    pub(crate) fn is_cause_of(problem: &io::Error) -> bool {
        problem.get_ref().is_some_and(|cause| cause.is::<Self>())
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link => f.write_str("a symbolic link"),
            Self::Directory => f.write_str("a directory"),
            Self::Pipe => f.write_str("a pipe"),
            Self::Socket => f.write_str("a socket"),
            Self::Device => f.write_str("a device"),
            Self::Shared(names) => write!(f, "a file with {names} names (hard links)"),
            Self::File => f.write_str("a file"),
        }
    }
}

impl std::error::Error for Foreign {}

/// Opens a file of the database, and nothing else: no link is followed, no pipe
/// is waited for, no device is touched, and what is to be written has one name.
/// It is looked at before it is opened, because to open a device can do
/// something, and when it is open, because it may have been exchanged.
pub fn open_file(path: &Path, access: Access) -> io::Result<File> {
    let is_written = access != Access::Read;
    let check = |found: &Metadata| match Foreign::of(found, is_written) {
        None => Ok(()),
        Some(foreign) => Err(io::Error::new(io::ErrorKind::InvalidInput, foreign)),
    };
    match fs::symlink_metadata(path) {
        Ok(found) => check(&found)?,
        Err(problem) if problem.kind() == io::ErrorKind::NotFound && access == Access::Create => {}
        Err(problem) => return Err(problem),
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).expect("flags are few bits");
    let mut options = OpenOptions::new();
    options.read(true).write(is_written).create(access == Access::Create).truncate(false);
    let file = options.mode(0o600).custom_flags(flags).open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

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

/// Puts `new` in the place of `path`, if something lies there, and makes that durable.
/// Where the file system can, both are exchanged at once, and what was there lies at
/// `new`; else it lies at `old`, and for a moment nothing lies at `path`.
pub(crate) fn exchange(new: &Path, path: &Path, old: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(Errno::NOENT) => fs::rename(new, path)?,
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::rename(path, old)?;
            fs::rename(new, path)?;
        }
        Err(problem) => return Err(problem.into()),
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

/// Which file it was to become, if a name is that of a temporary of
/// [`replace_file`]: `.NAME.PID.N.new`.
pub(crate) fn of_temporary(name: &str) -> Option<&str> {
    let mut parts = name.strip_prefix('.')?.strip_suffix(".new")?.rsplitn(3, '.');
    let is_number = |part: Option<&str>| part.is_some_and(|part| part.parse::<u64>().is_ok());
    (is_number(parts.next()) && is_number(parts.next())).then(|| parts.next()).flatten()
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

/// Whether an error says something of the one file, and not of this process or
/// machine, whose errors pass.
pub(crate) fn is_of_file(problem: &io::Error) -> bool {
    problem.kind() == io::ErrorKind::PermissionDenied
        || problem.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
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
    fn a_directory_takes_the_place_of_another() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("new")).unwrap();
        fs::write(at("new/file"), b"new").unwrap();
        exchange(&at("new"), &at("there"), &at("old")).unwrap();
        assert_eq!(names_in(directory.path()), ["there"]);
        fs::create_dir(at("new")).unwrap();
        exchange(&at("new"), &at("there"), &at("old")).unwrap();
        assert!(names_in(&at("there")).is_empty());
        let replaced = if at("new").exists() { "new" } else { "old" };
        assert_eq!(fs::read(at(replaced).join("file")).unwrap(), b"new");
        assert!(exchange(&at("absent"), &at("there"), &at("old")).is_err());
        assert!(at("there").exists());
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
    fn nothing_but_a_file_of_its_own_is_opened() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let found = |name: &str, access| {
            let problem = open_file(&at(name), access).unwrap_err();
            assert!(Foreign::is_cause_of(&problem), "{name}: {problem}");
            problem.to_string()
        };
        fs::write(at("victim"), b"precious").unwrap();
        std::os::unix::fs::symlink(at("victim"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        for access in [Access::Read, Access::Write, Access::Create] {
            for (name, what) in [
                ("link", "a symbolic link"),
                ("dangling", "a symbolic link"),
                ("directory", "a directory"),
                ("socket", "a socket"),
                ("pipe", "a pipe"),
            ] {
                assert_eq!(found(name, access), what);
            }
        }
        assert_eq!(open_file(Path::new("/dev/null"), Access::Read).unwrap_err().to_string(), "a device");
        assert!(!at("nowhere").exists());
        open_file(&at("victim"), Access::Write).unwrap();
        fs::hard_link(at("victim"), at("other name")).unwrap();
        open_file(&at("victim"), Access::Read).unwrap();
        for access in [Access::Write, Access::Create] {
            assert_eq!(found("victim", access), "a file with 2 names (hard links)");
        }
        assert_eq!(fs::read(at("victim")).unwrap(), b"precious");
        open_file(&at("new"), Access::Create).unwrap();
        assert_eq!(mode_of(&at("new")), 0o600);
        assert_eq!(open_file(&at("absent"), Access::Write).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_parent_of_a_bare_name_is_the_current_directory() {
        assert_eq!(parent_of(Path::new("thing.db")), Path::new("."));
        assert_eq!(parent_of(Path::new("a/b")), Path::new("a"));
        assert_eq!(parent_of(Path::new("/a")), Path::new("/"));
        assert_eq!(parent_of(Path::new("/")), Path::new("/"));
    }
}
