//! `thingdb keyring`: what to keep where the database is not, and how to put it
//! back.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use thingdb::{Db, Error, KeyringContents, KeyringError, KeyringFile, PutBack, Unlock};

use crate::cli::context::{Context, REPORT};
use crate::error::{Exit, Failure, Outcome};
use crate::text::printable;

/// The commands below `thingdb keyring`.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  thingdb keyring export -o /media/usb/things.keyring
  thingdb keyring import /media/usb/things.keyring      when both files are lost

Without a keyring nothing of a database can be read, an export of it neither. The
directory has it twice. A third one belongs where the disk of the database is not. It
is sealed: it opens with the passphrase of now, or with the recovery key. It is good
for the entries that are stored now and for about the next 65,000; export it again
now and then, and after a new passphrase.")]
pub(crate) enum Command {
    /// Write the keyring to a new file that only its owner can read
    Export {
        /// The file
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Put a kept keyring back into the directory
    Import {
        /// The file that was kept; - for stdin
        file: String,
        /// Replace a keyring that is newer, or of another database; it is set aside
        #[arg(long)]
        replace: bool,
    },
}

/// The members of the JSON.
#[derive(Serialize)]
struct KeyringJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    generation: u64,
    recovery_key: bool,
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aside: Vec<String>,
}

/// More than a keyring has.
const MAX_BYTES: u64 = (64 << 20) + 1;

/// Runs the command.
pub(crate) fn run(context: &Context, command: &Command) -> Outcome {
    match command {
        Command::Export { output } => export(context, output),
        Command::Import { file, replace } => import(context, file, *replace),
    }
}

fn export(context: &Context, output: &Path) -> Outcome {
    let dir = context.dir()?;
    Db::check_directory(dir)?;
    let kept = KeyringFile::of(dir).map_err(|problem| match &problem {
        Error::Keyring(cause) if matches!(**cause, KeyringError::NotFound { .. }) => {
            Failure::from(Error::NoDatabase { dir: dir.to_owned() })
        }
        _ => problem.into(),
    })?;
    let mut file = context.console.secret(output)?;
    // What does not open is nothing to keep.
    let contents = open(context, dir, &kept)?;
    file.write_all(kept.as_bytes()).map_err(|problem| Failure::file(&output.display().to_string(), &problem))?;
    file.end()?;
    let name = output.display().to_string();
    if context.output.is_json() {
        return context.output.object(&KeyringJson { file: Some(name), ..KeyringJson::new(&contents) });
    }
    context.output.line(&format!("keyring in {}: generation {}", printable(&name), contents.generation))?;
    context.console.note(if contents.has_recovery_key {
        "it opens with the passphrase of now or with the recovery key; keep it where the database is not"
    } else {
        "it opens with the passphrase of now; keep it where the database is not"
    });
    Ok(())
}

fn import(context: &Context, name: &str, replace: bool) -> Outcome {
    let dir = context.dir()?;
    let mut bytes = Vec::new();
    let source = context.console.source(name)?;
    source.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|problem| Failure::file(name, &problem))?;
    let kept = KeyringFile::from_bytes(bytes).map_err(|problem| {
        let failure = Failure::from(Error::from(problem));
        let fact = failure.fact().replace("that was given", &printable(name));
        failure.about(fact).without_hints()
    })?;
    let done = with_unlock(context, dir, |unlock| Db::put_back_keyring(dir, &kept, unlock, replace));
    let done = done?.map_err(|problem| refused(problem, name))?;
    context.did(format!("the keyring of {} is put back; {REPORT}", printable(&dir.display().to_string())));
    say(context, dir, &done)
}

fn say(context: &Context, dir: &Path, done: &PutBack) -> Outcome {
    let aside: Vec<String> = done.aside.iter().map(|path| path.display().to_string()).collect();
    if context.output.is_json() {
        let changed = Some(!done.was_there);
        return context.output.object(&KeyringJson { changed, aside, ..KeyringJson::new(&done.contents) });
    }
    let dir = dir.display().to_string();
    let line = if done.was_there {
        format!("{} has this keyring already", printable(&dir))
    } else {
        format!("{} has the keyring of generation {}", printable(&dir), done.contents.generation)
    };
    context.output.line(&line)?;
    for aside in aside {
        context.console.note(&format!("what was in its place is {}", printable(&aside)));
    }
    context.console.hint("thingdb verify");
    Ok(())
}

fn open(context: &Context, dir: &Path, kept: &KeyringFile) -> Outcome<KeyringContents> {
    let opened = with_unlock(context, dir, |unlock| kept.open(unlock));
    opened?.map_err(|problem| refused(problem, &dir.display().to_string()))
}

/// Asks for a passphrase until it is right. Other errors are for the caller to
/// explain.
fn with_unlock<T>(
    context: &Context,
    dir: &Path,
    act: impl Fn(Unlock<'_>) -> thingdb::Result<T>,
) -> Outcome<thingdb::Result<T>> {
    context.with_unlock(dir, |unlock| match act(unlock) {
        Err(problem) if problem.is_wrong_passphrase() => Err(problem),
        done => Ok(done),
    })
}

fn refused(problem: Error, name: &str) -> Failure {
    let replace = "thingdb keyring import FILE --replace, if it is the one that you want; the other is set aside";
    let is_present = matches!(&problem, Error::Keyring(cause)
        if matches!(**cause, KeyringError::NewerPresent { .. } | KeyringError::OtherPresent { .. }));
    let is_foreign = matches!(&problem, Error::Keyring(cause)
        if matches!(**cause, KeyringError::OfOtherDatabase { .. }));
    let failure = Failure::from(problem);
    let fact = failure.fact().replace("the keyring that was given", &printable(name));
    let fact = fact.replace("that was given", &printable(name));
    if is_foreign {
        return Failure::new(Exit::Conflict, "other-keyring", fact)
            .hint("thingdb card of that node tells whose it is; look for the keyring that was kept of this one");
    }
    if is_present {
        return Failure::new(Exit::Conflict, "keyring-present", fact).hint(replace);
    }
    failure.about(fact)
}

impl KeyringJson {
    fn new(contents: &KeyringContents) -> Self {
        Self {
            file: None,
            generation: contents.generation,
            recovery_key: contents.has_recovery_key,
            fingerprint: contents.node_key.fingerprint().to_string(),
            changed: None,
            aside: Vec::new(),
        }
    }
}
