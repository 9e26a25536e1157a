//! The waiting room: entries whose prev has not come yet.
//!
//! They wait, in bounded number and size and for a bounded time, and go on when
//! the prev comes, whatever brought it. What each of them waits for is kept in
//! memory; the lines lie in [rows](rows) and are read again when it is their
//! turn. The room is one for all imports, so what one of them brings releases
//! what came with another.
//!
//! ```text
//! park      an entry comes before its prev
//! catch up  ids that came to the ledger since: who waited for one of them leaves
//! settle    it is in, or refused; its rows go
//! flush     what has changed is written
//! ```
//!
//! Nothing here costs anything for an import that has nothing to do with it: how
//! many wait is a row of its own, and the rest is loaded when something came to
//! the ledger or wants to wait.

mod here;
mod rows;
mod shares;

use std::collections::{BTreeMap, HashMap, VecDeque};

use sha2::{Digest, Sha256};
use thingdb_format::{EntryId, Origin};

use super::check::{Came, Candidate};
use super::source::RawLine;
use crate::error::Result;
use crate::store::Store;
use crate::store::ledger::WIDTH;
use crate::store::provenance::Hand;
use crate::store::schema::Tag;
pub(crate) use here::WaitingRoom;
pub use here::{Waiting, WaitingEntry};
use rows::RoomRow;
use shares::{Limits, Owner, Shares};

/// What may wait in rows. The largest line fits into the share of an actor.
const LIMITS: Limits = Limits { entries: 65_536, bytes: 128 << 20 };

/// What may wait in a dry run, which has no rows.
const DRY_LIMITS: Limits = Limits { entries: 65_536, bytes: 32 << 20 };

/// Bytes of entries that are kept in memory beside their rows to be: those of an
/// import that runs mostly go on in it.
const HELD_BYTES: usize = 16 << 20;

/// How long an entry may wait, in microseconds: 30 days.
const MAX_AGE: u64 = 30 * 24 * 60 * 60 * 1_000_000;

/// Lines of one entry that wait: they may have another payload or envelopes.
const MAX_LINES: usize = 4;

/// Nodes of which it is counted how much of theirs was dropped.
const MAX_SENDERS: usize = 1024;

/// Entries that the ledger grows by before it is noted how far it was looked
/// through, if nothing else is written.
const LAG_ENTRIES: u64 = 16_384;

/// An entry that waits.
struct Parked {
    /// The first of its prev that is not here.
    prev: EntryId,
    tag: Tag,
    owner: Owner,
    /// The node that sent it last, if an exchange brought it.
    from: Option<Origin>,
    since: u64,
    /// Its place in the order in which they came.
    came: u64,
    /// The import that brought it, and the line there.
    import: u64,
    line: u64,
    lines: Vec<ParkedLine>,
    /// Whether it has a row that says all this.
    is_stored: bool,
    is_dirty: bool,
}

struct ParkedLine {
    slot: u8,
    /// Of what it has beside the header.
    hash: [u8; 8],
    /// What it is counted with.
    cost: u32,
    /// Its length in rows.
    len: u32,
    /// Who brought it.
    hand: Hand,
    is_stored: bool,
    /// Checked and laid out, as long as there is room in memory.
    held: Option<Box<Candidate>>,
}

impl Parked {
    fn cost(&self) -> u64 {
        self.lines.iter().map(|line| u64::from(line.cost)).sum()
    }

    fn next_slot(&self) -> u8 {
        let is_free = |slot: &u8| self.lines.iter().all(|line| line.slot != *slot);
        (0..MAX_LINES as u8).find(is_free).unwrap_or(0)
    }
}

/// An entry that leaves, until it is known what becomes of it.
struct Leaving {
    parked: Parked,
    /// Where the prev is for which it waited.
    position: u64,
    import: u64,
}

/// An import, as the room knows it.
#[derive(Clone, Copy)]
pub(super) struct Asks {
    import: u64,
    /// Whether it keeps what is refused.
    pub(super) keeps: bool,
}

/// An entry that waits for nothing any more, or for something that can never be.
pub(super) enum Released {
    /// Its prev is here: the lines that came, checked or as they lie in rows.
    Goes(EntryId, Vec<ReleasedLine>),
    /// Its prev is an entry of another thing.
    Crossed(EntryId, Gone),
}

pub(super) enum ReleasedLine {
    Checked(Box<Candidate>),
    /// With who brought it.
    Stored(Vec<u8>, Hand),
}

