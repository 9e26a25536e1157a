//! The way back after a loss, as commands that can be pasted: what a hint says first
//! is a command, and what follows behind a comma explains it.

use std::path::{Path, PathBuf};

use crate::error::Failure;
use crate::text::quoted_path;

/// The command that makes a new database from what is left of one, and of its last
/// backup.
pub(crate) fn salvage(dir: &Path) -> String {
    let from = backup_of(dir).map(|place| format!(" --from {}", quoted_path(&place))).unwrap_or_default();
    format!("thingdb salvage {} --out {}{from}", quoted_path(dir), quoted_path(&beside(dir)))
}

/// What else may have what is lost.
pub(crate) const OTHER_SOURCES: &str =
    "--from BACKUP and --from EXPORT take it from there, too; then thingdb pull PEER, from peers that have it";

/// The command that puts a keyring back: that of the last backup, or one that was
/// kept.
pub(crate) fn keyring(dir: &Path) -> String {
    let kept = backup_of(dir).map(|place| place.join("keyring")).filter(|keyring| keyring.is_file());
    match kept {
        Some(keyring) => format!("thingdb keyring import {}, which the last backup has", quoted_path(&keyring)),
        None => "thingdb keyring import FILE, with one that was kept elsewhere".to_owned(),
    }
}

/// Why a database does not open, and what helps there.
pub(crate) fn of_opening(problem: thingdb::Error, dir: &Path) -> Failure {
    let is_damaged = problem.is_damaged();
    let (is_keyring, is_storage) =
        (matches!(problem, thingdb::Error::Keyring(_)), matches!(problem, thingdb::Error::Storage(_)));
    let failure = Failure::from(problem);
    match is_damaged {
        true if is_keyring => failure.without_hints().hint(keyring(dir)),
        true if is_storage => failure
            .without_hints()
            .hint(format!("{}, which takes what can still be read and leaves the rest as it is", salvage(dir)))
            .hint(OTHER_SOURCES),
        _ => failure,
    }
}

/// The newest backup that is there.
fn backup_of(dir: &Path) -> Option<PathBuf> {
    let places = thingdb::last_backups(dir).ok()?;
    places.into_iter().map(|last| last.place).find(|place| thingdb::is_backup(place).unwrap_or(false))
}

/// A path beside the directory where nothing lies.
fn beside(dir: &Path) -> PathBuf {
    let dir = match dir.file_name() {
        Some(_) => dir.to_owned(),
        None => std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()),
    };
    let name = dir.file_name().unwrap_or_default().to_owned();
    let numbered = |n: u32| {
        let mut name = name.clone();
        name.push(if n == 1 { ".salvaged".to_owned() } else { format!(".salvaged-{n}") });
        dir.with_file_name(name)
    };
    (1..).map(numbered).find(|path| path.symlink_metadata().is_err()).expect("there are more numbers than names")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_salvaged_lies_beside_and_nowhere_else() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("things");
        assert_eq!(beside(&dir), scratch.path().join("things.salvaged"));
        std::fs::create_dir(scratch.path().join("things.salvaged")).unwrap();
        assert_eq!(beside(&dir), scratch.path().join("things.salvaged-2"));
        assert_eq!(beside(Path::new("things/")), Path::new("things.salvaged"));
        let here = std::env::current_dir().unwrap();
        let name = format!("{}.salvaged", here.file_name().unwrap().to_str().unwrap());
        assert_eq!(beside(Path::new(".")), here.with_file_name(name));
    }
}
