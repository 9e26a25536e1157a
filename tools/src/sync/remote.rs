//! What a peer's server is asked in an exchange.

use std::io::Read;
use std::ops::Range;
use std::time::Duration;

use thingdb::{Origin, ShortId};

use super::fault::{Fault, Outcome};
use super::stream;
use super::wire::{
    self, ChangedEntries, Grown, MAX_CHANGES, MAX_IDS, MAX_WANTED, PassedOn, Receipts, ReceiptsGiven, Received, Seen,
    Shown, State,
};
use crate::client::fault::Fault as ClientFault;
use crate::client::pace::Traffic;
use crate::client::question::Question;
use crate::client::{Client, Make};

/// The longest question for something new, in seconds: shorter than a line may
/// stall.
const LONGEST_POLL: u64 = 30;

/// What ids, positions and bits are sent as.
const OCTETS: &str = "application/octet-stream";

/// A peer, as an exchange sees it.
pub(crate) struct Remote {
    client: Client,
}

impl Remote {
    /// The peer whose server this is a client of.
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client of its server.
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Bytes on the wire.
    pub(crate) const fn traffic(&self) -> &Traffic {
        self.client.traffic()
    }

    /// How it stands, for `node`, which knows its state of `known` entries.
    pub(crate) fn state(&mut self, node: &Origin, known: u64) -> Outcome<State> {
        Ok(self.client.json(&Question::get(format!("/sync/state?node={node}&known={known}")))?)
    }

    /// Shows it how this node stands.
    pub(crate) fn show(&mut self, shown: &Shown) -> Outcome<Seen> {
        let body = serde_json::to_vec(shown).map_err(Fault::answer)?;
        Ok(self.client.json(&Question::post("/sync/checkpoint", "application/json").body(&body))?)
    }

    /// Tells it what was seen of third nodes, and what it has seen.
    pub(crate) fn pass_on(&mut self, seen: &PassedOn) -> Outcome<PassedOn> {
        let body = serde_json::to_vec(seen).map_err(Fault::answer)?;
        Ok(self.client.json(&Question::post("/sync/seen", "application/json").body(&body))?)
    }

    /// Gives it receipts for erasures, and asks for those that came there after a revision.
    pub(crate) fn receipts(
        &mut self,
        prefix: &str,
        node: &Origin,
        since: u64,
        sent: &Receipts,
    ) -> Outcome<ReceiptsGiven> {
        let body = serde_json::to_vec(sent).map_err(Fault::answer)?;
        let target = format!("/sync/receipts?node={node}&since={since}{}", things(prefix));
        Ok(self.client.json(&Question::post(target, "application/json").body(&body))?)
    }

    /// What it says of the heads note of this node: a signature line.
    pub(crate) fn add_heads(&mut self, note: &str) -> Outcome<String> {
        let question = Question::post("/witness/add-heads", "text/plain").body(note.as_bytes());
        String::from_utf8(self.client.bytes(&question)?).map_err(Fault::answer)
    }

