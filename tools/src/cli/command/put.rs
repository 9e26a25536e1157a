//! `thingdb put`: writes one entry.

use thingdb::{Db, Draft, Expect, Head, Receipt};

use crate::cli::context::{Context, REPORT};
use crate::cli::global::Speed;
use crate::cli::input::{self, media_type, names};
use crate::error::{Exit, Failure, Outcome};
use crate::reader::find;
use crate::text::{excerpt, printable, quoted};
use crate::view::record::ReceiptJson;
use crate::view::{id, when};

/// Arguments of `thingdb put`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb put part-42 '{\"temp\":20.1,\"site\":\"plant-3\"}'
  thingdb put part-42 @reading.json
  sensor | thingdb put part-42 -
  thingdb put part-42 '{\"temp\":21.4}' --expect 4be177c20a1b    only if that is the head
  thingdb put part-42 '{}' --expect none                       only if it is new
  thingdb put photo @front.jpg --media-type image/jpeg
  thingdb put part-42 null --action retire
  thingdb put notice-1 '{\"open\":\"9 to 5\"}' --public           for everybody
  thingdb put part-42 @reading.json --fields-provable          single fields can be shown")]
pub(crate) struct Args {
    /// The thing to write about; it need not exist
    thing: String,

    /// The data: JSON, @FILE for the content of a file, - for stdin
    #[arg(value_name = "JSON|@FILE|-", allow_negative_numbers = true)]
    data: String,

    /// Who signs; the name of an actor of this database
    #[arg(long, value_name = "NAME", env = "THINGDB_ACTOR", hide_env_values = true)]
    actor: Option<String>,

    /// What was done: create, update, retire, or a word of your own
    ///
    /// The default is create for the first entry of a thing, update for the others.
    #[arg(long, value_name = "WORD")]
    action: Option<String>,

    /// Write only if this entry is the head of the thing; none if it must not exist
    ///
    /// The id may be abbreviated. Exit code 5 if it does not hold.
    #[arg(long, value_name = "ID|none")]
    expect: Option<String>,

    /// The data is not JSON but of this media type
    #[arg(long, value_name = "TYPE", value_parser = media_type::parse)]
    media_type: Option<String>,

    /// Seal it to these peers instead of the audience that is set
    ///
    /// May be repeated, or name several peers with commas between them.
    #[arg(long, value_name = "PEER[,PEER]")]
    to: Option<Vec<String>>,

    /// Keep it possible to show single fields of it later by prove, the rest
    /// hidden. It costs hashes for each value, here and whenever it is read
    #[arg(long)]
    fields_provable: bool,

    /// Let everybody who gets the entry read it, for good; at most 64 KiB
    #[arg(long, conflicts_with = "to")]
    public: bool,

    #[command(flatten)]
    speed: Speed,
}

/// Writes the entry.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let data = input::bytes(&context.console, &args.data)?;
    let mut draft = draft(args, data)?;
    if let Some(action) = &args.action {
        draft = draft.action(action);
    }
    if args.fields_provable {
        draft = draft.fields_provable(true);
    }
    let db = context.open()?;
    let signer = names::signer(&db, args.actor.as_deref())?;
    draft = draft.actor(&signer);
    if let Some(to) = &args.to {
        draft = draft.to(names::peers(&db, to));
    }
    if args.public {
        draft = draft.public();
    }
    if let Some(expected) = &args.expect {
        draft = draft.expect(expect(&db, &args.thing, expected)?);
    }
    let receipt = db.write_with(draft, args.speed.durability()).map_err(|problem| explain(&db, problem))?;
    let stored = || {
        let (thing, id) = (printable(receipt.thing.as_str()), receipt.id);
        context.did(format!("the entry is stored: {thing} #{} {id}; {REPORT}", receipt.seq));
    };
    if args.speed.relaxed {
        db.close()?;
        stored();
    } else {
        stored();
        context.close(db);
    }
    say(context, &receipt, &signer)
}

fn say(context: &Context, receipt: &Receipt, signer: &str) -> Outcome {
    if context.output.is_json() {
        return context.output.object(&ReceiptJson::new(receipt, signer));
    }
    context.output.line(&format!(
        "{} #{}  {}  signed by {}",
        printable(receipt.thing.as_str()),
        receipt.seq,
        id::short(&receipt.id),
        printable(signer)
    ))
}

fn draft(args: &Args, data: Vec<u8>) -> Outcome<Draft> {
    if let Some(media_type) = &args.media_type {
        return Ok(Draft::bytes(&args.thing, media_type, data)?);
    }
    let data = input::unmarked(data)?;
    if data.iter().all(u8::is_ascii_whitespace) {
        return Err(Failure::new(Exit::Usage, "bad-json", "the data is empty, which is not JSON")
            .hint("thingdb put THING null, or --media-type TYPE for data that is not JSON"));
    }
    Draft::json(&args.thing, data.clone()).map_err(|refused| {
        let place = match &refused {
            // The parser counts from 0 where a line has just begun.
            thingdb::Error::Json { line, column, problem } => Some((*line, (*column).max(1), problem.clone())),
            _ => None,
        };
        let failure = Failure::from(refused);
        let Some((line, column, problem)) = place else { return failure };
        failure
            .about(format!("the data is not JSON: line {line}, column {column}: {problem}"))
            .causes(excerpt::lines(&data, line, column))
            .hint("thingdb put THING DATA --media-type text/plain, for data that is not JSON")
    })
}

/// What `--expect` asks for. A short id that no head has can hold only by
/// naming an older entry, which the engine then refuses with the heads.
fn expect(db: &Db, thing: &str, expected: &str) -> Outcome<Expect> {
    if expected == "none" {
        return Ok(Expect::Absent);
    }
    let digits = id::digits(expected)?;
    if let Ok(id) = digits.parse() {
        return Ok(Expect::Head(id));
    }
    let heads = db.heads(thing)?;
    if let Some(id) = find::head(&heads, &digits) {
        return Ok(Expect::Head(id));
    }
    match db.find_ids(&digits, 2)?.as_slice() {
        [id] => Ok(Expect::Head(*id)),
        _ => Err(conflict(db, thing, expected, &heads)),
    }
}

fn explain(db: &Db, problem: thingdb::Error) -> Failure {
    match &problem {
        thingdb::Error::Conflict { thing, expected, heads, .. } => {
            let expected = match expected {
                Expect::Head(id) => id::short(id),
                _ => "none".to_owned(),
            };
            conflict(db, thing.as_str(), &expected, heads)
        }
        _ => problem.into(),
    }
}

fn conflict(db: &Db, thing: &str, expected: &str, heads: &[Head]) -> Failure {
    let name = printable(thing);
    let (fact, wanted) = match (expected, heads) {
        ("none", _) => (format!("{name} exists"), "you expected no entry".to_owned()),
        (_, []) => (format!("{name} does not exist"), format!("you expected head {expected}")),
        _ => (format!("{name} has moved on"), format!("you expected head {expected}")),
    };
    let failure = Failure::new(Exit::Conflict, "conflict", fact).cause(wanted);
    let failure = failure.causes(heads.iter().map(|head| describe(db, head)));
    failure.hint(format!("thingdb log {} -n 2 --patch", quoted(thing)))
}

fn describe(db: &Db, head: &Head) -> String {
    let actor = db.get_id(&head.id).ok().flatten();
    let actor =
        actor.as_ref().and_then(|record| record.actor_name()).map(|name| format!("{name}, ")).unwrap_or_default();
    format!("the head is       {}  (#{}, {actor}{})", id::short(&head.id), head.seq, when::ago(head.time, when::now()))
}
