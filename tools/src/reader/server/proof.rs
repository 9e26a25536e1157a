//! A proof file on its way from a server. It is checked as whoever gets it will
//! check it: a server that lies is found out before the file is kept.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};

use thingdb::format::audit::{Fault as Wrong, Standing};
use thingdb::format::proof::{MEDIA_TYPE, ProofCheck, ProofReport, Proven};

use super::{Fault, Question, Server, Stopped, escaped, known, unpacked};
use crate::error::{Exit, Failure, Outcome};
use crate::reader::failure::failure;
use crate::reader::proof;
use crate::reader::proving::{Proved, Proving};
use crate::view::fields;

/// Lines that are passed on, but for the last: a file without it is refused.
struct Passage<'a> {
    out: &'a mut dyn Write,
    /// The first line that is neither a good entry nor stands before all of them. It is
    /// the last one, or nothing holds.
    held: Option<Vec<u8>>,
    entries: u64,
    /// Of these, entries that were asked for.
    asked: u64,
    /// Entries that are sealed to the reader.
    addressed: u64,
    /// Those that went out.
    bytes: u64,
}

impl Passage<'_> {
    fn take(&mut self, line: &[u8], is_preface: bool, is_entry: bool) -> Outcome {
        if self.held.is_none() && (is_entry || (is_preface && self.entries == 0)) {
            return self.write(line);
        }
        self.held.get_or_insert_with(|| line.to_vec());
        Ok(())
    }

    fn write(&mut self, line: &[u8]) -> Outcome {
        self.out.write_all(line).map_err(|problem| Failure::output(&problem))?;
        self.bytes = self.bytes.saturating_add(line.len() as u64);
        Ok(())
    }

    /// The last line, of a file that holds.
    fn end(&mut self) -> Outcome {
        let last = self.held.take().unwrap_or_default();
        self.write(&last)?;
        self.out.flush().map_err(|problem| Failure::output(&problem))
    }
}

impl Server {
    /// Asks for a proof file and writes it.
    pub(super) fn proof(
        &self,
        wanted: &Proving<'_>,
        out: &mut dyn Write,
        tell: &mut dyn FnMut(u64, u64, u64),
    ) -> Outcome<Proved> {
        let target = format!("/things/{}/proof{}", escaped(&known(wanted.thing)?), query(wanted)?);
        let question = Question::get(target).header("accept", MEDIA_TYPE).header("accept-encoding", "zstd");
        // A file that is begun is taken away, and not left by a signal.
        let _patience = self.console.patience();
        let mut passage = Passage { out, held: None, entries: 0, asked: 0, addressed: 0, bytes: 0 };
        let report = loop {
            let asked = self.client.borrow_mut().stream(&question, |head, source| {
                let source = BufReader::with_capacity(256 << 10, unpacked(head, source)?);
                self.check(wanted, source, &mut passage, tell)
            });
            match asked {
                Ok(report) => break report,
                // Nothing of it went out yet.
                Err(Stopped::Fault(fault)) if fault.is_passing() && passage.bytes == 0 => {
                    self.client.borrow_mut().wait(fault).map_err(|fault| failure(fault, &self.url))?;
                }
                Err(Stopped::Fault(fault)) => return Err(failure(fault, &self.url)),
                Err(Stopped::Failure(failure)) => return Err(failure),
            }
        };
        self.judge(wanted, &report, passage.asked)?;
        passage.end()?;
        Proved::of(&report, passage.addressed, passage.bytes).ok_or_else(|| self.bad("no proof file"))
    }

