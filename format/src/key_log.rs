//! What the records of one key log come to: which keys are the actor's, which of them
//! are to be believed, and where.
//!
//! It follows from the records alone, in the order in which a ledger has them. No clock
//! has a part in it.
//!
//! ```text
//! introduced   by the first key K0     promises the hash of N1
//! rotated      by N1, which was kept apart   names K1, promises the hash of N2
//! revoked      by N2      names K2; what K0 signed is good in these ledgers only
//! ```
//!
//! A key that was promised signs one record and nothing else. So whoever steals a key that
//! signs entries can take no step of the log. He can fork its beginning; then the record
//! that stands first counts, and the key that he stole is believed no more.

use std::collections::BTreeMap;

use crate::key_record::{KeyRecord, LedgerState};
use crate::{Actor, EntryId, Hash};

/// Records of one log that a reader keeps, at most.
pub const MAX_RECORDS: usize = 1024;

/// A record in its entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRecord {
    /// The entry.
    pub id: EntryId,
    /// Who signed it.
    pub signer: Actor,
    /// What it follows.
    pub prev: Vec<EntryId>,
    /// What it says.
    pub record: KeyRecord,
}

/// What a log says of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyState {
    /// It signs for the actor.
    Current,
    /// Another one has taken its place. What it signed is good.
    Former,
    /// What it signed is good where it stands in the ledgers that the log names.
    Revoked,
    /// It was the newest when a rival of its step came. What it signs from then on is not
    /// believed.
    Contested,
}

impl KeyState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Former => "former",
            Self::Revoked => "revoked",
            Self::Contested => "contested",
        }
    }
}

/// That a key was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The record.
    pub record: EntryId,
    /// Why.
    pub reason: String,
    /// Where entries of the key are good.
    pub as_of: Vec<LedgerState>,
}

/// A key log, decided.
///
/// ```
/// use thingdb_format::key_log::{KeyLog, KeyState, LoggedRecord};
/// use thingdb_format::key_record::KeyRecord;
/// use thingdb_format::{EntryId, SigningKey};
/// let key = SigningKey::from_seed(&[1; 32]).actor();
/// let record = KeyRecord::introduced("alice", key, None)?;
/// let logged = LoggedRecord { id: EntryId([7; 32]), signer: key, prev: vec![], record };
/// let log = KeyLog::resolve(&key, [&logged]).expect("the actor introduced itself");
/// assert_eq!(log.state(&key), Some(KeyState::Current));
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLog {
    name: String,
    /// The steps that count, oldest first; the first is an introduction.
    steps: Vec<Step>,
    /// The keys that sign entries, oldest first.
    keys: Vec<Actor>,
    /// Records that say something else for a step than the one that counts.
    rivals: Vec<EntryId>,
    /// Keys that were the newest when a rival came, and that rival.
    contested: BTreeMap<Actor, EntryId>,
    revocations: BTreeMap<Actor, Vec<Revocation>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    signer: Actor,
    record: KeyRecord,
    /// The entries that say it.
    ids: Vec<EntryId>,
}

