//! `thingdb verify FILE…`: a stream is checked without a database.

use std::io::{BufRead, ErrorKind, Read};

use serde::Serialize;
use thingdb::SignedCheckpoint;
use thingdb::format::audit::{Audit, Report, Standing, Whole, examine, examine_read};
use thingdb::format::frame::{Decoder, MAGIC};
use thingdb::format::{Card, Error, Hash, Line, Policy};

use crate::bytes::examine::{Examiners, MAX_ITEM_BYTES, MAX_ITEMS, next_line, skip_blanks};
use crate::bytes::{compress, unwrap};
use crate::cli::context::Context;
use crate::cli::input::card;
use crate::error::{Exit, Failure, Outcome};
use crate::text::{counted, grouped, printable};
use crate::view::ledger::LedgerJson;
use crate::view::witnessed::Witnessed;

/// Problems that are shown on a terminal.
const MAX_SHOWN: usize = 20;

/// Whether an argument names a stream: `-`, `@FILE`, or a name that ends as
/// those of streams do.
pub(crate) fn is_stream(argument: &str) -> bool {
    let packed = [".gz", ".zst"].iter().find_map(|end| argument.strip_suffix(end));
    let ends = [".ndjson", ".jsonl", ".json", ".tdbs"];
    argument == "-" || argument.starts_with('@') || packed.is_some() || ends.iter().any(|end| argument.ends_with(end))
}

/// The result, and the members of its JSON.
#[derive(Serialize)]
struct AuditJson {
    ok: bool,
    stream: &'static str,
    ledger: Option<LedgerJson>,
    kept: Option<&'static str>,
    /// What the witnesses of the policy have seen of the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    witnessed: Option<Witnessed>,
    entries: u64,
    repeated: u64,
    things: u64,
    actors: u64,
    stubs: u64,
    forked: u64,
    strangers: u64,
    problems: Vec<ProblemJson>,
    problems_total: u64,
    not_told: Vec<String>,
}

#[derive(Serialize)]
struct ProblemJson {
    verdict: &'static str,
    file: Option<String>,
    line: Option<u64>,
    id: Option<String>,
    detail: String,
}

/// Checks streams, one after the other as if they were one, and prints what
/// was found.
pub(crate) fn run(
    context: &Context,
    files: &[String],
    cards: &[String],
    note: Option<SignedCheckpoint>,
    policy: Option<&Policy>,
) -> Outcome {
    let console = &context.console;
    let cards = card::trusted(console, cards)?;
    let mut audit = cards.iter().fold(Audit::new(), Audit::trust);
    if let Some(note) = &note {
        audit = audit.kept(note.clone());
    }
    let mut sources = Vec::new();
    for name in files {
        let source = console.source(name.strip_prefix('@').unwrap_or(name))?;
        let lines = compress::reader(source).and_then(unwrap::lines);
        sources.push((name, lines.map_err(|problem| Failure::file(name, &problem))?));
    }
    audit = audit.rewritten(sources.iter().any(|(_, (_, is_array))| *is_array));
    let mut reading = Reading { context, audit, examiners: Examiners::new() };
    // Lines are numbered through all files, and named by their own.
    let mut starts = Vec::new();
    for (name, (mut source, _)) in sources {
        starts.push((name.clone(), reading.examiners.numbered()));
        let front = source.fill_buf().map_or(0, |front| {
            let len = front.len().min(MAGIC.len() - 1);
            if len > 0 && front.get(..len) == MAGIC.get(..len) { len } else { 0 }
        });
        if front > 0 { reading.frames(name, source)? } else { reading.lines(name, source)? }
    }
    let report = reading.audit.finish();
    let witnessed = policy.map(|policy| witnessed(policy, &report, note.as_ref())).transpose()?;
    let mut told = json(&report, &cards, &starts);
    told.ok &= witnessed.as_ref().is_none_or(Witnessed::is_met);
    told.witnessed = witnessed;
    say(context, &report, &told)?;
    conclude(&report)?;
    told.witnessed.map_or(Ok(()), |witnessed| {
        witnessed
            .conclude("the stream", "at the node: thingdb checkpoint, which asks the witnesses, then thingdb export")
    })
}

