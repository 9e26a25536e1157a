//! Writes a proof file.

use super::gap::gap_hashes;
use super::{ProofEnd, ProofEntry, ProofHeader, ProofTimestamp, receipt};
use crate::erasure::receipt::SignedErasureReceipt;
use crate::merkle::Subtrees;
use crate::stream::{Digest, hash_of_line};
use crate::{Cek, Entry};

/// Appends the lines of a proof file, in their order. The entries come in the
/// order of their places.
#[derive(Debug)]
pub struct ProofEncoder {
    digest: Digest,
    /// The place behind the last one.
    next: u64,
    entries: u64,
    size: u64,
}

impl ProofEncoder {
    /// Appends the first line.
    #[must_use]
    pub fn new(header: &ProofHeader, out: &mut Vec<u8>) -> Self {
        let mut encoder =
            Self { digest: Digest::default(), next: 0, entries: 0, size: header.checkpoint.claimed().size };
        encoder.line(out, |out| header.encode(out));
        encoder
    }

    /// Appends a timestamp of one of the checkpoints, before any entry.
    pub fn timestamp(&mut self, timestamp: &ProofTimestamp, out: &mut Vec<u8>) {
        self.line(out, |out| timestamp.encode(out));
    }

    /// Entries so far.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// Appends the line of an entry that stands at `place`, which is behind
    /// that of the one before and below the size of the ledger.
    ///
    /// # Errors
    /// Those of the source of hashes; nothing is appended then.
    pub fn entry<S: Subtrees + ?Sized>(
        &mut self,
        source: &S,
        place: u64,
        cek: Option<Cek>,
        entry: Entry,
        out: &mut Vec<u8>,
    ) -> Result<(), S::Error> {
        let gap = gap_hashes(source, self.next, place)?;
        self.next = place.saturating_add(1);
        self.entries = self.entries.saturating_add(1);
        self.line(out, |out| ProofEntry { place, gap, cek, entry }.encode(out));
        Ok(())
    }

    /// Appends a receipt for an erasure record of the file, behind all entries.
    pub fn receipt(&mut self, receipt: &SignedErasureReceipt, out: &mut Vec<u8>) {
        self.line(out, |out| receipt::encode(receipt, out));
    }

    /// Appends the last line.
    ///
    /// # Errors
    /// Those of the source of hashes; nothing is appended then.
    pub fn end<S: Subtrees + ?Sized>(self, source: &S, out: &mut Vec<u8>) -> Result<(), S::Error> {
        let gap = gap_hashes(source, self.next, self.size)?;
        ProofEnd { entries: self.entries, gap, digest: self.digest.value() }.encode(out);
        Ok(())
    }

    fn line(&mut self, out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        encode(out);
        self.digest.push(&hash_of_line(out.get(start..).unwrap_or_default()));
    }
}
