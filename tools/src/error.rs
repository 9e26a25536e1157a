//! How a command fails: an exit code that scripts can rely on, a word, the
//! fact, its causes, and a command that helps.

use std::borrow::Cow;
use std::error::Error as _;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::text::{Utf16, printable, quoted_path};
use crate::user;

/// The exit codes. `docs/cli.md` and `thingdb help exit-codes` list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; an empty list is done.
    Done = 0,
    /// Something unexpected.
    Unexpected = 1,
    /// Wrong arguments or input.
    Usage = 2,
    /// No such thing, entry or actor.
    NotFound = 3,
    /// A signature, hash, link or checkpoint does not hold.
    NotVerified = 4,
    /// `--expect` did not hold, or `--strict` found several heads.
    Conflict = 5,
    /// Some lines were refused, or some entries cannot be read here; what
    /// remains is done.
    Partly = 6,
    /// No database there.
    NoDatabase = 10,
    /// Another process has the database open.
    Locked = 11,
    /// Wrong passphrase.
    WrongPassphrase = 12,
    /// Token refused, or its scope does not reach.
    TokenRefused = 13,
    /// Peer not reachable, or not the one that was pinned.
    Unreachable = 14,
    /// Written by a newer version of this program, or by one of before the first
    /// release.
    NewerVersion = 15,
    /// There is no room on a disk for what was to be written.
    DiskFull = 16,
    /// The database, or something in its directory, is not the user's own.
    NotOwn = 17,
    /// Interrupted; what was reported as stored is stored.
    Interrupted = 130,
}

impl Exit {
    /// All of them.
    pub(crate) const ALL: [Self; 16] = [
        Self::Done,
        Self::Unexpected,
        Self::Usage,
        Self::NotFound,
        Self::NotVerified,
        Self::Conflict,
        Self::Partly,
        Self::NoDatabase,
        Self::Locked,
        Self::WrongPassphrase,
        Self::TokenRefused,
        Self::Unreachable,
        Self::NewerVersion,
        Self::DiskFull,
        Self::NotOwn,
        Self::Interrupted,
    ];

    /// What it means, as `thingdb help exit-codes` and the manual pages say it.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done; an empty list is done",
            Self::Unexpected => "something unexpected: the disk, the operating system, a bug",
            Self::Usage => "wrong arguments, or input that cannot be stored",
            Self::NotFound => "no such thing, entry, field or actor",
            Self::NotVerified => "verification failed: a signature, hash, link or checkpoint does not hold",
            Self::Conflict => "conflict: --expect did not hold, or --strict found several heads",
            Self::Partly => "partly done: some lines were refused, or entries are here whose data cannot be read",
            Self::NoDatabase => "no database there",
            Self::Locked => "another process has the database open",
            Self::WrongPassphrase => "wrong passphrase",
            Self::TokenRefused => "token refused, or its scope does not reach",
            Self::Unreachable => "peer not reachable, or not the one that was pinned",
            Self::NewerVersion => "written by a newer version, or a database from before the first release",
            Self::DiskFull => "a disk is full: what was reported as stored is stored",
            Self::NotOwn => "the database, or a file in its directory, is not this user's own",
            Self::Interrupted => "interrupted; what was reported as stored is stored",
        }
    }

    /// The exit code with this number; a number that is none is a failure.
    fn of_code(code: u8) -> Self {
        Self::ALL.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Self::Unexpected)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The word for entries that are here and whose data this node has not, or has
/// no key to, and what helps.
const NOT_READABLE: &str = "not-readable";
const ASK_ANOTHER: &str = "ask a node that can read it: thingdb share THING --to PEER there, then pull or import";

/// The word for what a newer version wrote, and what helps.
pub(crate) const NEWER_VERSION: &str = "newer-version";
const INSTALL_NEWER: &str = "install a newer thingdb; thingdb --version";

/// The word for what the operating system refused.
const SYSTEM: &str = "system";

/// What helps then.
fn of_system(problem: &io::Error) -> &'static str {
    use io::ErrorKind::{OutOfMemory, PermissionDenied, WouldBlock};
    const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
    const ENFILE: i32 = rustix::io::Errno::NFILE.raw_os_error();
    match (problem.kind(), problem.raw_os_error()) {
        (_, Some(EMFILE | ENFILE)) => {
            "ulimit -n tells how many files may be open; raise it, then run the command again"
        }
        (PermissionDenied, _) => "ls -l tells who may; run the command as that user",
        (OutOfMemory | WouldBlock, _) => {
            "free -m and ulimit -a tell what is short; make room, then run the command again"
        }
        _ => "dmesg tells what the disk said; then run the command again, and thingdb doctor",
    }
}

