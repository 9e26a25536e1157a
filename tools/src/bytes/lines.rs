//! Lines from a source that may be slow, silent, or endless.
//!
//! A thread of its own reads, so that what has arrived can be handled while
//! the source is silent. It stays behind when the program ends.

use std::io::{self, BufRead, BufReader, Read};
use std::mem;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::compress;
use crate::text::AfterMark;

/// Longest line that is kept; the format's own limit.
pub(crate) const MAX_LINE_BYTES: usize = 24 * 1_024 * 1_024;

const READ_BYTES: usize = 256 * 1_024;
const CHUNK_LINES: usize = 512;
const CHUNK_BYTES: usize = 1_024 * 1_024;

/// Chunks that wait to be handled; more would only fill memory.
const WAITING: usize = 4;

/// One line without its line feed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Number of the line, from 1.
    pub(crate) number: u64,
    /// Its bytes, or the first of them if it is too long.
    pub(crate) bytes: Vec<u8>,
    /// Bytes that were left out.
    pub(crate) cut_bytes: u64,
}

/// What the source did.
#[derive(Debug)]
pub(crate) enum Event {
    /// It gave some lines.
    Lines(Vec<Line>),
    /// It gave nothing for a while.
    Silence,
    /// It ended.
    End,
    /// It could not be read.
    Failed(io::Error),
}

/// Lines that a thread reads.
pub(crate) struct Lines(Receiver<io::Result<Vec<Line>>>);

impl Lines {
    /// Starts to read `source`, which may be compressed.
    pub(crate) fn spawn(source: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        let failed = sender.clone();
        let started = thread::Builder::new().name("lines".into()).spawn(move || {
            let text = compress::reader(source).map(AfterMark::new);
            let lines = text.map(|text| BufReader::with_capacity(READ_BYTES, text));
            if let Err(problem) = lines.and_then(|lines| read(lines, &sender)) {
                // Nobody listens any more if this fails.
                let _ = sender.send(Err(problem));
            }
        });
        if let Err(problem) = started {
            let _ = failed.send(Err(problem));
        }
        Self(receiver)
    }

    /// Waits for lines, but not longer than `patience`.
    pub(crate) fn next(&self, patience: Duration) -> Event {
        match self.0.recv_timeout(patience) {
            Ok(Ok(lines)) => Event::Lines(lines),
            Ok(Err(problem)) => Event::Failed(problem),
            Err(RecvTimeoutError::Timeout) => Event::Silence,
            Err(RecvTimeoutError::Disconnected) => Event::End,
        }
    }
}

fn read(mut source: BufReader<impl Read>, sender: &SyncSender<io::Result<Vec<Line>>>) -> io::Result<()> {
    let (mut chunk, mut chunk_bytes) = (Vec::new(), 0_usize);
    for number in 1.. {
        let line = match read_line(&mut source, number) {
            // What came before is good.
            Err(problem) if !chunk.is_empty() => {
                let _ = sender.send(Ok(chunk));
                return Err(problem);
            }
            line => line?,
        };
        let is_end = line.is_none();
        if let Some(line) = line {
            chunk_bytes = chunk_bytes.saturating_add(line.bytes.len());
            chunk.push(line);
        }
        // An empty buffer means that the next read may take long.
        let is_due = is_end || source.buffer().is_empty() || chunk.len() >= CHUNK_LINES || chunk_bytes >= CHUNK_BYTES;
        if is_due && !chunk.is_empty() {
            chunk_bytes = 0;
            if sender.send(Ok(mem::take(&mut chunk))).is_err() {
                return Ok(());
            }
        }
        if is_end {
            return Ok(());
        }
    }
    Ok(())
}

fn read_line(source: &mut impl BufRead, number: u64) -> io::Result<Option<Line>> {
    let mut line = Line { number, bytes: Vec::new(), cut_bytes: 0 };
    let mut is_empty = true;
    loop {
        let buffer = match source.fill_buf() {
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => continue,
            buffer => buffer?,
        };
        if buffer.is_empty() {
            return Ok((!is_empty).then_some(line));
        }
        is_empty = false;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        let kept = part.len().min(MAX_LINE_BYTES.saturating_sub(line.bytes.len()));
        line.bytes.extend(part.iter().take(kept));
        line.cut_bytes = line.cut_bytes.saturating_add(part.len().saturating_sub(kept) as u64);
        let used = part.len().saturating_add(usize::from(end.is_some()));
        source.consume(used);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<Line> {
        let lines = Lines::spawn(io::Cursor::new(text.to_vec()));
        let mut found = Vec::new();
        loop {
            match lines.next(Duration::from_secs(10)) {
                Event::Lines(lines) => found.extend(lines),
                Event::End => return found,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn lines_are_numbered_and_the_last_needs_no_end() {
        let found = all(b"a\n\nb\r\nc");
        let found: Vec<(u64, &[u8])> = found.iter().map(|line| (line.number, &line.bytes[..])).collect();
        assert_eq!(found, [(1, &b"a"[..]), (2, b""), (3, b"b\r"), (4, b"c")]);
        assert!(all(b"").is_empty());
    }

    #[test]
    fn a_line_without_end_does_not_fill_memory() {
        let mut text = vec![b'x'; MAX_LINE_BYTES + 7];
        text.extend(b"\nnext\n");
        let found = all(&text);
        assert_eq!((found[0].bytes.len(), found[0].cut_bytes), (MAX_LINE_BYTES, 7));
        assert_eq!(found[1].bytes, b"next");
    }

    #[test]
    fn many_lines_arrive_in_order() {
        let text: String = (0..5_000).map(|n| format!("{n}\n")).collect();
        let found = all(text.as_bytes());
        assert_eq!(found.len(), 5_000);
        assert!(found.iter().enumerate().all(|(n, line)| line.bytes == n.to_string().as_bytes()));
    }
}
