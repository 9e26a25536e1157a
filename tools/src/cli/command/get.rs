//! `thingdb get`: a thing as it is, or as it was.

use crate::cli::context::Context;
use crate::cli::remote::RemoteArgs;
use crate::console::output::Format;
use crate::error::{Exit, Failure, Outcome};
use crate::reader::{Reader, find, heads};
use crate::text::{printable, quoted};
use crate::view::details::State;
use crate::view::entry::Entry;
use crate::view::pointer::Pointer;
use crate::view::record::EntryJson;
use crate::view::when::{self, When};
use crate::view::{id, phrase, pretty, span};

/// Arguments of `thingdb get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb get part-42
  thingdb get part-42 --field /temp            one value, by JSON Pointer
  thingdb get part-42 --at 2026-11-22          as it was at the end of that day
  thingdb get part-42 --at 2h                  as it was two hours ago
  thingdb get part-42 --seq 1
  thingdb get photo --raw > front.jpg          the data, byte for byte
  thingdb get part-42 --strict                 or nothing, if nodes wrote it apart
  thingdb get part-42 --url https://hq.example:7443 --card hq.card --token-file hq.token

Where a thing has several heads, the latest is that of the greatest time, the same
on every node, whether it can be read here or not; a warning says that there are
others. Erasure records are passed over: thingdb log has them.

Exit code 3 if there is no such thing, entry or field; 5 with --strict if there
are several heads; 6 with --raw or --field if the entry is here and its data cannot
be read.")]
pub(crate) struct Args {
    /// The thing
    thing: String,

    /// As it was at a time
    ///
    /// A day, a minute or a second without a fraction is taken to its end. Times without an offset are UTC;
    /// 90s, 15m, 2h, 3d, 4w mean that long ago.
    #[arg(long, value_name = "TIME", group = "version")]
    at: Option<String>,

    /// The entry with this seq
    #[arg(long, value_name = "N", group = "version")]
    seq: Option<u64>,

    /// The entry with this id, which may be abbreviated
    #[arg(long, value_name = "ID", group = "version")]
    id: Option<String>,

    /// Refuse to choose if the thing has several heads
    #[arg(long, conflicts_with_all = ["seq", "id"])]
    strict: bool,

    /// Only the value at this JSON Pointer (RFC 6901)
    #[arg(long, value_name = "/POINTER", value_parser = Pointer::parse)]
    field: Option<Pointer>,

    /// Only the data, byte for byte; with --field, strings without quotes
    #[arg(long)]
    raw: bool,

    /// Where it is read.
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// Prints the entry.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let source = context.source(&args.remote)?;
    let reader = &*source;
    let entry = entry(context, reader, args)?;
    let is_latest = args.at.is_none() && args.seq.is_none() && args.id.is_none();
    if args.strict {
        heads::refuse(reader, &entry, is_latest)?;
    }
    let raw = args.raw || context.output.format() == Format::Raw;
    if entry.is_erasure() && args.seq.is_none() && args.id.is_none() && (raw || args.field.is_some()) {
        return Err(Failure::new(Exit::Partly, "erased", nothing_else(&entry))
            .hint(format!("thingdb erasures {}", quoted(entry.thing()))));
    }
    if entry.state() != State::Open && (raw || args.field.is_some()) {
        return Err(if is_latest { heads::not_readable(reader, &entry) } else { entry.not_readable() });
    }
    match (is_latest, &args.at) {
        (true, _) => heads::warn_of_latest(&context.console, reader, &entry)?,
        (_, Some(_)) if entry.heads() > 1 => {
            let thing = printable(entry.thing());
            let fact = format!("{thing} had {} heads then, this is the latest", entry.heads());
            let graph = format!("thingdb log {} --graph", quoted(entry.thing()));
            context.console.warning("fork", fact).hint(graph).say();
        }
        (_, Some(_)) => {}
        _ => heads::warn(&context.console, &entry),
    }
    match &args.field {
        Some(pointer) => print_field(context, &entry, pointer, raw),
        None if raw => print_data(context, &entry),
        None if context.output.is_json() => context.output.object(&EntryJson::new(&entry)),
        None => print_entry(context, &entry, is_latest),
    }
}

