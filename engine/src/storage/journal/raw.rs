//! The changes in files of a journal, read without regard for what holds them
//! together.
//!
//! Every body whose checksum holds counts, wherever it lies: in a file without a
//! header, behind a torn tail, in what a file was before it was mended. They are gone
//! through file by file, as they lie there.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::super::{Change, StorageError};
use super::file::{first_of_name, is_unfinished};
use super::frame::{ALIGN, HEAD_BYTES, Head, changes};
use super::io_error;
use crate::disk::{Access, open_file};

/// Gives every change that is left in the files of `dir`. Nothing is changed; no
/// directory is one without changes.
pub(crate) fn changes_in<E: From<StorageError>>(
    dir: &Path,
    take: &mut dyn FnMut(Change) -> Result<(), E>,
) -> Result<(), E> {
    let mut names: Vec<OsString> = match fs::read_dir(dir) {
        Ok(entries) => {
            let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
            names.collect::<io::Result<_>>().map_err(io_error("list", dir))?
        }
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(problem) => return Err(io_error("list", dir)(problem).into()),
    };
    // What a file was before it was mended is older.
    names.retain(|name| name.to_str().is_some_and(is_one));
    names.sort_by_key(|name| (name.as_encoded_bytes().get(..20).map(<[u8]>::to_vec), std::cmp::Reverse(name.len())));
    for name in names {
        let path = dir.join(name);
        let mut bytes = Vec::new();
        open_file(&path, Access::Read)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(io_error("read", &path))?;
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= HEAD_BYTES) {
            let body = Head::raw_body(rest);
            at += match body {
                Some(body) => (HEAD_BYTES + body.len()).next_multiple_of(ALIGN as usize),
                None => ALIGN as usize,
            };
            body.and_then(changes).into_iter().flatten().try_for_each(&mut *take)?;
        }
    }
    Ok(())
}

fn is_one(name: &str) -> bool {
    let file = name.split_once(".damaged").map_or(name, |(file, _)| file);
    first_of_name(file).is_some() || is_unfinished(name)
}
