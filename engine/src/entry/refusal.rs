//! Why an entry from elsewhere is refused, and what would have to change for
//! it to be accepted.

use thingdb_format::{Actor, EntryId, Origin, Time};

/// Why a line was refused.
///
/// An exchange moves on past what was refused, so it has to know what to come
/// back for. [`RefusalCode::kind`] says it:
///
/// - [`RefusalKind::Permanent`]: never offer it again.
/// - [`RefusalKind::Trust`] and [`RefusalKind::Version`]: offer it again once
///   [`Db::trust_digest`](crate::Db::trust_digest) of the node that refused it
///   has changed.
/// - [`RefusalKind::Passing`]: offer it again once [`again`](Self::again) has
///   come, without anybody having to do anything.
///
/// So for each direction it keeps the lowest position of what was refused for
/// trust, with the digest, and the lowest position of what was refused for
/// now, with the earliest `again`. What waits for its prev is not refused; if it
/// loses its place later, [`Db::dropped_from`](crate::Db::dropped_from) says that
/// it was refused for now.
///
/// A full disk refuses no line: the import as a whole ends with an
/// [error](crate::Error::is_disk_full), and the exchange has not moved on.
///
/// ```
/// use thingdb::{ImportOptions, RefusalKind};
/// # let dir = tempfile::tempdir()?;
/// # let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
/// # let passphrase = thingdb::Passphrase::new("correct horse battery");
/// # let options = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest());
/// # let db = options.create(&ours, &passphrase)?;
/// # let other = options.create(&theirs, &passphrase)?;
/// # other.put("part-42", "1")?;
/// # let mut stream = Vec::new();
/// # other.export(thingdb::ExportOptions::new(), &mut stream)?;
/// let summary = db.import(ImportOptions::new(), &stream[..])?;
/// let refusal = &summary.reasons[0];
/// assert_eq!(refusal.code.as_str(), "unknown-actor");
/// assert_eq!(refusal.code.kind(), RefusalKind::Trust);
/// assert_eq!(summary.kinds.trust, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Line in the stream, or frame, from 1; 0 for an entry that has waited since an
    /// earlier import.
    pub line: u64,
    /// Column in the line, in bytes, from 1, if the line does not decode.
    pub column: Option<usize>,
    /// The entry, if the line or frame decodes.
    pub id: Option<EntryId>,
    /// The reason, for programs.
    pub code: RefusalCode,
    /// The reason, for people.
    pub reason: String,
    /// From when on it is worth another try, for what passes: at once if that
    /// cannot be known, which is 1970.
    pub again: Option<Time>,
}

/// What would have to change for a refused entry to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RefusalKind {
    /// Nothing: it is wrong, and stays so.
    Permanent,
    /// This node would have to accept more: trust an actor or a node.
    Trust,
    /// A newer version of the program would have to run here.
    Version,
    /// Time passes, or room is made: it may be accepted another time.
    Passing,
}

impl RefusalKind {
    /// The word for programs: `permanent`, `trust`, `version` or `passing`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Trust => "trust",
            Self::Version => "version",
            Self::Passing => "passing",
        }
    }
}

/// Why a line is refused, for programs. The words stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalCode {
    /// The line is longer than lines may be.
    TooLong,
    /// The line is not an entry in the format.
    Malformed,
    /// A hash, a key or the signature does not hold.
    Forged,
    /// It is a line of the Python prototype.
    Prototype,
    /// Its time is not later than the time of a prev.
    TimeOrder,
    /// Its seq is not one more than the greatest among its prev.
    SeqOrder,
    /// One of its prev is an entry of another thing.
    OtherThing,
    /// A newer version wrote it.
    NewerVersion,
    /// Nobody here knows its actor.
    UnknownActor,
    /// Trust in its actor was withdrawn.
    WithdrawnActor,
    /// The key that signed it was revoked, and it is not shown to stand where that is good.
    RevokedKey,
    /// Nobody here knows its origin.
    UnknownOrigin,
    /// Trust in its origin was withdrawn.
    WithdrawnOrigin,
    /// Its thing is none of those that may be brought in here.
    OtherPrefix,
    /// Its time is too far ahead of the clock here.
    ClockAhead,
    /// Its prev is not here, and there is no room for it to wait.
    WaitingRoomFull,
    /// It has waited for its prev for as long as it may.
    WaitedTooLong,
    /// What it would be compared with is damaged here.
    DamagedHere,
}

