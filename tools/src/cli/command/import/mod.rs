//! `thingdb import`: a stream of entries, each checked before it is stored.

mod unknown;

use std::io::{self, BufRead, Read};

use clap::ValueEnum;
use thingdb::{Db, ImportOptions, ImportSummary, KnownAs, StreamState, TrustPolicy};

use crate::bytes::{compress, unwrap};
use crate::cli::context::Context;
use crate::cli::input::rejects::Rejects;
use crate::console::Console;
use crate::console::question::Question;
use crate::error::{Exit, Failure, Outcome};
use crate::text::{counted, grouped};
use crate::view::imported::{ImportedJson, RefusalJson};
use crate::view::whole::{contradiction, sentence};

/// Refused lines that are explained on stderr.
const MAX_SHOWN: usize = 10;

/// Arguments of `thingdb import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb import things.ndjson
  thingdb import things.ndjson.zst --dry-run
  ssh hq thingdb export | thingdb import - --rejects refused.ndjson
  thingdb peer add press-7 @press-7.ndjson && thingdb import press-7.ndjson

Entries of nodes and actors that this database does not trust are refused, unless
--trust all is given. To import what is here already does nothing, so an
interrupted import is simply run again.

The stream is ndjson, or a JSON array of lines or of objects, as it is or
compressed with zstd or gzip. Entries whose prev is not here wait until it comes.

It says whether the stream is the whole ledger that its node signed, or a part.
--expect-whole ends with 4 if that is not known; a part is enough where the ledger
here is that whole ledger with it, as after an export --since.

Exit code 6 if lines were refused or the stream was cut; 4 if the stream is not
what its end says, or a node contradicts what it signed before; 15 if a newer
version wrote it. What was good is stored in any case.")]
pub(crate) struct Args {
    /// The file to read, - for stdin
    #[arg(value_name = "FILE|-", default_value = "-")]
    input: String,

    /// Whose entries to accept
    #[arg(long, value_enum, value_name = "WHOSE", default_value_t = Trust::Known)]
    trust: Trust,

    /// Only tell what would become of the stream
    #[arg(long)]
    dry_run: bool,

    /// Stop at the first line that is refused
    #[arg(long)]
    fail_fast: bool,

    /// Fail if the stream is not the whole ledger of its node
    #[arg(long)]
    expect_whole: bool,

    /// Open an archive with the passphrase in this file
    #[arg(long, value_name = "FILE")]
    archive_passphrase_file: Option<String>,

    /// Keep the refused lines in this file, as they came, after what is there
    #[arg(long, value_name = "FILE")]
    rejects: Option<String>,
}

/// Whose entries are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Trust {
    /// Actors in the trust store.
    Known,
    /// Anybody whose signature is good; they are shown as unknown.
    All,
}

/// Imports the stream.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let console = &context.console;
    let source = console.source(&args.input)?;
    let mut rejects = Rejects::open(console, args.rejects.as_ref(), &source)?;
    let unpacked = compress::reader(source).and_then(unwrap::lines);
    let (lines, is_array) = unpacked.map_err(|problem| Failure::file(&args.input, &problem))?;
    let db = context.open()?;
    let _patience = console.patience();
    let before = db.stats()?.entries;
    let imported = import(context, &db, args, (lines, is_array), rejects.as_mut());
    let imported = imported.map_err(|failure| tell_taken(context, &db, before, failure))?;
    let hints = unknown::hints(context, &db, &args.input, &imported.reasons)?;
    context.close(db);
    context.did(format!("{} stored", counted(imported.added, "entry is", "entries are")));
    rejects.map_or(Ok(()), Rejects::end)?;
    let summary = ImportedJson::new(&imported, console.is_interrupted());
    say(context, args, &summary, &imported)?;
    context.told();
    conclude(args, &summary, &imported, hints)
}

/// An import that ended early says how far it came. In a server others write,
/// too, and nobody counts whose entries are whose.
fn tell_taken(context: &Context, db: &Db, before: u64, failure: Failure) -> Failure {
    let taken = db.stats().map_or(0, |stats| stats.entries.saturating_sub(before));
    if taken == 0 || context.is_in_server() {
        return failure;
    }
    let taken = counted(taken, "entry was", "entries were");
    failure.cause(format!("{taken} taken in before that; the same command again takes the rest"))
}

fn import(
    context: &Context,
    db: &Db,
    args: &Args,
    (source, is_array): (impl BufRead, bool),
    rejects: Option<&mut Rejects>,
) -> Outcome<ImportSummary> {
    let mut meter = context.meter("importing");
    let mut progress = |progress: thingdb::Progress| meter.update(progress.done, progress.total, progress.bytes);
    let policy = match args.trust {
        Trust::Known => TrustPolicy::Known,
        Trust::All => TrustPolicy::All,
    };
    let mut options = ImportOptions::new()
        .trust(policy)
        .dry_run(args.dry_run)
        .fail_fast(args.fail_fast)
        .rewritten(is_array)
        .progress(&mut progress);
    let archive =
        args.archive_passphrase_file.as_deref().map(|file| context.ask(&Question::archive(file))).transpose()?;
    if let Some(archive) = &archive {
        options = options.passphrase(archive);
    }
    if let Some(rejects) = rejects {
        options = options.rejects(rejects.out());
    }
    let imported = db.import(options, Interruptible::new(source, &context.console))?;
    meter.end(imported.added.saturating_add(imported.known), 0);
    Ok(imported)
}

