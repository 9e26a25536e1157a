//! The lines of a proof file, checked as they come.

use std::io::{self, BufRead};

use thingdb::format::proof::{ProofCheck, ProofReader, Proven, examine_as};

use crate::bytes::examine::{Examiners, MAX_ITEM_BYTES, MAX_ITEMS, next_line, skip_blanks};
use crate::console::Console;
use crate::error::{Exit, Failure, Outcome};

/// Why a proof file was not read to its end.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// It did not come.
    Source(io::Error),
    /// Somebody wants it to end, or whoever takes the lines does not go on.
    Failure(Failure),
}

/// Takes a line: as it is, whether it stands before the entries, and what it proves.
pub(crate) type Take<'a> = dyn FnMut(&[u8], bool, Option<&Proven>) -> Outcome + 'a;

/// Has `check` take all lines, each looked at on one of the cores. `take` gets
/// each line as it is, and what it proves if that is an entry; it is told whether the
/// line stands before the entries.
pub(crate) fn read(
    console: &Console,
    mut source: impl BufRead,
    reader: Option<&ProofReader>,
    check: &mut ProofCheck,
    take: &mut Take<'_>,
) -> Result<(), Stopped> {
    let mut examiners = Examiners::new();
    let (mut lines, mut bytes) = (Vec::new(), 0);
    let interrupted = || {
        let fact = "stopped; nothing was checked to its end";
        Stopped::Failure(Failure::new(Exit::Interrupted, "interrupted", fact))
    };
    loop {
        let (line, read) = match skip_blanks(&mut source) {
            Ok(0) => next_line(&mut source),
            Ok(_) if console.is_interrupted() => return Err(interrupted()),
            Ok(blanks) => {
                examiners.pass(blanks);
                continue;
            }
            Err(problem) => (Vec::new(), Err(problem)),
        };
        let is_end = line.is_empty() || read.is_err();
        if !line.is_empty() {
            bytes += line.len();
            lines.push((examiners.next(), line));
        }
        if is_end || lines.len() >= MAX_ITEMS || bytes >= MAX_ITEM_BYTES {
            if console.is_interrupted() {
                return Err(interrupted());
            }
            bytes = 0;
            let examined = examiners.all(std::mem::take(&mut lines), |line: Vec<u8>, number, memos| {
                let examined = examine_as(&line, number, memos, reader);
                (line, examined)
            });
            for (line, examined) in examined {
                let is_preface = examined.is_preface();
                take(&line, is_preface, check.take(examined).as_ref()).map_err(Stopped::Failure)?;
            }
        }
        read.map_err(Stopped::Source)?;
        if is_end {
            return Ok(());
        }
    }
}
