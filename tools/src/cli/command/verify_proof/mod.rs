//! `thingdb verify-proof`: a proof file is checked without a database.

mod complete;
mod other;
mod received;
mod stamped;

use std::io::{BufRead, BufReader, ErrorKind, Read};

use serde::Serialize;
use serde_json::value::RawValue;
use thingdb::format::audit::Standing;
use thingdb::format::header::MAX_SEQ;
use thingdb::format::proof::{Anchor, Content, ProofCheck, ProofReader, ProofReport, Proven, Subject};
use thingdb::format::{Body, Card};
use thingdb::{EntryId, SignedCheckpoint};

use crate::bytes::{compress, page};
use crate::cli::context::Context;
use crate::cli::input::{card, note, policy as policies, roots};
use crate::console::output::{Format, List, Text};
use crate::error::{Exit, Failure, Outcome};
use crate::reader::proof::{self, Stopped};
use crate::text::{counted, grouped, printable, shorten};
use crate::view::ledger::LedgerJson;
use crate::view::paint::Painted;
use crate::view::table::Table;
use crate::view::when;
use crate::view::witnessed::Witnessed;
use complete::Complete;
use received::ReceiptJson;
use stamped::{Timestamp, Timestamped};

/// Entries and problems that are shown on a terminal.
const MAX_SHOWN: usize = 20;

/// Rows of a table that are laid out together.
const PAGE: usize = 100;

/// Arguments of `thingdb verify-proof`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb verify-proof part-42.tdbproof --card @plant.card
  thingdb verify-proof part-42.tdbproof --card @plant.card --checkpoint kept.checkpoint
  thingdb verify-proof part-42.tdbproof --policy auditor.policy     who must have cosigned it
  thingdb verify-proof part-42.tdbproof --card @plant.card --tsa-root tsa-root.pem   when it was there
  thingdb verify-proof part-42.tdbproof --card @plant.card --entries
  thingdb --db mine verify-proof part-42.tdbproof --card @plant.card --open   sealed to me
  thingdb verify-proof - --card @plant.card --json < part-42.tdbproof

Needs no database, no passphrase and no network, but for --open. --card or
--fingerprint says whom you trust: get it in another way than the file. Without
it the file is only consistent with itself. --checkpoint takes what you kept of that node: the
ledger must have grown out of it.

It says what holds, and what a file like this cannot show. Exit code 4 if
anything does not hold; 6 if nothing is wrong and the kept checkpoint cannot be
compared; 15 if a newer version wrote it.")]
pub(crate) struct Args {
    /// The proof file, - for stdin; .zst and .gz are unpacked
    #[arg(value_name = "FILE|-")]
    file: String,

    /// The card of a node that you trust, @FILE to read it from a file
    #[arg(long, value_name = "CARD")]
    card: Vec<String>,

    /// The fingerprint of a node that you trust, 64 hex digits
    #[arg(long, value_name = "HEX")]
    fingerprint: Vec<String>,

    /// A checkpoint of the node that you kept
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<String>,

    /// Whom you believe: logs, witnesses and how many of them (c2sp.org/tlog-policy). Its logs
    /// count like --fingerprint
    #[arg(long, value_name = "FILE")]
    policy: Option<String>,

    /// Certificates of time-stamp authorities (RFC 3161) that you trust
    #[arg(long, value_name = "PEM")]
    tsa_root: Option<String>,

    /// Open content that is sealed to the node of the database here
    #[arg(long)]
    open: bool,

    /// Print every entry with its content before the verdict; one object a line in a pipe.
    /// What is printed is proven only if the verdict is ok
    #[arg(long)]
    entries: bool,
}

impl Args {
    /// Whether a database is opened, for the key of its node.
    pub(crate) const fn opens_database(&self) -> bool {
        self.open
    }
}