    fn check(
        &self,
        wanted: &Proving<'_>,
        source: impl BufRead,
        passage: &mut Passage<'_>,
        tell: &mut dyn FnMut(u64, u64, u64),
    ) -> Result<ProofReport, Stopped> {
        let mut check = ProofCheck::new();
        if let Some(node) = &self.node {
            check = check.trust_fingerprint(node.fingerprint());
        }
        if let Some(note) = wanted.kept.first() {
            check = check.kept(note.clone());
        }
        let mut take = |line: &[u8], is_preface: bool, proven: Option<&Proven>| {
            if let Some(proven) = proven {
                wanted.fits(proven).map_err(|why| self.bad(why))?;
                passage.entries += 1;
                passage.asked += u64::from(wanted.is_asked(&proven.id));
                passage.addressed += u64::from(!proven.envelopes.is_empty());
            }
            passage.take(line, is_preface, proven.is_some())?;
            tell(passage.entries, 0, passage.bytes);
            Ok(())
        };
        match proof::read(&self.console, source, None, &mut check, &mut take) {
            Ok(()) => Ok(check.finish()),
            Err(proof::Stopped::Source(problem)) => Err(Fault::of_line(&problem).into()),
            Err(proof::Stopped::Failure(failure)) => Err(Stopped::Failure(failure)),
        }
    }

    /// Whether the file holds, and is what was asked for.
    fn judge(&self, wanted: &Proving<'_>, report: &ProofReport, found: u64) -> Outcome {
        if report.problems.iter().any(|problem| problem.fault == Wrong::Newer) {
            return Err(failure(Fault::Newer("the proof file".to_owned()), &self.url));
        }
        if !report.is_good() {
            let fact = format!("the proof that {} sends does not hold", self.url);
            let causes = report.problems.iter().take(3).map(|problem| problem.detail.clone());
            return Err(Failure::new(Exit::NotVerified, "not-verified", fact)
                .causes(causes)
                .cause("the file is not kept"));
        }
        let Some(header) = &report.header else { return Err(self.bad("no proof file")) };
        if header.subject != wanted.subject()? {
            return Err(self.bad("a proof of something else than was asked for"));
        }
        let mut asked: Vec<_> = wanted.entries.to_vec();
        asked.sort_unstable();
        asked.dedup();
        if !asked.is_empty() && asked.len() as u64 != found {
            return Err(self.bad("a proof without some of the entries that were asked for"));
        }
        if !wanted.kept.is_empty() && report.kept != Some(Standing::Holds) {
            let fact = format!(
                "the proof that {} sends does not show that its ledger grew out of the kept checkpoint",
                self.url
            );
            return Err(Failure::new(Exit::NotVerified, "not-verified", fact).cause("the file is not kept"));
        }
        if !wanted.fields.is_empty() && report.partly_shown == 0 {
            return Err(self.bad("a proof without any of the fields that were asked for"));
        }
        Ok(())
    }
}

/// What is asked for, as the route takes it.
fn query(wanted: &Proving<'_>) -> Outcome<String> {
    let several = "a server puts one kept checkpoint into a proof";
    if wanted.kept.len() > 1 {
        return Err(Failure::usage(several).hint("thingdb prove --checkpoint FILE, once; or at the node itself"));
    }
    let list = |items: Vec<String>| (!items.is_empty()).then(|| items.join(","));
    let withheld = wanted.withheld_seqs.iter().map(ToString::to_string);
    let withheld = withheld.chain(wanted.withheld.iter().map(ToString::to_string)).collect();
    let parts = [
        ("since", wanted.seqs.map(|(first, _)| first.to_string())),
        ("until", wanted.seqs.map(|(_, last)| last.to_string())),
        ("entry", list(wanted.entries.iter().map(ToString::to_string).collect())),
        ("withhold", list(withheld)),
        ("stubs_only", wanted.stubs_only.then(|| "true".to_owned())),
        ("absent", wanted.absent.then(|| "true".to_owned())),
        ("to", wanted.to.map(ToString::to_string)),
        ("fields", (!wanted.fields.is_empty()).then(|| fields::joined(wanted.fields))),
        ("checkpoint", wanted.kept.first().map(|note| note.as_str().to_owned())),
    ];
    let mut query = String::new();
    for (name, value) in parts {
        if let Some(value) = value {
            let mark = if query.is_empty() { '?' } else { '&' };
            write!(query, "{mark}{name}={}", escaped(&value)).expect("text takes text");
        }
    }
    Ok(query)
}
