//! ThingDB: an embedded, encrypted, tamper-evident store.
//!
//! Each *thing* (a part, a sensor, a document) has an append-only history of
//! *entries*. An entry says who, when, what and after what; it is signed, its
//! data is sealed under a key of its own, and it names the entries before it by
//! their hashes. So what was recorded can be proven, and what was taken away
//! shows.
//!
//! ```
//! use thingdb::{Db, Options, Passphrase};
//!
//! # let tmp = tempfile::tempdir()?;
//! # let dir = tmp.path().join("things");
//! let passphrase = Passphrase::new("correct horse battery");
//! let options = Options::new().actor("alice");
//! # let options = options.kdf(thingdb::KdfChoice::weakest());
//! let db = options.create(&dir, &passphrase)?;
//!
//! db.put("part-42", r#"{"temp":20.1}"#)?;
//! db.put("part-42", r#"{"temp":21.4}"#)?;
//!
//! let latest = db.get("part-42")?.expect("it was put");
//! assert_eq!(latest.data(), Some(&br#"{"temp":21.4}"#[..]));
//! for record in db.history("part-42")?.rev() {
//!     let record = record?;
//!     println!("{} {} by {}", record.seq(), record.time(), record.actor_name().unwrap_or("?"));
//! }
//! assert!(db.verify(Default::default())?.is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to read on
//!
//! - [`Db`] is the database; [`Options`] how it is made and opened.
//! - [`Draft`] is what one writes, [`Record`] what one reads, [`History`] and
//!   [`Things`] are how one goes through many.
//! - [`Db::verify`] checks everything from the bytes and gives a [`Report`] in
//!   a vocabulary of [`Verdict`]s. [`Db::checkpoint`] signs the ledger's state
//!   for someone else to keep.
//! - [`Db::export`] and [`Db::import`] move entries as ndjson; [`Db::migrate`]
//!   brings in what the Python prototype wrote.
//! - [`Error`] has predicates for what a program can do about it.
//! - [`mod@format`] is the entry format itself, for those who verify without a
//!   database.
//!
//! # Concurrency
//!
//! A [`Db`] is `Send` and `Sync`; all calls take `&self` and block. One process
//! opens a directory at a time. Writers of many threads share commits and
//! syncs; readers are not held up by writers.

mod access;
mod backup;
mod clock;
mod committer;
mod db;
mod directory;
#[doc(hidden)]
pub mod disk;
mod encoding;
mod entry;
mod error;
mod evidence;
mod exchange;
mod heads;
#[doc(hidden)]
pub mod keyring;
mod migrate;
mod node;
mod progress;
mod prototype;
mod replica;
#[doc(hidden)]
pub mod storage;
mod store;
mod threads;
mod verify;

pub use access::actors::{OwnActor, TrustedActor};
pub use access::address::PeerAddress;
pub use access::audience::Audience;
pub use access::introduction::{Claim, Introduction, Withdrawn};
pub use access::peers::{Peer, RemovedPeer};
pub use access::tls::TlsIdentity;
pub use access::token_text::TokenText;
pub use access::tokens::{Scope, Token, TokenId, TokenRefusal, TokenRequest};
pub use backup::{
    Backup, BackupOptions, LastBackup, Restore, Restored, backup, forget_backup, has_dropped_commits, is_backup,
    last_backups, refuse_within, restore,
};
pub use db::Db;
pub use db::erase::{Erase, Erased, ErasurePlan, ErasureRecord};
pub use db::forks::{Fork, ForkHead, RESOLUTION, Resolution};
pub use db::hold::Hold;
pub use db::keys::{AsOf, KeyLogView, KeyStep};
pub use db::options::Options;
pub use db::read::Stats;
pub use db::receipts::NodeReceipt;
pub use db::retain::{DuePlan, MAX_RETENTIONS, Retention};
pub use db::salvage::{Missing, Salvage, Salvaged};
pub use db::share::{Reader, ShareSummary};
pub use db::short_ids::{ShortId, short_id};
pub use db::warning::Warning;
pub use directory::journal_state::{JournalState, journal_state};
pub use directory::version::STORE_VERSION;
pub use disk::Foreign;
#[doc(hidden)]
pub use disk::lock;
pub use entry::draft::{Draft, JSON, MAX_PUBLIC_BYTES};
pub use entry::record::{Content, Receipt, Record, Signed};
pub use entry::refusal::{Refusal, RefusalCode, RefusalCounts, RefusalKind};
pub use error::{Error, Result};
pub use evidence::checkpoints::{Contradiction, Evidence, Weight};
pub use evidence::fork::{Equivocation, verify_fork};
pub use evidence::heads::SplitHeads;
pub use evidence::statements::{Compared, Statements};
pub use exchange::export::{ExportOptions, ExportSummary, Outgoing, StreamForm};
pub use exchange::framing::{KnownAs, StreamLedger, StreamState};
pub use exchange::import::{ImportOptions, ImportSummary, Room, TrustPolicy};
pub use exchange::prove::{ProveOptions, ProveSummary};
pub use exchange::waiting::{Waiting, WaitingEntry};
pub use heads::{Expect, Head};
pub use keyring::dumps::forbid_dumps;
pub use keyring::passphrase::Passphrase;
pub use keyring::trust;
pub use keyring::{
    KdfChoice, KeyringContents, KeyringError, KeyringFile, MAX_TOKENS, NextKeyFile, PutBack, RecoveryKey, RecoveryText,
    SlotId, SlotInfo, SlotKind, Unlock,
};
pub use migrate::MigrateOptions;
pub use migrate::report::{ActorOutcome, MigrateReport, MigratedActor, PrototypePeer, RefusedLine};
pub use node::Durability;
pub use node::standing::Standing;
pub use progress::Progress;
pub use prototype::{Chain, ChainVerdict, CheckedOriginal, Form, ORIGINAL, Original, OriginalReport, PYTHON_JSON};
pub use replica::cursors::Cursors;
pub use replica::exchanges::Exchanges;
pub use replica::heads::{HeadsConflict, Recomputed};
pub use replica::heard::{Hearsay, MAX_PASSED_ON};
pub use replica::memory::{Conflict, Observation, Remembered};
pub use replica::receipts::{MAX_RECEIPTS, ReceiptsSince, ReceiptsTaken};
pub use replica::refused::{Places, Refused};
pub use replica::timestamps::Timestamped;
pub use replica::witness::Cosigning;
pub use replica::witnesses::{Cosigned, MAX_WITNESSES, Witness};
pub use storage::journaled::Keep;
#[doc(hidden)]
pub use store::block::fuzz_stored;
pub use store::changes::Changes;
pub use store::history::History;
pub use store::holes::Hole;
pub use store::provenance::Sender;
pub use store::things::{ThingInfo, ThingQuery, Things};
pub use thingdb_format as format;
pub use thingdb_format::{
    Actor, Card, Checkpoint, EncryptionKey, EntryId, Hash, KdfParams, NodeKey, Origin, SignedCheckpoint, Suite,
    ThingId, Time,
};
pub use verify::{OtherLedger, Problem, Report, Verdict, VerifyOptions};
