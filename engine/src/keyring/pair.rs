//! The two files of a keyring: which one opens, and how the other is mended.
//!
//! | | what opens | the other |
//! |---|---|---|
//! | both are the same | `keyring` | |
//! | one is older | the newer | is replaced |
//! | one is missing | the one that is there | is made |
//! | one is damaged | the good one | is set aside, and made anew |
//! | of different databases | that of this directory | is set aside, and made anew |
//!
//! A checksum tells damage before any passphrase is stretched; that the secrets
//! do not open tells it afterwards. A passphrase that does not open the newer
//! one is wrong: the older one is not tried, which may have a passphrase that
//! was taken away.

use std::fmt;
use std::path::{Path, PathBuf};

use super::codec::Flaw;
use super::layout::Locked;
use super::seal::Secret;
use super::slot::Slot;
use super::{KdfUpgrade, Keyring, KeyringError, Opening, Unlock, file};
use crate::disk::is_of_file;

/// What is wrong with one of the two files.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// It is not there.
    Missing,
    /// It was cut or changed, or cannot be read.
    Damaged(String),
    /// It is older than the other.
    Older {
        /// The changes that it counts.
        generation: u64,
        /// Those that the other counts.
        newest: u64,
    },
    /// It counts as many changes, and is another.
    Different,
    /// It is of another database.
    OtherDatabase,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::Damaged(detail) => write!(f, "is damaged ({detail})"),
            Self::Older { generation, newest } => {
                write!(f, "is older: generation {generation}, and {newest} is newest")
            }
            Self::Different => f.write_str("differs, with as many changes"),
            Self::OtherDatabase => f.write_str("is that of another database"),
        }
    }
}

/// An error of a file and what the operating system says, in one line.
fn with_cause(problem: &KeyringError) -> String {
    let cause = std::error::Error::source(problem).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{problem}{cause}")
}

/// One of the two files was not as the other, and what became of it.
#[derive(Debug)]
pub struct Mending {
    /// The file.
    pub path: PathBuf,
    /// What was wrong with it.
    pub fault: Fault,
    /// What was done.
    pub done: Mended,
}

/// What was done with a file that was not as the other.
#[derive(Debug)]
#[non_exhaustive]
pub enum Mended {
    /// It has the bytes of the other now. What lay there before is kept under
    /// this name, if it could hold what the other does not.
    Replaced(Option<PathBuf>),
    /// It is as it was: nothing was to be written.
    Left,
    /// It is as it was, because it cannot be written.
    Failed(KeyringError),
}

impl fmt::Display for Mending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, fault, done } = self;
        write!(f, "{} {fault}; ", path.display())?;
        match done {
            Mended::Replaced(None) => f.write_str("it is made anew from the other file"),
            Mended::Replaced(Some(aside)) => {
                write!(f, "it is made anew from the other file, and what was there is {}", aside.display())
            }
            Mended::Left => f.write_str("the other file is good, and is used"),
            Mended::Failed(problem) => write!(f, "the other file is good, and is used; {}", with_cause(problem)),
        }
    }
}

/// What lies under one of the two names.
struct OnDisk {
    path: PathBuf,
    content: Content,
}

enum Content {
    Missing,
    /// Its bytes and its mode.
    Bytes(Vec<u8>, Option<u32>),
    /// Something of the file itself is in the way.
    Unreadable(KeyringError),
}

/// Opens the better one of the two and mends the other.
pub(super) fn open(path: &Path, unlock: Unlock<'_>, opening: &Opening<'_>) -> Result<Keyring, KeyringError> {
    let files = [OnDisk::read(path.to_owned())?, OnDisk::read(file::copy_of(path))?];
    let [first, second] = files.each_ref().map(OnDisk::state);
    let mut states = [first?, second?];
    let Some((at, mut keyring)) = choose(path, &mut states, unlock, opening)? else {
        return Err(refusal(states.map(Result::err), files));
    };
    let generation = keyring.generation;
    let (opened, other) = (&files[at], &files[1 - at]);
    let bytes = opened.bytes();
    let fault = match &states[1 - at] {
        Ok(_) if other.bytes() == bytes => None,
        Ok(locked) if locked.is_of_other(&keyring) => Some(Fault::OtherDatabase),
        Ok(locked) if locked.generation < generation => {
            Some(Fault::Older { generation: locked.generation, newest: generation })
        }
        Ok(_) => Some(Fault::Different),
        Err(State::Missing) => Some(Fault::Missing),
        Err(State::Damaged(detail)) => Some(Fault::Damaged(detail.clone())),
    };
    keyring.mending = fault.map(|fault| {
        let done = match opening.may_write {
            false => Mended::Left,
            true => mend(&other.path, &fault, bytes).unwrap_or_else(Mended::Failed),
        };
        Mending { path: other.path.clone(), fault, done }
    });
    let is_new = |mending: &Mending| matches!(mending.done, Mended::Replaced(_));
    let others = (!keyring.mending.as_ref().is_some_and(is_new)).then_some(other);
    keyring.mode_warning = std::iter::once(opened).chain(others).find_map(OnDisk::mode_warning);
    Ok(keyring)
}

