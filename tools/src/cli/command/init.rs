//! `thingdb init`: creates a database.

use std::path::{Path, PathBuf};

use serde::Serialize;
use thingdb::{Audience, Card, Db, KdfChoice, KdfParams, NextKeyFile, Options, Passphrase};

use crate::cli::context::{self, Context};
use crate::cli::input::card;
use crate::cli::input::next_key::NewFile;
use crate::cli::recovery;
use crate::console::secret::Keep;
use crate::error::{Exit, Failure, Outcome};
use crate::server::certificate;
use crate::text::{printable, quoted, quoted_path};
use crate::view::record::ActorJson;

/// Arguments of `thingdb init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb init ./things --actor alice
  thingdb init /srv/things --passphrase-file /run/keys/things
  thingdb init ./things --recovery-key /media/usb/things.recovery-key
  thingdb init ./sensor --write-only --to hq=@hq.card

The passphrase is stretched with Argon2id: 64 MiB, 3 passes, 4 lanes. The
--kdf options choose less or more; less makes guessing cheaper and is for
tests and very small machines.")]
pub(crate) struct Args {
    /// The directory to create; instead of --db
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,

    /// The name of the first actor, who signs what is written
    #[arg(long, value_name = "NAME", default_value = "owner", env = "THINGDB_ACTOR", hide_env_values = true)]
    actor: String,

    /// Leave a database that is there already as it is
    ///
    /// For scripts that start a node whether or not it is its first start.
    #[arg(long)]
    if_absent: bool,

    /// Make a recovery key too, in a new file that only its owner can read; - prints it
    ///
    /// It opens the database when the passphrase is lost: keep it where the database is not.
    #[arg(long, value_name = "FILE")]
    recovery_key: Option<PathBuf>,

    /// Keep no key to what is written: only the peers of --to can read it
    #[arg(long, requires = "to")]
    write_only: bool,

    /// Begin the key log of the actor: promise a next key, and write that to a new file
    ///
    /// It is sealed under the passphrase of the database. Keep it where the database is
    /// not: it gives the actor another key when this one is lost or stolen.
    #[arg(long, value_name = "FILE")]
    next_key_file: Option<PathBuf>,

    /// Know a peer from the start and seal everything to it; may be repeated
    #[arg(long, value_name = "NAME=CARD|NAME=@FILE")]
    to: Vec<String>,

    /// Keep all of the journal, or what is recent; thingdb journal changes it
    #[arg(long, value_name = "HOW", default_value = "keep", value_parser = ["keep", "recent"])]
    journal: String,

    /// Memory of the key derivation, in MiB, or in KiB with a K
    #[arg(long, value_name = "MIB", value_parser = memory_kib, hide_short_help = true)]
    kdf_memory: Option<u32>,

    /// Passes of the key derivation
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64), hide_short_help = true)]
    kdf_passes: Option<u32>,

    /// Lanes of the key derivation
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16), hide_short_help = true)]
    kdf_lanes: Option<u32>,
}

/// Files in the way that are named.
const MAX_NAMED: usize = 3;

#[derive(Serialize)]
struct Created<'a> {
    db: String,
    origin: String,
    node_key: String,
    fingerprint: String,
    actor: ActorJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_key_file: Option<String>,
}

