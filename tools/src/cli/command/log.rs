//! `thingdb log`: the history of a thing, as it comes from the disk.

use crate::cli::context::Context;
use crate::cli::remote::RemoteArgs;
use crate::console::output::{Format, List, Output, Text};
use crate::console::times::{self, Times, TimesArgs};
use crate::error::{Failure, Outcome};
use crate::reader::step::Step;
use crate::reader::unreadable::Unreadable;
use crate::reader::{Part, Reader, find, heads};
use crate::text::quoted;
use crate::view::entry::Entry;
use crate::view::graph::Graph;
use crate::view::paint::Painted;
use crate::view::record::EntryJson;
use crate::view::span::Span;
use crate::view::table::Table;
use crate::view::{id, phrase, when};

/// Rows of a table that are laid out together; memory does not grow with the
/// history.
const PAGE: usize = 100;

/// Arguments of `thingdb log`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb log part-42
  thingdb log part-42 -n 2 --patch             the last two, with what they changed
  thingdb log part-42 --since 2026-11 --until 2026-11-15
  thingdb log part-42 --since yesterday
  thingdb log part-42 --since 10 --until 20    by seq
  thingdb log part-42 --graph                  where two nodes wrote apart
  thingdb log part-42 --json --patch           changes as JSON Patch (RFC 6902)
  thingdb log part-42 --url https://hq.example:7443 --card hq.card --token-file hq.token")]
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

    /// How times are shown.
    #[command(flatten)]
    times: TimesArgs,

    /// Where it is read.
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// Prints the history.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let span = Span::parse(args.since.as_deref(), args.until.as_deref(), when::now()).map_err(Failure::usage)?;
    if let (Some(first), Some(last)) = (span.first_seq, span.last_seq)
        && first > last
    {
        return Err(Failure::usage(format!("--since {first} is after --until {last}")));
    }
    let source = context.source(&args.remote)?;
    let reader = &*source;
    let most = usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let part = Part { span, newest_first: !args.reverse, most };
    let unreadable = Unreadable::default();
    let entries = reader.history(&args.thing, part)?.ok_or_else(|| find::no_thing(reader, &args.thing))?;
    let mut entries = unreadable.past(entries);
    let first = entries.next().transpose()?;
    if first.as_ref().is_some_and(|entry| entry.heads() > 1)
        && let Some(latest) = reader.latest(&args.thing)?
    {
        heads::warn_of_latest(&context.console, reader, &latest)?;
    }
    let mut seqs = Seqs::default();
    let entries = first.into_iter().map(Ok).chain(entries);
    let mut entries = entries.inspect(|entry| seqs.see(entry.as_ref().map_or(0, Entry::seq)));
    if args.graph {
        draw(context, entries)?;
    } else {
        let mut out = Printer::new(context, reader, args);
        entries.try_for_each(|entry| out.take(entry?))?;
        out.end()?;
        drop(entries);
    }
    // Times need not be in the order of the seqs.
    if span.since.is_none() && span.until.is_none() {
        unreadable.add(seqs.missing.into_iter().map(|(first, last)| match first == last {
            true => format!("the entry with seq {first} cannot be found"),
            false => format!("the entries with seqs {first} to {last} cannot be found"),
        }));
    }
    unreadable.conclude(reader, 0)
}

/// The seqs of a part of a history, in which none is left out but those of entries
/// that cannot be read.
#[derive(Default)]
struct Seqs {
    last: Option<u64>,
    missing: Vec<(u64, u64)>,
}

impl Seqs {
    fn see(&mut self, seq: u64) {
        let last = self.last.replace(seq).unwrap_or(seq);
        let (low, high) = (last.min(seq), last.max(seq));
        if high - low > 1 {
            self.missing.push((low + 1, high - 1));
        }
    }
}

/// Draws entries, newest first.
fn draw(context: &Context, entries: impl Iterator<Item = Outcome<Entry>>) -> Outcome {
    let mut graph = Graph::default();
    let mut text = context.output.text();
    for entry in entries {
        let entry = entry?;
        let (line, after) = graph.entry(entry.id(), entry.prev());
        let (time, name, _) = phrase::by_whom(&entry);
        let (id, time) = (id::short(&entry.id()), when::short(time));
        let action = phrase::action(&entry);
        text.line(&format!("{line}  {}  {id}  {time}  {name}  {action}", entry.seq()))?;
        if let Some(after) = after {
            text.line(&after)?;
        }
    }
    text.end()
}

