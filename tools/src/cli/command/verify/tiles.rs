//! `thingdb verify --tiles`: a ledger in static files (c2sp.org/tlog-tiles) is checked
//! without a database.

use std::path::Path;

use serde::Serialize;
use thingdb::format::Policy;
use thingdb::format::tiles::{Tile, Tiles, bundle_path, ids};
use thingdb::{Db, SignedCheckpoint};

use crate::cli::context::Context;
use crate::cli::input::folder;
use crate::cli::input::{card, note, tile};
use crate::error::{Exit, Failure, Outcome};
use crate::text::{grouped, quoted_path};
use crate::view::witnessed::Witnessed;

/// The result, and the members of its JSON.
#[derive(Serialize)]
struct TilesJson {
    ok: bool,
    origin: String,
    size: u64,
    root: String,
    /// Whether the node is the one on a card that was given.
    trusted: bool,
    /// Whether the ledger goes on from the checkpoint that was kept.
    kept: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    witnessed: Option<Witnessed>,
    problems: Vec<String>,
}

/// Problems that are told.
const MAX_PROBLEMS: usize = 100;

/// Refuses what cannot be a directory of static files.
fn refuse_other(dir: &Path) -> Outcome {
    folder::must_be(dir).map_err(|failure| match dir.exists() {
        true => failure.hint("thingdb verify FILE checks an export or a proof"),
        false => failure.hint("thingdb checkpoint --publish DIR makes one"),
    })?;
    if Db::exists(dir) {
        return Err(Failure::usage(format!("{} is a database, and has no static files", dir.display()))
            .hint(format!("thingdb --db {} verify", quoted_path(dir))));
    }
    Ok(())
}

/// Checks all files that the checkpoint calls for.
pub(super) fn run(
    context: &Context,
    dir: &Path,
    cards: &[String],
    kept: Option<&SignedCheckpoint>,
    policy: Option<&Policy>,
) -> Outcome {
    refuse_other(dir)?;
    let cards = card::trusted(&context.console, cards)?;
    let signed = note::published(&context.console, &dir.join("checkpoint"))?;
    let claimed = signed.claimed().clone();
    let mut problems = Vec::new();
    let trusted = cards.iter().any(|card| signed.verify(&card.node_key).is_ok());
    if !trusted && !cards.is_empty() {
        problems.push("the checkpoint is signed by no node that you trust".to_owned());
    }
    let (mut tiles, mut known) = (Tiles::default(), None);
    for index in 0.. {
        if context.console.is_interrupted() {
            let fact = "stopped; nothing was checked to its end";
            return Err(Failure::new(Exit::Interrupted, "interrupted", fact));
        }
        let Some(path) = bundle_path(index, claimed.size) else { break };
        let bytes = read(context, dir, &path);
        let found = bytes.as_deref().ok().and_then(ids);
        let Some(found) = found else {
            problems.push(bytes.err().unwrap_or_else(|| format!("{path} holds no ids")));
            break;
        };
        let mut files = Vec::new();
        for id in found {
            known = known.or_else(|| agrees(kept, &tiles));
            tiles.push(&id, &mut files);
        }
        files.iter().for_each(|file| problems.extend(differs(context, dir, file)));
        if problems.len() > MAX_PROBLEMS {
            break;
        }
    }
    known = known.or_else(|| agrees(kept, &tiles));
    tiles.partial().iter().for_each(|file| problems.extend(differs(context, dir, file)));
    if tiles.size() != claimed.size || tiles.root() != claimed.root {
        problems.push("the ids do not lead to the root of the checkpoint".to_owned());
    }
    if let Some(kept) = kept {
        let is_of_it = kept.claimed().origin == claimed.origin;
        match known {
            _ if !is_of_it => problems.push("the kept checkpoint is of another node".to_owned()),
            Some(true) => {}
            Some(false) => problems.push("the ledger did not grow out of the kept checkpoint".to_owned()),
            None => problems.push("the kept checkpoint is of a larger ledger".to_owned()),
        }
    }
    problems.truncate(MAX_PROBLEMS);
    let notes = std::iter::once(&signed).chain(kept.filter(|_| known == Some(true)));
    let witnessed = policy.map(|policy| Witnessed::new(policy, notes, claimed.size, |size| size)).transpose()?;
    let is_met = witnessed.as_ref().is_none_or(Witnessed::is_met);
    let told = TilesJson {
        ok: problems.is_empty() && is_met,
        origin: claimed.origin.to_string(),
        size: claimed.size,
        root: claimed.root.to_string(),
        trusted,
        kept: known,
        witnessed,
        problems,
    };
    say(context, &told)?;
    if !told.problems.is_empty() {
        let fact = format!("what is published in {} does not verify", dir.display());
        return Err(Failure::new(Exit::NotVerified, "not-verified", fact).causes(told.problems.iter().take(3).cloned()));
    }
    told.witnessed.map_or(Ok(()), |witnessed| {
        witnessed.conclude("the directory", "at the node: thingdb checkpoint --publish DIR, which asks the witnesses")
    })
}

/// Whether the ledger has, at the size of the kept checkpoint, the root of that; nothing
/// at another size.
fn agrees(kept: Option<&SignedCheckpoint>, tiles: &Tiles) -> Option<bool> {
    let kept = kept?.claimed();
    (kept.size == tiles.size()).then(|| kept.root == tiles.root())
}

fn say(context: &Context, told: &TilesJson) -> Outcome {
    if context.output.is_json() {
        return context.output.object(told);
    }
    let mut text = context.output.text();
    told.problems.iter().try_for_each(|problem| text.line(problem))?;
    let verdict = if told.ok { "ok" } else { "NOT ok" };
    text.line(&format!("{verdict}  the ids of a ledger of {}", grouped(told.size)))?;
    let trusted = if told.trusted { ", which you trust" } else { "" };
    text.line(&format!("    of the node {}{trusted}", told.origin))?;
    text.line(&format!("    root {}", told.root))?;
    if told.kept == Some(true) {
        text.line("    the kept checkpoint holds: the ledger grew out of it")?;
    }
    for line in told.witnessed.iter().flat_map(Witnessed::in_words) {
        text.line(&format!("    {line}"))?;
    }
    if !told.trusted {
        text.line("not told:")?;
        text.line("    whose ledger it is: you have not said whom you trust (--card @CARD, got by a safe way)")?;
    }
    text.end()
}

/// What is wrong with a file.
fn differs(context: &Context, dir: &Path, file: &Tile) -> Option<String> {
    match read(context, dir, &file.path) {
        Ok(bytes) if bytes == file.bytes => None,
        Ok(_) => Some(format!("{} is not what the ids before it lead to", file.path)),
        Err(problem) => Some(problem),
    }
}

fn read(context: &Context, dir: &Path, path: &str) -> Result<Vec<u8>, String> {
    tile::read(&context.console, &dir.join(path)).map_err(|problem| format!("{path}: {problem}"))
}
