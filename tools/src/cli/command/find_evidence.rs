//! `thingdb find-evidence`: whether what a node signed in several files contradicts
//! itself, and the evidence if it does.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use thingdb::format::checkpoint::MAX_NOTE_BYTES;
use thingdb::format::heads::SignedHeads;
use thingdb::format::proof::ProofHeader;
use thingdb::format::{TlogProof, tlog_proof};
use thingdb::{Compared, NodeKey, SignedCheckpoint, Statements, Time, Weight};

use crate::bytes::examine::{next_line, skip_blanks};
use crate::bytes::{compress, page};
use crate::cli::context::Context;
use crate::cli::input::{self, card};
use crate::console::Console;
use crate::error::{Exit, Failure, Outcome};
use crate::text::{counted, grouped};
use crate::view::evidence::{self, Checked};
use crate::view::when;

/// Enough of a file to tell what it is.
const START_BYTES: u64 = 32;

/// Arguments of `thingdb find-evidence`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb find-evidence from-anna.tdbproof from-ben.tdbproof -o evidence.txt
  thingdb find-evidence part-42.tdbproof kept.checkpoint -o evidence.txt
  thingdb find-evidence march.checkpoint april.checkpoint --card @plant.card
  thingdb verify-evidence evidence.txt

Compares everything that one node signed of its ledger in these files: the
checkpoints and heads notes of proof files (pages, too), checkpoints, and
tlog-proofs. Two different ledgers of one size, and two different heads notes of
one size, convict the node: the file that is written shows it to everybody. It
needs no database, no passphrase and no network.

Exit code 0 if evidence was found, 3 if all is one ledger that only grew, 6 if
nothing contradicts but no proof leads from one of the states to another one, 4
if a file holds what the node did not sign.")]
pub(crate) struct Args {
    /// Proof files and checkpoints, in the order in which you got them; - for stdin
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,

    /// Write the evidence to a file; stdout if absent or -
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The card of the node, where no proof file brings it; @FILE to read it from a file
    #[arg(long, value_name = "CARD")]
    card: Option<String>,
}

/// What a file holds that a node signed.
enum Signed {
    Proof(Box<ProofHeader>),
    Checkpoint(SignedCheckpoint),
    Heads(SignedHeads),
}

/// Looks for evidence, without a database.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let console = &context.console;
    let card = args.card.as_deref().map(|argument| card::read(console, argument)).transpose()?;
    if args.files.iter().filter(|file| *file == "-").count() > 1 {
        return Err(Failure::usage("stdin can be one of the files only"));
    }
    let mut files = Vec::new();
    for path in &args.files {
        let name = if path == "-" { "stdin" } else { path };
        files.push((name, read(console, path, name)?));
    }
    let node = node(card.map(|(card, _)| card.node_key), &files)?;
    let mut said = Statements::new(node);
    for (name, signed) in files {
        let taken = match signed {
            Signed::Proof(header) => said.proof_header(*header),
            Signed::Checkpoint(note) => said.checkpoint(note),
            Signed::Heads(note) => said.heads(note),
        };
        taken.map_err(|problem| {
            let fact = format!("{name} holds what the node {} did not sign", node.origin());
            Failure::new(Exit::NotVerified, "not-verified", fact).cause(problem.to_string())
        })?;
    }
    let now = Time::from_micros(when::now().as_microsecond().try_into().unwrap_or(0)).map_err(thingdb::Error::from)?;
    match said.compare(now) {
        Compared::SplitView(found) => {
            let verdict = format!("{}: {}", found.found, evidence::PROVEN);
            write(context, args, &found.to_string(), &verdict, &Checked::of(&found, Weight::Proof))
        }
        Compared::SplitHeads(found) => {
            write(context, args, &found.to_string(), evidence::HEADS_PROVEN, &Checked::of_heads(&found))
        }
        Compared::Contradiction { size } => {
            let fact = format!(
                "a checkpoint and a heads note of {} name two ledgers: the node contradicts itself",
                counted(size, "entry", "entries")
            );
            Err(Failure::new(Exit::Partly, "contradiction", fact)
                .cause("no evidence file has this form: it is these files that show it")
                .hint("keep them, and ask others for the checkpoint that they have of this size"))
        }
        Compared::Unknown { size, next } => {
            let (size, next) = (counted(size, "entry", "entries"), grouped(next));
            let fact = format!("nothing contradicts, and no proof leads from the ledger of {size} to that of {next}");
            Err(Failure::new(Exit::Partly, "not-compared", fact)
                .cause("a split that no two of the files show at one size cannot be seen from them")
                .hint("have the node prove that its ledger grew: thingdb prove THING --checkpoint FILE -o PROOF")
                .hint("then compare that file with the others"))
        }
        _ => Err(Failure::not_found("nothing contradicts: all of it is one ledger that only grew")),
    }
}

