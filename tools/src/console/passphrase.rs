//! Where passphrases come from: the terminal, a file, a descriptor, a command,
//! a systemd credential, or the environment. Never an argument.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thingdb::{Passphrase, RecoveryKey};
use zeroize::Zeroizing;

use super::Console;
use super::host::Access;
use super::question::{Answer, Purpose, Question};
use crate::error::{Exit, Failure, Outcome};
use crate::text::{self, quoted};

/// How often a person is asked before a mistake counts.
pub(crate) const ATTEMPTS: u32 = 3;

/// Longest passphrase that is read; more is a mistake, such as the wrong file.
pub(crate) const MAX_BYTES: u64 = 65_536;

/// The variable that holds the passphrase itself.
pub(crate) const PASSPHRASE_VARIABLE: &str = "THINGDB_PASSPHRASE";

/// What is read here, mostly.
const PASSPHRASE: &str = "passphrase";

/// The words for what ends the asking.
const NO_PASSPHRASE: &str = "no-passphrase";
const INTERRUPTED: &str = "interrupted";

/// The word for two passphrases that should be one.
const DIFFER: &str = "differ";

const WAYS: &str =
    "give --passphrase-file FILE, --passphrase-fd N or --passphrase-command CMD; thingdb help passphrase";

/// What opens a database.
pub(crate) enum Secret {
    /// From a file, descriptor, command or the environment: one attempt.
    Given(Passphrase),
    /// From a person, who may try again.
    Typed(Passphrase),
    /// Instead of a passphrase.
    RecoveryKey(RecoveryKey),
}

/// Where the passphrase comes from, if not from the terminal. There is no
/// argument that is the passphrase: other users of the machine could read it.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct PassphraseArgs {
    /// Read the passphrase from a file
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) passphrase_file: Option<PathBuf>,

    /// Read the passphrase from an open file descriptor
    #[arg(long, global = true, value_name = "N", hide_short_help = true)]
    pub(crate) passphrase_fd: Option<u32>,

    /// Run a command with sh and take what it prints as the passphrase
    #[arg(long, global = true, value_name = "COMMAND", hide_short_help = true)]
    pub(crate) passphrase_command: Option<String>,

    /// Open with the recovery key in a file instead of a passphrase
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) recovery_key_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// Whether one of them says where it is.
    pub(crate) const fn is_given(&self) -> bool {
        self.passphrase_file.is_some()
            || self.passphrase_fd.is_some()
            || self.passphrase_command.is_some()
            || self.recovery_key_file.is_some()
    }
}

/// The places to look for a passphrase.
#[derive(Debug)]
pub(crate) struct Sources {
    place: Place,
    no_input: bool,
    console: Console,
}

#[derive(Debug)]
enum Place {
    File(PathBuf),
    Descriptor(u32),
    Command(OsString),
    Environment,
    RecoveryKey(PathBuf),
    Terminal,
}

impl Sources {
    /// Flags first, then the environment, then the terminal.
    pub(crate) fn new(args: PassphraseArgs, no_input: bool, console: &Console) -> Outcome<Self> {
        let options = [
            args.passphrase_file.map(Place::File),
            args.passphrase_fd.map(Place::Descriptor),
            args.passphrase_command.map(|command| Place::Command(command.into())),
            args.recovery_key_file.map(Place::RecoveryKey),
        ];
        let mut named = options.into_iter().flatten();
        let place = named.next();
        if named.next().is_some() {
            return Err(Failure::usage("several options say where the passphrase comes from; give one")
                .hint("thingdb help passphrase"));
        }
        let place = place.or_else(|| environment(console)).unwrap_or(Place::Terminal);
        Ok(Self { place, no_input, console: console.clone() })
    }

    /// The secret that opens the database in `dir`.
    pub(crate) fn unlock(&self, dir: &Path) -> Outcome<Secret> {
        let prompt = format!("Passphrase for {}: ", dir.display());
        match &self.place {
            Place::Terminal => Ok(Secret::Typed(passphrase(self.prompt(&prompt)?))),
            Place::RecoveryKey(path) => self.recovery_key(path).map(Secret::RecoveryKey),
            place => Ok(Secret::Given(passphrase(self.read(place)?))),
        }
    }

