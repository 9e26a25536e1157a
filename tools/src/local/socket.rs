//! The socket in the directory: its place, how it comes there, who may be at
//! the other end.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The name of the socket.
const NAME: &str = "socket";

/// Where it is made, which nobody else can enter.
const UNFINISHED: &str = "socket.new";

/// The longest path that an address of a socket holds.
const MAX_PATH_BYTES: usize = 107;

/// Listens in a directory that this process has locked. The socket is there
/// with mode 0600 or not at all: it is made where nobody can reach it, then
/// moved to its place. One that was left by a server that was killed is
/// replaced.
pub(crate) fn listen(dir: &Path) -> io::Result<UnixListener> {
    let unfinished = dir.join(UNFINISHED);
    match fs::remove_dir_all(&unfinished) {
        Err(problem) if problem.kind() != io::ErrorKind::NotFound => return Err(problem),
        // What was left by a server that was killed.
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(&unfinished)?;
    let listener = with_short(&unfinished, |path| UnixListener::bind(path))?;
    fs::set_permissions(unfinished.join(NAME), Permissions::from_mode(0o600))?;
    fs::rename(unfinished.join(NAME), dir.join(NAME))?;
    fs::remove_dir(&unfinished)?;
    Ok(listener)
}

/// Takes the socket away.
pub(crate) fn remove(dir: &Path) {
    // One that stays is of no use to anybody, and is replaced the next time.
    let _ = fs::remove_file(dir.join(NAME));
}

/// Connects to the socket in a directory; nothing if there is none, or nobody
/// listens.
pub(crate) fn connect(dir: &Path) -> io::Result<Option<UnixStream>> {
    match with_short(dir, |path| UnixStream::connect(path)) {
        Ok(stream) => Ok(Some(stream)),
        Err(problem)
            if matches!(
                problem.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(None)
        }
        Err(problem) => Err(problem),
    }
}

/// The path of the socket in `dir`, as short as an address of a socket has to
/// be: where it is too long, by way of the directory's descriptor.
fn with_short<T>(dir: &Path, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = dir.join(NAME);
    if path.as_os_str().len() <= MAX_PATH_BYTES {
        return with(&path);
    }
    let dir = File::open(dir)?;
    with(&PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(NAME))
}

/// The user at the other end, if the system tells; else only the mode of the
/// socket says who can be there.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn user(stream: &UnixStream) -> io::Result<Option<u32>> {
    Ok(Some(rustix::net::sockopt::socket_peercred(stream)?.uid.as_raw()))
}

/// The user at the other end: this system does not tell.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn user(_: &UnixStream) -> io::Result<Option<u32>> {
    Ok(None)
}

/// Whether a user is the one of this process, or root.
pub(crate) fn is_ours(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_socket_is_for_its_owner_however_long_its_path() {
        let tmp = tempfile::tempdir().unwrap();
        let long = tmp.path().join("d".repeat(100)).join("e".repeat(100));
        fs::create_dir_all(&long).unwrap();
        for dir in [tmp.path(), &long] {
            assert!(connect(dir).unwrap().is_none());
            let listener = listen(dir).unwrap();
            assert_eq!(mode(&dir.join(NAME)), 0o600);
            assert!(!dir.join(UNFINISHED).exists());
            let stream = connect(dir).unwrap().unwrap();
            let (other, _) = listener.accept().unwrap();
            for end in [&stream, &other] {
                assert!(user(end).unwrap().is_none_or(is_ours));
            }
        }
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_none_and_is_replaced() {
        let tmp = tempfile::tempdir().unwrap();
        drop(listen(tmp.path()).unwrap());
        assert!(tmp.path().join(NAME).exists() && connect(tmp.path()).unwrap().is_none());
        fs::create_dir(tmp.path().join(UNFINISHED)).unwrap();
        let _listener = listen(tmp.path()).unwrap();
        assert!(connect(tmp.path()).unwrap().is_some());
        remove(tmp.path());
        assert!(connect(tmp.path()).unwrap().is_none());
    }

    #[test]
    fn strangers_are_not_ours() {
        let own = rustix::process::geteuid().as_raw();
        assert!(is_ours(own) && is_ours(0) && !is_ours(own + 1));
    }
}
