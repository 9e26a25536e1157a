//! `thingdb log`: the history of a thing, as it comes from the disk.

use std::ops::Bound;

use thingdb::{Db, Record};

use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::find;
use crate::cli::graph::Graph;
use crate::cli::output::{Format, List, Output, Text, printable};
use crate::cli::record::{self, EntryJson, Step};
use crate::cli::when::{self, When};

/// Rows of a table that are laid out together; memory does not grow with the
/// history.
const PAGE: usize = 100;

/// Arguments of `thingdb log`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb log part-42
  thingdb log part-42 -n 2 --patch             the last two, with what they changed
  thingdb log part-42 --since 2026-11-01 --until 2026-11-30
  thingdb log part-42 --since 10 --until 20    by seq
  thingdb log part-42 --graph                  where two nodes wrote apart
  thingdb log part-42 --json --patch           changes as JSON Patch (RFC 6902)")]
pub(crate) struct Args {
    /// The thing
    thing: String,

    /// At most this many entries
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<u64>,

    /// Oldest first
    #[arg(long)]
    reverse: bool,

    /// From this seq or time on
    #[arg(long, value_name = "SEQ|TIME")]
    since: Option<String>,

    /// Up to this seq or time
    #[arg(long, value_name = "SEQ|TIME")]
    until: Option<String>,

    /// Show what each entry changed
    #[arg(long)]
    patch: bool,

    /// Draw which entry follows which
    #[arg(long, conflicts_with_all = ["reverse", "patch", "json", "format"])]
    graph: bool,
}

/// The part of the history that was asked for.
#[derive(Clone, Copy, Default)]
struct Range {
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    since: Option<thingdb::Time>,
    until: Option<thingdb::Time>,
}

/// Prints the history.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let range = Range::new(args)?;
    let db = context.open()?;
    if db.heads(&args.thing)?.is_empty() {
        return Err(find::no_thing(&db, &args.thing));
    }
    let first = range.first_seq.map_or(Bound::Unbounded, Bound::Included);
    let last = range.last_seq.map_or(Bound::Unbounded, Bound::Included);
    let history = db.history_range(&args.thing, (first, last))?;
    let limit = usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let wanted = |record: &thingdb::Result<Record>| record.as_ref().map_or(true, |record| range.has(record));
    if args.graph {
        return draw(context, history.rev().filter(wanted).take(limit));
    }
    let mut out = Printer::new(context, &db, args);
    if args.reverse {
        print(history.filter(wanted).take(limit), &mut out)?;
    } else {
        print(history.rev().filter(wanted).take(limit), &mut out)?;
    }
    out.end()
}

fn print(records: impl Iterator<Item = thingdb::Result<Record>>, out: &mut Printer<'_>) -> Outcome {
    for record in records {
        out.take(record?)?;
    }
    Ok(())
}

/// Draws entries, newest first.
fn draw(context: &Context, records: impl Iterator<Item = thingdb::Result<Record>>) -> Outcome {
    let mut graph = Graph::default();
    let mut text = context.output.text();
    for record in records {
        let record = record?;
        let (line, after) = graph.entry(record.id(), record.prev());
        let name = printable(record.actor_name().unwrap_or("?"));
        let (id, time) = (find::short(&record.id()), when::short(record.time()));
        let action = printable(record.action().unwrap_or("(undecryptable)"));
        text.line(&format!("{line}  {}  {id}  {time}  {name}  {action}", record.seq()))?;
        if let Some(after) = after {
            text.line(&after)?;
        }
    }
    text.end()
}

impl Range {
    fn new(args: &Args) -> Outcome<Self> {
        let mut range = Self::default();
        if let Some(text) = &args.since {
            match text.parse() {
                Ok(seq) => range.first_seq = Some(seq),
                Err(_) => range.since = Some(When::parse(text, when::now()).map_err(Failure::usage)?.first),
            }
        }
        if let Some(text) = &args.until {
            match text.parse() {
                Ok(seq) => range.last_seq = Some(seq),
                Err(_) => range.until = Some(When::parse(text, when::now()).map_err(Failure::usage)?.last),
            }
        }
        if let (Some(first), Some(last)) = (range.first_seq, range.last_seq)
            && first > last
        {
            return Err(Failure::usage(format!("--since {first} is after --until {last}")));
        }
        Ok(range)
    }

