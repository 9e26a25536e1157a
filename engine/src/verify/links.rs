//! What must hold between entries: links, the ledger's tree, the index, and
//! checkpoints.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use thingdb_format::{Actor, Checkpoint, EntryId, Hash, ThingId, Time, merkle};

use super::fingerprint;
use super::report::{Problem, Report, Verdict};
use super::scan::{self, Finding, Gap, Memo, Seen, Stretch};
use super::tips::{Head, Tip, Tips};
use crate::error::Result;
use crate::node::standing::{self, Standing};
use crate::progress;
use crate::prototype::{self, Chains};
use crate::store::Store;
use crate::store::heads_map;
use crate::store::holes;
use crate::store::ledger::{self, Ledger};
use crate::store::postings::{self, Posting};
use crate::store::recover::UNREADABLE;
use crate::store::schema::Tag;
use crate::store::state::State;
use crate::store::states;

/// Ids of missing entries that are read from the tree's rows at once.
const IDS_AT_ONCE: u64 = 4096;

/// Verifies the whole ledger.
pub(super) fn ledger(
    store: &Store,
    tree: &Ledger,
    threads: usize,
    (checkpoints, heads): (Vec<(Checkpoint, &'static str)>, Vec<SaidHeads>),
    (mut progress, is_wanted): (progress::Report<'_>, progress::Wanted<'_>),
    report: Report,
) -> Result<Report> {
    let size = tree.size();
    let mut links = Links { report, checkpoints, heads, ..Links::new(store, size) };
    links.reach();
    links.compare_heads();
    scan::ledger(store, size, threads, is_wanted, |stretch| {
        links.stretch(stretch)?;
        progress::tell(&mut progress, links.report.entries, size, 0);
        Ok(())
    })?;
    links.finish(tree)
}

struct Links<'a> {
    store: &'a Store,
    report: Report,
    tips: Tips,
    actors: HashSet<Actor>,
    /// Entries that the ledger has.
    size: u64,
    /// The position that comes next.
    next: u64,
    /// The tree over the ids so far.
    tree: Ledger,
    /// Whether all of them are known.
    tree_is_whole: bool,
    lost: Lost,
    /// Those that are still to be held against the tree.
    checkpoints: Vec<(Checkpoint, &'static str)>,
    /// What was said of the heads of all things, by size of the ledger.
    heads: Vec<SaidHeads>,
    /// The chains of the originals of migrated entries.
    chains: Chains,
}

/// What the map of heads, or the heads note, says.
pub(super) struct SaidHeads {
    pub(super) size: u64,
    pub(super) root: Hash,
    /// By whom.
    pub(super) which: &'static str,
    pub(super) verdict: Verdict,
}

/// Entries that cannot be read. What they were is known from the index.
#[derive(Default)]
struct Lost {
    /// By first position.
    ranges: BTreeMap<u64, LostRange>,
    /// Their ids, as far as the tree's rows have them.
    ids: HashSet<EntryId>,
}

struct LostRange {
    end: u64,
    detail: String,
    /// How many of them the index has named.
    named: u64,
}

impl Lost {
    fn at(&mut self, position: u64) -> Option<&mut LostRange> {
        let (_, range) = self.ranges.range_mut(..=position).next_back()?;
        (position < range.end).then_some(range)
    }
}

/// What is known of an entry that another one follows.
enum Followed {
    Found(u64, Time),
    /// It is here and cannot be read; that is told where it lies.
    Lost,
    Missing,
}

/// What the index lists of a thing.
#[derive(Default)]
struct Listed {
    /// Entries that are where the ledger holds some that can be read.
    entries: u64,
    /// Sum of the fingerprints of their postings.
    postings: u64,
    /// Whether others came after verification began.
    has_newer: bool,
    /// Whether others are lost.
    has_lost: bool,
}

impl Listed {
    /// Goes through the postings of a thing, and tells by `add` of those that are
    /// lost.
    fn of(
        store: &Store,
        tag: &Tag,
        state: &State,
        size: u64,
        lost: &mut Lost,
        add: &mut impl FnMut(Option<&Posting>, Verdict, String),
    ) -> Result<Self> {
        let mut listed = Self::default();
        for chunk in postings::chunks(1, state.last_seq()) {
            for posting in store.chunk(tag, state, chunk)?.iter() {
                // The index lists nothing before the ledger has it.
                if posting.position >= store.size() {
                    let detail = "the index lists it, the ledger ends before it".to_owned();
                    add(Some(posting), Verdict::BadIndex, detail);
                    listed.has_lost = true;
                } else if posting.position >= size {
                    listed.has_newer = true;
                } else if let Some(range) = lost.at(posting.position) {
                    range.named += 1;
                    listed.has_lost = true;
                    add(Some(posting), Verdict::Unreadable, range.detail.clone());
                } else {
                    listed.entries += 1;
                    let one = fingerprint(posting.position, posting.seq, posting.id8);
                    listed.postings = listed.postings.wrapping_add(one);
                }
            }
        }
        Ok(listed)
    }

    /// What is not as the ledger has it.
    fn compare(&self, state: &State, tip: &Tip) -> Vec<String> {
        let Self { entries, postings, has_newer, has_lost } = *self;
        if (entries, postings) != (tip.entries, tip.postings) {
            return vec![format!("the index lists {entries} entries, the ledger holds {}", tip.entries)];
        }
        let mut problems = Vec::new();
        if has_newer || has_lost {
            return problems;
        }
        let is_listed = |head: &Head| state.heads.get(&head.id).is_some_and(|listed| head.is(listed));
        if state.heads.len() != tip.heads.len() || !tip.heads.iter().all(is_listed) {
            problems.push("the index has other heads than the ledger".to_owned());
        }
        if state.entries != entries {
            problems.push(format!("the index counts {} entries and lists {entries}", state.entries));
        }
        problems
    }
}

impl<'a> Links<'a> {
    fn new(store: &'a Store, size: u64) -> Self {
        Self {
            store,
            report: Report::default(),
            tips: Tips::default(),
            actors: HashSet::new(),
            size,
            next: 0,
            tree: Ledger::default(),
            tree_is_whole: true,
            lost: Lost::default(),
            checkpoints: Vec::new(),
            heads: Vec::new(),
            chains: Chains::default(),
        }
    }

    /// Takes findings and gaps in the order of their positions.
    fn stretch(&mut self, stretch: Stretch) -> Result<()> {
        let mut gaps = stretch.gaps.into_iter().peekable();
        for finding in stretch.findings {
            while let Some(gap) = gaps.next_if(|gap| gap.positions.start <= finding.position) {
                self.lose(gap)?;
            }
            // A block that grew since the size was read.
            if finding.position >= self.size {
                continue;
            }
            if finding.position < self.next {
                let detail = "there is another record at this position".to_owned();
                let position = Some(finding.position);
                self.report.add(Problem { position, ..Problem::of_ledger(Verdict::Unreadable, detail) });
                continue;
            }
            match finding.entry {
                Some(seen) => self.take(seen, finding.position, finding.problems)?,
                None => {
                    let detail = finding.problems.into_iter().map(|(_, detail)| detail).collect::<Vec<_>>().join("; ");
                    self.lose(Gap { positions: finding.position..finding.position + 1, detail })?;
                    self.report.entries += 1;
                }
            }
        }
        gaps.try_for_each(|gap| self.lose(gap))
    }

    fn take(&mut self, seen: Seen, position: u64, problems: Vec<(Verdict, String)>) -> Result<()> {
        self.examine(&seen, position, problems)?;
        self.next = position + 1;
        self.compare_heads();
        self.push(&seen.id)
    }

    /// Holds the heads of all things against what was said of them at this size.
    fn compare_heads(&mut self) {
        let (next, is_whole) = (self.next, self.lost.ranges.is_empty());
        // Of entries that are lost nobody knows what they follow.
        let due: Vec<SaidHeads> = self.heads.extract_if(.., |said| said.size == next && is_whole).collect();
        if due.is_empty() {
            return;
        }
        let heads = |tip: &Tip| tip.heads.iter().map(|head| head.id).collect();
        let things = self.tips.iter().filter_map(|tip| Some((self.tips.thing(tip)?, tip.entries, heads(tip))));
        let found = heads_map::root_of(things);
        for SaidHeads { root, which, verdict, .. } in due.into_iter().filter(|said| said.root != found) {
            let detail = format!("the heads of all things after {next} entries give root {found}, {which} says {root}");
            self.report.add(Problem::of_ledger(verdict, detail));
        }
    }

    /// Checks an entry against those before it.
    fn examine(&mut self, seen: &Seen, position: u64, problems: Vec<(Verdict, String)>) -> Result<()> {
        self.report.entries += 1;
        for (verdict, detail) in problems {
            self.report.add(problem(seen, position, verdict, detail));
        }
        match seen.content {
            Verdict::Stub => self.report.stubs += 1,
            Verdict::Undecryptable => self.report.undecryptable += 1,
            Verdict::Erased => self.report.erased += 1,
            _ => {}
        }
        self.report.refused_erasures += u64::from(seen.is_refused_erasure);
        if let Some(original) = &seen.original {
            self.original(&seen.header.thing, original);
        }
        self.actors.insert(seen.header.actor);
        self.link(seen, position)
    }

    fn original(&mut self, thing: &ThingId, original: &prototype::Checked) {
        let report = self.report.original.get_or_insert_default();
        match original.fault {
            None => report.signatures_good += 1,
            Some(_) => report.signatures_bad += 1,
        }
        if let Some(link) = &original.link {
            self.chains.take(thing, link);
        }
    }

    /// Tells of the chains of originals, now that all entries were seen.
    fn settle_originals(&mut self) {
        let Self { store, report, tips, lost, chains, .. } = self;
        let Some(report) = &mut report.original else { return };
        let has_lost = !lost.ranges.is_empty() || !lost.ids.is_empty();
        let has_unreadable =
            |thing: &ThingId| has_lost || tips.get(&store.tag(thing)).is_some_and(|tip| tip.has_unreadable);
        report.chains = std::mem::take(chains).settle(has_unreadable);
    }

    /// Notes positions of which no record can be read. The tree's rows say
    /// which ids were there; if they do not, the tree ends here.
    fn lose(&mut self, gap: Gap) -> Result<()> {
        let Gap { positions, detail } = gap;
        if positions.is_empty() {
            self.report.add(Problem::of_ledger(Verdict::Unreadable, detail));
            return Ok(());
        }
        let Range { start, end } = positions;
        self.next = end;
        self.lost.ranges.insert(start, LostRange { end, detail, named: 0 });
        let mut at = start;
        while at < end && self.tree_is_whole {
            let until = end.min(at.saturating_add(IDS_AT_ONCE));
            let ids = match self.store.with_tree(|tree| tree.ids(at, until)) {
                Err(problem) if !problem.is_damaged() => return Err(problem),
                ids => ids.unwrap_or_default(),
            };
            if ids.is_empty() || ids.contains(&UNREADABLE) {
                self.tree_is_whole = false;
            } else {
                for id in &ids {
                    self.push(id)?;
                }
            }
            self.lost.ids.extend(ids);
            at = until;
        }
        Ok(())
    }

    /// Takes an id into the tree, and holds the rows that it fills against
    /// those that are stored.
    fn push(&mut self, id: &EntryId) -> Result<()> {
        if !self.tree_is_whole {
            return Ok(());
        }
        let Self { store, tree, report, .. } = self;
        let mut failed = None;
        tree.push_with(id, |level, index, full| {
            let detail = match ledger::read_row(&*store.storage, &store.rows, level, index) {
                Ok(stored) if stored == full => return,
                Ok(_) => format!("tile {index} of level {level} of the ledger's tree has other ids than the entries"),
                Err(problem) if problem.is_damaged() => problem.to_string(),
                Err(problem) => return failed = Some(problem),
            };
            report.add(Problem::of_ledger(Verdict::BadIndex, detail));
        });
        if let Some(problem) = failed {
            return Err(problem);
        }
        self.reach();
        Ok(())
    }

    fn link(&mut self, seen: &Seen, position: u64) -> Result<()> {
        let Self { store, report, tips, lost, .. } = self;
        let tip = tips.of(seen.tag, &seen.header.thing);
        let mut greatest = Some(0);
        for prev in &seen.header.prev {
            let known = match tip.heads.get(prev) {
                Some(head) => Followed::Found(head.seq, head.time),
                None if lost.ids.contains(prev) => Followed::Lost,
                // A fork may follow an older entry. It is looked up by the
                // index, and believed because its id is recomputed.
                None => find_before(store, &seen.tag, prev, position)?,
            };
            match known {
                Followed::Missing => {
                    let detail = format!("it follows {prev}, which is not here");
                    report.add(problem(seen, position, Verdict::MissingPrev, detail));
                    greatest = None;
                }
                Followed::Lost => greatest = None,
                Followed::Found(seq, time) => {
                    greatest = greatest.map(|greatest: u64| greatest.max(seq));
                    if time >= seen.header.time {
                        let detail = format!("time {} is not later than {time} of its prev", seen.header.time);
                        report.add(problem(seen, position, Verdict::BadLink, detail));
                    }
                }
            }
        }
        if let Some(greatest) = greatest
            && seen.header.seq != greatest + 1
        {
            let detail = format!("seq {} does not follow seq {greatest}", seen.header.seq);
            report.add(problem(seen, position, Verdict::BadLink, detail));
        }
        tip.has_unreadable |= seen.content != Verdict::Intact;
        tip.take(Head { id: seen.id, seq: seen.header.seq, time: seen.header.time, position }, &seen.header.prev);
        Ok(())
    }

    /// Holds the tree against the checkpoints of its size.
    fn reach(&mut self) {
        let size = self.tree.size();
        if self.checkpoints.iter().all(|(kept, _)| kept.size != size) {
            return;
        }
        let (due, later) = std::mem::take(&mut self.checkpoints).into_iter().partition(|(kept, _)| kept.size == size);
        self.checkpoints = later;
        for (kept, which) in due {
            if let Standing::Different { expected, found, .. } = standing::compare_root(&kept, self.tree.root()) {
                let detail = format!("the first {size} entries have root {found}, {which} says {expected}");
                self.report.add(Problem::of_ledger(Verdict::RolledBack, detail));
            }
        }
    }

    /// Holds the ledger, as the tree's rows have it, against a checkpoint. Gives
    /// it back if it agrees.
    fn stand<'c>(&mut self, kept: &'c Checkpoint) -> Result<Option<&'c Checkpoint>> {
        let (verdict, detail) = match standing::compare(self.store, kept.origin, kept) {
            Ok(Standing::Consistent) => return Ok(Some(kept)),
            Ok(found @ Standing::Truncated { .. }) => (Verdict::Truncated, found.to_string()),
            Ok(found) => (Verdict::RolledBack, found.to_string()),
            Err(problem) if problem.is_damaged() => (Verdict::BadIndex, problem.to_string()),
            Err(problem) => return Err(problem),
        };
        self.report.add(Problem::of_ledger(verdict, detail));
        Ok(None)
    }

    /// Checks that an entry is where a checkpoint has it, if it is one of those
    /// that the checkpoint covers.
    fn include(&mut self, seen: &Seen, position: u64, kept: &Checkpoint) -> Result<()> {
        if position >= kept.size {
            return Ok(());
        }
        let path = self.store.with_tree(|tree| merkle::inclusion_proof(tree, position, kept.size));
        let (verdict, detail) = match path {
            Ok(path) => match merkle::verify_inclusion(&seen.leaf, position, kept.size, &path, &kept.root) {
                Ok(()) => return Ok(()),
                Err(_) => (Verdict::RolledBack, "the checkpoint has another entry at its position".to_owned()),
            },
            Err(problem) if problem.is_damaged() => (Verdict::BadIndex, problem.to_string()),
            Err(problem) => return Err(problem),
        };
        self.report.add(problem(seen, position, verdict, detail));
        Ok(())
    }

    fn finish(mut self, tree: &Ledger) -> Result<Report> {
        for (kept, which) in std::mem::take(&mut self.checkpoints) {
            let (verdict, detail) = if kept.size > self.size {
                let detail = format!("{which} counts {} entries, the ledger has {}", kept.size, self.size);
                (Verdict::Truncated, detail)
            } else {
                let detail = format!("entries are lost, so that {which} of {} entries cannot be compared", kept.size);
                (Verdict::Unreadable, detail)
            };
            self.report.add(Problem::of_ledger(verdict, detail));
        }
        let root = self.tree.root();
        if self.tree_is_whole && root != tree.root() {
            let detail = format!("the tree's rows give root {}, the entries give {root}", tree.root());
            self.report.add(Problem::of_ledger(Verdict::BadIndex, detail));
        }
        self.report.things = self.tips.len() as u64;
        self.report.actors = self.actors.len() as u64;
        self.report.forked = self.tips.iter().filter(|tip| tip.heads.len() > 1).count() as u64;
        self.report.size = self.size;
        self.report.root = root;
        self.settle_originals();
        self.compare_index()?;
        self.tell_lost();
        Ok(self.report)
    }

    /// Holds what the index lists for each thing against what the ledger
    /// holds, and names the entries that cannot be read.
    fn compare_index(&mut self) -> Result<()> {
        let Self { store, report, tips, lost, size, .. } = self;
        states::each(store, |tag, state| {
            if let Some(tag) = tag {
                tips.list(tag);
            }
            let tip = tag.and_then(|tag| tips.get(tag));
            let state = match state {
                Ok(state) => state,
                Err(detail) => {
                    let thing = tip.and_then(|tip| tips.thing(tip));
                    report.add(Problem { thing, ..Problem::of_ledger(Verdict::BadIndex, detail) });
                    return Ok(());
                }
            };
            let mut add = |of: Option<&Posting>, verdict, detail| {
                let (thing, seq, position) = (Some(state.thing.clone()), of.map(|of| of.seq), of.map(|of| of.position));
                report.add(Problem { thing, seq, position, ..Problem::of_ledger(verdict, detail) });
            };
            if tag.is_some_and(|tag| store.tag(&state.thing) != *tag) {
                add(None, Verdict::BadIndex, "the row of another thing goes by its id".to_owned());
            }
            // Each seq has an entry: more seqs than entries are not counted.
            if state.last_seq() > store.size() {
                let detail = format!("the index has a seq {} of this thing", state.last_seq());
                add(None, Verdict::BadIndex, detail);
                return Ok(());
            }
            let Some(tag) = tag else { return Ok(()) };
            match Listed::of(store, tag, state, *size, lost, &mut add) {
                Err(problem) if problem.is_damaged() => add(None, Verdict::BadIndex, problem.to_string()),
                listed => {
                    let none = Tip::default();
                    listed?
                        .compare(state, tip.unwrap_or(&none))
                        .into_iter()
                        .for_each(|detail| add(None, Verdict::BadIndex, detail));
                }
            }
            Ok(())
        })?;
        for tip in tips.unlisted() {
            let detail = "the index does not list it".to_owned();
            report.add(Problem { thing: tips.thing(tip), ..Problem::of_ledger(Verdict::BadIndex, detail) });
        }
        Ok(())
    }

    /// Tells of the entries that cannot be read and that the index does not
    /// name either.
    fn tell_lost(&mut self) {
        for (start, range) in std::mem::take(&mut self.lost.ranges) {
            let count = range.end - start;
            let detail = match count.saturating_sub(range.named) {
                0 => continue,
                1 if count == 1 => range.detail,
                nameless => format!("{nameless} of the {count} entries from here on: {}", range.detail),
            };
            let position = Some(start);
            self.report.add(Problem { position, ..Problem::of_ledger(Verdict::Unreadable, detail) });
        }
    }
}

