//! `thingdb audience`: to whom new entries are sealed.

use clap::Subcommand;
use serde::Serialize;
use thingdb::Audience;

use crate::cli::context::{CHANGED, Context};
use crate::console::output::Format;
use crate::error::{Failure, Outcome};
use crate::reader::database::Database;
use crate::text::printable;

/// To whom new entries are sealed, beside this node.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thingdb audience set hq                           every new entry can be read by hq
  thingdb audience set hq auditor --prefix plant-3/ things below plant-3/ by both
  thingdb audience                                  what is set
  thingdb audience set --prefix plant-3/            plant-3/ has the default set again
  thingdb put part-42 '{}' --to auditor             only for this entry

The set with the longest prefix counts. Entries that exist are not changed:
thingdb share adds readers to those.")]
pub(crate) enum Command {
    /// Print what is set
    Show,
    /// Choose the peers; with none, the set is taken away
    Set {
        /// Peers, as thingdb peer ls names them
        peers: Vec<String>,
        /// For things whose name starts so, instead of all
        #[arg(long, value_name = "PREFIX")]
        prefix: Option<String>,
    },
}

/// Arguments of `thingdb unshare`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb unshare --to auditor                      seal nothing new to auditor
  thingdb unshare --to auditor --prefix plant-3/    nothing new below plant-3/

What a peer could read it can still read: a key cannot be taken back.")]
pub(crate) struct Unshare {
    /// The peer
    #[arg(long, value_name = "PEER")]
    to: String,
    /// Only from the set of this prefix
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
}

#[derive(Serialize)]
struct Set {
    prefix: String,
    to: Vec<String>,
}

/// Shows or sets the audience.
pub(crate) fn run(context: &Context, command: Option<&Command>) -> Outcome {
    let db = context.open()?;
    if let Some(Command::Set { peers, prefix }) = command {
        let mut audience = db.audience()?;
        match prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            None => audience.default.clone_from(peers),
            Some(prefix) => {
                audience.prefixes.retain(|(known, _)| known != prefix);
                audience.prefixes.push((prefix.to_owned(), peers.clone()));
            }
        }
        db.set_audience(audience)?;
        context.did(CHANGED);
    }
    finish(context, db)
}

/// Takes a peer out of the audience.
pub(crate) fn unshare(context: &Context, args: &Unshare) -> Outcome {
    let db = context.open()?;
    db.peer(&args.to)?;
    let before = db.audience()?;
    let mut audience = before.clone();
    if args.prefix.is_none() {
        audience.default.retain(|peer| *peer != args.to);
    }
    for (prefix, peers) in &mut audience.prefixes {
        if args.prefix.as_ref().is_none_or(|wanted| wanted == prefix) {
            peers.retain(|peer| *peer != args.to);
        }
    }
    if audience == before {
        return Err(Failure::not_found(format!("nothing is sealed to {} by default", printable(&args.to)))
            .hint("thingdb audience"));
    }
    db.set_audience(audience)?;
    context.did(CHANGED);
    context.console.note("new entries are not sealed to it; what it could read it can still read");
    finish(context, db)
}

fn finish(context: &Context, db: Database) -> Outcome {
    let audience = db.audience()?;
    context.close(db);
    print(context, &audience)
}

fn print(context: &Context, audience: &Audience) -> Outcome {
    let mut sets = vec![Set { prefix: String::new(), to: audience.default.clone() }];
    sets.extend(audience.prefixes.iter().map(|(prefix, to)| Set { prefix: prefix.clone(), to: to.clone() }));
    match context.output.format() {
        Format::Json | Format::Ndjson => {
            let mut list = context.output.list();
            sets.iter().try_for_each(|set| list.item(set))?;
            list.end()
        }
        Format::Raw | Format::Table => {
            let row = |set: &Set| {
                let prefix = if set.prefix.is_empty() { "(all others)".into() } else { printable(&set.prefix) };
                let to = if set.to.is_empty() { "nobody but this node".to_owned() } else { set.to.join(", ") };
                [prefix.into_owned(), printable(&to).into_owned()]
            };
            context.output.line(&context.output.table(["things", "sealed to"], Some(1)).page(sets.iter().map(row)))
        }
    }
}
