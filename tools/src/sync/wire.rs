//! What goes to and fro beside entries. `docs/sync.md` describes it.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use thingdb::{EntryId, Hash, ImportSummary, Refusal, RefusalCounts, RefusalKind, ShortId, Time};
use utoipa::ToSchema;

use super::fault::{Fault, Outcome};

/// Ids in one question or answer.
pub(crate) const MAX_IDS: usize = 65_536;

/// Positions of completions in one answer.
pub(crate) const MAX_CHANGES: usize = 10_000;

/// Entries for which others wait, in one answer.
pub(crate) const MAX_WANTED: usize = 4096;

/// Ranges in one request for entries.
pub(crate) const MAX_RANGES: usize = 4096;

/// Characters of a reason that are told.
const MAX_REASON: usize = 1000;

/// Reasons that are told.
pub(crate) const MAX_REASONS: usize = 100;

/// `GET /sync/state`: how a node stands.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SyncState)]
pub(crate) struct State {
    /// Whose ledger it is.
    pub(crate) origin: String,
    /// The newest state of the ledger, signed.
    pub(crate) checkpoint: String,
    /// How it grew out of the state of `known` entries.
    pub(crate) proof: Vec<String>,
    /// The newest revision in the log of completions.
    pub(crate) revision: u64,
    /// The prefix that the token is for.
    pub(crate) things: String,
    /// Stands for the actors and nodes whose entries are accepted: when it is
    /// another one, what was refused may be accepted. 16 hex digits.
    pub(crate) trust: String,
    /// Entries that wait for others.
    #[serde(default)]
    pub(crate) waiting: u64,
    /// Entries of the asking node that waited and were dropped: when it is
    /// another number, everything has to be compared again.
    #[serde(default)]
    pub(crate) dropped: u64,
    /// Whether the asking node is a peer.
    pub(crate) peer: bool,
    /// The last checkpoint of the asking node that was seen here, cosigned.
    pub(crate) remembered: Option<String>,
    /// The size of the last checkpoint here that the asking node has cosigned.
    #[serde(default)]
    pub(crate) cosigned: u64,
    /// How the asking node contradicted itself, if it did.
    pub(crate) contradiction: Option<String>,
    /// Whether this node has checkpoints of third nodes to pass on.
    #[serde(default)]
    pub(crate) passes_on: bool,
    /// The newest revision of a receipt for an erasure.
    #[serde(default)]
    pub(crate) receipts: u64,
}

/// `POST /sync/checkpoint`: the asking node shows how it stands.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SyncShown)]
pub(crate) struct Shown {
    /// Who shows it.
    pub(crate) node: String,
    /// The size that is remembered.
    pub(crate) since: u64,
    /// The checkpoint.
    pub(crate) checkpoint: String,
    /// How it grew out of that.
    pub(crate) proof: Vec<String>,
    /// The checkpoint of the node that is asked, cosigned.
    #[serde(default)]
    pub(crate) yours: Option<String>,
}

/// What was made of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SyncSeen)]
pub(crate) struct Seen {
    /// `new`, `unchanged`, `outdated`, `rolled-back`, `split-view`.
    pub(crate) observed: String,
    /// The checkpoint that was shown, cosigned, if it is remembered now.
    #[serde(default)]
    pub(crate) cosigned: Option<String>,
}

/// `POST /sync/seen`: what a node has seen of others, both ways.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SyncPassedOn)]
pub(crate) struct PassedOn {
    /// The newest checkpoints of third nodes, as these signed them.
    pub(crate) checkpoints: Vec<String>,
    /// Their newest heads notes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) heads: Vec<String>,
}

/// `POST /sync/receipts`: receipts for erasures that the asking node has.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SyncReceipts)]
pub(crate) struct Receipts {
    /// As their nodes signed them, at most 256.
    pub(crate) receipts: Vec<String>,
}

/// What became of them, and those that the asked node has.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SyncReceiptsGiven)]
pub(crate) struct ReceiptsGiven {
    /// Receipts of those that came for records that are not here.
    pub(crate) unknown: u64,
    /// As their nodes signed them.
    pub(crate) receipts: Vec<String>,
    /// From which revision to go on.
    pub(crate) revision: u64,
    /// Whether there are more.
    pub(crate) more: bool,
}

/// `GET /sync/changes`: entries that were completed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SyncChanges)]
pub(crate) struct ChangedEntries {
    /// Their positions.
    pub(crate) positions: Vec<u64>,
    /// From which revision to go on.
    pub(crate) revision: u64,
    /// Whether there are more.
    pub(crate) more: bool,
}

