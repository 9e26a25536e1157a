//! A file, pipe or terminal that a command reads or writes, which may belong to
//! somebody else: the client of a server, who can go away at any time.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};

use super::spool::Spool;

/// What a pipe takes at once when it takes anything (POSIX `PIPE_BUF` on Linux):
/// a longer write could wait for a reader who never comes.
const PIPE_BYTES: usize = 4_096;

/// An open file. Clones are the same file.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    file: Arc<File>,
    is_regular: bool,
    /// Something was read from it, or its end.
    was_read: Arc<AtomicBool>,
    leash: Option<Arc<Leash>>,
    spool: Option<Arc<Spool>>,
    person: Option<Arc<Person>>,
    /// What nobody reads any more counts as written.
    outlives_reader: bool,
}

/// Somebody who reads what is written through a pager on a terminal.
#[derive(Debug)]
struct Person {
    /// The width of the terminal.
    columns: Option<u16>,
    /// Something was written.
    has_begun: AtomicBool,
}

/// Ends every waiting for somebody's files when they are gone.
#[derive(Debug)]
pub(crate) struct Leash {
    is_cut: AtomicBool,
    /// Readable, by its end, once the leash is cut.
    end: UnixStream,
    /// Shut down to cut it.
    held: UnixStream,
}

impl Leash {
    /// One that holds.
    pub(crate) fn new() -> io::Result<Self> {
        let (end, held) = UnixStream::pair()?;
        Ok(Self { is_cut: AtomicBool::new(false), end, held })
    }

