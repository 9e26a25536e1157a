//! Where envelopes come from, and which of them an entry keeps.
//!
//! Envelopes are not signed: what one says of itself, its `from` and its
//! recipients, is a claim. So this node remembers of each how it came here, and
//! decides by that and by nothing else. An entry keeps eight at most. The better
//! ones keep their places: those that this node made, then those that the
//! entry's own origin brought and proved to be that node, then those that open
//! the entry, which only somebody who could read it can have made. Places that
//! are left go to whoever brought the others, one each in turn and in the order
//! in which they came: a flood fills the share of who brings it.
//!
//! None of this leaves the node: for the next one it would be a claim again.

use std::collections::HashMap;

use bincode::{Decode, Encode};
use thingdb_format::{Origin, envelope};

use super::stored::StoredEnvelope;
use crate::access::tokens::TokenId;

/// From here on it is noted who else brought an envelope that is here already.
pub(crate) const CROWDED: usize = envelope::MAX_ENVELOPES / 2;

/// Who is noted to have brought one envelope, at most.
const MAX_BRINGERS: usize = 4;

/// What is known of where an envelope comes from. The greater is the better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub(crate) struct Provenance(u8);

impl Provenance {
    /// Anybody can have made it.
    pub(crate) const ANYBODY: Self = Self(0);
    /// It opened the entry here: who made it could read the entry.
    pub(crate) const OPENED: Self = Self(1);
    /// The node that wrote the entry, which the envelope names as its maker,
    /// brought it and proved to be that node.
    pub(crate) const ORIGIN: Self = Self(2);
    /// This node made it.
    pub(crate) const HERE: Self = Self(4);

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// What [`bits`](Self::bits) gave.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// What is known by both.
    #[must_use]
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is known.
    pub(crate) const fn is(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Who brought an envelope: what tells one from the other, and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub(crate) struct Bringer(pub(crate) [u8; 8]);

/// Who sends a stream of entries, as far as that is known.
///
/// ```
/// use thingdb::Sender;
/// # let origin = thingdb::Origin([1; 16]);
/// let file = Sender::unknown();
/// let pinned = Sender::node(origin);
/// assert_ne!(pinned, Sender::claiming(origin));
/// # let _ = file;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    node: Option<Origin>,
    is_proven: bool,
    token: Option<TokenId>,
}

impl Sender {
    /// Nobody can say: a file that somebody handed over.
    #[must_use]
    pub const fn unknown() -> Self {
        Self { node: None, is_proven: false, token: None }
    }

    /// A node that has proven to be this one: by the certificate that is pinned
    /// for it, or by a token that was made for it and for nobody else.
    #[must_use]
    pub const fn node(node: Origin) -> Self {
        Self { node: Some(node), is_proven: true, token: None }
    }

    /// Somebody who says to be this node.
    #[must_use]
    pub const fn claiming(node: Origin) -> Self {
        Self { node: Some(node), is_proven: false, token: None }
    }

    /// The same, who showed this token.
    #[must_use]
    pub const fn token(mut self, token: TokenId) -> Self {
        self.token = Some(token);
        self
    }

    /// The node, proven or not.
    pub(crate) const fn says(&self) -> Option<Origin> {
        self.node
    }
}

/// Who sends the stream at hand, ready for its envelopes.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(crate) struct Hand {
    /// The node that it has proven to be.
    node: Option<[u8; 16]>,
    /// Whether the same one is known again.
    is_known: bool,
    bringer: Bringer,
}

impl Hand {
    /// Of a sender. One of whom nothing is known is another one each time.
    pub(crate) fn of(sender: Sender) -> Self {
        let first = |origin: Origin| *origin.0.first_chunk().expect("8 is less than 16");
        let bringer = match sender {
            Sender { node: Some(node), is_proven: true, .. } => first(node),
            Sender { token: Some(token), .. } => {
                let [a, b, c, d] = token.bytes();
                [b't', b'o', b'k', b'n', a, b, c, d]
            }
            _ => rand::random(),
        };
        let node = sender.node.filter(|_| sender.is_proven).map(|node| node.0);
        Self { node, is_known: node.is_some() || sender.token.is_some(), bringer: Bringer(bringer) }
    }

    /// Of nobody who is known.
    pub(crate) fn unknown() -> Self {
        Self::of(Sender::unknown())
    }

    /// Whether it is that of this node, proven.
    pub(crate) fn is_of(&self, node: &Origin) -> bool {
        self.node == Some(node.0)
    }

    /// What is known of an envelope of an entry of `origin` that comes by this
    /// hand.
    pub(crate) fn provenance(&self, origin: &Origin, envelope_from: &Origin) -> Provenance {
        let is_of_origin = envelope_from == origin && self.is_of(origin);
        if is_of_origin { Provenance::ORIGIN } else { Provenance::ANYBODY }
    }

    pub(crate) const fn bringer(&self) -> Bringer {
        self.bringer
    }
}