fn say(context: &Context, args: &Args, summary: &ImportedJson, imported: &ImportSummary) -> Outcome {
    if context.output.is_json() {
        return context.output.object(summary);
    }
    let verb = if args.dry_run { "would import" } else { "imported" };
    let mut line = format!("{verb} {}", counted(summary.added, "new entry", "new entries"));
    let parts = [
        (summary.known, "known already"),
        (summary.completed, "completed"),
        (summary.erased, "erased"),
        (summary.pending, "waiting for the entries before them"),
        (summary.refused, "refused"),
        (summary.envelopes_dropped, "envelopes dropped"),
    ];
    for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
        line = format!("{line}, {} {what}", grouped(count));
    }
    context.output.line(&line)?;
    sentence(imported).map_or(Ok(()), |sentence| context.output.line(&sentence))
}

fn conclude(args: &Args, summary: &ImportedJson, imported: &ImportSummary, hints: Vec<String>) -> Outcome {
    if summary.interrupted {
        return Err(Failure::new(Exit::Interrupted, "interrupted", "stopped; what was reported as imported is stored")
            .hint("run the same command again: what is stored already is passed over"));
    }
    if let StreamState::Newer(problem) = &imported.stream {
        let fact = format!("a newer version wrote this stream, or a line of it: {problem}");
        return Err(with_reasons(Failure::newer(fact), summary));
    }
    if let Some(conflict) = imported.conflicts.first() {
        let ledger = imported.stream.ledger().filter(|ledger| ledger.node == conflict.evidence.node);
        let name = match ledger.map(|ledger| &ledger.known) {
            Some(KnownAs::Peer(name)) => name.clone(),
            _ => conflict.evidence.node.origin().to_string(),
        };
        return Err(contradiction(conflict, &name));
    }
    if let StreamState::Damaged(problem) = &imported.stream {
        let fact = format!("the stream is damaged: {problem}");
        return Err(with_reasons(Failure::new(Exit::NotVerified, "damaged-stream", fact), summary));
    }
    if matches!(imported.stream, StreamState::Cut) {
        let good = summary.added.saturating_add(summary.known).saturating_add(summary.completed);
        let good = format!("{} before the cut", counted(good, "entry is good", "entries are good"));
        let failure = Failure::new(Exit::Partly, "cut-stream", "the stream ends before its end: entries are missing");
        let failure = failure.causes(imported.broken.clone()).cause(good);
        return Err(with_reasons(failure, summary).hint("export again; what is stored already is passed over"));
    }
    if summary.refused > 0 {
        let fact = format!("{} refused, {} stored", counted(summary.refused, "line", "lines"), grouped(summary.added));
        let failure = with_reasons(Failure::new(Exit::Partly, "bad-lines", fact), summary);
        let failure = hints.into_iter().fold(failure, Failure::hint);
        let failure = match imported.kept_bare {
            0 => failure,
            bare => failure.cause(format!(
                "{} kept without envelopes, which would take far more than the stream has",
                counted(bare, "entry is", "entries are")
            )),
        };
        return Err(match &args.rejects {
            Some(path) => failure.hint(format!("the refused lines are in {path}; the others need no repeating")),
            None => failure.hint("--rejects FILE keeps the refused lines"),
        });
    }
    let is_whole = matches!(imported.stream, StreamState::Whole(_));
    if args.expect_whole && !is_whole && !imported.stream.ledger().is_some_and(|ledger| ledger.is_here) {
        let fact = "the stream is not known to be the whole ledger of its node; what came is stored";
        let failure = Failure::new(Exit::NotVerified, "not-whole", fact).causes(sentence(imported));
        return Err(failure.hint("ask its people for an export of everything: thingdb export -o FILE, there"));
    }
    Ok(())
}

fn with_reasons(failure: Failure, summary: &ImportedJson) -> Failure {
    let cause = |reason: &RefusalJson| match reason.column {
        Some(column) => format!("line {}, column {column}: {}", reason.line, reason.reason),
        None => format!("line {}: {}", reason.line, reason.reason),
    };
    let failure = failure.causes(summary.reasons.iter().take(MAX_SHOWN).map(cause));
    let more = summary.refused.saturating_sub(MAX_SHOWN as u64);
    if more > 0 { failure.cause(format!("and {} more", grouped(more))) } else { failure }
}

/// A source that ends, after the line that is being read, when somebody wants
/// the import to stop.
struct Interruptible<'a, R> {
    source: R,
    console: &'a Console,
    is_within_line: bool,
}

impl<'a, R: BufRead> Interruptible<'a, R> {
    const fn new(source: R, console: &'a Console) -> Self {
        Self { source, console, is_within_line: false }
    }
}

impl<R: BufRead> Read for Interruptible<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Interruptible<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.console.is_interrupted() && !self.is_within_line {
            return Ok(&[]);
        }
        self.source.fill_buf()
    }

    fn consume(&mut self, used: usize) {
        // What is consumed is in the buffer, so this reads nothing.
        if let (Some(last), Ok(buffer)) = (used.checked_sub(1), self.source.fill_buf()) {
            self.is_within_line = buffer.get(last) != Some(&b'\n');
        }
        self.source.consume(used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_knows_where_lines_end() {
        let console = Console::of_process().unwrap();
        let mut source = Interruptible::new(&b"one\ntwo"[..], &console);
        let mut line = String::new();
        source.read_line(&mut line).unwrap();
        assert!(!source.is_within_line);
        source.read_line(&mut line).unwrap();
        assert!(source.is_within_line);
        assert_eq!(line, "one\ntwo");
    }
}
