//! `thingdb checkpoint --publish`: the ledger as static files (c2sp.org/tlog-tiles).
//!
//! Every file is there whole or not at all, and the checkpoint comes last: whoever reads
//! while this goes on, or after it was killed, sees the ledger as it was before.

use std::io;
use std::path::Path;

use thingdb::format::tiles::{self, ENTRY_BYTES, Tile, Tiles};
use thingdb::{Db, SignedCheckpoint};

use crate::cli::context::Context;
use crate::cli::input::folder;
use crate::cli::input::tile;
use crate::console::Console;
use crate::error::{Exit, Failure, Outcome};
use crate::text::counted;

/// Ids that are read at once.
const STEP: u64 = 65_536;

/// Refuses a place that is no directory of its own: a database has a file `checkpoint`,
/// too.
pub(super) fn refuse_other(console: &Console, database: Option<&Path>, dir: &Path) -> Outcome {
    let (named, dir) = (dir, &console.path(dir));
    folder::refuse_file(dir, named)
        .map_err(|failure| failure.hint("thingdb checkpoint -o FILE writes the checkpoint alone"))?;
    let shown = named.display();
    if dir.join("tile").is_symlink() {
        return Err(Failure::usage(format!("{shown} has a link in the place of its folder tile"))
            .cause("what is published must not be written elsewhere")
            .hint("let the whole directory be a link, or mount one there"));
    }
    if let Some(database) = database {
        thingdb::refuse_within(dir, database)?;
    }
    if Db::exists(dir) || thingdb::is_backup(dir).unwrap_or(false) {
        return Err(Failure::usage(format!("{shown} is a database, or a backup of one"))
            .hint("thingdb checkpoint --publish DIR, with a directory that is new or has what was published"));
    }
    Ok(())
}

/// Writes the files of the ledger that are not there, and looks whether the others are
/// what they have to be. Where an older state of this ledger is `published`, it goes on
/// from there: the files that this state has alone, at its right edge, are looked at, and
/// the last whole ones beside them; of all others the length.
pub(super) fn write(
    context: &Context,
    db: &Db,
    dir: &Path,
    published: Option<&SignedCheckpoint>,
    note: &str,
) -> Outcome {
    let claimed = SignedCheckpoint::parse(note).map_err(thingdb::Error::from)?.claimed().clone();
    let (size, mut meter) = (claimed.size, context.meter("publishing"));
    let edge = |path: &str| tile::read(&context.console, &dir.join(path)).ok();
    let published = published.map(SignedCheckpoint::claimed);
    let known = published.filter(|it| are_whole(&context.console, dir, it.size));
    let known = known.and_then(|it| Tiles::resume(it.size, &it.root, edge));
    let (mut made, mut written) = (known.unwrap_or_default(), 0);
    let mut put = |files: Vec<Tile>| -> Outcome {
        for file in files {
            written += u64::from(write_new(context, dir, &file)?);
        }
        Ok(())
    };
    while made.size() < size {
        if context.console.is_interrupted() {
            let fact = "stopped; what was published before is as it was";
            return Err(Failure::new(Exit::Interrupted, "interrupted", fact).hint("the same command goes on"));
        }
        let mut files = Vec::new();
        for id in db.ids(made.size()..size.min(made.size() + STEP))? {
            made.push(&id, &mut files);
        }
        put(files)?;
        meter.update(made.size(), size, made.size() * ENTRY_BYTES as u64);
    }
    put(made.partial())?;
    if made.root() != claimed.root {
        return Err(Failure::new(Exit::NotVerified, "not-verified", "the ids of the ledger do not lead to its root")
            .hint("thingdb verify"));
    }
    context.console.write_below(dir, "checkpoint", note.as_bytes())?;
    meter.end(size, size * ENTRY_BYTES as u64);
    let (files, entries) = (counted(written, "file", "files"), counted(size, "entry", "entries"));
    context.console.note(&format!("{files} written for a ledger of {entries} in {}", dir.display()));
    Ok(())
}

/// Whether the files that never change are there as long as they have to be. What is in
/// them is not read: `verify --tiles` does that.
fn are_whole(console: &Console, dir: &Path, size: u64) -> bool {
    let dir = console.path(dir);
    let is_whole = |(path, bytes): (String, u64)| {
        dir.join(path).symlink_metadata().is_ok_and(|found| found.is_file() && found.len() == bytes)
    };
    tiles::whole_files(size).all(is_whole)
}

/// Writes a file unless it is there; gives whether it was written.
fn write_new(context: &Context, dir: &Path, wanted: &Tile) -> Outcome<bool> {
    let path = dir.join(&wanted.path);
    let name = path.display().to_string();
    let found = match tile::read(&context.console, &path) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => {
            context.console.write_below(dir, &wanted.path, &wanted.bytes)?;
            return Ok(true);
        }
        found => found.map_err(|problem| Failure::file(&name, &problem))?,
    };
    if found == wanted.bytes {
        return Ok(false);
    }
    let fact = format!("{name} is there, and is not what this ledger has at its place");
    Err(Failure::new(Exit::NotVerified, "published-differs", fact)
        .cause("it stays as it is: it is of another ledger, or damaged")
        .hint("thingdb checkpoint --publish DIR, with another directory; or take this file away and run it again"))
}