/// The bytes of the newer one of the two that is whole.
pub(super) fn newest(path: &Path) -> Result<Vec<u8>, KeyringError> {
    let files = [OnDisk::read(path.to_owned())?, OnDisk::read(file::copy_of(path))?];
    let [first, second] = files.each_ref().map(OnDisk::state);
    let states = [first?, second?];
    let generation = |state: &Result<Locked<'_>, State>| state.as_ref().ok().map(|locked| locked.generation);
    let at = usize::from(generation(&states[1]) > generation(&states[0]));
    if states[at].is_err() {
        return Err(refusal(states.map(Result::err), files));
    }
    Ok(files[at].bytes().to_vec())
}

/// Writes the other file anew. What could hold keys that the good one lacks is
/// kept.
fn mend(other: &Path, fault: &Fault, bytes: &[u8]) -> Result<Mended, KeyringError> {
    let aside = match fault {
        Fault::Missing | Fault::Older { .. } => None,
        _ => Some(file::set_aside(other)?),
    };
    file::write(other, bytes)?;
    Ok(Mended::Replaced(aside))
}

/// Opens the first that opens, the newer one first. What shows to be damaged on
/// the way is noted.
fn choose(
    path: &Path,
    states: &mut [Result<Locked<'_>, State>; 2],
    unlock: Unlock<'_>,
    opening: &Opening<'_>,
) -> Result<Option<(usize, Keyring)>, KeyringError> {
    let [first, second] = &*states;
    let is_behind = |(first, second): (&Locked<'_>, &Locked<'_>)| {
        if first.is_of_other_than(second) { false } else { first.generation < second.generation }
    };
    let both = first.as_ref().ok().zip(second.as_ref().ok());
    let is_apart = both.is_some_and(|(first, second)| first.is_of_other_than(second));
    let order = if both.is_some_and(is_behind) { [1, 0] } else { [0, 1] };
    // Of different databases: one that opens and may not be the right one, or
    // why none opened.
    let mut doubtful = None;
    let mut refused = None;
    let mut known = None;
    for at in order {
        let Ok(locked) = &states[at] else { continue };
        match locked.unlock(path, unlock, known.as_deref()) {
            Ok(keyring) if is_apart && !(opening.is_right)(&keyring) => {
                doubtful.get_or_insert((at, keyring));
            }
            Ok(keyring) => return Ok(Some((at, keyring))),
            Err(Locking::Damaged { detail, opened }) => {
                known = Some(opened);
                states[at] = Err(State::Damaged(detail));
            }
            Err(Locking::Refused(problem)) if is_apart => {
                refused.get_or_insert(problem);
            }
            // The passphrase is right, as the damaged one says, and this one had
            // another.
            Err(Locking::Refused(_)) if known.is_some() => {}
            Err(Locking::Refused(problem)) => return Err(problem),
        }
    }
    match (doubtful, refused) {
        (None, Some(problem)) => Err(problem),
        (doubtful, _) => Ok(doubtful),
    }
}

/// Why none of the two opens.
fn refusal(states: [Option<State>; 2], files: [OnDisk; 2]) -> KeyringError {
    let [keyring, copy] = files;
    match states {
        [Some(State::Damaged(detail)), other] => match keyring.content {
            Content::Unreadable(problem) => problem,
            _ => {
                let of_copy = match other {
                    Some(State::Damaged(of_copy)) => format!("; and so is its copy: {of_copy}"),
                    Some(State::Missing) => "; and its copy is missing".to_owned(),
                    None => "; and its copy is older, and has another passphrase".to_owned(),
                };
                KeyringError::Damaged { path: keyring.path, detail: detail + &of_copy }
            }
        },
        [keyring, Some(State::Damaged(detail))] => {
            let of_keyring = if keyring.is_none() { "is older, and has another passphrase" } else { "is missing" };
            KeyringError::Damaged { path: copy.path, detail: format!("{detail}; and the keyring itself {of_keyring}") }
        }
        _ => KeyringError::NotFound { path: keyring.path },
    }
}

/// Why a file cannot be tried at all.
enum State {
    Missing,
    Damaged(String),
}

impl OnDisk {
    /// An error is one that is no matter of this file: to go on without it could
    /// go back behind a newer one.
    fn read(path: PathBuf) -> Result<Self, KeyringError> {
        let content = match file::read(&path) {
            Ok((bytes, mode)) => Content::Bytes(bytes, mode),
            Err(KeyringError::NotFound { .. }) => Content::Missing,
            Err(problem @ KeyringError::Damaged { .. }) => Content::Unreadable(problem),
            Err(KeyringError::Io { action, path, source }) if is_of_file(&source) => {
                Content::Unreadable(KeyringError::Io { action, path, source })
            }
            Err(problem) => return Err(problem),
        };
        Ok(Self { path, content })
    }

    /// What can be told of it without a passphrase.
    fn state(&self) -> Result<Result<Locked<'_>, State>, KeyringError> {
        let damaged = |detail| Ok(Err(State::Damaged(detail)));
        match &self.content {
            Content::Missing => Ok(Err(State::Missing)),
            Content::Bytes(bytes, _) => match Locked::parse(bytes) {
                Ok(locked) => Ok(Ok(locked)),
                Err(Flaw::Damaged(detail)) => damaged(detail),
                Err(Flaw::Newer { field, found }) => Err(KeyringError::NewerVersion { field, found }),
                Err(Flaw::Older { found }) => Err(KeyringError::OlderVersion { found }),
            },
            Content::Unreadable(KeyringError::Damaged { detail, .. }) => damaged(detail.clone()),
            Content::Unreadable(problem) => damaged(with_cause(problem)),
        }
    }

    /// Nothing if it could not be read.
    fn bytes(&self) -> &[u8] {
        if let Content::Bytes(bytes, _) = &self.content { bytes } else { &[] }
    }

    fn mode_warning(&self) -> Option<String> {
        let Content::Bytes(_, Some(mode)) = self.content else { return None };
        if mode & 0o077 == 0 {
            return None;
        }
        Some(format!("the keyring {} has mode {mode:04o}, 0600 is enough", self.path.display()))
    }
}