    fn has(&self, record: &Record) -> bool {
        self.since.is_none_or(|since| record.time() >= since) && self.until.is_none_or(|until| record.time() <= until)
    }
}

/// Prints entries as they come. No more than two of them and a page of rows
/// are in memory: what an entry changed is told by the entry before it.
struct Printer<'a> {
    db: &'a Db,
    args: &'a Args,
    output: Output,
    to: To,
    /// Newest first: waits for the entry before it. Oldest first: is the entry
    /// before the next one.
    last: Option<Record>,
}

enum To {
    Json(List),
    Rows { text: Text, page: Vec<[String; COLUMNS.len()]>, has_header: bool },
    Patches { text: Text, has_entry: bool },
    Raw,
}

const COLUMNS: [&str; 7] = ["seq", "when (UTC)", "actor", "key", "action", "change", "id"];

/// The column that may take several lines.
const CHANGE: usize = 5;

impl<'a> Printer<'a> {
    fn new(context: &Context, db: &'a Db, args: &'a Args) -> Self {
        let output = context.output.clone();
        let to = match output.format() {
            Format::Json | Format::Ndjson => To::Json(output.list()),
            Format::Table if args.patch => To::Patches { text: output.text(), has_entry: false },
            Format::Table => To::Rows { text: output.text(), page: Vec::with_capacity(PAGE), has_header: false },
            Format::Raw => To::Raw,
        };
        Self { db, args, output, to, last: None }
    }

    fn take(&mut self, record: Record) -> Outcome {
        if self.args.reverse {
            let last = self.last.take();
            self.print(&record, last.as_ref())?;
        } else if let Some(waiting) = self.last.take() {
            self.print(&waiting, Some(&record))?;
        }
        self.last = Some(record);
        Ok(())
    }

    fn end(mut self) -> Outcome {
        if let Some(waiting) = self.last.take().filter(|_| !self.args.reverse) {
            self.print(&waiting, None)?;
        }
        match self.to {
            To::Json(list) => list.end(),
            To::Patches { text, .. } => text.end(),
            To::Rows { mut text, page, has_header } => {
                print_page(&self.output, &mut text, &page, !has_header)?;
                text.end()
            }
            To::Raw => Ok(()),
        }
    }

    fn print(&mut self, record: &Record, neighbour: Option<&Record>) -> Outcome {
        let step = || Step::new(self.db, record, neighbour);
        match &mut self.to {
            To::Json(list) if self.args.patch => list.item(&EntryJson::new(record).with_patch(step()?.changes())),
            To::Json(list) => list.item(&EntryJson::new(record)),
            To::Patches { text, has_entry } => {
                if std::mem::replace(has_entry, true) {
                    text.line("")?;
                }
                print_patch(text, &step()?)
            }
            To::Raw => {
                self.output.bytes(record.data().unwrap_or_default())?;
                self.output.bytes(b"\n")
            }
            To::Rows { text, page, has_header } => {
                page.push(row(&step()?));
                if page.len() >= PAGE {
                    print_page(&self.output, text, page, !*has_header)?;
                    page.clear();
                    *has_header = true;
                }
                Ok(())
            }
        }
    }
}

fn row(step: &Step<'_>) -> [String; COLUMNS.len()] {
    let record = step.record;
    [
        record.seq().to_string(),
        when::short(record.time()),
        record::actor(record),
        record::trust(record).to_owned(),
        record.action().map(|action| printable(action).into_owned()).unwrap_or_default(),
        step.summary(48),
        find::short(&record.id()),
    ]
}

fn print_page(output: &Output, text: &mut Text, page: &[[String; COLUMNS.len()]], with_header: bool) -> Outcome {
    if page.is_empty() {
        return Ok(());
    }
    text.line(&output.table(with_header.then_some(&COLUMNS), page.iter().cloned(), Some(CHANGE)))
}

fn print_patch(text: &mut Text, step: &Step<'_>) -> Outcome {
    text.line(&record::headline(step.record))?;
    match step.changes() {
        None => text.line(&format!("    {}", step.summary(100)))?,
        Some(changes) if changes.is_empty() => text.line("    (same data)")?,
        Some(changes) => {
            for change in changes {
                text.line(&format!("    {}", change.line(200)))?;
            }
        }
    }
    Ok(())
}