/// What became of entries.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = SyncTally)]
pub(crate) struct Tally {
    /// Entries that were not there.
    pub(crate) added: u64,
    /// Entries that were there.
    pub(crate) known: u64,
    /// Entries that were there and lacked something.
    pub(crate) completed: u64,
    /// Entries that wait for others.
    pub(crate) pending: u64,
    /// Entries that are not wanted.
    pub(crate) refused: u64,
    /// Of those: what would have to change.
    #[serde(default, skip_serializing_if = "Kinds::is_empty")]
    pub(crate) kinds: Kinds,
    /// Envelopes that found no place in an entry, or lost it.
    #[serde(default)]
    pub(crate) envelopes_dropped: u64,
    /// Why, for some.
    pub(crate) reasons: Vec<Reason>,
}

/// How many entries are refused for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SyncKinds)]
pub(crate) struct Kinds {
    /// Nothing would help.
    pub(crate) permanent: u64,
    /// Others would have to be trusted.
    pub(crate) trust: u64,
    /// A newer version would have to run.
    pub(crate) version: u64,
    /// Time has to pass, or room to be made.
    pub(crate) passing: u64,
}

impl Kinds {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The count of a kind.
    pub(crate) const fn of(&mut self, kind: RefusalKind) -> &mut u64 {
        match kind {
            RefusalKind::Permanent => &mut self.permanent,
            RefusalKind::Version => &mut self.version,
            RefusalKind::Passing => &mut self.passing,
            _ => &mut self.trust,
        }
    }
}

/// A kind by its word. What another version says that is unknown here is tried
/// again when trust has changed.
pub(crate) fn kind_of(word: &str) -> RefusalKind {
    let kinds = [RefusalKind::Permanent, RefusalKind::Version, RefusalKind::Passing];
    kinds.into_iter().find(|kind| kind.as_str() == word).unwrap_or(RefusalKind::Trust)
}

/// `POST /sync/entries`: what became of entries that were sent.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = SyncReceived)]
pub(crate) struct Received {
    /// What became of them.
    #[serde(flatten)]
    pub(crate) tally: Tally,
    /// Entries that came whole.
    pub(crate) entries: u64,
    /// Size of the ledger afterwards.
    pub(crate) size: u64,
}

impl From<ImportSummary> for Tally {
    fn from(summary: ImportSummary) -> Self {
        let reasons = summary.reasons.into_iter().take(MAX_REASONS);
        let reason = |refusal: Refusal| Reason {
            id: refusal.id.map(|id| id.to_string()),
            code: refusal.code.as_str().to_owned(),
            kind: refusal.code.kind().as_str().to_owned(),
            again: refusal.again.map(|time| time.to_string()),
            reason: refusal.reason,
        };
        let RefusalCounts { permanent, trust, version, passing, .. } = summary.kinds;
        Self {
            kinds: Kinds { permanent, trust, version, passing },
            added: summary.added,
            known: summary.known,
            completed: summary.completed,
            pending: summary.pending,
            refused: summary.refused,
            envelopes_dropped: summary.envelopes_dropped,
            reasons: reasons.map(reason).collect(),
        }
    }
}

impl Received {
    /// The same, held against the number of entries that were sent. What an
    /// entry set free that had waited there counts too, but not as sent.
    pub(crate) fn of(mut self, sent: u64) -> Outcome<Self> {
        if self.entries != sent {
            return Err(Fault::answer(format!("{} entries arrived of {sent} that were sent", self.entries)));
        }
        let Tally { added, known, completed, pending, refused, kinds, envelopes_dropped, reasons } = &mut self.tally;
        let Kinds { permanent, trust, version, passing } = kinds;
        // Each entry brings eight and has eight.
        *envelopes_dropped = sent.saturating_mul(16).min(*envelopes_dropped);
        for count in [added, known, completed, pending, refused, permanent, trust, version, passing] {
            *count = sent.min(*count);
        }
        reasons.truncate(MAX_REASONS);
        for told in reasons.iter_mut() {
            for text in [&mut told.reason, &mut told.code, &mut told.kind] {
                *text = text.chars().take(MAX_REASON).collect();
            }
            told.again = told.again.take().filter(|time| time.parse::<Time>().is_ok());
            told.id = told.id.take().filter(|id| id.parse::<EntryId>().is_ok());
        }
        Ok(self)
    }
}

/// Why an entry is refused.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SyncReason)]
pub(crate) struct Reason {
    /// The entry.
    pub(crate) id: Option<String>,
    /// The reason, for programs.
    #[serde(default)]
    pub(crate) code: String,
    /// What would have to change: `permanent` (nothing helps), `trust`,
    /// `version`, or `passing`.
    #[serde(default)]
    pub(crate) kind: String,
    /// From when on a `passing` one is worth another try; 1970 if at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) again: Option<String>,
    /// The reason, for people.
    pub(crate) reason: String,
}

/// `GET /sync/wait`: how far the ledger is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SyncGrown)]
pub(crate) struct Grown {
    /// Entries.
    pub(crate) size: u64,
    /// The newest revision in the log of completions.
    pub(crate) revision: u64,
}

/// Hashes as they stand in JSON.
pub(crate) fn hashes_to_text(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(ToString::to_string).collect()
}

