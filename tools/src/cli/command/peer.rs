//! `thingdb peer`: other nodes that this one knows, by their cards.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use thingdb::trust::How;
use thingdb::{Actor, Db, Exchanges, Hash, Introduction, Peer, PeerAddress, RemovedPeer, SplitHeads};
use zeroize::Zeroizing;

use crate::cli::context::{CHANGED, Context};
use crate::cli::input::{card, names};
use crate::client::address::Address;
use crate::console::output::Format;
use crate::console::{Console, confirm};
use crate::error::{Failure, Outcome};
use crate::text::printable;
use crate::view::when;

/// What to do with peers.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thingdb peer add hall-1 @hall-1.card     shows the fingerprint and asks
  thingdb peer add hall-1 tdbcard1:… --yes in a script that got the card by a safe way
  thingdb peer add hall-1 @hall-1.ndjson   the card at the beginning of an export
  thingdb peer set hall-1 --url https://hall-1.example:5001 --token-file hall-1.token
  thingdb peer ls
  thingdb peer rm hall-1")]
pub(crate) enum Command {
    /// Make a node known by its card: accept its entries, trust its actors
    Add {
        /// The name by which this database knows the node
        name: String,
        /// The card, @FILE to read it from a file, - for stdin; a file can be an
        /// export of the node, which begins with its card
        card: String,
        /// Do not ask; the fingerprint was compared
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        address: AddressArgs,
    },
    /// Say where the server of a peer is, and what token it gave to this node
    #[command(after_help = "\
Examples:
  thingdb peer set hall-1 --url https://hall-1.example:5001 --token-file hall-1.token
  thingdb peer set hall-1 --token-file new.token
  thingdb peer set hall-1 --tls-fingerprint HEX")]
    Set {
        /// The peer
        name: String,
        #[command(flatten)]
        address: AddressArgs,
    },
    /// Forget what a peer showed of its ledger, after it was looked at: the next
    /// exchange begins anew
    ForgetCheckpoint {
        /// The peer
        name: String,
    },
    /// List the peers
    Ls,
    /// Print one peer and its actors
    Show {
        /// The peer
        name: String,
    },
    /// Forget a peer: accept nothing new from it, seal nothing new to it, and end
    /// the tokens that were made for it
    Rm {
        /// The peer
        name: String,
    },
}

/// Where the server of a peer is.
#[derive(Debug, clap::Args)]
pub(crate) struct AddressArgs {
    /// Where its server is: https://HOST:PORT; stays what it was if absent
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The file with the token that it gave to this node, - for stdin; stays
    /// what it was if absent
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// SHA-256 of its certificate, if it is another one than its card names;
    /// --url without it means that of the card
    #[arg(long, value_name = "HEX")]
    tls_fingerprint: Option<String>,
}

#[derive(Serialize)]
struct Known {
    name: String,
    fingerprint: String,
    origin: String,
    encryption_key: String,
    since: String,
    #[serde(skip)]
    time: thingdb::Time,
    actors: Vec<Listed>,
    card: String,
    url: Option<String>,
    /// Whether it gave a token to this node.
    has_token: bool,
    /// SHA-256 of its certificate, if it is not the one that its card names.
    tls: Option<String>,
    /// How it contradicted what it showed of its ledger, if it did.
    contradiction: Option<Contradicted>,
    /// How the last exchanges that this node began ended.
    exchange: Exchanged,
}

#[derive(Serialize)]
struct Exchanged {
    succeeded: Option<String>,
    failed: Option<String>,
    /// The word for why that one failed.
    why: Option<String>,
}

impl From<Exchanges> for Exchanged {
    fn from(exchanges: Exchanges) -> Self {
        let (failed, why) = exchanges.failed.map(|(at, why)| (at.to_string(), why)).unzip();
        Self { succeeded: exchanges.succeeded.map(|at| at.to_string()), failed, why }
    }
}

/// A peer that is forgotten, and what went with it.
#[derive(Serialize)]
struct Removed {
    #[serde(flatten)]
    peer: Known,
    /// Names of tokens.
    tokens_ended: Vec<String>,
    actors_ended: Vec<String>,
    actors_kept: Vec<String>,
}

