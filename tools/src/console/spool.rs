//! What a command has said and its reader has not taken yet.
//!
//! A command has the database for itself while it runs. One that writes into a
//! pipe would keep it for as long as the reader takes, and a loop that runs
//! `thingdb` for each line of `thingdb ls` would wait for itself. So what a command
//! says goes through here: it is written out by another thread, and the command goes
//! on, ends, and lets go of the database, whatever the reader does.
//!
//! What is waiting lies in memory up to a bound, and from there on in a file
//! without a name, sealed under a key that is nowhere else: it may be what the
//! database keeps secret. At the second bound the command waits for its reader, as
//! it would without this.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use zeroize::Zeroizing;

/// What is kept and written together.
const PIECE_BYTES: usize = 64 << 10;

/// What a tag takes.
const TAG_BYTES: usize = 16;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Bytes in memory.
    memory: usize,
    /// Bytes of the file.
    disk: u64,
}

const BOUNDS: Bounds = Bounds { memory: 4 << 20, disk: 256 << 20 };

/// What waits to be written.
#[derive(Debug)]
pub(crate) struct Spool {
    bounds: Bounds,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Piece>,
    /// Bytes of the pieces that are plain.
    in_memory: usize,
    store: Option<Store>,
    /// There is no place for the file.
    has_no_store: bool,
    is_ended: bool,
    failure: Option<WriteFailure>,
}

#[derive(Debug)]
enum Piece {
    Plain(Vec<u8>),
    Sealed(Sealed),
}

#[derive(Clone, Copy, Debug)]
struct Sealed {
    number: u64,
    at: u64,
    len: usize,
}

/// Why nothing can be written any more; an error that can be told twice.
#[derive(Clone, Copy, Debug)]
struct WriteFailure {
    kind: io::ErrorKind,
    code: Option<i32>,
}

impl WriteFailure {
    fn new(problem: &io::Error) -> Self {
        Self { kind: problem.kind(), code: problem.raw_os_error() }
    }

    fn error(self) -> io::Error {
        self.code.map_or_else(|| self.kind.into(), io::Error::from_raw_os_error)
    }
}

impl Default for Spool {
    fn default() -> Self {
        Self::new(BOUNDS)
    }
}

