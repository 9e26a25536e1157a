//! `thingdb actor introduce`, `rotate`, `revoke`, `log`: the keys of an actor over time.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use thingdb::format::{Hash, SigningKey, key_record};
use thingdb::{Actor, AsOf, Db, KdfChoice, KeyLogView, KeyringFile, NextKeyFile, Passphrase, Receipt, Unlock};

use crate::cli::context::Context;
use crate::cli::input::next_key::NewFile;
use crate::cli::input::note;
use crate::console::confirm;
use crate::console::output::Format;
use crate::console::question::Question;
use crate::error::{Failure, Outcome};
use crate::text::{printable, quoted};

/// The largest file that can hold a next key, and more.
const MAX_BYTES: u64 = 4096;

/// Where the passphrase of a file with a next key comes from.
#[derive(Debug, clap::Args)]
pub(crate) struct PassphraseOfFile {
    /// Read the passphrase of the files with next keys from a file; without it, it is that
    /// of the database
    #[arg(long, value_name = "FILE")]
    next_passphrase_file: Option<PathBuf>,
}

impl PassphraseOfFile {
    fn with<T>(&self, context: &Context, act: impl Fn(&Passphrase) -> Result<T, thingdb::KeyringError>) -> Outcome<T> {
        if let Some(file) = &self.next_passphrase_file {
            let passphrase = context.ask(&Question::archive(&file.display().to_string()))?;
            return Ok(act(&passphrase).map_err(thingdb::Error::from)?);
        }
        let dir = context.dir()?;
        let kept = KeyringFile::of(dir)?;
        let done = context.with_unlock(dir, |unlock| {
            let Unlock::Passphrase(passphrase) = unlock else { return Ok(None) };
            kept.open(Unlock::Passphrase(passphrase))?;
            Ok(Some(act(passphrase)?))
        })?;
        done.ok_or_else(|| {
            Failure::usage("a file with a next key is sealed under a passphrase, and none was given")
                .hint("--next-passphrase-file FILE")
        })
    }
}

/// A fresh next key for the actor with this first key, in a new file.
fn make(context: &Context, file: &Path, first: &Actor, passphrase: &PassphraseOfFile) -> Outcome<Actor> {
    let out = NewFile::begin(&context.console, file)?;
    let (kept, key) =
        passphrase.with(context, |passphrase| NextKeyFile::generate(first, passphrase, KdfChoice::Default))?;
    out.end(&context.console, &kept)?;
    Ok(key.actor())
}

/// The next key in a file.
fn read(context: &Context, file: &Path, passphrase: &PassphraseOfFile) -> Outcome<(Arc<SigningKey>, Actor)> {
    let (name, mut bytes) = (file.display().to_string(), Vec::new());
    let source = context.console.source(&name)?;
    source.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|problem| Failure::file(&name, &problem))?;
    let kept = NextKeyFile::from_bytes(bytes).map_err(thingdb::Error::from)?;
    let key = passphrase.with(context, |passphrase| kept.open(passphrase))?;
    Ok((key, kept.first_key()))
}

/// Begins the log of an actor of this database.
pub(crate) fn introduce(context: &Context, db: &Db, name: &str, next: &Path, of: &PassphraseOfFile) -> Outcome {
    let own = db.own_actors().into_iter().find(|own| own.name == name);
    let own = own.ok_or_else(|| thingdb::Error::NoSuchActor { name: name.to_owned() })?;
    if db.key_log(&own.key).is_some() {
        return Err(thingdb::Error::KeyLogThere { name: name.to_owned() }.into());
    }
    let promised = make(context, next, &own.key, of)?;
    db.introduce_actor(name, Some(&promised))?;
    Ok(())
}

/// What a step is made with.
pub(crate) struct Step<'a> {
    pub(crate) name: &'a str,
    pub(crate) next: &'a Path,
    pub(crate) new_next: Option<&'a Path>,
    pub(crate) passphrase: &'a PassphraseOfFile,
}

impl Step<'_> {
    /// The key that signs the step, and the promise of the one after it.
    /// No new file is made where `next` does not promise that key.
    fn keys(&self, context: &Context, next: Hash) -> Outcome<(Arc<SigningKey>, Option<Actor>)> {
        let (key, first) = read(context, self.next, self.passphrase)?;
        if key_record::promise(&key.actor()) != next {
            return Err(thingdb::Error::NotPromised { name: self.name.to_owned() }.into());
        }
        let promised = self.new_next.map(|file| make(context, file, &first, self.passphrase)).transpose()?;
        Ok((key, promised))
    }

    fn done(&self, context: &Context, receipt: &Receipt) {
        if self.new_next.is_none() {
            context.console.note("no next key is promised: this actor can take no other key by its log");
        }
        let used = printable(&self.next.display().to_string()).into_owned();
        context.console.note(&format!("the key in {used} has signed {} and is used up", receipt.id));
        context.console.hint("thingdb card, for peers that have not exchanged with this node yet");
    }

    /// Gives the actor another key.
    pub(crate) fn rotate(&self, context: &Context, db: &Db) -> Outcome {
        let next = ready(db, self.name)?;
        let (key, promised) = self.keys(context, next)?;
        let receipt = db.rotate_actor(self.name, &key, promised.as_ref())?;
        self.done(context, &receipt);
        Ok(())
    }

    /// Revokes the key of the actor.
    pub(crate) fn revoke(&self, context: &Context, db: &Db, revocation: &Revocation<'_>) -> Outcome {
        let next = ready(db, self.name)?;
        let as_of = revocation.as_of(context)?;
        if !revocation.yes {
            revocation.confirm(context, self.name)?;
        }
        let (key, promised) = self.keys(context, next)?;
        let promised = promised.as_ref();
        let receipt = db.revoke_actor(self.name, &key, &as_of, revocation.reason, promised, revocation.ends)?;
        if revocation.ends {
            context.console.note(&format!("{} signs nothing more", printable(self.name)));
        }
        self.done(context, &receipt);
        Ok(())
    }
}

