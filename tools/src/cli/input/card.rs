//! Cards as arguments name them, and as streams begin with them.

use std::io::{self, BufRead, BufReader, Read};

use thingdb::Card;
use thingdb::format::frame::Decoder;
use thingdb::format::{Line, StreamHeader};

use crate::bytes::{compress, unwrap};
use crate::cli::input;
use crate::console::Console;
use crate::error::{Failure, Outcome};
use crate::text::{self, after_mark};

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

/// The card with which the stream in a file begins, if it has one.
pub(crate) fn of_file(console: &Console, path: &str) -> Option<Card> {
    of_stream(console.source(path).ok()?).ok().flatten()
}
