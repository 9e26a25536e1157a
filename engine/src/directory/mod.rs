//! The directory of a database: whose it is, and what may lie in it.
//!
//! A directory can come from anywhere: an archive, a stick, somebody else. What
//! lies in the place of a file that would be written may lead out of it, to a
//! file that its reader would lose; a pipe would be waited for. So everything is
//! looked at before anything is opened, and nothing is opened through a link.
//!
//! Between the look and the opening only those can exchange a file who can write
//! to the directory: its owner, who is the user of this process or root, and
//! whom its mode lets in, of which an opening warns. The files that are opened
//! here and not by the storage are looked at once more when they are open.
//!
//! What one user writes another could not read: files are made with mode 0600.
//! A command of root on the database of a service would end the service. So only
//! the owner opens a database.

pub(crate) mod journal_state;
pub(crate) mod restoring;
pub(crate) mod unfinished;
pub(crate) mod version;

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::disk::{self, Foreign};
use crate::error::{Error, Result};
use crate::keyring::Keyring;
use crate::storage::journal;

/// The keyring. Without one a directory is no database.
pub(crate) const KEYRING: &str = "keyring";

/// What makes a directory a backup.
pub(crate) const BACKUP_MARK: &str = "BACKUP";

/// What says that a restore to this directory has not come to its end.
pub(crate) const RESTORE_MARK: &str = "RESTORE";

/// Where a database was saved last.
pub(crate) const LAST_BACKUP: &str = "last-backup";

/// Where it is kept how other nodes contradicted themselves.
pub(crate) const EVIDENCE: &str = "evidence";

/// What has to lie under a name, if anything does.
#[derive(Clone, Copy)]
enum Kind {
    /// A file that is written in its place.
    Written,
    /// A file that is read, and replaced as a whole.
    Replaced,
    Directory,
    Socket,
}

/// Refuses a directory of another user, one in which something else lies where the
/// database has a file of its own, and one to which a restore is not finished. One
/// that is not there, or is none, is left to those who need it. It may be reached
/// through a link.
pub(crate) fn check(dir: &Path) -> Result<()> {
    check_files(dir)?;
    restoring::refuse(dir)
}

/// The same, whether or not a restore to it is finished.
pub(crate) fn check_files(dir: &Path) -> Result<()> {
    let user = rustix::process::geteuid().as_raw();
    let found = match fs::metadata(dir) {
        Ok(found) if found.is_dir() => found,
        _ => return Ok(()),
    };
    // The directory may be root's, as the place that a container is given is:
    // what lies in it says whose database it is.
    if found.uid() != user && found.uid() != 0 {
        return Err(Error::OtherUser { path: dir.to_owned(), owner: found.uid(), user });
    }
    each(dir, user, in_database)?;
    // The second is put back where a process was killed that put another in its place.
    for store in ["store", "store.old"].map(|name| dir.join(name)) {
        each(&store, user, in_store)?;
        each(&store.join("blobs"), user, |_| Some(Kind::Written))?;
    }
    each(&dir.join(journal::DIRECTORY), user, |name| journal::is_file_name(name).then_some(Kind::Replaced))?;
    each(&dir.join(EVIDENCE), user, |_| Some(Kind::Replaced))
}

/// Whether there is a database in a directory: a keyring, or its copy.
pub(crate) fn is_database(dir: &Path) -> bool {
    Keyring::there(&dir.join(KEYRING)).is_some()
}

/// The names in a directory that are not those of a database's files, sorted;
/// none if there is no directory.
pub(crate) fn strangers(dir: &Path) -> Result<Vec<OsString>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(problem) if problem.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(problem) => return Err(Error::file(dir, "cannot be listed")(problem)),
    };
    let mut strangers = Vec::new();
    for entry in entries {
        let name = entry.map_err(Error::file(dir, "cannot be listed"))?.file_name();
        // The root of a file system has a `lost+found`; nobody makes a database
        // where evidence lies.
        let is_ours = |name: &str| name == "lost+found" || (name != EVIDENCE && in_database(name).is_some());
        if !name.to_str().is_some_and(is_ours) {
            strangers.push(name);
        }
    }
    strangers.sort();
    Ok(strangers)
}