/// Prints entries as they come. No more than two of them and a page of rows
/// are in memory: what an entry changed is told by the entry before it.
struct Printer<'a> {
    reader: &'a dyn Reader,
    args: &'a Args,
    output: Output,
    times: Times,
    to: To,
    /// Newest first: waits for the entry before it. Oldest first: is the entry
    /// before the next one.
    last: Option<Entry>,
}

enum To {
    Json(List),
    Rows { text: Text, table: Box<Table<COLUMNS>>, page: Vec<[Painted; COLUMNS]> },
    Patches { text: Text, has_entry: bool },
    Raw,
}

const COLUMNS: usize = 7;

/// The column that may take several lines.
const CHANGE: usize = 5;

impl<'a> Printer<'a> {
    fn new(context: &Context, reader: &'a dyn Reader, args: &'a Args) -> Self {
        let output = context.output.clone();
        let times = Times::new(args.times, &output);
        let to = match output.format() {
            Format::Json | Format::Ndjson => To::Json(output.list()),
            Format::Table if args.patch => To::Patches { text: output.text(), has_entry: false },
            Format::Table => {
                let header = ["seq", times.header(times::WHEN), "actor", "key", "action", "change", "id"];
                let table = Box::new(output.table(header, Some(CHANGE)));
                To::Rows { text: output.text(), table, page: Vec::with_capacity(PAGE) }
            }
            Format::Raw => To::Raw,
        };
        Self { reader, args, output, times, to, last: None }
    }

    fn take(&mut self, entry: Entry) -> Outcome {
        if self.args.reverse {
            let last = self.last.take();
            self.print(&entry, last.as_ref())?;
        } else if let Some(waiting) = self.last.take() {
            self.print(&waiting, Some(&entry))?;
        }
        self.last = Some(entry);
        Ok(())
    }

    fn end(mut self) -> Outcome {
        if let Some(waiting) = self.last.take().filter(|_| !self.args.reverse) {
            self.print(&waiting, None)?;
        }
        match self.to {
            To::Json(list) => list.end(),
            To::Patches { text, .. } => text.end(),
            To::Rows { mut text, mut table, page } => {
                if !page.is_empty() {
                    text.line(&table.page(page))?;
                }
                text.end()
            }
            To::Raw => Ok(()),
        }
    }

    fn print(&mut self, entry: &Entry, neighbour: Option<&Entry>) -> Outcome {
        let step = || Step::new(self.reader, entry, neighbour);
        match &mut self.to {
            To::Json(list) if self.args.patch => list.item(&EntryJson::new(entry).with_patch(step()?.changes())),
            To::Json(list) => list.item(&EntryJson::new(entry)),
            To::Patches { text, has_entry } => {
                if std::mem::replace(has_entry, true) {
                    text.line("")?;
                }
                print_patch(&self.output, text, &step()?)
            }
            To::Raw => {
                let way_out = || format!("thingdb log {} --format raw > FILE", quoted(entry.thing()));
                self.output.data(entry.data().unwrap_or_default(), way_out)?;
                self.output.bytes(b"\n")
            }
            To::Rows { text, table, page } => {
                page.push(row(&step()?, self.times, summary_width(&self.output)));
                if page.len() >= PAGE {
                    text.line(&table.page(page.drain(..)))?;
                }
                Ok(())
            }
        }
    }
}

/// Characters of what an entry changed that are shown in a table.
fn summary_width(output: &Output) -> usize {
    let room = output.columns().map_or(0, |columns| usize::from(columns) / 2);
    if output.is_wide() { usize::MAX } else { room.max(48) }
}

fn row(step: &Step<'_>, times: Times, summary_width: usize) -> [Painted; COLUMNS] {
    let entry = step.entry;
    let (when, actor, key) = phrase::by_whom(entry);
    [
        entry.seq().to_string().into(),
        times.cell(when),
        actor.into(),
        key,
        entry.action().map(|_| phrase::action(entry).into_owned()).unwrap_or_default().into(),
        step.summary(summary_width),
        Painted::id(&entry.id()),
    ]
}

fn print_patch(output: &Output, text: &mut Text, step: &Step<'_>) -> Outcome {
    text.line(&output.painted(&phrase::headline(step.entry)))?;
    match step.changes() {
        None => text.line(&format!("    {}", step.summary(100)))?,
        Some(changes) if changes.is_empty() => text.line("    (same data)")?,
        Some(changes) => {
            for change in changes {
                text.line(&format!("    {}", output.painted(&change.line(200))))?;
            }
        }
    }
    Ok(())
}
