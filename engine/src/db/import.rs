//! Streams of entries into the database.

use std::io::BufRead;

use super::Db;
use crate::error::Result;
use crate::exchange::import::{ImportOptions, ImportSummary};
use crate::exchange::intake;

impl Db {
    /// Reads a stream of ndjson lines, or a binary one, and adds what is not
    /// here.
    ///
    /// It takes constant memory and can be repeated: entries that are here
    /// already change nothing. A line that is refused stops no other. Where
    /// `input` fails the stream is cut, or damaged if the error is of the kind
    /// `InvalidData`, as that of an unpacker; what came before is stored.
    ///
    /// # Errors
    /// [`Error::is_disk_full`](crate::Error::is_disk_full),
    /// [`Error::is_read_only`](crate::Error::is_read_only). What was added until then stays.
    pub fn import(&self, options: ImportOptions<'_>, input: impl BufRead) -> Result<ImportSummary> {
        intake::import(&self.node, &self.waiting, options, input)
    }
}