impl Spool {
    fn new(bounds: Bounds) -> Self {
        Self { bounds, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.lock().is_ended = true;
        self.changed.notify_all();
    }

    /// Why not everything was written, if something was not.
    pub(super) fn failed(&self) -> io::Result<()> {
        self.lock().failure.map_or(Ok(()), |failure| Err(failure.error()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes some of the bytes. It fails once nothing can be written any more.
    pub(crate) fn take(&self, bytes: &[u8]) -> io::Result<usize> {
        let some = bytes.get(..PIECE_BYTES).unwrap_or(bytes);
        let mut state = self.lock();
        loop {
            if let Some(failure) = state.failure {
                return Err(failure.error());
            }
            let has_room = state.in_memory.saturating_add(some.len()) <= self.bounds.memory || state.pieces.is_empty();
            if has_room {
                break;
            }
            if !state.seal_last(self.bounds.disk) {
                state = self.wait(state);
            }
        }
        state.in_memory = state.in_memory.saturating_add(some.len());
        match state.pieces.back_mut() {
            Some(Piece::Plain(last)) if last.len().saturating_add(some.len()) <= PIECE_BYTES => {
                last.extend_from_slice(some);
            }
            _ => state.pieces.push_back(Piece::Plain(some.to_vec())),
        }
        self.changed.notify_all();
        Ok(some.len())
    }

    /// Writes everything, to the end or to the first error.
    pub(super) fn write_out(&self, mut out: impl Write) {
        loop {
            let mut state = self.lock();
            let piece = loop {
                match state.pieces.pop_front() {
                    Some(piece) => break piece,
                    None if state.is_ended => return,
                    None => state = self.wait(state),
                }
            };
            let bytes = match piece {
                Piece::Plain(bytes) => {
                    state.in_memory = state.in_memory.saturating_sub(bytes.len());
                    Ok(bytes)
                }
                Piece::Sealed(sealed) => state.open(sealed),
            };
            self.changed.notify_all();
            drop(state);
            let written = bytes.and_then(|bytes| out.write_all(&bytes));
            if let Err(problem) = written.and_then(|()| out.flush()) {
                let mut state = self.lock();
                state.failure = Some(WriteFailure::new(&problem));
                state.pieces.clear();
                self.changed.notify_all();
                return;
            }
        }
    }
}

impl State {
    /// Puts the last piece that is in memory into the file. It is the one that
    /// waits longest.
    fn seal_last(&mut self, most: u64) -> bool {
        let Some(last) = self.pieces.iter().rposition(|piece| matches!(piece, Piece::Plain(_))) else { return false };
        if self.store.is_none() && !self.has_no_store {
            self.store = Store::new().ok();
            self.has_no_store = self.store.is_none();
        }
        let (Some(store), Some(piece)) = (&mut self.store, self.pieces.get_mut(last)) else { return false };
        let Piece::Plain(bytes) = piece else { return false };
        // A disk that is full is another reason to wait for the reader.
        let Ok(sealed) = store.seal(bytes, most) else { return false };
        self.in_memory = self.in_memory.saturating_sub(sealed.len);
        *piece = Piece::Sealed(sealed);
        true
    }

    fn open(&mut self, sealed: Sealed) -> io::Result<Vec<u8>> {
        let store = self.store.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        store.open(sealed)
    }
}

/// The file, and the key under which it is sealed.
struct Store {
    file: File,
    cipher: Box<Aes256Gcm>,
    /// Each number is the nonce of one piece.
    next: u64,
    end: u64,
    /// Pieces that lie in it.
    count: u64,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Store {
    fn new() -> io::Result<Self> {
        let mut key = Zeroizing::new([0; 32]);
        rand::Rng::fill_bytes(&mut rand::rng(), &mut *key);
        let cipher = Box::new(Aes256Gcm::new((&*key).into()));
        Ok(Self { file: tempfile::tempfile()?, cipher, next: 0, end: 0, count: 0 })
    }

    fn seal(&mut self, plain: &[u8], most: u64) -> io::Result<Sealed> {
        let size = plain.len().saturating_add(TAG_BYTES) as u64;
        if self.end.saturating_add(size) > most {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut bytes = Vec::with_capacity(plain.len().saturating_add(TAG_BYTES));
        bytes.extend_from_slice(plain);
        let sealed = Sealed { number: self.next, at: self.end, len: plain.len() };
        // The number counts as used, whatever happens to the piece.
        self.next = self.next.saturating_add(1);
        self.cipher.encrypt_in_place(&nonce(sealed.number), b"", &mut bytes).map_err(|_| io::Error::other("cipher"))?;
        self.file.write_all_at(&bytes, sealed.at)?;
        self.end = self.end.saturating_add(size);
        self.count = self.count.saturating_add(1);
        Ok(sealed)
    }

    fn open(&mut self, sealed: Sealed) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; sealed.len.saturating_add(TAG_BYTES)];
        self.file.read_exact_at(&mut bytes, sealed.at)?;
        let damaged = |_| io::Error::new(io::ErrorKind::InvalidData, "what waited to be written was changed");
        self.cipher.decrypt_in_place(&nonce(sealed.number), b"", &mut bytes).map_err(damaged)?;
        self.count = self.count.saturating_sub(1);
        if self.count == 0 {
            self.end = 0;
        }
        Ok(bytes)
    }
}

fn nonce(number: u64) -> Nonce<<Aes256Gcm as aes_gcm::AeadCore>::NonceSize> {
    let mut nonce = [0; 12];
    let (_, low) = nonce.split_at_mut(4);
    low.copy_from_slice(&number.to_be_bytes());
    nonce.into()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    const TIGHT: Bounds = Bounds { memory: 100_000, disk: 300_000 };

    fn filled(spool: &Spool, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = spool.take(rest)?;
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Bytes that differ from place to place.
    fn pattern(len: usize) -> Vec<u8> {
        (0..len as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
    }

    #[test]
    fn what_is_said_arrives_in_its_order_however_slow_the_reader() {
        let all = pattern(2_000_000);
        for (size, read_size) in [(1_000, 100_000), (70_000, 4_096), (200_000, 65_536), (999, 333)] {
            let spool = Spool::new(TIGHT);
            let (mut reader, writer) = UnixStream::pair().unwrap();
            thread::scope(|scope| {
                scope.spawn(|| spool.write_out(writer));
                scope.spawn(|| {
                    all.chunks(size).for_each(|part| filled(&spool, part).unwrap());
                    spool.end();
                });
                let mut found = Vec::new();
                let mut part = vec![0; read_size];
                while found.len() < all.len() {
                    let read = reader.read(&mut part).unwrap();
                    assert!(read > 0);
                    found.extend_from_slice(&part[..read]);
                }
                assert!(found == all, "{size} {read_size}");
            });
        }
    }

    #[test]
    fn as_much_as_the_bounds_allow_waits_and_no_more() {
        let spool = Spool::new(TIGHT);
        // Nobody reads.
        filled(&spool, &pattern(350_000)).unwrap();
        let state = spool.lock();
        assert!(state.in_memory <= TIGHT.memory, "{}", state.in_memory);
        let store = state.store.as_ref().unwrap();
        assert!(store.end <= TIGHT.disk && store.count >= 4, "{store:?}");
        let mut kept = vec![0; usize::try_from(store.end).unwrap()];
        store.file.read_exact_at(&mut kept, 0).unwrap();
        let all = pattern(350_000);
        // Some of it, in all places.
        let shows = all.chunks(32).step_by(997).any(|part| kept.windows(32).any(|there| there == part));
        assert!(!shows, "the file shows what it keeps");
    }

    #[test]
    fn a_reader_who_goes_away_ends_the_command() {
        let spool = Spool::new(TIGHT);
        let (reader, writer) = UnixStream::pair().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| spool.write_out(writer));
            let written = scope.spawn(|| filled(&spool, &pattern(50_000_000)).unwrap_err().kind());
            drop(reader);
            assert_eq!(written.join().unwrap(), io::ErrorKind::BrokenPipe);
        });
    }
}
