//! Entries are dressed for the way on many cores, and come back in ledger order.

use std::collections::BTreeMap;
use std::thread::Scope;

use crossbeam_channel::{Receiver, Sender, bounded};
use thingdb_format::stream::hash_of_line;
use thingdb_format::{Entry, EntryId, Hash, line};

use super::dress::Dress;
use crate::error::{Error, Result};
use crate::node::Node;
use crate::store::holes::{self, Hole};
use crate::store::{Located, Paths};
use crate::threads;

/// Bytes of entries, about, that are handed to a worker at once.
const PART_BYTES: u64 = 128 << 10;

/// What an entry counts for beside its payload.
const ENTRY_BYTES: u64 = 1024;

/// Bytes of the line of a small entry, about.
const LINE_BYTES: usize = 2048;

/// An entry with a payload above it is dressed by itself, and by the caller: a worker
/// would keep the memory that it takes, and others would come beside it.
const LARGE_BYTES: u64 = 256 << 10;

/// Parts that are under way for each worker, at most.
const AHEAD_PARTS: usize = 3;

/// An entry of the ledger, or what is known of some that cannot be read.
pub(super) type Found = std::result::Result<Located, Hole>;

/// How entries are dressed.
pub(super) struct Dressing<'a> {
    pub(super) node: &'a Node,
    pub(super) dress: Dress,
    /// An entry that is lost in part goes out as a stub.
    pub(super) past_holes: bool,
    /// They leave as lines, which are written by the workers.
    pub(super) as_lines: bool,
}

/// Some of them, ready to be written.
#[derive(Default)]
pub(super) struct Dressed {
    pub(super) ready: Vec<Ready>,
    /// Their lines, if that is how they leave.
    pub(super) lines: Vec<u8>,
    /// The ledger position behind them.
    pub(super) end: u64,
}

/// One of them.
pub(super) enum Ready {
    /// Its line, by its hash, is among the lines.
    Line(EntryId, Hash),
    Entry(EntryId, Box<Entry>),
    Hole(Hole),
}

impl Dressing<'_> {
    /// Dresses some; the first one that cannot be ends it.
    fn all(&self, found: Vec<Found>, dress: &mut Dress, paths: &mut Paths) -> Result<Dressed> {
        let mut dressed = Dressed { ready: Vec::with_capacity(found.len()), ..Dressed::default() };
        if self.as_lines {
            dressed.lines.reserve(found.len() * LINE_BYTES);
        }
        for found in found {
            match found {
                Err(hole) if self.past_holes => {
                    dressed.end = hole.positions.end;
                    dressed.ready.push(Ready::Hole(hole));
                }
                Err(hole) => return Err(hole.into_error()),
                Ok(located) => {
                    dressed.end = located.position + 1;
                    let entry = match dress.entry(self.node, &located, paths) {
                        Err(problem) if self.past_holes && holes::is_of_a_place(&problem) => {
                            let positions = located.position..located.position + 1;
                            let detail = holes::detail_of(&problem);
                            dressed.ready.push(Ready::Hole(Hole { positions, entries: Vec::new(), detail }));
                            self.stub(&located, paths)
                        }
                        entry => entry?,
                    };
                    if let Some(entry) = entry {
                        self.put(entry, located.id, &mut dressed);
                    }
                }
            }
        }
        Ok(dressed)
    }

    /// What is left of an entry: what follows it links to it, and still verifies.
    fn stub(&self, located: &Located, paths: &mut Paths) -> Option<Entry> {
        let signature = self.node.store.signature(located, paths).ok()?;
        Some(Entry { header: located.header.clone(), signature, payload: None, envelopes: Vec::new() })
    }

    fn put(&self, entry: Entry, id: EntryId, dressed: &mut Dressed) {
        dressed.ready.push(if self.as_lines {
            let hash = put_line(&entry, &id, &mut dressed.lines);
            Ready::Line(id, hash)
        } else {
            Ready::Entry(id, Box::new(entry))
        });
    }
}

/// Appends the line of an entry and gives its hash.
pub(super) fn put_line(entry: &Entry, id: &EntryId, out: &mut Vec<u8>) -> Hash {
    let start = out.len();
    line::encode_with_id(entry, id, out);
    hash_of_line(out.get(start..).unwrap_or_default())
}

/// Has all that `read` gives dressed by so many threads, by the caller if there are none,
/// and gives it to `take` in the same order.
pub(super) fn on_threads(
    dressing: &Dressing<'_>,
    threads: usize,
    read: impl FnOnce(&mut dyn FnMut(Found) -> Result<()>) -> Result<()>,
    take: impl FnMut(Dressed) -> Result<()>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let mut pump = Pump {
            scope,
            dressing,
            threads,
            dress: dressing.dress.clone(),
            paths: Paths::default(),
            part: Vec::new(),
            part_bytes: 0,
            workers: None,
            sent: 0,
            taken: 0,
            early: BTreeMap::new(),
            take,
        };
        read(&mut |found| pump.push(found))?;
        // The channels are dropped with it, also after an error, so that workers end.
        pump.finish()
    })
}

/// A part of the ledger on its way to a worker, and back.
type Part = (u64, Vec<Found>);
type Back = (u64, Result<Dressed>);

struct Pump<'scope, 'env, F> {
    scope: &'scope Scope<'scope, 'env>,
    dressing: &'env Dressing<'env>,
    threads: usize,
    /// For what the caller dresses.
    dress: Dress,
    paths: Paths,
    part: Vec<Found>,
    part_bytes: u64,
    /// None as long as there is little to do.
    workers: Option<(Sender<Part>, Receiver<Back>)>,
    sent: u64,
    taken: u64,
    early: BTreeMap<u64, Result<Dressed>>,
    take: F,
}

