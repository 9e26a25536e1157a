//! The variables of this process's environment. One that is empty is none:
//! scripts and unit files unset a variable so.

use std::ffi::OsString;
use std::io;
use std::path::Path;

/// A variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// All such variables.
pub(crate) fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(_, value)| !value.is_empty())
}

/// Says of a file that was not found that there is no directory to find it in, if
/// so: one that was deleted still looks like one to the shell.
pub(crate) fn with_working_directory(path: &Path, problem: io::Error) -> io::Error {
    if problem.kind() == io::ErrorKind::NotFound && has_lost_directory(path) {
        return io::Error::new(problem.kind(), LOST_DIRECTORY);
    }
    problem
}

/// What is wrong where [`has_lost_directory`] says so.
pub(crate) const LOST_DIRECTORY: &str =
    "the working directory was deleted, so nothing can be named by its place below it";

/// Whether a path is one from the working directory, and that was deleted.
pub(crate) fn has_lost_directory(path: &Path) -> bool {
    path.is_relative() && std::env::current_dir().is_err()
}