/// Creates the database.
pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let dir = match args.dir.as_deref() {
        Some(dir) => dir,
        None => context.dir()?,
    };
    context::reachable(dir)?;
    thingdb::Db::check_directory(dir)?;
    if thingdb::Db::exists(dir) {
        if args.if_absent {
            context.console.note(&format!("{} is a database already, and stays as it is", dir.display()));
            return tell_missing_recovery_key(context, &args);
        }
        return Err(Failure::new(Exit::Usage, "already-exists", format!("{} is a database already", dir.display()))
            .hint(format!("thingdb --db {} stats", quoted_path(dir))));
    }
    refuse_strangers(dir)?;
    let keep = match &args.recovery_key {
        Some(path) => Some(Keep::new(&context.console, Some(path))?),
        None => None,
    };
    let next = args.next_key_file.as_deref().map(|path| NewFile::begin(&context.console, path)).transpose()?;
    let peers = args.to.iter().map(|peer| introduction(context, peer)).collect::<Outcome<Vec<_>>>()?;
    let options = Options::new().actor(&args.actor).kdf(kdf(&args)?).write_only(args.write_only);
    let options = if args.journal == "recent" { options.journal(thingdb::Keep::Recent) } else { options };
    let passphrase = context.sources.create(dir)?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|problem| Failure::file(&parent.display().to_string(), &problem))?;
    }
    // All of it is there from the first moment, or nothing: it can be repeated
    // whenever it was broken off.
    let db = options.create_prepared(dir, &passphrase, |db| {
        certificate::of_node(db)?;
        for (name, card) in &peers {
            db.add_peer(name, card)?;
        }
        if !peers.is_empty() {
            let default = peers.iter().map(|(name, _)| name.clone()).collect();
            db.set_audience(Audience { default, ..Audience::default() })?;
        }
        Ok::<(), Failure>(())
    })?;
    context.did(format!("the database {} is made", printable(&dir.display().to_string())));
    for warning in db.warnings() {
        context.console.warning("open", warning.to_string()).say();
    }
    if let Some(file) = next {
        introduce(context, &db, file, &passphrase, kdf(&args)?).map_err(|failure| {
            failure.cause("the database is made, and its actor has no key log").hint(format!(
                "thingdb --db {} actor introduce {} --next-key-file FILE",
                quoted_path(dir),
                quoted(&args.actor)
            ))
        })?;
    }
    let recovery_key = keep.as_ref().map(|keep| recovery::make(&db, keep)).transpose()?;
    let created = Created {
        db: dir.display().to_string(),
        origin: db.origin().to_string(),
        node_key: db.node_key().to_string(),
        fingerprint: db.node_key().fingerprint().to_string(),
        actor: db.own_actors().first().map_or_else(
            || Err(Failure::new(Exit::Unexpected, "unexpected", "the new database has no actor")),
            |actor| Ok(ActorJson::own(&actor.name, &actor.key)),
        )?,
        recovery_key_file: keep.as_ref().and_then(Keep::file),
        recovery_key: keep.as_ref().zip(recovery_key.as_ref()).and_then(|(keep, key)| keep.shown(key.as_str())),
    };
    if let Err(problem) = db.close() {
        context::warn_of_closing(&context.console, problem);
    }
    say(context, &created)
}

/// Begins the key log of the first actor.
fn introduce(context: &Context, db: &Db, file: NewFile<'_>, passphrase: &Passphrase, kdf: KdfChoice) -> Outcome {
    let own = db.own_actors();
    let own =
        own.first().ok_or_else(|| Failure::new(Exit::Unexpected, "unexpected", "the new database has no actor"))?;
    let (kept, next) = NextKeyFile::generate(&own.key, passphrase, kdf).map_err(thingdb::Error::from)?;
    file.end(&context.console, &kept)?;
    db.introduce_actor(&own.name, Some(&next.actor()))?;
    Ok(())
}

/// An `init` that was broken off after it made the database has made no
/// recovery key: its file is written last.
fn tell_missing_recovery_key(context: &Context, args: &Args) -> Outcome {
    if let Some(path) = args.recovery_key.as_deref().filter(|path| *path != Path::new("-") && !path.exists()) {
        context
            .console
            .warning("recovery-key", format!("{} is not there", path.display()))
            .hint(format!("thingdb recovery-key -o {}", quoted_path(path)))
            .say();
    }
    Ok(())
}