/// What stands for whom a node trusts, as it stands in JSON.
pub(crate) fn trust_of_text(text: &str) -> Option<[u8; 8]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// Most hashes of a proof: a consistency proof has two a level at most (RFC
/// 9162, section 2.1.4), and no ledger has 64 levels.
const MAX_PROOF: usize = 128;

/// The hashes of a proof from JSON; nothing if they are none, or more than a
/// proof has: evidence that is made of them has to fit its bounds.
pub(crate) fn hashes_of_text(texts: &[String]) -> Option<Vec<Hash>> {
    if texts.len() > MAX_PROOF {
        return None;
    }
    let one = |text: &String| {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        Some(Hash(bytes.try_into().ok()?))
    };
    texts.iter().map(one).collect()
}

/// Short ids, one after the other.
pub(crate) fn ids_of_bytes(bytes: &[u8]) -> Option<Vec<ShortId>> {
    let (ids, rest) = bytes.as_chunks::<16>();
    rest.is_empty().then(|| ids.to_vec())
}

/// Positions with short ids, one after the other.
pub(crate) fn places_of_bytes(bytes: &[u8]) -> Option<Vec<(u64, ShortId)>> {
    let (places, rest) = bytes.as_chunks::<24>();
    let one = |place: &[u8; 24]| {
        let (position, id) = place.split_at(8);
        Some((u64::from_be_bytes(position.try_into().ok()?), id.try_into().ok()?))
    };
    if rest.is_empty() { places.iter().map(one).collect() } else { None }
}

/// A bit an answer, the first in the lowest bit of the first byte.
pub(crate) fn bits_to_bytes(bits: &[bool]) -> Vec<u8> {
    let byte = |eight: &[bool]| eight.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    bits.chunks(8).map(byte).collect()
}

/// So many bits.
pub(crate) fn bits_of_bytes(bytes: &[u8], count: usize) -> Option<Vec<bool>> {
    let bit = |at: usize| bytes.get(at / 8).map(|byte| byte >> (at % 8) & 1 == 1);
    (bytes.len() == count.div_ceil(8)).then(|| (0..count).map(bit).collect()).flatten()
}

/// Ranges of positions, each as its start and its end.
pub(crate) fn ranges_to_bytes(ranges: &[std::ops::Range<u64>]) -> Vec<u8> {
    ranges.iter().flat_map(|range| [range.start, range.end]).flat_map(u64::to_be_bytes).collect()
}

/// Ranges that ascend and do not meet.
pub(crate) fn ranges_of_bytes(bytes: &[u8]) -> Option<Vec<std::ops::Range<u64>>> {
    let (pairs, rest) = bytes.as_chunks::<16>();
    let one = |pair: &[u8; 16]| {
        let (start, end) = pair.split_at(8);
        Some(u64::from_be_bytes(start.try_into().ok()?)..u64::from_be_bytes(end.try_into().ok()?))
    };
    let ranges: Vec<_> = pairs.iter().map(one).collect::<Option<_>>()?;
    let sound = ranges.iter().all(|range| range.start < range.end)
        && ranges.windows(2).all(|pair| matches!(pair, [a, b] if a.end <= b.start));
    (rest.is_empty() && sound && ranges.len() <= MAX_RANGES).then_some(ranges)
}

/// Ranges that hold these ascending positions and no others.
pub(crate) fn ranges_of_positions(positions: &[u64]) -> Vec<std::ops::Range<u64>> {
    let mut ranges: Vec<std::ops::Range<u64>> = Vec::new();
    for position in positions {
        match ranges.last_mut() {
            Some(last) if last.end == *position => last.end += 1,
            _ => ranges.push(*position..position + 1),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back() {
        for count in 0..40 {
            let bits: Vec<bool> = (0..count).map(|n| n % 3 == 0).collect();
            let bytes = bits_to_bytes(&bits);
            assert_eq!(bits_of_bytes(&bytes, count).unwrap(), bits);
            assert!(bits_of_bytes(&bytes, count + 8).is_none());
        }
        let ranges = ranges_of_positions(&[3, 4, 5, 9, 11, 12]);
        assert_eq!(ranges, [3..6, 9..10, 11..13]);
        assert_eq!(ranges_of_bytes(&ranges_to_bytes(&ranges)).unwrap(), ranges);
        let pairs = |bounds: &[u64]| bounds.iter().flat_map(|bound| bound.to_be_bytes()).collect::<Vec<u8>>();
        for wrong in [&[3, 3][..], &[5, 4], &[3, 6, 5, 7], &[9, 10, 3, 4]] {
            assert!(ranges_of_bytes(&pairs(wrong)).is_none(), "{wrong:?}");
        }
        assert!(ranges_of_bytes(&[0; 15]).is_none());
        let place = [&7_u64.to_be_bytes()[..], &[9; 16]].concat();
        assert_eq!(places_of_bytes(&place).unwrap(), [(7, [9; 16])]);
        assert!(ids_of_bytes(&place).is_none());
    }
}