    /// The first passphrase of a database that is about to be created.
    pub(crate) fn create(&self, dir: &Path) -> Outcome<Passphrase> {
        match &self.place {
            Place::Terminal => {
                self.choose(&format!("Passphrase for the new database {}", dir.display())).map(passphrase)
            }
            Place::RecoveryKey(_) => {
                Err(Failure::usage("a new database needs a passphrase, not a recovery key").hint(WAYS))
            }
            place => acceptable(self.read(place)?).map(passphrase),
        }
    }

    /// The passphrase that a question asks for, from whoever the command works
    /// for.
    pub(crate) fn ask(&self, question: &Question) -> Answer {
        self.console.answer(question, &|| self.answer(question))
    }

    /// The passphrase that a question asks for: from a file, a descriptor or
    /// the terminal of this process.
    pub(crate) fn answer(&self, question: &Question) -> Answer {
        let place = question.file.clone().map(Place::File);
        let given = place.or_else(|| question.descriptor.map(Place::Descriptor)).map(|place| self.read(&place));
        let what = question.what.display();
        match (question.purpose, given) {
            (Purpose::Replace, Some(given)) => acceptable(given?),
            (Purpose::Replace, None) => self.choose(&format!("New passphrase for {what}")),
            (_, Some(given)) => given,
            (_, None) => self.prompt(&format!("Passphrase of the prototype in {what}: ")).map_err(|failure| {
                failure.hint("for the prototype's: --old-passphrase-file FILE or --old-passphrase-fd N")
            }),
        }
    }

    /// The file that the passphrase is read from, if it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) | Place::RecoveryKey(path) => Some(path),
            _ => None,
        }
    }

    fn choose(&self, what: &str) -> Outcome<Zeroizing<Vec<u8>>> {
        let question = format!("{what} ({} characters or more): ", Passphrase::LEAST_CHARACTERS);
        for left in (0..ATTEMPTS).rev() {
            let chosen = acceptable(self.prompt(&question)?).and_then(|first| {
                let second = self.prompt("Repeat: ")?;
                if first == second { Ok(first) } else { Err(Failure::new(Exit::Usage, DIFFER, "the two differ")) }
            });
            match chosen {
                // What ends the asking is no mistake.
                Err(failure) if left > 0 && !matches!(failure.word(), NO_PASSPHRASE | INTERRUPTED) => {
                    self.console.plain(&format!("{}; try again", failure.fact()));
                }
                Err(failure) if failure.word() == DIFFER => {
                    return Err(Failure::usage("the two passphrases differ; nothing was changed"));
                }
                chosen => return chosen,
            }
        }
        unreachable!("the loop ends at the last attempt")
    }

    fn prompt(&self, prompt: &str) -> Outcome<Zeroizing<Vec<u8>>> {
        let missing =
            |cause: &str| Failure::new(Exit::Usage, NO_PASSPHRASE, "no passphrase was given").cause(cause).hint(WAYS);
        if self.no_input {
            return Err(missing("--no-input forbids asking for it"));
        }
        // A signal must not leave the terminal without its echo.
        let patience = self.console.patience();
        // Without echo before the prompt is there: who answers it at once would
        // see what they type.
        let _unseen = Unseen::start();
        match rpassword::prompt_password(prompt) {
            Ok(text) => Ok(Zeroizing::new(text.into_bytes())),
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {
                // The signal may arrive only now, and must not cut our word off.
                std::mem::forget(patience);
                Err(Failure::new(Exit::Interrupted, INTERRUPTED, "nothing was done"))
            }
            Err(problem) if problem.kind() == io::ErrorKind::UnexpectedEof => {
                // What is said next stands on a line of its own.
                self.console.plain("");
                Err(missing("the terminal said that nothing more comes"))
            }
            Err(_) => Err(missing("there is no terminal to ask on")),
        }
    }
}

