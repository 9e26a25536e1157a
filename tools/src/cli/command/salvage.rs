//! `thingdb salvage`: a new database from what is left of a damaged one.

use std::path::{Path, PathBuf};

use serde::Serialize;
use thingdb::{Db, ImportSummary, Options, Salvage, Salvaged, StreamState};

use crate::bytes::{compress, unwrap};
use crate::cli::context::{self, Context};
use crate::cli::way_back;
use crate::error::{Exit, Failure, Outcome};
use crate::server::certificate;
use crate::text::{counted, grouped, quoted_path};

/// Missing entries and problems that are told on stderr.
const MAX_SHOWN: usize = 10;

/// What it means if ledgers differ.
const DIFFER: &str = "a copy of the database was set back and written to: the node has a new key, because the former \
                      one cannot sign for two ledgers; entries that only the other ledger had are behind those of \
                      the one that it signed for";

/// Arguments of `thingdb salvage`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb salvage things --out new
  thingdb salvage things --out new --from backup --from export.ndjson.zst

Whatever can still be read is read: the journal, the log of the storage with what
it has left of earlier states, backups, exports. Each entry is verified. Only the
keyring has to be whole; from it and an export alone it makes the node again.

Nothing in the damaged directory is changed. Keep it until all is there.

If something is missing, or nobody can say that nothing is, the node goes on under
a new node key, because the old one has signed for what was. Peers need its new
card then.

If two sources have other entries at the same places of the ledger (one was set back
and written to), the ledger is that which the node signed for last. The entries that
only the other has come behind it, as if they came from elsewhere.

Exit code 0 if nothing is missing; 6 if something is, and it is named, or if two
ledgers of the node differ.")]
pub(crate) struct Args {
    /// The directory of the damaged database; else that of --db
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,

    /// The new directory
    #[arg(long, value_name = "NEW")]
    out: PathBuf,

    /// An export, or a directory with a backup of the same database
    #[arg(long, value_name = "FILE|DIR")]
    from: Vec<PathBuf>,
}

#[derive(Serialize)]
struct SalvagedJson {
    db: String,
    entries: u64,
    missing: u64,
    missing_entries: Vec<MissingJson>,
    problems: Vec<String>,
    problems_total: u64,
    ledgers_differ: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_key: Option<String>,
}

#[derive(Serialize)]
struct MissingJson {
    position: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

/// Salvages the database.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    if context.is_in_server() {
        return Err(Failure::usage("a server does not salvage"));
    }
    let dir = match &args.dir {
        Some(dir) => dir,
        None => context.dir()?,
    };
    context::reachable(dir)?;
    let (backups, exports): (Vec<_>, Vec<_>) = args.from.iter().cloned().partition(|from| from.is_dir());
    if !Db::exists(dir) {
        let fact = format!("no keyring in {}: without it nothing can be read", dir.display());
        let import = way_back::keyring(dir).replacen("thingdb", &format!("thingdb --db {}", quoted_path(dir)), 1);
        return Err(
            Failure::new(Exit::NoDatabase, "no-database", fact).hint(format!("{import}; then run the command again"))
        );
    }
    let salvage = context.with_unlock(dir, |unlock| Options::new().salvage(dir, &args.out, unlock, &backups))?;
    let mut not_whole = Vec::new();
    for export in &exports {
        let imported = import(context, &salvage, export)?;
        if imported.refused + imported.pending > 0 {
            not_whole.push(format!("not all that is in {} could be taken", export.display()));
        }
        if matches!(imported.stream, StreamState::Cut | StreamState::Damaged(_)) {
            not_whole.push(format!("{} is cut or damaged: what it lacks, nobody can tell", export.display()));
        }
    }
    if salvage.node_key().is_some() {
        certificate::renew(salvage.db())?;
    }
    let salvaged = salvage.finish()?;
    context.did(format!("{} made", quoted_path(&args.out)));
    say(context, args, &salvaged)?;
    context.told();
    conclude(dir, args, &salvaged)?;
    if not_whole.is_empty() {
        context
            .console
            .hint(&format!("thingdb --db {} verify; then it takes the place of the other", quoted_path(&args.out)));
        return Ok(());
    }
    let fact = "no entry that is known of is missing, but not all of a source could be read and taken";
    Err(Failure::new(Exit::Partly, "damaged", fact).causes(not_whole).hint("--from FILE, with another copy"))
}