/// What a policy makes of the checkpoint of a stream, and of the one that was kept.
fn witnessed(policy: &Policy, report: &Report, kept: Option<&SignedCheckpoint>) -> Outcome<Witnessed> {
    let own = report.checkpoint.as_ref().map(|(_, note)| note);
    let kept = kept.filter(|_| report.kept == Some(Standing::Holds));
    let entries = own.map_or(report.entries, |note| note.claimed().size);
    Witnessed::new(policy, own.into_iter().chain(kept), entries, |size| size)
}

/// What is examined by itself.
enum Item {
    Line(Vec<u8>),
    Frame(Box<Line>, Hash),
}

struct Reading<'a> {
    context: &'a Context,
    audit: Audit,
    /// They count lines and frames.
    examiners: Examiners,
}

impl Reading<'_> {
    fn lines(&mut self, name: &str, mut source: impl BufRead) -> Outcome {
        let (mut items, mut bytes) = (Vec::new(), 0);
        loop {
            let (line, read) = match skip_blanks(&mut source) {
                Ok(0) => next_line(&mut source),
                Ok(blanks) => {
                    self.go_on()?;
                    self.examiners.pass(blanks);
                    continue;
                }
                Err(problem) => (Vec::new(), Err(problem)),
            };
            let is_end = line.is_empty() || read.is_err();
            // A line that was torn is none.
            if !line.is_empty() && (read.is_ok() || line.ends_with(b"}")) {
                bytes += line.len();
                items.push((self.examiners.next(), Item::Line(line)));
            }
            if is_end || items.len() >= MAX_ITEMS || bytes >= MAX_ITEM_BYTES {
                self.examine(std::mem::take(&mut items))?;
                bytes = 0;
            }
            if let Err(problem) = read {
                return self.broken(name, &problem);
            }
            if is_end {
                return Ok(());
            }
        }
    }

    fn frames(&mut self, name: &str, mut source: impl BufRead) -> Outcome {
        let (mut decoder, mut buffer, mut items) = (Decoder::default(), Vec::new(), Vec::new());
        loop {
            let read = source.by_ref().take(MAX_ITEM_BYTES as u64).read_to_end(&mut buffer);
            let mut done = 0;
            let refused = loop {
                match decoder.next(buffer.get(done..).unwrap_or_default()) {
                    Ok(Some((line, used))) => {
                        let hash = Hash::of(buffer.get(done..done + used).unwrap_or_default());
                        done += used;
                        items.push((self.examiners.next(), Item::Frame(Box::new(line), hash)));
                        if items.len() >= MAX_ITEMS {
                            self.examine(std::mem::take(&mut items))?;
                        }
                    }
                    Ok(None) => break None,
                    Err(problem) => break Some(problem),
                }
            };
            buffer.drain(..done);
            self.examine(std::mem::take(&mut items))?;
            if let Some(problem) = refused {
                self.audit.broken(self.examiners.numbered() + 1, &problem);
                return Ok(());
            }
            match read {
                Err(problem) => return self.broken(name, &problem),
                Ok(0) if buffer.is_empty() => return Ok(()),
                Ok(0) => {
                    self.audit.broken(self.examiners.numbered() + 1, &Error::Cut { entries: 0 });
                    return Ok(());
                }
                Ok(_) => {}
            }
        }
    }

    /// Unless somebody asked it to stop.
    fn go_on(&self) -> Outcome {
        if self.context.console.is_interrupted() {
            return Err(Failure::new(Exit::Interrupted, "interrupted", "stopped; nothing was checked to its end"));
        }
        Ok(())
    }

    /// Examines items on all cores and takes them in their order.
    fn examine(&mut self, items: Vec<(u64, Item)>) -> Outcome {
        self.go_on()?;
        if items.is_empty() {
            return Ok(());
        }
        let examined = self.examiners.all(items, |item, number, memos| match item {
            Item::Line(line) => examine(&line, number, memos),
            Item::Frame(line, hash) => examine_read(*line, hash, number, memos),
        });
        examined.into_iter().for_each(|one| self.audit.take(one));
        Ok(())
    }

    /// What came before a source failed was examined.
    fn broken(&mut self, name: &str, problem: &std::io::Error) -> Outcome {
        let problem = match problem.kind() {
            ErrorKind::UnexpectedEof => Error::Cut { entries: 0 },
            ErrorKind::InvalidData => Error::Damaged { problem: problem.to_string() },
            _ => return Err(Failure::file(name, problem)),
        };
        self.audit.broken(self.examiners.numbered() + 1, &problem);
        Ok(())
    }
}