impl<F: FnMut(Dressed) -> Result<()>> Pump<'_, '_, F> {
    fn push(&mut self, found: Found) -> Result<()> {
        let payload = found.as_ref().map_or(0, |located| u64::from(located.header.payload_len));
        let is_large = payload > LARGE_BYTES;
        if is_large {
            self.settle()?;
        }
        self.part.push(found);
        self.part_bytes += ENTRY_BYTES + payload;
        if is_large {
            return self.settle();
        }
        if self.part_bytes >= PART_BYTES { self.send() } else { Ok(()) }
    }

    /// Hands a part to the workers. If the system gives none, the caller does it all.
    fn send(&mut self) -> Result<()> {
        if self.workers.is_none() && (self.threads == 0 || self.start().is_err()) {
            self.threads = 0;
            return self.settle();
        }
        while self.sent - self.taken >= self.most_under_way() as u64 {
            self.receive()?;
        }
        self.part_bytes = 0;
        let next = Vec::with_capacity(self.part.len());
        let part = (self.sent, std::mem::replace(&mut self.part, next));
        let Some((to_workers, _)) = &self.workers else { unreachable!("they were started") };
        // Workers end only when this channel is closed.
        let _ = to_workers.send(part);
        self.sent += 1;
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        let (to_workers, parts) = bounded::<Part>(self.most_under_way());
        let (results, from_workers) = bounded::<Back>(self.most_under_way());
        let dressing = self.dressing;
        threads::start(self.scope, &dressing.node.store.dir, self.threads, || {
            let (parts, results) = (parts.clone(), results.clone());
            move || work(dressing, &parts, &results)
        })?;
        self.workers = Some((to_workers, from_workers));
        Ok(())
    }

    const fn most_under_way(&self) -> usize {
        self.threads * AHEAD_PARTS
    }

    /// Waits for a part, and gives on what is next.
    fn receive(&mut self) -> Result<()> {
        let back = self.workers.as_ref().and_then(|(_, from_workers)| from_workers.recv().ok());
        let (number, dressed) = back.ok_or_else(|| Error::damaged("the export", "a worker stopped"))?;
        self.early.insert(number, dressed);
        while let Some(dressed) = self.early.remove(&self.taken) {
            self.taken += 1;
            (self.take)(dressed?)?;
        }
        Ok(())
    }

    /// Waits for all that is under way, and dresses the rest.
    fn settle(&mut self) -> Result<()> {
        while self.sent > self.taken {
            self.receive()?;
        }
        self.part_bytes = 0;
        let part = std::mem::take(&mut self.part);
        if part.is_empty() {
            return Ok(());
        }
        let dressed = self.dressing.all(part, &mut self.dress, &mut self.paths)?;
        (self.take)(dressed)
    }

    fn finish(&mut self) -> Result<()> {
        // The last part goes the same way if there are workers.
        if self.workers.is_some() && !self.part.is_empty() {
            self.send()?;
        }
        self.settle()
    }
}

fn work(dressing: &Dressing<'_>, parts: &Receiver<Part>, results: &Sender<Back>) {
    let (mut dress, mut paths) = (dressing.dress.clone(), Paths::default());
    for (number, part) in parts {
        if results.send((number, dressing.all(part, &mut dress, &mut paths))).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Draft, Durability, ExportOptions, KdfChoice, Options, Passphrase, StreamForm};

    /// Many entries go through workers, few do not, and large ones go alone: the stream
    /// is the same.
    #[test]
    fn a_whole_export_is_its_parts_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new().kdf(KdfChoice::weakest()).durability(Durability::Relaxed).threads(3);
        let db = options.create(dir.path().join("db"), &Passphrase::new("correct horse battery")).unwrap();
        let large = format!("\"{}\"", "x".repeat(300 << 10));
        for n in 0..700_u32 {
            match n % 200 {
                150 => drop(db.put("large", &large).unwrap()),
                _ => drop(db.put(&format!("thing-{}", n % 7), &n.to_string()).unwrap()),
            }
        }
        let drafts = (0..900).map(|n| Draft::json(&format!("thing-{}", n % 40), n.to_string()).unwrap()).collect();
        db.write_batch(drafts).unwrap();
        let size = 1600;
        let lines = |since, until| {
            let mut out = Vec::new();
            let options = ExportOptions::new().since(since).until(until).bare(true);
            let summary = db.export(options, &mut out).unwrap();
            assert_eq!((summary.entries, summary.bytes), (until - since, out.len() as u64));
            out
        };
        let whole = lines(0, size);
        assert_eq!(whole.iter().filter(|byte| **byte == b'\n').count() as u64, size);
        let parts: Vec<u8> = (0..size).step_by(40).flat_map(|since| lines(since, since + 40)).collect();
        assert!(whole == parts);
        // Framed, and in the other form, it is whole as well.
        for form in [StreamForm::Lines, StreamForm::Binary] {
            let mut out = Vec::new();
            assert_eq!(db.export(ExportOptions::new().form(form), &mut out).unwrap().entries, size);
            let copy = Options::new().kdf(KdfChoice::weakest()).durability(Durability::Relaxed);
            let path = dir.path().join(format!("{form:?}"));
            let copy = copy.create(path, &Passphrase::new("correct horse battery")).unwrap();
            let all = crate::ImportOptions::new().trust(crate::TrustPolicy::All);
            assert_eq!(copy.import(all, &out[..]).unwrap().added, size);
        }
    }
}
