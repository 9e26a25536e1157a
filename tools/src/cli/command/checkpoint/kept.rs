//! A checkpoint that was kept in a file, where a newer one is to take its place.
//!
//! The older one is what shows that a directory was set back. It goes only if
//! the newer one says all that it said.

use std::io::{self, Read};
use std::path::Path;

use thingdb::SignedCheckpoint;
use thingdb::format::checkpoint::MAX_NOTE_BYTES;

use crate::cli::input;
use crate::console::{Access, Console};
use crate::error::{Exit, Failure, Outcome};
use crate::reader::Reader;
use crate::text::quoted;

/// Refuses to replace the file at `path` unless the ledger has grown out of the
/// checkpoint in it, or there is none. Gives the checkpoint.
pub(crate) fn may_be_replaced(
    console: &Console,
    path: &Path,
    access: Access,
    ledger: &dyn Reader,
) -> Outcome<Option<SignedCheckpoint>> {
    let name = path.display().to_string();
    let file = match console.open(path, access) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|problem| Failure::file(&name, &problem))?,
    };
    if !file.is_regular() {
        return Ok(None);
    }
    let mut note = Vec::new();
    file.take(MAX_NOTE_BYTES as u64 + 1).read_to_end(&mut note).map_err(|problem| Failure::file(&name, &problem))?;
    let parsed = input::text(note).ok().and_then(|note| SignedCheckpoint::parse(&note).ok());
    let Some(kept) = parsed else {
        return Err(Failure::usage(format!("{name} is there and is no checkpoint; it stays as it is"))
            .hint("name another file, or move this one aside and repeat"));
    };
    let Some(why) = ledger.contradicts(&kept)? else { return Ok(Some(kept)) };
    Err(Failure::new(
        Exit::NotVerified,
        "checkpoint-kept",
        format!("this ledger does not go on from the checkpoint in {name}"),
    )
    .cause(why)
    .cause(format!("{name} stays as it is: it may be what proves that something was taken away"))
    .hint(format!("thingdb verify --checkpoint {}", quoted(&name)))
    .hint("thingdb checkpoint -o FILE, with the name of another file, keeps both"))
}