/// As long as this lives the terminal does not show what is typed.
struct Unseen {
    terminal: std::fs::File,
    before: rustix::termios::Termios,
}

impl Unseen {
    fn start() -> Option<Self> {
        let terminal = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
        let before = rustix::termios::tcgetattr(&terminal).ok()?;
        let mut silent = before.clone();
        // Ctrl-C is a character then, which the prompt reads; as a signal it
        // would be lost between the prompt and the reading.
        use rustix::termios::LocalModes;
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        rustix::termios::tcsetattr(&terminal, rustix::termios::OptionalActions::Now, &silent).ok()?;
        Some(Self { terminal, before })
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = rustix::termios::tcsetattr(&self.terminal, rustix::termios::OptionalActions::Now, &self.before);
    }
}

impl Sources {
    fn read(&self, place: &Place) -> Outcome<Zeroizing<Vec<u8>>> {
        match place {
            Place::File(path) => self.read_file(path),
            Place::Descriptor(number) => read_descriptor(*number),
            Place::Command(command) => read_command(command),
            Place::Environment => Ok(from_os(self.console.variable(PASSPHRASE_VARIABLE).unwrap_or_default())),
            Place::Terminal | Place::RecoveryKey(_) => unreachable!("handled by the callers"),
        }
    }

    fn recovery_key(&self, path: &Path) -> Outcome<RecoveryKey> {
        let bytes = self.read_file(path)?;
        let text = text::after_mark(&bytes).map_err(|problem| Failure::utf16(&path.display().to_string(), &problem))?;
        let text = std::str::from_utf8(text).map(str::trim).unwrap_or_default();
        RecoveryKey::parse(text)
            .map_err(|problem| Failure::from(thingdb::Error::from(problem)).cause(format!("in {}", path.display())))
    }

    fn read_file(&self, path: &Path) -> Outcome<Zeroizing<Vec<u8>>> {
        secret_file(&self.console, path, PASSPHRASE)
    }
}

/// What a file holds that nobody else should read, less one line ending.
pub(crate) fn secret_file(console: &Console, path: &Path, what: &str) -> Outcome<Zeroizing<Vec<u8>>> {
    let name = path.display().to_string();
    let file = console.open(path, Access::Read).map_err(|problem| Failure::file(&name, &problem))?;
    if is_readable_by_others(file.file()) {
        console
            .warning(format!("{what}-file"), format!("{name} is readable by other users of this machine"))
            .hint(format!("chmod 600 {}", quoted(&name)))
            .say();
    }
    read_bounded(file, what).map_err(|problem| Failure::file(&name, &problem))
}

/// What stdin holds, less one line ending.
pub(crate) fn secret_stdin(console: &Console, what: &str) -> Outcome<Zeroizing<Vec<u8>>> {
    read_bounded(console.stdin(), what).map_err(|problem| Failure::file("stdin", &problem))
}

/// The environment's choice: a file, a command, a systemd credential, and as
/// the last choice the passphrase itself.
fn environment(console: &Console) -> Option<Place> {
    let set = |name: &str| console.variable(name);
    let credential = || {
        let path = PathBuf::from(set("CREDENTIALS_DIRECTORY")?).join("thingdb-passphrase");
        console.open(&path, Access::Read).is_ok_and(|file| file.is_regular()).then_some(path)
    };
    None.or_else(|| set("THINGDB_PASSPHRASE_FILE").map(|path| Place::File(path.into())))
        .or_else(|| set("THINGDB_PASSPHRASE_COMMAND").map(Place::Command))
        .or_else(|| credential().map(Place::File))
        .or_else(|| set(PASSPHRASE_VARIABLE).map(|_| Place::Environment))
}

/// Whether the passphrase would be that in the environment.
pub(crate) fn is_of_environment(args: &PassphraseArgs, console: &Console) -> bool {
    !args.is_given() && matches!(environment(console), Some(Place::Environment))
}

