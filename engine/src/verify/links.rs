//! What must hold between entries: links, the ledger's tree, the index, and
//! checkpoints.

use std::collections::{HashMap, HashSet};

use thingdb_format::merkle::Frontier;
use thingdb_format::signature::BatchMemo;
use thingdb_format::{Actor, Checkpoint, EntryId, ThingId, Time};

use super::report::{Problem, Report, Verdict};
use super::scan::{self, Finding, Seen};
use super::{fingerprint, name_of};
use crate::committer::id8;
use crate::error::Result;
use crate::index::{self, State};
use crate::progress;
use crate::schema::{self, Tag};
use crate::standing::{self, Standing};
use crate::storage::Direction;
use crate::store::Store;

/// What the entries of one thing say so far.
#[derive(Default)]
struct Tip {
    heads: Vec<(EntryId, u64, Time)>,
    entries: u64,
    /// Sum of the fingerprints of what the index should list.
    postings: u64,
}

/// Verifies the whole ledger.
pub(super) fn ledger(
    store: &Store,
    threads: usize,
    checkpoints: Vec<(Checkpoint, &'static str)>,
    mut progress: progress::Report<'_>,
    report: Report,
) -> Result<Report> {
    let tree = store.tree();
    let size = tree.size();
    let mut links =
        Links { store, report, tips: HashMap::new(), actors: HashSet::new(), tree: Frontier::default(), checkpoints };
    links.reach(0);
    scan::ledger(store, size, threads, |stretch| {
        for gap in stretch.gaps {
            let detail = format!("{} entries are missing from position {} on", gap.end - gap.start, gap.start);
            let position = Some(gap.start);
            links.report.add(Problem { position, ..Problem::of_ledger(Verdict::Unreadable, detail) });
        }
        for finding in stretch.findings {
            // A block that grew since the size was read.
            if finding.position < size {
                links.take(finding)?;
            }
        }
        progress::tell(&mut progress, links.report.entries, size, 0);
        Ok(())
    })?;
    links.finish(size, &tree)
}

struct Links<'a> {
    store: &'a Store,
    report: Report,
    tips: HashMap<Tag, Tip>,
    actors: HashSet<Actor>,
    tree: Frontier,
    /// Those that are still to be held against the tree.
    checkpoints: Vec<(Checkpoint, &'static str)>,
}

impl Links<'_> {
    fn take(&mut self, finding: Finding) -> Result<()> {
        self.report.entries += 1;
        let position = finding.position;
        let Some(seen) = finding.entry else {
            let name = name_of(self.store, position);
            for (verdict, detail) in finding.problems {
                self.report.add(Problem {
                    thing: name.as_ref().map(|(thing, _)| thing.clone()),
                    seq: name.as_ref().map(|(_, seq)| *seq),
                    position: Some(position),
                    ..Problem::of_ledger(verdict, detail)
                });
            }
            return Ok(());
        };
        for (verdict, detail) in finding.problems {
            self.report.add(problem(&seen, position, verdict, detail));
        }
        match seen.content {
            Verdict::Stub => self.report.stubs += 1,
            Verdict::Undecryptable => self.report.undecryptable += 1,
            _ => {}
        }
        self.actors.insert(seen.header.actor);
        self.link(&seen, position)?;
        self.tree.push(seen.leaf);
        self.reach(self.tree.size());
        Ok(())
    }

    fn link(&mut self, seen: &Seen, position: u64) -> Result<()> {
        let tip = self.tips.entry(seen.tag).or_default();
        let mut greatest = Some(0);
        for prev in &seen.header.prev {
            let known = match tip.heads.iter().find(|(id, ..)| id == prev) {
                Some((_, seq, time)) => Some((*seq, *time)),
                // A fork may follow an older entry. It is looked up by the
                // index, and believed because its id is recomputed.
                None => find_before(self.store, &seen.tag, prev, position)?,
            };
            match known {
                None => {
                    let detail = format!("it follows {prev}, which is not here");
                    self.report.add(problem(seen, position, Verdict::MissingPrev, detail));
                    greatest = None;
                }
                Some((seq, time)) => {
                    greatest = greatest.map(|greatest: u64| greatest.max(seq));
                    if time >= seen.header.time {
                        let detail = format!("time {} is not later than {time} of its prev", seen.header.time);
                        self.report.add(problem(seen, position, Verdict::BadLink, detail));
                    }
                }
            }
        }
        if let Some(greatest) = greatest
            && seen.header.seq != greatest + 1
        {
            let detail = format!("seq {} does not follow seq {greatest}", seen.header.seq);
            self.report.add(problem(seen, position, Verdict::BadLink, detail));
        }
        tip.heads.retain(|(id, ..)| !seen.header.prev.contains(id));
        tip.heads.push((seen.id, seen.header.seq, seen.header.time));
        tip.entries += 1;
        tip.postings = tip.postings.wrapping_add(fingerprint(position, seen.slot, seen.header.seq, id8(&seen.id)));
        Ok(())
    }

    /// Holds the tree against the checkpoints of this size.
    fn reach(&mut self, size: u64) {
        let (due, later) = std::mem::take(&mut self.checkpoints).into_iter().partition(|(kept, _)| kept.size == size);
        self.checkpoints = later;
        for (kept, which) in due {
            if let Standing::Different { expected, found, .. } = standing::compare_root(&kept, self.tree.root()) {
                let detail = format!("the first {size} entries have root {found}, {which} says {expected}");
                self.report.add(Problem::of_ledger(Verdict::RolledBack, detail));
            }
        }
    }

    fn finish(mut self, size: u64, tree: &crate::ledger::Ledger) -> Result<Report> {
        for (kept, which) in std::mem::take(&mut self.checkpoints) {
            let detail = format!("{which} counts {} entries, the ledger has {}", kept.size, self.tree.size());
            self.report.add(Problem::of_ledger(Verdict::Truncated, detail));
        }
        let root = self.tree.root();
        if self.tree.size() == size && root != tree.root() {
            let detail = format!("the tree's rows give root {}, the entries give {root}", tree.root());
            self.report.add(Problem::of_ledger(Verdict::BadIndex, detail));
        }
        self.report.things = self.tips.len() as u64;
        self.report.actors = self.actors.len() as u64;
        self.report.forked = self.tips.values().filter(|tip| tip.heads.len() > 1).count() as u64;
        self.report.size = size;
        self.report.root = root;
        self.compare_index(size)?;
        Ok(self.report)
    }

    /// Holds what the index lists for each thing against what the ledger holds.
    fn compare_index(&mut self, size: u64) -> Result<()> {
        let (store, report, tips) = (self.store, &mut self.report, &mut self.tips);
        let mut add = |thing: &ThingId, detail: String| {
            let thing = Some(thing.clone());
            report.add(Problem { thing, ..Problem::of_ledger(Verdict::BadIndex, detail) });
        };
        for_each_state(store, |tag, state| {
            let (mut entries, mut postings, mut newer) = (0, 0_u64, false);
            for chunk in index::chunks(1, state.last_seq()) {
                for posting in store.chunk(tag, state, chunk)? {
                    if posting.position >= size {
                        newer = true;
                        continue;
                    }
                    entries += 1;
                    postings =
                        postings.wrapping_add(fingerprint(posting.position, posting.slot, posting.seq, posting.id8));
                }
            }
            let tip = tips.remove(tag).unwrap_or_default();
            if (entries, postings) != (tip.entries, tip.postings) {
                add(&state.thing, format!("the index lists {entries} entries, the ledger holds {}", tip.entries));
            } else if !newer {
                let same = |(id, ..): &(EntryId, u64, Time)| state.heads().any(|head| head.id == *id);
                if state.heads().count() != tip.heads.len() || !tip.heads.iter().all(same) {
                    add(&state.thing, "the index has other heads than the ledger".to_owned());
                }
            }
            Ok(true)
        })?;
        let missing = self.tips.len() as u64;
        if missing > 0 {
            let detail = format!("the index lacks {missing} things that the ledger holds");
            self.report.add(Problem::of_ledger(Verdict::BadIndex, detail));
        }
        Ok(())
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
fn find_before(store: &Store, tag: &Tag, id: &EntryId, position: u64) -> Result<Option<(u64, Time)>> {
    let Some(state) = store.state(tag)? else { return Ok(None) };
    // What cannot be read is not here; it is named where it stands.
    let found = store.find(tag, &state, id, None).unwrap_or_default();
    let found = found.filter(|found| found.position < position);
    Ok(found.map(|found| (found.header.seq, found.header.time)))
}

/// Calls `act` for each state, in rows or not yet, for as long as it says.
pub(super) fn for_each_state(store: &Store, mut act: impl FnMut(&Tag, &State) -> Result<bool>) -> Result<()> {
    let mut seen = HashSet::new();
    for (tag, state) in store.index.unwritten_states() {
        if !act(&tag, &state)? {
            return Ok(());
        }
        seen.insert(tag);
    }
    for row in store.storage.scan(&schema::states(), Direction::Forward) {
        let (key, sealed) = row?;
        let Some(tag) = schema::tag_of_state(&key).filter(|tag| !seen.contains(tag)) else { continue };
        // Memory may be ahead of the row that was just read.
        let state = match store.state(&tag)? {
            Some(state) => state,
            None => std::sync::Arc::new(index::open_state(&store.rows, &key, &sealed)?),
        };
        if !act(&tag, &state)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Verifies the history of one thing, as the index lists it.
pub(super) fn thing(store: &Store, thing: &ThingId) -> Result<Report> {
    let tag = store.tag(thing);
    let mut links = Links {
        store,
        report: Report::default(),
        tips: HashMap::new(),
        actors: HashSet::new(),
        tree: Frontier::default(),
        checkpoints: Vec::new(),
    };
    let Some(state) = store.state(&tag)? else { return Ok(links.report) };
    let mut memo = BatchMemo::default();
    for chunk in index::chunks(1, state.last_seq()) {
        for posting in store.chunk(&tag, &state, chunk)? {
            let finding = match store.located(&posting) {
                Ok(located) if located.header.thing == *thing && located.header.seq == posting.seq => {
                    scan::check_alone(store, &located, posting.slot, &mut memo)
                }
                Ok(_) => Finding {
                    position: posting.position,
                    entry: None,
                    problems: vec![(Verdict::BadIndex, "the index leads to another entry".to_owned())],
                },
                Err(problem) => Finding {
                    position: posting.position,
                    entry: None,
                    problems: vec![(Verdict::Unreadable, problem.to_string())],
                },
            };
            links.take(finding)?;
        }
    }
    let heads = links.tips.get(&tag).map_or(0, |tip| tip.heads.len());
    links.report.things = 1;
    links.report.actors = links.actors.len() as u64;
    links.report.forked = u64::from(heads > 1);
    links.report.size = links.tree.size();
    links.report.root = links.tree.root();
    Ok(links.report)
}