/// Why a file that is whole does not open.
#[derive(Debug)]
pub(super) enum Locking {
    /// A slot opened, and the rest does not: the slot and what it opens to.
    Damaged {
        detail: String,
        opened: Box<(Slot, Secret)>,
    },
    Refused(KeyringError),
}

impl Locked<'_> {
    fn is_of_other_than(&self, other: &Locked<'_>) -> bool {
        is_other(self.id, other.id)
    }

    fn is_of_other(&self, keyring: &Keyring) -> bool {
        is_other(self.id, keyring.id)
    }

    /// Opens what was read. A slot that opened in the other file is not tried
    /// again.
    pub(super) fn unlock(
        &self,
        path: &Path,
        unlock: Unlock<'_>,
        known: Option<&(Slot, Secret)>,
    ) -> Result<Keyring, Locking> {
        let known = known.filter(|(slot, _)| self.slots.contains(slot));
        let (slot, root) = match known {
            Some((slot, root)) => (slot.clone(), Secret::copy_of(root.as_bytes())),
            None => self.find_slot(unlock).map_err(Locking::Refused)?,
        };
        let secrets = match self.open(&root) {
            Ok(secrets) => secrets,
            Err(Flaw::Damaged(detail)) => return Err(Locking::Damaged { detail, opened: Box::new((slot, root)) }),
            Err(Flaw::Newer { field, found }) => {
                return Err(Locking::Refused(KeyringError::NewerVersion { field, found }));
            }
            Err(Flaw::Older { found }) => return Err(Locking::Refused(KeyringError::OlderVersion { found })),
        };
        Ok(Keyring {
            path: path.to_owned(),
            id: self.id,
            generation: self.generation,
            root,
            slots: self.slots.clone(),
            opened_by: slot.id,
            secrets,
            mode_warning: None,
            upgrade: KdfUpgrade::NotNeeded,
            mending: None,
            copy_problem: None,
            is_gathering: false,
            is_draft: false,
            is_read_only: false,
        })
    }

    fn find_slot(&self, unlock: Unlock<'_>) -> Result<(Slot, Secret), KeyringError> {
        for slot in &self.slots {
            let root = match unlock {
                Unlock::Passphrase(passphrase) => slot.open_with_passphrase(passphrase)?,
                Unlock::RecoveryKey(key) => slot.open_with_recovery_key(key),
            };
            if let Some(root) = root {
                return Ok((slot.clone(), root));
            }
        }
        Err(match unlock {
            Unlock::Passphrase(_) => KeyringError::WrongPassphrase,
            Unlock::RecoveryKey(_) => KeyringError::WrongRecoveryKey,
        })
    }
}

/// Whether two ids are of different databases.
pub(super) fn is_other(one: [u8; 16], other: [u8; 16]) -> bool {
    one != other
}

#[cfg(test)]
mod tests;