impl KeyLog {
    /// Decides a log, its records in the order of a ledger: nothing if its first key
    /// never introduced itself. The records are taken to be [good in
    /// themselves](KeyRecord::of). What is no step of the log has no effect.
    #[must_use]
    pub fn resolve<'r>(first: &Actor, records: impl IntoIterator<Item = &'r LoggedRecord>) -> Option<Self> {
        let mut records = records.into_iter();
        let introduces = |logged: &&LoggedRecord| {
            matches!(&logged.record, KeyRecord::Introduced { key, .. } if key == first) && logged.signer == *first
        };
        let start = records.find(introduces)?;
        let KeyRecord::Introduced { name, .. } = &start.record else { return None };
        let mut log = Self {
            name: name.clone(),
            steps: vec![Step::of(start)],
            keys: vec![*first],
            rivals: Vec::new(),
            contested: BTreeMap::new(),
            revocations: BTreeMap::new(),
        };
        records.for_each(|logged| log.take(logged));
        Some(log)
    }

    fn take(&mut self, logged: &LoggedRecord) {
        // Each promised key signs one record, and the first key one introduction.
        let is_introduced = matches!(logged.record, KeyRecord::Introduced { .. });
        let follows = |before: Option<&Step>| {
            before.map_or(is_introduced, |before| !is_introduced && before.holds_any(&logged.prev))
        };
        let before = std::iter::once(None).chain(self.steps.iter().map(Some));
        let mut places = before.zip(&self.steps);
        let at = places.position(|(before, step)| step.signer == logged.signer && follows(before));
        let rivalled = at.and_then(|at| Some((at, self.steps.get_mut(at)?)));
        if let Some((at, step)) = rivalled {
            if step.record == logged.record {
                step.ids.push(logged.id);
                return;
            }
            self.rivals.push(logged.id);
            if at.checked_add(1) == Some(self.steps.len())
                && let Some(key) = self.keys.last()
            {
                self.contested.entry(*key).or_insert(logged.id);
            }
        } else if self.is_step(logged) {
            if let KeyRecord::Revoked(revoked) = &logged.record {
                let (reason, as_of) = (revoked.reason().to_owned(), revoked.as_of().to_vec());
                let revocation = Revocation { record: logged.id, reason, as_of };
                self.revocations.entry(revoked.key).or_default().push(revocation);
            }
            self.keys.extend(logged.record.successor().map(|successor| successor.key));
            self.steps.push(Step::of(logged));
        }
    }

    /// Whether a record is the next step.
    fn is_step(&self, logged: &LoggedRecord) -> bool {
        let is_new = |key: &Actor| !self.keys.contains(key);
        let fits = match &logged.record {
            KeyRecord::Introduced { .. } => false,
            KeyRecord::Rotated(successor) => is_new(&successor.key),
            KeyRecord::Revoked(revoked) => {
                self.keys.contains(&revoked.key)
                    && revoked.successor.as_ref().is_none_or(|successor| is_new(&successor.key))
            }
        };
        fits && self
            .steps
            .last()
            .is_some_and(|last| last.record.promises(&logged.signer) && last.holds_any(&logged.prev))
    }

    /// What the actor calls itself. A claim.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The keys that sign entries for the actor, or did: oldest first.
    #[must_use]
    pub fn keys(&self) -> &[Actor] {
        &self.keys
    }

    /// The key that signs for the actor now.
    #[must_use]
    pub fn current(&self) -> Option<&Actor> {
        self.keys.last().filter(|key| self.state(key) == Some(KeyState::Current))
    }

    /// The hash of the key that can take the next step.
    #[must_use]
    pub fn next(&self) -> Option<Hash> {
        self.steps.last()?.record.next()
    }

    /// The entry of the last step: what the next one has to follow.
    #[must_use]
    pub fn last(&self) -> Option<EntryId> {
        self.steps.last()?.ids.first().copied()
    }

    /// The entries of the steps that count.
    pub fn steps(&self) -> impl Iterator<Item = &EntryId> {
        self.steps.iter().flat_map(|step| &step.ids)
    }

    /// Entries that say something else for a step than the one that counts.
    #[must_use]
    pub fn rivals(&self) -> &[EntryId] {
        &self.rivals
    }

    /// Whether a key was the newest one when a rival of its step came, and the rival:
    /// what the key signs from then on is not believed.
    #[must_use]
    pub fn contested(&self, key: &Actor) -> Option<&EntryId> {
        self.contested.get(key)
    }

    /// What the log says of a key; nothing if it is none of the actor's.
    #[must_use]
    pub fn state(&self, key: &Actor) -> Option<KeyState> {
        let place = self.keys.iter().position(|one| one == key)?;
        if self.revocations.contains_key(key) {
            return Some(KeyState::Revoked);
        }
        if self.contested.contains_key(key) {
            return Some(KeyState::Contested);
        }
        let is_ended = self.steps.last().is_some_and(|last| self.steps.len() > 1 && last.record.successor().is_none());
        let is_last = place.checked_add(1) == Some(self.keys.len());
        Some(if is_last && !is_ended { KeyState::Current } else { KeyState::Former })
    }

    /// The revocations of a key: what it signed is good where it stands in a ledger that
    /// each of them names.
    #[must_use]
    pub fn revocations(&self, key: &Actor) -> &[Revocation] {
        self.revocations.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether `key` took the place of `before`, at once or through others, and no step on
    /// the way was contested: then whoever believes the one can believe the other.
    #[must_use]
    pub fn succeeds(&self, key: &Actor, before: &Actor) -> bool {
        self.before(key).contains(before)
    }

    /// The keys whose place a key took, at once or through others, without a contested
    /// step on the way; oldest first.
    #[must_use]
    pub fn before(&self, key: &Actor) -> &[Actor] {
        let Some(place) = self.keys.iter().position(|one| one == key) else { return &[] };
        let before = self.keys.get(..place).unwrap_or_default();
        let contested = before.iter().rposition(|one| self.contested.contains_key(one));
        let from = contested.map_or(0, |at| at.saturating_add(1));
        before.get(from..).unwrap_or_default()
    }
}