/// The word for a disk without room, and what helps.
const DISK_FULL: &str = "disk-full";
const MAKE_ROOM: &str = "make room, then run the command again; df -h";

/// A fact with its word, its explanation, and what helps. It is an error or a
/// warning, as the one who says it means it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remark {
    /// The word in `error[word]`.
    pub(crate) word: Cow<'static, str>,
    /// What is so.
    pub(crate) fact: String,
    /// Lines of explanation.
    pub(crate) causes: Vec<String>,
    /// Commands that help.
    pub(crate) hints: Vec<String>,
}

/// The word for a place where nothing can be written, and what helps.
const READ_ONLY_MEDIUM: &str = "read-only-medium";
const MAKE_WRITABLE: &str = "mount it so that it can be written; a copy of it (cp -R DIR COPY) is to be read, or goes on as another \
                             node: thingdb --db COPY new-node-key --yes";

/// What a command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// Its word is empty if the failure says nothing.
    remark: Remark,
}

impl Failure {
    /// A failure with its exit code, its word, and the fact.
    pub(crate) fn new(exit: Exit, word: impl Into<Cow<'static, str>>, fact: impl Into<String>) -> Self {
        Self { exit, remark: Remark { word: word.into(), fact: fact.into(), ..Remark::default() } }
    }

    /// Wrong arguments.
    pub(crate) fn usage(fact: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", fact)
    }

    /// A newer version wrote what was to be read.
    pub(crate) fn newer(fact: impl Into<String>) -> Self {
        Self::new(Exit::NewerVersion, NEWER_VERSION, fact).hint(INSTALL_NEWER)
    }

    /// Something was to be written where the medium takes nothing.
    pub(crate) fn read_only_medium(dir: &Path) -> Self {
        let fact = format!("nothing can be written where the database in {} lies", dir.display());
        Self::new(Exit::Usage, READ_ONLY_MEDIUM, fact).hint(MAKE_WRITABLE)
    }