    /// From here on every channel on it is a closed pipe.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        // It fails only if it was shut down before.
        let _ = self.held.shutdown(std::net::Shutdown::Both);
    }

    /// Whether it was cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::SeqCst)
    }

    /// Waits until the file can be read or written without waiting.
    fn wait(&self, file: &File, is_regular: bool, events: PollFlags) -> io::Result<()> {
        while !self.is_cut() {
            // A regular file is always ready, and poll would say so.
            if is_regular {
                return Ok(());
            }
            let mut waiting = [PollFd::new(file, events), PollFd::new(&self.end, PollFlags::IN)];
            match poll(&mut waiting, None) {
                Err(rustix::io::Errno::INTR) => continue,
                polled => polled?,
            };
            if waiting.iter().take(1).any(|file| !file.revents().is_empty()) {
                return Ok(());
            }
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

impl Channel {
    /// A file of this process.
    pub(crate) fn own(file: File) -> Self {
        Self::new(file, None)
    }

    /// A file that somebody else opened.
    pub(crate) fn on_leash(file: OwnedFd, leash: Arc<Leash>) -> Self {
        Self::new(file.into(), Some(leash))
    }

    fn new(file: File, leash: Option<Arc<Leash>>) -> Self {
        let is_regular = file.metadata().is_ok_and(|data| data.is_file());
        Self {
            file: Arc::new(file),
            is_regular,
            was_read: Arc::default(),
            leash,
            spool: None,
            person: None,
            outlives_reader: false,
        }
    }

    /// The same for a command that goes on without its reader: what it writes after
    /// that goes nowhere. On a leash that is cut it ends all the same.
    pub(crate) fn outliving_its_reader(self) -> Self {
        Self { outlives_reader: true, ..self }
    }

    /// The same, read by a person on a terminal of so many columns.
    pub(crate) fn read_by_a_person(self, columns: Option<u16>) -> Self {
        Self { person: Some(Arc::new(Person { columns, has_begun: AtomicBool::new(false) })), ..self }
    }

    /// The same, written to by way of a spool.
    pub(crate) fn spooled(self, spool: Arc<Spool>) -> Self {
        Self { spool: Some(spool), ..self }
    }

    /// Whether a pager stands between, and for a terminal of how many columns.
    pub(crate) fn paged(&self) -> Option<Option<u16>> {
        self.person.as_ref().map(|person| person.columns)
    }

    /// Whether a pager has the terminal.
    pub(crate) fn is_pager_shown(&self) -> bool {
        self.person.as_ref().is_some_and(|person| person.has_begun.load(Ordering::SeqCst))
    }

    /// Whether a person is at the other end.
    pub(crate) fn is_terminal(&self) -> bool {
        self.person.is_some() || self.file.is_terminal()
    }

    /// Whether somebody has read from it.
    pub(crate) fn was_read(&self) -> bool {
        self.was_read.load(Ordering::Relaxed)
    }

    /// Whether it is a file as on a disk.
    pub(crate) const fn is_regular(&self) -> bool {
        self.is_regular
    }

    /// The width of the terminal, if it is one and has one.
    pub(crate) fn columns(&self) -> Option<u16> {
        if let Some(person) = &self.person {
            return person.columns;
        }
        rustix::termios::tcgetwinsize(&self.file).ok().map(|size| size.ws_col).filter(|columns| *columns > 0)
    }

    /// The file itself, for what is neither reading nor writing.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.was_read.store(true, Ordering::Relaxed);
        let Some(leash) = &self.leash else { return (&*self.file).read(buffer) };
        loop {
            leash.wait(&self.file, self.is_regular, PollFlags::IN)?;
            match (&*self.file).read(buffer) {
                // Somebody else was faster, or the file is one that never waits.
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

impl Channel {
    fn put(&self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(person) = self.person.as_ref().filter(|_| !bytes.is_empty()) {
            person.has_begun.store(true, Ordering::SeqCst);
        }
        if let Some(spool) = &self.spool {
            return spool.take(bytes);
        }
        let Some(leash) = &self.leash else { return (&*self.file).write(bytes) };
        let most = if self.is_regular { bytes.len() } else { bytes.len().min(PIPE_BYTES) };
        let bytes = bytes.get(..most).unwrap_or_default();
        loop {
            leash.wait(&self.file, self.is_regular, PollFlags::OUT)?;
            match (&*self.file).write(bytes) {
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {}
                written => return written,
            }
        }
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_cut = || self.leash.as_ref().is_some_and(|leash| leash.is_cut());
        match self.put(bytes) {
            Err(problem) if problem.kind() == io::ErrorKind::BrokenPipe && self.outlives_reader && !is_cut() => {
                Ok(bytes.len())
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn on_leash() -> (Channel, std::os::unix::net::UnixStream, Arc<Leash>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let leash = Arc::new(Leash::new().unwrap());
        (Channel::on_leash(ours.into(), Arc::clone(&leash)), theirs, leash)
    }

    #[test]
    fn a_silent_source_and_a_full_pipe_end_with_the_leash() {
        let (mut reader, _theirs, cut_reader) = on_leash();
        let (mut writer, _unread, cut_writer) = on_leash();
        thread::scope(|scope| {
            let read = scope.spawn(move || reader.read(&mut [0; 8]).unwrap_err().kind());
            let written = scope.spawn(move || writer.write_all(&vec![0; 64 << 20]).unwrap_err().kind());
            cut_reader.cut();
            cut_writer.cut();
            assert_eq!(read.join().unwrap(), io::ErrorKind::BrokenPipe);
            assert_eq!(written.join().unwrap(), io::ErrorKind::BrokenPipe);
        });
    }

    #[test]
    fn who_outlives_the_reader_goes_on_until_the_leash_is_cut() {
        let (mut ends, theirs, _leash) = on_leash();
        drop(theirs);
        assert_eq!(ends.write_all(b"word").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let (goes_on, theirs, leash) = on_leash();
        let mut goes_on = goes_on.outliving_its_reader();
        drop(theirs);
        goes_on.write_all(&[0; 100_000]).unwrap();
        leash.cut();
        assert_eq!(goes_on.write_all(b"word").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_is_written_arrives_and_the_end_is_the_end() {
        let (mut channel, mut theirs, _leash) = on_leash();
        channel.write_all(b"word").unwrap();
        let mut word = [0; 4];
        theirs.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"word");
        theirs.write_all(b"answer").unwrap();
        drop(theirs);
        let mut answer = String::new();
        channel.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
    }
}
