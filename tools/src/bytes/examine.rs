//! Lines of a file, looked at on all cores and given back in their order.

use std::io::{self, BufRead, Read};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
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

    /// Counts lines at which nobody has to look.
    pub(crate) const fn pass(&mut self, lines: u64) {
        self.numbered = self.numbered.saturating_add(lines);
    }

    /// The number of the next line.
    pub(crate) const fn next(&mut self) -> u64 {
        self.pass(1);
        self.numbered
    }

    /// Looks at items with their numbers.
    pub(crate) fn all<I: Send, O: Send>(
        &mut self,
        items: Vec<(u64, I)>,
        examine: impl Fn(I, u64, &mut Memos) -> O + Sync,
    ) -> Vec<O> {
        let each = items.len().div_ceil(self.memos.len()).max(1);
        let (mut items, mut parts) = (items.into_iter(), Vec::new());
        while items.len() > 0 {
            parts.push(items.by_ref().take(each).collect());
        }
        let examine = &examine;
        let jobs: Vec<_> = parts.into_iter().zip(&mut self.memos).map(|job| Mutex::new(Some(job))).collect();
        let work = |job: &Job<'_, I>| -> Vec<O> {
            let job = job.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some((part, memos)) = job else { return Vec::new() };
            part.into_iter().map(|(number, item)| examine(item, number, memos)).collect()
        };
        let examined: Vec<Vec<O>> = thread::scope(|scope| {
            let begin = |job| thread::Builder::new().spawn_scoped(scope, move || work(job));
            let workers: Vec<_> = jobs.iter().map(|job| (job, begin(job))).collect();
            // Where the system gives no thread, this one does it.
            let finish = |(job, worker): (_, io::Result<thread::ScopedJoinHandle<'_, Vec<O>>>)| match worker {
                Ok(worker) => worker.join().expect("no line makes it panic"),
                Err(_) => work(job),
            };
            workers.into_iter().map(finish).collect()
        });
        examined.into_iter().flatten().collect()
    }
}

/// Items with their numbers, and what is remembered beside them, until somebody takes them.
type Job<'m, I> = Mutex<Option<(Vec<(u64, I)>, &'m mut Memos)>>;

/// Takes the lines without anything in them that come next, and counts them: a file of
/// nothing else costs little more than to read it. It ends now and then, so that whoever
/// waits can look whether it should end.
pub(crate) fn skip_blanks(source: &mut impl BufRead) -> io::Result<u64> {
    let buffer = match source.fill_buf() {
        Err(problem) if problem.kind() == io::ErrorKind::Interrupted => return Ok(0),
        buffer => buffer?,
    };
    let (mut lines, mut at) = (0, 0);
    loop {
        match buffer.get(at..) {
            Some([b'\n', ..]) => at += 1,
            Some([b'\r', b'\n', ..]) => at += 2,
            _ => break,
        }
        lines += 1;
    }
    source.consume(at);
    Ok(lines)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_anything_in_them_are_counted_and_passed() {
        for (text, lines, rest) in
            [(&b""[..], 0, &b""[..]), (b"\n\r\n\nx\n", 3, b"x\n"), (b"\n\r", 1, b"\r"), (b"\r\r\n", 0, b"\r\r\n")]
        {
            let mut source = text;
            assert_eq!((skip_blanks(&mut source).unwrap(), source), (lines, rest), "{text:?}");
        }
        let mut examiners = Examiners::new();
        examiners.pass(4);
        let numbers: Vec<_> = (0..3).map(|_| (examiners.next(), ())).collect();
        assert_eq!(examiners.all(numbers, |(), number, _| number), [5, 6, 7]);
        assert_eq!(examiners.numbered(), 7);
    }
}