impl RefusalCode {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::TooLong,
        Self::Malformed,
        Self::Forged,
        Self::Prototype,
        Self::TimeOrder,
        Self::SeqOrder,
        Self::OtherThing,
        Self::NewerVersion,
        Self::UnknownActor,
        Self::WithdrawnActor,
        Self::RevokedKey,
        Self::UnknownOrigin,
        Self::WithdrawnOrigin,
        Self::OtherPrefix,
        Self::ClockAhead,
        Self::WaitingRoomFull,
        Self::WaitedTooLong,
        Self::DamagedHere,
    ];

    /// The word for programs, as JSON has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too-long",
            Self::Malformed => "malformed",
            Self::Forged => "forged",
            Self::Prototype => "prototype",
            Self::TimeOrder => "time-order",
            Self::SeqOrder => "seq-order",
            Self::OtherThing => "other-thing",
            Self::NewerVersion => "newer-version",
            Self::UnknownActor => "unknown-actor",
            Self::WithdrawnActor => "withdrawn-actor",
            Self::RevokedKey => "revoked-key",
            Self::UnknownOrigin => "unknown-origin",
            Self::WithdrawnOrigin => "withdrawn-origin",
            Self::OtherPrefix => "other-prefix",
            Self::ClockAhead => "clock-ahead",
            Self::WaitingRoomFull => "waiting-room-full",
            Self::WaitedTooLong => "waited-too-long",
            Self::DamagedHere => "damaged-here",
        }
    }

    /// What would have to change for the entry to be accepted.
    #[must_use]
    pub const fn kind(self) -> RefusalKind {
        match self {
            Self::TooLong
            | Self::Malformed
            | Self::Forged
            | Self::Prototype
            | Self::TimeOrder
            | Self::SeqOrder
            | Self::OtherThing => RefusalKind::Permanent,
            Self::NewerVersion => RefusalKind::Version,
            Self::UnknownActor
            | Self::WithdrawnActor
            | Self::RevokedKey
            | Self::UnknownOrigin
            | Self::WithdrawnOrigin
            | Self::OtherPrefix => RefusalKind::Trust,
            Self::ClockAhead | Self::WaitingRoomFull | Self::WaitedTooLong | Self::DamagedHere => RefusalKind::Passing,
        }
    }
}

/// How many lines were refused of each [kind](RefusalKind), the unlisted ones
/// too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusalCounts {
    /// Never worth another try.
    pub permanent: u64,
    /// Worth it once others are trusted here.
    pub trust: u64,
    /// Worth it once a newer version runs here.
    pub version: u64,
    /// Worth it another time.
    pub passing: u64,
    /// The earliest of these times, if any passes.
    pub again: Option<Time>,
}

impl RefusalCounts {
    pub(crate) fn count(&mut self, refusal: &Refusal) {
        match refusal.code.kind() {
            RefusalKind::Permanent => self.permanent += 1,
            RefusalKind::Trust => self.trust += 1,
            RefusalKind::Version => self.version += 1,
            RefusalKind::Passing => {
                self.passing += 1;
                let again = refusal.again.unwrap_or(Time::MIN);
                self.again = Some(self.again.map_or(again, |known| known.min(again)));
            }
        }
    }
}

/// Why an entry is refused, wherever it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) code: RefusalCode,
    pub(crate) reason: String,
    pub(crate) again: Option<Time>,
}

impl Cause {
    pub(crate) fn new(code: RefusalCode, reason: impl Into<String>) -> Self {
        let again = (code.kind() == RefusalKind::Passing).then_some(Time::MIN);
        Self { code, reason: reason.into(), again }
    }

