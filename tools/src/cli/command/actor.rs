//! `thingdb actor`: the keys that sign entries, own and trusted.

mod key_log;

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use thingdb::trust::How;
use thingdb::{Actor, Db, Origin, Peer, Time};

use crate::cli::context::{CHANGED, Context};
use crate::cli::input::names;
use crate::console::confirm;
use crate::console::output::Format;
use crate::error::{Failure, Outcome};
use crate::reader::database::Database;
use crate::text::{printable, quoted};
use crate::view::when;
use key_log::{PassphraseOfFile, Revocation, Step};

/// What to do with actors.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thingdb actor new press-7
  thingdb actor rename press-7 press-7b
  thingdb actor ls
  thingdb actor trust press-8 ae12…      accept entries of this key, under this name
  thingdb actor untrust press-8
  thingdb actor trust press-8            take that back
  thingdb actor introduce press-7 --next-key-file /media/usb/press-7.next
  thingdb actor rotate press-7 --next-key-file /media/usb/press-7.next --new-next-key-file /media/usb/press-7.next-2
  thingdb actor revoke press-7 --as-of now --reason 'the panel was stolen' --next-key-file /media/usb/press-7.next

What a person withdrew stays so, whichever card lists the key, until a person
takes it back.")]
pub(crate) enum Command {
    /// Make a key of our own, to sign with --actor NAME
    New {
        /// The name; others will see it
        name: String,
        /// Begin its key log: promise a next key, and write that to a new file
        #[arg(long, value_name = "FILE")]
        next_key_file: Option<PathBuf>,
        /// How that file is sealed.
        #[command(flatten)]
        passphrase: PassphraseOfFile,
    },
    /// Begin the key log of an actor of our own: it can take another key from then on
    #[command(after_help = "\
Examples:
  thingdb actor introduce alice --next-key-file /media/usb/alice.next

The file holds a key that signs one record: the one that gives the actor another
key, or revokes its key. Keep it where this database is not. Whoever steals the
key of today cannot do either.")]
    Introduce {
        /// The name of an actor of our own
        name: String,
        /// Write the next key to a new file
        #[arg(long, value_name = "FILE")]
        next_key_file: PathBuf,
        /// How that file is sealed.
        #[command(flatten)]
        passphrase: PassphraseOfFile,
    },
    /// Give an actor of our own another key; what the old one signed stays good
    #[command(after_help = "\
Examples:
  thingdb actor rotate alice --next-key-file /media/usb/alice.next
  thingdb actor rotate alice --next-key-file /media/usb/alice.next --new-next-key-file /media/usb/alice.next-2")]
    Rotate {
        /// The name of an actor of our own
        name: String,
        /// The file with the next key, which is used up
        #[arg(long, value_name = "FILE")]
        next_key_file: PathBuf,
        /// Promise a key for the next time, and write it to a new file
        #[arg(long, value_name = "FILE")]
        new_next_key_file: Option<PathBuf>,
        /// How these files are sealed.
        #[command(flatten)]
        passphrase: PassphraseOfFile,
    },
    /// Say that the key of an actor of our own is in the wrong hands, and as of when it
    /// is believed
    #[command(after_help = "\
Examples:
  thingdb actor revoke alice --as-of now --reason 'the laptop was stolen' --next-key-file /media/usb/alice.next
  thingdb actor revoke alice --as-of friday.checkpoint --reason 'seen in a log' --next-key-file FILE --end

What the key signed is good where it stands in a ledger as of --as-of, whatever
its time says, and believed nowhere else. Nothing is deleted. The actor gets
another key, unless it is to end.")]
    Revoke {
        /// The name of an actor of our own
        name: String,
        /// now: this ledger and those of the peers as far as they were seen; or a file
        /// with a checkpoint, may be repeated
        #[arg(long, value_name = "now|CHECKPOINT", required = true)]
        as_of: Vec<String>,
        /// Why; it is signed, and there for everybody to read
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// The file with the next key, which is used up
        #[arg(long, value_name = "FILE")]
        next_key_file: PathBuf,
        /// Promise a key for the next time, and write it to a new file
        #[arg(long, value_name = "FILE", conflicts_with = "end")]
        new_next_key_file: Option<PathBuf>,
        /// Give it no other key: it signs nothing more
        #[arg(long)]
        end: bool,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        /// How these files are sealed.
        #[command(flatten)]
        passphrase: PassphraseOfFile,
    },
    /// Print the key log of an actor: its keys, and which of them are believed where
    Log {
        /// A name, or a key of which the first digits will do
        actor: String,
    },
    /// Give an actor another name; entries keep the one that they were signed with
    #[command(after_help = "\
Examples:
  thingdb actor rename owner alice

Entries are shown by the new name; thingdb show tells the one that they were
signed with, which nobody can change. Other nodes learn the name of an actor of
this node from a new card.")]
    Rename {
        /// The name it has, or a key of which the first digits will do
        old: String,
        /// The name it gets; nobody else may have it
        new: String,
    },
    /// Choose who signs if no other is named
    Default {
        /// The name of an actor of our own
        name: String,
    },
    /// List the actors that are known, our own among them, and those in whom
    /// trust was withdrawn
    Ls,
    /// Print one actor; with --format raw only its key
    Show {
        /// A name, or a key of which the first digits will do
        actor: String,
    },
    /// Accept entries that were signed with a key, also if trust in it was
    /// withdrawn
    Trust {
        /// The name by which this database knows the key
        name: String,
        /// The key, 64 hex digits; ask its owner by a way that you trust. Without
        /// it, an actor in whom trust was withdrawn, by name or key
        key: Option<String>,
    },
    /// Accept no more entries of an actor, whichever card lists it; what is
    /// stored stays. One of our own signs no more
    Untrust {
        /// A name, or a key of which the first digits will do
        actor: String,
        /// Do not ask, for one of our own
        #[arg(short, long)]
        yes: bool,
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
    /// What its key log says of the key; absent without a log.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    /// When trust was withdrawn, if it was.
    withdrawn: Option<String>,
    /// The node whose removal ended it, if nobody withdrew it from this key
    /// itself.
    ended_with: Option<String>,
    /// The peers whose cards list the key.
    named_by: Vec<String>,
    #[serde(skip)]
    id: Actor,
    #[serde(skip)]
    time: Option<Time>,
    #[serde(skip)]
    ended: Option<(Time, Option<Origin>)>,
}

/// Runs one of the actor commands.
pub(crate) fn run(context: &Context, command: &Command) -> Outcome {
    let db = context.open()?;
    match command {
        Command::New { name, next_key_file, passphrase } => {
            let key = db.new_actor(name)?;
            names::tell_namesake(&context.console, &db, name, &key);
            if let Some(file) = next_key_file {
                key_log::introduce(context, &db, name, file, passphrase).map_err(|failure| {
                    failure
                        .cause(format!("{} is made, without a key log", printable(name)))
                        .hint(format!("thingdb actor introduce {} --next-key-file FILE", quoted(name)))
                })?;
            }
            changed(context, db, &key)
        }
        Command::Introduce { name, next_key_file, passphrase } => {
            key_log::introduce(context, &db, name, next_key_file, passphrase)?;
            let key = one(&db, name)?.id;
            changed(context, db, &key)
        }
        Command::Rotate { name, next_key_file, new_next_key_file, passphrase } => {
            let step = Step { name, next: next_key_file, new_next: new_next_key_file.as_deref(), passphrase };
            step.rotate(context, &db)?;
            let key = one(&db, name)?.id;
            changed(context, db, &key)
        }
        Command::Revoke { name, as_of, reason, next_key_file, new_next_key_file, end, yes, passphrase } => {
            let step = Step { name, next: next_key_file, new_next: new_next_key_file.as_deref(), passphrase };
            step.revoke(context, &db, &Revocation { as_of, reason, ends: *end, yes: *yes })?;
            let key = one(&db, name)?.id;
            changed(context, db, &key)
        }
        Command::Log { actor } => {
            // One whose key was replaced is told by that key, too.
            let is_it = |key: &&Actor| actor.len() >= 4 && key.to_string().starts_with(&actor.to_ascii_lowercase());
            let logs = db.key_logs();
            let former = logs.iter().flat_map(|log| &log.keys).map(|step| &step.key).find(is_it);
            match (one(&db, actor), former) {
                (Ok(known), _) => key_log::show(context, &db, &known.name, &known.id),
                (Err(_), Some(key)) => {
                    let name = db.name_of(key).unwrap_or_else(|| actor.clone());
                    key_log::show(context, &db, &name, key)
                }
                (Err(failure), None) => Err(failure),
            }
        }
        Command::Default { name } => {
            db.set_default_actor(name)?;
            let key = one(&db, name)?.id;
            changed(context, db, &key)
        }
        Command::Rename { old, new } => {
            let known = one(&db, old)?;
            db.rename_actor(&known.id, new)?;
            names::tell_namesake(&context.console, &db, new, &known.id);
            if known.own {
                context.console.note("other nodes learn the name from a new card: thingdb card");
            }
            changed(context, db, &known.id)
        }
        Command::Ls => list(context, &all(&db)?),
        Command::Show { actor } => show(context, &one(&db, actor)?),
        Command::Trust { name, key } => {
            let (name, key) = match key {
                Some(key) => (name.clone(), read_key(key)?),
                None => withdrawn(&db, name)?,
            };
            let withdrawn =
                db.known_actors().into_iter().find(|known| known.key == key).and_then(|known| known.withdrawn);
            db.trust_actor(&name, key)?;
            if let Some(at) = withdrawn {
                let name = printable(&name);
                context.console.note(&format!("trust in {name} was withdrawn on {at}; that is taken back"));
            }
            names::tell_namesake(&context.console, &db, &name, &key);
            changed(context, db, &key)
        }
        Command::Untrust { actor, yes } => {
            let known = one(&db, actor)?;
            if known.own && known.trusted && !yes {
                confirm(context, &known)?;
            }
            if !db.untrust_actor(&known.id)? {
                return Err(Failure::not_found(format!("trust in {} is withdrawn already", printable(&known.name)))
                    .hint("thingdb actor ls"));
            }
            if known.own {
                tell_who_signs(context, &db, &known)?;
            }
            changed(context, db, &known.id)
        }
    }
}

fn read_key(key: &str) -> Outcome<Actor> {
    key.to_ascii_lowercase().parse().map_err(|_| {
        Failure::usage(format!("{key:?} is no actor key: 64 hex digits"))
            .hint("at the actor's own database: thingdb actor ls")
    })
}

/// An actor in whom trust was withdrawn, to be taken back.
fn withdrawn(db: &Db, wanted: &str) -> Outcome<(String, Actor)> {
    let known = all(db)?.into_iter().filter(|known| known.ended.is_some());
    match pick(&known.collect::<Vec<_>>(), wanted)? {
        Some(known) => Ok((known.name, known.id)),
        None => {
            Err(Failure::usage(format!("which key? no actor {} is known whose trust was withdrawn", printable(wanted)))
                .hint(format!("thingdb actor trust {} KEY", quoted(wanted))))
        }
    }
}

/// Asks whether one of our own is to sign no more.
fn confirm(context: &Context, known: &Known) -> Outcome {
    let name = printable(&known.name);
    context.console.plain(&format!("{name} is an actor of this database  {}", known.key));
    context
        .console
        .plain("  it signs no more, its entries are not accepted from elsewhere, and verify names those that are here");
    if !context.console.stdin().is_terminal() || context.no_input {
        return Err(Failure::usage(format!("whether {name} signs no more is for a person to say"))
            .hint(format!("thingdb actor untrust {} --yes", quoted(&known.name))));
    }
    if confirm::is_confirmed(&context.console, "Withdraw trust in it?")? {
        return Ok(());
    }
    Err(Failure::declined(format!("{name} is trusted as before")))
}

/// Says who signs now that one of our own does not.
fn tell_who_signs(context: &Context, db: &Db, gone: &Known) -> Outcome {
    let all = all(db)?;
    let left: Vec<&Known> = all.iter().filter(|known| known.own && known.trusted).collect();
    let quoted = |known: &Known| quoted(&known.name);
    match (left.iter().find(|known| known.default), left.first()) {
        (Some(default), _) => {
            context.console.note(&format!("{} signs by default, as before", printable(&default.name)))
        }
        (None, Some(first)) => {
            context.console.note(&format!("{} signed by default; nobody does now", printable(&gone.name)));
            context.console.hint(&format!("thingdb actor default {}", quoted(first)));
        }
        (None, None) => {
            context.console.note("no actor of this database can sign now");
            context.console.hint("thingdb actor new NAME && thingdb actor default NAME");
        }
    }
    Ok(())
}

fn changed(context: &Context, db: Database, key: &Actor) -> Outcome {
    let known = all(&db)?.into_iter().find(|known| known.id == *key);
    context.close(db);
    context.did(CHANGED);
    known.map_or(Ok(()), |known| show(context, &known))
}

/// Own actors first, then the others by name, then those in whom trust was
/// withdrawn.
fn all(db: &Db) -> Outcome<Vec<Known>> {
    let (own, peers) = (db.own_actors(), db.peers()?);
    let place = |key: &Actor| own.iter().position(|own| own.key == *key);
    let actors = db.known_actors();
    let is_known = |key: &Actor| actors.iter().any(|actor| actor.key == *key);
    // An actor goes by its newest key, which the trust store need not know.
    let newest = |key: Actor| {
        let log = db.key_log(&key).filter(|log| log.trusted.is_some());
        let newest = log.and_then(|log| Some(log.keys.last()?.key)).filter(|newest| !is_known(newest));
        newest.unwrap_or(key)
    };
    let state = |key: &Actor| {
        let step = db.key_log(key)?.keys.into_iter().find(|step| step.key == *key)?;
        Some(step.state.as_str())
    };
    let mut known: Vec<Known> = actors
        .iter()
        .cloned()
        .map(|mut actor| {
            actor.key = newest(actor.key);
            let of_own = place(&actor.key).and_then(|at| own.get(at));
            let is_trusted = actor.withdrawn.is_none();
            let time = is_trusted.then_some(actor.since);
            Known {
                name: of_own.map_or(actor.name, |own| own.name.clone()),
                key: actor.key.to_string(),
                own: actor.how == How::Own || of_own.is_some(),
                default: is_trusted && of_own.is_some_and(|own| own.default),
                trusted: is_trusted,
                since: time.map(|time| time.to_string()),
                state: state(&actor.key),
                withdrawn: actor.withdrawn.map(|time| time.to_string()),
                ended_with: actor.ended_with.map(|node| node.to_string()),
                named_by: peers.iter().filter(|peer| lists(peer, &actor.key)).map(|peer| peer.name.clone()).collect(),
                id: actor.key,
                time,
                ended: actor.withdrawn.map(|time| (time, actor.ended_with)),
            }
        })
        .collect();
    known.sort_by_cached_key(|known| {
        let own = if known.trusted { place(&known.id) } else { None };
        (!known.trusted, own.is_none(), own, known.name.clone(), known.id)
    });
    Ok(known)
}

fn lists(peer: &Peer, key: &Actor) -> bool {
    peer.card.actors.iter().any(|(listed, _)| listed == key)
}

/// The actor with this name, or with a key that starts so; one that is trusted
/// before one that is not.
fn one(db: &Db, wanted: &str) -> Outcome<Known> {
    let all = all(db)?;
    let (trusted, withdrawn): (Vec<Known>, Vec<Known>) = all.into_iter().partition(|known| known.trusted);
    let found = pick(&trusted, wanted)?;
    match found.map_or_else(|| pick(&withdrawn, wanted), |known| Ok(Some(known)))? {
        Some(known) => Ok(known),
        None => {
            Err(Failure::not_found(format!("no actor {} is known here", printable(wanted))).hint("thingdb actor ls"))
        }
    }
}

fn pick(all: &[Known], wanted: &str) -> Outcome<Option<Known>> {
    let is_key = |known: &&Known| wanted.len() >= 4 && known.key.starts_with(&wanted.to_ascii_lowercase());
    let named: Vec<&Known> = all.iter().filter(|known| known.name == wanted).collect();
    let found = if named.is_empty() { all.iter().filter(is_key).collect() } else { named };
    match found.as_slice() {
        [] => Ok(None),
        [known] => Ok(Some((*known).clone())),
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
        // A list of keys is a list of keys to trust.
        Format::Raw => known.iter().filter(|known| known.trusted).try_for_each(|known| context.output.line(&known.key)),
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
            let since = if known.trusted { format!("trusted since {since} UTC") } else { since };
            let mut text = context.output.text();
            text.line(&format!("{name}  {key}  {role}, {since}"))?;
            text.end()
        }
    }
}

fn row(known: &Known) -> [String; 4] {
    let role = match (known.own, known.default) {
        (true, true) => "own, default",
        (true, false) => "own",
        _ => "other",
    };
    let state = known.state.filter(|state| *state != "current").map(|state| format!(", key {state}"));
    [
        printable(&known.name).into_owned(),
        known.key.clone(),
        format!("{role}{}", state.unwrap_or_default()),
        known
            .ended
            .map_or_else(|| known.time.map(when::short).unwrap_or_default(), |(at, node)| ended(known, at, node)),
    ]
}

/// How trust in an actor ended, and who names it all the same.
fn ended(known: &Known, at: Time, node: Option<Origin>) -> String {
    let how = if node.is_some() { "ended with its node" } else { "withdrawn" };
    let by = if known.named_by.is_empty() {
        String::new()
    } else {
        format!(", named by {}", printable(&known.named_by.join(", ")))
    };
    format!("{how} {}{by}", when::short(at))
}