fn problem(seen: &Seen, position: u64, verdict: Verdict, detail: String) -> Problem {
    Problem {
        thing: Some(seen.header.thing.clone()),
        seq: Some(seen.header.seq),
        id: Some(seen.id),
        position: Some(position),
        ..Problem::of_ledger(verdict, detail)
    }
}

/// Seq and time of an entry of a thing that stands before `position`.
fn find_before(store: &Store, tag: &Tag, id: &EntryId, position: u64) -> Result<Followed> {
    let state = match store.state(tag) {
        // The index is damaged, which is told where it is compared.
        Err(problem) if problem.is_damaged() => return Ok(Followed::Lost),
        state => state?,
    };
    let Some(state) = state else { return Ok(Followed::Missing) };
    // What cannot be read is not here; it is named where it stands.
    let found = store.find(tag, &state, id, None).unwrap_or_default();
    let found = found.filter(|found| found.position < position);
    Ok(found.map_or(Followed::Missing, |found| Followed::Found(found.header.seq, found.header.time)))
}

/// Verifies the history of one thing, as the index lists it. With a checkpoint
/// also that the ledger has grown out of it, and that what the index lists is
/// in it; not that the index lists everything.
pub(super) fn thing(
    store: &Store,
    thing: &ThingId,
    kept: Option<&Checkpoint>,
    is_wanted: progress::Wanted<'_>,
) -> Result<Report> {
    let tag = store.tag(thing);
    let mut links = Links::new(store, u64::MAX);
    let kept = kept.map(|kept| links.stand(kept)).transpose()?.flatten();
    let Some(state) = store.state(&tag)? else { return Ok(links.report) };
    let (mut memo, mut near) = (Memo::default(), None);
    for chunk in postings::chunks(1, state.last_seq().min(store.size())) {
        let listed = match store.chunk(&tag, &state, chunk) {
            Err(problem) if holes::is_of_a_place(&problem) => {
                let detail = format!("a part of the index: {}", holes::detail_of(&problem));
                let thing = Some(thing.clone());
                links.report.add(Problem { thing, ..Problem::of_ledger(Verdict::BadIndex, detail) });
                continue;
            }
            listed => listed?,
        };
        for posting in listed.iter() {
            progress::go_on(is_wanted)?;
            match store.located_near_of(&state, posting, &mut near) {
                Ok(located) => {
                    let Finding { position, entry, problems } = scan::check_alone(store, &located, &mut memo);
                    if let Some(seen) = entry {
                        links.examine(&seen, position, problems)?;
                        if let Some(kept) = kept {
                            links.include(&seen, position, kept)?;
                        }
                        links.tree.push_with(&seen.id, |_, _, _| {});
                    }
                }
                Err(problem) if holes::is_of_a_place(&problem) => {
                    let detail = holes::detail_of(&problem);
                    links.report.entries += 1;
                    links.report.add(Problem {
                        thing: Some(thing.clone()),
                        seq: Some(posting.seq),
                        position: Some(posting.position),
                        ..Problem::of_ledger(Verdict::Unreadable, detail)
                    });
                    // Whether the entries that follow it do so cannot be said.
                    let end = posting.position.saturating_add(1);
                    let ids = store.with_tree(|tree| tree.ids(posting.position, end));
                    links.lost.ids.extend(ids.unwrap_or_default());
                }
                Err(problem) => return Err(problem),
            }
        }
    }
    links.settle_originals();
    let heads = links.tips.get(&tag).map_or(0, |tip| tip.heads.len());
    links.report.things = 1;
    links.report.actors = links.actors.len() as u64;
    links.report.forked = u64::from(heads > 1);
    links.report.size = links.tree.size();
    links.report.root = links.tree.root();
    Ok(links.report)
}