    pub(crate) fn again(self, at: Time) -> Self {
        Self { again: Some(at), ..self }
    }

    /// What the format says of bytes.
    pub(crate) fn format(problem: &thingdb_format::Error) -> Self {
        let code = match problem {
            problem if problem.is_newer_version() => RefusalCode::NewerVersion,
            problem if problem.is_forgery() => RefusalCode::Forged,
            _ => RefusalCode::Malformed,
        };
        Self::new(code, problem.to_string())
    }

    pub(crate) fn unknown_actor(actor: &Actor) -> Self {
        Self::new(RefusalCode::UnknownActor, format!("the actor {actor} is not known here"))
    }

    pub(crate) fn withdrawn_actor(actor: &Actor) -> Self {
        Self::new(RefusalCode::WithdrawnActor, format!("trust in the actor {actor} was withdrawn here"))
    }

    pub(crate) fn revoked_key(actor: &Actor) -> Self {
        let reason = format!("the key {actor} was revoked, and nothing shows that the entry is from before");
        Self::new(RefusalCode::RevokedKey, reason)
    }

    /// An entry that does not belong into a key log.
    pub(crate) fn no_step() -> Self {
        let reason = "no entry before it promises its key: it is no step of the key log";
        Self::new(RefusalCode::Malformed, reason)
    }

    pub(crate) fn unknown_origin(origin: &Origin) -> Self {
        Self::new(RefusalCode::UnknownOrigin, format!("the origin {origin} is not known here"))
    }

    pub(crate) fn withdrawn_origin(origin: &Origin) -> Self {
        Self::new(RefusalCode::WithdrawnOrigin, format!("trust in the origin {origin} was withdrawn here"))
    }

    pub(crate) fn damaged_here(what: &str, detail: &str) -> Self {
        Self::new(RefusalCode::DamagedHere, format!("{what} is damaged here: {detail}"))
    }

    pub(crate) fn no_room(prev: Option<&EntryId>) -> Self {
        let whose = prev.map_or_else(|| "its prev is".to_owned(), |prev| format!("its prev {prev} is"));
        let reason = format!("{whose} not here, and too many entries wait already");
        Self::new(RefusalCode::WaitingRoomFull, reason)
    }

    pub(crate) fn other_thing(prev: &EntryId) -> Self {
        Self::new(RefusalCode::OtherThing, format!("its prev {prev} is an entry of another thing"))
    }

    /// The refusal of a line.
    pub(crate) fn refusal(self, line: u64, column: Option<usize>, id: Option<EntryId>) -> Refusal {
        let Self { code, reason, again } = self;
        Refusal { line, column, id, code, reason, again }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn words_for_programs_are_distinct_and_kebab_case() {
        let words: HashSet<&str> = RefusalCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), RefusalCode::ALL.len());
        assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
    }

    #[test]
    fn what_passes_says_from_when_on() {
        for code in RefusalCode::ALL {
            let passes = code.kind() == RefusalKind::Passing;
            assert_eq!(Cause::new(code, "why").again.is_some(), passes, "{code:?}");
        }
    }

    #[test]
    fn the_earliest_time_counts() {
        let mut counts = RefusalCounts::default();
        let at = |micros| Time::from_micros(micros).unwrap();
        let ahead = |micros| Cause::new(RefusalCode::ClockAhead, "ahead").again(at(micros)).refusal(1, None, None);
        counts.count(&Cause::new(RefusalCode::Forged, "forged").refusal(1, None, None));
        assert_eq!((counts.permanent, counts.again), (1, None));
        counts.count(&ahead(7));
        counts.count(&ahead(5));
        counts.count(&ahead(6));
        assert_eq!((counts.passing, counts.again), (3, Some(at(5))));
        counts.count(&Cause::new(RefusalCode::WaitingRoomFull, "full").refusal(1, None, None));
        assert_eq!((counts.passing, counts.again), (4, Some(Time::MIN)));
    }
}