fn entry(context: &Context, reader: &dyn Reader, args: &Args) -> Outcome<Entry> {
    let name = printable(&args.thing);
    let log = format!("thingdb log {}", quoted(&args.thing));
    if let Some(text) = &args.id {
        let entry = find::entry(reader, text)?;
        if entry.thing() == args.thing {
            return Ok(entry);
        }
        let fact = format!("{} is an entry of {}, not of {name}", id::short(&entry.id()), printable(entry.thing()));
        return Err(Failure::not_found(fact).hint(log));
    }
    let latest = || reader.latest(&args.thing)?.ok_or_else(|| find::no_thing(reader, &args.thing));
    if let Some(seq) = args.seq {
        return match by_seq(context, reader, args, seq)? {
            Some(entry) => Ok(entry),
            None => {
                let last = latest()?.seq();
                if (1..last).contains(&seq) {
                    let fact = format!("{name} has an entry with seq {seq}, which cannot be read");
                    return Err(Failure::new(Exit::Partly, "holes", fact).hint("thingdb doctor"));
                }
                let fact = format!("{name} has no entry with seq {seq}, the last is {last}");
                Err(Failure::not_found(fact).hint(log))
            }
        };
    }
    let Some(text) = &args.at else { return latest() };
    let when = When::parse(text, when::now()).map_err(Failure::usage)?;
    if let Some(entry) = reader.as_of(&args.thing, when.last)? {
        return Ok(entry);
    }
    latest()?;
    Err(Failure::not_found(format!("{name} has no entry up to {}", when.last)).hint(format!("{log} --reverse -n 1")))
}

/// The entry with a seq; of several, which a fork makes, the one that counts
/// as latest.
fn by_seq(context: &Context, reader: &dyn Reader, args: &Args, seq: u64) -> Outcome<Option<Entry>> {
    let found = reader.with_seq(&args.thing, seq)?;
    if found.len() > 1 {
        let seqs = span::spelled(seq);
        context
            .console
            .warning("forked", format!("{} entries of {} have seq {seq}", found.len(), printable(&args.thing)))
            .hint(format!("thingdb log {} --since {seqs} --until {seqs}", quoted(&args.thing)))
            .say();
    }
    Ok(found.into_iter().max_by_key(|entry| (entry.time(), entry.id())))
}

fn print_entry(context: &Context, entry: &Entry, is_latest: bool) -> Outcome {
    let mut text = context.output.text();
    text.line(&context.output.painted(&phrase::headline(entry)))?;
    if is_latest && entry.action() == Some("retire") {
        text.line(&format!("{} is retired: nothing new is expected of it", printable(entry.thing())))?;
    }
    if entry.is_erasure() && is_latest {
        text.line(&nothing_else(entry))?;
    }
    if let Some(said) = entry.erasure() {
        text.line(&format!("it erased the content of {}", phrase::erasure(&said)))?;
        return text.end();
    }
    match (entry.json_text(), entry.data()) {
        (Some(json), _) => {
            pretty::json(json, &mut |piece| text.write(piece))?;
            text.write("\n")?;
        }
        (None, Some(data)) => text.line(&format!(
            "{} bytes of {}; thingdb get {} --raw > FILE",
            data.len(),
            printable(entry.media_type().unwrap_or_default()),
            quoted(entry.thing())
        ))?,
        (None, None) => text.line(&format!("({})", entry.state().word()))?,
    }
    text.end()
}

/// What is told of a thing that has no latest entry but an erasure record.
fn nothing_else(entry: &Entry) -> String {
    format!("{} is erased: nothing but erasure records is left of it", printable(entry.thing()))
}

fn print_data(context: &Context, entry: &Entry) -> Outcome {
    let data = entry.data().ok_or_else(|| entry.not_readable())?;
    context.output.data(data, || format!("thingdb get {} --raw > FILE", quoted(entry.thing())))?;
    if context.output.is_terminal() && !data.ends_with(b"\n") { context.output.bytes(b"\n") } else { Ok(()) }
}

fn print_field(context: &Context, entry: &Entry, pointer: &Pointer, raw: bool) -> Outcome {
    let json = match entry.data() {
        None => return Err(entry.not_readable()),
        Some(_) => entry.json_text().ok_or_else(|| {
            Failure::not_found(format!("the data is {}, which has no fields", entry.media_type().unwrap_or_default()))
        })?,
    };
    let value = pointer.find(json).ok_or_else(|| {
        Failure::not_found(format!("{} has no field {}", printable(entry.thing()), printable(&pointer.to_string())))
    })?;
    match serde_json::from_str::<String>(value.get()) {
        Ok(text) if raw && context.output.is_terminal() => context.output.line(&printable(&text)),
        Ok(text) if raw => context.output.line(&text),
        _ if context.output.is_terminal() => {
            let mut text = context.output.text();
            pretty::json(value.get(), &mut |piece| text.write(piece))?;
            text.write("\n")?;
            text.end()
        }
        _ => context.output.line(&value.get().replace(['\n', '\r'], " ")),
    }
}