#[derive(Serialize)]
struct Contradicted {
    found: &'static str,
    file: String,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    key: String,
    trusted: bool,
    /// When trust was withdrawn, if it was.
    withdrawn: Option<String>,
}

/// Runs one of the peer commands.
pub(crate) fn run(context: &Context, command: &Command) -> Outcome {
    let db = context.open()?;
    match command {
        Command::Add { name, card, yes, address } => {
            let (card, whence) = card::read(&context.console, card)?;
            if whence == card::Whence::Stream {
                context
                    .console
                    .note("the card is the one at the beginning of that stream, put there by whoever wrote it");
            }
            let introduction = db.introduce(name, &card)?;
            warn(&context.console, &introduction);
            for (key, name) in &introduction.actors {
                names::tell_namesake(&context.console, &db, name, key);
            }
            if !yes {
                confirm(context, &introduction)?;
            }
            // Read first: a file that is not there must not leave half a peer.
            let before = if introduction.known { db.peer_address(name)? } else { None };
            let address = read_address(&context.console, address, before)?;
            db.add_peer(name, &card)?;
            if let Some(address) = &address {
                db.set_peer_address(name, address)?;
            }
            let peer = known(&db, &db.peer(name)?)?;
            context.close(db);
            context.did(CHANGED);
            show(context, &peer)
        }
        Command::Set { name, address } => {
            let address = read_address(&context.console, address, db.peer_address(name)?)?.ok_or_else(|| {
                Failure::usage("what is to be set?")
                    .hint("--url https://HOST:PORT, --token-file FILE, --tls-fingerprint HEX")
            })?;
            db.set_peer_address(name, &address)?;
            let peer = known(&db, &db.peer(name)?)?;
            context.close(db);
            context.did(CHANGED);
            show(context, &peer)
        }
        Command::ForgetCheckpoint { name } => {
            let peer = db.peer(name)?;
            db.forget_checkpoint(&peer.origin())?;
            let peer = known(&db, &peer)?;
            context.close(db);
            context.did(CHANGED);
            context.console.note("the evidence stays where it is; the next exchange compares everything anew");
            show(context, &peer)
        }
        Command::Ls => {
            let peers = db.peers()?.iter().map(|peer| known(&db, peer)).collect::<Outcome<Vec<Known>>>()?;
            list(context, &peers)
        }
        Command::Show { name } => show(context, &known(&db, &db.peer(name)?)?),
        Command::Rm { name } => {
            let peer = known(&db, &db.peer(name)?)?;
            let gone = db.remove_peer(name)?;
            context.close(db);
            context.did(CHANGED);
            removed(context, peer, &gone)
        }
    }
}

/// What a person should know of a card beside its fingerprint.
fn warn(console: &Console, introduction: &Introduction) {
    let peer = printable(&introduction.name);
    if introduction.outdated {
        let fact = format!("{peer} is known by a newer card than this one, which changes nothing");
        console.warning("older-card", fact).say();
    }
    for (key, name) in &introduction.dropped {
        let name = printable(name);
        console
            .warning("actor-left", format!("{name} is not on the new card of {peer} and stays trusted  {key}"))
            .hint(format!("thingdb actor untrust {key}, if nothing more is to be accepted from it"))
            .say();
    }
    if let Some((name, at)) = &introduction.was_withdrawn {
        let name = printable(name);
        console
            .warning("node-withdrawn", format!("this node was known as {name}, and trust in it was withdrawn on {at}"))
            .cause("to add it takes that back")
            .say();
    }
    if let Some(other) = introduction.name_was {
        console
            .warning("other-node", format!("{peer} was the name of another node, with the fingerprint {other}"))
            .say();
    }
    for withdrawn in &introduction.withdrawn {
        let (name, at) = (printable(&withdrawn.known), withdrawn.at);
        let fact =
            format!("the card lists {name}, in whom trust was withdrawn on {at} and stays so  {}", withdrawn.key);
        console
            .warning("actor-withdrawn", fact)
            .hint(format!("thingdb actor trust {}, to take that back", withdrawn.key))
            .say();
    }
    for claim in introduction.claims.iter().filter(|claim| !claim.withdrawn) {
        let (claimed, known) = (printable(&claim.claimed), printable(&claim.known));
        let standing = match claim.how {
            How::Own => format!("an actor of this database, {known}"),
            _ => format!("known here as {known}, and stays so"),
        };
        console
            .warning("actor-claimed", format!("the card lists as {claimed} a key that is {standing}  {}", claim.key))
            .cause("a card may list whom it likes: it does not prove that its node has the keys of its actors")
            .say();
    }
}