/// What became of envelopes that came for an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Merged {
    /// Those that the entry keeps, in the order in which they came.
    pub(crate) kept: Vec<StoredEnvelope>,
    /// How many of them are new.
    pub(crate) added: usize,
    /// Those that found no place, and those that lost it.
    pub(crate) dropped: usize,
}

impl StoredEnvelope {
    fn is_same(&self, other: &Self) -> bool {
        (self.from, &self.cek, self.packets) == (other.from, &other.cek, other.packets)
    }
}

/// The envelopes that an entry keeps of those that it has and those that come,
/// by `hand` if they come from elsewhere.
pub(crate) fn merge(known: &[StoredEnvelope], coming: &[StoredEnvelope], hand: Option<&Hand>) -> Merged {
    let mut all = known.to_vec();
    let is_crowded = known.len() >= CROWDED;
    for envelope in coming {
        let Some(same) = all.iter_mut().find(|same| same.is_same(envelope)) else {
            all.push(envelope.clone());
            continue;
        };
        same.provenance = same.provenance.and(envelope.provenance);
        if is_crowded
            && hand.is_some_and(|hand| hand.is_known)
            && same.brought_by.len() < MAX_BRINGERS
            && let Some(new) = envelope.brought_by.first().filter(|new| !same.brought_by.contains(new))
        {
            same.brought_by.push(*new);
        }
    }
    let new = all.len() - known.len();
    let places = places(&all);
    let mut place = places.iter();
    let is_new = |at: usize| at >= known.len();
    let added = places.iter().enumerate().filter(|(at, kept)| is_new(*at) && **kept).count();
    all.retain(|_| place.next().copied().unwrap_or(false));
    let dropped = known.len() + new - all.len();
    Merged { kept: all, added, dropped }
}

/// Which of them have a place.
fn places(all: &[StoredEnvelope]) -> Vec<bool> {
    if all.len() <= envelope::MAX_ENVELOPES {
        return vec![true; all.len()];
    }
    let mut turns: HashMap<(Provenance, Bringer), usize> = HashMap::new();
    let mut order: Vec<(Rank, usize)> = Vec::with_capacity(all.len());
    for (at, envelope) in all.iter().enumerate() {
        // Whoever is known to be good waits for no turn.
        let mut turn = if envelope.provenance > Provenance::OPENED { Some(0) } else { None };
        for bringer in &envelope.brought_by {
            let count = turns.entry((envelope.provenance, *bringer)).or_default();
            turn = Some(turn.map_or(*count, |turn| turn.min(*count)));
            *count += 1;
        }
        order.push(((std::cmp::Reverse(envelope.provenance), turn.unwrap_or(usize::MAX)), at));
    }
    order.sort_unstable();
    let mut kept: Vec<usize> = Vec::with_capacity(envelope::MAX_ENVELOPES);
    for equals in order.chunk_by(|(one, _), (other, _)| one == other) {
        let room = envelope::MAX_ENVELOPES - kept.len();
        let is_good = equals.first().is_some_and(|((provenance, _), _)| provenance.0 > Provenance::OPENED);
        // Who came first keeps its place. But where nothing tells bringers apart,
        // neither those who come early nor those who come late shall have all.
        let early = if is_good || equals.len() <= room { room } else { room.div_ceil(2) };
        let late = equals.len().saturating_sub(room - early).max(early);
        kept.extend(equals.iter().take(early).chain(equals.iter().skip(late)).map(|(_, at)| *at));
    }
    let mut places = vec![false; all.len()];
    for at in kept {
        if let Some(place) = places.get_mut(at) {
            *place = true;
        }
    }
    places
}

