//! The lock on a database directory: one process at a time.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt;

use crate::disk::{self, Access};

/// Why a directory cannot be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else holds the lock.
    #[error("{} is locked by {}", path.display(), holder_text(*holder))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that holds the lock, if it could be read.
        holder: Option<u32>,
    },
    /// The lock file cannot be used.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

fn holder_text(holder: Option<u32>) -> String {
    holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// Held as long as the value lives. The file stays when it is released: a file
/// that comes and goes could be locked twice.
#[derive(Debug)]
pub struct DirLock {
    file: File,
}

impl DirLock {
    /// Name of the lock file in the directory.
    pub const FILE_NAME: &'static str = "LOCK";
    /// The longest time between two tries, in microseconds. Those who wait try
    /// at random times, so that none of them is always too late.
    const RETRY_US: u64 = 40_000;

    /// Who holds `directory`: nobody, or a process, whose number may not be known.
    /// Nothing is made and nothing is written.
    ///
    /// # Errors
    /// [`LockError::Io`].
    pub fn holder(directory: &Path) -> Result<Option<Option<u32>>, LockError> {
        let path = directory.join(Self::FILE_NAME);
        let mut file = match disk::open_file(&path, Access::Read) {
            Ok(file) => file,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LockError::Io { path, source }),
        };
        // Shared, so that two who look do not see each other.
        match file.try_lock_shared() {
            Ok(()) => {
                // As in `drop`: closing alone leaves it to a child that starts.
                let _ = file.unlock();
                Ok(None)
            }
            Err(TryLockError::WouldBlock) => Ok(Some(read_holder(&mut file))),
            Err(TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        }
    }

    /// Locks `directory`, waiting up to `wait`.
    ///
    /// # Errors
    /// [`LockError::Locked`] with the process that holds it.
    pub fn acquire_within(directory: &Path, wait: Duration) -> Result<Self, LockError> {
        let path = directory.join(Self::FILE_NAME);
        let refuse = |source| LockError::Io { path: path.clone(), source };
        let mut file = disk::open_file(&path, Access::Create).map_err(refuse)?;
        let deadline = Instant::now() + wait;
        let mut most = 1_000;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    let pause = Duration::from_micros(rand::rng().random_range(most / 4..=most));
                    thread::sleep(pause.min(deadline.saturating_duration_since(Instant::now())));
                    most = (most * 2).min(Self::RETRY_US);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Locked { holder: read_holder(&mut file), path });
                }
                Err(TryLockError::Error(source)) => return Err(refuse(source)),
            }
        }
        // The number is for those who are refused. A full disk has no room for
        // it, and must be able to be opened.
        let _ = write_holder(&mut file);
        Ok(Self { file })
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // A stale number would name the wrong process. Closing the file alone
        // would not do: a child that another thread starts has the file, too,
        // until it becomes another program.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_lock_is_refused_until_the_first_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::acquire_within(dir.path(), Duration::ZERO).unwrap();
        let refusal = DirLock::acquire_within(dir.path(), Duration::ZERO).unwrap_err();
        assert!(matches!(refusal, LockError::Locked { holder: Some(pid), .. } if pid == std::process::id()));
        assert!(refusal.to_string().ends_with(&format!("LOCK is locked by process {}", std::process::id())));
        drop(first);
        DirLock::acquire_within(dir.path(), Duration::ZERO).unwrap();
    }

    #[test]
    fn lock_waits_for_a_holder_who_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::acquire_within(dir.path(), Duration::ZERO).unwrap();
        let (started, starts) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            let second = scope.spawn(|| {
                started.send(()).unwrap();
                DirLock::acquire_within(dir.path(), Duration::from_secs(60))
            });
            starts.recv().unwrap();
            drop(first);
            second.join().unwrap().unwrap();
        });
    }

    #[test]
    fn garbage_in_the_file_is_no_process() {
        let dir = tempfile::tempdir().unwrap();
        let _first = DirLock::acquire_within(dir.path(), Duration::ZERO).unwrap();
        std::fs::write(dir.path().join(DirLock::FILE_NAME), [0xff; 4096]).unwrap();
        let refusal = DirLock::acquire_within(dir.path(), Duration::ZERO).unwrap_err();
        assert!(refusal.to_string().ends_with("is locked by another process"), "{refusal}");
    }

    #[test]
    fn missing_directory_is_named() {
        let refusal = DirLock::acquire_within(Path::new("/nonexistent-directory"), Duration::ZERO).unwrap_err();
        assert!(matches!(refusal, LockError::Io { .. }), "{refusal}");
    }
}