/// The node that all of it is of.
fn node(named: Option<NodeKey>, files: &[(&str, Signed)]) -> Outcome<NodeKey> {
    let of = |(name, signed): &(_, Signed)| match signed {
        Signed::Proof(header) => Some((*name, header.card.node_key)),
        _ => None,
    };
    let mut known = files.iter().filter_map(of);
    let Some(node) = named.or_else(|| known.clone().next().map(|(_, node)| node)) else {
        return Err(Failure::usage("no proof file says which key signed these")
            .hint("thingdb find-evidence FILE FILE --card @CARD, with the card of the node"));
    };
    match known.find(|(_, other)| *other != node) {
        None => Ok(node),
        Some((name, other)) => {
            let fact = format!("{name} is of the node {}, and not of {}", other.origin(), node.origin());
            Err(Failure::usage(fact).cause("only what one node signed can contradict itself"))
        }
    }
}

/// What a file holds.
fn read(console: &Console, path: &str, name: &str) -> Outcome<Signed> {
    let failed = |problem: &std::io::Error| Failure::file(name, problem);
    let source = console.source(path)?;
    let source = page::reader(source).and_then(compress::reader).map_err(|problem| failed(&problem))?;
    let mut source = BufReader::new(source);
    skip_blanks(&mut source).map_err(|problem| failed(&problem))?;
    let mut start = Vec::new();
    source.by_ref().take(START_BYTES).read_to_end(&mut start).map_err(|problem| failed(&problem))?;
    let source = start.as_slice().chain(source);
    let refused = |problem: thingdb::format::Error| Failure::usage(format!("{name}: {problem}"));
    if start.starts_with(b"thingdb.node/") {
        let note = SignedCheckpoint::parse(&text(source, MAX_NOTE_BYTES, name)?).map_err(refused)?;
        return Ok(Signed::Checkpoint(note));
    }
    if start.starts_with(b"thingdb.heads/") {
        return Ok(Signed::Heads(SignedHeads::parse(&text(source, MAX_NOTE_BYTES, name)?).map_err(refused)?));
    }
    if start.starts_with(b"c2sp.org/tlog-proof@") {
        let proof = TlogProof::parse(&text(source, tlog_proof::MAX_BYTES, name)?).map_err(refused)?;
        return Ok(Signed::Checkpoint(proof.checkpoint));
    }
    let (line, read) = next_line(&mut BufReader::new(source));
    if line.is_empty() {
        read.map_err(|problem| failed(&problem))?;
    }
    match ProofHeader::decode(&line, 1) {
        Ok(header) => Ok(Signed::Proof(Box::new(header))),
        Err(problem @ thingdb::format::Error::NewerVersion { .. }) => Err(Failure::newer(format!("{name}: {problem}"))),
        Err(problem) => Err(Failure::usage(format!("{name} is no proof file and no checkpoint"))
            .cause(problem.to_string())
            .hint("thingdb find-evidence FILE FILE, with what thingdb prove and thingdb checkpoint write")),
    }
}

/// No more of a text than makes it too long.
fn text(source: impl Read, most: usize, name: &str) -> Outcome<String> {
    let mut text = Vec::new();
    let read = source.take(most as u64 + 1).read_to_end(&mut text);
    read.map_err(|problem| Failure::file(name, &problem))?;
    input::text(text)
}

fn write(context: &Context, args: &Args, text: &str, verdict: &str, checked: &Checked) -> Outcome {
    let Some(path) = args.output.as_deref().filter(|path| *path != Path::new("-")) else {
        context.console.note(verdict);
        return context.output.bytes(text.as_bytes());
    };
    context.console.write_file(path, text.as_bytes())?;
    context.console.note(&format!("evidence in {}", path.display()));
    if context.output.is_json() {
        return context.output.object(checked);
    }
    checked.lines(verdict).iter().try_for_each(|line| context.output.line(line))
}