/// An entry that waits no more and does not go on.
pub(super) struct Gone {
    pub(super) id: EntryId,
    /// Whether the import that asks brought it. Otherwise it is counted for its
    /// sender.
    pub(super) is_own: bool,
    pub(super) line: u64,
    pub(super) came: Came,
}

/// An entry that wants to wait.
pub(super) struct Arrival {
    pub(super) prev: EntryId,
    pub(super) candidate: Candidate,
    pub(super) from: Option<Origin>,
    /// Microseconds since 1970.
    pub(super) now: u64,
    /// The import that brings it.
    pub(super) asks: Asks,
    /// Size of the ledger before the prev was looked for.
    pub(super) size: u64,
}

/// What became of an entry that wanted to wait.
pub(super) enum Parking {
    /// It waits.
    Waits,
    /// There is no room for it.
    Full(Box<Candidate>),
    /// Its prev waits as well, and is an entry of another thing.
    Crossed(Box<Candidate>),
}

/// See the [module](self).
pub(crate) struct Room {
    parked: HashMap<EntryId, Parked>,
    /// Those who came first stand in front.
    by_prev: HashMap<EntryId, VecDeque<EntryId>>,
    leaving: HashMap<EntryId, Leaving>,
    shares: Shares,
    held_bytes: usize,
    /// Entries of the ledger below this position were looked through.
    checked: u64,
    came: u64,
    imports: u64,
    /// Rows that are to go, by entry and number of parts of each line.
    dead: Vec<Vec<u8>>,
    /// What the row says; what it says of the entries holds until they are
    /// loaded.
    row: RoomRow,
    is_loaded: bool,
    displaced: u64,
    expired: u64,
    /// How many of those that a node sent were dropped.
    dropped: BTreeMap<[u8; 16], u64>,
}

impl Room {
    /// With what the rows say.
    fn open(store: &Store) -> Result<Self> {
        let row = rows::read_room(store)?;
        let size = store.size();
        let mut room = Self::empty(LIMITS);
        room.is_loaded = row.entries == 0;
        // A ledger that was set back grows anew.
        room.checked = if room.is_loaded { size } else { row.checked.min(size) };
        (room.displaced, room.expired) = (row.displaced, row.expired);
        room.dropped = row.dropped.iter().copied().collect();
        room.row = row;
        Ok(room)
    }

    /// For a dry run.
    pub(super) fn imaginary() -> Self {
        Self::empty(DRY_LIMITS)
    }

    fn empty(limits: Limits) -> Self {
        Self {
            parked: HashMap::new(),
            by_prev: HashMap::new(),
            leaving: HashMap::new(),
            shares: Shares::new(limits),
            held_bytes: 0,
            checked: 0,
            came: 0,
            imports: 0,
            dead: Vec::new(),
            row: RoomRow::default(),
            is_loaded: true,
            displaced: 0,
            expired: 0,
            dropped: BTreeMap::new(),
        }
    }

    fn load(&mut self, store: &Store) -> Result<()> {
        if std::mem::replace(&mut self.is_loaded, true) {
            return Ok(());
        }
        for (id, parked) in rows::load(store, &mut self.dead)? {
            let came = self.came;
            self.came += 1;
            self.insert(id, Parked { came, ..parked });
        }
        Ok(())
    }

    /// How many wait.
    pub(super) fn len(&self) -> u64 {
        if self.is_loaded { self.shares.entries() } else { self.row.entries }
    }

    /// The number of an import that begins.
    pub(super) const fn begin(&mut self, keeps: bool) -> Asks {
        self.imports += 1;
        Asks { import: self.imports, keeps }
    }

    fn insert(&mut self, id: EntryId, parked: Parked) {
        self.shares.add(parked.owner, parked.came, id, parked.cost());
        self.by_prev.entry(parked.prev).or_default().push_back(id);
        self.parked.insert(id, parked);
    }

    fn remove(&mut self, id: &EntryId) -> Option<Parked> {
        let parked = self.parked.remove(id)?;
        self.shares.remove(parked.owner, parked.came, *id, parked.cost());
        if let Some(same) = self.by_prev.get_mut(&parked.prev) {
            if let Some(at) = same.iter().position(|other| other == id) {
                same.remove(at);
            }
            if same.is_empty() {
                self.by_prev.remove(&parked.prev);
            }
        }
        Some(parked)
    }

