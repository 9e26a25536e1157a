//! Lines of a file, looked at on all cores and given back in their order.

use std::io::{self, BufRead, Read};
use std::num::NonZero;
use std::thread;

use thingdb::format::audit::Memos;
use thingdb::format::line::MAX_LINE_BYTES;

/// Lines that are looked at together, and their bytes.
pub(crate) const MAX_ITEMS: usize = 2048;
pub(crate) const MAX_ITEM_BYTES: usize = 4 << 20;

/// What each core remembers, and how many lines there were.
pub(crate) struct Examiners {
    memos: Vec<Memos>,
    numbered: u64,
}

impl Examiners {
    /// One a core.
    pub(crate) fn new() -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        Self { memos: (0..threads).map(|_| Memos::default()).collect(), numbered: 0 }
    }

    /// Lines so far.
    pub(crate) const fn numbered(&self) -> u64 {
        self.numbered
    }

    /// Looks at items, which are numbered on from those before.
    pub(crate) fn all<I: Send, O: Send>(
        &mut self,
        items: Vec<I>,
        examine: impl Fn(I, u64, &mut Memos) -> O + Sync,
    ) -> Vec<O> {
        let first = self.numbered + 1;
        self.numbered += items.len() as u64;
        let each = items.len().div_ceil(self.memos.len()).max(1);
        let (mut items, mut parts, mut at) = (items.into_iter(), Vec::new(), first);
        while items.len() > 0 {
            let part: Vec<I> = items.by_ref().take(each).collect();
            let start = at;
            at += part.len() as u64;
            parts.push((start, part));
        }
        let examine = &examine;
        let examined: Vec<Vec<O>> = thread::scope(|scope| {
            let work = |(start, part): (u64, Vec<I>), memos: &mut Memos| -> Vec<O> {
                (start..).zip(part).map(|(number, item)| examine(item, number, memos)).collect()
            };
            let workers: Vec<_> = parts
                .into_iter()
                .zip(&mut self.memos)
                .map(|(part, memos)| scope.spawn(move || work(part, memos)))
                .collect();
            workers.into_iter().map(|worker| worker.join().expect("no line makes it panic")).collect()
        });
        examined.into_iter().flatten().collect()
    }
}

/// The next line, with its line end, and whether the source ends or fails there.
/// Of a line that is too long the front is given, which is refused as too long.
pub(crate) fn next_line(source: &mut impl BufRead) -> (Vec<u8>, io::Result<()>) {
    let mut line = Vec::new();
    let most = MAX_LINE_BYTES as u64 + 2;
    let read = source.by_ref().take(most).read_until(b'\n', &mut line);
    if line.len() as u64 == most && !line.ends_with(b"\n") {
        let read = read.and_then(|_| source.skip_until(b'\n'));
        // It is refused, and is not the last one.
        line.push(b'\n');
        return (line, read.map(drop));
    }
    (line, read.map(drop))
}