fn import(context: &Context, salvage: &Salvage, path: &Path) -> Outcome<ImportSummary> {
    let name = path.display().to_string();
    let source = context.console.source(&name)?;
    let (lines, _) =
        compress::reader(source).and_then(unwrap::lines).map_err(|problem| Failure::file(&name, &problem))?;
    let imported = salvage.import(lines)?;
    let fact = format!("{name}: {}", counted(imported.added, "entry that was missing", "entries that were missing"));
    context.console.note(&fact);
    if imported.pending > 0 {
        let fact = format!(
            "{name}: {} no source has",
            counted(imported.pending, "entry follows one that", "entries follow some that")
        );
        context.console.warning("waiting", fact).say();
    }
    if imported.refused > 0 {
        let fact = format!("{name}: {} refused", counted(imported.refused, "line is", "lines are"));
        context.console.warning("bad-lines", fact).say();
    }
    Ok(imported)
}

fn say(context: &Context, args: &Args, salvaged: &Salvaged) -> Outcome {
    if context.output.is_json() {
        return context.output.object(&SalvagedJson {
            db: args.out.display().to_string(),
            entries: salvaged.entries,
            missing: salvaged.missing_total,
            missing_entries: salvaged
                .missing
                .iter()
                .map(|one| MissingJson { position: one.position, id: one.id.map(|id| id.to_string()) })
                .collect(),
            problems: salvaged.problems.iter().map(ToString::to_string).collect(),
            problems_total: salvaged.problems_total,
            ledgers_differ: salvaged.ledgers_differ,
            node_key: salvaged.node_key.map(|key| key.to_string()),
        });
    }
    let out = args.out.display();
    context.output.line(&format!("salvaged {} into {out}", counted(salvaged.entries, "entry", "entries")))?;
    if let Some(key) = salvaged.node_key {
        context.output.line(&format!("the node has the new key {}", key.fingerprint()))?;
        let card = format!("hand the new card to peers: thingdb --db {} card", quoted_path(&args.out));
        context.console.note(&card);
    }
    Ok(())
}

/// Nothing is missing, but the node has signed two ledgers.
fn differs(args: &Args) -> Failure {
    let out = quoted_path(&args.out);
    let fact = "no entry that was found is missing, but two ledgers of the node differ";
    Failure::new(Exit::Partly, "ledgers-differ", fact)
        .cause(DIFFER)
        .hint(format!("thingdb --db {out} verify; then it takes the place of the other"))
        .hint("nothing more is to be written where the former key is: in the sources, and in copies of them")
}

fn conclude(dir: &Path, args: &Args, salvaged: &Salvaged) -> Outcome {
    if salvaged.is_whole() {
        if salvaged.ledgers_differ {
            return Err(differs(args));
        }
        return Ok(());
    }
    let missing = salvaged.missing_total;
    let fact = match missing {
        0 => format!("{} not whole", counted(salvaged.problems_total, "entry is", "entries are")),
        missing => format!("{} missing", counted(missing, "entry is", "entries are")),
    };
    let mut causes: Vec<_> = salvaged
        .missing
        .iter()
        .take(MAX_SHOWN)
        .map(|one| match one.id {
            Some(id) => format!("position {}: {id}", one.position),
            None => format!("position {}", one.position),
        })
        .collect();
    if missing > MAX_SHOWN as u64 {
        causes.push(format!("and {} more", grouped(missing - MAX_SHOWN as u64)));
    }
    if salvaged.ledgers_differ {
        causes.push(DIFFER.to_owned());
    }
    causes.extend(salvaged.problems.iter().take(MAX_SHOWN).map(ToString::to_string));
    let failure = Failure::new(Exit::Partly, "incomplete", fact).causes(causes);
    let (dir, out) = (quoted_path(dir), quoted_path(&args.out));
    Err(failure
        .hint(format!("a backup, an export or a peer may have them: thingdb salvage {dir} --out {out} --from FILE|DIR"))
        .hint(format!("keep {dir} until all is there")))
}