/// What is to be said of a directory that others can write to.
pub(crate) fn mode_warning(dir: &Path) -> Option<String> {
    let mode = fs::metadata(dir).ok()?.mode() & 0o777;
    (mode & 0o022 != 0).then(|| format!("{} has mode {mode:03o}: others can exchange the files in it", dir.display()))
}

/// Whether a name in the directory is that of a file which was being made when
/// a process ended.
pub(crate) fn is_unfinished(name: &str) -> bool {
    let Some(of) = disk::of_temporary(name) else { return false };
    matches!(of, "VERSION" | KEYRING | "keyring.copy" | "checkpoint" | BACKUP_MARK | RESTORE_MARK | LAST_BACKUP)
        || of.starts_with("checkpoint.former-")
}

fn in_database(name: &str) -> Option<Kind> {
    match name {
        "LOCK" | "reserve" => Some(Kind::Written),
        "VERSION" | KEYRING | "keyring.copy" | "checkpoint" | BACKUP_MARK | RESTORE_MARK | LAST_BACKUP => {
            Some(Kind::Replaced)
        }
        "store"
        | journal::DIRECTORY
        | journal::NEXT
        | "journal.new"
        | "journal.old"
        | "store.new"
        | "store.old"
        | "socket.new"
        | EVIDENCE => Some(Kind::Directory),
        "socket" => Some(Kind::Socket),
        name if name.starts_with("checkpoint.former-")
            || name.starts_with("keyring.aside-")
            || name.starts_with("keyring.copy.aside-")
            || is_unfinished(name) =>
        {
            Some(Kind::Replaced)
        }
        name if name.starts_with("store.aside-") || name.starts_with("journal.aside-") => Some(Kind::Directory),
        // It is not ours, and not touched.
        _ => None,
    }
}

fn in_store(name: &str) -> Option<Kind> {
    match name {
        "blobs" => Some(Kind::Directory),
        "db" | "conf" => Some(Kind::Written),
        "left" | "damaged" | "in-place-of" => Some(Kind::Replaced),
        name if disk::of_temporary(name).is_some() => Some(Kind::Replaced),
        name if name.starts_with("snap.") || name.starts_with("aside.") => Some(Kind::Written),
        _ => None,
    }
}

fn each(dir: &Path, user: u32, kind: impl Fn(&str) -> Option<Kind>) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(problem) if problem.kind() == ErrorKind::NotFound => return Ok(()),
        Err(problem) => return Err(Error::file(dir, "cannot be listed")(problem)),
    };
    for entry in entries {
        let entry = entry.map_err(Error::file(dir, "cannot be listed"))?;
        let name = entry.file_name();
        let Some(kind) = name.to_str().and_then(&kind) else { continue };
        let path = entry.path();
        let found = match fs::symlink_metadata(&path) {
            Ok(found) => found,
            // A server has just ended.
            Err(problem) if problem.kind() == ErrorKind::NotFound => continue,
            Err(problem) => return Err(Error::file(path, "cannot be looked at")(problem)),
        };
        if let Some((found, expected)) = other(&found, kind) {
            return Err(Error::NotOwnFile { path, found, expected });
        }
        if found.uid() != user {
            return Err(Error::OtherUser { path, owner: found.uid(), user });
        }
    }
    Ok(())
}

/// What was found and what has to be there, if they differ.
fn other(found: &Metadata, kind: Kind) -> Option<(Foreign, &'static str)> {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        Kind::Written => Foreign::of(found, true).map(|found| (found, "a file of its own")),
        Kind::Replaced => Foreign::of(found, false).map(|found| (found, "a file of its own")),
        Kind::Directory if found.is_dir() => None,
        Kind::Directory => Some((disk::Foreign::kind_of(found), "a directory of its own")),
        Kind::Socket if found.file_type().is_socket() => None,
        Kind::Socket => Some((disk::Foreign::kind_of(found), "a socket of its own")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_unfinished_files_are_known() {
        for name in [
            ".VERSION.123.0.new",
            ".keyring.1.22.new",
            ".checkpoint.9.9.new",
            ".checkpoint.former-2.9.9.new",
            ".keyring.copy.1.22.new",
        ] {
            assert!(is_unfinished(name), "{name}");
        }
        for name in
            [".VERSION.new", "VERSION.1.2.new", ".VERSION.1.x.new", ".bashrc.1.2.new", ".new", ".", "", ".VERSION.1.2"]
        {
            assert!(!is_unfinished(name), "{name}");
        }
    }
}