impl Step {
    fn of(logged: &LoggedRecord) -> Self {
        Self { signer: logged.signer, record: logged.record.clone(), ids: vec![logged.id] }
    }

    fn holds_any(&self, ids: &[EntryId]) -> bool {
        ids.iter().any(|id| self.ids.contains(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_record::{Successor, promise};
    use crate::{Origin, SigningKey};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn hash(seed: u8) -> Hash {
        promise(&key(seed).actor())
    }

    fn introduced(id: u8, next: Option<Hash>) -> LoggedRecord {
        let record = KeyRecord::introduced("alice", key(1).actor(), next).unwrap();
        LoggedRecord { id: EntryId([id; 32]), signer: key(1).actor(), prev: vec![], record }
    }

    fn successor(signer: u8, to: u8, next: Option<Hash>) -> Successor {
        Successor::new(&key(to), &key(1).actor(), &key(signer).actor(), next)
    }

    fn rotated(id: u8, signer: u8, after: u8, to: u8, next: Option<Hash>) -> LoggedRecord {
        let record = KeyRecord::Rotated(successor(signer, to, next));
        LoggedRecord { id: EntryId([id; 32]), signer: key(signer).actor(), prev: vec![EntryId([after; 32])], record }
    }

    fn revoked(id: u8, signer: u8, after: u8, of: u8, to: Option<u8>) -> LoggedRecord {
        let state = LedgerState { origin: Origin([id; 16]), size: 7, root: Hash([id; 32]) };
        let to = to.map(|to| successor(signer, to, None));
        let record = KeyRecord::revoked(key(of).actor(), vec![state], "stolen", to).unwrap();
        LoggedRecord { id: EntryId([id; 32]), signer: key(signer).actor(), prev: vec![EntryId([after; 32])], record }
    }

    fn resolve(records: &[LoggedRecord]) -> KeyLog {
        KeyLog::resolve(&key(1).actor(), records).unwrap()
    }

    fn state(log: &KeyLog, seed: u8) -> Option<KeyState> {
        log.state(&key(seed).actor())
    }

    #[test]
    fn the_promised_key_alone_takes_a_step() {
        let start = introduced(1, Some(hash(11)));
        let good = rotated(2, 11, 1, 2, Some(hash(12)));
        let log = resolve(&[start.clone(), good.clone()]);
        assert_eq!((state(&log, 1), state(&log, 2)), (Some(KeyState::Former), Some(KeyState::Current)));
        assert!(log.succeeds(&key(2).actor(), &key(1).actor()) && !log.succeeds(&key(1).actor(), &key(2).actor()));
        // A thief of the key of today, of the new one, or of one that was promised before.
        for thief in [1, 2, 11] {
            let theft = rotated(3, thief, 2, 66, None);
            let after = resolve(&[start.clone(), good.clone(), theft]);
            assert_eq!((after.current(), state(&after, 66)), (Some(&key(2).actor()), None), "{thief}");
            let early = resolve(&[start.clone(), rotated(3, thief, 1, 66, None)]);
            assert_eq!(state(&early, 66), (thief == 11).then_some(KeyState::Current));
        }
        // Neither what follows nothing of the log, nor a key that it had.
        for no_step in [rotated(3, 12, 9, 3, None), rotated(3, 12, 1, 3, None), rotated(3, 12, 2, 1, None)] {
            let after = resolve(&[start.clone(), good.clone(), no_step]);
            assert_eq!((after.keys(), after.rivals()), (log.keys(), log.rivals()));
        }
        assert!(KeyLog::resolve(&key(1).actor(), [&good]).is_none());
    }

    #[test]
    fn a_revocation_is_by_the_promised_key_and_of_a_key_of_this_log() {
        let start = introduced(1, Some(hash(11)));
        let log = resolve(&[start.clone(), revoked(2, 11, 1, 1, Some(2))]);
        assert_eq!((state(&log, 1), state(&log, 2)), (Some(KeyState::Revoked), Some(KeyState::Current)));
        assert_eq!(log.revocations(&key(1).actor())[0].as_of[0].size, 7);
        let ended = resolve(&[start.clone(), revoked(2, 11, 1, 1, None)]);
        assert_eq!((state(&ended, 1), ended.current(), ended.next()), (Some(KeyState::Revoked), None, None));
        for no_step in [revoked(2, 1, 1, 1, None), revoked(2, 11, 1, 2, None), revoked(2, 12, 1, 1, None)] {
            let after = resolve(&[start.clone(), no_step]);
            assert_eq!(state(&after, 1), Some(KeyState::Current));
        }
        // A key that was replaced before can be revoked later; another one goes on.
        let later = [start, rotated(2, 11, 1, 2, Some(hash(12))), revoked(3, 12, 2, 1, Some(3))];
        let log = resolve(&later);
        assert_eq!(
            [1, 2, 3].map(|seed| state(&log, seed)),
            [Some(KeyState::Revoked), Some(KeyState::Former), Some(KeyState::Current)]
        );
        // One that ends the actor leaves no key that signs.
        let log = resolve(&[later[0].clone(), later[1].clone(), revoked(3, 12, 2, 1, None)]);
        assert_eq!((state(&log, 2), log.current()), (Some(KeyState::Former), None));
    }

    #[test]
    fn a_thief_who_forks_the_beginning_stops_the_key_that_he_stole() {
        let start = introduced(1, Some(hash(11)));
        let theirs = introduced(2, Some(hash(66)));
        let theft = rotated(4, 66, 2, 67, None);
        let log = resolve(&[start.clone(), theirs.clone(), theft.clone()]);
        assert_eq!((state(&log, 1), state(&log, 67)), (Some(KeyState::Contested), None));
        assert_eq!(log.rivals(), [EntryId([2; 32])]);
        // The owner goes on. Whether his key is believed is for people to say.
        let log = resolve(&[start.clone(), theirs.clone(), theft.clone(), rotated(3, 11, 1, 2, None)]);
        assert_eq!((state(&log, 1), state(&log, 2)), (Some(KeyState::Contested), Some(KeyState::Current)));
        assert!(!log.succeeds(&key(2).actor(), &key(1).actor()));
        // After the owner's step it has no effect.
        let log = resolve(&[start, rotated(3, 11, 1, 2, None), theirs, theft]);
        assert_eq!((state(&log, 1), state(&log, 2)), (Some(KeyState::Former), Some(KeyState::Current)));
        assert!(log.succeeds(&key(2).actor(), &key(1).actor()));
        assert_eq!((log.rivals().len(), log.contested(&key(1).actor())), (1, None));
    }

    #[test]
    fn a_step_that_is_there_twice_is_one_and_two_steps_are_rivals() {
        let start = introduced(1, Some(hash(11)));
        let step = rotated(2, 11, 1, 2, Some(hash(12)));
        let mut twin = step.clone();
        twin.id = EntryId([4; 32]);
        let log = resolve(&[start.clone(), step.clone(), twin, rotated(5, 12, 4, 3, None)]);
        assert!(log.rivals().is_empty() && log.current() == Some(&key(3).actor()));
        // The first counts; its key is contested, and the key that it promised goes on.
        let rival = revoked(3, 11, 1, 1, Some(7));
        let log = resolve(&[start.clone(), step.clone(), rival.clone()]);
        assert_eq!([1, 2, 7].map(|seed| state(&log, seed)), [Some(KeyState::Former), Some(KeyState::Contested), None]);
        assert!(log.revocations(&key(1).actor()).is_empty());
        let log = resolve(&[start.clone(), step.clone(), rival.clone(), rotated(5, 12, 2, 3, None)]);
        assert_eq!((state(&log, 3), log.before(&key(3).actor())), (Some(KeyState::Current), &[][..]));
        let log = resolve(&[start, step, rotated(5, 12, 2, 3, None), rival]);
        assert_eq!((log.before(&key(3).actor()).len(), log.rivals().len()), (2, 1));
    }
}
