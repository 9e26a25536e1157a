//! `thingdb token`: what clients show to the server.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Subcommand;
use serde::Serialize;
use thingdb::{Peer, Scope, Time, Token, TokenRequest};

use crate::cli::context::{CHANGED, Context};
use crate::console::output::Format;
use crate::console::secret::Keep;
use crate::error::{Failure, Outcome};
use crate::text::{printable, quoted};
use crate::view::when::{self, When};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thingdb token new --peer press-7 --scope import,export -o press-7.token
  thingdb token new --name hall --scope read --things plant-3/ --expires 90d -o hall.token
  thingdb token ls
  thingdb token rm press-7

The token is printed once, or written to a new file that only its owner can
read; the database keeps its hash. A server that runs knows of every change at
once.")]
pub(crate) enum Command {
    /// Make a token and print it
    New(NewArgs),
    /// List the tokens, with their last use
    Ls,
    /// Remove a token: it is refused from now on
    Rm {
        /// Its name
        name: String,
    },
}

/// Arguments of `thingdb token new`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Scopes:
  read     things and entries, with their data
  write    write entries, signed by an actor of this node
  export   take entries away as a stream, sealed as they are
  import   bring entries that others signed
  erase    erase the content of entries, with a record that an actor of this node signs
  admin    what concerns the server itself; nothing asks for it yet")]
pub(crate) struct NewArgs {
    /// A name for it; that of the peer if absent
    #[arg(long, value_name = "NAME", required_unless_present = "peer")]
    name: Option<String>,

    /// For this peer's node only, which push, pull and sync with it
    ///
    /// With it the peer's node also shows how its ledger stands, so that each side notices when the other
    /// was set back. A token that names no peer cannot do that: whoever has it could show an old state of
    /// somebody else's ledger.
    #[arg(long, value_name = "PEER")]
    peer: Option<String>,

    /// What it allows
    #[arg(long, value_name = "SCOPE,…", value_delimiter = ',', required = true, value_parser = Scope::from_str)]
    scope: Vec<Scope>,

    /// Only for things whose name starts so
    #[arg(long, value_name = "PREFIX")]
    things: Option<String>,

    /// Until when: 12h, 90d, 4w from now, or a time
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,

    /// Write the token to a new file that only its owner can read; - for stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
struct TokenJson<'a> {
    id: String,
    name: String,
    scopes: Vec<&'static str>,
    things: String,
    peer: Option<String>,
    created: String,
    expires: Option<String>,
    last_used: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    /// The file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

#[derive(Serialize)]
struct Removed<'a> {
    name: &'a str,
    removed: bool,
}

/// Runs one of the token commands.
pub(crate) fn run(context: &Context, command: &Command) -> Outcome {
    match command {
        Command::New(args) => new(context, args),
        Command::Ls => list(context),
        Command::Rm { name } => remove(context, name),
    }
}

fn new(context: &Context, args: &NewArgs) -> Outcome {
    let name = args.name.as_ref().or(args.peer.as_ref()).map_or("", String::as_str);
    let mut request = TokenRequest::new(name);
    if let Some(peer) = &args.peer {
        request = request.peer(peer);
    }
    for scope in &args.scope {
        request = request.scope(*scope);
    }
    if let Some(prefix) = &args.things {
        request = request.things(prefix);
    }
    if let Some(expires) = &args.expires {
        request = request.expires(end(expires)?);
    }
    // Before there is a token: one that nobody could write down would stay.
    let keep = Keep::new(&context.console, args.output.as_deref())?;
    let db = context.open()?;
    let (token, text) = db.new_token(&request)?;
    if let Err(failure) = keep.write(text.as_str()) {
        db.remove_token(&token.name)?;
        return Err(failure);
    }
    let peers = db.peers()?;
    context.close(db);
    context.did(match keep.file() {
        Some(file) => format!("the token is in {}", printable(&file)),
        None => {
            let name = quoted(token.name.as_str());
            format!("the token is made, and nobody has seen it: thingdb token rm {name}")
        }
    });
    let told = TokenJson { file: keep.file(), token: keep.shown(text.as_str()), ..json(&token, &peers) };
    context.console.note(&match &told.file {
        Some(file) => format!("token in {}; whoever has it may do what it allows", printable(file)),
        None => "The token is shown once; whoever has it may do what it allows.".to_owned(),
    });
    match (context.output.chosen(), told.token) {
        (Some(Format::Json | Format::Ndjson), _) => context.output.object(&told),
        (_, Some(text)) => context.output.line(text),
        (_, None) => Ok(()),
    }
}