    /// Lets an entry wait, in the place of others if there is no room. Those who
    /// had to go for it are put to `gone`.
    pub(super) fn park(&mut self, store: &Store, arrival: Arrival, gone: &mut Vec<Gone>) -> Result<Parking> {
        self.load(store)?;
        let Arrival { prev, mut candidate, from, now, asks, size } = arrival;
        // What came to the ledger since its prev was looked for is looked
        // through once more.
        self.checked = self.checked.min(size);
        let id = candidate.arrived.id;
        if let Some(other) = self.parked.get(&prev)
            && other.tag != candidate.arrived.tag
        {
            return Ok(Parking::Crossed(Box::new(candidate)));
        }
        if let Some(Leaving { parked, .. }) = self.leaving.remove(&id) {
            let is_dirty = parked.prev != prev || parked.is_dirty;
            self.insert(id, Parked { prev, is_dirty, ..parked });
        }
        let header = &candidate.arrived.header;
        let owner = Owner { origin: header.origin, actor: header.actor };
        let hash = hash_of(&candidate);
        let cost = u32::try_from(candidate.bytes()).unwrap_or(u32::MAX);
        let is_known = self.parked.contains_key(&id);
        let came = self.came;
        let parked = self.parked.entry(id).or_insert_with(|| Parked {
            prev,
            tag: candidate.arrived.tag,
            owner,
            from,
            since: now,
            came,
            import: asks.import,
            line: candidate.line,
            lines: Vec::new(),
            is_stored: false,
            is_dirty: true,
        });
        if from.is_some() && parked.from != from {
            (parked.from, parked.is_dirty) = (from, true);
        }
        let hand = candidate.arrived.hand;
        let at = parked.lines.iter().position(|line| line.hash == hash);
        if let Some(line) = at.and_then(|at| parked.lines.get_mut(at)) {
            if hand.is_of(&owner.origin) && !line.hand.is_of(&owner.origin) {
                // Its envelopes are the origin's own, whoever brought them first.
                (line.hand, parked.is_dirty) = (hand, true);
                if let Some(held) = &mut line.held {
                    candidate.came = Came::NotKept;
                    **held = candidate;
                }
            } else if !line.is_stored && line.held.is_none() {
                self.held_bytes += candidate.bytes();
                line.held = Some(Box::new(candidate));
            }
            return Ok(Parking::Waits);
        }
        if parked.lines.len() >= MAX_LINES {
            return Ok(Parking::Full(Box::new(candidate)));
        }
        // It may wait for long: the lines beside it must not wait with it.
        candidate.came = Came::NotKept;
        self.held_bytes += candidate.bytes();
        let slot = parked.next_slot();
        parked.is_dirty = true;
        parked.lines.push(ParkedLine {
            slot,
            hash,
            cost,
            len: 0,
            hand,
            is_stored: false,
            held: Some(Box::new(candidate)),
        });
        if is_known {
            self.shares.grow(parked.owner, u64::from(cost));
        } else {
            self.came += 1;
            let cost = parked.cost();
            self.shares.add(owner, came, id, cost);
            self.by_prev.entry(prev).or_default().push_back(id);
        }
        while let Some(victim) = self.shares.one_too_many(owner) {
            let Some(parked) = self.remove(&victim) else { break };
            let one = self.bury(store, victim, parked, asks);
            if !one.is_own {
                self.displaced += 1;
            }
            gone.push(one);
        }
        Ok(Parking::Waits)
    }

    /// An entry goes that will not go on.
    fn bury(&mut self, store: &Store, id: EntryId, parked: Parked, asks: Asks) -> Gone {
        let is_own = parked.import == asks.import;
        if !is_own {
            self.count_dropped(parked.from);
        }
        let line = if is_own { parked.line } else { 0 };
        let raw = asks.keeps.then(|| first_line(store, &id, &parked)).flatten();
        self.rows_go(&id, &parked);
        self.held_bytes = self.held_bytes.saturating_sub(held_bytes(&parked));
        Gone { id, is_own, line, came: raw.map_or(Came::NotKept, |raw| Came::Line(RawLine::alone(raw))) }
    }

    fn count_dropped(&mut self, from: Option<Origin>) {
        let Some(from) = from else { return };
        // Who sends says who it is: names that nobody bears must not add up.
        if self.dropped.len() < MAX_SENDERS || self.dropped.contains_key(&from.0) {
            *self.dropped.entry(from.0).or_default() += 1;
        }
    }