fn confirm(context: &Context, introduction: &Introduction) -> Outcome {
    context.console.plain(&format!("{}  fingerprint {}", printable(&introduction.name), introduction.fingerprint));
    for (key, name) in &introduction.actors {
        context.console.plain(&format!("  actor {}  {key}", printable(name)));
    }
    if !context.console.stdin().is_terminal() || context.no_input {
        return Err(Failure::usage("whether this is the right fingerprint is for a person to say")
            .hint("compare the fingerprint by another way, then repeat with --yes"));
    }
    if confirm::is_confirmed(&context.console, "Is this the fingerprint that its people gave you?")? {
        return Ok(());
    }
    Err(Failure::declined("the peer was not added"))
}

/// What is known of the server of a peer, with what the arguments say anew.
fn read_address(console: &Console, args: &AddressArgs, known: Option<PeerAddress>) -> Outcome<Option<PeerAddress>> {
    if args.url.is_none() && args.token_file.is_none() && args.tls_fingerprint.is_none() {
        return Ok(None);
    }
    let missing = |what, hint| Failure::usage(what).hint(hint);
    let token = args.token_file.as_deref().map(|file| read_token(console, file)).transpose()?;
    let tls = args.tls_fingerprint.as_deref().map(read_fingerprint).transpose()?;
    let (url, tls) = match (&args.url, &known) {
        (Some(url), _) => {
            let wrong = |problem: &str| missing(format!("{url:?}: {problem}"), "--url https://HOST:PORT");
            let address: Address = url.parse().map_err(wrong)?;
            (address.to_string(), tls)
        }
        (None, Some(known)) => (known.url.clone(), tls.or(known.tls)),
        (None, None) => return Err(missing("where is its server?".to_owned(), "--url https://HOST:PORT")),
    };
    let Some(token) = token.or_else(|| known.map(|known| known.token)) else {
        return Err(missing("what token did it give to this node?".to_owned(), "--token-file FILE"));
    };
    Ok(Some(PeerAddress { url, token, tls }))
}

fn read_fingerprint(hex: &str) -> Outcome<Hash> {
    hex.to_ascii_lowercase().parse().map_err(|_| {
        Failure::usage(format!("{hex:?} is no SHA-256: 64 hex digits"))
            .hint("the member `certificate` of thingdb card --json, at the peer")
    })
}

fn read_token(console: &Console, file: &str) -> Outcome<Zeroizing<String>> {
    crate::cli::remote::read_token(console, Path::new(file), "thingdb token new --peer NAME --scope import,export")
}

fn known(db: &Db, peer: &Peer) -> Outcome<Known> {
    let here = db.known_actors();
    let address = db.peer_address(&peer.name)?;
    let pinned = address.as_ref().and_then(|address| address.tls).filter(|tls| peer.card.tls != Some(*tls));
    Ok(Known {
        name: peer.name.clone(),
        fingerprint: peer.fingerprint().to_string(),
        origin: peer.origin().to_string(),
        encryption_key: peer.card.encryption_key.to_string(),
        since: peer.since.to_string(),
        time: peer.since,
        actors: peer
            .card
            .actors
            .iter()
            .map(|(key, name)| {
                let here = here.iter().find(|here| here.key == *key);
                let withdrawn = here.and_then(|here| here.withdrawn);
                Listed {
                    name: name.clone(),
                    key: key.to_string(),
                    trusted: here.is_some() && withdrawn.is_none(),
                    withdrawn: withdrawn.map(|at| at.to_string()),
                }
            })
            .collect(),
        card: peer.card.to_string(),
        has_token: address.is_some(),
        tls: pinned.map(|tls| tls.to_string()),
        url: address.map(|address| address.url),
        contradiction: contradiction(db, peer)?,
        exchange: db.exchanges(&peer.origin())?.into(),
    })
}