fn word(stream: &Whole) -> &'static str {
    match stream {
        Whole::Bare => "bare",
        Whole::Whole => "whole",
        Whole::Part => "part",
        Whole::Cut => "cut",
        Whole::Damaged => "damaged",
        Whole::Newer => "newer",
    }
}

fn json(report: &Report, cards: &[Card], starts: &[(String, u64)]) -> AuditJson {
    let problem = |problem: &thingdb::format::audit::Problem| {
        let start = problem.line.and_then(|line| starts.iter().rev().find(|(_, start)| *start < line));
        ProblemJson {
            verdict: problem.fault.as_str(),
            file: start.map(|(name, _)| name.clone()),
            line: problem.line.zip(start).map(|(line, (_, start))| line - start),
            id: problem.id.as_ref().map(ToString::to_string),
            detail: problem.detail.clone(),
        }
    };
    let ledger = report.checkpoint.as_ref().map(|(node, note)| {
        let is_trusted = cards.iter().any(|card| card.node_key == *node);
        LedgerJson::new(node, note, is_trusted)
    });
    AuditJson {
        ok: report.is_whole(),
        stream: word(&report.stream),
        not_told: not_told(report, cards, ledger.as_ref()),
        ledger,
        kept: report.kept.map(Standing::as_str),
        witnessed: None,
        entries: report.entries,
        repeated: report.repeated,
        things: report.things,
        actors: report.actors,
        stubs: report.stubs,
        forked: report.forked,
        strangers: report.strangers,
        problems: report.problems.iter().map(problem).collect(),
        problems_total: report.problems_total,
    }
}

/// What cannot be told, in whole sentences.
fn not_told(report: &Report, cards: &[Card], ledger: Option<&LedgerJson>) -> Vec<String> {
    let mut said = Vec::new();
    let mut add = |text: String| said.push(text);
    match ledger {
        _ if cards.is_empty() => {
            add("whose keys these are: you have not said whom you trust (--card @CARD, got by a safe way)".to_owned());
        }
        None => add("what is missing: no checkpoint came that a trusted node signed".to_owned()),
        Some(_) => {}
    }
    if !cards.is_empty() && report.strangers > 0 {
        let count = counted(report.strangers, "entry is", "entries are");
        add(format!("who wrote everything: {count} of actors or origins that no --card names"));
    }
    match (&report.stream, ledger) {
        (Whole::Whole, Some(ledger)) => {
            add(format!("what was written after the checkpoint of {} entries", ledger.size))
        }
        (Whole::Part, Some(ledger)) if report.entries < ledger.size => {
            let came = counted(report.entries, "entry", "entries");
            add(format!("what the rest of the ledger says: {came} of {} came", ledger.size));
        }
        (Whole::Part, Some(ledger)) => {
            let size = ledger.size;
            add(format!(
                "whether it is the whole ledger of {size}: that takes its entries in its order, and no others"
            ));
        }
        (Whole::Bare | Whole::Part, _) => {
            add("whether entries are missing: nobody signed how many there are".to_owned())
        }
        _ => {}
    }
    if report.stubs > 0 {
        let count = counted(report.stubs, "stub has", "stubs have");
        add(format!("why {count} no payload: whoever had the stream in hand can have taken it out"));
    }
    if report.kept == Some(Standing::Unknown) {
        add("whether the ledger grew out of the kept checkpoint: that takes an export of everything".to_owned());
    }
    add("for whom the entries are sealed: envelopes are not signed".to_owned());
    add("what the payloads say: they are not opened here".to_owned());
    said
}

