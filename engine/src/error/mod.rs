//! What can go wrong, grouped by what one can do about it.

mod predicates;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use thingdb_format::{Actor, ThingId};

use crate::heads::{Expect, Head};
use crate::keyring::KeyringError;
use crate::storage::StorageError;

/// The result of a call into the database.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call failed.
///
/// The predicates (`is_…`) group the variants by what a program can do about
/// them; match on them rather than on variants, which may grow.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let passphrase = thingdb::Passphrase::new(b"correct horse battery".to_vec());
/// let problem = thingdb::Db::open(dir.path(), &passphrase).unwrap_err();
/// assert!(problem.is_no_database());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no database in this directory.
    #[error("no database in {}", dir.display())]
    NoDatabase {
        /// The directory.
        dir: PathBuf,
    },
    /// There is one already.
    #[error("there is a database in {} already", dir.display())]
    AlreadyExists {
        /// The directory.
        dir: PathBuf,
    },
    /// Another process, or another handle of this one, has it open.
    #[error("the database in {} is open elsewhere{}", dir.display(), holder.map(|pid| format!(" by process {pid}")).unwrap_or_default())]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process that holds the lock, if it left its number.
        holder: Option<u32>,
    },
    /// The directory, or a file of the database in it, belongs to another user.
    /// Nothing was opened: what this process wrote there its owner could not read.
    #[error("{} belongs to user {owner}, and this process runs as user {user}", path.display())]
    OtherUser {
        /// What belongs to somebody else.
        path: PathBuf,
        /// The number of its owner.
        owner: u32,
        /// The number of the user of this process.
        user: u32,
    },
    /// A link, a pipe, or a file with several names lies in the place of a file of
    /// the database. Nothing was opened.
    #[error("{} is {found}, where a database has {expected}", path.display())]
    NotOwnFile {
        /// Where it lies.
        path: PathBuf,
        /// What it is.
        found: crate::disk::Foreign,
        /// What should lie there.
        expected: &'static str,
    },
    /// The database was made by a newer program.
    #[error("the database has store version {found}, this program knows {known}")]
    NewerVersion {
        /// The version found.
        found: u64,
        /// The newest version this program reads.
        known: u64,
    },
    /// The database was made by a program of before the first release, which laid
    /// it out in another way.
    #[error("the database has store version {found}, this program reads {known}")]
    OlderVersion {
        /// The version found.
        found: u64,
        /// The version this program reads.
        known: u64,
    },
    /// The keyring does not open, is damaged, or refuses a change.
    #[error("{0}")]
    Keyring(#[source] Arc<KeyringError>),
    /// The storage below failed, is full, or is damaged.
    #[error("{0}")]
    Storage(#[source] Arc<StorageError>),
    /// A file beside the storage could not be read or written.
    #[error("{}: {action}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A stream that the caller gave could not be read or written.
    #[error("the stream could not be {action}")]
    Stream {
        /// `read` or `written`.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A row or record does not open or decode: damaged, or moved.
    #[error("{what} is damaged: {detail}")]
    Damaged {
        /// Which row, by thing and seq or by ledger position.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The thing has moved on.
    #[error("{thing}: expected {expected}, but {}", heads_in_words(heads))]
    Conflict {
        /// The thing.
        thing: ThingId,
        /// What the caller expected.
        expected: Expect,
        /// The heads that it has.
        heads: Vec<Head>,
    },
    /// The thing has several heads, and none was to be chosen.
    #[error("{thing} has {} heads: {}", heads.len(), ids_of(heads))]
    Forked {
        /// The thing.
        thing: ThingId,
        /// Its heads, the latest first.
        heads: Vec<Head>,
    },
    /// Input that is not allowed: an id, a name, a size.
    #[error(transparent)]
    Invalid(#[from] thingdb_format::Error),
    /// Text that is not JSON, or JSON that readers would understand
    /// differently.
    #[error("not acceptable as JSON, line {line}, column {column}: {problem}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A witness of this name or with this key is asked already.
    #[error("the witness {name} is known already, with the key {vkey}")]
    WitnessKnown {
        /// Its name.
        name: String,
        /// Its key.
        vkey: thingdb_format::VerifierKey,
    },
    /// No more witnesses are asked.
    #[error("there are {most} witnesses already, which is the most")]
    TooManyWitnesses {
        /// How many can be asked.
        most: usize,
    },
    /// No witness has this name.
    #[error("no witness named {name} is asked")]
    NoSuchWitness {
        /// The name.
        name: String,
    },
    /// No actor of this name has a key here.
    #[error("no actor named {name} has a key in this database")]
    NoSuchActor {
        /// The name.
        name: String,
    },
    /// Trust in an actor of this node was withdrawn: nothing is signed with its
    /// key.
    #[error("trust in {name} was withdrawn on {at}, so nothing is signed with its key")]
    ActorWithdrawn {
        /// The name.
        name: String,
        /// When trust was withdrawn.
        at: thingdb_format::Time,
    },
    /// The ledger is shorter than or different from the last checkpoint that
    /// this node signed, so that it must not sign another.
    #[error("{detail}")]
    RolledBack {
        /// What was found.
        detail: String,
    },
    /// There is no such entry of the thing, or no such thing.
    #[error("there is no such entry of {thing} here")]
    NothingToProve {
        /// The thing.
        thing: thingdb_format::ThingId,
    },
    /// Fields are to be shown, and no entry that goes into the file has one of them, or
    /// none was written so that single fields can be shown.
    #[error("no entry of {thing} has a field that is asked for and can be shown alone")]
    NoFieldsToProve {
        /// The thing.
        thing: thingdb_format::ThingId,
        /// Entries that are here and were written without fields.
        without: u64,
    },
    /// A thing is to be proven absent that is there.
    #[error("{thing} is here: it has {entries} entries")]
    NotAbsent {
        /// The thing.
        thing: thingdb_format::ThingId,
        /// How many entries it has.
        entries: u64,
    },
    /// More entries than a proof file can have.
    #[error("more entries than the {most} that a proof file can have")]
    TooManyToProve {
        /// The most.
        most: u64,
    },
    /// No peer of this name is known.
    #[error("no peer named {name} is known here")]
    NoSuchPeer {
        /// The name.
        name: String,
    },
    /// A peer's card has other keys than the peer had.
    #[error("the card of {name} has another node key: known is {known}, the card has {found}")]
    PeerChanged {
        /// The peer.
        name: String,
        /// Fingerprint of the key that is known.
        known: thingdb_format::Hash,
        /// Fingerprint of the key on the card.
        found: thingdb_format::Hash,
    },
    /// A card lists an actor of this node under another name.
    #[error("the card lists the key {key} as {claimed}; it is {known}, who signs here")]
    ActorClaimed {
        /// The actor.
        key: thingdb_format::Actor,
        /// The name on the card.
        claimed: String,
        /// The name here.
        known: String,
    },
    /// The node of a card is known already, under another name.
    #[error("the node {fingerprint} is known already, as {name}")]
    PeerKnown {
        /// The name.
        name: String,
        /// Its fingerprint.
        fingerprint: thingdb_format::Hash,
    },
    /// A write-only node was asked to write something that nobody could read.
    #[error("this node is write-only and no peer would be able to read the entry")]
    NoReader,
    /// The media type is that of an erasure record, which only
    /// [`Db::erase`](crate::Db::erase) writes.
    #[error("this media type is for erasure records: Db::erase, or thingdb erase, writes them")]
    ReservedRecord,
    /// Ids that begin with `thingdb:` are kept for what ThingDB itself writes.
    #[error("{thing} is reserved: ids that begin with thingdb: are written by ThingDB itself")]
    ReservedThing {
        /// The thing.
        thing: ThingId,
    },
    /// A key signs nothing more: the actor's key log says so.
    #[error("the key of {name} is {}: its key log has a newer step, so nothing is signed with it", state.as_str())]
    KeyNotCurrent {
        /// The name.
        name: String,
        /// What the log says of the key.
        state: thingdb_format::key_log::KeyState,
    },
    /// An actor has not introduced itself, so nothing says which key comes next.
    #[error("{name} has no key log")]
    NoKeyLog {
        /// The name.
        name: String,
    },
    /// An actor has introduced itself already.
    #[error("{name} has a key log already")]
    KeyLogThere {
        /// The name.
        name: String,
    },
    /// The key that was given is not the one whose hash the key log has.
    #[error("this is not the next key that {name} has promised")]
    NotPromised {
        /// The name.
        name: String,
    },
    /// What everybody can read is small.
    #[error("the data has {bytes} bytes, and an entry that everybody can read at most {most}")]
    PublicTooLarge {
        /// How many there are.
        bytes: usize,
        /// How many there may be.
        most: usize,
    },
    /// An entry that everybody can read was to be sealed to some.
    #[error("an entry that everybody can read is sealed to nobody in particular")]
    PublicToSome,
    /// A policy needs a time for which content is kept.
    #[error("content is to be kept for no time: name one second at least")]
    NoTimeToRetain,
    /// There is no policy with this prefix.
    #[error("nothing says how long things that begin with {prefix:?} are kept")]
    NoSuchRetention {
        /// As it was asked for.
        prefix: String,
    },
    /// A node has so many policies.
    #[error("there are {most} policies of how long content is kept, and no more fit")]
    TooManyRetentions {
        /// How many there may be.
        most: usize,
    },
    /// Somebody who did not write an entry, and is no actor of the node at which it was
    /// written, cannot erase it.
    #[error("{name} may not erase {thing} seq {seq}: it was signed by the key {by}, at another node")]
    MayNotErase {
        /// The actor who was to sign.
        name: String,
        /// The thing.
        thing: ThingId,
        /// The seq of the first such entry.
        seq: u64,
        /// Who signed it.
        by: Actor,
    },
    /// Nothing that was asked for has content that could be erased.
    #[error("nothing of {thing} that was asked for is left to erase")]
    NothingToErase {
        /// The thing.
        thing: ThingId,
    },
    /// Nothing of the thing is erased here until it is released.
    #[error("{thing} is on hold: {reason}")]
    OnHold {
        /// The thing.
        thing: ThingId,
        /// Why, as it was given with the hold.
        reason: String,
    },
    /// The entry is here and this node has no key to its data, or the payload
    /// is absent.
    #[error("{thing} seq {seq}: this node cannot read the data")]
    NotReadable {
        /// The thing.
        thing: ThingId,
        /// The seq of the entry.
        seq: u64,
    },
    /// The ledger does not reach up to this position: whoever named it looks at
    /// another ledger, or at one that is shorter than it was.
    #[error("nothing is at position {position}: the ledger has {size} {}", if *size == 1 { "entry" } else { "entries" })]
    BeyondLedger {
        /// The position.
        position: u64,
        /// Entries in the ledger.
        size: u64,
    },
    /// Two lines that should prove an equivocation do not.
    #[error("this proves no equivocation: {reason}")]
    NoEvidence {
        /// Why not.
        reason: String,
    },
    /// There is no directory of the Python prototype there.
    #[error("no prototype in {}: neither ledger.ndjson nor salt.bin nor node_x25519.enc", dir.display())]
    NoPrototype {
        /// The directory.
        dir: PathBuf,
    },
    /// The passphrase opens nothing of the prototype's.
    #[error("the passphrase opens nothing of the prototype in {}", dir.display())]
    PrototypePassphrase {
        /// The directory.
        dir: PathBuf,
    },
    /// The entry is not one of the heads.
    #[error("{thing}: the entry {id} is not one of its heads")]
    NotAHead {
        /// The thing.
        thing: ThingId,
        /// The entry.
        id: thingdb_format::EntryId,
    },
    /// A token of this name is there already.
    #[error("there is a token named {name} already")]
    TokenExists {
        /// The name.
        name: String,
    },
    /// There are as many tokens as there may be.
    #[error("there are {} tokens, more are not kept; remove some first", crate::keyring::MAX_TOKENS)]
    TooManyTokens,
    /// This word is no scope of tokens.
    #[error("{scope} is no scope; there are read, write, export, import and admin")]
    NoSuchScope {
        /// The word.
        scope: String,
    },
    /// A checkpoint is of another node, of which nothing is known here.
    #[error("the checkpoint is of the node {found}, which is not this one and not known here")]
    OtherNode {
        /// The node of the checkpoint.
        found: thingdb_format::Origin,
    },
    /// A backup lies there, which is read and never written to but by the next
    /// backup.
    #[error("{} is a backup: it can be read, and restored to another directory", dir.display())]
    IsBackup {
        /// The directory.
        dir: PathBuf,
    },
    /// A restore to this directory was broken off: it is no database until the restore
    /// is repeated.
    #[error("a restore to {} was not finished: it is no database yet", dir.display())]
    RestoreUnfinished {
        /// The directory.
        dir: PathBuf,
        /// The backup, if that is known.
        from: Option<PathBuf>,
        /// How many entries were wanted; nothing for all of them.
        entries: Option<u64>,
    },
    /// The backup that lies there cannot be gone on with: it is of another database,
    /// or has commits that this one has not.
    #[error("the backup in {} was left as it is: {detail}", dest.display())]
    NotItsBackup {
        /// Where it lies.
        dest: PathBuf,
        /// What was found.
        detail: String,
    },
    /// A database and its backup, or what is made of one of them, lie in one another.
    #[error("{} lies in {}", inner.display(), outer.display())]
    Within {
        /// The directory that lies in the other, or is the other.
        inner: PathBuf,
        /// The other one.
        outer: PathBuf,
    },
    /// The first backup to this place was broken off, and there is nothing to restore
    /// yet.
    #[error("the backup in {} is not finished, and has nothing to restore yet", dir.display())]
    BackupUnfinished {
        /// The directory.
        dir: PathBuf,
    },
    /// No backup lies there.
    #[error("no backup in {}", dir.display())]
    NoBackup {
        /// The directory.
        dir: PathBuf,
    },
    /// Something lies where only a backup, or nothing, may.
    #[error("{} is not empty, and no backup of this database", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// The database was opened to read only.
    #[error("the database was opened to read only")]
    OpenedReadOnly,
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
    /// What was asked for is not wanted any more.
    #[error("it was broken off")]
    Cancelled,
}

/// Heads that an error names; there may be very many.
const MAX_NAMED: usize = 8;

fn heads_in_words(heads: &[Head]) -> String {
    match heads {
        [] => "there is no such thing".into(),
        [head] => format!("the head is {} (seq {})", head.id, head.seq),
        many => format!("the heads are {}", ids_of(many)),
    }
}

fn ids_of(heads: &[Head]) -> String {
    let ids: Vec<String> = heads.iter().take(MAX_NAMED).map(|head| head.id.to_string()).collect();
    match heads.len().saturating_sub(MAX_NAMED) {
        0 => ids.join(", "),
        others => format!("{} and {others} others", ids.join(", ")),
    }
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, action, source: Arc::new(source) }
    }

    pub(crate) fn of_lock(dir: &std::path::Path, problem: crate::disk::lock::LockError) -> Self {
        match problem {
            crate::disk::lock::LockError::Locked { holder, .. } => Self::Locked { dir: dir.to_owned(), holder },
            crate::disk::lock::LockError::Io { path, source } => Self::file(path, "cannot be locked")(source),
        }
    }

    /// A stream that the caller gave could not be written.
    pub(crate) fn written(source: std::io::Error) -> Self {
        Self::Stream { action: "written", source: Arc::new(source) }
    }

    pub(crate) fn damaged(what: impl Into<String>, detail: impl fmt::Display) -> Self {
        Self::Damaged { what: what.into(), detail: detail.to_string() }
    }
}

impl From<StorageError> for Error {
    fn from(problem: StorageError) -> Self {
        match problem {
            StorageError::Closed => Self::Closed,
            problem => Self::Storage(Arc::new(problem)),
        }
    }
}

impl From<KeyringError> for Error {
    fn from(problem: KeyringError) -> Self {
        Self::Keyring(Arc::new(problem))
    }
}
