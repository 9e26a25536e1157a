//! Entries in words: who signed, whether that is to be believed, and all of it in
//! one line.

use std::borrow::Cow;

use thingdb::Time;
use thingdb::format::erasure::{self, Erasure};

use super::entry::Entry;
use super::paint::{Paint, Painted};
use super::{id, when};
use crate::text::{counted, printable};

/// The name of the actor, or the start of its key.
pub(crate) fn actor(entry: &Entry) -> String {
    match entry.actor_name() {
        Some(name) => printable(name).into_owned(),
        None => entry.actor().to_string().chars().take(8).collect(),
    }
}

/// Whether the key is known here.
pub(crate) fn trust(entry: &Entry) -> &'static str {
    match (entry.is_trusted(), entry.is_withdrawn()) {
        _ if entry.is_revoked() => "revoked",
        (true, _) => "trusted",
        (false, true) => "withdrawn",
        (false, false) => "unknown",
    }
}

/// The same with its colour.
pub(crate) fn painted_trust(entry: &Entry) -> Painted {
    let paint = match (entry.is_trusted(), entry.is_withdrawn()) {
        _ if entry.is_revoked() => Paint::Bad,
        (true, _) => Paint::Plain,
        (false, true) => Paint::Bad,
        (false, false) => Paint::Doubtful,
    };
    Painted::default().and(paint, trust(entry))
}

/// Who signed, and whether the key is known here.
pub(crate) fn signer(entry: &Entry) -> Painted {
    Painted::from(format!("{} (", actor(entry))).with(painted_trust(entry)).and(Paint::Plain, " key)")
}

/// What was done. The word of erasure records is for these alone.
pub(crate) fn action(entry: &Entry) -> Cow<'_, str> {
    match entry.action() {
        None => format!("({})", entry.state().word()).into(),
        Some(erasure::ACTION) if !entry.is_erasure() => "erase (no record)".into(),
        Some(erasure::ACTION) if entry.erasure().is_none() => "erase (no valid record)".into(),
        Some(action) => printable(action),
    }
}

/// What an erasure record says, in one line.
pub(crate) fn erasure(said: &Erasure) -> String {
    let basis = said.basis().map(|basis| format!(" ({basis})")).unwrap_or_default();
    let entries = counted(said.entries().len() as u64, "entry", "entries");
    format!("{entries}: {}{basis}", printable(said.reason()))
}

/// An entry in one line.
pub(crate) fn headline(entry: &Entry) -> Painted {
    if let Some(original) = entry.original() {
        let start = format!(
            "{} #{}  {}  {} {}, migrated {} by ",
            printable(entry.thing()),
            entry.seq(),
            id::short(&entry.id()),
            action(entry),
            original.phrase(),
            when::short(entry.time()),
        );
        return Painted::from(start).with(signer(entry));
    }
    let start = format!(
        "{} #{}  {}  {}  {} by ",
        printable(entry.thing()),
        entry.seq(),
        id::short(&entry.id()),
        when::short(entry.time()),
        action(entry),
    );
    Painted::from(start).with(signer(entry))
}

/// When an entry counts, who wrote it, and what is to be believed of that: of a
/// migrated entry what its original says.
pub(crate) fn by_whom(entry: &Entry) -> (Time, String, Painted) {
    let Some(original) = entry.original() else { return (entry.time(), actor(entry), painted_trust(entry)) };
    let name = format!("{} (migrated by {})", original.actor(), actor(entry));
    let paint = match (original.verified, original.actor.trusted) {
        (false, _) => Paint::Bad,
        (true, false) => Paint::Doubtful,
        (true, true) => Paint::Plain,
    };
    (original.dated(entry.time()), name, Painted::default().and(paint, original.standing()))
}
