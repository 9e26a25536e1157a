//! A static file of a published ledger (c2sp.org/tlog-tiles).

use std::io::{self, Read};
use std::path::Path;

use thingdb::format::tiles::{ENTRY_BYTES, WIDTH};

use crate::console::{Access, Console};

/// A byte more than the largest has: what is longer is no such file.
const MAX_BYTES: u64 = (WIDTH * ENTRY_BYTES) as u64 + 1;

/// What stands in it.
pub(crate) fn read(console: &Console, path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    console.open(path, Access::Regular)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