/// What the log of the actor promises. Fails, before a file is made, if it can take no
/// step.
fn ready(db: &Db, name: &str) -> Outcome<Hash> {
    let own = db.own_actors().into_iter().find(|own| own.name == name);
    let own = own.ok_or_else(|| thingdb::Error::NoSuchActor { name: name.to_owned() })?;
    let log = db.key_log(&own.key).ok_or_else(|| thingdb::Error::NoKeyLog { name: name.to_owned() })?;
    log.next.ok_or_else(|| {
        Failure::usage(format!("{} has promised no next key", printable(name)))
            .hint(format!("thingdb actor untrust {}, and another actor", quoted(name)))
    })
}

/// What a revocation says.
pub(crate) struct Revocation<'a> {
    pub(crate) as_of: &'a [String],
    pub(crate) reason: &'a str,
    pub(crate) ends: bool,
    pub(crate) yes: bool,
}

impl Revocation<'_> {
    fn as_of(&self, context: &Context) -> Outcome<AsOf> {
        if self.as_of == ["now"] {
            return Ok(AsOf::Now);
        }
        let notes = self.as_of.iter().map(|file| {
            if file == "now" {
                return Err(Failure::usage("--as-of now stands alone: checkpoints are of before"));
            }
            note::read(&context.console, file)
        });
        Ok(AsOf::Checkpoints(notes.collect::<Outcome<_>>()?))
    }

    fn confirm(&self, context: &Context, name: &str) -> Outcome {
        let name = printable(name);
        context.console.plain(&format!("to be signed, for everybody to read: {}", printable(self.reason)));
        context.console.plain(&format!(
            "  what the key of {name} signed is good in the ledgers of --as-of; nobody believes the rest, and nothing is deleted"
        ));
        if !context.console.stdin().is_terminal() || context.no_input {
            return Err(Failure::usage("whether a key is revoked is for a person to say").hint("--yes"));
        }
        if confirm::is_confirmed(&context.console, "Revoke it?")? {
            return Ok(());
        }
        Err(Failure::usage(format!("the key of {name} is as before")))
    }
}

#[derive(Serialize)]
struct LogJson {
    name: String,
    first: String,
    /// The name by which its newest key is accepted here.
    trusted: Option<String>,
    keys: Vec<KeyJson>,
    /// Whether it has promised a key that can take the next step.
    next: Option<String>,
    rivals: Vec<String>,
}

#[derive(Serialize)]
struct KeyJson {
    key: String,
    state: &'static str,
    revocations: Vec<RevocationJson>,
}

#[derive(Serialize)]
struct RevocationJson {
    record: String,
    reason: String,
    as_of: Vec<StateJson>,
}

#[derive(Serialize)]
struct StateJson {
    origin: String,
    size: u64,
    root: String,
}

impl LogJson {
    fn new(log: &KeyLogView) -> Self {
        let revocation = |one: &thingdb::format::key_log::Revocation| RevocationJson {
            record: one.record.to_string(),
            reason: one.reason.clone(),
            as_of: one
                .as_of
                .iter()
                .map(|state| StateJson {
                    origin: state.origin.to_string(),
                    size: state.size,
                    root: state.root.to_string(),
                })
                .collect(),
        };
        Self {
            name: log.name.clone(),
            first: log.first.to_string(),
            trusted: log.trusted.clone(),
            keys: log
                .keys
                .iter()
                .map(|step| KeyJson {
                    key: step.key.to_string(),
                    state: step.state.as_str(),
                    revocations: step.revocations.iter().map(revocation).collect(),
                })
                .collect(),
            next: log.next.map(|next| next.to_string()),
            rivals: log.rivals.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Prints the key log in which a key stands.
pub(crate) fn show(context: &Context, db: &Db, name: &str, key: &Actor) -> Outcome {
    let log = db.key_log(key).ok_or_else(|| thingdb::Error::NoKeyLog { name: name.to_owned() })?;
    match context.output.format() {
        Format::Json | Format::Ndjson => context.output.object(&LogJson::new(&log)),
        Format::Raw => log.keys.iter().try_for_each(|step| context.output.line(&step.key.to_string())),
        Format::Table => {
            let mut text = context.output.text();
            text.line(&format!("{} calls itself {}", printable(name), printable(&log.name)))?;
            for step in &log.keys {
                text.line(&format!("  {}  {}", step.key, step.state.as_str()))?;
                for revocation in &step.revocations {
                    text.line(&format!("    revoked: {}", printable(&revocation.reason)))?;
                    for state in &revocation.as_of {
                        text.line(&format!("      good in the ledger of {} below {}", state.origin, state.size))?;
                    }
                }
            }
            for rival in &log.rivals {
                text.line(&format!("  contested by {rival}: it says something else for a step that was taken"))?;
            }
            text.line(if log.next.is_some() { "  a next key is promised" } else { "  no next key is promised" })?;
            text.end()
        }
    }
}
