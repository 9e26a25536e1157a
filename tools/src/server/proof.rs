//! `GET /things/{id}/proof`: a file by which a stranger believes the history of
//! a thing.

use std::io::{self, Write};
use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use thingdb::{Card, EntryId, ProveOptions, SignedCheckpoint};
use tokio::sync::oneshot;

use super::call::{Answer, Call, answer};
use super::encoding::{self, PROOF};
use super::one_entry;
use super::pipe::{self, Sink};
use super::places::Scarce;
use super::problem::Problem;
use super::query::Query;
use super::route::MAX_NUMBER;
use super::things::no_thing;
use crate::bytes::compress::Compressor;

/// The greatest seq that there can be.
const MAX_SEQ: u64 = thingdb::format::header::MAX_SEQ;

/// Most digits of a seq in `withhold`; an id has 64.
const SEQ_DIGITS: usize = 16;

/// What is asked for.
#[derive(Debug, Default)]
struct Wanted {
    seqs: Option<(u64, u64)>,
    entries: Vec<EntryId>,
    withheld_seqs: Vec<u64>,
    withheld: Vec<EntryId>,
    stubs_only: bool,
    absent: bool,
    to: Option<Card>,
    kept: Option<SignedCheckpoint>,
}

impl Wanted {
    fn of(query: &Query) -> Result<Self, Problem> {
        let (since, until) = (query.count("since", MAX_NUMBER)?, query.count("until", MAX_NUMBER)?);
        let is_range = since.is_some() || until.is_some();
        let seqs = is_range.then(|| (since.unwrap_or(1), until.unwrap_or(MAX_SEQ)));
        if let Some((first, last)) = seqs.filter(|(first, last)| first > last) {
            return Err(Problem::usage(format!("since {first} is after until {last}")));
        }
        let mut wanted =
            Self { seqs, stubs_only: query.flag("stubs_only")?, absent: query.flag("absent")?, ..Self::default() };
        for text in list(query, "entry") {
            wanted.entries.push(id(text)?);
        }
        for text in list(query, "withhold") {
            match text.parse() {
                Ok(seq) if text.len() <= SEQ_DIGITS => wanted.withheld_seqs.push(seq),
                _ => wanted.withheld.push(id(text)?),
            }
        }
        if let Some(text) = query.text("to") {
            let card = text.trim().parse();
            wanted.to = Some(card.map_err(|problem| Problem::invalid(format!("to is no card: {problem}")))?);
        }
        if let Some(text) = query.text("checkpoint") {
            let note = SignedCheckpoint::parse(text);
            let none = |problem| Problem::invalid(format!("checkpoint is no checkpoint: {problem}"));
            wanted.kept = Some(note.map_err(none)?);
        }
        if is_range && !wanted.entries.is_empty() {
            return Err(Problem::usage("entry names entries, and since and until a range: give one of them"));
        }
        let shows_some = wanted.to.is_some() || !wanted.withheld.is_empty() || !wanted.withheld_seqs.is_empty();
        if wanted.stubs_only && shows_some {
            return Err(Problem::usage("stubs_only shows nothing: to and withhold do not go with it"));
        }
        if wanted.absent && (is_range || shows_some || wanted.stubs_only || !wanted.entries.is_empty()) {
            return Err(Problem::usage("absent shows no entries: what chooses some does not go with it"));
        }
        Ok(wanted)
    }

    fn options<'a>(&self, is_wanted: &'a dyn Fn() -> bool) -> ProveOptions<'a> {
        let mut options = ProveOptions::new().stubs_only(self.stubs_only).absent(self.absent).while_wanted(is_wanted);
        if let Some((first, last)) = self.seqs {
            options = options.seqs(first, last);
        }
        options = self.entries.iter().fold(options, |options, id| options.entry(*id));
        options = self.withheld_seqs.iter().fold(options, |options, seq| options.withhold_seq(*seq));
        options = self.withheld.iter().fold(options, |options, id| options.withhold(*id));
        options = self.kept.iter().fold(options, |options, note| options.kept(note.clone()));
        match &self.to {
            Some(card) => options.to(card.encryption_key),
            None => options,
        }
    }
}