    /// No such thing, entry or actor.
    pub(crate) fn not_found(fact: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, "not-found", fact)
    }

    /// There is no such thing in this database.
    pub(crate) fn no_thing(thing: &str) -> Self {
        Self::not_found(format!("no thing named {}", printable(thing))).hint("thingdb ls")
    }

    /// A person was asked, and said no.
    pub(crate) fn declined(fact: impl Into<String>) -> Self {
        Self::new(Exit::Interrupted, "declined", fact)
    }

    /// Entries are here, and their data cannot be read.
    pub(crate) fn not_readable(fact: impl Into<String>) -> Self {
        Self::new(Exit::Partly, NOT_READABLE, fact).hint(ASK_ANOTHER)
    }

    /// A file that could not be read or written.
    pub(crate) fn file(path: &str, problem: &io::Error) -> Self {
        if problem.kind() == io::ErrorKind::BrokenPipe {
            return Self::closed_pipe();
        }
        if Utf16::is_cause_of(problem) {
            return Self::utf16(path, problem);
        }
        let fact = format!("{path}: {problem}");
        match problem.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => Self::new(Exit::Usage, "file", fact),
            io::ErrorKind::AlreadyExists => Self::new(Exit::Usage, "already-exists", format!("{path} exists already")),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::new(Exit::DiskFull, DISK_FULL, fact).hint(MAKE_ROOM)
            }
            _ => Self::new(Exit::Unexpected, "file", fact).hint(of_system(problem)),
        }
    }

    /// What the operating system refused that has no file: a thread, a socket.
    pub(crate) fn system(what: &str, problem: &io::Error) -> Self {
        Self::new(Exit::Unexpected, SYSTEM, format!("{what}: {problem}")).hint(of_system(problem))
    }

    /// Text that is in UTF-16.
    pub(crate) fn utf16(name: &str, problem: &dyn std::fmt::Display) -> Self {
        Self::new(Exit::Usage, "utf-16", format!("{name}: {problem}")).hint("iconv -f UTF-16 -t UTF-8 FILE > FILE.utf8")
    }

    /// stdout could not be written.
    pub(crate) fn output(problem: &io::Error) -> Self {
        Self::file("stdout", problem)
    }

    /// The reader of our output has gone away, as `head` does: nothing to say.
    pub(crate) fn closed_pipe() -> Self {
        Self::silent()
    }

    /// The command ends here and says nothing.
    pub(crate) fn silent() -> Self {
        Self::new(Exit::Done, "", "")
    }

    /// A watch in a server that ends. The command that waits for it says why, and
    /// goes on.
    pub(crate) fn server_ends() -> Self {
        Self::new(Exit::Locked, "", "")
    }

    /// A server has the database, and the command needs it for itself.
    pub(crate) fn held_by_server(dir: &Path) -> Self {
        Self::new(Exit::Locked, "locked", format!("a server holds {} already", dir.display()))
            .hint("thingdb doctor tells which process it is")
    }

    /// The failure without what would help.
    pub(crate) fn without_hints(mut self) -> Self {
        self.remark.hints.clear();
        self
    }

    /// Adds a line of explanation.
    pub(crate) fn cause(mut self, line: impl Into<String>) -> Self {
        self.remark.causes.push(line.into());
        self
    }

    /// Adds lines of explanation.
    pub(crate) fn causes(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.remark.causes.extend(lines);
        self
    }

    /// Adds a command that helps.
    pub(crate) fn hint(mut self, command: impl Into<String>) -> Self {
        self.remark.hints.push(command.into());
        self
    }

    /// The same failure with another fact, for callers who know more.
    pub(crate) fn about(mut self, fact: impl Into<String>) -> Self {
        self.remark.fact = fact.into();
        self
    }

    /// What `$?` will be.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// What the failure says in one line.
    pub(crate) fn fact(&self) -> &str {
        &self.remark.fact
    }

    /// A failure that another process found.
    pub(crate) fn of_other_process(
        exit_code: u8,
        word: String,
        fact: String,
        causes: Vec<String>,
        hints: Vec<String>,
    ) -> Self {
        Self { exit: Exit::of_code(exit_code), remark: Remark { word: word.into(), fact, causes, hints } }
    }

    /// The word in `error[word]`.
    pub(crate) fn word(&self) -> &str {
        &self.remark.word
    }

    /// The exit code as a number.
    pub(crate) const fn exit_code(&self) -> u8 {
        self.exit as u8
    }

    /// The lines of explanation.
    pub(crate) fn explanations(&self) -> &[String] {
        &self.remark.causes
    }

    /// The commands that help.
    pub(crate) fn hints(&self) -> &[String] {
        &self.remark.hints
    }

    /// The fact and its causes in one line.
    pub(crate) fn whole(&self) -> String {
        std::iter::once(&self.remark.fact).chain(&self.remark.causes).map(String::as_str).collect::<Vec<_>>().join(": ")
    }

    /// Whether the reader of our output has gone away.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.remark.word.is_empty()
    }

    /// What the failure says.
    pub(crate) const fn remark(&self) -> &Remark {
        &self.remark
    }
}

impl From<thingdb::Error> for Failure {
    fn from(problem: thingdb::Error) -> Self {
        let (exit, word, hint) = kind(&problem);
        let mut failure = Self::new(exit, word, problem.to_string());
        let mut last = failure.fact().to_owned();
        let mut source = problem.source();
        while let Some(cause) = source {
            // An error may say no more than what it wraps.
            let text = cause.to_string();
            if text != last {
                failure = failure.cause(&text);
            }
            last = text;
            source = cause.source();
        }
        match &problem {
            thingdb::Error::OtherUser { path, owner, user } => failure.hint(of_other_user(path, *owner, *user)),
            thingdb::Error::NotOwnFile { path, .. } => in_the_place_of_a_file(failure, path),
            thingdb::Error::RestoreUnfinished { dir, from, entries } => {
                failure.hint(repeat_restore(dir, from.as_deref(), *entries))
            }
            _ if hint.is_empty() => failure,
            _ => failure.hint(hint),
        }
    }
}

/// What helps if a file belongs to somebody else: to be them, or to have it.
fn of_other_user(path: &Path, owner: u32, user: u32) -> String {
    use std::os::unix::fs::MetadataExt;
    let around = path.parent().and_then(|around| around.metadata().ok());
    if path.is_file() && around.is_some_and(|around| around.uid() == user) {
        let path = quoted_path(path);
        return format!("a command of user {owner} wrote it: sudo chown {} {path}", user::named(user));
    }
    format!("sudo -u {} thingdb …", user::named(owner))
}