fn list(context: &Context) -> Outcome {
    let db = context.open()?;
    let (tokens, peers) = (db.tokens(), db.peers()?);
    context.close(db);
    match context.output.format() {
        Format::Json | Format::Ndjson => {
            let mut list = context.output.list();
            tokens.iter().try_for_each(|token| list.item(&json(token, &peers)))?;
            list.end()
        }
        Format::Raw => tokens.iter().try_for_each(|token| context.output.line(&printable(&token.name))),
        Format::Table => {
            let header = ["name", "scopes", "things", "peer", "expires (UTC)", "last used (UTC)", "id"];
            let rows = tokens.iter().map(|token| row(token, &peers));
            context.output.line(&context.output.table(header, Some(1)).page(rows))
        }
    }
}

/// The name of the peer that a token is for; its origin once it is forgotten.
fn peer_of(token: &Token, peers: &[Peer]) -> Option<String> {
    let node = token.node?;
    Some(peers.iter().find(|peer| peer.origin() == node).map_or_else(|| node.to_string(), |peer| peer.name.clone()))
}

fn row(token: &Token, peers: &[Peer]) -> [String; 7] {
    let time = |time: Option<Time>| time.map(when::short).unwrap_or_default();
    let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    [
        printable(&token.name).into_owned(),
        scopes.join(", "),
        printable(&token.things).into_owned(),
        peer_of(token, peers).map(|peer| printable(&peer).into_owned()).unwrap_or_default(),
        time(token.expires),
        time(token.last_used),
        token.id.to_string(),
    ]
}

fn remove(context: &Context, name: &str) -> Outcome {
    let db = context.open()?;
    let removed = db.remove_token(name)?;
    context.close(db);
    if !removed {
        return Err(Failure::not_found(format!("no token named {}", printable(name))).hint("thingdb token ls"));
    }
    context.did(CHANGED);
    match context.output.format() {
        Format::Json | Format::Ndjson => context.output.object(&Removed { name, removed }),
        _ => context.output.line(&format!("removed {}", printable(name))),
    }
}

fn json(token: &Token, peers: &[Peer]) -> TokenJson<'static> {
    let time = |time: Time| time.to_string();
    TokenJson {
        id: token.id.to_string(),
        name: token.name.clone(),
        scopes: token.scopes.iter().map(|scope| scope.as_str()).collect(),
        things: token.things.clone(),
        peer: peer_of(token, peers),
        created: time(token.created),
        expires: token.expires.map(time),
        last_used: token.last_used.map(time),
        token: None,
        file: None,
    }
}

/// When a token ends: so long from now, or at a time that is still to come.
fn end(text: &str) -> Outcome<Time> {
    let now = when::now();
    let end = match when::from_now(text, now) {
        Some(end) => end,
        None => {
            When::parse(text, now)
                .map_err(|_| {
                    let fact = format!("{} is no time: write 90s, 15m, 12h, 90d, 4w, or 2027-11-22", quoted(text));
                    Failure::usage(fact)
                })?
                .last
        }
    };
    let now = u64::try_from(now.as_microsecond()).unwrap_or_default();
    if end.micros() <= now {
        return Err(Failure::usage(format!("{} is over", when::short(end))));
    }
    Ok(end)
}
