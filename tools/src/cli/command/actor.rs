//! `thingdb actor`: the keys that sign entries, own and trusted.

use clap::Subcommand;
use serde::Serialize;
use thingdb::{Actor, Db, Time};

use crate::cli::context::{CHANGED, Context};
use crate::cli::database::Database;
use crate::cli::error::{Failure, Outcome};
use crate::cli::output::{Format, printable};
use crate::cli::when;

/// What to do with actors.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thingdb actor new press-7
  thingdb actor ls
  thingdb actor trust press-8 ae12…      accept entries of this key, under this name
  thingdb actor untrust press-8")]
pub(crate) enum Command {
    /// Make a key of our own, to sign with --actor NAME
    New {
        /// The name; others will see it
        name: String,
    },
    /// Choose who signs if no other is named
    Default {
        /// The name of an actor of our own
        name: String,
    },
    /// List the actors that are trusted, our own among them
    Ls,
    /// Print one actor; with --format raw only its key
    Show {
        /// A name, or a key of which the first digits will do
        actor: String,
    },
    /// Accept entries that were signed with a key
    Trust {
        /// The name by which this database knows the key
        name: String,
        /// The key, 64 hex digits; ask its owner by a way that you trust
        key: String,
    },
    /// Accept no more entries of an actor; what is stored stays
    Untrust {
        /// A name, or a key of which the first digits will do
        actor: String,
    },
}

/// An actor as this database knows it.
#[derive(Clone, Debug, Serialize)]
struct Known {
    name: String,
    key: String,
    own: bool,
    default: bool,
    trusted: bool,
    since: Option<String>,
    #[serde(skip)]
    id: Actor,
    #[serde(skip)]
    time: Option<Time>,
}

/// Runs one of the actor commands.
pub(crate) fn run(context: &Context, command: &Command) -> Outcome {
    let db = context.open()?;
    match command {
        Command::New { name } => {
            let key = db.new_actor(name)?;
            changed(context, db, &key)
        }
        Command::Default { name } => {
            db.set_default_actor(name)?;
            let key = one(&db, name)?.id;
            changed(context, db, &key)
        }
        Command::Ls => list(context, &all(&db)),
        Command::Show { actor } => show(context, &one(&db, actor)?),
        Command::Trust { name, key } => {
            let key: Actor = key.to_ascii_lowercase().parse().map_err(|_| {
                Failure::usage(format!("{key:?} is no actor key: 64 hex digits"))
                    .hint("thingdb actor ls, at the actor's own database")
            })?;
            db.trust_actor(name, key)?;
            changed(context, db, &key)
        }
        Command::Untrust { actor } => {
            let known = one(&db, actor)?;
            if !db.untrust_actor(&known.id)? {
                return Err(
                    Failure::not_found(format!("{} is not trusted", printable(&known.name))).hint("thingdb actor ls")
                );
            }
            db.close()?;
            context.did(CHANGED);
            show(context, &Known { trusted: false, since: None, time: None, ..known })
        }
    }
}

fn changed(context: &Context, db: Database, key: &Actor) -> Outcome {
    let known = all(&db).into_iter().find(|known| known.id == *key);
    db.close()?;
    context.did(CHANGED);
    known.map_or(Ok(()), |known| show(context, &known))
}

/// Own actors first, then the others that are trusted.
fn all(db: &Db) -> Vec<Known> {
    let trusted = db.trusted_actors();
    let mut known: Vec<Known> = db
        .own_actors()
        .into_iter()
        .map(|own| {
            let since = trusted.iter().find(|actor| actor.key == own.key).map(|actor| actor.since);
            Known {
                name: own.name,
                key: own.key.to_string(),
                own: true,
                default: own.default,
                trusted: since.is_some(),
                since: since.map(|time| time.to_string()),
                id: own.key,
                time: since,
            }
        })
        .collect();
    let others = trusted.into_iter().filter(|actor| !known.iter().any(|own| own.id == actor.key)).map(|actor| Known {
        name: actor.name,
        key: actor.key.to_string(),
        own: false,
        default: false,
        trusted: true,
        since: Some(actor.since.to_string()),
        id: actor.key,
        time: Some(actor.since),
    });
    let others: Vec<Known> = others.collect();
    known.extend(others);
    known
}

/// The actor with this name, or with a key that starts so.
fn one(db: &Db, wanted: &str) -> Outcome<Known> {
    let all = all(db);
    let is_key = |known: &&Known| wanted.len() >= 4 && known.key.starts_with(&wanted.to_ascii_lowercase());
    let named: Vec<&Known> = all.iter().filter(|known| known.name == wanted).collect();
    let found = if named.is_empty() { all.iter().filter(is_key).collect() } else { named };
    match found.as_slice() {
        [known] => Ok((*known).clone()),
        [] => Err(Failure::not_found(format!("no actor {} is known here", printable(wanted))).hint("thingdb actor ls")),
        several => Err(Failure::usage(format!("several actors are called {}", printable(wanted)))
            .causes(several.iter().map(|known| known.key.clone()))
            .hint("name the actor by its key")),
    }
}

fn list(context: &Context, known: &[Known]) -> Outcome {
    match context.output.format() {
        Format::Json | Format::Ndjson => {
            let mut list = context.output.list();
            known.iter().try_for_each(|known| list.item(known))?;
            list.end()
        }
        Format::Raw => known.iter().try_for_each(|known| context.output.line(&known.key)),
        Format::Table => {
            let header = ["name", "key", "role", "trusted since (UTC)"];
            context.output.line(&context.output.table(header, Some(1)).page(known.iter().map(row)))
        }
    }
}

fn show(context: &Context, known: &Known) -> Outcome {
    match context.output.format() {
        Format::Json | Format::Ndjson => context.output.object(known),
        Format::Raw => context.output.line(&known.key),
        Format::Table => {
            let [name, key, role, since] = row(known);
            let since = if known.trusted { format!("trusted since {since} UTC") } else { "not trusted".to_owned() };
            context.output.line(&format!("{name}  {key}  {role}, {since}"))
        }
    }
}

fn row(known: &Known) -> [String; 4] {
    let role = match (known.own, known.default) {
        (true, true) => "own, default",
        (true, false) => "own",
        _ => "other",
    };
    [
        printable(&known.name).into_owned(),
        known.key.clone(),
        role.to_owned(),
        known.time.map(when::short).unwrap_or_default(),
    ]
}
