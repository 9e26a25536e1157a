//! `thingdb retain`: for how long content is kept.

use std::time::Duration;

use serde::Serialize;
use thingdb::Retention;

use crate::cli::context::{CHANGED, Context};
use crate::cli::input::{quantity, reason};
use crate::console::output::Format;
use crate::error::Outcome;
use crate::text::printable;

/// Arguments of `thingdb retain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb retain visitor/ --for 90d --reason 'kept for 90 days' --basis gdpr-5
  thingdb retain machine/ --for 52w --reason 'kept for a year' --keep-latest
  thingdb retain                               what is set
  thingdb retain --remove visitor/
  thingdb erase --due --dry-run                what would be erased now
  thingdb erase --due --yes                    erase it; thingdb serve does so each day

The longest prefix counts. Content goes so long after the time in its entry, if an
actor of this database signed it. Each thing gets a record, with this reason.")]
pub(crate) struct Args {
    /// Things whose ids begin so; '' for all
    #[arg(requires = "time")]
    prefix: Option<String>,

    /// For how long: 90d, 12w, 24h
    #[arg(id = "time", long = "for", value_name = "TIME", requires_all = ["prefix", "reason"], value_parser = quantity::span)]
    time: Option<Duration>,

    /// Why it goes then; it is signed, and everybody can read it
    #[arg(long, value_name = "TEXT", requires = "prefix")]
    reason: Option<String>,

    /// The rule that it rests on, in one word, such as gdpr-5
    #[arg(long, value_name = "WORD", requires = "prefix")]
    basis: Option<String>,

    /// Who signs; the name of an actor of this database
    #[arg(long, value_name = "NAME", requires = "prefix")]
    actor: Option<String>,

    /// The latest entry of each thing stays, however old it is
    #[arg(long, requires = "prefix")]
    keep_latest: bool,

    /// End the policy with this prefix
    #[arg(long, value_name = "PREFIX", conflicts_with = "prefix")]
    remove: Option<String>,
}

impl Args {
    /// Whether it lists what is set.
    pub(crate) const fn only_reads(&self) -> bool {
        self.prefix.is_none() && self.remove.is_none()
    }
}

#[derive(Serialize)]
struct RetentionJson {
    prefix: String,
    seconds: u64,
    reason: String,
    basis: Option<String>,
    actor: Option<String>,
    keep_latest: bool,
}

/// Sets, lists or ends policies.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    if let (Some(prefix), Some(time), Some(reason)) = (&args.prefix, args.time, &args.reason) {
        reason::check(reason)?;
        let mut retention = Retention::new(prefix, time, reason).keep_latest(args.keep_latest);
        if let Some(word) = &args.basis {
            retention = retention.basis(word);
        }
        if let Some(name) = &args.actor {
            retention = retention.actor(name);
        }
        let db = context.open()?;
        let former = db.retain(retention.clone())?;
        context.close(db);
        context.did(CHANGED);
        if former.is_some() {
            context.console.note("it takes the place of the policy that there was");
        }
        return show(context, &[retention]);
    }
    let db = context.open()?;
    if let Some(prefix) = &args.remove {
        let removed = db.remove_retention(prefix)?;
        context.close(db);
        context.did(CHANGED);
        return show(context, &[removed]);
    }
    show(context, &db.retentions()?)
}

fn show(context: &Context, all: &[Retention]) -> Outcome {
    match context.output.format() {
        Format::Json | Format::Ndjson => {
            let mut list = context.output.list();
            all.iter().try_for_each(|retention| list.item(&RetentionJson::new(retention)))?;
            list.end()
        }
        Format::Raw => all.iter().try_for_each(|retention| context.output.line(retention.prefix())),
        Format::Table => {
            let header = ["prefix", "kept for", "basis", "signed by", "reason"];
            let row = |retention: &Retention| {
                let latest = if retention.keeps_latest() { ", but the latest" } else { "" };
                [
                    match retention.prefix() {
                        "" => "(all)".to_owned(),
                        prefix => printable(prefix).into_owned(),
                    },
                    format!("{}{latest}", quantity::in_words(retention.time())),
                    printable(retention.basis_word().unwrap_or_default()).into_owned(),
                    printable(retention.signer().unwrap_or_default()).into_owned(),
                    printable(retention.reason()).into_owned(),
                ]
            };
            context.output.line(&context.output.table(header, Some(4)).page(all.iter().map(row)))
        }
    }
}

impl RetentionJson {
    fn new(retention: &Retention) -> Self {
        Self {
            prefix: retention.prefix().to_owned(),
            seconds: retention.time().as_secs(),
            reason: retention.reason().to_owned(),
            basis: retention.basis_word().map(str::to_owned),
            actor: retention.signer().map(str::to_owned),
            keep_latest: retention.keeps_latest(),
        }
    }
}