/// The command that was broken off.
fn repeat_restore(dir: &Path, from: Option<&Path>, entries: Option<u64>) -> String {
    let from = from.map_or(Cow::Borrowed("BACKUP"), |from| Cow::Owned(quoted_path(from)));
    let at = entries.map(|entries| format!(" --at {entries}")).unwrap_or_default();
    format!("thingdb restore {from} {}{at}", quoted_path(dir))
}

/// What helps if something else lies where a file should.
fn in_the_place_of_a_file(failure: Failure, path: &Path) -> Failure {
    let name = path.file_name().unwrap_or_default();
    let is_made_anew = ["LOCK", "reserve", "socket", "socket.new"].iter().any(|known| name == *known)
        || name.as_encoded_bytes().ends_with(b".new");
    let quoted = quoted_path(path);
    let failure = failure.cause("nothing was opened: whoever made the directory can have it lead anywhere");
    if is_made_anew {
        failure.hint(format!("rm {quoted} if you trust the rest; the database makes it anew"))
    } else {
        failure.hint(format!("ls -l {quoted}; if the file is yours, put it there itself: cp --remove-destination"))
    }
}

/// Exit code, word and hint of an error of the engine.
fn kind(problem: &thingdb::Error) -> (Exit, &'static str, &'static str) {
    match problem {
        p if p.is_wrong_passphrase() => {
            (Exit::WrongPassphrase, "wrong-passphrase", "forgotten? thingdb help passphrase tells of the recovery key")
        }
        p if p.is_no_database() => (Exit::NoDatabase, "no-database", "thingdb init DIR"),
        thingdb::Error::RestoreUnfinished { .. } => (Exit::NoDatabase, "restore-unfinished", ""),
        p if p.is_other_user() => (Exit::NotOwn, "other-user", ""),
        p if p.is_not_own_file() => (Exit::NotOwn, "not-own-file", ""),
        p if p.is_read_only_medium() => (Exit::Usage, READ_ONLY_MEDIUM, MAKE_WRITABLE),
        thingdb::Error::OpenedReadOnly => (Exit::Usage, "read-only", "leave --read-only out"),
        thingdb::Error::Keyring(p) if matches!(**p, thingdb::KeyringError::ReadOnly) => {
            (Exit::Usage, "read-only", "leave --read-only out")
        }
        thingdb::Error::IsBackup { .. } => {
            (Exit::Usage, "backup", "thingdb --read-only … reads it; thingdb restore BACKUP DIR makes a database of it")
        }
        thingdb::Error::BackupUnfinished { .. } => (Exit::NoDatabase, "backup-unfinished", ""),
        thingdb::Error::NoBackup { .. } => (Exit::NoDatabase, "no-backup", "thingdb backup DEST makes one"),
        thingdb::Error::NotItsBackup { .. } => (
            Exit::NotVerified,
            "other-backup",
            "thingdb backup OTHER-DEST makes another one; thingdb backup verify DEST tells what this one has",
        ),
        thingdb::Error::Within { .. } => {
            (Exit::Usage, "within", "name a directory that is apart from the other, better on another disk")
        }
        thingdb::Error::NotEmpty { .. } => (Exit::Usage, "not-empty", "name a directory that is new or empty"),
        p if p.is_already_exists() => (Exit::Usage, "already-exists", ""),
        p if p.is_locked() => (Exit::Locked, "locked", "wait for the other process to end, or ask it to"),
        p if p.is_newer_version() => (Exit::NewerVersion, NEWER_VERSION, INSTALL_NEWER),
        p if p.is_older_version() => (
            Exit::NewerVersion,
            "older-version",
            "with the thingdb that wrote it: thingdb export -o FILE; with this one: thingdb --db NEW init, then import FILE",
        ),
        p if p.is_conflict() => (Exit::Conflict, "conflict", ""),
        p if p.is_forked() => (Exit::Conflict, "forked", ""),
        thingdb::Error::NotReadable { .. } => (Exit::Partly, NOT_READABLE, ASK_ANOTHER),
        thingdb::Error::Keyring(p) if matches!(**p, thingdb::KeyringError::NameTaken { .. }) => (
            Exit::Usage,
            "invalid-input",
            "thingdb actor ls and thingdb peer ls tell whose it is; choose another name, or first thingdb actor rename KEY OTHER-NAME",
        ),
        thingdb::Error::NoSuchPeer { .. } => (Exit::NotFound, "not-found", "thingdb peer ls"),
        thingdb::Error::NoSuchRetention { .. } => (Exit::NotFound, "not-found", "thingdb retain"),
        p if p.is_not_found() => (Exit::NotFound, "not-found", ""),
        thingdb::Error::ActorWithdrawn { .. } => (
            Exit::Usage,
            "withdrawn-actor",
            "choose another: thingdb actor ls, then --actor NAME or thingdb actor default NAME; thingdb actor trust NAME takes it back",
        ),
        thingdb::Error::KeyNotCurrent { .. } => (
            Exit::Usage,
            "key-not-current",
            "thingdb actor log NAME tells since when; choose another: --actor NAME, or thingdb actor new NAME",
        ),
        thingdb::Error::NoKeyLog { .. } => {
            (Exit::Usage, "invalid-input", "thingdb actor introduce NAME --next-key-file FILE begins one")
        }
        thingdb::Error::KeyLogThere { .. } => (
            Exit::Usage,
            "invalid-input",
            "thingdb actor log NAME shows it; thingdb actor rotate NAME takes another key",
        ),
        thingdb::Error::NotPromised { .. } => {
            (Exit::Usage, "invalid-input", "name the file that was written last for this actor; thingdb actor log NAME")
        }
        thingdb::Error::RolledBack { .. } => (
            Exit::NotVerified,
            "rolled-back",
            "thingdb verify tells more; thingdb help new-node-key tells how to go on",
        ),
        thingdb::Error::PeerChanged { .. } => (
            Exit::Usage,
            "invalid-input",
            "if its people say that it has a new key: thingdb peer add OTHER-NAME @CARD; what it wrote stays accepted",
        ),
        thingdb::Error::BeyondLedger { .. } => (
            Exit::Usage,
            "invalid-input",
            "begin where the last export from this database ended, as it said, or leave since out for everything",
        ),
        thingdb::Error::Json { .. } => (Exit::Usage, "bad-json", ""),
        thingdb::Error::OtherNode { .. } => (
            Exit::NotVerified,
            "other-node",
            "an export of that node can be checked: thingdb verify FILE --card @CARD --checkpoint NOTE",
        ),
        thingdb::Error::Invalid(p) if p.is_forgery() => (Exit::NotVerified, "not-verified", ""),
        thingdb::Error::Cancelled => (Exit::Interrupted, "interrupted", ""),
        p if p.is_disk_full() => (Exit::DiskFull, DISK_FULL, MAKE_ROOM),
        p if p.is_read_only() => (Exit::Unexpected, "read-only", "thingdb doctor"),
        thingdb::Error::Keyring(_) if problem.is_damaged() => {
            (Exit::NotVerified, "damaged", "thingdb keyring import FILE puts back one that was kept; thingdb doctor")
        }
        p @ thingdb::Error::Storage(_) if p.is_damaged() => (
            Exit::NotVerified,
            "damaged",
            "copy the directory away, then: thingdb salvage DIR --out NEW, which takes what can still be read",
        ),
        p if p.is_damaged() => (Exit::NotVerified, "damaged", "thingdb doctor"),
        thingdb::Error::OnHold { .. } => (Exit::Usage, "on-hold", "thingdb hold"),
        p if p.is_invalid_input() => (Exit::Usage, "invalid-input", ""),
        p if p.is_of_dropped_commits() => (
            Exit::Usage,
            "journal-recent",
            "leave --read-only out: with journal recent, the journal alone is no database; or first thingdb journal keep",
        ),
        p => match p.system_cause() {
            Some(cause) => (Exit::Unexpected, SYSTEM, of_system(cause)),
            None => (Exit::Unexpected, "unexpected", ""),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_says_nothing_and_is_done() {
        let failure = Failure::output(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.is_closed_pipe());
        assert_eq!(failure.exit(), Exit::Done);
    }

    #[test]
    fn exit_codes_are_those_of_the_documents() {
        let document = include_str!("../../docs/cli.md");
        for exit in Exit::ALL {
            assert_eq!(Exit::of_code(exit as u8), exit);
            assert!(document.contains(&format!("| {} |", exit as u8)), "{exit:?}");
        }
        assert_eq!(Exit::of_code(77), Exit::Unexpected);
    }
}