/// By what a peer contradicted itself.
fn contradiction(db: &Db, peer: &Peer) -> Outcome<Option<Contradicted>> {
    let told = |found, file: PathBuf| Contradicted { found, file: file.display().to_string() };
    if let Some(conflict) = db.remembered(&peer.origin())?.conflict {
        return Ok(Some(told(conflict.evidence.found.word(), conflict.file)));
    }
    let conflict = db.heads_conflict(&peer.card.node_key)?;
    Ok(conflict.map(|conflict| told(SplitHeads::WORD, conflict.file)))
}

/// Says what went with a peer.
fn removed(context: &Context, peer: Known, gone: &RemovedPeer) -> Outcome {
    let names = |actors: &[(Actor, String)]| actors.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>();
    let tokens = gone.tokens.iter().map(|token| token.name.clone()).collect::<Vec<_>>();
    let removed =
        Removed { peer, tokens_ended: tokens, actors_ended: names(&gone.withdrawn), actors_kept: names(&gone.kept) };
    if context.output.is_json() {
        return context.output.object(&removed);
    }
    let lists = [
        (&removed.tokens_ended, "tokens that end with it"),
        (&removed.actors_ended, "actors that are trusted no more"),
        (&removed.actors_kept, "actors that stay trusted"),
    ];
    for (names, what) in lists.into_iter().filter(|(names, _)| !names.is_empty()) {
        context.console.note(&format!("{what}: {}", printable(&names.join(", "))));
    }
    if !removed.actors_kept.is_empty() {
        context.console.hint("thingdb actor untrust NAME, if nothing more is to be accepted from one of them");
    }
    context.console.note("what it could read it can still read; thingdb readers THING tells what that is");
    show(context, &removed.peer)
}

fn list(context: &Context, peers: &[Known]) -> Outcome {
    match context.output.format() {
        Format::Json | Format::Ndjson => {
            let mut list = context.output.list();
            peers.iter().try_for_each(|peer| list.item(peer))?;
            list.end()
        }
        Format::Raw => peers.iter().try_for_each(|peer| context.output.line(&peer.card)),
        Format::Table => {
            let header = ["name", "fingerprint", "actors", "since (UTC)", "at"];
            let row = |peer: &Known| {
                let actors: Vec<&str> = peer.actors.iter().map(|actor| actor.name.as_str()).collect();
                [
                    printable(&peer.name).into_owned(),
                    peer.fingerprint.clone(),
                    printable(&actors.join(", ")).into_owned(),
                    when::short(peer.time),
                    printable(peer.url.as_deref().unwrap_or_default()).into_owned(),
                ]
            };
            context.output.line(&context.output.table(header, Some(2)).page(peers.iter().map(row)))
        }
    }
}

fn show(context: &Context, peer: &Known) -> Outcome {
    match context.output.format() {
        Format::Json | Format::Ndjson => context.output.object(peer),
        Format::Raw => context.output.line(&peer.card),
        Format::Table => {
            let mut text = context.output.text();
            let name = printable(&peer.name);
            text.line(&format!("{name}  {}  since {} UTC", peer.fingerprint, when::short(peer.time)))?;
            if let Some(url) = &peer.url {
                let token = if peer.has_token { "with a token" } else { "without a token" };
                text.line(&format!("  at    {}  {token}", printable(url)))?;
            }
            if let Some(tls) = &peer.tls {
                text.line(&format!("  tls   {tls}, not that of its card"))?;
            }
            if let Some(Contradicted { found, file }) = &peer.contradiction {
                text.line(&format!("  {found}, see {}", printable(file)))?;
            }
            if let Some(at) = &peer.exchange.succeeded {
                text.line(&format!("  last exchange {at}"))?;
            }
            if let (Some(at), Some(why)) = (&peer.exchange.failed, &peer.exchange.why) {
                text.line(&format!("  last failure  {at}, {}", printable(why)))?;
            }
            for actor in &peer.actors {
                let withdrawn =
                    actor.withdrawn.as_ref().map(|at| format!("  trust withdrawn {at}")).unwrap_or_default();
                text.line(&format!("  actor {}  {}{withdrawn}", printable(&actor.name), actor.key))?;
            }
            text.end()
        }
    }
}
