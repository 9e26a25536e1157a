//! Parts of a stream are checked on all cores, and come back in its order.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::check::{Checker, Memos, Outcome, check_chunk};
use super::source::{Chunk, Source};
use crate::error::{Error, Result};
use crate::threads;

/// Chunks that are under way for each worker, at most: while a commit waits for
/// the disk, workers go on.
const AHEAD_CHUNKS: usize = 8;

/// How much is under way at once.
pub(super) struct Flow {
    pub(super) threads: usize,
    /// Bytes of memory that chunks under way take, about: one more is begun
    /// below it.
    pub(super) ahead_bytes: usize,
}

/// Reads lines, has them checked by workers, and gives `take` the
/// results in the order of the stream, for as long as it says.
pub(super) fn on_all_cores(
    checker: &Checker<'_>,
    flow: &Flow,
    source: &mut dyn Source,
    take: impl FnMut(Outcome) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let most_under_way = flow.threads * AHEAD_CHUNKS;
    std::thread::scope(|scope| {
        let (to_workers, chunks) = bounded::<(u64, Chunk)>(most_under_way);
        let (results, from_workers) = bounded::<(u64, Outcome)>(most_under_way);
        threads::start(scope, checker.dir(), flow.threads, || {
            let (chunks, results) = (chunks.clone(), results.clone());
            move || work(checker, &chunks, &results)
        })?;
        drop((chunks, results));
        // The channels are dropped when this returns, also with an error, so
        // that the workers end.
        pump(checker, source, to_workers, &from_workers, (most_under_way as u64, flow.ahead_bytes), take)
    })
}

fn pump(
    checker: &Checker<'_>,
    source: &mut dyn Source,
    to_workers: Sender<(u64, Chunk)>,
    from_workers: &Receiver<(u64, Outcome)>,
    (most_under_way, most_bytes): (u64, usize),
    mut take: impl FnMut(Outcome) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut early = BTreeMap::new();
    let (mut sent, mut taken, mut ahead_bytes) = (0_u64, 0_u64, 0_usize);
    let mut to_workers = Some(to_workers);
    loop {
        let mut large = None;
        if let Some(sender) = &to_workers {
            match source.chunk()? {
                Some(chunk) if chunk.room.is_some() => large = Some(chunk),
                Some(chunk) => {
                    ahead_bytes += chunk.held;
                    // Workers end only when this channel is closed.
                    let _ = sender.send((sent, chunk));
                    sent += 1;
                }
                None => to_workers = None,
            }
        }
        let must_wait = |sent_ahead: u64, ahead_bytes: usize| match &to_workers {
            Some(_) if large.is_none() => sent_ahead >= most_under_way || (sent_ahead > 0 && ahead_bytes >= most_bytes),
            _ => sent_ahead > 0,
        };
        while must_wait(sent - taken, ahead_bytes) {
            let Ok((number, outcome)) = from_workers.recv() else {
                return Err(Error::damaged("the import", "a worker stopped"));
            };
            early.insert(number, outcome);
            while let Some(outcome) = early.remove(&taken) {
                taken += 1;
                ahead_bytes -= outcome.held;
                if take(outcome)?.is_break() {
                    return Ok(());
                }
            }
        }
        // What is large goes alone, and here: a worker would keep the memory that
        // it took.
        if let Some(chunk) = large
            && take(check_chunk(checker, chunk, &mut Memos::default()))?.is_break()
        {
            return Ok(());
        }
        if to_workers.is_none() {
            return Ok(());
        }
    }
}

fn work(checker: &Checker<'_>, chunks: &Receiver<(u64, Chunk)>, results: &Sender<(u64, Outcome)>) {
    let mut memos = Memos::default();
    for (number, chunk) in chunks {
        if results.send((number, check_chunk(checker, chunk, &mut memos))).is_err() {
            return;
        }
    }
}