    fn rows_go(&mut self, id: &EntryId, parked: &Parked) {
        if parked.is_stored {
            self.dead.push(rows::entry_key(id));
        }
        for line in parked.lines.iter().filter(|line| line.is_stored) {
            self.dead.extend(rows::line_keys(id, line.slot, line.len));
        }
    }

    /// Who waited for an entry that is of the thing with `tag` and lies at
    /// `position`.
    fn release(
        &mut self,
        store: &Store,
        prev: &EntryId,
        tag: Option<Tag>,
        position: u64,
        asks: Asks,
        out: &mut Vec<Released>,
    ) {
        for id in self.by_prev.remove(prev).unwrap_or_default() {
            let Some(mut parked) = self.remove(&id) else { continue };
            if tag.is_some_and(|tag| tag != parked.tag) {
                let gone = self.bury(store, id, parked, asks);
                out.push(Released::Crossed(*prev, gone));
                continue;
            }
            self.held_bytes = self.held_bytes.saturating_sub(held_bytes(&parked));
            let mut lines = Vec::new();
            for line in &mut parked.lines {
                match line.held.take() {
                    Some(candidate) => lines.push(ReleasedLine::Checked(candidate)),
                    None => {
                        // One that is damaged goes: whoever sent it has it.
                        let read = rows::read_line(store, &id, line.slot, line.len);
                        lines.extend(read.map(|raw| ReleasedLine::Stored(raw, line.hand)));
                    }
                }
            }
            if lines.is_empty() {
                self.count_dropped(parked.from);
            }
            self.leaving.insert(id, Leaving { parked, position, import: asks.import });
            out.push(Released::Goes(id, lines));
        }
    }

    /// For a dry run: who waited for an entry that would be here.
    pub(super) fn release_imagined(&mut self, store: &Store, prev: &EntryId, tag: Tag, asks: Asks) -> Vec<Released> {
        let mut out = Vec::new();
        self.release(store, prev, Some(tag), 0, asks, &mut out);
        out
    }

    /// Looks through what came to the ledger since, some of it at once: who
    /// waited for it leaves. Nothing if there was nothing to look through.
    pub(super) fn catch_up(&mut self, store: &Store, asks: Asks) -> Result<Vec<Released>> {
        let size = store.size();
        let mut out = Vec::new();
        if self.len() == 0 {
            self.checked = size;
        }
        while self.checked < size && out.is_empty() {
            self.load(store)?;
            let end = size.min((self.checked / WIDTH + 1) * WIDTH);
            let ids = match store.with_tree(|tree| tree.ids(self.checked, end)) {
                // Where ids cannot be read, nothing is known of them.
                Err(problem) if problem.is_damaged() => Vec::new(),
                ids => ids?,
            };
            for (position, id) in (self.checked..).zip(ids) {
                if self.by_prev.contains_key(&id) {
                    // A record that does not open is for the committer to tell.
                    let tag = store.located_at(position).ok().map(|found| store.tag(&found.header.thing));
                    self.release(store, &id, tag, position, asks, &mut out);
                }
            }
            self.checked = end;
        }
        Ok(out)
    }

    /// What became of an entry that left is known.
    pub(super) fn settle(&mut self, id: &EntryId) {
        if self.leaving.is_empty() {
            return;
        }
        if let Some(Leaving { parked, .. }) = self.leaving.remove(id) {
            self.rows_go(id, &parked);
        }
    }

    /// An import ends: what it let go and did not come to goes back.
    pub(super) fn put_back(&mut self, asks: Asks) {
        let left: Vec<EntryId> =
            self.leaving.iter().filter(|(_, leaving)| leaving.import == asks.import).map(|(id, _)| *id).collect();
        for id in left {
            let Some(Leaving { mut parked, position, .. }) = self.leaving.remove(&id) else { continue };
            parked.lines.retain(|line| line.is_stored);
            if parked.lines.is_empty() {
                self.count_dropped(parked.from);
                continue;
            }
            self.checked = self.checked.min(position);
            self.insert(id, parked);
        }
    }

