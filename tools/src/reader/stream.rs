//! A stream of entries on its way from a server: each line or frame is looked
//! at, the trailer has to fit, and nothing that is not an entry, or was not
//! asked for, goes through.

use std::io::{BufRead, BufReader, Read, Write};

use thingdb::StreamForm;
use thingdb::format::frame::Decoder;
use thingdb::format::line::MAX_LINE_BYTES;
use thingdb::format::stream::Outcome as Ending;
use thingdb::format::stream::hash_of_line;
use thingdb::format::{Checkpoint, Entry, Hash, Line, StreamCheck, StreamHeader, Trailer};

use crate::view::hole::HolesJson;

/// Why a stream did not go through.
#[derive(Debug)]
pub(crate) enum Broken {
    /// It did not come.
    Source(std::io::Error),
    /// It is none.
    Bad(String),
    /// A newer version wrote it.
    Newer(String),
    /// It could not be handed on.
    Out(std::io::Error),
}

impl Broken {
    fn of(problem: &thingdb::format::Error) -> Self {
        let text = problem.to_string();
        if problem.is_newer_version() { Self::Newer(text) } else { Self::Bad(text) }
    }
}

/// What went through.
pub(crate) struct Passed {
    /// Entries.
    pub(crate) entries: u64,
    /// Bytes.
    pub(crate) bytes: u64,
    /// What the server could not read.
    pub(crate) holes: Option<HolesJson>,
}

/// What a stream has to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// It begins at this ledger position.
    pub(crate) since: u64,
    /// It ends before this one, as the server says.
    pub(crate) next_position: u64,
    /// Names of its things begin so.
    pub(crate) prefix: &'a str,
}

/// Hands a stream on as it comes.
pub(crate) struct Passage<'a> {
    out: &'a mut dyn Write,
    tell: &'a mut dyn FnMut(u64, u64, u64),
    check: StreamCheck,
    /// What the header says of the ledger.
    ledger: Option<Checkpoint>,
    /// Its trailer came.
    has_ended: bool,
    passed: Passed,
}

/// The most that is said behind a stream.
const MAX_HOLES_BYTES: usize = 16 << 20;

/// Room for what is read that is kept from line to line.
const KEPT_BYTES: usize = 1 << 20;

/// How often it is told how far the stream is.
const TELL_EVERY: u64 = 1000;

impl<'a> Passage<'a> {
    /// To `out`; `tell` learns of entries, of how many, and bytes.
    pub(crate) fn new(out: &'a mut dyn Write, tell: &'a mut dyn FnMut(u64, u64, u64)) -> Self {
        Self {
            out,
            tell,
            check: StreamCheck::default(),
            ledger: None,
            has_ended: false,
            passed: Passed { entries: 0, bytes: 0, holes: None },
        }
    }

    /// Lets a stream through to its end.
    pub(crate) fn run(mut self, form: StreamForm, asked: &Asked<'_>, source: impl Read) -> Result<Passed, Broken> {
        match form {
            StreamForm::Binary => self.frames(asked, source)?,
            _ => self.lines(asked, source)?,
        }
        match self.check.finish() {
            Ok(Ending::Complete { streams: 1, .. }) => Ok(self.passed),
            Ok(_) => Err(Broken::Bad("it is not one stream with header and trailer".to_owned())),
            Err(problem) => Err(Broken::Bad(problem.to_string())),
        }
    }