/// A passphrase of these bytes, which are moved and not copied.
pub(crate) fn passphrase(mut bytes: Zeroizing<Vec<u8>>) -> Passphrase {
    Passphrase::new(std::mem::take(&mut *bytes))
}

/// Refuses a new passphrase that nobody could type, and one that the engine
/// would refuse, before it is asked for a second time. A file that is not what
/// its owner takes it for would shut them out of the database.
fn acceptable(bytes: Zeroizing<Vec<u8>>) -> Outcome<Zeroizing<Vec<u8>>> {
    let untypeable = [
        (text::has_mark(&bytes), "it begins with a byte order mark"),
        (bytes.contains(&0), "it holds a NUL: the text may be in UTF-16"),
        (bytes.iter().any(|byte| b"\n\r".contains(byte)), "it has more than one line"),
    ];
    if let Some((_, why)) = untypeable.into_iter().find(|(is_so, _)| *is_so) {
        return Err(Failure::usage("this passphrase could not be typed at a prompt")
            .cause(why)
            .hint("write it as one line of text in UTF-8 without a mark: printf '%s\\n' … > FILE"));
    }
    let chosen = Passphrase::new(bytes.to_vec());
    chosen.check_new().map_err(|problem| Failure::from(thingdb::Error::from(problem)))?;
    Ok(bytes)
}

/// Whether users other than the owner can read a regular file.
pub(crate) fn is_readable_by_others(file: &File) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o044 != 0)
}

fn read_descriptor(number: u32) -> Outcome<Zeroizing<Vec<u8>>> {
    let name = format!("file descriptor {number}");
    // The system's name for the descriptor: to take the descriptor itself
    // would need unsafe code.
    let file = File::open(format!("/dev/fd/{number}")).map_err(|problem| Failure::file(&name, &problem))?;
    read_bounded(file, PASSPHRASE).map_err(|problem| Failure::file(&name, &problem))
}

fn read_command(command: &OsStr) -> Outcome<Zeroizing<Vec<u8>>> {
    let failure = |cause: String| {
        Failure::new(Exit::Unexpected, "passphrase-command", "the passphrase command gave none").cause(cause)
    };
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .env_remove(PASSPHRASE_VARIABLE)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|problem| failure(problem.to_string()))?;
    let read = child.stdout.take().map(|stdout| read_bounded(stdout, PASSPHRASE));
    let status = child.wait().map_err(|problem| failure(problem.to_string()))?;
    if !status.success() {
        return Err(failure(format!("it ended with {status}")));
    }
    read.unwrap_or_else(|| Ok(Zeroizing::default())).map_err(|problem| failure(problem.to_string()))
}

/// All that is there, less one line ending.
fn read_bounded(source: impl Read, what: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    // Reserved at once, so that no copy stays behind when the buffer grows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(4_096));
    source.take(MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("more than {MAX_BYTES} bytes cannot be a {what}")));
    }
    strip_line_ending(&mut bytes);
    if bytes.is_empty() {
        return Err(io::Error::other(format!("the {what} is empty")));
    }
    Ok(bytes)
}

fn strip_line_ending(bytes: &mut Vec<u8>) {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
}

fn from_os(text: OsString) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(text.into_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<u8>, String> {
        read_bounded(text, PASSPHRASE).map(|bytes| bytes.to_vec()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn one_line_ending_is_taken_off() {
        assert_eq!(read(b"secret\n").unwrap(), b"secret");
        assert_eq!(read(b"secret\r\n").unwrap(), b"secret");
        assert_eq!(read(b"secret \n\n").unwrap(), b"secret \n");
        assert_eq!(read(b"secret").unwrap(), b"secret");
    }

    #[test]
    fn nothing_and_too_much_are_no_passphrases() {
        assert!(read(b"").is_err());
        assert!(read(b"\n").is_err());
        assert!(read(&[b'x'; 65_537]).is_err());
        assert!(read(&[b'x'; 65_536]).is_ok());
    }
}