/// The result, and the members of its JSON.
#[derive(Serialize)]
struct ReportJson {
    ok: bool,
    thing: Option<String>,
    subject: Option<SubjectJson>,
    entries: u64,
    shown: u64,
    opened: u64,
    sealed: u64,
    erased: u64,
    /// What nodes answered to the erasures.
    receipts: Vec<ReceiptJson>,
    withheld: u64,
    heads: Vec<String>,
    first_time: Option<String>,
    last_time: Option<String>,
    ledger: Option<LedgerJson>,
    kept: Option<&'static str>,
    /// That there are no other entries.
    complete: Option<Complete>,
    /// What the witnesses of the policy have seen of it.
    witnessed: Option<Witnessed>,
    /// What time-stamp authorities say of it; nothing if nobody said whom to trust.
    timestamped: Option<Timestamped>,
    /// The timestamps in the file.
    timestamps: Vec<Timestamp>,
    problems: Vec<ProblemJson>,
    problems_total: u64,
    not_told: Vec<String>,
}

impl ReportJson {
    /// The options whose demand the file does not meet.
    fn not_met(&self) -> String {
        let policy = self.witnessed.as_ref().is_some_and(|witnessed| !witnessed.is_met());
        let roots = self.timestamped.as_ref().is_some_and(|stamped| !stamped.is_met());
        let options = [(policy, "--policy"), (roots, "--tsa-root")].into_iter().filter(|(is_asked, _)| *is_asked);
        options.map(|(_, option)| option).collect::<Vec<_>>().join(" and ")
    }
}

#[derive(Serialize)]
struct SubjectJson {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
}

#[derive(Serialize)]
struct ProblemJson {
    verdict: &'static str,
    line: Option<u64>,
    id: Option<String>,
    detail: String,
}

#[derive(Serialize)]
struct EntryJson {
    place: u64,
    id: String,
    thing: String,
    seq: u64,
    time: String,
    actor: ActorJson,
    prev: Vec<String>,
    content: &'static str,
    /// The record that says that the content was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    erased_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct ActorJson {
    key: String,
    /// As a card names the key.
    name: Option<String>,
    /// As the entry itself says.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_as: Option<String>,
}

/// Checks the file, without a database.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let console = &context.console;
    let cards = card::trusted(console, &args.card)?;
    let mut check = cards.iter().fold(ProofCheck::new(), ProofCheck::trust);
    for text in &args.fingerprint {
        let fingerprint = text.to_ascii_lowercase().parse();
        let fingerprint =
            fingerprint.map_err(|_| Failure::usage(format!("{text:?} is no fingerprint: 64 hex digits")))?;
        check = check.trust_fingerprint(fingerprint);
    }
    if let Some(path) = &args.checkpoint {
        check = check.kept(note::read(&context.console, path)?);
    }
    let policy = args.policy.as_deref().map(|path| policies::read(console, path)).transpose()?;
    if cards.is_empty() && args.fingerprint.is_empty() {
        policies::refuse_without_log(policy.as_ref())?;
    }
    let logs = policy.iter().flat_map(policies::fingerprints);
    check = logs.fold(check, ProofCheck::trust_fingerprint);
    check = complete::recomputers(check, policy.as_ref());
    let roots = args.tsa_root.as_deref().map(|path| roots::read(console, path)).transpose()?;
    let name = if args.file == "-" { "stdin" } else { &args.file };
    let source = console.source(&args.file)?;
    let source = page::reader(source).and_then(compress::reader).map_err(|problem| match problem.kind() {
        ErrorKind::InvalidData => Failure::usage(format!("{name}: {problem}")).hint(
            "ask for the proof file itself (thingdb prove -o FILE.tdbproof), or save it from the page and check that",
        ),
        _ => Failure::file(name, &problem),
    })?;
    let reader = if args.open { Some(context.open()?.proof_reader()) } else { None };
    let mut taken = Taken { shown: Entries::new(context, args.entries), places: Vec::new() };
    read(context, name, BufReader::new(source), reader.as_ref(), &mut check, &mut taken)?;
    let report = check.finish();
    let below = |size| taken.places.iter().filter(|place| **place < size).count() as u64;
    let count = taken.places.len() as u64;
    let witnessed = policy.as_ref().map(|policy| Witnessed::new(policy, notes(&report), count, below)).transpose()?;
    let is_met = witnessed.as_ref().is_none_or(Witnessed::is_met);
    let timestamps = stamped::timestamps(&report, roots.as_ref());
    let timestamped = roots.as_ref().map(|_| Timestamped::new(&timestamps, &taken.places));
    let is_stamped = timestamped.as_ref().is_none_or(Timestamped::is_met);
    let ok = report.is_good() && is_met && is_stamped;
    let mut told = ReportJson { witnessed, timestamped, timestamps, ok, ..json(&report) };
    told.not_told.extend(told.timestamped.as_ref().and_then(Timestamped::not_told));
    say(context, &report, &told, &cards, taken.shown)?;
    conclude(&report, &told, args)
}