    fn lines(&mut self, asked: &Asked<'_>, source: impl Read) -> Result<(), Broken> {
        let mut source = BufReader::with_capacity(256 << 10, source);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let most = MAX_LINE_BYTES as u64 + 1;
            if source.by_ref().take(most).read_until(b'\n', &mut line).map_err(Broken::Source)? == 0 {
                break;
            }
            if self.has_ended {
                self.report(asked, &line)?;
                continue;
            }
            let parsed = Line::parse(&line, number).map_err(|problem| Broken::of(&problem))?;
            self.pass(asked, &parsed, &hash_of_line(&line), &line)?;
            // The room that a large one took is not kept.
            line.clear();
            line.shrink_to(KEPT_BYTES);
        }
        Ok(())
    }

    fn frames(&mut self, asked: &Asked<'_>, mut source: impl Read) -> Result<(), Broken> {
        let mut decoder = Decoder::default();
        let (mut waiting, mut piece) = (Vec::new(), vec![0; 256 << 10]);
        loop {
            let got = source.read(&mut piece).map_err(Broken::Source)?;
            waiting.extend_from_slice(piece.get(..got).unwrap_or_default());
            let mut done = 0;
            while !self.has_ended
                && let Some((parsed, used)) =
                    decoder.next(waiting.get(done..).unwrap_or_default()).map_err(|problem| Broken::of(&problem))?
            {
                let end = done + used;
                let frame = waiting.get(done..end).unwrap_or_default();
                self.pass(asked, &parsed, &Hash::of(frame), frame)?;
                done = end;
            }
            waiting.drain(..done);
            waiting.shrink_to(KEPT_BYTES.max(waiting.len()));
            match (got, waiting.is_empty()) {
                (0, true) => return Ok(()),
                (0, false) if self.has_ended => return self.report(asked, &waiting),
                _ if self.has_ended && waiting.len() > MAX_HOLES_BYTES => {
                    return Err(Broken::Bad("it goes on after its trailer".to_owned()));
                }
                (0, false) => return Err(Broken::Bad("it ends within a frame".to_owned())),
                _ => {}
            }
        }
    }

    /// What a server says behind the trailer: what it could not read.
    fn report(&mut self, asked: &Asked<'_>, bytes: &[u8]) -> Result<(), Broken> {
        let told = serde_json::from_slice::<HolesJson>(bytes).ok();
        let told = told.filter(|told| told.is_within(asked.since, asked.next_position));
        match told {
            Some(told) if self.passed.holes.is_none() => {
                self.passed.holes = Some(told);
                Ok(())
            }
            _ => Err(Broken::Bad("it goes on after its trailer".to_owned())),
        }
    }

    fn pass(&mut self, asked: &Asked<'_>, parsed: &Line, hash: &Hash, bytes: &[u8]) -> Result<(), Broken> {
        self.has_ended = matches!(parsed, Line::Trailer(_));
        let checked = match parsed {
            Line::Header(header) => {
                self.begin(asked, header).map_err(Broken::Bad)?;
                self.check.header(header).map(drop)
            }
            Line::Trailer(trailer) => {
                self.end(asked, trailer).map_err(Broken::Bad)?;
                self.check.trailer(trailer).map(drop)
            }
            Line::Entry(entry) => {
                self.passed.entries += 1;
                self.look_at(asked, entry).map_err(Broken::Bad)?;
                self.check.entry(&entry.id(), hash)
            }
            _ => Ok(()),
        };
        checked.map_err(|problem| Broken::Bad(problem.to_string()))?;
        self.out.write_all(bytes).map_err(Broken::Out)?;
        self.passed.bytes += bytes.len() as u64;
        if self.passed.entries.is_multiple_of(TELL_EVERY) {
            (self.tell)(self.passed.entries, 0, self.passed.bytes);
        }
        Ok(())
    }

    /// A ledger that was cut has no checkpoint to give; otherwise the stream
    /// ends within it, or where it began if that is beyond.
    fn begin(&mut self, asked: &Asked<'_>, header: &StreamHeader) -> Result<(), String> {
        self.ledger = header.checkpoint.as_ref().map(|note| note.claimed().clone());
        within(asked, self.ledger.as_ref())
    }

    fn look_at(&self, asked: &Asked<'_>, entry: &Entry) -> Result<(), String> {
        if self.passed.entries > asked.next_position.saturating_sub(asked.since) {
            return Err("there are more entries than positions that were asked for".to_owned());
        }
        if !thingdb::format::key_record::is_within(&entry.header.thing, asked.prefix) {
            return Err("there is an entry of a thing that was not asked for".to_owned());
        }
        Ok(())
    }

    /// The ledger may have grown since the header, and nothing else. Whose
    /// checkpoint it is, and that a whole ledger is one, is checked beside.
    fn end(&self, asked: &Asked<'_>, trailer: &Trailer) -> Result<(), String> {
        let ledger = trailer.checkpoint.as_ref().map(|note| note.claimed().clone());
        within(asked, ledger.as_ref())?;
        if let (Some(first), Some(last)) = (&self.ledger, &ledger) {
            let is_same = first.root == last.root;
            if last.size < first.size || (last.size == first.size && !is_same) {
                return Err("header and trailer are of different ledgers".to_owned());
            }
        }
        Ok(())
    }
}

fn within(asked: &Asked<'_>, ledger: Option<&Checkpoint>) -> Result<(), String> {
    match ledger {
        Some(ledger) if asked.next_position > ledger.size.max(asked.since) => {
            Err("the next position is beyond the ledger's end".to_owned())
        }
        _ => Ok(()),
    }
}