    /// Lets those go who have waited for too long. Gives how many.
    pub(super) fn expire(&mut self, store: &Store, now: u64) -> Result<u64> {
        let oldest = if self.is_loaded { self.oldest() } else { self.row.oldest };
        if oldest.is_none_or(|oldest| oldest.saturating_add(MAX_AGE) >= now) {
            return Ok(0);
        }
        self.load(store)?;
        let is_old = |parked: &Parked| parked.since.saturating_add(MAX_AGE) < now;
        let old: Vec<EntryId> = self.parked.iter().filter(|(_, parked)| is_old(parked)).map(|(id, _)| *id).collect();
        let mut count = 0;
        for id in old {
            let Some(parked) = self.remove(&id) else { continue };
            // No import brought it.
            self.bury(store, id, parked, Asks { import: u64::MAX, keeps: false });
            count += 1;
        }
        self.expired += count;
        Ok(count)
    }

    fn oldest(&self) -> Option<u64> {
        self.parked.values().map(|parked| parked.since).min()
    }

    /// Whether what is held in memory should get its rows.
    pub(super) const fn is_heavy(&self) -> bool {
        self.held_bytes > HELD_BYTES
    }

    /// The prev of those of `ids` that wait, as far as they are known, each with
    /// who waits for it.
    pub(super) fn prev_of(&self, ids: &[EntryId]) -> Vec<(EntryId, EntryId)> {
        // A stranger may name very many.
        const MOST: usize = 65_536;
        let mut all = Vec::new();
        for id in ids {
            let Some(parked) = self.parked.get(id) else { continue };
            all.push((parked.prev, *id));
            if let (true, Some(held)) = (all.len() < MOST, parked.lines.iter().find_map(|line| line.held.as_ref())) {
                let others = held.arrived.header.prev.iter().filter(|prev| **prev != parked.prev);
                all.extend(others.map(|prev| (*prev, *id)));
            }
        }
        all
    }

    /// The thing of an entry that waits.
    pub(super) fn tag_of(&self, id: &EntryId) -> Option<Tag> {
        self.parked.get(id).map(|parked| parked.tag)
    }

    /// Takes an entry out that can never go on.
    pub(super) fn take(&mut self, store: &Store, id: &EntryId, asks: Asks) -> Option<Gone> {
        let parked = self.remove(id)?;
        Some(self.bury(store, *id, parked, asks))
    }

    /// Whether an entry waits.
    pub(super) fn has(&mut self, store: &Store, id: &EntryId) -> Result<bool> {
        if self.len() > 0 {
            self.load(store)?;
        }
        Ok(self.parked.contains_key(id))
    }

    /// The lines of those who wait for `prev`; they go on waiting.
    pub(super) fn copies(&mut self, store: &Store, prev: &EntryId) -> Result<Vec<(EntryId, Vec<u8>, Hand)>> {
        if self.len() == 0 {
            return Ok(Vec::new());
        }
        self.load(store)?;
        let mut copies = Vec::new();
        for id in self.by_prev.get(prev).into_iter().flatten() {
            let Some(parked) = self.parked.get(id) else { continue };
            let first = first_line(store, id, parked).zip(parked.lines.first());
            copies.extend(first.map(|(raw, line)| (*id, raw, line.hand)));
        }
        Ok(copies)
    }

    /// How many entries that `node` sent lost their place.
    fn dropped_from(&self, node: &Origin) -> u64 {
        self.dropped.get(&node.0).copied().unwrap_or(0)
    }
}

fn held_bytes(parked: &Parked) -> usize {
    parked.lines.iter().filter_map(|line| line.held.as_ref()).map(|held| held.bytes()).sum()
}

/// What came of it first, as a line.
fn first_line(store: &Store, id: &EntryId, parked: &Parked) -> Option<Vec<u8>> {
    let line = parked.lines.first()?;
    match &line.held {
        Some(candidate) => Some(candidate.to_line()),
        None => rows::read_line(store, id, line.slot, line.len),
    }
}

/// Copies of an entry that differ in what is not signed have different hashes.
/// The line is not written for it: it can be many times as large as what came.
fn hash_of(candidate: &Candidate) -> [u8; 8] {
    let mut hasher = Sha256::new_with_prefix([u8::from(candidate.arrived.record.payload().is_some())]);
    for envelope in &candidate.envelopes {
        hasher.update(envelope.from.0);
        hasher.update(envelope.cek);
        hasher.update(envelope.recipients.name().0);
    }
    let hash: [u8; 32] = hasher.finalize().into();
    *hash.first_chunk().expect("8 is less than 32")
}