    /// Positions and ids of its entries in a range, as many as it gives at once.
    pub(crate) fn ids(&mut self, prefix: &str, range: Range<u64>) -> Outcome<Vec<(u64, ShortId)>> {
        let things = things(prefix);
        let target = format!("/sync/ids?since={}&until={}{things}", range.start, range.end);
        let bytes = self.client.bytes(&Question::get(target))?;
        let places = if prefix.is_empty() {
            wire::ids_of_bytes(&bytes).map(|ids| (range.start..).zip(ids).collect())
        } else {
            wire::places_of_bytes(&bytes)
        };
        let places: Vec<(u64, ShortId)> = places.ok_or_else(|| Fault::answer("a list of ids of another length"))?;
        let ascend = places.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0));
        if !ascend || places.iter().any(|(position, _)| !range.contains(position)) {
            return Err(Fault::answer("ids at positions that were not asked for"));
        }
        Ok(places)
    }

    /// Which of these entries it has.
    pub(crate) fn have(&mut self, prefix: &str, ids: &[ShortId]) -> Outcome<Vec<bool>> {
        self.has(prefix, ids, false)
    }

    /// The same about entries that were under way when the line broke. That this
    /// is answered brings nothing forward.
    pub(crate) fn has_arrived(&mut self, prefix: &str, ids: &[ShortId]) -> Outcome<Vec<bool>> {
        self.has(prefix, ids, true)
    }

    fn has(&mut self, prefix: &str, ids: &[ShortId], is_repeated: bool) -> Outcome<Vec<bool>> {
        let mut bits = Vec::with_capacity(ids.len());
        for some in ids.chunks(MAX_IDS) {
            let things = things(prefix).replacen('&', "?", 1);
            let question = Question::post(format!("/sync/have{things}"), OCTETS).body(some.as_flattened());
            let bytes = self.client.bytes(&if is_repeated { question.repeated() } else { question })?;
            let answer = wire::bits_of_bytes(&bytes, some.len());
            bits.extend(answer.ok_or_else(|| Fault::answer("another number of answers than questions"))?);
        }
        Ok(bits)
    }

    /// Its answer to a message about the ids of its first `size` entries.
    pub(crate) fn reconcile(&mut self, size: u64, message: &[u8]) -> Outcome<Vec<u8>> {
        let question = Question::post(format!("/sync/reconcile?size={size}"), OCTETS).body(message);
        Ok(self.client.bytes(&question)?)
    }

    /// Where among its first `size` entries these are, which it named itself.
    pub(crate) fn locate(&mut self, size: u64, ids: &[ShortId]) -> Outcome<Vec<u64>> {
        let mut positions = Vec::with_capacity(ids.len());
        for some in ids.chunks(MAX_IDS) {
            let bytes = self.client.bytes(&Question::post("/sync/locate", OCTETS).body(some.as_flattened()))?;
            let (found, rest) = bytes.as_chunks::<8>();
            if !rest.is_empty() || found.len() != some.len() {
                return Err(Fault::answer("another number of positions than of entries"));
            }
            positions.extend(found.iter().copied().map(u64::from_be_bytes));
        }
        positions.sort_unstable();
        positions.dedup();
        if positions.last().is_some_and(|last| *last >= size) {
            return Err(Fault::answer("positions beyond the end that its checkpoint names"));
        }
        Ok(positions)
    }

    /// Where those of these entries are that it has, among its first `size`.
    pub(crate) fn find(&mut self, prefix: &str, size: u64, ids: &[ShortId]) -> Outcome<Vec<u64>> {
        let target = format!("/sync/locate{}", things(prefix).replacen('&', "?", 1));
        let bytes = self.client.bytes(&Question::post(target, OCTETS).body(ids.as_flattened()))?;
        let (found, rest) = bytes.as_chunks::<8>();
        let positions: Vec<u64> = found.iter().copied().map(u64::from_be_bytes).collect();
        let ascend = positions.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        if !rest.is_empty() || positions.len() > ids.len() || !ascend {
            return Err(Fault::answer("positions that were not asked for"));
        }
        // What came since the exchange began is for the next one.
        Ok(positions.into_iter().filter(|position| *position < size).collect())
    }

    /// The entries for which others wait there.
    pub(crate) fn wanted(&mut self, prefix: &str) -> Outcome<Vec<ShortId>> {
        let target = format!("/sync/wanted{}", things(prefix).replacen('&', "?", 1));
        let ids = wire::ids_of_bytes(&self.client.bytes(&Question::get(target))?);
        ids.filter(|ids| ids.len() <= MAX_WANTED).ok_or_else(|| Fault::answer("a list of ids of another length"))
    }

    /// Its entries that were completed after a revision.
    pub(crate) fn changes(&mut self, prefix: &str, node: &Origin, since: u64) -> Outcome<ChangedEntries> {
        let target = format!("/sync/changes?node={node}&since={since}{}", things(prefix));
        let changed: ChangedEntries = self.client.json(&Question::get(target))?;
        if changed.positions.len() > MAX_CHANGES || changed.revision < since {
            return Err(Fault::answer("completions that were not asked for"));
        }
        Ok(changed)
    }

    /// Waits until it has more than this, or the time is over.
    pub(crate) fn wait_for_more(&mut self, size: u64, revision: u64, most: Duration) -> Outcome {
        let seconds = most.as_secs().clamp(1, LONGEST_POLL);
        let target = format!("/sync/wait?size={size}&revision={revision}&seconds={seconds}");
        self.client.json::<Grown>(&Question::get(target))?;
        Ok(())
    }

    /// Entries in its ledger now.
    pub(crate) fn size(&mut self) -> Outcome<u64> {
        let grown: Grown = self.client.json(&Question::get("/sync/wait?size=0&revision=0&seconds=0".to_owned()))?;
        Ok(grown.size)
    }

    /// Asks for entries, once: what came before the line broke is the caller's
    /// to keep.
    pub(crate) fn fetch<T>(
        &mut self,
        prefix: &str,
        ranges: &[Range<u64>],
        take: impl FnOnce(&mut dyn Read) -> Outcome<T>,
    ) -> Outcome<T> {
        let things = things(prefix).replacen('&', "?", 1);
        let body = wire::ranges_to_bytes(ranges);
        let question = Question::post(format!("/sync/fetch{things}"), OCTETS);
        let question = question.header("accept", stream::MEDIA_TYPE).body(&body);
        self.client.stream(&question, |_, answer| take(answer))
    }

    /// Sends entries, once.
    pub(crate) fn send(&mut self, prefix: &str, node: &Origin, make: &mut Make<'_>) -> Outcome<Received> {
        let target = format!("/sync/entries?node={node}{}", things(prefix));
        let question = Question::post(target, stream::MEDIA_TYPE).header("content-encoding", "zstd");
        Ok(self.client.send(&question, make)?)
    }

    /// Waits before the next try, or gives up.
    pub(crate) fn wait(&mut self, fault: ClientFault) -> Outcome {
        Ok(self.client.wait(fault)?)
    }

    /// Something came through: the next break is the first one again.
    pub(crate) const fn goes_well(&mut self) {
        self.client.goes_well();
    }
}

/// The part of a query that names a prefix.
fn things(prefix: &str) -> String {
    if prefix.is_empty() {
        return String::new();
    }
    let mut query = "&things=".to_owned();
    for byte in prefix.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            query.push(char::from(byte));
        } else {
            query.push_str(&format!("%{byte:02X}"));
        }
    }
    query
}