/// What comes before what: the better, then the earlier turn of its bringer.
type Rank = (std::cmp::Reverse<Provenance>, usize);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn envelope(n: u8, provenance: Provenance, by: u8) -> StoredEnvelope {
        let brought_by = if provenance == Provenance::HERE { vec![] } else { vec![Bringer([by; 8])] };
        StoredEnvelope { from: [7; 16], cek: [n; 48], packets: [n; 16], is_private: false, provenance, brought_by }
    }

    fn numbers(envelopes: &[StoredEnvelope]) -> Vec<u8> {
        envelopes.iter().map(|envelope| envelope.cek[0]).collect()
    }

    #[test]
    fn the_better_ones_take_the_places_and_nothing_takes_theirs() {
        let junk: Vec<_> = (0..8).map(|n| envelope(n, Provenance::ANYBODY, 1)).collect();
        let full = merge(&[], &junk, None);
        assert_eq!((numbers(&full.kept), full.added, full.dropped), ((0..8).collect(), 8, 0));
        let good = [Provenance::OPENED, Provenance::ORIGIN, Provenance::HERE];
        let good: Vec<_> = (20..).zip(good).map(|(n, provenance)| envelope(n, provenance, 1)).collect();
        let merged = merge(&full.kept, &good, None);
        assert_eq!((numbers(&merged.kept), merged.added, merged.dropped), (vec![0, 1, 2, 3, 4, 20, 21, 22], 3, 3));
        // Whatever comes behind them.
        let flood: Vec<_> = (30..200).map(|n| envelope(n, Provenance::ANYBODY, n)).collect();
        let flooded = merge(&merged.kept, &flood, None);
        assert_eq!(flooded.kept.iter().filter(|kept| kept.provenance > Provenance::ANYBODY).count(), 3);
        assert_eq!((flooded.kept.len(), flooded.dropped), (8, 170));
    }

    #[test]
    fn a_flood_fills_the_share_of_who_brings_it() {
        let flood: Vec<_> = (0..100).map(|n| envelope(n, Provenance::ANYBODY, 1)).collect();
        let flooded = merge(&[], &flood, None);
        assert_eq!((flooded.kept.len(), flooded.dropped), (8, 92));
        let other = merge(&flooded.kept, &[envelope(200, Provenance::ANYBODY, 2)], None);
        assert_eq!((numbers(&other.kept), other.added, other.dropped), (vec![0, 1, 2, 3, 4, 5, 6, 200], 1, 1));
        // Nor does more of the flood take that place back.
        let again = merge(&other.kept, &flood, None);
        assert_eq!(numbers(&again.kept), numbers(&other.kept));
    }

    /// More bringers than places, of whom nothing is known: neither those who
    /// came before nor those who come after can have all places.
    #[test]
    fn many_bringers_keep_out_neither_who_was_first_nor_who_comes_last() {
        let mut kept = Vec::new();
        for n in 0..100 {
            kept = merge(&kept, &[envelope(n, Provenance::ANYBODY, n)], None).kept;
            assert!(numbers(&kept).contains(&n), "the last one has a place: {n}");
        }
        assert_eq!(numbers(&kept), [0, 1, 2, 3, 96, 97, 98, 99]);
        // It is another thing with those that are good: who is there stays.
        let mut kept = Vec::new();
        for n in 0..20 {
            kept = merge(&kept, &[envelope(n, Provenance::ORIGIN, n)], None).kept;
        }
        assert_eq!(numbers(&kept), (0..8).collect::<Vec<u8>>());
        assert_eq!(merge(&kept, &[envelope(99, Provenance::HERE, 0)], None).kept.len(), 8);
    }

    #[test]
    fn who_else_brought_an_envelope_counts_once_places_are_few() {
        let file = Hand::unknown();
        let peer = Hand::of(Sender::node(Origin([9; 16])));
        let some: Vec<_> = (0..8).map(|n| envelope(n, Provenance::ANYBODY, 1)).collect();
        let mut again = some[7].clone();
        again.brought_by = vec![peer.bringer()];
        // A file that comes twice is no witness.
        assert_eq!(merge(&some, std::slice::from_ref(&again), Some(&file)).kept, some);
        let seen = merge(&some, std::slice::from_ref(&again), Some(&peer));
        assert_eq!((seen.added, seen.dropped), (0, 0));
        assert_eq!(seen.kept[7].brought_by, [Bringer([1; 8]), peer.bringer()]);
        // It is the first of this bringer now, and stays when places go.
        let others: Vec<_> = (50..56).map(|n| envelope(n, Provenance::ANYBODY, n)).collect();
        assert!(numbers(&merge(&seen.kept, &others, None).kept).contains(&7));
        assert!(!numbers(&merge(&some, &others, None).kept).contains(&7));
    }

    /// Whatever comes in which order, in which pieces and how often: the better
    /// ones are all there, and what is known of each adds up.
    #[test]
    fn merges_in_any_order_end_with_the_same_best_envelopes() {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..500 {
            let best = rng.random_range(0..=envelope::MAX_ENVELOPES);
            let mut all: Vec<StoredEnvelope> = (0..rng.random_range(0..40_u8))
                .map(|n| {
                    let provenance =
                        if usize::from(n) < best { Provenance(rng.random_range(1..8)) } else { Provenance(0) };
                    envelope(n, provenance, rng.random_range(0..6))
                })
                .collect();
            // Some come more than once, and less is known of them then.
            for at in 0..all.len() {
                if rng.random_bool(0.3) {
                    all.push(StoredEnvelope { provenance: Provenance::ANYBODY, ..all[at].clone() });
                }
            }
            let mut ends = BTreeSet::new();
            for _ in 0..4 {
                all.shuffle(&mut rng);
                let mut kept: Vec<StoredEnvelope> = Vec::new();
                let mut left = &all[..];
                while !left.is_empty() {
                    let (some, rest) = left.split_at(rng.random_range(1..=left.len()));
                    let merged = merge(&kept, some, None);
                    assert!(merged.kept.len() <= envelope::MAX_ENVELOPES);
                    kept = merged.kept;
                    left = rest;
                }
                let better = kept.iter().filter(|kept| kept.provenance > Provenance::ANYBODY);
                ends.insert(better.map(|kept| (kept.cek[0], kept.provenance.0)).collect::<BTreeSet<_>>());
                assert_eq!(merge(&kept, &kept.clone(), None).kept, kept, "a merge with itself changes nothing");
            }
            assert_eq!(ends.len(), 1, "{ends:?}");
        }
    }
}