/// Values with commas between them.
fn list<'q>(query: &'q Query, name: &str) -> impl Iterator<Item = &'q str> {
    query.text(name).into_iter().flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty())
}

fn id(text: &str) -> Result<EntryId, Problem> {
    text.parse().map_err(|_| Problem::invalid(format!("{text:?} is no entry id: 64 lower-case hex digits")))
}

/// Sends a proof file.
pub(crate) async fn prove(call: Call) -> Answer {
    let thing = call.thing()?;
    let wanted = Wanted::of(&call.query)?;
    if let Some(form) = one_entry::form(&call.query)? {
        return one_entry::prove(&call, thing, form, &wanted.entries).await;
    }
    let (kept, absent) = (wanted.kept.clone(), wanted.absent);
    let named = thing.clone();
    call.run(move |db| {
        if !absent && db.heads(&named)?.is_empty() {
            return Err(no_thing(&named));
        }
        // A checkpoint of another node is told as such by the engine.
        let standing = kept.map(|note| db.standing(&note)).transpose()?;
        match standing.filter(|standing| !standing.is_consistent()) {
            Some(standing) => Err(Problem::new(StatusCode::CONFLICT, "rolled-back", standing.to_string())),
            None => Ok(()),
        }
    })
    .await?;
    let place = call.take(Scarce::Exports)?;
    let compression = encoding::compression(&call.headers);
    let (sink, body) = pipe::sink(&call)?;
    let (db, request_id) = (Arc::clone(&call.node.db), Arc::clone(&call.request_id));
    let (begins, begun) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let _place = place;
        let audience = sink.audience();
        let is_wanted = || audience.is_there();
        let out = match Compressor::new(compression, sink) {
            Ok(out) => out,
            // Nobody listens if the client has gone.
            Err(problem) => return drop(begins.send(Err(Problem::unexpected(problem.to_string())))),
        };
        let mut begin = Begin { begins: Some(begins), out };
        let proved = db.prove(&thing, wanted.options(&is_wanted), &mut begin);
        let Begin { begins, out } = begin;
        let ended = match (proved, begins) {
            // Nothing went out: the client is told why.
            (Err(problem), Some(begins)) => return drop(begins.send(Err(problem.into()))),
            (Err(problem), None) => Err(problem.to_string()),
            (Ok(_), _) => out.end().and_then(Sink::end).map_err(|problem| problem.to_string()),
        };
        if let Err(problem) = ended {
            tracing::warn!(%request_id, problem, "a proof broke off");
        }
    });
    begun.await.map_err(|_| Problem::unexpected("the proof did not begin"))??;
    let mut response = answer(PROOF, body);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Some(encoding) = encoding::content_encoding(compression) {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    Ok(response)
}

/// Tells when the first bytes go out: what is wrong until then is an answer of
/// its own.
struct Begin<W> {
    begins: Option<oneshot::Sender<Result<(), Problem>>>,
    out: W,
}

impl<W: Write> Write for Begin<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(begins) = self.begins.take() {
            // Whoever has gone is found by the sink.
            let _ = begins.send(Ok(()));
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Result<Wanted, Problem> {
        let names = ["since", "until", "entry", "withhold", "stubs_only", "absent", "to", "checkpoint"];
        Wanted::of(&Query::parse(text, names.into_iter()).unwrap())
    }

    #[test]
    fn what_is_asked_for_is_taken_apart() {
        let id = "0".repeat(63) + "1";
        let found = wanted(&format!("since=3&withhold=7,{id},%208")).unwrap();
        assert_eq!((found.seqs, found.withheld_seqs), (Some((3, MAX_SEQ)), vec![7, 8]));
        assert_eq!(found.withheld, [id.parse().unwrap()]);
        assert_eq!(wanted(&format!("entry={id}")).unwrap().entries.len(), 1);
        assert!(wanted("").unwrap().seqs.is_none());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let id = "1".repeat(64);
        for bad in [
            "since=0",
            "since=5&until=4",
            "entry=4be1",
            "withhold=x",
            "to=card",
            "checkpoint=note",
            "stubs_only=true&withhold=1",
            "absent=true&since=1",
            "absent=true&stubs_only=true",
            &format!("entry={id}&until=7"),
        ] {
            assert!(wanted(bad).is_err(), "{bad}");
        }
    }
}
