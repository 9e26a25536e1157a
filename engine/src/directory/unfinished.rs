//! Files that a process was writing when it was killed. Nothing reads them.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::is_unfinished;
use crate::error::{Error, Result};

/// The names of files that were being written. The caller holds the lock.
pub(crate) fn files(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::file(dir, "cannot be listed"))? {
        let entry = entry.map_err(Error::file(dir, "cannot be listed"))?;
        names.extend(entry.file_name().into_string().ok().filter(|name| is_unfinished(name)));
    }
    names.sort();
    Ok(names)
}

/// Removes files that were being written.
pub(crate) fn sweep(dir: &Path) -> Result<Vec<String>> {
    let names = files(dir)?;
    for name in &names {
        let path = dir.join(name);
        match fs::remove_file(&path) {
            Err(problem) if problem.kind() != ErrorKind::NotFound => {
                return Err(Error::file(path, "cannot be removed")(problem));
            }
            _ => {}
        }
    }
    Ok(names)
}
