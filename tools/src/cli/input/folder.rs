//! A directory that an argument names: what is wrong with the place of one.

use std::path::Path;

use crate::error::{Failure, Outcome};

/// Refuses what is there and is no directory. Nothing may be there.
pub(crate) fn refuse_file(path: &Path, shown: &Path) -> Outcome {
    if path.exists() && !path.is_dir() {
        return Err(Failure::usage(format!("{} is a file, and a directory is needed", shown.display())));
    }
    Ok(())
}

/// Refuses a place where there is no directory.
pub(crate) fn must_be(path: &Path) -> Outcome {
    if path.exists() {
        return refuse_file(path, path);
    }
    Err(Failure::usage(format!("{} is no directory: nothing lies there", path.display())))
}
