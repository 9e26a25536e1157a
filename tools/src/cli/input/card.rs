//! Cards as arguments name them, and as streams begin with them.

use std::io::{self, BufRead, BufReader, Read};

use thingdb::format::frame::Decoder;
use thingdb::format::{Line, StreamHeader};
use thingdb::{Card, Db, Refusal, RefusalCode};

use crate::bytes::{compress, unwrap};
use crate::cli::context::Context;
use crate::cli::input;
use crate::console::Console;
use crate::error::{Failure, Outcome};
use crate::text::{self, after_mark, quoted, quoted_path};

/// What the text of a card begins with, of whatever version.
const CARD: &str = "tdbcard";

/// What a binary stream begins with.
const BINARY: &[u8] = b"tdbs";

/// The longest header of a stream: a card, a checkpoint, and what JSON adds.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Where a card stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whence {
    /// By itself.
    Card,
    /// At the beginning of a stream.
    Stream,
}

/// The card that an argument names: its text, a file (`FILE`, `@FILE`) or `-`. A
/// file can also be a stream, which begins with the card of the node that wrote it.
pub(crate) fn read(console: &Console, argument: &str) -> Outcome<(Card, Whence)> {
    // No file is meant by what begins as every card does.
    if argument.trim_start().as_bytes().starts_with(CARD.as_bytes()) {
        return Ok((parse(argument)?, Whence::Card));
    }
    let path = argument.strip_prefix('@').unwrap_or(argument);
    let mut source = BufReader::new(console.source(path)?);
    let name = if path == "-" { "stdin" } else { path };
    let failed = |problem: io::Error| Failure::file(name, &problem);
    let start = after_mark(source.fill_buf().map_err(failed)?).map_err(|problem| Failure::utf16(name, &problem))?;
    let start = start.trim_ascii_start();
    if start.is_empty() || start.starts_with(CARD.as_bytes()) {
        let mut bytes = Vec::new();
        source.take(MAX_HEADER_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        return Ok((parse(&input::text(bytes)?)?, Whence::Card));
    }
    match of_stream(source) {
        Ok(Some(card)) => Ok((card, Whence::Stream)),
        _ => Err(no_card("it begins neither as a card nor as a stream with one")),
    }
}

/// The cards of nodes that are to be trusted. One that came with a stream is no
/// reason to trust that stream.
pub(crate) fn trusted(console: &Console, arguments: &[String]) -> Outcome<Vec<Card>> {
    let trusted = |argument: &String| match read(console, argument)? {
        (card, Whence::Card) => Ok(card),
        (_, Whence::Stream) => Err(Failure::usage(format!("{argument} is a stream and no card"))
            .hint("at the node: thingdb card > NAME.card, and a safe way from there")),
    };
    arguments.iter().map(trusted).collect()
}

fn parse(text: &str) -> Outcome<Card> {
    let text = text.trim();
    if let Some(found) = text.split_once(':').and_then(|(start, _)| text::newer_version(start, CARD)) {
        return Err(Failure::newer(format!("this is a card of version {found}, and this program reads version 1")));
    }
    text.parse().map_err(|problem: thingdb::format::Error| {
        let why = problem.to_string();
        // Zero is no version at all.
        let is_version = !matches!(problem, thingdb::format::Error::NewerVersion { found: 0, .. });
        let is_newer = problem.is_newer_version() && is_version;
        if is_newer { Failure::newer(format!("this card: {why}")) } else { no_card(&why) }
    })
}

fn no_card(problem: &str) -> Failure {
    Failure::usage(format!("this is no card: {problem}")).hint("at the node whose card it is: thingdb card > NAME.card")
}

/// The card in the header of a stream, in whichever form and compressed or not.
fn of_stream(source: impl Read) -> io::Result<Option<Card>> {
    let mut start = Vec::new();
    unwrap::lines(compress::reader(source)?)?.0.take(MAX_HEADER_BYTES).read_to_end(&mut start)?;
    if start.starts_with(BINARY) {
        return Ok(match Decoder::default().next(&start) {
            Ok(Some((Line::Header(header), _))) => header.card,
            _ => None,
        });
    }
    let first = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(StreamHeader::decode(first, 1).ok().and_then(|header| header.card))
}

/// What helps when entries of a stream were refused because their actor or node
/// is not known: commands that can be pasted.
pub(crate) fn hints(context: &Context, db: &Db, path: &str, refusals: &[Refusal]) -> Outcome<Vec<String>> {
    let thingdb = command(context);
    let of = |codes: [RefusalCode; 2]| refusals.iter().filter(move |refusal| codes.contains(&refusal.code));
    let mut hints = Vec::new();
    let withdrawn: Vec<&Refusal> = of([RefusalCode::WithdrawnActor, RefusalCode::WithdrawnOrigin]).collect();
    if !withdrawn.is_empty() {
        let names = |key: &str| withdrawn.iter().any(|refusal| refusal.reason.contains(key));
        let actors = db.known_actors().into_iter();
        let actors = actors.filter(|known| known.withdrawn.is_some() && names(&known.key.to_string()));
        hints.extend(
            actors.map(|known| format!("{thingdb} actor trust {}, if the withdrawal is to be taken back", known.key)),
        );
        let nodes = db.known_origins().into_iter();
        let nodes = nodes.filter(|known| known.withdrawn.is_some() && names(&known.key.origin().to_string()));
        hints.extend(nodes.map(|known| {
            let name = quoted(&known.name);
            format!("{thingdb} peer add {name} @CARD, if {name} is to be a peer again")
        }));
    }
    let unknown: Vec<&Refusal> = of([RefusalCode::UnknownActor, RefusalCode::UnknownOrigin]).collect();
    if unknown.is_empty() {
        return Ok(hints);
    }
    let is_refused = |key: &str| unknown.iter().any(|refusal| refusal.reason.contains(key));
    let card = if path == "-" { None } else { of_file(&context.console, path) };
    let is_wanted = |card: &Card| {
        is_refused(&card.node_key.origin().to_string())
            || card.actors.iter().any(|(key, _)| is_refused(&key.to_string()))
    };
    let Some(card) = card.filter(is_wanted) else {
        hints.push("ask whoever wrote them for the card of their node (there: thingdb card > NAME.card)".to_owned());
        hints
            .push(format!("compare its fingerprint with them by another way, then {thingdb} peer add NAME @NAME.card"));
        return Ok(hints);
    };
    let file = quoted(path);
    let fingerprint = card.node_key.fingerprint();
    hints.push(format!("ask its people by another way whether the fingerprint of their node is {fingerprint}"));
    hints.push(format!("{thingdb} peer add {} {}", quoted(&name(db, &card)?), quoted(&format!("@{path}"))));
    hints.push(format!("{thingdb} import {file}"));
    Ok(hints)
}

/// The command as it finds the database again.
fn command(context: &Context) -> String {
    match context.named_dir() {
        Some(dir) => format!("thingdb --db {}", quoted_path(dir)),
        None => "thingdb".to_owned(),
    }
}

fn of_file(console: &Console, path: &str) -> Option<Card> {
    of_stream(console.source(path).ok()?).ok().flatten()
}

/// A name for the node of a card: the one that it has here, or one that is free.
fn name(db: &Db, card: &Card) -> Outcome<String> {
    let peers = db.peers()?;
    if let Some(known) = peers.iter().find(|peer| peer.card.node_key == card.node_key) {
        return Ok(known.name.clone());
    }
    let claimed = [&card.name].into_iter().chain(card.actors.iter().map(|(_, name)| name));
    let is_word = |name: &&String| {
        !name.is_empty()
            && !name.starts_with('-')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let origin = card.node_key.origin().to_string();
    let short = format!("node-{}", origin.get(..8).unwrap_or(&origin));
    let names = claimed.filter(is_word).cloned().chain([short]);
    let is_free = |name: &String| peers.iter().all(|peer| peer.name != *name);
    Ok(names.into_iter().find(is_free).unwrap_or(origin))
}
