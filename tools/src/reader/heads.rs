//! Says that a thing has forked: nobody is to take one of several heads for all
//! that there is.

use super::Reader;
use crate::console::Console;
use crate::console::talk::Warning;
use crate::error::{Exit, Failure, Outcome};
use crate::text::{printable, quoted};
use crate::view::details::State;
use crate::view::entry::Entry;
use crate::view::fork::{EndJson, ForkJson};
use crate::view::{id, when};

/// Heads that are named; there may be very many.
const MAX_NAMED: usize = 8;

/// Warns if the thing of this entry has several heads.
pub(crate) fn warn(console: &Console, entry: &Entry) {
    if entry.heads() > 1 {
        let thing = printable(entry.thing());
        let fact = format!("{thing} has {} heads, entries that no other follows", entry.heads());
        console.warning("fork", fact).hint(format!("thingdb forks {}", quoted(entry.thing()))).say();
    }
}

/// Warns if the latest entry of a thing is one of several heads, and tells
/// which other heads can be read if it cannot.
pub(crate) fn warn_of_latest(console: &Console, reader: &dyn Reader, latest: &Entry) -> Outcome {
    if latest.heads() < 2 {
        return Ok(());
    }
    let (thing, id) = (printable(latest.thing()), id::short(&latest.id()));
    let hints = if latest.state() == State::Open { Vec::new() } else { readable(reader, latest)? };
    let fact = format!("{thing} has {} heads; {id} is the latest of them", latest.heads());
    let warning = console.warning("fork", fact).hint(format!("thingdb forks {}", quoted(latest.thing())));
    hints.into_iter().fold(warning, Warning::hint).say();
    Ok(())
}

/// Refuses to choose among several heads.
pub(crate) fn refuse(reader: &dyn Reader, entry: &Entry, is_latest: bool) -> Outcome {
    if entry.heads() < 2 {
        return Ok(());
    }
    let thing = printable(entry.thing());
    if !is_latest {
        let fact = format!("{thing} had {} heads then, and --strict chooses none", entry.heads());
        let graph = format!("thingdb log {} --graph", quoted(entry.thing()));
        return Err(Failure::new(Exit::Conflict, "forked", fact).hint(graph));
    }
    let heads = fork(reader, entry.thing())?.map_or_else(Vec::new, |fork| fork.heads);
    let mut lines: Vec<String> = heads.iter().take(MAX_NAMED).map(line).collect();
    if let Some(others @ 1..) = heads.len().checked_sub(MAX_NAMED) {
        lines.push(format!("and {others} others"));
    }
    let fact = format!("{thing} has {} heads, and --strict chooses none", entry.heads());
    Err(Failure::new(Exit::Conflict, "forked", fact)
        .causes(lines)
        .hint(format!("thingdb get {} --id ID", quoted(entry.thing())))
        .hint(format!("thingdb resolve {} --keep ID --reason TEXT", quoted(entry.thing()))))
}

/// Why there is no data of the latest entry, and which other heads there are
/// that can be read. None of them is taken for the latest.
pub(crate) fn not_readable(reader: &dyn Reader, latest: &Entry) -> Failure {
    let mut failure = latest.not_readable();
    if latest.heads() > 1 {
        match readable(reader, latest) {
            Ok(hints) => {
                let thing = printable(latest.thing());
                failure = failure.cause(format!("it is the latest of the {} heads of {thing}", latest.heads()));
                failure = hints.into_iter().fold(failure, Failure::hint);
            }
            Err(problem) => failure = failure.cause(problem.whole()),
        }
    }
    failure
}

/// Commands that give the heads that can be read.
fn readable(reader: &dyn Reader, latest: &Entry) -> Outcome<Vec<String>> {
    let heads = fork(reader, latest.thing())?.map_or_else(Vec::new, |fork| fork.heads);
    let thing = quoted(latest.thing());
    let readable = heads.iter().filter(|head| head.readable).take(3);
    Ok(readable
        .map(|head| format!("another head can be read: thingdb get {thing} --id {}", id::short(&head.id)))
        .collect())
}

fn fork(reader: &dyn Reader, thing: &str) -> Outcome<Option<ForkJson>> {
    reader.forks(Some(thing))?.next().transpose()
}

fn line(head: &EndJson) -> String {
    let name = printable(head.actor.name.as_deref().unwrap_or("?")).into_owned();
    let key = if head.actor.trusted { "trusted" } else { "unknown" };
    format!("{}  seq {}  {}  by {name} ({key} key)", head.id, head.seq, when::short(head.time))
}
