//! System calls that fail, one at a time, and how many there are.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;

use crate::cli::world::Answer;

/// What happens at a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) call: &'static str,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Error(&'static str),
    Kill,
}

impl Fault {
    /// What is tried. Reads are not among them: where one of sled's own fails that
    /// succeeded just before, sled clears the segment (see `docs/durability.md`).
    pub(super) const ALL: [Self; 24] = [
        Self::error("pwrite64", "EIO"),
        Self::error("pwrite64", "ENOSPC"),
        Self::error("write", "EIO"),
        Self::error("write", "ENOSPC"),
        Self::error("fsync", "EIO"),
        Self::error("fdatasync", "EIO"),
        Self::error("sync_file_range", "EIO"),
        Self::error("rename", "EIO"),
        Self::error("rename", "ENOSPC"),
        Self::error("renameat2", "EIO"),
        Self::error("unlink", "EIO"),
        Self::error("unlinkat", "EIO"),
        Self::error("ftruncate", "EIO"),
        Self::error("fallocate", "EIO"),
        Self::error("fallocate", "ENOSPC"),
        Self::error("mkdir", "ENOSPC"),
        Self::error("openat", "EMFILE"),
        Self::error("mmap", "ENOMEM"),
        Self::kill("rename"),
        Self::kill("renameat2"),
        Self::kill("unlink"),
        Self::kill("fsync"),
        Self::kill("pwrite64"),
        Self::kill("write"),
    ];

    pub(super) const fn error(call: &'static str, error: &'static str) -> Self {
        Self { call, what: What::Error(error) }
    }

    const fn kill(call: &'static str) -> Self {
        Self { call, what: What::Kill }
    }

    pub(super) fn name(self) -> String {
        match self.what {
            What::Error(error) => format!("{} {error}", self.call),
            What::Kill => format!("killed at {}", self.call),
        }
    }

    /// Without memory a program may end wherever it is.
    pub(super) fn may_abort(self) -> bool {
        self.call == "mmap"
    }

    fn injection(self, n: usize) -> String {
        let call = self.call;
        match self.what {
            What::Error(error) => format!("inject={call}:error={error}:when={n}"),
            What::Kill => format!("inject={call}:signal=KILL:when={n}"),
        }
    }
}

/// How a command ended.
pub(super) struct Ran {
    pub(super) answer: Answer,
    pub(super) was_killed: bool,
}

/// Runs a command whose `n`-th call fails, in whichever thread.
pub(super) fn run(command: Command, fault: Fault, n: usize) -> io::Result<Ran> {
    let args = ["-qq", "-o", "/dev/null", "-e", &format!("trace={}", fault.call), "-e", &fault.injection(n)];
    let output = under_strace(command, &args).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap_or(-1);
    let was_killed = output.status.signal().is_some() || code == 128 + 9;
    let answer = Answer { code, stdout: text(&output.stdout), stderr: text(&output.stderr) };
    Ok(Ran { was_killed: was_killed && matches!(fault.what, What::Kill), answer })
}

fn under_strace(command: Command, args: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "--seccomp-bpf"]).args(args).arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        strace.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace
}

/// The calls of a command, of the thread that makes the most of each.
pub(super) struct Counts(HashMap<String, std::ops::Range<usize>>);

impl Counts {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers of the calls of this name, from the first on that has to do with
    /// the command and not with its start.
    pub(super) fn of(&self, call: &str) -> std::ops::Range<usize> {
        self.0.get(call).cloned().unwrap_or_default()
    }
}

/// Counts the calls of a command, from the first opening below a directory on.
pub(super) fn count(command: Command, dir: PathBuf) -> io::Result<Counts> {
    let trace = dir.join("trace");
    let calls: Vec<&str> = Fault::ALL.iter().map(|fault| fault.call).collect();
    let traced = format!("trace={}", calls.join(","));
    let args = ["-qq", "-o", trace.to_str().expect("a path of text"), "-e", &traced];
    under_strace(command, &args).output()?;
    let text = fs::read_to_string(&trace)?;
    fs::remove_file(&trace)?;
    let mut of_threads: HashMap<(&str, &str), usize> = HashMap::new();
    let mut counts: HashMap<String, std::ops::Range<usize>> = HashMap::new();
    let mut has_begun = false;
    let place = dir.to_string_lossy().into_owned();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((call, arguments)) = rest.trim_start().split_once('(') else { continue };
        if call.starts_with('<') {
            continue;
        }
        let n = of_threads.entry((thread, call)).or_default();
        *n += 1;
        has_begun |= call == "openat" && arguments.contains(&place);
        if has_begun {
            let known = counts.entry(call.to_owned()).or_insert(*n..*n + 1);
            *known = known.start.min(*n)..known.end.max(*n + 1);
        }
    }
    Ok(Counts(counts))
}

/// Runs a command that is killed when it has cut the journal to its length, which is
/// the last but one of its writes.
pub(super) fn kill_at_closing(command: Command) {
    let args = ["-qq", "-o", "/dev/null", "-e", "trace=ftruncate", "-e", "inject=ftruncate:signal=KILL:when=2"];
    let _ = under_strace(command, &args).output();
}
