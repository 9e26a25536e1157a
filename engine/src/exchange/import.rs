//! Entries in, as ndjson or a binary stream: how to import, and what became of it.
//!
//! The caller's thread reads lines, hands chunks to [workers](super::check), and
//! takes the chunks back in order to [commit](super::intake) them. What a worker
//! checks needs nothing but the entry itself and the trust store; what needs the
//! entries before it (prev, seq, time) is for the committer.

use std::io::Write;

use thingdb_format::Card;

use super::framing::StreamState;
use crate::entry::refusal::{Refusal, RefusalCounts};
use crate::keyring::passphrase::Passphrase;
use crate::progress::{self, Progress};
use crate::replica::memory::Conflict;
use crate::store::provenance::Sender;

/// Whose entries are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrustPolicy {
    /// Those of actors that the trust store knows, from this node or from
    /// origins that it knows.
    #[default]
    Known,
    /// Anyone's whose signature holds. Verification will tell that the actor
    /// is unknown.
    All,
}

/// How to import.
///
/// ```
/// use thingdb::{ImportOptions, TrustPolicy};
/// let mut rejects = Vec::new();
/// let options = ImportOptions::new().trust(TrustPolicy::All).rejects(&mut rejects);
/// # let _ = options;
/// ```
#[derive(Default)]
pub struct ImportOptions<'a> {
    pub(super) trust: TrustPolicy,
    pub(super) passphrase: Option<&'a Passphrase>,
    pub(super) dry_run: bool,
    pub(super) fail_fast: bool,
    pub(super) from: Sender,
    pub(super) rejects: Option<&'a mut dyn Write>,
    pub(super) prefix: String,
    pub(super) is_rewritten: bool,
    pub(super) refused: Option<&'a mut dyn FnMut(&Refusal)>,
    pub(super) progress: progress::Report<'a>,
    pub(super) memory: Option<usize>,
    pub(super) room: Option<&'a (dyn Fn() -> Option<Room> + 'a)>,
}

/// Leave to hold a large line or frame in memory, for as long as it lives.
pub type Room = Box<dyn Send>;

impl<'a> ImportOptions<'a> {
    /// Known actors from known origins only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whose entries are accepted.
    #[must_use]
    pub const fn trust(mut self, policy: TrustPolicy) -> Self {
        self.trust = policy;
        self
    }

    /// Opens entries that are sealed to this passphrase, as in an archive.
    #[must_use]
    pub const fn passphrase(mut self, passphrase: &'a Passphrase) -> Self {
        self.passphrase = Some(passphrase);
        self
    }

    /// Only tells what would become of the stream. It remembers 400,000 new
    /// entries, in about 20 MB, and [looks no further](ImportSummary::limited).
    #[must_use]
    pub const fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Stops at the first line that is refused. What came before it stays.
    #[must_use]
    pub const fn fail_fast(mut self, fail_fast: bool) -> Self {
        self.fail_fast = fail_fast;
        self
    }

    /// Who sends the stream. What a node completes here is not offered to it again
    /// ([`Db::changes`](crate::Db::changes)). Envelopes that an entry's own origin
    /// brings have a place before those of others, if it has proven to be that
    /// node; those that anybody added have one in turn, by who brought them.
    #[must_use]
    pub const fn from(mut self, sender: Sender) -> Self {
        self.from = sender;
        self
    }

    /// Where lines go that are refused, as they came; entries of a binary
    /// stream go there as lines. Those of all of them together take no more than
    /// 64 MiB and 32 times what the stream has: above it they go without their
    /// envelopes ([`ImportSummary::kept_bare`]).
    #[must_use]
    pub fn rejects(mut self, out: &'a mut dyn Write) -> Self {
        self.rejects = Some(out);
        self
    }

    /// Only things whose id begins with `prefix`; entries of others are
    /// refused.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The lines come out of a JSON array, which tools may set in other words:
    /// the digest of the trailer is not compared.
    #[must_use]
    pub const fn rewritten(mut self, is_rewritten: bool) -> Self {
        self.is_rewritten = is_rewritten;
        self
    }

    /// Is told of each line that is refused, when it is.
    #[must_use]
    pub fn refused(mut self, tell: &'a mut dyn FnMut(&Refusal)) -> Self {
        self.refused = Some(tell);
        self
    }

    /// Bytes of memory that what is under way may take, about: 32 MiB if nothing
    /// is said, 4 MiB at least. It is what lines and frames take when they are
    /// taken apart, not what they have on the wire. One that is larger goes
    /// alone: it takes up to 24 MiB, and 16 for the payload in it.
    #[must_use]
    pub const fn memory(mut self, bytes: usize) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Is asked before a line or frame is held that is larger than a megabyte.
    /// What it gives is dropped when that is done; where it gives nothing, the
    /// stream ends there, as if it were [cut](StreamState::Cut).
    #[must_use]
    pub const fn room(mut self, ask: &'a (dyn Fn() -> Option<Room> + 'a)) -> Self {
        self.room = Some(ask);
        self
    }

    /// Is told of progress now and then: lines and bytes that were read.
    #[must_use]
    pub fn progress(mut self, report: &'a mut dyn FnMut(Progress)) -> Self {
        self.progress = Some(report);
        self
    }
}

impl std::fmt::Debug for ImportOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportOptions").field("trust", &self.trust).finish_non_exhaustive()
    }
}

/// What became of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportSummary {
    /// Entries that came whole, whatever became of them.
    pub entries: u64,
    /// Entries that were not here.
    pub added: u64,
    /// Entries that were here already.
    pub known: u64,
    /// Entries that were here and lacked their payload, key or envelopes.
    pub completed: u64,
    /// Entries that were here and lost their content to erasure records that came.
    pub erased: u64,
    /// Entries whose prev is not here, since earlier imports too. They are kept
    /// [aside](crate::Db::waiting) and go on when it comes.
    pub pending: u64,
    /// Of those that waited since earlier imports, how many lost their place in
    /// this one: others took it, or they had waited for too long. The nodes
    /// that sent them will [know](crate::Db::dropped_from).
    pub dropped: u64,
    /// Lines that were refused.
    pub refused: u64,
    /// Envelopes that are not kept: an entry has eight places, which better ones
    /// take or keep, or they say to be for this node and open nothing. Those
    /// that lost their place are counted, too. The entries are as good as
    /// before.
    pub envelopes_dropped: u64,
    /// Refused entries of a binary stream that went to
    /// [`rejects`](ImportOptions::rejects) without their envelopes: as lines they
    /// would take far more than the stream.
    pub kept_bare: u64,
    /// Why, for the first thousand of them. A frame that does not decode ends
    /// its stream: it has its reason here and is counted nowhere else.
    pub reasons: Vec<Refusal>,
    /// Of all of them: how many are worth another try, and when.
    pub kinds: RefusalCounts,
    /// What the stream is as a whole.
    pub stream: StreamState,
    /// What the source said when it could not be read to its end.
    pub broken: Option<String>,
    /// The card of the stream's header, of the last one if there were several.
    /// Its signature holds; whether the node is known is another question.
    pub card: Option<Card>,
    /// Checkpoints in the stream that contradict what a known node signed
    /// before. Both are kept as evidence.
    pub conflicts: Vec<Conflict>,
    /// Whether it was left at the first refused line.
    pub stopped: bool,
    /// Whether a dry run was left because it saw as many new entries as it
    /// remembers.
    pub limited: bool,
}
