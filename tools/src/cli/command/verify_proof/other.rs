//! Files of other kinds, which are told by how they begin.

use thingdb::format::frame::MAGIC;

use crate::error::{Failure, Outcome};
use crate::text::quoted;

/// How a file begins, what it is then, and what takes it: `FILE` is its name.
const KINDS: [(&[u8], &str, &str); 9] = [
    (b"tdbcard1:", "a card", CARD),
    (b"thingdb.node/", "a checkpoint", CHECKPOINT),
    (b"{\"thingdb\":", "an export", STREAM),
    (b"{\"thingdb_end\":", "the end of an export", STREAM),
    (b"{\"v\":", "a stream of entries", STREAM),
    (&MAGIC, "an export", STREAM),
    (b"c2sp.org/tlog-proof@", "a proof for clients of transparency logs", AGAIN),
    // Tag 18 of CBOR: a COSE_Sign1.
    (b"\xd2", "a receipt (COSE)", AGAIN),
    (b"thingdb evidence ", "evidence of two checkpoints", "thingdb verify-evidence FILE"),
];

/// More than the longest of them has.
pub(super) const START_BYTES: u64 = 32;

const CARD: &str = "thingdb verify-proof PROOF --card @FILE, with the proof file that its node gave";
const CHECKPOINT: &str = "thingdb verify-proof PROOF --checkpoint FILE, with a proof file of its node";
const STREAM: &str = "thingdb verify FILE --card @CARD";
const AGAIN: &str =
    "a program for such proofs checks it; at the node, thingdb prove THING -o PROOF writes a proof file";

/// Refuses a file that begins as one of another kind does.
pub(super) fn refuse(name: &str, front: &[u8]) -> Outcome {
    match KINDS.iter().find(|(start, ..)| front.starts_with(start)) {
        None => Ok(()),
        Some((_, what, hint)) => {
            let file = if name == "stdin" { "-".into() } else { quoted(name) };
            let fact = format!("{name}: this is {what}; verify-proof takes a proof file, as thingdb prove writes it");
            Err(Failure::usage(fact).hint(hint.replace("FILE", &file)))
        }
    }
}
