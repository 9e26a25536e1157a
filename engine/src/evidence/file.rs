//! The file in which evidence against a node is kept: a head of a few lines, and two
//! notes that the node has signed.

use std::fmt;

use thingdb_format::{Hash, NodeKey, Time};

use crate::error::{Error, Result};

const FIRST_LINE: &str = "thingdb evidence 1";
const REMEMBERED: &str = "-- remembered\n";
const SHOWN: &str = "-- shown\n";

/// Largest file: two notes and a proof.
const MAX_BYTES: usize = 2 * thingdb_format::checkpoint::MAX_NOTE_BYTES + 16_384;

/// What stands in it, taken apart and not understood.
pub(super) struct File<'t> {
    /// Who signed both notes.
    pub(super) node: NodeKey,
    /// When the second one was shown.
    pub(super) seen: Time,
    /// In what way they contradict each other.
    pub(super) found: &'t str,
    /// The hashes of a proof, in hex.
    pub(super) proof: Option<&'t str>,
    /// What was seen first.
    pub(super) remembered: &'t str,
    /// What was seen then.
    pub(super) shown: &'t str,
}

impl<'t> File<'t> {
    /// Takes a file apart. Whoever makes something of it has to look whether it is
    /// spelled as it would be written.
    pub(super) fn parse(text: &'t str) -> Result<Self> {
        if text.len() > MAX_BYTES {
            return Err(no("the file is too long"));
        }
        let (head, notes) = text.split_once("\n\n").ok_or_else(|| no("it has no empty line"))?;
        let mut lines = head.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err(no("it does not begin as evidence does"));
        }
        let mut member = |name: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.ok_or_else(|| no(&format!("it has no line {name:?}")))
        };
        let node = member("node")?.parse()?;
        let seen = member("seen")?.parse()?;
        let found = member("found")?;
        let proof = member("proof").ok();
        if lines.next().is_some() {
            return Err(no("it has other lines"));
        }
        let notes = notes.strip_prefix(REMEMBERED).and_then(|notes| notes.split_once(SHOWN));
        let (remembered, shown) = notes.ok_or_else(|| no("it does not hold two notes"))?;
        Ok(Self { node, seen, found, proof, remembered, shown })
    }
}

impl fmt::Display for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, seen, found, proof, remembered, shown } = self;
        writeln!(f, "{FIRST_LINE}\nnode {node}\nseen {seen}\nfound {found}")?;
        if let Some(proof) = proof {
            writeln!(f, "proof {proof}")?;
        }
        write!(f, "\n{REMEMBERED}{remembered}{SHOWN}{shown}")
    }
}

/// Why something shows nothing.
pub(super) fn no(reason: &str) -> Error {
    Error::NoEvidence { reason: reason.to_owned() }
}

/// Hashes in hex, one after the other.
pub(super) fn hashes(text: &str) -> Result<Vec<Hash>> {
    let no = || no("the proof is not a list of hashes");
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(|_| no())?;
    let (hashes, rest) = bytes.as_chunks::<32>();
    if rest.is_empty() { Ok(hashes.iter().copied().map(Hash).collect()) } else { Err(no()) }
}
