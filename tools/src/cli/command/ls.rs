//! `thingdb ls`: the things, in the order of their names.

use thingdb::ThingInfo;
use thingdb::format::key_record::RESERVED;

use crate::cli::context::Context;
use crate::cli::remote::RemoteArgs;
use crate::console::output::Format;
use crate::console::times::{self, Times, TimesArgs};
use crate::error::Outcome;
use crate::reader::Listing;
use crate::reader::unreadable::Unreadable;
use crate::text::{grouped, printable, quoted};
use crate::view::paint::{Paint, Painted};
use crate::view::thing::ThingJson;

const PAGE: usize = 100;

/// Heads of one thing in a table.
const MAX_HEADS: usize = 4;

/// Arguments of `thingdb ls`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb ls
  thingdb ls plant-3/ -l
  thingdb ls --limit 100 --after plant-3/press-7    the next page
  thingdb ls --url https://hq.example:7443 --card hq.card --token-file hq.token")]
pub(crate) struct Args {
    /// Only things whose name starts so
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,

    /// With entries, head and time of the last entry
    #[arg(short, long)]
    long: bool,

    /// How times are shown.
    #[command(flatten)]
    times: TimesArgs,

    /// Only things after this one
    #[arg(long, value_name = "THING")]
    after: Option<String>,

    /// At most this many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Where it is read.
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// Prints the things.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let source = context.source(&args.remote)?;
    let limit = args.limit.unwrap_or(usize::MAX);
    // One more tells whether there are more.
    let listing = Listing {
        prefix: &args.prefix,
        after: args.after.as_deref(),
        // Names alone tell nothing of it.
        retired: context.output.format() != Format::Raw,
        erased: args.long || context.output.is_json(),
        most: limit.saturating_add(1),
    };
    let mut things = source.things(listing)?;
    let mut last = None;
    // A part of the things tells nothing of how many entries there are.
    let is_all = args.prefix.is_empty() && args.after.is_none() && args.limit.is_none();
    let mut listed = if is_all { 0 } else { u64::MAX };
    let unreadable = Unreadable::default();
    let page = unreadable.past(things.by_ref().take(limit)).inspect(|thing| {
        listed = listed.saturating_add(thing.as_ref().map_or(0, |thing| thing.entries));
        last = thing.as_ref().ok().map(|thing| thing.thing.to_string());
    });
    // What ThingDB itself writes is shown to who asks for it.
    let is_asked = args.prefix.starts_with(RESERVED);
    let page = page
        .filter(|thing| is_asked || !thing.as_ref().is_ok_and(|thing| thing.thing.to_string().starts_with(RESERVED)));
    match context.output.format() {
        Format::Json | Format::Ndjson => json(context, page)?,
        Format::Table if args.long => long(context, args.times, page)?,
        Format::Table | Format::Raw => names(context, page)?,
    }
    if let (true, Some(last), Some(limit)) = (things.next().is_some(), last, args.limit) {
        context.console.note(&format!("there are more: thingdb ls --limit {limit} --after {}", quoted(&last)));
    }
    drop(things);
    unreadable.conclude(&*source, listed)
}

fn json(context: &Context, things: impl Iterator<Item = Outcome<ThingInfo>>) -> Outcome {
    let mut list = context.output.list();
    for thing in things {
        list.item(&ThingJson::new(&thing?))?;
    }
    list.end()
}

fn names(context: &Context, things: impl Iterator<Item = Outcome<ThingInfo>>) -> Outcome {
    let mut text = context.output.text();
    let is_raw = context.output.format() == Format::Raw;
    for thing in things {
        let thing = thing?;
        let name = printable(thing.thing.as_str());
        // Names alone are for programs. No name is folded: it is there to be copied.
        match marks(&thing) {
            Some(marks) if !is_raw => text.write(&format!("{name}  ({marks})\n"))?,
            _ => text.write(&format!("{name}\n"))?,
        }
    }
    text.end()
}

fn long(context: &Context, times: TimesArgs, mut things: impl Iterator<Item = Outcome<ThingInfo>>) -> Outcome {
    let mut text = context.output.text();
    let times = Times::new(times, &context.output);
    let mut table =
        context.output.table(["thing", "entries", "erased", times.header(times::LAST_ENTRY), "head"], Some(0));
    loop {
        let page = things.by_ref().take(PAGE).collect::<Outcome<Vec<_>>>()?;
        if page.is_empty() {
            return text.end();
        }
        text.line(&table.page(page.iter().map(|thing| row(thing, times))))?;
    }
}

/// What is to be known of a thing beside its name.
fn marks(thing: &ThingInfo) -> Option<String> {
    let heads = thing.heads.len();
    match (thing.retired == Some(true), heads > 1) {
        (true, true) => Some(format!("retired, {heads} heads")),
        (true, false) => Some("retired".to_owned()),
        (false, true) => Some(format!("{heads} heads")),
        (false, false) => None,
    }
}

fn row(thing: &ThingInfo, times: Times) -> [Painted; 5] {
    let heads = thing.heads.iter().take(MAX_HEADS).map(|head| Painted::id(&head.id));
    let mut heads = heads.reduce(|heads, head| heads.and(Paint::Plain, " ").with(head)).unwrap_or_default();
    if thing.heads.len() > MAX_HEADS {
        heads = heads.and(Paint::Plain, " …");
    }
    [
        printable(thing.thing.as_str()).into_owned().into(),
        grouped(thing.entries).into(),
        thing.erased.filter(|erased| *erased > 0).map(grouped).unwrap_or_default().into(),
        thing.latest.map(|latest| times.cell(latest.time)).unwrap_or_default(),
        match marks(thing) {
            Some(marks) => heads.and(Paint::Doubtful, format!(" ({marks})")),
            None => heads,
        },
    ]
}