/// What was taken of the entries of a file.
struct Taken {
    shown: Entries,
    /// Their places in the ledger.
    places: Vec<u64>,
}

fn read(
    context: &Context,
    name: &str,
    mut source: impl BufRead,
    reader: Option<&ProofReader>,
    check: &mut ProofCheck,
    taken: &mut Taken,
) -> Outcome {
    let mut start = Vec::new();
    let front = source.by_ref().take(other::START_BYTES).read_to_end(&mut start);
    let front = front.map(|_| other::refuse(name, &start));
    let source = start.as_slice().chain(source);
    let mut take = |_: &[u8], _: bool, proven: Option<&Proven>| match proven {
        Some(proven) => {
            taken.places.push(proven.place);
            taken.shown.take(proven)
        }
        None => Ok(()),
    };
    let read = match front {
        Ok(refused) => refused
            .map_err(Stopped::Failure)
            .and_then(|()| proof::read(&context.console, source, reader, check, &mut take)),
        Err(problem) => Err(Stopped::Source(problem)),
    };
    match read {
        Ok(()) => Ok(()),
        Err(Stopped::Failure(failure)) => Err(failure),
        Err(Stopped::Source(problem)) => match problem.kind() {
            kind @ (ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => {
                check.broken(kind == ErrorKind::UnexpectedEof, problem.to_string());
                Ok(())
            }
            _ => Err(Failure::file(name, &problem)),
        },
    }
}

const COLUMNS: usize = 6;

/// The column with what an entry says.
const CONTENT: usize = 4;

/// Where entries go as they are checked. From the first one that is withheld on they wait:
/// a record that comes later can say that it was erased.
enum Entries {
    Rows { text: Text, table: Box<Table<COLUMNS>>, page: Vec<Waiting<[Painted; COLUMNS]>>, most: usize, left: u64 },
    Objects { list: List, held: Vec<Waiting<EntryJson>> },
    Nowhere,
}

/// What is to be printed of an entry.
struct Waiting<T> {
    id: EntryId,
    is_withheld: bool,
    line: T,
}

impl<T> Waiting<T> {
    fn new(proven: &Proven, line: T) -> Self {
        Self { id: proven.id, is_withheld: matches!(proven.content, Content::Withheld), line }
    }
}

impl Entries {
    fn new(context: &Context, are_all: bool) -> Self {
        match context.output.format() {
            Format::Table => {
                let header = ["seq", "time", "actor", "action", "content", "id"];
                let table = Box::new(context.output.table(header, Some(CONTENT)));
                let most = if are_all { usize::MAX } else { MAX_SHOWN };
                Self::Rows { text: context.output.text(), table, page: Vec::new(), most, left: 0 }
            }
            Format::Ndjson if are_all => Self::Objects { list: context.output.list(), held: Vec::new() },
            _ => Self::Nowhere,
        }
    }

    fn take(&mut self, proven: &Proven) -> Outcome {
        match self {
            Self::Rows { left, most: 0, .. } => {
                *left += 1;
                Ok(())
            }
            Self::Rows { text, table, page, most, .. } => {
                *most -= 1;
                page.push(Waiting::new(proven, row(proven)));
                if page.len() == PAGE && !page.iter().any(|row| row.is_withheld) {
                    text.line(&table.page(page.drain(..).map(|row| row.line)))?;
                }
                Ok(())
            }
            Self::Objects { list, held } => {
                let entry = Waiting::new(proven, object(proven));
                if held.is_empty() && !entry.is_withheld {
                    return list.item(&entry.line);
                }
                held.push(entry);
                Ok(())
            }
            Self::Nowhere => Ok(()),
        }
    }

    /// Prints what waits: now it is known which entries were erased.
    fn settle(&mut self, report: &ProofReport) -> Outcome {
        match self {
            Self::Rows { text, table, page, .. } => {
                let mut rows = page.drain(..).map(|mut row| {
                    if report.erased_by.contains_key(&row.id) {
                        row.line[CONTENT] = "(erased)".to_owned().into();
                    }
                    row.line
                });
                loop {
                    let some: Vec<_> = rows.by_ref().take(PAGE).collect();
                    if some.is_empty() {
                        return Ok(());
                    }
                    text.line(&table.page(some))?;
                }
            }
            Self::Objects { list, held } => held.drain(..).try_for_each(|mut entry| {
                if let Some(by) = report.erased_by.get(&entry.id) {
                    (entry.line.content, entry.line.erased_by) = ("erased", Some(by.to_string()));
                }
                list.item(&entry.line)
            }),
            Self::Nowhere => Ok(()),
        }
    }
}

/// The name that a card gives the key, or the start of the key.
fn actor(proven: &Proven) -> String {
    let key = || proven.header.actor.to_string().chars().take(8).collect();
    proven.name.as_deref().map_or_else(key, |name| printable(name).into_owned())
}

fn row(proven: &Proven) -> [Painted; COLUMNS] {
    let (action, content) = match proven.content.body() {
        Some(body) => (printable(body.action()).into_owned(), excerpt(body)),
        None => (String::new(), format!("({})", proven.content.as_str())),
    };
    [
        proven.header.seq.to_string().into(),
        when::short(proven.header.time).into(),
        actor(proven).into(),
        action.into(),
        content.into(),
        Painted::id(&proven.id),
    ]
}

fn excerpt(body: &Body) -> String {
    match std::str::from_utf8(body.data()) {
        Ok(text) => shorten(&printable(&text.replace(['\n', '\r', '\t'], " ")), 72).into_owned(),
        Err(_) => format!("{}, {} bytes", printable(body.media_type()), body.data().len()),
    }
}

fn object(proven: &Proven) -> EntryJson {
    let header = &proven.header;
    let body = proven.content.body();
    let signed_as = body.map(Body::actor_name).filter(|name| proven.name.as_deref() != Some(name));
    EntryJson {
        place: proven.place,
        id: proven.id.to_string(),
        thing: header.thing.to_string(),
        seq: header.seq,
        time: header.time.to_string(),
        actor: ActorJson {
            key: header.actor.to_string(),
            name: proven.name.clone(),
            signed_as: signed_as.map(str::to_owned),
        },
        prev: header.prev.iter().map(ToString::to_string).collect(),
        content: proven.content.as_str(),
        erased_by: None,
        action: body.map(|body| body.action().to_owned()),
        media_type: body.map(|body| body.media_type().to_owned()),
        data: body.and_then(data),
    }
}

/// JSON as it was put, other data as a string of base64.
fn data(body: &Body) -> Option<Box<RawValue>> {
    let is_json = body.media_type() == thingdb::JSON;
    let text = std::str::from_utf8(body.data()).ok().filter(|_| is_json);
    // Line feeds stand between tokens only: within strings they are escaped.
    let one_line = |text: &str| text.replace(['\n', '\r'], " ");
    let as_json = text.and_then(|text| serde_json::from_str(&one_line(text)).ok());
    as_json.or_else(|| {
        let text = data_encoding::BASE64.encode(body.data());
        RawValue::from_string(format!("\"{text}\"")).ok()
    })
}

fn json(report: &ProofReport) -> ReportJson {
    let header = report.header.as_ref();
    let (from, to) = match header.map(|header| &header.subject) {
        Some(Subject::Range { from, to, .. }) => (Some(*from), Some(*to)),
        _ => (None, None),
    };
    ReportJson {
        ok: report.is_good(),
        thing: header.map(|header| header.subject.thing().to_string()),
        subject: header.map(|header| SubjectJson { kind: header.subject.kind(), from, to }),
        entries: report.entries,
        shown: report.shown,
        opened: report.opened,
        sealed: report.sealed,
        erased: report.erased,
        receipts: received::receipts(report),
        withheld: report.withheld,
        heads: heads_of(report).iter().take(64).map(ToString::to_string).collect(),
        first_time: report.times.map(|(first, _)| first.to_string()),
        last_time: report.times.map(|(_, last)| last.to_string()),
        ledger: header.map(|header| {
            LedgerJson::new(&header.card.node_key, &header.checkpoint, report.anchor == Some(Anchor::Trusted))
        }),
        kept: report.kept.map(Standing::as_str),
        complete: Complete::of(report),
        witnessed: None,
        timestamped: None,
        timestamps: Vec::new(),
        problems: report
            .problems
            .iter()
            .map(|problem| ProblemJson {
                verdict: problem.fault.as_str(),
                line: problem.line,
                id: problem.id.as_ref().map(ToString::to_string),
                detail: problem.detail.clone(),
            })
            .collect(),
        problems_total: report.problems_total,
        not_told: not_told(report),
    }
}

/// The heads of a history; of some of its entries nobody knows them, nor where a line
/// does not hold, which may be the one that follows.
fn heads_of(report: &ProofReport) -> &[thingdb::EntryId] {
    match report.header.as_ref().map(|header| &header.subject) {
        Some(Subject::History { .. }) if report.is_good() => &report.heads,
        _ => &[],
    }
}

/// What cannot be told, in whole sentences.
fn not_told(report: &ProofReport) -> Vec<String> {
    if report.header.is_none() {
        return Vec::new();
    }
    let mut said = Vec::new();
    if report.anchor == Some(Anchor::None) {
        said.push(
            "whose keys these are: the file is consistent with itself, and you have not said whom you trust \
             (--card or --fingerprint, got in another way than the file)"
                .to_owned(),
        );
    }
    said.extend(complete::not_told(report));
    if report.kept == Some(Standing::Unknown) {
        said.push(
            "whether the ledger grew out of the kept checkpoint: at the node, thingdb prove THING --checkpoint FILE \
             puts that in"
                .to_owned(),
        );
    }
    said
}

fn say(context: &Context, report: &ProofReport, told: &ReportJson, cards: &[Card], mut shown: Entries) -> Outcome {
    shown.settle(report)?;
    let mut text = match shown {
        Entries::Objects { mut list, .. } => {
            list.item(told)?;
            return list.end();
        }
        Entries::Nowhere => return context.output.object(told),
        Entries::Rows { mut text, left, .. } => {
            if left > 0 {
                text.line(&format!("and {} more; --entries shows all", grouped(left)))?;
            }
            text
        }
    };
    for problem in told.problems.iter().take(MAX_SHOWN) {
        let place = problem.line.map(|line| format!("  line {line}")).unwrap_or_default();
        text.line(&format!("{}{place}", problem.verdict))?;
        text.line(&format!("    {}", printable(&problem.detail)))?;
    }
    let more = told.problems_total.saturating_sub(MAX_SHOWN as u64);
    if more > 0 {
        text.line(&format!("and {} more; --json lists the first thousand", grouped(more)))?;
    }
    let verdict = if told.ok { "ok" } else { "NOT ok" };
    let entries = counted(report.entries, "entry", "entries");
    let thing = told.thing.as_deref().map(|thing| printable(thing).into_owned()).unwrap_or_default();
    let what = match report.header.as_ref().map(|header| &header.subject) {
        Some(Subject::History { .. }) if told.ok => format!("the history of {thing}: {entries}, each prev among them"),
        Some(Subject::History { .. }) => format!("the history of {thing}: {entries}"),
        Some(Subject::Range { from, to: MAX_SEQ, .. }) => format!("{thing}, seq {from} to the end: {entries}"),
        Some(Subject::Range { from, to, .. }) => format!("{thing}, seq {from} to {to}: {entries}"),
        Some(Subject::Entries { .. }) => format!("{entries} of {thing}"),
        Some(Subject::Absent { .. }) if told.ok => format!("there is no {thing}"),
        Some(Subject::Absent { .. }) => format!("that there is no {thing}"),
        None => "no proof file".to_owned(),
    };
    text.line(&format!("{verdict}  {what}"))?;
    if let Some(ledger) = &told.ledger {
        let name = cards.iter().find(|card| card.node_key.fingerprint().to_string() == ledger.fingerprint);
        let name = name.map(|card| card.name.as_str()).filter(|name| !name.is_empty());
        let name = name.map(|name| format!(" ({})", printable(name))).unwrap_or_default();
        let trusted = if ledger.trusted { ", which you trust" } else { "" };
        text.line(&format!("    in the ledger of the node {}{name}{trusted}", ledger.origin))?;
        text.line(&format!("    fingerprint {}", ledger.fingerprint))?;
        text.line(&format!("    ledger size {}, root {}", ledger.size, ledger.root))?;
    }
    match report.kept {
        Some(Standing::Holds) => text.line("    the kept checkpoint holds: the ledger grew out of it")?,
        Some(Standing::Contradicted) => text.line("    the kept checkpoint does NOT hold")?,
        Some(Standing::Smaller) => text.line("    the kept checkpoint is of a larger ledger: the file is older")?,
        _ => {}
    }
    if report.erased > 0 {
        let entries = counted(report.erased, "entry", "entries");
        text.line(&format!("    {entries} erased, as records in the file say"))?;
        for line in received::in_words(report) {
            text.line(&format!("    {line}"))?;
        }
    }
    for line in complete::in_words(report) {
        text.line(&format!("    {line}"))?;
    }
    if let Some(witnessed) = &told.witnessed {
        for line in witnessed.in_words() {
            text.line(&format!("    {line}"))?;
        }
    }
    for line in stamped::in_words(told.timestamped.as_ref(), &told.timestamps) {
        text.line(&format!("    {line}"))?;
    }
    if heads_of(report).len() > 1 {
        text.line(&format!("    it has forked: {} heads", report.heads.len()))?;
    }
    if !report.is_good() {
        text.line("    nothing of this file is proven, the entries above included")?;
    } else if !told.ok {
        text.line(&format!("    what the file claims holds, and what you ask for is not met: {}", told.not_met()))?;
    }
    if !told.not_told.is_empty() {
        text.line("not told:")?;
    }
    told.not_told.iter().try_for_each(|line| text.line(&format!("    {line}")))?;
    text.end()
}

/// The checkpoints of a file.
fn notes(report: &ProofReport) -> impl Iterator<Item = &SignedCheckpoint> {
    report.header.iter().flat_map(|header| {
        let earlier = header.earlier.iter().map(|earlier| &earlier.checkpoint);
        std::iter::once(&header.checkpoint).chain(earlier)
    })
}

fn conclude(report: &ProofReport, told: &ReportJson, args: &Args) -> Outcome {
    use thingdb::format::audit::Fault;
    let is_newer = |problem: &thingdb::format::audit::Problem| problem.fault == Fault::Newer;
    // What comes of a line that cannot be read is no fault of its own.
    let follows = |problem: &thingdb::format::audit::Problem| problem.line.is_none();
    let all = |problem| is_newer(problem) || follows(problem);
    if report.problems.iter().any(is_newer) && report.problems.iter().all(all) {
        return Err(Failure::newer("a newer version wrote this proof file, or a line of it"));
    }
    if !report.is_good() {
        let count = counted(report.problems_total, "problem", "problems");
        let failure = Failure::new(Exit::NotVerified, "not-verified", format!("the proof does not hold: {count}"));
        let first = report.problems.iter().take(1).map(|problem| problem.detail.clone());
        return Err(failure.causes(first).hint("keep the file as it is, and ask for another copy"));
    }
    if let Some(witnessed) = &told.witnessed {
        let hint = "at the node: thingdb checkpoint, which asks the witnesses, then thingdb prove again";
        witnessed.conclude("the file", hint)?;
    }
    if let Some(stamped) = &told.timestamped {
        let hint = "at the node: thingdb timestamp --tsa URL, then thingdb prove again";
        if !stamped.is_met() {
            let fact = "no checkpoint of the file is timestamped by an authority that you trust";
            let causes = told.timestamps.iter().take(3).filter_map(|stamp| stamp.told.problem.as_deref());
            let causes = causes.map(|problem| printable(problem).into_owned());
            return Err(Failure::new(Exit::NotVerified, "not-timestamped", fact).causes(causes).hint(hint));
        }
        if stamped.beyond > 0 {
            let entries = counted(stamped.beyond, "entry", "entries");
            let fact = format!("all that the file claims holds; {entries} came after the newest timestamp");
            return Err(Failure::new(Exit::Partly, "not-timestamped", fact).hint(hint));
        }
    }
    if args.checkpoint.is_some() && report.kept != Some(Standing::Holds) {
        let fact = "all that the file claims holds; the kept checkpoint could not be compared";
        return Err(Failure::new(Exit::Partly, "not-compared", fact)
            .hint("at the node: thingdb prove THING --checkpoint FILE -o FILE, with the kept checkpoint"));
    }
    Ok(())
}
