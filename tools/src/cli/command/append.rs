//! `thingdb append`: many entries from ndjson, in batches.

use std::io;
use std::mem;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use serde::Serialize;
use thingdb::{Db, Draft, Durability};

use crate::bytes::compress::Compression;
use crate::bytes::lines::{Event, Line, Lines};
use crate::cli::context::Context;
use crate::cli::global::Speed;
use crate::cli::input::names;
use crate::cli::input::rejects::Rejects;
use crate::cli::input::source::{self, Refused};
use crate::console::Console;
use crate::console::channel::Channel;
use crate::console::progress::{Meter, rate};
use crate::error::{Exit, Failure, Outcome};
use crate::text::{counted, grouped, quoted};

/// A batch is written when it holds this much, however few its lines.
const BATCH_BYTES: usize = 16 * 1_024 * 1_024;

/// A batch is written when nothing came for this long.
const PATIENCE: Duration = Duration::from_millis(250);

/// Refused lines that are explained; the others are counted.
const MAX_REASONS: usize = 1_000;

/// Refused lines that are explained on stderr.
const MAX_SHOWN: usize = 10;

/// Arguments of `thingdb append`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb append readings.ndjson
  sensor | thingdb append --actor press-7 --rejects refused.ndjson

Input, one JSON object a line, as it is or compressed with zstd or gzip:
  {\"thing\":\"part-42\",\"data\":{\"temp\":20.1}}
  {\"thing\":\"part-42\",\"data\":null,\"action\":\"retire\",\"actor\":\"alice\"}
  {\"thing\":\"part-42\",\"data\":{\"temp\":21},\"time\":\"2019-05-04T10:00:00Z\"}

`action` and `actor` may be absent. `time` is what the source claims; the time
that is signed is always this node's. A line with `time` is stored as the data
{\"time\":…,\"data\":…}, so that the claim is kept and seen to be one.

Lines that are refused are named, the others are stored: exit code 6. Ctrl-C
stops after the batch: exit code 130, and what was reported as stored is stored.")]
pub(crate) struct Args {
    /// The file to read, - for stdin
    #[arg(value_name = "FILE|-", default_value = "-")]
    input: String,

    /// Who signs the lines that name no actor
    #[arg(long, value_name = "NAME", env = "THINGDB_ACTOR", hide_env_values = true)]
    actor: Option<String>,

    /// Entries that are signed and stored together
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,

    /// Keep the refused lines in this file, as they came, after what is there
    #[arg(long, value_name = "FILE")]
    rejects: Option<String>,

    /// Stop at the first line that is refused
    #[arg(long)]
    fail_fast: bool,

    /// Keep it possible to show single fields of each entry later by prove, the rest
    /// hidden. It costs hashes for each value, here and whenever it is read
    #[arg(long)]
    fields_provable: bool,

    #[command(flatten)]
    speed: Speed,
}

/// The result, and the members of its JSON.
#[derive(Debug, Default, Serialize)]
struct Summary {
    added: u64,
    known: u64,
    refused: u64,
    lines: u64,
    interrupted: bool,
    reasons: Vec<Reason>,
}

/// Why a line was refused.
#[derive(Debug, Serialize)]
struct Reason {
    line: u64,
    column: usize,
    reason: String,
}

/// How the reading ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    Interrupted,
    FailedFast,
}

/// Reads the input and writes its entries.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let source = context.console.source(&args.input)?;
    let compression = compression(&source);
    // Of a pipe, and of what is compressed, nobody knows it.
    let total_bytes = match compression {
        Some(Compression::None) => source.file().metadata().map_or(0, |data| data.len()),
        _ => 0,
    };
    let rejects = Rejects::open(&context.console, args.rejects.as_ref(), &source)?;
    let db = context.open()?;
    let mut append = Append::new(context, &db, args, rejects, total_bytes)?;
    let _patience = context.console.patience();
    let start = Instant::now();
    let end = append.read(&Lines::spawn(source));
    let mut summary = append.end()?;
    summary.interrupted = end.as_ref().is_ok_and(|end| *end == End::Interrupted);
    let end = if args.speed.relaxed {
        end.and_then(|end| db.close().map(|()| end).map_err(Failure::from))
    } else {
        context.close(db);
        end
    };
    context.did(format!("{} stored", counted(summary.added, "entry is", "entries are")));
    say(context, &summary, start.elapsed())?;
    context.told();
    conclude(args, compression.unwrap_or(Compression::None), &summary, end)
}

/// How the input is compressed, where that can be seen without reading it.
fn compression(source: &Channel) -> Option<Compression> {
    let mut start = [0; 4];
    let read = source.is_regular().then(|| source.file().read_at(&mut start, 0))?.ok()?;
    Some(Compression::of_start(start.get(..read).unwrap_or_default()))
}

fn say(context: &Context, summary: &Summary, elapsed: Duration) -> Outcome {
    if context.output.is_json() {
        return context.output.object(summary);
    }
    let added = counted(summary.added, "entry", "entries");
    let speed = grouped(rate(summary.added, elapsed));
    let mut line = format!("appended {added} in {:.1} s ({speed} a second)", elapsed.as_secs_f64());
    if summary.refused > 0 {
        line = format!("{line}, {} refused", grouped(summary.refused));
    }
    context.output.line(&line)
}

/// What is left to say when not every line was stored.
fn conclude(args: &Args, compression: Compression, summary: &Summary, end: Outcome<End>) -> Outcome {
    let stored = format!("{} stored", counted(summary.added, "entry is", "entries are"));
    let next = summary.lines.saturating_add(1);
    let input = quoted(&args.input);
    let go_on = match compression {
        Compression::None => format!("tail -n +{next} {input} | thingdb append"),
        Compression::Gzip => format!("gzip -dc {input} | tail -n +{next} | thingdb append"),
        Compression::Zstd => format!("zstd -dc {input} | tail -n +{next} | thingdb append"),
    };
    let resume = |failure: Failure| {
        let failure = failure.cause(format!("the next line of the input is line {}", grouped(next)));
        if args.input == "-" { failure } else { failure.hint(&go_on) }
    };
    match end {
        Err(failure) => Err(resume(failure.cause(stored))),
        Ok(End::Interrupted) => {
            Err(resume(Failure::new(Exit::Interrupted, "interrupted", format!("stopped; {stored}"))))
        }
        Ok(_) if summary.refused == 0 => Ok(()),
        Ok(end) => {
            let failure = refusals(args, summary);
            Err(if end == End::FailedFast { resume(failure) } else { failure })
        }
    }
}

fn refusals(args: &Args, summary: &Summary) -> Failure {
    let lines = grouped(summary.lines);
    let fact = format!("{} of {lines} lines refused, {} stored", grouped(summary.refused), grouped(summary.added));
    let shown = summary.reasons.iter().take(MAX_SHOWN);
    let causes = shown.map(|reason| format!("line {}, column {}: {}", reason.line, reason.column, reason.reason));
    let failure = Failure::new(Exit::Partly, "bad-lines", fact).causes(causes);
    let more = summary.refused.saturating_sub(MAX_SHOWN as u64);
    let failure = if more > 0 { failure.cause(format!("and {} more", grouped(more))) } else { failure };
    match &args.rejects {
        Some(path) => failure.hint(format!("the refused lines are in {path}; the others need no repeating")),
        None => failure.hint("--rejects FILE keeps the refused lines; the others need no repeating"),
    }
}

/// The work: lines in, batches out.
struct Append<'a> {
    console: &'a Console,
    db: &'a Db,
    args: &'a Args,
    /// The actors of the database, the one who signs by default first.
    actors: Vec<String>,
    durability: Durability,
    batch: Batch,
    rejects: Option<Rejects>,
    summary: Summary,
    meter: Meter,
    /// Bytes that were read.
    bytes: u64,
    /// Bytes that were read up to the last batch that was written.
    stored_bytes: u64,
    total_bytes: u64,
}

/// Lines that wait to be written, with what was made of them.
#[derive(Default)]
struct Batch {
    lines: Vec<Line>,
    drafts: Vec<Draft>,
    bytes: usize,
}

impl<'a> Append<'a> {
    fn new(
        context: &'a Context,
        db: &'a Db,
        args: &'a Args,
        rejects: Option<Rejects>,
        total_bytes: u64,
    ) -> Outcome<Self> {
        let signer = names::signer(db, args.actor.as_deref())?;
        let others = db.own_actors().into_iter().map(|actor| actor.name).filter(|name| *name != signer);
        let actors = std::iter::once(signer.clone()).chain(others).collect();
        Ok(Self {
            console: &context.console,
            db,
            args,
            actors,
            durability: args.speed.durability(),
            batch: Batch::default(),
            rejects,
            summary: Summary::default(),
            meter: context.meter("appending"),
            bytes: 0,
            stored_bytes: 0,
            total_bytes,
        })
    }

    /// Reads to the end, or until somebody wants it to stop. What was read is
    /// written in any case.
    fn read(&mut self, lines: &Lines) -> Outcome<End> {
        while !self.console.is_interrupted() {
            match lines.next(PATIENCE) {
                Event::Lines(lines) => {
                    for line in lines {
                        if let Some(end) = self.take(line)? {
                            self.write()?;
                            return Ok(end);
                        }
                    }
                    self.progress();
                }
                Event::Silence => {
                    self.write()?;
                    self.progress();
                }
                Event::End => {
                    self.write()?;
                    return Ok(End::Complete);
                }
                Event::Failed(problem) => {
                    self.write()?;
                    return Err(self.unreadable(&problem));
                }
            }
        }
        self.write()?;
        Ok(End::Interrupted)
    }

    /// The input could not be read to its end.
    fn unreadable(&self, problem: &io::Error) -> Failure {
        let name = if self.args.input == "-" { "stdin" } else { &self.args.input };
        // A file that is as it is has no end that it could miss.
        if problem.kind() == io::ErrorKind::UnexpectedEof {
            return Failure::new(Exit::Partly, "cut-stream", format!("{name} is compressed and ends before its end"))
                .cause("the last lines may be missing");
        }
        Failure::file(name, problem)
    }

    /// Takes a line into the batch and writes the batch if it is full.
    fn take(&mut self, line: Line) -> Outcome<Option<End>> {
        self.summary.lines = line.number;
        self.bytes = self.bytes.saturating_add(line.bytes.len() as u64).saturating_add(1);
        if line.bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        match self.draft(&line) {
            Ok(draft) => self.batch.push(line, draft),
            Err(refused) => {
                self.refuse(&line, refused)?;
                if self.args.fail_fast {
                    return Ok(Some(End::FailedFast));
                }
            }
        }
        if self.batch.drafts.len() >= self.args.batch as usize || self.batch.bytes >= BATCH_BYTES {
            self.write()?;
            if self.console.is_interrupted() {
                return Ok(Some(End::Interrupted));
            }
        }
        Ok(None)
    }

    fn draft(&self, line: &Line) -> Result<Draft, Refused> {
        if line.cut_bytes > 0 {
            let length = (line.bytes.len() as u64).saturating_add(line.cut_bytes);
            let reason = format!("the line has {length} bytes, allowed are {}", line.bytes.len());
            return Err(Refused { column: line.bytes.len().saturating_add(1), reason });
        }
        let draft = source::draft(&line.bytes, &self.actors)?;
        Ok(if self.args.fields_provable { draft.fields_provable(true) } else { draft })
    }

    fn refuse(&mut self, line: &Line, refused: Refused) -> Outcome {
        self.summary.refused = self.summary.refused.saturating_add(1);
        if let Some(rejects) = &mut self.rejects {
            rejects.line(&line.bytes)?;
        }
        if self.summary.reasons.len() < MAX_REASONS {
            self.summary.reasons.push(Reason { line: line.number, column: refused.column, reason: refused.reason });
        }
        Ok(())
    }

    /// Writes the batch. If the database refuses it, each line is tried alone,
    /// so that the one to blame is named and the others are stored.
    fn write(&mut self) -> Outcome {
        let batch = mem::take(&mut self.batch);
        if batch.drafts.is_empty() {
            return Ok(());
        }
        let count = batch.drafts.len() as u64;
        match self.db.write_batch_with(batch.drafts, self.durability) {
            Ok(_) => self.summary.added = self.summary.added.saturating_add(count),
            Err(problem) if is_about_a_line(&problem) => self.write_singly(batch.lines)?,
            Err(problem) => return Err(self.back_to(&batch.lines, problem)),
        }
        self.stored_bytes = self.bytes;
        self.progress();
        Ok(())
    }

    fn write_singly(&mut self, lines: Vec<Line>) -> Outcome {
        for line in lines {
            let written = match self.draft(&line) {
                Ok(draft) => self.db.write_with(draft, self.durability),
                Err(refused) => {
                    self.refuse(&line, refused)?;
                    continue;
                }
            };
            match written {
                Ok(_) => self.summary.added = self.summary.added.saturating_add(1),
                Err(problem) if is_about_a_line(&problem) => {
                    self.refuse(&line, Refused { column: 1, reason: problem.to_string() })?;
                }
                Err(problem) => return Err(self.back_to(&[line], problem)),
            }
        }
        Ok(())
    }

    /// A failure of the database: the input is done up to the first line that
    /// is not stored.
    fn back_to(&mut self, lines: &[Line], problem: thingdb::Error) -> Failure {
        if let Some(first) = lines.first() {
            self.summary.lines = first.number.saturating_sub(1);
        }
        problem.into()
    }

    fn progress(&mut self) {
        let done = self.summary.added;
        // Nobody has counted the lines; those so far tell how long one is.
        let total = u128::from(self.total_bytes) * u128::from(done) / u128::from(self.stored_bytes.max(1));
        self.meter.update(done, u64::try_from(total).unwrap_or_default(), self.bytes);
    }

    fn end(self) -> Outcome<Summary> {
        self.meter.end(self.summary.added, self.bytes);
        self.rejects.map_or(Ok(()), Rejects::end)?;
        Ok(self.summary)
    }
}

impl Batch {
    fn push(&mut self, line: Line, draft: Draft) {
        self.bytes = self.bytes.saturating_add(line.bytes.len());
        self.lines.push(line);
        self.drafts.push(draft);
    }
}

/// Whether a line is to blame, and not the database or the disk.
fn is_about_a_line(problem: &thingdb::Error) -> bool {
    problem.is_invalid_input() || problem.is_not_found() || problem.is_conflict()
}