/// Refuses a directory that holds what is not ours: a database among other
/// files is in danger from whoever tidies them up. What an `init` left that was
/// broken off is ours.
fn refuse_strangers(dir: &Path) -> Outcome {
    let strangers = thingdb::Db::strangers_in(dir)?;
    let mut strangers: Vec<_> = strangers.iter().map(|name| name.to_string_lossy()).collect();
    if strangers.is_empty() {
        return Ok(());
    }
    let count = strangers.len().saturating_sub(MAX_NAMED);
    strangers.truncate(MAX_NAMED);
    let more = if count > 0 { format!(" and {count} more") } else { String::new() };
    let fact = format!("{} is not empty: it holds {}{more}", dir.display(), strangers.join(", "));
    Err(Failure::new(Exit::Usage, "not-empty", fact)
        .hint(format!("give the database a directory of its own: thingdb init {}", quoted_path(&dir.join("things")))))
}

/// A peer and its card, as `--to` names them.
fn introduction(context: &Context, text: &str) -> Outcome<(String, Card)> {
    let (name, card) = text.split_once('=').ok_or_else(|| {
        Failure::usage(format!("{text:?} is not NAME=CARD or NAME=@FILE")).hint("at the peer: thingdb card > NAME.card")
    })?;
    Ok((name.to_owned(), card::read(&context.console, card)?.0))
}

fn say(context: &Context, created: &Created<'_>) -> Outcome {
    if context.output.is_json() {
        context.output.object(created)?;
    } else {
        let mut text = context.output.text();
        text.line(&format!("created {}", printable(&created.db)))?;
        text.line(&format!("  node   {}", created.fingerprint))?;
        text.line(&format!(
            "  actor  {}  {}",
            created.actor.key(),
            printable(created.actor.name().unwrap_or_default())
        ))?;
        if let Some(file) = &created.recovery_key_file {
            text.line(&format!("  recovery key  in {}", printable(file)))?;
        }
        if let Some(key) = &created.recovery_key {
            text.line(&format!("  recovery key  {key}"))?;
        }
        text.end()?;
        if created.recovery_key.is_some() {
            context.console.note(recovery::SHOWN_ONCE);
        }
    }
    if context.output.is_terminal() {
        context.console.hint("thingdb keyring export -o FILE, and keep it where this disk is not");
    }
    let set = context.console.variable("THINGDB_DIR").is_some_and(|dir| dir == created.db.as_str());
    if context.output.is_terminal() && !set {
        context.console.hint(&format!("export THINGDB_DIR={}", quoted(&created.db)));
    }
    Ok(())
}

fn kdf(args: &Args) -> Outcome<KdfChoice> {
    if args.kdf_memory.is_none() && args.kdf_passes.is_none() && args.kdf_lanes.is_none() {
        return Ok(KdfChoice::Default);
    }
    let default = KdfParams::DEFAULT;
    let chosen = KdfParams::new(
        args.kdf_memory.unwrap_or_else(|| default.memory_kib()),
        args.kdf_passes.unwrap_or_else(|| default.passes()),
        args.kdf_lanes.unwrap_or_else(|| default.lanes()),
    );
    let chosen = chosen.map_err(|problem| {
        Failure::usage(format!("Argon2id: {problem}"))
            .cause("m is --kdf-memory in KiB, t is --kdf-passes, p is --kdf-lanes; m is 8 times p or more")
    })?;
    Ok(KdfChoice::Explicit(chosen))
}

/// `64` and `64M` are MiB, `64K` is KiB.
fn memory_kib(text: &str) -> Result<u32, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (text.get(..text.len().saturating_sub(1)).unwrap_or_default(), 1),
        Some(b'M' | b'm') => (text.get(..text.len().saturating_sub(1)).unwrap_or_default(), 1_024),
        _ => (text, 1_024),
    };
    let kib = digits.parse::<u32>().ok().and_then(|count| count.checked_mul(factor));
    kib.filter(|kib| (8..=1_048_576).contains(kib)).ok_or_else(|| "8K to 1024M are allowed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_in_mebibytes_unless_it_says_so() {
        assert_eq!(memory_kib("64"), Ok(65_536));
        assert_eq!(memory_kib("64M"), Ok(65_536));
        assert_eq!(memory_kib("64k"), Ok(64));
        for bad in ["", "K", "0", "7K", "1025", "-1", "4294967296", "é"] {
            assert!(memory_kib(bad).is_err(), "{bad}");
        }
    }
}
