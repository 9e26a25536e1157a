//! `thingdb timestamp`: when a checkpoint was there, says a time-stamp authority.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::cli::context::{CHANGED, Context};
use crate::cli::input::roots;
use crate::client::pace::{Limit, Pace};
use crate::console::output::Format;
use crate::error::{Exit, Failure, Outcome};
use crate::sync;
use crate::text::{grouped, printable};
use crate::timestamp::roots::Roots;
use crate::timestamp::token::Token;
use crate::view::stamp::Stamp;

/// How long an authority may say nothing.
const STALL: Duration = Duration::from_secs(15);

/// How long it may take in all.
const LIMIT: Duration = Duration::from_secs(60);

/// Arguments of `thingdb timestamp`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb timestamp --tsa http://tsa.example/tsr --root tsa-root.pem
  thingdb timestamp --tsa http://tsa.example/tsr -o newest.tst       the token, for others
  thingdb timestamp                                                  list what is kept
  thingdb timestamp --root tsa-root.pem                              and whose it is

A time-stamp authority (RFC 3161) is asked to sign the SHA-256 of the newest
checkpoint and its own time. It learns nothing else. The token is checked, kept
here, and goes along in the files of thingdb prove: thingdb verify-proof
--tsa-root PEM says when these entries were there at the latest.
Without --root nobody looks who the authority is: its token is kept all the same.")]
pub(crate) struct Args {
    /// The authority: http[s]://HOST[:PORT][/PATH]; what is kept is listed if absent
    #[arg(long, value_name = "URL")]
    tsa: Option<String>,

    /// Certificates to one of which the authority has to lead
    #[arg(long, value_name = "PEM")]
    root: Option<String>,

    /// Write the token to a file, in DER
    #[arg(short, long, value_name = "FILE", requires = "tsa")]
    output: Option<PathBuf>,
}

impl Args {
    /// Whether it needs nothing but to read the database.
    pub(crate) const fn only_reads(&self) -> bool {
        self.tsa.is_none()
    }
}

/// The members of the JSON.
#[derive(Serialize)]
struct TimestampJson {
    /// Entries in the ledger that was stamped.
    size: u64,
    /// What was stamped: the SHA-256 of the checkpoint.
    imprint: String,
    #[serde(flatten)]
    stamp: Stamp,
}

/// Asks for a timestamp, or lists those that are kept.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let roots = args.root.as_deref().map(|path| roots::read(&context.console, path)).transpose()?;
    match &args.tsa {
        Some(url) => ask(context, args, url, roots.as_ref()),
        None => list(context, roots.as_ref()),
    }
}

fn ask(context: &Context, args: &Args, url: &str, roots: Option<&Roots>) -> Outcome {
    let (address, path) = sync::timestamp::place(url).map_err(|problem| {
        Failure::usage(format!("that is no URL of an authority: {problem}")).hint("http[s]://HOST[:PORT][/PATH]")
    })?;
    let (db, way_in) = context.open_for_now()?;
    let note = db.checkpoint()?;
    let size = note.claimed().size;
    if size == 0 {
        return Err(Failure::usage("the ledger is empty: there is nothing to stamp").hint("thingdb put THING"));
    }
    let imprint = note.imprint(&db.node_key()).map_err(thingdb::Error::from)?;
    // Nobody waits for the database while the authority takes its time.
    context.close(db);
    let host = context.console.clone();
    let is_cancelled = Arc::new(move || host.is_interrupted());
    let pace = Pace { rate: None, stall: STALL, limit: Some(Limit::of(LIMIT)), is_cancelled };
    let no_token = |why: &str| {
        Failure::new(Exit::Unreachable, "not-timestamped", format!("{} gave no timestamp", printable(url)))
            .cause(printable(why).into_owned())
            .hint("the ledger is as it was; another authority, or later again")
    };
    let (bytes, token) = sync::timestamp::ask(address, path, &imprint, pace).map_err(|why| no_token(&why))?;
    if let Some(Err(why)) = roots.map(|roots| token.trusted_by(roots)) {
        return Err(Failure::new(
            Exit::NotVerified,
            "not-timestamped",
            "the timestamp is of no authority that you trust",
        )
        .cause(printable(&why).into_owned())
        .cause(format!("it says that it is of {}; it is not kept", printable(&token.authority))));
    }
    let (db, _) = context.open_again(way_in)?;
    db.keep_timestamp(&note, &bytes)?;
    context.close(db);
    context.did(CHANGED);
    if let Some(path) = &args.output {
        context.console.write_file(path, &bytes)?;
    }
    if roots.is_none() {
        let fact = "nobody looked who the authority is";
        context.console.warning("not-checked", fact).hint("thingdb timestamp --tsa URL --root PEM").say();
    }
    let told = TimestampJson { size, imprint: imprint.to_string(), stamp: Stamp::new(Ok(&token), roots) };
    if context.output.is_json() {
        return context.output.object(&told);
    }
    context.output.line(&format!(
        "the ledger of {} was there by {}, says {}",
        grouped(size),
        token.not_later_than,
        printable(&token.authority)
    ))
}

fn list(context: &Context, roots: Option<&Roots>) -> Outcome {
    let db = context.open()?;
    let node = db.node_key();
    let mut all = Vec::new();
    for kept in db.timestamps()? {
        let imprint = kept.checkpoint.imprint(&node).map_err(thingdb::Error::from)?;
        let token = Token::of(&kept.token, &imprint);
        let size = kept.checkpoint.claimed().size;
        all.push(TimestampJson { size, imprint: imprint.to_string(), stamp: Stamp::new(token.as_ref(), roots) });
    }
    context.close(db);
    if context.output.format() != Format::Table {
        let mut list = context.output.list();
        all.iter().try_for_each(|kept| list.item(kept))?;
        return list.end();
    }
    let row = |TimestampJson { size, stamp: kept, .. }: &TimestampJson| {
        let trusted = match (&kept.problem, kept.trusted) {
            (Some(problem), _) => problem.as_str(),
            (None, Some(true)) => "trusted",
            (None, _) => "not checked",
        };
        let time = kept.not_later_than.as_deref().unwrap_or_default();
        let authority = kept.authority.as_deref().unwrap_or_default();
        [grouped(*size), time.to_owned(), printable(authority).into_owned(), printable(trusted).into_owned()]
    };
    let header = ["size", "not later than (UTC)", "authority", "root"];
    context.output.line(&context.output.table(header, Some(2)).page(all.iter().map(row)))
}
