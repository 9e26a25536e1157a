//! What can be wrong with a keyring.

use std::io;
use std::path::PathBuf;

use super::SlotId;

/// Why a keyring cannot be opened or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// It was opened to read only.
    #[error("the keyring was opened to read only")]
    ReadOnly,
    /// There is no keyring.
    #[error("there is no keyring at {}", path.display())]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A keyring is made where one is already; it is not replaced.
    #[error("there is already a keyring at {}", path.display())]
    AlreadyExists {
        /// The keyring that is there.
        path: PathBuf,
    },
    /// The file is whole and no passphrase slot opens with the passphrase.
    #[error("the passphrase does not open the keyring")]
    WrongPassphrase,
    /// The file is whole and no recovery slot opens with the recovery key.
    #[error("the recovery key does not open the keyring")]
    WrongRecoveryKey,
    /// The file was cut or changed by something other than this program.
    #[error("the keyring {} is damaged: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The file is whole and holds a number that this version does not know.
    #[error("{field} {found} of the keyring was written by a newer version")]
    NewerVersion {
        /// The field that holds the number.
        field: &'static str,
        /// The number.
        found: u64,
    },
    /// The file is whole and of a database that this version does not read.
    #[error("the keyring was written by an older version, as version {found}")]
    OlderVersion {
        /// Its version.
        found: u64,
    },
    /// The file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Argon2id asks for more memory than there is.
    #[error("a slot needs {memory_kib} KiB of memory to open, which are not to be had")]
    NoMemory {
        /// The memory that is needed.
        memory_kib: u32,
    },
    /// A new passphrase breaks the one rule.
    #[error("the passphrase has {found} characters, at least {least} are needed")]
    PassphraseTooShort {
        /// Characters found.
        found: usize,
        /// Characters needed.
        least: usize,
    },
    /// Text that is not a recovery key.
    #[error("the recovery key {problem}")]
    NotARecoveryKey {
        /// What is wrong with it, as the rest of a sentence.
        problem: &'static str,
    },
    /// There is a recovery key already.
    #[error("slot {slot} holds a recovery key already")]
    RecoveryKeyExists {
        /// The slot that holds it.
        slot: SlotId,
    },
    /// No slot has this number.
    #[error("there is no slot {slot}")]
    NoSuchSlot {
        /// The number asked for.
        slot: SlotId,
    },
    /// The slot is of another kind than the change needs.
    #[error("slot {slot} holds a recovery key, not a passphrase")]
    NotAPassphraseSlot {
        /// The slot.
        slot: SlotId,
    },
    /// The last passphrase cannot be removed.
    #[error("slot {slot} holds the last passphrase")]
    LastPassphrase {
        /// The slot.
        slot: SlotId,
    },
    /// A list is full.
    #[error("the keyring has {most} {what}, which is the most it can hold")]
    Full {
        /// What the list holds.
        what: &'static str,
        /// How many there can be.
        most: usize,
    },
    /// No actor has this name.
    #[error("there is no actor '{name}'")]
    NoSuchActor {
        /// The name asked for.
        name: String,
    },
    /// The default actor is asked for and there is none at all.
    #[error("the keyring holds no actor")]
    NoActor,
    /// An actor of this keyring has the name already.
    #[error("there is already an actor '{name}'")]
    ActorExists {
        /// The name.
        name: String,
    },
    /// A key that is trusted goes by the name already.
    #[error("the name '{name}' is taken by the key {key}")]
    NameTaken {
        /// The name.
        name: String,
        /// The key that has it, in hex.
        key: String,
    },
    /// A name is empty, too long, or holds control characters.
    #[error("the name {name:?} {problem}")]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it, as the rest of a sentence.
        problem: &'static str,
    },
    /// A public key is not acceptable, so nothing that it signs would be.
    #[error("the key {key} is not acceptable")]
    UnacceptableKey {
        /// The key, in hex.
        key: String,
        /// What is wrong with it.
        source: thingdb_format::Error,
    },
    /// A person withdrew trust in a key; nothing but a person takes that back.
    #[error("trust in {name} was withdrawn on {at}, and stays so: the key {key}")]
    Withdrawn {
        /// The key, in hex.
        key: String,
        /// The name by which it is known.
        name: String,
        /// When trust was withdrawn.
        at: thingdb_format::Time,
    },
    /// Both files are gone, and there is something that they open.
    #[error("{} holds entries, and both files of its keyring are missing", dir.display())]
    Lost {
        /// The directory.
        dir: PathBuf,
    },
    /// A keyring was to be put back, and a good one is there that is as new.
    #[error("{} is newer: it counts {present} changes, that one {given}", path.display())]
    NewerPresent {
        /// The one that is there.
        path: PathBuf,
        /// How often it was changed.
        present: u64,
        /// How often the other was changed.
        given: u64,
    },
    /// A keyring was to be put back, and a good one of another database is there.
    #[error("{} is the keyring of another database than that one", path.display())]
    OtherPresent {
        /// The one that is there.
        path: PathBuf,
    },
    /// A keyring was to be put back, and it opens nothing of what is stored there.
    #[error(
        "the keyring that was given is that of another database, of the node {node}: it opens nothing of what is \
         stored in {}",
        dir.display()
    )]
    OfOtherDatabase {
        /// The directory.
        dir: PathBuf,
        /// Fingerprint of the node of the keyring.
        node: thingdb_format::Hash,
    },
    /// A key is not in the trust store, so trust in it cannot be withdrawn.
    #[error("the key {key} is not known")]
    NotKnown {
        /// The key, in hex.
        key: String,
    },
}
