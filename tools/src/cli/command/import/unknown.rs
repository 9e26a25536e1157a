//! What helps where entries were refused because of who wrote them.

use thingdb::{Card, Db, Refusal, RefusalCode};

use crate::cli::context::Context;
use crate::cli::input::card;
use crate::error::Outcome;
use crate::text::{quoted, quoted_path};

/// What helps when entries of a stream were refused because their actor or node
/// is not known: commands that can be pasted.
pub(super) fn hints(context: &Context, db: &Db, path: &str, refusals: &[Refusal]) -> Outcome<Vec<String>> {
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
    let card = if path == "-" { None } else { card::of_file(&context.console, path) };
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