fn say(context: &Context, report: &Report, told: &AuditJson) -> Outcome {
    if context.output.is_json() {
        return context.output.object(told);
    }
    let mut text = context.output.text();
    for problem in told.problems.iter().take(MAX_SHOWN) {
        let place = match (&problem.file, problem.line) {
            (Some(file), Some(line)) => format!("  {}, line {line}", printable(file)),
            _ => String::new(),
        };
        text.line(&format!("{}{place}", problem.verdict))?;
        text.line(&format!("    {}", printable(&problem.detail)))?;
    }
    let more = told.problems_total.saturating_sub(MAX_SHOWN as u64);
    if more > 0 {
        text.line(&format!("and {} more; --json lists the first thousand", grouped(more)))?;
    }
    let verdict = match (&report.stream, report.failures) {
        (_, 1..) => "NOT ok",
        _ if told.witnessed.as_ref().is_some_and(|witnessed| !witnessed.is_met()) => "NOT ok",
        (Whole::Whole, 0) if told.ok => "ok",
        _ => "not whole",
    };
    let what = match (&report.stream, &told.ledger) {
        (Whole::Whole, Some(ledger)) => format!("the whole ledger up to {}", ledger.size),
        (Whole::Part, Some(ledger)) => format!("a part of a ledger of {}", ledger.size),
        (Whole::Part, None) => "a part of a ledger that nobody signed".to_owned(),
        (Whole::Bare, _) => "bare: no header and no trailer".to_owned(),
        (state, _) => word(state).to_owned(),
    };
    let counts = [
        counted(report.entries, "entry", "entries"),
        counted(report.things, "thing", "things"),
        counted(report.actors, "actor", "actors"),
    ];
    text.line(&format!("{verdict}  {what}: {}", counts.join(", ")))?;
    if let Some(ledger) = &told.ledger {
        let trusted = if ledger.trusted { ", as on the card" } else { "" };
        text.line(&format!("    signed by the node {}{trusted}", ledger.origin))?;
        text.line(&format!("    fingerprint {}", ledger.fingerprint))?;
        text.line(&format!("    ledger size {}, root {}", ledger.size, ledger.root))?;
    }
    match report.kept {
        Some(Standing::Holds) => text.line("    the kept checkpoint holds: the ledger begins with its entries")?,
        Some(Standing::Contradicted) => text.line("    the kept checkpoint does NOT hold")?,
        Some(Standing::Smaller) => text.line("    the kept checkpoint is of a larger ledger")?,
        _ => {}
    }
    let mut seen = told.witnessed.iter().flat_map(Witnessed::in_words);
    seen.try_for_each(|line| text.line(&format!("    {line}")))?;
    for part in [
        (report.repeated, "line repeats an entry", "lines repeat an entry"),
        (report.stubs, "stub", "stubs"),
        (report.forked, "forked thing", "forked things"),
    ] {
        if part.0 > 0 {
            text.line(&format!("    {}", counted(part.0, part.1, part.2)))?;
        }
    }
    text.line("not told:")?;
    told.not_told.iter().try_for_each(|line| text.line(&format!("    {line}")))?;
    text.end()
}

fn conclude(report: &Report) -> Outcome {
    if report.stream == Whole::Newer {
        return Err(Failure::newer("a newer version wrote this stream, or a line of it"));
    }
    if report.failures > 0 || report.stream == Whole::Damaged {
        let count = counted(report.problems_total, "problem", "problems");
        let failure = Failure::new(Exit::NotVerified, "not-verified", format!("the stream does not verify: {count}"));
        return Err(failure.hint("keep the file as it is, and compare with another copy"));
    }
    if report.is_whole() {
        return Ok(());
    }
    let fact = match report.stream {
        Whole::Cut => "what came is good, and the stream is cut",
        Whole::Bare => "what came is good, and nobody signed that it is everything",
        Whole::Whole if report.problems_total > 0 => "what came is good, and entries before it are missing",
        Whole::Whole => "what came is good, and the kept checkpoint cannot be compared",
        _ => "what came is good, and it is not the whole ledger",
    };
    Err(Failure::new(Exit::Partly, "not-whole", fact).hint("ask its people for an export of everything"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_told_by_their_names() {
        for name in ["-", "@part-42", "all.ndjson", "a/b.tdbs", "all.ndjson.zst", "x.gz", "all.json"] {
            assert!(is_stream(name), "{name}");
        }
        for name in ["part-42", "plant-3/part", "ndjson", "gz"] {
            assert!(!is_stream(name), "{name}");
        }
    }
}
